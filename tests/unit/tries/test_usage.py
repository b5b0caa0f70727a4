"""What jobs asked for beside what they used."""

from pathlib import Path
from typing import Any

import pytest

from headrace.tries import gpu as gpu_usage
from headrace.tries.gpu import GpuSampler
from headrace.tries.usage import WATTS_PER_CORE, add_up


def tried(job: str = "1", outcome: str = "done", cause: str | None = None, **used: Any) -> dict[str, Any]:
    requested = {"memory_mib": 2048, "runtime_min": 60, "cores": 2}
    measured = {"seconds": 100.0, "cpu_s": 150.0, "peak_memory_mib": 500.0, "gpu_percent": None, **used}
    return {"job": job, "outcome": outcome, "cause": cause, "requested": requested, "used": measured}


def test_tries_of_a_stage_add_up() -> None:
    killed = {**tried("3", outcome=""), "used": None}
    first = [tried("1", "failed", "memory", peak_memory_mib=2040.0), tried("2", seconds=300.0, cpu_s=150.0)]
    (row,) = add_up([("train", first), ("train", [killed]), ("evaluate", [])])
    assert (row.stage, row.num_jobs, row.num_tries) == ("train", 2, 3)
    assert row.ended_early == {"memory": 1, "unknown": 1}
    assert (row.memory_asked_mib, row.memory_used_mib) == (2048, 2040)
    assert (row.time_asked_min, row.time_used_s) == (60, 300)
    assert row.core_hours == pytest.approx(400 * 2 / 3600)
    assert row.cpu_efficiency == pytest.approx(300 / 800)
    assert row.gpu_efficiency is None


def test_gpus_are_weighted_by_time() -> None:
    (row,) = add_up([("train", [tried(seconds=100.0, gpu_percent=90.0), tried(seconds=300.0, gpu_percent=10.0)])])
    assert row.gpu_efficiency == pytest.approx(0.3)


def test_workers_in_jobs_of_their_own_are_counted_once() -> None:
    # A step of the stage's own job is none of its own.
    where = [{"job": "8"}, {"job": "9"}, {"job": "1"}, {"job": "1.2"}, {"job": ""}]
    (row,) = add_up([("shard", [tried(workers={"where": where}), tried("1", workers={"where": where[:1]})])])
    assert row.num_worker_jobs == 2


def test_energy_is_measured_or_estimated_from_the_cpu_time() -> None:
    told = [tried(cpu_j=3000.0), tried(cpu_j=4500.0, gpu_watts=200.0)]
    (row,) = add_up([("train", told)])
    assert row.energy.is_measured
    assert (row.energy.cpu_j, row.energy.gpu_j, row.energy.joules) == (7500, 20_000, 27_500)
    assert row.energy.joules_per_cpu_s == pytest.approx(7500 / 300)
    assert row.energy.gpu_watts == pytest.approx(100)
    (row,) = add_up([("train", [tried(cpu_j=3000.0), tried(cpu_j=None), tried()])])
    assert not row.energy.is_measured
    assert row.energy.joules == 3000 + 2 * 150 * WATTS_PER_CORE
    (row,) = add_up([("train", [{**tried(outcome=""), "used": None}])])
    assert (row.energy.joules, row.energy.is_measured) == (0, False)


def test_without_requests_and_tries_nothing_is_made_up() -> None:
    assert add_up([]) == []
    local = {**tried(""), "requested": {}}
    (row,) = add_up([("shard", [local])])
    assert (row.memory_asked_mib, row.time_asked_min, row.num_worker_jobs) == (None, None, 0)
    assert row.core_hours == pytest.approx(100 / 3600)


def test_utilisation_is_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text('#!/bin/sh\necho "$@" >> "$0.calls"\nprintf "80, 250.5\\n40, 99.5\\n"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with GpuSampler(pause_s=0.01) as sampler:
        while len(sampler.samples) < 4:
            pass
    assert sampler.percent == 60.0
    assert sampler.watts == 350.0
    assert "--id=2,3" in Path(f"{fake}.calls").read_text().splitlines()[0]


def test_a_gpu_that_does_not_tell_its_power_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho '80, [N/A]'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_usage.look() == [(80.0, None)]


@pytest.mark.parametrize("words", ["exit 9", "echo '[N/A]'", "echo No devices were found"])
def test_what_nvidia_smi_cannot_say_is_no_sample(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\n{words}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_usage.look() == []
