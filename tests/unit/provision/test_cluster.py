"""Jobs of Dask workers, as text in every dialect."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from headrace.clusters.base import Place, QueuedSpec
from headrace.provision.cluster import clean_environment, job_script, lifetime, wall_time
from headrace.registry import load_kind
from headrace.schedulers.base import OwnJob
from headrace.schedulers.pbs import scheduler as pbs_scheduler
from headrace.tries.stopping import Stop

OWN = OwnJob("17", queue="batch", account="physics")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "logs", tmp_path / "secrets", "headrace-shard")


def spec_of(kind: str, **more: Any) -> Any:
    spec = load_kind("clusters", kind).model_validate({"kind": kind, "worker_memory_mib": 600, **more})
    assert isinstance(spec, QueuedSpec)
    return spec


def slurm_script(place: Place, own: OwnJob | None = OWN, **more: Any) -> str:
    from dask_jobqueue.slurm import SLURMJob

    spec = spec_of("slurm", **more)
    return job_script(spec, place, SLURMJob, spec.job_options(place, own), "ib0")


def pbs_script(place: Place, **more: Any) -> str:
    from dask_jobqueue.pbs import PBSJob

    spec = spec_of("pbs", **more)
    return job_script(spec, place, PBSJob, spec.job_options(place, OWN), "ib0")


def directives(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith(("#SBATCH", "#PBS"))]


def check_worker(script: str) -> None:
    """What every worker is told, whoever starts it."""
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    last = script.strip().splitlines()[-1]
    assert " tls://SCHEDULER --name WORKER --nthreads 1 --memory-limit 600.00MiB --nanny --death-timeout 60 " in last
    for word in ("--interface ib0", "--protocol tls", "--tls-ca-file ca_file.pem", "--tls-cert cert.pem"):
        assert word in last
    assert "--tls-key key.pem" in last
    # Nobody on the node may look at a worker's pages, which TLS does not cover.
    assert "--dashboard-address 127.0.0.1:0" in last
    assert "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'" in script
    assert "export OMP_NUM_THREADS=1" in script


def test_slurm_inherits_what_is_not_set(place: Place) -> None:
    script = slurm_script(place)
    check_worker(script)
    assert directives(script)[3:] == [
        "#SBATCH -p batch",
        "#SBATCH -A physics",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=856M",
        "#SBATCH --no-requeue",
    ]
    assert directives(script)[0] == "#SBATCH -J headrace-shard"
    assert all(str(place.logs) in line for line in directives(script)[1:3])


def test_what_is_set_wins(place: Place) -> None:
    script = slurm_script(
        place, partition="long", account="chemistry", runtime_min=90, extra="--constraint=intel; --qos=low"
    )
    assert directives(script)[3:5] == ["#SBATCH -p long", "#SBATCH -A chemistry"]
    assert directives(script)[-4:] == [
        "#SBATCH -t 01:30:00",
        "#SBATCH --no-requeue",
        "#SBATCH --constraint=intel",
        "#SBATCH --qos=low",
    ]


def test_outside_of_a_job_the_scheduler_chooses(place: Place) -> None:
    assert not any(line.startswith(("#SBATCH -p", "#SBATCH -A")) for line in directives(slurm_script(place, own=None)))


@pytest.mark.parametrize(
    ("dialect", "request_line"),
    [("openpbs", "#PBS -l select=1:ncpus=1:mem=856mb"), ("torque", "#PBS -l nodes=1:ppn=1,mem=856mb")],
)
def test_pbs_speaks_the_dialect_that_is_here(
    dialect: str, request_line: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pbs_scheduler, "detect_dialect", lambda: dialect)
    script = pbs_script(place, runtime_min=45)
    check_worker(script)
    found = directives(script)
    assert found[:3] == ["#PBS -N headrace-shard", "#PBS -q batch", "#PBS -A physics"]
    assert request_line in found
    assert "#PBS -l walltime=00:45:00" in found
    assert found[-1] == "#PBS -r n"


@pytest.mark.parametrize("left_s", [90, 600, 36000])
def test_workers_leave_before_their_time_is_over(left_s: int, tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, stop=Stop(time.time() + left_s))
    spec = spec_of("slurm")
    hours, minutes, seconds = map(int, str(wall_time(spec, place)).split(":"))
    granted_s = hours * 3600 + minutes * 60 + seconds
    assert granted_s >= max(120, left_s - 1)
    life_s = int(lifetime(spec, place)[1].removesuffix("s"))
    stagger_s = int(lifetime(spec, place)[3].removesuffix("s"))
    assert life_s - stagger_s > 0
    assert life_s + stagger_s < granted_s


def test_nobody_limits_a_worker_where_nothing_is_limited(place: Place) -> None:
    assert wall_time(spec_of("slurm"), place) is None
    assert lifetime(spec_of("slurm"), place) == []


def test_a_new_job_is_told_nothing_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "PBS_JOBID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    environment = clean_environment()
    assert {name for name in environment if name.startswith(("SLURM", "SBATCH", "SRUN", "PBS"))} == {"SLURM_CONF"}
    assert environment["PATH"] == os.environ["PATH"]
