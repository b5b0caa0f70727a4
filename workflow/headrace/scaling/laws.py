"""Amdahl's and Gustafson's laws, fitted to measured times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

ENOUGH = 0.7
"""Share of the ideal speed-up above which a worker is worth its keep."""


@dataclass(frozen=True)
class Law:
    """Seconds of `workers` workers as serial + parallel / workers."""

    serial_s: float
    parallel_s: float

    @property
    def serial_share(self) -> float:
        """Of the time of one worker."""
        return self.serial_s / (self.serial_s + self.parallel_s)

    def seconds(self, workers: float) -> float:
        """What the law says that so many workers take."""
        return self.serial_s + self.parallel_s / workers

    def speed_up(self, workers: float) -> float:
        """For the same work (Amdahl 1967, "Validity of the single processor approach to achieving large scale
        computing capabilities").
        """
        return self.seconds(1) / self.seconds(workers)

    def scaled_speed_up(self, workers: float) -> float:
        """For parallel work that grows with the workers (Gustafson 1988, "Reevaluating Amdahl's law")."""
        return workers - self.serial_share * (workers - 1)

    @property
    def limit(self) -> float:
        """The speed-up that no number of workers exceeds; infinite without a serial part."""
        return 1 / self.serial_share if self.serial_s else math.inf

    @property
    def last_worthwhile(self) -> float:
        """The most workers whose efficiency, speed-up over workers, is not below 70 %; infinite without an end."""
        if not self.serial_s:
            return math.inf
        # Efficiency is (a + b) / (a n + b) with a serial and b parallel; a hair is left for rounding.
        return math.floor(((self.serial_s + self.parallel_s) / ENOUGH - self.parallel_s) / self.serial_s + 1e-9)


def fit_law(seconds: Mapping[int, Sequence[float]]) -> Law:
    """Fit the law to seconds by number of workers, by least squares of relative errors of the medians.

    Neither part may be negative. Raises ValueError for fewer than two numbers of workers, or times not above zero.
    """
    times = {workers: median(values) for workers, values in seconds.items()}
    if len(times) < 2 or min(times) < 1 or not all(0 < value < math.inf for value in times.values()):
        raise ValueError(f"a law needs the positive times of two numbers of workers at least, not {times}")
    from scipy.optimize import nnls  # type: ignore[import-untyped, unused-ignore]

    # Rows (1, 1/n) / T times (serial, parallel) shall be 1; columns of one length, for the sake of rounding.
    columns = [[1 / value for value in times.values()], [1 / (workers * value) for workers, value in times.items()]]
    lengths = [math.hypot(*column) for column in columns]
    rows = [[one / lengths[0], other / lengths[1]] for one, other in zip(*columns, strict=True)]
    found, _ = nnls(rows, [1.0] * len(rows))
    return Law(*(float(part) / length for part, length in zip(found, lengths, strict=True)))
