"""The same experiment files on SLURM: Dask workers as jobs and as steps, and the results of one machine."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.projects_there import ALLOCATION, DASK, ClusterProject, cluster_project
from cluster.slurm import SlurmCluster
from projects import ROOT, TINY

EXPERIMENTS = ("quickstart", "tabular")


def make_project(folder: Path) -> ClusterProject:
    """A clone in which the many runs of `tabular` are shorter."""
    project = cluster_project(folder, TINY)
    tabular = yaml.safe_load((ROOT / "configs/tabular.yaml").read_text())
    project.write({**tabular, "training": {**tabular["training"], "epochs": 6}}, "tabular.yaml")
    return project


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> ClusterProject:
    """Both experiments, run on this machine alone."""
    project = make_project(tmp_path_factory.mktemp("home"))
    for name in EXPERIMENTS:
        done = project.snakemake("--configfile", f"configs/{name}.yaml", "--config", "device=cpu")
        assert done.returncode == 0, done.stdout
    return project


def digest(project: ClusterProject, name: str) -> str:
    done = project.headrace("digest", f"results/{name}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def used(executions: dict[str, dict[str, Any]]) -> tuple[set[str], set[str]]:
    """The job ids and the nodes that the workers of some artifacts ran under."""
    where = [worker for execution in executions.values() for worker in execution["workers"]["where"]]
    return {worker["job"] for worker in where}, {worker["node"] for worker in where}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_dask_workers_are_jobs_and_the_results_those_of_one_machine(
    name: str, slurm: SlurmCluster, at_home: ClusterProject, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    written = project.headrace("profile", "slurm")
    assert written.returncode == 0, written.stderr
    # Two stages at once with three workers each: all eight cores of the nodes.
    project.write_profile({**DASK, "dask_workers": 3}, train_cnn={"gpu": 1, "slurm_partition": "gpu"})
    done = project.run(config=f"configs/{name}.yaml")
    assert done.returncode == 0, done.stdout
    assert digest(project, name) == digest(at_home, name)
    seen: set[str] = set()
    for stage in ("shard", "preprocess"):
        for artifact, execution in project.executions(stage).items():
            jobs, nodes = used({artifact: execution})
            assert execution["workers"]["kind"] == "slurm"
            assert len(jobs) >= 2, execution
            seen |= nodes
        # The report counts the workers' jobs beside the stage's own.
        assert all(len(one["used"]["workers"]["where"]) >= 2 for one in project.tries(stage))
    # Which of them is SLURM's own affair: one node may have had place for all.
    assert seen <= {"c1", "c2"}
    queues = {one["queue"] for one in project.tries("train")}
    assert queues == ({"cpu", "gpu"} if name == "quickstart" else {"cpu"})
    rows = list(csv.DictReader((tmp_path / f"results/{name}/results.csv").read_text().splitlines()))
    assert len({(row["model"], row["seed"], row["dataset"]) for row in rows}) > 10


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_workers_in_one_allocation_make_the_same(
    name: str, slurm: SlurmCluster, at_home: ClusterProject, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    project.write_profile(ALLOCATION)
    done = project.run("--until", "preprocess", config=f"configs/{name}.yaml")
    assert done.returncode == 0, done.stdout
    for stage in ("shard", "preprocess"):
        made = project.content(stage)
        expected = at_home.content(stage)
        assert made
        assert made == {artifact: expected[artifact] for artifact in made}
        for artifact, execution in project.executions(stage).items():
            jobs, nodes = used({artifact: execution})
            assert execution["workers"]["kind"] == "allocation"
            # Steps of one job: 12.1, 12.2.
            assert len(jobs) >= 2
            assert len({job.partition(".")[0] for job in jobs}) == 1
            assert nodes == {"c1", "c2"}


def test_accounts_are_found_and_charged(slurm_accounting: SlurmCluster, tmp_path: Path) -> None:
    project = cluster_project(tmp_path, TINY)
    written = project.headrace("profile", "slurm")
    assert written.returncode == 0, written.stderr
    project.write_profile()
    done = project.run()
    assert done.returncode == 0, done.stdout
    home = cluster_project(tmp_path / "home", TINY)
    assert home.snakemake("--config", "device=cpu").returncode == 0
    assert project.digest() == home.digest()
    # Workers, too, though they are cancelled when their work is done.
    accounts = slurm_accounting.run("sacct", "--allocations", "--noheader", "--parsable2", "--format=Account")
    assert set(accounts.split()) == {"research"}, accounts
    assert len(accounts.split()) >= 4 + 2
    shutil.rmtree(tmp_path / "home")


def test_what_the_quickstart_needs_is_said_before(slurm: SlurmCluster, tmp_path: Path) -> None:
    project = cluster_project(tmp_path, TINY)
    assert project.headrace("profile", "slurm").returncode == 0
    done = project.headrace("plan", "configs/quickstart.yaml", "--profile", "slurm")
    assert done.returncode == 0, done.stderr
    assert "core-hours" in done.stdout
    assert ROOT.name not in done.stdout
