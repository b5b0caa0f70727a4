"""Minimisation of convex functions, against scipy and against minima known in closed form."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from headrace.linalg import descent
from headrace.linalg.descent import Minimum, Objective, minimise
from headrace.linalg.progress import Progress

SOLVERS = ("lbfgs", "gradient_descent")
both_solvers = pytest.mark.parametrize("solver", SOLVERS)


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


class Counted:
    """An objective that counts how often it is asked, and where."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.points: list[np.ndarray] = []

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        self.points.append(point.copy())
        return self.objective(point)


def quadratic(numbers: int, condition: float, seed: int = 0) -> tuple[Objective, np.ndarray]:
    """One half x'Ax - b'x with eigenvalues from 1 to `condition`, and where its minimum is."""
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.normal(size=(numbers, numbers)))
    matrix = (vectors * np.geomspace(1, condition, numbers)) @ vectors.T
    minimum = generator.normal(size=numbers)
    image = matrix @ minimum
    return lambda x: (float(x @ matrix @ x) / 2 - float(image @ x), matrix @ x - image), minimum


def softplus(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Convex, flat far out, with a kink that is smooth at a scale of 0.01: unlike any quadratic."""
    shifted = (x - np.arange(len(x))) / 0.01
    value = 0.01 * np.logaddexp(shifted, -shifted).sum() + 1e-3 * (x @ x)
    return float(value), np.tanh(shifted) + 2e-3 * x


def run(
    objective: Objective,
    start: np.ndarray,
    solver: Any,
    tolerance: float = 1e-9,
    max_iterations: int = 5000,
    progress: Progress | None = None,
    **options: float,
) -> tuple[Minimum, list[float]]:
    progress = progress or Progress()
    options = {"tolerance": tolerance, **options}
    found = minimise(objective, start, solver=solver, max_iterations=max_iterations, progress=progress, **options)  # type: ignore[arg-type]
    return found, [line["value"] for line in progress.trace]


@both_solvers
@given(numbers=st.integers(1, 30), exponent=st.floats(0, 4), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_quadratics_end_in_their_minimum(solver: str, numbers: int, exponent: float, seed: int) -> None:
    objective, minimum = quadratic(numbers, 10**exponent, seed)
    found, trace = run(objective, np.zeros(numbers), solver)
    assert found.gradient <= 1e-9
    assert np.linalg.norm(found.point - minimum) <= 1e-9 * 10**exponent * max(1, np.linalg.norm(minimum))
    assert trace[-1] == found.gradient


@both_solvers
def test_a_function_with_sharp_bends_ends_where_scipy_ends(solver: str) -> None:
    start = np.full(6, 40.0)
    found, _ = run(softplus, start, solver)
    expected = minimize(softplus, start, jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 10_000})
    assert found.gradient <= 1e-9
    assert found.point == pytest.approx(expected.x, abs=1e-7)
    assert found.value == pytest.approx(expected.fun, rel=1e-12)


@both_solvers
def test_logistic_regression_ends_where_scipy_ends(solver: str) -> None:
    generator = np.random.default_rng(2)
    inputs, signs = generator.normal(size=(200, 8)) * np.geomspace(0.1, 10, 8), generator.choice([-1.0, 1.0], 200)

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (inputs @ weights)
        value = np.logaddexp(0, -margins).mean() + 0.005 * weights @ weights
        return float(value), -inputs.T @ (signs / (1 + np.exp(margins))) / 200 + 0.01 * weights

    found, _ = run(objective, np.zeros(8), solver)
    expected = minimize(objective, np.zeros(8), jac=True, method="BFGS", options={"gtol": 1e-11})
    assert found.point == pytest.approx(expected.x, abs=1e-8)


@both_solvers
def test_the_value_never_rises(solver: str) -> None:
    objective, _ = quadratic(20, 1e4)
    values = []
    progress = Progress()
    note = progress.note

    def keep(value: float, state: Any) -> None:
        values.append(float(state()["value"]))
        note(value, state)

    progress.note = keep  # type: ignore[method-assign]
    run(objective, np.zeros(20), solver, progress=progress)
    assert len(values) > 10
    assert all(b <= a + 1e-12 * abs(a) for a, b in pairwise(values))


def test_the_memory_of_steps_saves_passes() -> None:
    passes = {}
    for solver in SOLVERS:
        objective = Counted(quadratic(60, 1e4)[0])
        run(objective, np.zeros(60), solver, tolerance=1e-6)
        passes[solver] = len(objective.points)
    assert passes["lbfgs"] < 0.7 * passes["gradient_descent"]
    # A step takes hardly more than one pass.
    objective = Counted(quadratic(60, 1e4)[0])
    _, trace = run(objective, np.zeros(60), "lbfgs", tolerance=1e-6)
    assert len(objective.points) <= 1.3 * len(trace) + 3


@both_solvers
def test_what_is_said_at_the_end_is_evaluated_there_once_more(solver: str) -> None:
    objective = Counted(quadratic(10, 100)[0])
    found, _ = run(objective, np.zeros(10), solver)
    assert np.array_equal(objective.points[-1], found.point)
    value, gradient = objective.objective(found.point)
    assert found.value == value
    assert found.gradient == np.linalg.norm(gradient) / np.linalg.norm(objective.objective(np.zeros(10))[1])


@both_solvers
def test_nothing_is_done_where_the_gradient_is_zero(solver: str) -> None:
    objective = Counted(lambda x: (float(x @ x), 2 * x))
    found, trace = run(objective, np.zeros(3), solver)
    assert (found.gradient, trace, found.point.tolist()) == (0.0, [], [0.0] * 3)


@both_solvers
def test_a_first_gradient_that_is_but_rounding_counts_as_longer(solver: str) -> None:
    found, trace = run(lambda x: (float(x @ x), 2 * x), np.full(3, 1e-16), solver, tolerance=1e-6, least=1e-8)
    assert trace == []
    assert found.gradient < 1e-6


@both_solvers
def test_steps_stop_at_the_limit(solver: str) -> None:
    objective, _ = quadratic(30, 1e4)
    found, trace = run(objective, np.zeros(30), solver, max_iterations=4)
    assert len(trace) == 4
    assert found.gradient > 1e-9


@both_solvers
def test_rounding_leads_nobody_astray(solver: str) -> None:
    objective, minimum = quadratic(10, 1e3)
    found, trace = run(objective, np.zeros(10), solver, tolerance=1e-30, max_iterations=500)
    assert trace[-1] > 1e-30
    assert found.point == pytest.approx(minimum, abs=1e-6)
    # A value this far from zero hides all of the fall but for the slopes.
    found, _ = run(lambda x: (objective(x)[0] + 1e9, objective(x)[1]), np.zeros(10), solver, tolerance=1e-11)
    assert found.gradient <= 1e-11


@both_solvers
def test_places_where_the_function_is_not_defined_are_avoided(solver: str) -> None:
    """The logarithm of a negative number is nan: a barrier that the first step, and others, jump over."""

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        if (x <= 0).any():
            return float("nan"), np.full_like(x, np.nan)
        return float((100 * x - np.log(x)).sum()), 100 - 1 / x

    found, _ = run(objective, np.array([1.0, 2.0, 5.0]), solver)
    assert found.point == pytest.approx([0.01] * 3, rel=1e-7)


@both_solvers
def test_it_ends_where_nothing_is_lower(solver: str) -> None:
    start = np.array([3.0, 4.0])
    found, trace = run(lambda x: (float(x @ x), -2 * x), start, solver)
    assert trace == []
    assert np.array_equal(found.point, start)
    assert found.gradient == 1.0


def test_steps_are_long_where_the_function_is_nearly_flat() -> None:
    objective = Counted(lambda x: (1e-8 * float(x @ x) / 2, 1e-8 * x))
    for solver in SOLVERS:
        objective.points = []
        run(objective, np.full(3, 1e6), solver, tolerance=1e-6)
        assert len(objective.points) < 20, solver


@both_solvers
def test_a_step_falls_far_enough_for_its_length(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Armijo's condition at every step; for L-BFGS the slope along the step falls as well."""
    seen = []
    search, backtrack = descent._Line.search, descent._Line.backtrack

    def keep(line: Any, found: Any) -> Any:
        seen.append((line, found))
        return found

    monkeypatch.setattr(descent._Line, "search", lambda self: keep(self, search(self)))
    monkeypatch.setattr(descent._Line, "backtrack", lambda self, length: keep(self, backtrack(self, length)))
    run(softplus, np.full(6, 40.0), solver, tolerance=1e-5)
    assert len(seen) > 5
    for line, found in seen:
        assert line.slope < 0
        assert found.place.value <= line.start.value + 1e-4 * found.length * line.slope + 1e-13 * line.start.value
        if solver == "lbfgs":
            assert abs(found.slope) <= 0.9 * abs(line.slope)


@both_solvers
@pytest.mark.parametrize("after", [1, 2, 7, 15, 25])
def test_a_fit_that_was_killed_goes_on_to_the_same_bits(solver: str, after: int, tmp_path: Path) -> None:
    objective, _ = quadratic(30, 1e3)
    whole, expected = run(objective, np.zeros(30), solver, tolerance=1e-8)
    assert len(expected) > 25
    progress = Progress(tmp_path, every_s=0.0)
    note = progress.note

    def killed(value: float, state: Any) -> None:
        note(value, state)
        if len(progress.trace) == after:
            raise KeyboardInterrupt

    progress.note = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run(objective, np.zeros(30), solver, tolerance=1e-8, progress=progress)
    # The start is not looked at again.
    found, trace = run(objective, np.full(30, np.nan), solver, 1e-8, progress=Progress(tmp_path, every_s=0.0))
    assert found.point.tobytes() == whole.point.tobytes()
    assert trace == expected
