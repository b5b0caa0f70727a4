"""What a multinomial logistic regression says of samples, against scikit-learn."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import check_grad
from scipy.special import log_softmax
from scipy.special import softmax as expected_softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from headrace.linalg import centred, linear_fits
from headrace.linalg.blocks import RowBlocks
from headrace.linalg.linear_fits import softmax
from headrace.running.workers import Workers
from sample_fits import Sample, as_dense, borders_of, fit_apply, read_cut, step

SOLVERS = ("lbfgs", "gradient_descent")
TIGHT = {"tolerance": 1e-9, "max_iterations": 20_000}


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def sample_of(inputs: Any, target: np.ndarray, num_train: int | None = None, classes: int | None = None) -> Sample:
    names = tuple(f"class {i}" for i in range(int(target.max()) + 1 if classes is None else classes))
    layout = "dense" if isinstance(inputs, np.ndarray) else "sparse"
    counts = tuple(np.bincount(target, minlength=len(names)).tolist())
    dims, stored = tuple("abc"[: len(inputs.shape) - 1]), 0 if layout == "dense" else inputs.nnz
    info = DataInfo(("classification",), inputs.shape[0], inputs.shape[1:], dims, names, counts)
    info = replace(info, layout=layout, num_values=stored)  # type: ignore[arg-type]
    return Sample(inputs, info, inputs.shape[0] if num_train is None else num_train, target)


def problem(rows: int = 200, columns: int = 8, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes of different sizes; columns of different sizes, far from zero."""
    generator = np.random.default_rng(seed)
    target = np.sort(generator.integers(0, 2 * classes, rows) % classes * (generator.random(rows) < 0.8))
    target = generator.permutation(np.concatenate([np.arange(classes), target[classes:]])).astype(np.int64)
    inputs = generator.normal(size=(rows, columns)) + 0.7 * generator.normal(size=(classes, columns))[target]
    return inputs * np.geomspace(0.1, 10, columns) + 3, target


def expected_of(inputs: Any, target: np.ndarray, penalty: float, num_train: int) -> np.ndarray:
    rows = as_dense(inputs).reshape(inputs.shape[0], -1).astype(np.float64)
    # Two classes have one vector of weights for both there, which is penalised half as much.
    inverse = (2 if len(np.unique(target[:num_train])) == 2 else 1) / (penalty * num_train)
    model = LogisticRegression(C=inverse, tol=1e-12, max_iter=5000, solver="newton-cholesky")
    model.fit(rows[:num_train], target[:num_train])
    probabilities: np.ndarray = model.predict_proba(rows)
    return probabilities


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("penalty", [1e-3, 0.3])
@pytest.mark.parametrize("layout", ["float32", "float64", "images", "sparse float32", "sparse float64"])
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_match_scikit_learn(solver: str, penalty: float, layout: str, classes: int) -> None:
    inputs: Any
    inputs, target = problem(classes=classes)
    if "sparse" in layout:
        inputs = (inputs - 3) * (np.random.default_rng(1).random(inputs.shape) < 0.5)
        inputs = sparse.csr_array(inputs.astype(layout.removeprefix("sparse ")))
    else:
        inputs = inputs.reshape(-1, 2, 4) if layout == "images" else inputs.astype(layout)
    sample = sample_of(inputs, target, 150)
    spec = step("logistic_features", penalty=penalty, solver=solver, **TIGHT)
    data = sample.fit_data()
    found = sample.apply(spec, spec.fit(data))
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    assert found.dtype == np.float32
    assert found.shape == (200, classes) == (200, *spec.describe(sample.info, 150).shape)
    assert np.abs(found - expected_of(inputs, target, penalty, 150)).max() < 1e-4


def test_the_minimum_is_that_of_the_documented_objective() -> None:
    """Mean of -log p(own class) + penalty / 2 times the squared weights: no other place is lower."""
    inputs, target = problem()
    penalty = 0.05
    state = step("logistic_features", penalty=penalty, **TIGHT).fit(sample_of(inputs, target).fit_data())

    def objective(weights: np.ndarray, intercept: np.ndarray) -> float:
        loss = -log_softmax(inputs @ weights + intercept, axis=1)[np.arange(len(target)), target].mean()
        return float(loss + penalty / 2 * (weights**2).sum())

    lowest = objective(state["weights"], state["intercept"])
    generator = np.random.default_rng(0)
    for _ in range(20):
        weights = generator.normal(size=state["weights"].shape) * 1e-3
        intercept = generator.normal(size=3) * 1e-3
        assert objective(state["weights"] + weights, state["intercept"] + intercept) > lowest


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("piece", [1, 100, 2**21])
def test_the_slopes_are_those_of_the_loss(stored: bool, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centred, "PIECE_NUMBERS", piece)
    inputs, target = problem(rows=30, columns=4)
    block = (sparse.csr_array(inputs) if stored else inputs), target
    mean, present = inputs.mean(axis=0), np.arange(3)

    def look(numbers: np.ndarray) -> np.ndarray:
        return linear_fits._softmax_pass(block, mean, numbers[3:].reshape(4, 3), numbers[:3], present)

    def look_at_squares(numbers: np.ndarray) -> np.ndarray:
        centre, spread = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5])
        return linear_fits._squares_pass(block, mean, numbers.reshape(4, 3), centre, spread)

    point = np.random.default_rng(0).normal(size=15) / 10
    for function, start in ((look, point), (look_at_squares, point[3:])):
        error = check_grad(lambda x: function(x)[0], lambda x: function(x)[1:], start)  # noqa: B023
        assert error < 1e-4 * np.linalg.norm(function(start)[1:])


def test_logits_are_what_probabilities_are_made_of() -> None:
    sample = sample_of(*problem(classes=4))
    probabilities, logits = step("logistic_features"), step("logistic_features", output="logits")
    state = probabilities.fit(sample.fit_data())
    found = sample.apply(logits, state)
    assert found.dtype == np.float32
    assert expected_softmax(found, axis=1) == pytest.approx(sample.apply(probabilities, state), abs=1e-5)
    assert np.abs(found.sum(axis=1)).max() < 1e-4 * np.abs(found).max()
    assert probabilities.describe(sample.info, 100).unit_interval
    assert not logits.describe(sample.info, 100).unit_interval


def test_large_logits_do_not_overflow() -> None:
    found = softmax(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]]))
    assert found == pytest.approx(np.array([[1, 0, 0], [1 / 3] * 3]))
    block = np.array([[1.0], [-1.0]]), np.array([0, 0])
    looked = linear_fits._softmax_pass(block, np.zeros(1), np.array([[1e4, -1e4]]), np.zeros(2), np.arange(2))
    assert looked.tolist() == pytest.approx([2e4, -1, 1, 1, -1])


@given(
    rows=st.integers(4, 40),
    columns=st.integers(1, 10),
    classes=st.integers(2, 4),
    num_blocks=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    stored=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_any_shape_matches_scikit_learn(
    rows: int, columns: int, classes: int, num_blocks: int, density: float, stored: bool, seed: int
) -> None:
    """More columns than rows, empty rows and columns, a single row of a class, blocks without some classes."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, columns)) * (generator.random((rows, columns)) < density)
    target = np.concatenate([np.arange(classes), generator.integers(0, classes, rows - classes)])
    sample = sample_of(sparse.csr_array(matrix) if stored else matrix, target)
    data = sample.fit_data(num_blocks)
    spec = step("logistic_features", penalty=0.02, **TIGHT)
    found = sample.apply(spec, spec.fit(data))
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    assert found.sum(axis=1) == pytest.approx(np.ones(rows), abs=1e-5)
    assert np.abs(found - expected_of(matrix, target, 0.02, rows)).max() < 1e-4


def test_classes_that_a_line_divides_converge_without_a_penalty() -> None:
    inputs = np.linspace(-1, 1, 40)[:, None]
    sample = sample_of(inputs, (inputs[:, 0] > 0).astype(np.int64))
    data = sample.fit_data()
    spec = step("logistic_features", penalty=0.0)
    found = sample.apply(spec, spec.fit(data))
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    assert np.array_equal(found.argmax(axis=1), sample.target)


@pytest.mark.parametrize("with_info", [True, False])
def test_a_class_without_training_samples_has_no_probability(with_info: bool) -> None:
    inputs, target = problem(classes=2)
    target = target * 2
    target[150:] = 1
    sample = sample_of(inputs, target, 150, classes=4 if with_info else None)
    data = sample.fit_data()
    if not with_info:
        data = replace(data, info=None)
    spec = step("logistic_features", **TIGHT)
    state = spec.fit(data)
    found = sample.apply(spec, state)
    assert found.shape == (200, 4 if with_info else 3) == (200, *spec.describe(sample.info, 150).shape)
    absent = [1, 3] if with_info else [1]
    assert not found[:, absent].any()
    assert np.abs(found[:, [0, 2]] - expected_of(inputs, target, 1e-3, 150)).max() < 1e-4
    logits = sample.apply(step("logistic_features", output="logits"), state)
    assert np.array_equal(logits[:, absent], np.repeat(logits[:, [0, 2]].min(axis=1)[:, None], len(absent), axis=1))


def test_training_samples_of_one_class_are_refused() -> None:
    inputs, target = problem(classes=2)
    target[:150], target[150:] = 1, 0
    with pytest.raises(StageError, match=r"^logistic_features: all training samples are of one class \(code 1\); .*$"):
        step("logistic_features").fit(sample_of(inputs, target, 150).fit_data())


@pytest.mark.parametrize(("names", "found"), [((), "no classes"), (("only",), "1 class")])
def test_data_without_two_classes_are_refused(names: tuple[str, ...], found: str) -> None:
    info = replace(sample_of(*problem()).info, class_names=names)
    with pytest.raises(
        ValueError, match=rf"^kind: logistic_features tells classes apart, and these data have {found}; allowed: 2 or"
    ):
        step("logistic_features").describe(info, 100)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_inputs_may_come_first(stored: bool, output: str) -> None:
    inputs, target = problem()
    sample = sample_of(sparse.csr_array(inputs * (inputs > 3)) if stored else inputs, target)
    alone, kept = (step("logistic_features", output=output, keep_inputs=keep) for keep in (False, True))
    state = alone.fit(sample.fit_data())
    together, described = sample.apply(kept, state), kept.describe(sample.info, 200)
    assert described.shape == (11,)
    assert described.layout == ("sparse" if stored else "dense")
    assert isinstance(together, np.ndarray) != stored
    assert np.array_equal(as_dense(together)[:, :8], as_dense(sample.inputs).astype(np.float32))
    assert np.array_equal(as_dense(together)[:, 8:], sample.apply(alone, state))


def test_a_constant_column_has_no_weight() -> None:
    inputs, target = problem()
    more = np.column_stack([inputs, np.full(len(inputs), 0.1)])
    spec = step("logistic_features", penalty=0.0, **TIGHT)
    sample = sample_of(more, target)
    state = spec.fit(sample.fit_data())
    assert state["weights"][-1].tolist() == [0.0] * 3
    assert sample.apply(spec, state) == pytest.approx(fit_apply(spec, sample_of(inputs, target)), abs=1e-5)


def test_a_fit_that_does_not_converge_says_so() -> None:
    sample = sample_of(*problem())
    with pytest.raises(StageError, match=r"^logistic_features: gradient relative to the first one .* after 3 iter"):
        step("logistic_features", max_iterations=3, on_no_convergence="error").fit(sample.fit_data())


def bits(state: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


@pytest.mark.parametrize("solver", SOLVERS)
def test_workers_give_the_same_bits_as_this_process(solver: str, one_worker: Workers, two_workers: Workers) -> None:
    inputs, target = problem()
    spec = step("logistic_features", solver=solver, tolerance=1e-2)
    data = sparse.csr_array(inputs * (inputs > 3)) if solver == "lbfgs" else inputs
    states = [
        spec.fit(sample_of(data, target).fit_data(7, workers=opened, mib=64))
        for opened in (None, one_worker, two_workers)
    ]
    assert bits(states[0]) == bits(states[1]) == bits(states[2])


@pytest.mark.usefixtures("sockets_may_leak")
def test_a_worker_killed_in_the_middle_changes_no_bit(
    two_workers: Workers, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    inputs, target = problem()
    sample = sample_of(inputs, target)
    spec = step("logistic_features", tolerance=1e-2)
    expected = spec.fit(sample.fit_data(8))
    marker, reads = tmp_path / "killed", tmp_path / "reads"

    def read(part: slice) -> Any:
        with reads.open("a") as file:
            file.write(".")
        if reads.stat().st_size > 8 * 5 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return read_cut((inputs, target), part)

    parts = borders_of(200, 8)
    readers = [lambda part=part: read(part) for part in parts]
    sizes = [part.stop - part.start for part in parts]
    data = replace(sample.fit_data(8), labelled=RowBlocks(readers, two_workers, sizes=sizes))
    try:
        found = run_with_limit(lambda: spec.fit(data), seconds=60)
    finally:
        two_workers.client.wait_for_workers(2, timeout=30)
    assert marker.exists()
    assert bits(found) == bits(expected)
