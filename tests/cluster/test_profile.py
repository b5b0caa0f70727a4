"""A profile made for a real SLURM: what it holds, what is refused, and what its jobs then ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.accounting import ACCOUNT
from cluster.slurm import SlurmCluster
from headrace.experiments.reading import load_experiment
from headrace.planning.plan import Plan, Site
from headrace.requests.limits import find_asks, with_defaults
from headrace.requests.profiles import read_profile
from headrace.requests.rules import jobs_by_rule
from projects import TINY, Project, copy_project

PROFILE = Path("workflow") / "profiles" / "slurm" / "config.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A clone with the link that leads to its profile."""
    project = copy_project(tmp_path, TINY)
    if not (tmp_path / "slurm").is_symlink():
        (tmp_path / "slurm").symlink_to("workflow/profiles/slurm")
    return project


def make_profile(project: Project, *options: str) -> dict[str, Any]:
    """What `headrace profile slurm` writes."""
    done = project.headrace("profile", "slurm", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load((project.folder / PROFILE).read_text())
    return found


def change(project: Project, **keys: Any) -> None:
    """Edit the profile as a person would."""
    path = project.folder / PROFILE
    found = yaml.safe_load(path.read_text())
    for key, value in keys.items():
        name = key.replace("_", "-")
        found[name] = {**found[name], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(found))


def plan(project: Project) -> tuple[int, str, list[str]]:
    """What `headrace plan` says: exit code, table, refusals."""
    done = project.headrace("plan", "configs/small.yaml", "--profile", "slurm")
    return done.returncode, done.stdout, [line.partition(": ")[2] for line in done.stderr.splitlines()]


def test_a_cluster_without_accounting(slurm: SlurmCluster, project: Project) -> None:
    found = make_profile(project)
    assert found["default-resources"] == {"slurm_partition": "cpu"}
    assert found["set-resources"]["train_fnn"] == {"gpu": 1, "slurm_partition": "gpu"}
    assert found["config"]["device"] == "cuda"
    assert found["slurm-status-command"] == "squeue"
    assert found["slurm-no-account"] is True
    code, table, refused = plan(project)
    assert (code, refused) == (0, [])
    assert re.search(r"^shard .* cpu$", table, re.MULTILINE)
    assert re.search(r"^train_fnn .* 1 +gpu$", table, re.MULTILINE)
    # The experiment says so; the profile only decides what `auto` means.
    assert "note: train_fnn: asks for a GPU that none of its runs will use (device: cpu)" in table


def test_what_the_cluster_cannot_give_is_refused_at_once(slurm: SlurmCluster, project: Project) -> None:
    make_profile(project, "--partition", "short")
    workers = {"dask_cluster": "slurm", "dask_workers": 2, "dask_worker_mem_mb": 500}
    entries = {
        "shard": {"slurm_partition": "shrt", **workers},
        "preprocess": {"runtime": 3, **workers},
        "train_fnn": {"gpu": 3, "slurm_partition": "gpu", "runtime": 2000},
        "evaluate": {"gpu": 1, "slurm_partition": "gpu", "mem_mb": 7000},
    }
    change(project, set_resources=entries)
    code, table, refused = plan(project)
    assert code == 2
    assert table.startswith("rule ")
    beginnings = (
        "shard: no partition 'shrt' here; allowed: cpu, gpu, short,",
        "shard (Dask workers): no partition 'shrt' here",
        "preprocess: runtime 3 min, and partition short allows 2; partitions that allow it: cpu,",
        "preprocess (Dask workers): runtime 3 min,",
        "train_fnn: runtime 2000 min, and partition gpu allows 1440; no partition here allows it",
        "train_fnn: 3 GPUs (gpu), and the largest node of partition gpu has 2; no partition here allows it",
        "evaluate: 7000 MiB (mem_mb), and the largest node of partition gpu has 6000; no partition here allows it",
    )
    assert len(refused) == len(beginnings), refused
    for line, beginning in zip(refused, beginnings, strict=True):
        assert line.startswith(beginning), line


def requested(slurm: SlurmCluster) -> dict[str, dict[str, str]]:
    """What SLURM was asked for by the job of each rule."""
    found = {}
    for line in slurm.run("scontrol", "show", "job", "--oneliner").splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if (rule := fields.get("Comment", "").removeprefix("rule_").partition("_wildcards")[0]) in (
            "shard",
            "preprocess",
            "train_fnn",
            "evaluate",
        ):
            found[rule] = fields
    return found


def test_jobs_ask_for_what_the_plan_said(
    slurm: SlurmCluster, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_profile(project)
    change(project, latency_wait=5, retries=0)
    workers = {"dask_cluster": "slurm", "dask_workers": 2, "dask_worker_mem_mb": 500}
    change(project, set_resources={"shard": workers, "preprocess": workers})
    done = project.snakemake("--profile", "slurm")
    assert done.returncode == 0, done.stdout
    monkeypatch.chdir(project.folder)
    profile = read_profile("slurm")
    planned = Plan(load_experiment(Path("configs/small.yaml")), Site.of(profile.config))
    counts = {rule: len(jobs) for rule, jobs in jobs_by_rule(planned).items()}
    asked = requested(slurm)
    assert set(asked) == set(counts)
    for ask in find_asks(counts, profile.resources(with_defaults(planned, {}))):
        if not ask.is_workers:
            fields = asked[ask.rule]
            hours, minutes, _ = fields["TimeLimit"].split(":")
            assert fields["Partition"] == ask.queue
            memory = fields["MinMemoryNode"]
            assert float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]] == ask.mem_mb
            assert int(fields["NumCPUs"]) == ask.cores
            assert int(hours) * 60 + int(minutes) == ask.runtime_min
            assert ("gres:gpu:1" in fields.get("TresPerJob", "")) == (ask.gpus == 1)


def test_a_cluster_with_accounting(slurm_accounting: SlurmCluster, project: Project) -> None:
    found = make_profile(project, "--account", ACCOUNT)
    assert found["default-resources"] == {"slurm_partition": "cpu", "slurm_account": ACCOUNT}
    assert found["slurm-status-command"] == "sacct"
    assert "slurm-no-account" not in found
    assert plan(project)[0] == 0
    change(project, default_resources={"slurm_account": "reserch"})
    code, _, refused = plan(project)
    assert code == 2
    refusal = refused[0]
    assert refusal.startswith("shard: account 'reserch' is none of yours; allowed: ")
    assert refusal.endswith(f"(did you mean '{ACCOUNT}'?)")
    done = project.headrace("profile", "slurm", "--account", "reserch")
    assert done.returncode == 2
    assert f"(did you mean '{ACCOUNT}'?)" in done.stderr
