"""Predictions of a penalised least squares fit, against scikit-learn."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import Ridge, RidgeClassifier
from threadpoolctl import threadpool_limits

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from headrace.running.workers import Workers
from sample_fits import Sample, as_dense, fit_apply, step

SOLVERS = ("lbfgs", "gradient_descent")
TIGHT = {"tolerance": 1e-10, "max_iterations": 20_000}


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def sample_of(inputs: Any, target: np.ndarray, num_train: int | None = None) -> Sample:
    classes = tuple(f"class {i}" for i in range(int(target.max()) + 1)) if target.dtype.kind == "i" else ()
    num_targets = 0 if classes else int(np.prod(target.shape[1:]))
    layout = "dense" if isinstance(inputs, np.ndarray) else "sparse"
    info = DataInfo(
        ("classification" if classes else "regression",),
        inputs.shape[0],
        inputs.shape[1:],
        tuple("abc"[: len(inputs.shape) - 1]),
        classes,
        tuple(np.bincount(target).tolist()) if classes else (),
        num_targets,
        layout=layout,  # type: ignore[arg-type]
        num_values=0 if layout == "dense" else inputs.nnz,
    )
    return Sample(inputs, info, inputs.shape[0] if num_train is None else num_train, target)


def problem(rows: int = 150, columns: int = 8, outputs: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns and targets of very different sizes, correlated and far from zero."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(rows, columns)) @ (
        np.eye(columns) + 0.5 * generator.normal(size=(columns, columns))
    )
    target = inputs @ generator.normal(size=(columns, outputs)) + generator.normal(size=(rows, outputs))
    return inputs * np.geomspace(1e-3, 1e3, columns) + 7, target * np.geomspace(1, 1e4, outputs) - 3


def expected_of(inputs: Any, target: np.ndarray, penalty: float, num_train: int) -> np.ndarray:
    rows = as_dense(inputs).reshape(inputs.shape[0], -1).astype(np.float64)
    model = Ridge(alpha=penalty * num_train, solver="svd")
    model.fit(rows[:num_train], target[:num_train].astype(np.float64))
    predicted: np.ndarray = model.predict(rows).reshape(len(rows), -1)
    return predicted


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the spread of each output."""
    return float((np.abs(found - expected).max(axis=0) / np.abs(expected).max(axis=0)).max())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 10.0])
@pytest.mark.parametrize("layout", ["float32", "float64", "images", "sparse float32", "sparse float64"])
def test_predictions_match_scikit_learn(solver: str, penalty: float, layout: str) -> None:
    inputs: Any
    inputs, target = problem()
    target = target.astype(np.float32)
    if "sparse" in layout:
        inputs = (inputs - 7) * (np.random.default_rng(1).random(inputs.shape) < 0.4)
        inputs = sparse.csr_array(inputs.astype(layout.removeprefix("sparse ")))
    else:
        inputs = inputs.reshape(-1, 2, 4) if layout == "images" else inputs.astype(layout)
    sample = sample_of(inputs, target, 100)
    spec = step("ridge", penalty=penalty, solver=solver, **TIGHT)
    data = sample.fit_data()
    found = sample.apply(spec, spec.fit(data))
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    assert found.dtype == np.float32
    assert found.shape == (150, 3) == (150, *spec.describe(sample.info, 100).shape)
    assert worst(found, expected_of(inputs, target, penalty, 100)) < 1e-5


def test_without_a_penalty_it_is_least_squares() -> None:
    inputs, target = problem()
    found = fit_apply(step("ridge", penalty=0.0, **TIGHT), sample_of(inputs, target.astype(np.float32)))
    columns = np.column_stack([inputs, np.ones(len(inputs))])
    solution, *_ = np.linalg.lstsq(columns, target.astype(np.float32).astype(float))
    assert worst(found, columns @ solution) < 1e-5


def test_a_single_target_may_have_no_dimension_of_its_own() -> None:
    inputs, target = problem(outputs=1)
    target = target.astype(np.float32)
    spec = step("ridge", **TIGHT)
    flat, column = fit_apply(spec, sample_of(inputs, target[:, 0])), fit_apply(spec, sample_of(inputs, target))
    assert flat.shape == (150, 1)
    assert np.array_equal(flat, column)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes_are_told_apart_as_by_scikit_learn(classes: int) -> None:
    generator = np.random.default_rng(classes)
    target = generator.permutation(np.arange(200) % classes)
    inputs = generator.normal(size=(200, 6)) + generator.normal(size=(classes, 6))[target]
    found = fit_apply(step("ridge", penalty=0.05, **TIGHT), sample_of(inputs, target))
    reference = RidgeClassifier(alpha=0.05 * 200, solver="svd").fit(inputs, target).decision_function(inputs)
    expected = np.column_stack([-reference, reference]) if classes == 2 else reference
    assert worst(found, expected) < 1e-5


def test_a_class_that_is_not_in_training_is_never_predicted() -> None:
    generator = np.random.default_rng(0)
    target = np.concatenate([generator.integers(0, 2, 80), np.full(20, 3)]).astype(np.int64)
    sample = sample_of(generator.normal(size=(100, 4)), target, 80)
    spec = step("ridge")
    found = sample.apply(spec, spec.fit(sample.fit_data()))
    assert found.shape == (100, 4) == (100, *spec.describe(sample.info, 80).shape)
    assert np.array_equal(found[:, 2:], np.full((100, 2), -1.0))


def test_large_offsets_cost_no_digits() -> None:
    inputs, target = problem()
    near = fit_apply(step("ridge", **TIGHT), sample_of(inputs, target))
    far = fit_apply(step("ridge", **TIGHT), sample_of(inputs + 1e6, target))
    assert worst(far, near) < 1e-6


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-30, 1e30, -12345.678])
@pytest.mark.parametrize("penalty", [0.0, 1e-3])
def test_a_constant_column_changes_nothing(constant: float, penalty: float) -> None:
    inputs, target = problem()
    more = np.column_stack([inputs, np.full(len(inputs), constant)])
    spec = step("ridge", penalty=penalty, **TIGHT)
    sample = sample_of(more, target)
    state = spec.fit(sample.fit_data())
    assert state["weights"][-1].tolist() == [0.0] * 3
    assert worst(sample.apply(spec, state), fit_apply(spec, sample_of(inputs, target))) < 1e-6


@given(
    rows=st.integers(2, 40),
    columns=st.integers(1, 12),
    outputs=st.integers(1, 3),
    rank=st.integers(0, 12),
    num_blocks=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    stored=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_any_shape_matches_scikit_learn(
    rows: int, columns: int, outputs: int, rank: int, num_blocks: int, density: float, stored: bool, seed: int
) -> None:
    """More columns than rows, dependent columns, empty rows and columns."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns))
    matrix *= generator.random(matrix.shape) < density
    target = generator.normal(size=(rows, outputs))
    sample = sample_of(sparse.csr_array(matrix) if stored else matrix, target)
    data = sample.fit_data(num_blocks)
    spec = step("ridge", penalty=0.01, **TIGHT)
    found = sample.apply(spec, spec.fit(data))
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    assert found == pytest.approx(expected_of(matrix, target, 0.01, rows), abs=1e-5)


def test_places_stored_twice_hold_the_sum_of_both() -> None:
    inputs, target = problem()
    whole = sparse.csr_array(inputs)
    twice = sparse.csr_array(
        (np.repeat(whole.data / 2, 2), np.repeat(whole.indices, 2), whole.indptr * 2), shape=whole.shape
    )
    spec = step("ridge", **TIGHT)
    assert worst(fit_apply(spec, sample_of(twice, target)), fit_apply(spec, sample_of(inputs, target))) < 1e-5


def test_equal_targets_need_no_iteration() -> None:
    inputs, _ = problem()
    data = sample_of(inputs, np.full((150, 1), 2.5, np.float32)).fit_data()
    state = step("ridge").fit(data)
    assert not state["weights"].any()
    assert state["intercept"].tolist() == [2.5]
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged


@pytest.mark.parametrize("stored", [False, True])
def test_inputs_may_come_first(stored: bool) -> None:
    inputs, target = problem()
    sample = sample_of(sparse.csr_array(inputs * (inputs > 7)) if stored else inputs, target)
    alone, kept = step("ridge"), step("ridge", keep_inputs=True)
    state = alone.fit(sample.fit_data())
    together, described = sample.apply(kept, state), kept.describe(sample.info, 150)
    assert described.shape == (11,)
    assert described.layout == ("sparse" if stored else "dense")
    assert isinstance(together, np.ndarray) != stored
    assert np.array_equal(as_dense(together)[:, :8], as_dense(sample.inputs).astype(np.float32))
    assert np.array_equal(as_dense(together)[:, 8:], sample.apply(alone, state))


def test_a_fit_that_does_not_converge_says_so() -> None:
    sample = sample_of(*problem())
    with pytest.raises(StageError, match=r"^ridge: gradient relative to the first one .* after 2 iterations, above"):
        step("ridge", max_iterations=2, on_no_convergence="error").fit(sample.fit_data())
    data = sample.fit_data()
    step("ridge", max_iterations=2).fit(data)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged


def test_data_with_nothing_to_predict_are_refused() -> None:
    sample = sample_of(*problem())
    with pytest.raises(ValueError, match=r"^kind: ridge predicts classes or numbers, and these data have neither$"):
        step("ridge").describe(replace(sample.info, num_targets=0), 100)


@pytest.mark.parametrize("solver", SOLVERS)
def test_workers_give_the_same_bits_as_this_process(solver: str, one_worker: Workers, two_workers: Workers) -> None:
    inputs, target = problem()
    spec = step("ridge", solver=solver, tolerance=1e-3)
    states = [
        spec.fit(sample_of(inputs, target.astype(np.float32)).fit_data(7, workers=opened, mib=64))
        for opened in (None, one_worker, two_workers)
    ]
    for other in states[1:]:
        assert {name: array.tobytes() for name, array in other.items()} == {
            name: array.tobytes() for name, array in states[0].items()
        }
