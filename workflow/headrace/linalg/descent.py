"""Minima of smooth convex functions whose value and gradient are computed together, in a pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headrace.linalg.progress import Progress

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""(numbers,) to the value there and the gradient (numbers,)."""
Solver = Literal["lbfgs", "gradient_descent"]

MEMORY = 10
"""Steps that L-BFGS remembers."""
DECREASE, CURVATURE = 1e-4, 0.9
"""Of the slope at the start of a step: the share that the value must fall by, and the share that may be left of the
slope. Nocedal and Wright 2006, section 3.1."""
ROUNDING = 1e-13
"""Relative to a value: differences that a sum over all data may have by rounding alone."""
TRIALS = 40
"""Points that a line search looks at, at most."""


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended."""

    point: np.ndarray
    """(numbers,)"""
    value: float
    gradient: float
    """Norm of the gradient relative to the first one; from one more evaluation at `point`."""


@dataclass(frozen=True)
class _Place:
    """A point on the way, with what the objective says of it."""

    point: np.ndarray
    value: float
    gradient: np.ndarray


@dataclass(frozen=True)
class _Trial:
    """A place on a line, `length` directions away from where it begins."""

    length: float
    place: _Place
    slope: float


def minimise(
    objective: Objective,
    start: np.ndarray,
    *,
    solver: Solver,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
    least: float = 0.0,
) -> Minimum:
    """Go downhill from `start` (numbers,) until the norm of the gradient is not above `tolerance` times the first one.

    `lbfgs` is the two-loop recursion (Nocedal 1980, https://doi.org/10.1090/S0025-5718-1980-0572855-7) with a line
    search for the strong Wolfe conditions. `gradient_descent` backtracks from the step length of Barzilai and Borwein
    (1988, https://doi.org/10.1093/imanum/8.1.141) to what decreases enough (Armijo 1966,
    https://doi.org/10.2140/pjm.1966.16.1). The trace holds the relative norms. A first gradient with a norm below
    `least` counts as that long. It ends early where a search finds nothing that is lower.
    """
    walk = _LBFGS() if solver == "lbfgs" else _GradientDescent()
    state = progress.resume()
    if state is None:
        place = _Place(start, *objective(start))
        first = max(float(np.linalg.norm(place.gradient)), least)
    else:
        place = _Place(np.array(state["point"]), float(state["value"]), np.array(state["gradient"]))
        first = float(state["first"])
        walk.resume(state)

    def relative(gradient: np.ndarray) -> float:
        return float(np.linalg.norm(gradient)) / first if first > 0 else 0.0

    def saved() -> dict[str, np.ndarray]:
        own = {"point": place.point, "value": np.array(place.value), "gradient": place.gradient}
        return {**own, "first": np.array(first), **walk.state()}

    while len(progress.trace) < max_iterations and relative(place.gradient) > tolerance:
        after = walk.step(objective, place)
        if after is None:
            break
        place = after
        progress.note(relative(place.gradient), saved)
    value, gradient = objective(place.point)
    return Minimum(place.point, value, relative(gradient))


class _GradientDescent:
    """Along the negative gradient."""

    def __init__(self) -> None:
        self.length = 1.0

    def resume(self, state: dict[str, np.ndarray]) -> None:
        self.length = float(state["length"])

    def state(self) -> dict[str, np.ndarray]:
        return {"length": np.array(self.length)}

    def step(self, objective: Objective, place: _Place) -> _Place | None:
        """The next place; None where there is none that is lower."""
        line = _Line(objective, place, -place.gradient)
        found = line.backtrack(self.length)
        if found is None:
            return None
        moved, change = found.place.point - place.point, found.place.gradient - place.gradient
        bend = float(moved @ change)
        self.length = float(moved @ moved) / bend if bend > 0 else 2 * found.length
        return found.place


class _LBFGS:
    """Along the gradient times an estimate of the inverse Hessian from the newest steps."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.changes: list[np.ndarray] = []

    def resume(self, state: dict[str, np.ndarray]) -> None:
        # Arrays of their own, as before: what a product's last bit is may depend on where a row lies in memory.
        self.steps, self.changes = list(map(np.array, state["steps"])), list(map(np.array, state["changes"]))

    def state(self) -> dict[str, np.ndarray]:
        return {"steps": np.array(self.steps), "changes": np.array(self.changes)}

    def step(self, objective: Objective, place: _Place) -> _Place | None:
        """The next place; None where there is none that is lower."""
        found = _Line(objective, place, self._direction(place.gradient)).search()
        if found is None and self.steps:
            # Old curvature may mislead where rounding is all that is left; the gradient itself does not.
            self.steps, self.changes = [], []
            found = _Line(objective, place, -place.gradient).search()
        if found is None:
            return None
        moved, change = found.place.point - place.point, found.place.gradient - place.gradient
        if float(moved @ change) > np.finfo(np.float64).eps * float(change @ change):
            self.steps = [*self.steps, moved][-MEMORY:]
            self.changes = [*self.changes, change][-MEMORY:]
        return found.place

    def _direction(self, gradient: np.ndarray) -> np.ndarray:
        """The two-loop recursion: Nocedal and Wright 2006, algorithm 7.4."""
        direction = -gradient
        pairs = list(zip(self.steps, self.changes, strict=True))
        shares = []
        for moved, change in reversed(pairs):
            share = float(moved @ direction) / float(moved @ change)
            direction = direction - share * change
            shares.append(share)
        if pairs:
            moved, change = pairs[-1]
            direction = direction * (float(moved @ change) / float(change @ change))
        for (moved, change), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + (share - float(change @ direction) / float(moved @ change)) * moved
        return direction


class _Line:
    """Places along a direction in which the value falls, and the searches for a good one."""

    def __init__(self, objective: Objective, start: _Place, direction: np.ndarray) -> None:
        self.objective, self.start, self.direction = objective, start, direction
        self.slope = float(start.gradient @ direction)

    def try_length(self, length: float) -> _Trial:
        point = self.start.point + length * self.direction
        place = _Place(point, *self.objective(point))
        return _Trial(length, place, float(place.gradient @ self.direction))

    def is_lower(self, trial: _Trial) -> bool:
        """Whether the value falls enough; where rounding hides that, whether the slope says so.

        The second is the approximate condition of Hager and Zhang (2005, https://doi.org/10.1137/030601880, section 4).
        """
        value, start = trial.place.value, self.start.value
        if value <= start + DECREASE * trial.length * self.slope:
            return True
        return value <= start + ROUNDING * abs(start) and trial.slope <= (2 * DECREASE - 1) * self.slope

    def backtrack(self, length: float) -> _Trial | None:
        """The first of `length`, its half, and so on that is low enough; None where that is nowhere in sight."""
        for _ in range(TRIALS):
            trial = self.try_length(length)
            if self.is_lower(trial):
                return trial
            length /= 2
        return None

    def search(self) -> _Trial | None:
        """A place for which the strong Wolfe conditions hold; or else the farthest one that is low enough, if any.

        Slopes of a convex function rise, so that those of both ends tell where to look next: the length at which the
        slope would be zero, if it changed in proportion (Nocedal and Wright 2006, section 3.5, with slopes alone).
        """
        if not self.slope < 0:
            return None
        low, high, length = _Trial(0.0, self.start, self.slope), None, 1.0
        for _ in range(TRIALS):
            trial = self.try_length(length)
            if not self.is_lower(trial):
                high = trial
            elif abs(trial.slope) <= CURVATURE * abs(self.slope):
                return trial
            elif trial.slope < 0:
                low = trial
            else:
                high = trial
            length = _between(low, high) if high is not None else _beyond(low, self.slope)
        return low if low.length > 0 else None


def _between(low: _Trial, high: _Trial) -> float:
    """Where the slope would be zero, but never close to the ends."""
    width = high.length - low.length
    share = 0.5
    if np.isfinite(high.slope) and high.slope > 0:
        share = min(max(low.slope / (low.slope - high.slope), 0.1), 0.9)
    return low.length + share * width


def _beyond(low: _Trial, first: float) -> float:
    """Where the slope would be zero behind the farthest place so far, two to ten times as far."""
    gained = low.slope - first
    length = first / -gained * low.length if gained > 0 else np.inf
    return min(max(length, 2 * low.length), 10 * low.length)
