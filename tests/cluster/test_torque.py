"""PBS in Torque's dialect, for real: SLURM's own wrappers of qsub, qstat and qdel over a test cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml

from cluster.slurm import NODES, PARTITIONS, SlurmCluster
from headrace.schedulers.base import JobState
from headrace.schedulers.pbs import scheduler as pbs
from projects import TINY, Project, copy_project

PROFILE = Path("workflow") / "profiles" / "pbs" / "config.yaml"
PROPERTIES = (
    '# properties = {"rule": "train_fnn", "jobid": 3, "threads": 1, "resources": {"mem_mb": 200, "runtime": 5}}'
)
GRACE_S = "2"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A clone with the link that leads to its profile, and Dask workers that are jobs too."""
    if not shutil.which("qsub"):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("SLURM's wrappers are missing: apt-get install slurm-wlm-torque")
    project = copy_project(tmp_path, TINY)
    if not (tmp_path / "pbs").is_symlink():
        (tmp_path / "pbs").symlink_to("workflow/profiles/pbs")
    profile = yaml.safe_load((tmp_path / PROFILE).read_text())
    profile |= {"default-resources": {"pbs_queue": "cpu"}, "latency-wait": 5, "seconds-between-status-checks": 1}
    for rule in ("shard", "preprocess"):
        # The wrappers do not say under which address the scheduler reaches a node.
        options = {"dask_worker_mem_mb": 500, "dask_options": "interface=lo,gather_s=15"}
        profile["set-resources"][rule] |= {"dask_cluster": "pbs", "dask_workers": 2, **options}
    (tmp_path / PROFILE).write_text(yaml.safe_dump(profile))
    return project


def submit(project: Project, script: str, *options: str) -> str:
    """Hand a job in as Snakemake does, and give its id."""
    (project.folder / "job.sh").write_text(f"#!/bin/sh\n{PROPERTIES}\ncd '{project.folder}' && {script}\n")
    done = project.headrace("qsub", "--queue", "cpu", *options, "job.sh")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip().isdecimal()
    return done.stdout.strip()


def status(project: Project, job: str) -> str:
    """What Snakemake is told of a job."""
    done = project.headrace("qstatus", "--grace-s", GRACE_S, job)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("running", "success", "failed")
    return done.stdout.strip()


def wait_for_verdict(slurm: SlurmCluster, project: Project, job: str) -> str:
    """Ask until the job is not running any more."""

    def ask() -> str:
        found = status(project, job)
        return "" if found == "running" else found

    return slurm.wait_for(ask, 60, f"a verdict on job {job}")


def test_a_job_that_is_done(slurm: SlurmCluster, project: Project) -> None:
    job = submit(project, "env > seen.txt; until [ -e go ]; do sleep 0.1; done; echo said; exit 0 || exit 1")
    slurm.wait_for_state(job, "RUNNING")
    assert status(project, job) == "running"
    assert pbs.SCHEDULER.states([job]) == {job: JobState("running", None, "", slurm.job(job)["nodes"])}
    (project.folder / "go").touch()
    assert wait_for_verdict(slurm, project, job) == "success"
    slurm.wait_for_state(job)
    assert pbs.SCHEDULER.states([job])[job].phase == "unknown", "the wrapper does not say how a job ended"
    assert "said" in (project.folder / ".snakemake/pbs_logs/train_fnn/3.log").read_text()
    described = slurm.run("scontrol", "show", "job", job, "--oneliner")
    for wish in ("TimeLimit=00:05:00", "NumNodes=1", "mem=200M", "JobName=train_fnn-3", "Requeue=1"):
        assert wish in described
    assert f"PYTHONPATH={project.environment['PYTHONPATH']}" in (project.folder / "seen.txt").read_text()


def test_a_job_that_fails(slurm: SlurmCluster, project: Project) -> None:
    job = submit(project, "exit 3")
    assert wait_for_verdict(slurm, project, job) == "failed"
    assert (project.folder / f".snakemake/headrace/pbs/{job}.exit").read_text() == "3\n"


def test_jobs_that_are_cancelled(slurm: SlurmCluster, project: Project) -> None:
    running = submit(project, "sleep 300")
    waiting = submit(project, "sleep 300", "--threads", "4", "--nodes", "2", "--memory-mib", "5000")
    slurm.wait_for_state(running, "RUNNING")
    assert [status(project, job) for job in (running, waiting)] == ["running", "running"]
    pbs.SCHEDULER.cancel([running, waiting, "99999999"])
    for job in (running, waiting):
        assert wait_for_verdict(slurm, project, job) == "failed"
    pbs.SCHEDULER.cancel([running])


def test_a_job_whose_node_is_lost_is_neither_done_nor_failed(slurm: SlurmCluster, project: Project) -> None:
    job = submit(project, "sleep 2; exit 0")
    slurm.wait_for_state(job, "RUNNING")
    node = slurm.job(job)["nodes"]
    slurm.kill_node(node)
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    slurm.wait_for_state(job, "PENDING")
    time.sleep(float(GRACE_S) + 1)
    assert status(project, job) == "running", "it is in the queue again"


def test_gpus_and_several_nodes(slurm: SlurmCluster, project: Project) -> None:
    job = submit(project, "echo $CUDA_VISIBLE_DEVICES > gpus.txt", "--queue", "gpu", "--gpus", "2", "--nodes", "2")
    assert wait_for_verdict(slurm, project, job) == "success"
    assert (project.folder / "gpus.txt").read_text() == "0,1\n"
    assert "NumNodes=2" in slurm.run("scontrol", "show", "job", job, "--oneliner")


def test_a_refusal_says_what_to_change(slurm: SlurmCluster, project: Project) -> None:
    (project.folder / "job.sh").write_text("exit 0\n")
    done = project.headrace("qsub", "--queue", "nope", "job.sh")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "invalid partition specified: nope" in line
    assert line.endswith("set `pbs_queue` in workflow/profiles/pbs/config.yaml to one that `qstat -Q` lists as enabled")


def test_the_survey(slurm: SlurmCluster) -> None:
    survey = pbs.SCHEDULER.survey()
    assert survey.version == "torque"
    assert {queue.name for queue in survey.queues} == set(PARTITIONS)
    assert all(queue.is_up and queue.num_nodes == len(NODES) for queue in survey.queues)
    assert "SLURM's wrappers" in survey.notes[0]


def test_a_whole_experiment(slurm: SlurmCluster, project: Project) -> None:
    done = project.snakemake("--profile", "pbs")
    assert done.returncode == 0, done.stdout
    assert "4 of 7 steps" in done.stdout
    assert (project.folder / "results/small/report.html").exists()
    stages = {"shard", "preprocess", "train_fnn", "evaluate"}
    assert {job["name"].partition("-")[0] for job in slurm.jobs()} == {*stages, "headrace"}
    for stage in ("shard", "preprocess"):
        (manifest,) = (project.folder / "artifacts" / stage).glob("*/manifest.json")
        workers = json.loads(manifest.read_text())["execution"]["workers"]
        assert workers["kind"] == "pbs"
        assert len({worker["job"] for worker in workers["where"]}) == 2
    assert project.headrace("verify", "results/small").returncode == 0


def test_ctrl_c_leaves_no_job(slurm: SlurmCluster, project: Project) -> None:
    process = project.start("--profile", "pbs")
    slurm.wait_for(lambda: [job for job in slurm.jobs() if job["state"] == "RUNNING"], 60, "the first job")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    slurm.wait_for(lambda: not slurm.run("squeue", "--noheader"), 30, "an empty queue")
