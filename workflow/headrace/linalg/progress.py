"""How far an iterative fit has come: its trace, what it can go on from, and whether it converged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.linalg.blocks import Traffic
from headrace.logs import logger
from headrace.provenance import checkpoints
from headrace.tries.stopping import NEVER, Stop

EVERY_S = 30.0
"""How often a fit is saved."""
SAY_S = 10.0
TRACE = "trace"
COLUMNS = ("iteration", "value", "seconds", "bytes_moved")


@dataclass(frozen=True)
class Convergence:
    """How an iterative fit ended."""

    measure: str
    """What `value` and the trace hold: `relative residual`, `objective`, ..."""
    value: float
    """At the end, computed once more from the data."""
    tolerance: float
    converged: bool
    max_iterations: int
    bounds_value: bool
    """Whether the tolerance bounds `value`, and not something else, as the change of an objective."""
    trace: tuple[Mapping[str, float], ...]
    """A mapping per iteration: iteration, value, seconds since the fit began, bytes_moved to workers and back."""

    def describe(self) -> dict[str, Any]:
        """As JSON, which has no infinity: null stands for what is no finite number."""
        trace = [{key: _finite(value) for key, value in line.items()} for line in self.trace]
        return {**vars(self), "value": _finite(self.value), "iterations": len(trace), "trace": trace}


@dataclass
class Progress:
    """Told of every iteration. With a folder, a fit that was killed goes on from what was saved there."""

    folder: Path | None = None
    stop: Stop = NEVER
    traffic: Traffic = field(default_factory=Traffic)
    every_s: float = EVERY_S
    name: str = "fit"
    convergence: Convergence | None = None
    trace: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start = self._saved = self._said = time.monotonic()

    def resume(self) -> dict[str, np.ndarray] | None:
        """What the last `note` that was saved had been given, if there is one; the trace goes on from there."""
        state = checkpoints.load_arrays(self.folder) if self.folder else None
        if state is None:
            return None
        lines = state.pop(TRACE)
        self.trace = [dict(zip(COLUMNS, map(float, line), strict=True)) for line in lines]
        if self.trace:
            self._start = time.monotonic() - self.trace[-1]["seconds"]
            self.traffic.num_bytes = int(self.trace[-1]["bytes_moved"])
        logger.info("%s: going on after iteration %d", self.name, len(self.trace))
        return state

    def note(self, value: float, state: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """An iteration is done. `state` gives all that the rest of the fit depends on; called when it is saved.

        Raises StoppedError when it is time to stop, with the state saved.
        """
        now = time.monotonic()
        moved = float(self.traffic.num_bytes)
        line = (float(len(self.trace) + 1), float(value), round(now - self._start, 4), moved)
        self.trace.append(dict(zip(COLUMNS, line, strict=True)))
        if now - self._said > SAY_S:
            logger.info("%s: iteration %d, %.4g", self.name, len(self.trace), value)
            self._said = now
        stopping = self.stop.cause is not None
        if self.folder is None or not (stopping or now - self._saved >= self.every_s):
            return
        lines = np.array([[line[key] for key in COLUMNS] for line in self.trace], np.float64)
        checkpoints.save_arrays(self.folder, {**state(), TRACE: lines})
        self._saved = now
        self.stop.check(f"{self.name} is saved after iteration {len(self.trace)}")

    def conclude(
        self,
        measure: str,
        value: float,
        *,
        tolerance: float,
        converged: bool,
        max_iterations: int,
        bounds_value: bool = True,
    ) -> None:
        """The fit is over; `value` was computed from the data, not carried along."""
        self.convergence = Convergence(
            measure, float(value), tolerance, bool(converged), max_iterations, bounds_value, tuple(self.trace)
        )
        how = "converged" if converged else "DID NOT CONVERGE"
        log = logger.info if converged else logger.warning
        log("%s: %s, %s %.4g after %d iterations", self.name, how, measure, value, len(self.trace))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
