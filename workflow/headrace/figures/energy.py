"""What the training of one run took of energy, by its CPU time and by what its stage took."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.findings.results import RunResult
from headrace.tries.usage import Energy, StageUsage


def find_trained(usage: Iterable[StageUsage]) -> Energy | None:
    """Return what all training took; None where nothing is known of it."""
    return next((stage.energy for stage in usage if stage.stage == "train"), None)


def measure_joules(run: RunResult, trained: Energy | None) -> float | None:
    """Return the share of a run; None where nothing is known of it."""
    if trained is None or run.cpu_s is None:
        return None
    on_gpu_s = (run.seconds or 0.0) if run.device not in ("", "cpu") else 0.0
    return run.cpu_s * trained.joules_per_cpu_s + on_gpu_s * trained.gpu_watts
