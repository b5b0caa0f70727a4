"""What clusters do to jobs: each ends in the bits of an undisturbed run, or in an error that says what to change."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.projects_there import ClusterProject, cluster_project, finish
from cluster.slurm import SlurmCluster
from projects import TINY

LONG: dict[str, Any] = {
    **TINY,
    "models": [{"kind": "fnn", "features": "scaled", "hidden": [8]}],
    "training": {**TINY["training"], "epochs": 2000, "seeds": [0]},
}
"""Long enough in the training to be disturbed there."""
MANY: dict[str, Any] = {"kind": "synthetic_classification", "num_samples": 4000, "num_features": 8, "rows_per_shard": 2}
MANY_SHARDS: dict[str, Any] = {**TINY, "datasets": {"tumours": MANY}}
"""Long enough in the shards."""
LASTING_S = 65
"""A job of a minute stops after 45 s."""
LOCAL = {"dask_cluster": "local", "dask_workers": 1, "dask_worker_mem_mb": 500}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> ClusterProject:
    """The long training on this machine alone."""
    return trained_at_home(tmp_path_factory.mktemp("undisturbed"), LONG)


@pytest.fixture(scope="module")
def shards_at_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the many shards, made on this machine alone."""
    project = cluster_project(tmp_path_factory.mktemp("shards"), MANY_SHARDS)
    done = project.snakemake("--until", "shard")
    assert done.returncode == 0, done.stdout
    return project.content("shard")


def trained_at_home(folder: Path, experiment: dict[str, Any]) -> ClusterProject:
    project = cluster_project(folder, experiment)
    done = project.snakemake("--config", "device=cpu", "--until", "train_fnn")
    assert done.returncode == 0, done.stdout
    return project


def prepared(
    folder: Path, home: ClusterProject | None = None, *, experiment: dict[str, Any] = LONG, **options: Any
) -> ClusterProject:
    """A clone with a profile; with `home`, its features are there already, so that only the training is left to do."""
    project = cluster_project(folder, experiment)
    project.write_profile(**options)
    for part in ("shard", "preprocess", ".receipts/shard", ".receipts/preprocess") if home else ():
        shutil.copytree(home.folder / "artifacts" / part, folder / "artifacts" / part)
    return project


def causes(project: ClusterProject, stage: str) -> list[str | None]:
    return [one["cause"] for one in project.tries(stage)]


def epochs_logged(project: ClusterProject) -> int:
    found = re.findall(r"epoch (\d+) of", project.log("train"))
    return int(found[-1]) if found else 0


def start_training(slurm: SlurmCluster, project: ClusterProject) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A workflow, and its training's job once that is under way."""
    workflow = project.submit("--until", "train_fnn")

    def is_saved() -> bool:
        return epochs_logged(project) > 20 and any(project.folder.glob("artifacts/.checkpoints/*/checkpoint.pt"))

    slurm.wait_for(is_saved, timeout_s=120, what="the training to be under way, and saved")
    (training,) = (job for job in slurm.jobs() if job["state"] == "RUNNING")
    return workflow, training


def test_a_training_that_runs_out_of_time_goes_on_in_another_job(
    slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path
) -> None:
    # Longer than a job of a minute lasts, and not as long as four of them, however fast this machine is.
    (path,) = undisturbed.sealed("train")
    epochs = round(LONG["training"]["epochs"] * LASTING_S / json.loads(path.read_text())["seconds"])
    longer = {**LONG, "training": {**LONG["training"], "epochs": epochs}}
    home = prepared(tmp_path / "home", undisturbed, experiment=longer)
    assert home.snakemake("--config", "device=cpu", "--until", "train_fnn").returncode == 0
    short = {"slurm_partition": "short", "runtime": 1}
    project = prepared(tmp_path / "there", home, experiment=longer, train_fnn=short)
    done = project.run("--until", "train_fnn")
    assert done.returncode == 0, done.stdout
    assert project.content("train") == home.content("train")
    *stopped, last = project.tries("train")
    assert stopped
    assert {one["cause"] for one in stopped} == {"time limit"}
    assert all("before its time limit; saved after epoch" in one["message"] for one in stopped)
    assert last["outcome"] == "done"
    # Another job, no longer than the first.
    assert last["job"] != stopped[0]["job"]
    assert {one["requested"]["runtime_min"] for one in project.tries("train")} == {1}


def test_a_preempted_training_goes_on(slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path) -> None:
    project = prepared(tmp_path, undisturbed, train_fnn={"slurm_partition": "preempt"})
    workflow, training = start_training(slurm, project)
    urgent = slurm.submit("sleep 3", "--partition=urgent", f"--nodelist={training['nodes']}", "--cpus-per-task=4")
    slurm.wait_for_state(urgent, "COMPLETED", timeout_s=120)
    done = finish(workflow)
    assert done.returncode == 0, done.stdout
    assert project.content("train") == undisturbed.content("train")
    first, *_, last = project.tries("train")
    assert first["cause"] == "preemption"
    assert "was told to stop (SIGTERM); saved after epoch" in first["message"]
    # SLURM put the same job back into the queue.
    assert (last["job"], last["restarts"], last["outcome"]) == (first["job"], 1, "done")
    (made,) = project.executions("train").values()
    assert made["resumed_from_epoch"] > 0


def test_a_training_whose_node_is_lost_goes_on_elsewhere(
    slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path
) -> None:
    project = prepared(tmp_path, undisturbed)
    workflow, training = start_training(slurm, project)
    slurm.kill_node(training["nodes"])
    done = finish(workflow)
    assert done.returncode == 0, done.stdout
    assert project.content("train") == undisturbed.content("train")
    first, *_, last = project.tries("train")
    assert first["outcome"] != "done"
    assert last["outcome"] == "done"
    (made,) = project.executions("train").values()
    assert made["resumed_from_epoch"] > 0


def test_a_lost_worker_and_then_a_lost_node_change_no_shard(
    slurm: SlurmCluster, shards_at_home: dict[str, str], tmp_path: Path
) -> None:
    project = prepared(tmp_path, experiment=MANY_SHARDS)
    workflow = project.submit("--until", "shard")
    slurm.wait_for(lambda: "shard: 20 done" in project.log("shard"), timeout_s=120, what="the shards to be under way")
    workers = [job for job in slurm.jobs() if job["name"] == "headrace-shard" and job["state"] == "RUNNING"]
    assert len(workers) == 4
    slurm.run("scancel", workers[0]["id"])
    (driver,) = (job for job in slurm.jobs() if job["name"] != "headrace-shard" and job["state"] == "RUNNING")
    slurm.wait_for(lambda: "shard: 60 done" in project.log("shard"), timeout_s=60, what="more shards")
    # With the driver: the job is put back into the queue, and its workers elsewhere leave by themselves.
    slurm.kill_node(driver["nodes"])
    done = finish(workflow)
    assert done.returncode == 0, done.stdout
    assert project.content("shard") == shards_at_home
    first, *_, last = project.tries("shard")
    assert (first["outcome"] != "done", last["outcome"]) == (True, "done")
    assert list((tmp_path / "artifacts/.secrets").iterdir()) == []


def test_only_memory_is_raised_when_memory_was_short(
    slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path
) -> None:
    project = prepared(tmp_path, undisturbed, experiment=TINY, train_fnn={"mem_mb": 180, "runtime": 20})
    done = project.run("--until", "train_fnn")
    assert done.returncode == 0, done.stdout
    # A try that is killed before Python has started leaves no word, and counts all the same.
    tries = project.tries("train")
    assert [one["cause"] for one in tries[:-1]] == ["memory"] * (len(tries) - 1)
    asked = [one["requested"]["memory_mib"] for one in tries]
    assert asked == sorted(set(asked))
    assert set(asked) <= {180 * 2**i for i in range(4)}
    assert asked[-1] > 180
    assert {one["requested"]["runtime_min"] for one in tries} == {20}
    assert tries[-1]["outcome"] == "done"
    assert "asks for mem_mb=360 instead of 180" in done.stdout


def test_an_error_of_the_code_is_not_tried_again(
    slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path
) -> None:
    project = prepared(tmp_path, undisturbed, experiment=TINY)
    (stage,) = tmp_path.glob("workflow/headrace/stages/train.py")
    stage.write_text(f"{stage.read_text()}\n\ndef run(job: Job) -> None:\n    raise KeyError('ours')\n")
    start = time.monotonic()
    done = project.run()
    assert done.returncode == 1
    assert "KeyError: 'ours'" in done.stdout
    tries = project.tries("train")
    # The record stays that of the one real try.
    assert causes(project, "train") == ["code"]
    assert tries[0]["message"].endswith("KeyError: 'ours'")
    assert "not tried again: it failed by an error of its own" in project.log("train")
    assert time.monotonic() - start < 240


def test_a_request_that_no_node_can_meet_is_refused_before_anything_is_queued(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    project = prepared(
        tmp_path, experiment=TINY, train_fnn={"mem_mb": 9000, "runtime": 5000}, evaluate={"slurm_partition": "cpus"}
    )
    start = time.monotonic()
    done = project.run()
    assert time.monotonic() - start < 60
    assert done.returncode == 2, done.stdout
    assert "train_fnn: 9000 MiB (mem_mb), and the largest node of partition cpu has 6000" in done.stdout
    assert "train_fnn: runtime 5000 min, and partition cpu allows 1440" in done.stdout
    assert "evaluate: " in done.stdout
    assert "did you mean 'cpu'?" in done.stdout
    assert slurm.jobs() == []


def test_workers_that_do_not_come_end_the_workflow_with_the_reason(slurm: SlurmCluster, tmp_path: Path) -> None:
    options = "extra=--begin=now+1hour,deadline_s=5"
    project = prepared(
        tmp_path, experiment=TINY, dask={"dask_cluster": "slurm", "dask_workers": 2, "dask_options": options}
    )
    done = project.run("--retries", "0")
    assert done.returncode == 1
    assert "no Dask worker for 5 s" in done.stdout
    assert "BeginTime" in done.stdout


def test_jobs_of_a_killed_workflow_are_ended_by_the_next(
    slurm: SlurmCluster, undisturbed: ClusterProject, tmp_path: Path
) -> None:
    project = prepared(tmp_path, undisturbed)
    workflow, orphan = start_training(slurm, project)
    workflow.kill()
    workflow.communicate()
    done = project.run("--until", "train_fnn")
    assert done.returncode == 0, done.stdout
    assert "left by a workflow that was killed" in done.stdout
    assert slurm.state(orphan["id"]) in ("CANCELLED", "COMPLETING", "FAILED")
    assert project.content("train") == undisturbed.content("train")
    (made,) = project.executions("train").values()
    assert made["resumed_from_epoch"] > 0
