"""Clusters around centres as features, against scikit-learn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from sample_fits import Sample, as_dense, dense_sample, fit_apply, step


def blobs(rows: int = 300, columns: int = 5, clusters: int = 4, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    middles = 10 * generator.normal(size=(clusters, columns))
    return middles[generator.integers(0, clusters, rows)] + generator.normal(size=(rows, columns))


def sample_of(values: Any, num_train: int | None = None) -> Sample:
    if isinstance(values, np.ndarray):
        return dense_sample(values, num_train)
    info = DataInfo(("density",), values.shape[0], values.shape[1:], ("term",), layout="sparse", num_values=values.nnz)
    return Sample(values, info, values.shape[0] if num_train is None else num_train)


def sparse_blobs(dtype: type = np.float64) -> sparse.csr_array:
    values = blobs(columns=8).astype(dtype)
    return sparse.csr_array(values * (np.random.default_rng(1).random(values.shape) < 0.5))


CASES = {
    "float32": blobs().astype(np.float32),
    "float64": blobs(),
    "images": blobs(columns=6).astype(np.float32).reshape(300, 2, 3),
    "far away": blobs() + 1e4,
    "sparse float32": sparse_blobs(np.float32),
    "sparse float64": sparse_blobs(),
}
every_case = pytest.mark.parametrize("values", CASES.values(), ids=CASES)


def numbers_of(values: Any) -> np.ndarray:
    rows: np.ndarray = as_dense(values).reshape(values.shape[0], -1).astype(np.float64)
    return rows


@every_case
def test_distances_and_marks_match_scikit_learn(values: Any) -> None:
    sample, rows = sample_of(values, 200), numbers_of(values)
    spec = step("kmeans", clusters=4, tolerance=1e-10)
    state = spec.fit(sample.fit_data())
    # From where ours ended, scikit-learn moves no further.
    reference = KMeans(4, init=state["centres"], n_init=1, tol=1e-10).fit(rows[:200])
    assert reference.n_iter_ <= 2
    assert np.abs(state["centres"] - reference.cluster_centers_).max() < 1e-6
    found = sample.apply(spec, state)
    assert found.dtype == np.float32
    assert found == pytest.approx(reference.transform(rows), rel=1e-5, abs=1e-5)
    marks = sample.apply(step("kmeans", clusters=4, output="one_hot"), state)
    assert marks.dtype == np.float32
    assert np.array_equal(marks, np.eye(4)[reference.predict(rows)])


@every_case
def test_inputs_may_come_first(values: Any) -> None:
    sample = sample_of(values)
    alone = step("kmeans", clusters=3)
    state = alone.fit(sample.fit_data())
    for output in ("distances", "one_hot"):
        spec = step("kmeans", clusters=3, output=output, keep_inputs=True)
        together = sample.apply(spec, state)
        described = spec.describe(sample.info, sample.num_train)
        width = sample.info.num_features
        assert together.shape[1:] == described.shape == (width + 3,)
        assert described.layout == sample.info.layout
        assert isinstance(together, np.ndarray) == (described.layout == "dense")
        assert together.dtype == np.float32
        if described.layout == "sparse":
            assert together.nnz <= described.num_values <= sample.info.num_values + 3 * together.shape[0]
        numbers = as_dense(together)
        assert np.array_equal(numbers[:, :width], numbers_of(values).astype(np.float32))
        new = sample.apply(step("kmeans", clusters=3, output=output), state)
        assert np.array_equal(numbers[:, width:], new)


def test_what_comes_out_is_described() -> None:
    info = DataInfo(("density",), 50, (4, 5), ("height", "width"), unit_interval=True, dtype="uint8")
    distances = step("kmeans", clusters=7).describe(info, 40)
    assert (distances.shape, distances.dims, distances.unit_interval) == ((7,), ("cluster",), False)
    assert (distances.dtype, distances.layout) == ("float32", "dense")
    marks = step("kmeans", clusters=7, output="one_hot")
    assert marks.describe(info, 40).unit_interval
    kept = step("kmeans", clusters=7, output="one_hot", keep_inputs=True).describe(info, 40)
    assert (kept.shape, kept.dims, kept.unit_interval, kept.dtype) == ((27,), ("feature",), True, "float32")
    assert not step("kmeans", clusters=7, keep_inputs=True).describe(info, 40).unit_interval
    marks_kept = step("kmeans", clusters=7, output="one_hot", keep_inputs=True)
    assert not marks_kept.describe(replace(info, unit_interval=False), 40).unit_interval


def test_more_clusters_than_training_samples_are_refused() -> None:
    info = DataInfo(("density",), 50, (4,), ("feature",))
    assert step("kmeans", clusters=40).describe(info, 40).shape == (40,)
    with pytest.raises(ValueError, match=r"^clusters: 41 is above the 40 training samples; allowed: 1 to 40$"):
        step("kmeans", clusters=41).describe(info, 40)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 6),
    share=st.floats(0, 1),
    num_blocks=st.integers(1, 6),
    levels=st.sampled_from([1, 2, 1000]),
    stored=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_anything_may_be_clustered(
    rows: int, columns: int, share: float, num_blocks: int, levels: int, stored: bool, seed: int
) -> None:
    """Equal rows, empty ones, constant columns, and as many clusters as rows."""
    values: Any = np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(np.float32)
    clusters = 1 + int(share * (rows - 1))
    sample = sample_of(sparse.csr_array(values) if stored else values)
    spec = step("kmeans", clusters=clusters)
    data = sample.fit_data(num_blocks)
    state = spec.fit(data)
    distances = sample.apply(spec, state)
    assert np.isfinite(distances).all()
    assert data.progress.convergence is not None
    assert data.progress.convergence.converged
    inertia = float((distances.astype(np.float64).min(axis=1) ** 2).sum())
    assert data.progress.convergence.value == pytest.approx(inertia, rel=1e-4, abs=1e-3)
    if clusters >= len(np.unique(values, axis=0)):
        assert inertia == pytest.approx(0, abs=1e-3)


def test_the_trace_holds_the_inertia_and_ends_above_the_last_one() -> None:
    values = np.random.default_rng(0).normal(size=(400, 3))
    data = dense_sample(values).fit_data()
    spec = step("kmeans", clusters=12)
    state = spec.fit(data)
    found = data.progress.convergence
    assert found is not None
    reference = KMeans(12, init=state["centres"], n_init=1, max_iter=1, tol=1e9).fit(values)
    direct = ((values[:, None] - state["centres"]) ** 2).sum(axis=2).min(axis=1).sum()
    assert found.value == pytest.approx(direct, rel=1e-12)
    assert found.measure == "inertia"
    # Within the tolerance one more step changes next to nothing.
    assert reference.inertia_ == pytest.approx(direct, rel=1e-3)
    values_ = [line["value"] for line in found.trace]
    assert values_ == sorted(values_, reverse=True)
    assert values_[-1] >= found.value


def test_a_fit_that_does_not_converge_says_so() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3))
    few = {"clusters": 20, "max_iterations": 2, "tolerance": 1e-9}
    with pytest.raises(
        StageError,
        match=r"^kmeans: relative movement of the centres .* after 2 iterations, above tolerance = 1e-09; raise",
    ):
        step("kmeans", **few, on_no_convergence="error").fit(dense_sample(values).fit_data())
    data = dense_sample(values).fit_data()
    step("kmeans", **few).fit(data)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged


def test_one_hot_marks_do_not_change_with_the_block_where_centres_are_equally_near() -> None:
    values = np.array([[-1.0, 3.1], [1.0, 3.1]] * 10)
    spec = step("kmeans", clusters=2, output="one_hot")
    sample = dense_sample(values)
    state = spec.fit(sample.fit_data())
    between = np.array([[0.0, y] for y in np.random.default_rng(0).normal(size=50)])
    whole = spec.apply(between, state, slice(0, 50))
    with threadpool_limits(1):
        parts = [spec.apply(between[i : i + 1], state, slice(i, i + 1)) for i in range(50)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole, axis=0)) == 1


def test_the_seed_decides_the_start() -> None:
    values = np.random.default_rng(0).normal(size=(500, 4))
    one, same, other = (fit_apply(step("kmeans", clusters=15, seed=seed), values) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
