"""Principal components against scikit-learn: from covariances and by iteration, dense and sparse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.decomposition import PCA

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from headrace.preprocessing import pca
from sample_fits import Sample, dense_sample, fit_apply, step

WAYS = {"directly": 2048, "by iteration": 0}
"""What it is done by -> the most columns that are done directly."""


@pytest.fixture(params=WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(pca, "DIRECT_COLUMNS", WAYS[request.param])
    return str(request.param)


def decaying(num_rows: int, num_columns: int, seed: int = 2) -> np.ndarray:
    """Directions of variances that are told apart, around a mean that is not zero."""
    generator = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(generator.normal(size=(num_columns, num_columns)))
    spread = generator.normal(size=(num_rows, num_columns)) * 0.7 ** np.arange(num_columns)
    return spread @ turned + generator.normal(size=num_columns)


def sparse_sample(matrix: sparse.csr_array) -> Sample:
    rows, columns = matrix.shape
    info = DataInfo(("density",), rows, (columns,), ("term",), layout="sparse", num_values=matrix.nnz)
    return Sample(matrix, info, rows)


def precise(rank: int, **more: Any) -> Any:
    return step("pca", rank=rank, tolerance=1e-12, **more)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Up to signs."""
    signs = np.sign((found * expected).sum(axis=0))
    assert found.dtype == np.float32
    assert found * signs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_coordinates_and_variances_are_those_of_scikit_learn(rank: int, dtype: type, whiten: bool) -> None:
    values = decaying(90, 12).astype(dtype)
    reference = PCA(rank, whiten=whiten, svd_solver="full").fit(values.astype(np.float64))
    spec, sample = precise(rank, whiten=whiten), dense_sample(values)
    state = spec.fit(sample.fit_data())
    assert_same(sample.apply(spec, state), reference.transform(values.astype(np.float64)))
    assert state["variances"] == pytest.approx(reference.explained_variance_, rel=1e-8)
    assert state["mean"] == pytest.approx(reference.mean_, rel=1e-12)
    assert state["variances"] / state["total_variance"] == pytest.approx(reference.explained_variance_ratio_, rel=1e-8)
    assert state["vectors"] @ state["vectors"].T == pytest.approx(np.eye(rank), abs=1e-9)
    assert (state["vectors"][np.arange(rank), np.abs(state["vectors"]).argmax(axis=1)] > 0).all()


def test_fewer_samples_than_features_leave_one_direction_less() -> None:
    values = decaying(8, 20)
    reference = PCA(7, svd_solver="full").fit(values)
    assert_same(fit_apply(precise(7), values), reference.transform(values))


def test_images_are_rows_of_numbers() -> None:
    values = decaying(60, 12)
    assert fit_apply(precise(3), values.reshape(60, 4, 3)) == pytest.approx(fit_apply(precise(3), values), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_give_what_the_same_dense_ones_do(dtype: type) -> None:
    generator = np.random.default_rng(1)
    matrix = sparse.random_array((200, 30), density=0.1, format="csr", rng=generator, dtype=dtype)
    matrix = sparse.csr_array(matrix.multiply(0.8 ** np.arange(30)).astype(dtype))
    dense = matrix.toarray().astype(np.float64)
    reference = PCA(5, svd_solver="full").fit(dense)
    spec, sample = precise(5), sparse_sample(matrix)
    state = spec.fit(sample.fit_data())
    assert_same(sample.apply(spec, state), reference.transform(dense))
    assert state["variances"] == pytest.approx(reference.explained_variance_, rel=1e-8)


@pytest.mark.parametrize("form", [dense_sample, lambda values: sparse_sample(sparse.csr_array(values))])
def test_a_large_offset_costs_no_digits(form: Any) -> None:
    values = decaying(300, 6)
    values[:, [0, 3]] += 1e6
    reference = PCA(3, svd_solver="full").fit(values)
    spec, sample = precise(3), form(values)
    state = spec.fit(sample.fit_data())
    assert state["variances"] == pytest.approx(reference.explained_variance_, rel=1e-8)
    assert_same(sample.apply(spec, state), reference.transform(values))


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    num_rows, num_columns = draw(st.integers(2, 60)), draw(st.integers(1, 15))
    true_rank = draw(st.integers(0, min(num_rows - 1, num_columns)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = generator.normal(size=(num_rows, true_rank)) @ generator.normal(size=(true_rank, num_columns))
    values[generator.uniform(size=num_rows) < draw(st.sampled_from([0.0, 0.5]))] = 0
    values += draw(st.sampled_from([0.0, 5.0])) * (np.arange(num_columns) % 2)
    return values, draw(st.integers(1, min(num_rows - 1, num_columns))), draw(st.integers(1, 9))


@pytest.mark.parametrize("whiten", [False, True])
@given(drawn=tables())
@example(drawn=(np.zeros((6, 4)), 4, 2))
@example(drawn=(np.full((6, 4), 1e5), 3, 6))
@example(drawn=(np.array([[0.0], [1.0]]), 1, 2))
@settings(deadline=None, max_examples=15)
def test_any_rank_and_cut_gives_variances_and_distances(drawn: tuple[np.ndarray, int, int], whiten: bool) -> None:
    values, rank, num_blocks = drawn
    spec = precise(rank, whiten=whiten)
    expected = np.zeros(rank)
    found = (np.linalg.svd(values - values.mean(axis=0), compute_uv=False) ** 2 / (len(values) - 1))[:rank]
    expected[: len(found)] = found
    largest = max(expected[0], 1e-20 * (values**2).max())
    for sample in (dense_sample(values), sparse_sample(sparse.csr_array(values))):
        state = spec.fit(sample.fit_data(num_blocks))
        assert np.abs(state["variances"] - expected).max() <= 1e-8 * largest + 1e-25
        coordinates = np.asarray(sample.apply(spec, state), np.float64)
        assert np.isfinite(coordinates).all()
        varies = expected > 1e-6 * largest
        spread = coordinates.var(axis=0, ddof=1)
        assert spread[varies] == pytest.approx(np.ones(varies.sum()) if whiten else expected[varies], rel=1e-4)
        assert (spread[expected <= 1e-20] <= 1e-9 * max(1.0, (values**2).max())).all()


def test_what_is_said_of_the_end_comes_from_the_data() -> None:
    values = decaying(80, 10)
    data = dense_sample(values).fit_data()
    state = step("pca", rank=3, tolerance=1e-3).fit(data)
    found = data.progress.convergence
    assert found is not None
    assert found.measure == "relative residual"
    scatter = 79 * np.cov(values.T)
    squares = 79 * state["variances"]
    residual = np.abs(scatter @ state["vectors"].T - state["vectors"].T * squares).max() / squares[0]
    assert found.value == pytest.approx(residual, rel=1e-6, abs=1e-13)
    assert found.converged


def test_vectors_that_are_wrong_are_found_out(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way != "directly":
        return
    find = pca._leading_eigenvectors

    def wrong(comoments: Any, rank: int) -> Any:
        found = find(comoments, rank)
        return {**found, "vectors": np.roll(found["vectors"], 1, axis=1)}

    monkeypatch.setattr(pca, "_leading_eigenvectors", wrong)
    with pytest.raises(StageError, match=r"pca: relative residual 0\.\d+ after 1 iterations, above tolerance"):
        step("pca", rank=2, on_no_convergence="error").fit(dense_sample(decaying(80, 10)).fit_data())


def test_too_few_iterations_are_told_and_too_few_samples_refused(way: str) -> None:
    values = np.random.default_rng(0).normal(size=(300, 200))
    few = {"rank": 3, "tolerance": 1e-12, "max_iterations": 2, "on_no_convergence": "error"}
    if way == "directly":
        assert step("pca", **few).fit(dense_sample(values).fit_data())["vectors"].shape == (3, 200)
    else:
        with pytest.raises(StageError, match=r"pca: relative residual .* after 2 iterations, above tolerance"):
            step("pca", **few).fit(dense_sample(values).fit_data())
    info = DataInfo(tasks=("density",), num_samples=50, shape=(4, 5), dims=("height", "width"), unit_interval=True)
    described = step("pca", rank=20).describe(info, 40)
    assert (described.shape, described.dims, described.unit_interval) == ((20,), ("component",), False)
    with pytest.raises(ValueError, match=r"^rank: 21 is too much .* allowed: 1 to 20$"):
        step("pca", rank=21).describe(info, 40)
    with pytest.raises(ValueError, match=r"^rank: 10 is too much .* 10 training samples, .* allowed: 1 to 9$"):
        step("pca", rank=10).describe(info, 10)
    with pytest.raises(ValueError, match=r"^rank: 1 is too much .* allowed: nothing, with so few samples$"):
        step("pca", rank=1).describe(info, 1)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_fit_that_was_killed_ends_in_the_same_bits(after: int, tmp_path: Path, way: str) -> None:
    sample = dense_sample(np.random.default_rng(0).normal(size=(120, 70)))
    spec = step("pca", rank=2, tolerance=1e-9)
    whole = sample.fit_data()
    expected = spec.fit(whole)
    if after > len(whole.progress.trace):
        assert way == "directly"
        return
    data = sample.fit_data(folder=tmp_path, every_s=0.0)
    note = data.progress.note

    def killed(value: float, state: Any) -> None:
        note(value, state)
        if len(data.progress.trace) == after:
            raise KeyboardInterrupt

    data.progress.note = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        spec.fit(data)
    again = sample.fit_data(folder=tmp_path, every_s=0.0)
    state = spec.fit(again)
    assert {name: array.tobytes() for name, array in state.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    assert [line["value"] for line in again.progress.trace] == [line["value"] for line in whole.progress.trace]
    assert again.progress.convergence is not None
    assert whole.progress.convergence is not None
    assert again.progress.convergence.value == whole.progress.convergence.value
