"""Blocks that a process keeps between two passes over them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

_LOCK = threading.Lock()
_KEPT: dict[tuple[str, int], Any] = {}
_STATE: dict[str, Any] = {"step": "", "bytes": 0}


@dataclass(frozen=True)
class Residence:
    """Where the blocks of one matrix are kept. Sent to workers."""

    matrix: str
    step: str
    """What was kept for another step is let go."""
    limit_bytes: int
    """Of all matrices of the step together, in one process."""

    def read(self, block: int, read: Callable[[], Any]) -> Any:
        """The block that is kept, or else what `read` returns, which is kept when there is room.

        Nothing is put out for it: in passes over all blocks the oldest one would be the next to be needed.
        """
        if not self.limit_bytes:
            return read()
        key = (self.matrix, block)
        with _LOCK:
            if _STATE["step"] != self.step:
                _KEPT.clear()
                _STATE.update(step=self.step, bytes=0)
            if key in _KEPT:
                return _KEPT[key]
        values = read()
        size = num_bytes(values)
        with _LOCK:
            if key not in _KEPT and _STATE["bytes"] + size <= self.limit_bytes:
                _KEPT[key] = values
                _STATE["bytes"] += size
        return values


def num_bytes(value: Any) -> int:
    """Bytes of the numbers in arrays, sparse matrices, and in whatever is made of these."""
    if isinstance(value, np.ndarray | np.generic):
        return int(value.nbytes)
    if isinstance(value, tuple | list):
        return sum(map(num_bytes, value))
    if isinstance(value, Mapping):
        return sum(map(num_bytes, value.values()))
    if is_dataclass(value):
        return sum(num_bytes(getattr(value, part.name)) for part in fields(value))
    if hasattr(value, "indptr"):
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    return sys.getsizeof(value)
