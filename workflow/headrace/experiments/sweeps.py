"""From a sweep to its points."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

from headrace.experiments.config import Distribution, RandomSweep, Sweep
from headrace.provenance.manifests import canonical_json

Point = Mapping[str, Any]


def expand(sweep: Sweep | None) -> list[Point]:
    """The distinct points of a sweep, in a fixed order; one empty point without a sweep."""
    if sweep is None:
        return [{}]
    grid, together = sweep.grid or {}, sweep.zip or {}
    factors: list[list[dict[str, Any]]] = [[{name: value} for value in values] for name, values in grid.items()]
    if together:
        factors.append([dict(zip(together, values, strict=True)) for values in zip(*together.values(), strict=True)])
    if sweep.random:
        factors.append(draw(sweep.random))
    points = [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*factors)]
    return list({canonical_json(point): point for point in points}.values())


def draw(sweep: RandomSweep) -> list[dict[str, Any]]:
    """Each parameter has a generator of its own, so that adding one does not move the others."""
    generators = {name: random.Random(f"{sweep.seed}/{name}") for name in sweep.parameters}
    return [
        {name: draw_value(distribution, generators[name]) for name, distribution in sweep.parameters.items()}
        for _ in range(sweep.samples)
    ]


def draw_value(distribution: Distribution, generator: random.Random) -> Any:
    """One value, to 6 significant digits where it is a real number, so that it can be typed again."""
    if distribution.choice is not None:
        return generator.choice(distribution.choice)
    if distribution.integer is not None:
        return generator.randint(*distribution.integer)
    if distribution.uniform is not None:
        low, high = distribution.uniform
        return _rounded(generator.uniform(low, high), low, high)
    assert distribution.log_uniform is not None
    low, high = distribution.log_uniform
    return _rounded(math.exp(generator.uniform(math.log(low), math.log(high))), low, high)


def _rounded(value: float, low: float, high: float) -> float:
    return min(max(float(f"{value:.6g}"), low), high)
