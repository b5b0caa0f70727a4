"""How many runs of a training job are trained at a time, and where. Planning asks for their memory: nothing heavy is
imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Training = Mapping[str, Any]
"""How a run is trained, as its spec has it."""


def cores_of(training: Iterable[Training]) -> int:
    """What the largest of some runs computes on at a time: its threads, and those of all its ranks."""
    return max(int(keys["threads"]) * int(keys["world_size"]) for keys in training)


def num_children(training: Sequence[Training], cores: int) -> int:
    """Runs that find cores for themselves at a time, one at least."""
    return max(1, cores // cores_of(training))


def deal_gpus(gpus: Sequence[str], runs_per_gpu: int) -> list[str]:
    """The GPU of every place where a run may be trained: a GPU gets its second run when all have their first."""
    return [gpu for _ in range(runs_per_gpu) for gpu in gpus]
