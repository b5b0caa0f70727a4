"""What the jobs of each stage asked for beside what they used, from how they were tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Try = Mapping[str, Any]

WATTS_PER_CORE = 10.0
"""What a busy core is taken to draw, with its share of memory and losses, where nothing is measured: a node with two
processors of 32 cores under load draws 500 to 800 W.
"""


@dataclass(frozen=True)
class StageUsage:
    """All tries of one stage; None where nothing was asked for, or nothing was measured."""

    stage: str
    num_jobs: int
    num_tries: int
    ended_early: Mapping[str, int]
    """How many tries ended early, by cause."""
    memory_asked_mib: float | None
    """The most that a job asked for."""
    memory_used_mib: float | None
    """The most that a process used, at its peak."""
    time_asked_min: float | None
    """The longest wall time asked for."""
    time_used_s: float
    """The longest try."""
    core_hours: float
    """Cores times hours, over all tries; a core where nothing says."""
    cpu_efficiency: float | None
    """CPU time used, of the cores' time."""
    gpu_efficiency: float | None
    """Mean utilisation of the GPUs asked for, weighted by time."""
    num_worker_jobs: int
    """Jobs of their own that Dask workers ran in."""
    energy: Energy


@dataclass(frozen=True)
class Energy:
    """What the tries of a stage took; that of workers in jobs of their own is not in it."""

    cpu_j: float
    """Of processors, in joules."""
    gpu_j: float
    """Of GPUs, their mean power over time; 0 where none said anything."""
    is_measured: bool
    """Whether counters of the machine told of the processors in every try; else WATTS_PER_CORE did in some."""
    joules_per_cpu_s: float
    gpu_watts: float
    """Mean over time of all GPUs of a job; 0 where none said anything."""

    @property
    def joules(self) -> float:
        """Of both."""
        return self.cpu_j + self.gpu_j


def add_up(histories: Iterable[tuple[str, Sequence[Try]]]) -> list[StageUsage]:
    """One line a stage, in the order in which stages first appear; `histories` holds (stage, tries) of every job."""
    by_stage: dict[str, list[Sequence[Try]]] = {}
    for stage, tries in histories:
        if tries:
            by_stage.setdefault(stage, []).append(tries)
    return [_of_stage(stage, jobs) for stage, jobs in by_stage.items()]


def _of_stage(stage: str, jobs: Sequence[Sequence[Try]]) -> StageUsage:
    tries = [one for job in jobs for one in job]
    measured = [one for one in tries if one.get("used")]
    core_s = sum(one["used"]["seconds"] * (one["requested"].get("cores") or 1) for one in measured)
    cpu_s = sum(one["used"]["cpu_s"] for one in measured)
    on_gpu = [one["used"] for one in measured if one["used"].get("gpu_percent") is not None]
    gpu_s = sum(used["seconds"] for used in on_gpu)
    where = [worker for one in measured for worker in one["used"].get("workers", {}).get("where", [])]
    # Behind a dot stands the step of a job (SLURM), or the server (PBS).
    workers = {worker["job"].partition(".")[0] for worker in where}
    own = {one["job"].partition(".")[0] for one in tries}
    early = Counter(one["cause"] or "unknown" for one in tries if one["outcome"] != "done")
    return StageUsage(
        stage=stage,
        num_jobs=len(jobs),
        num_tries=len(tries),
        ended_early=dict(sorted(early.items())),
        memory_asked_mib=_most(one["requested"].get("memory_mib") for one in tries),
        memory_used_mib=_most(one["used"]["peak_memory_mib"] for one in measured),
        time_asked_min=_most(one["requested"].get("runtime_min") for one in tries),
        time_used_s=_most(one["used"]["seconds"] for one in measured) or 0.0,
        core_hours=core_s / 3600,
        cpu_efficiency=cpu_s / core_s if core_s else None,
        gpu_efficiency=sum(used["gpu_percent"] * used["seconds"] for used in on_gpu) / gpu_s / 100 if gpu_s else None,
        num_worker_jobs=len(workers - own - {""}),
        energy=_add_energy(measured),
    )


def _add_energy(measured: Sequence[Try]) -> Energy:
    used = [one["used"] for one in measured]
    told = [one.get("cpu_j") for one in used]
    cpu_j = sum(
        one["cpu_s"] * WATTS_PER_CORE if joules is None else joules for one, joules in zip(used, told, strict=True)
    )
    cpu_s, seconds = (sum(one[name] for one in used) for name in ("cpu_s", "seconds"))
    gpu_j = sum((one.get("gpu_watts") or 0.0) * one["seconds"] for one in used)
    return Energy(
        cpu_j=cpu_j,
        gpu_j=gpu_j,
        is_measured=bool(told) and None not in told,
        joules_per_cpu_s=cpu_j / cpu_s if cpu_s else WATTS_PER_CORE,
        gpu_watts=gpu_j / seconds if seconds else 0.0,
    )


def _most(values: Iterable[Any]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)
