"""Lloyd's iteration over blocks, against scikit-learn."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.distances import Points
from headrace.linalg.lloyd import Clusters, _farther, _Farthest, lloyd
from headrace.linalg.progress import Progress
from headrace.linalg.seeding import scattered_centres
from headrace.running.workers import Workers
from sample_fits import borders_of, row_blocks


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in every stage: the bits of a product depend on the number of threads."""
    with threadpool_limits(1):
        yield


def find(
    values: Any, start: np.ndarray, progress: Progress | None = None, tolerance: float = 1e-4, **options: Any
) -> tuple[Clusters, list[float]]:
    """The clusters, and the inertia that each iteration began with."""
    progress = progress or Progress()
    points = Points.of(row_blocks(values, **options))
    found = lloyd(points, lambda: start, tolerance=tolerance, max_iterations=300, progress=progress)
    return found, [line["value"] for line in progress.trace]


def expected_of(values: Any, start: np.ndarray, tolerance: float = 1e-4) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = values.astype(np.float64)
        return KMeans(len(start), init=start, n_init=1, algorithm="lloyd", tol=tolerance, max_iter=300).fit(values)


def blobs(rows: int, columns: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    middles = 3 * generator.normal(size=(4, columns))
    return middles[generator.integers(0, 4, rows)] + generator.normal(size=(rows, columns))


@given(
    rows=st.integers(20, 150),
    columns=st.integers(1, 8),
    clusters=st.integers(1, 5),
    num_blocks=st.integers(1, 9),
    kind=st.sampled_from(["float32", "float64", "sparse"]),
    offset=st.sampled_from([0.0, 1e3]),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=40)
def test_the_same_start_leads_where_scikit_learn_ends(
    rows: int, columns: int, clusters: int, num_blocks: int, kind: str, offset: float, seed: int
) -> None:
    values: Any = blobs(rows, columns, seed) + offset
    if kind == "sparse":
        keep = np.random.default_rng(seed).random(values.shape) < 0.4
        values = sparse.csr_array((values - offset) * keep)
        start = np.random.default_rng(seed).normal(size=(clusters, columns))
    else:
        values = values.astype(kind)
        start = values[:clusters].astype(np.float64)
    found, trace = find(values, start, num_blocks=num_blocks)
    expected = expected_of(values, start)
    # A centre that no row is nearest to may take any of several rows.
    if len(np.unique(expected.labels_)) == clusters and kind != "sparse":
        assert len(trace) == expected.n_iter_
        assert np.abs(found.centres - expected.cluster_centers_).max() < 1e-6
        assert found.inertia == pytest.approx(expected.inertia_, rel=1e-9)
    direct = cdist(values.toarray() if kind == "sparse" else values.astype(float), found.centres, "sqeuclidean")
    assert found.inertia == pytest.approx(direct.min(axis=1).sum(), rel=1e-6)
    assert found.converged
    assert found.movement <= 1e-4
    assert all(b <= a * (1 + 1e-9) for a, b in zip(trace, [*trace[1:], found.inertia], strict=True))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_lead_where_scikit_learn_ends(seed: int, dtype: type) -> None:
    generator = np.random.default_rng(seed)
    matrix = sparse.random_array((300, 40), density=0.2, format="csr", rng=generator, dtype=dtype)
    start = matrix[:5].toarray().astype(np.float64)
    found, trace = find(matrix, start, num_blocks=5)
    expected = expected_of(matrix, start)
    assert len(trace) == expected.n_iter_
    assert np.abs(found.centres - expected.cluster_centers_).max() < 1e-6
    assert found.inertia == pytest.approx(expected.inertia_, rel=1e-9)


@pytest.mark.parametrize("stored", [False, True])
def test_an_empty_cluster_takes_the_farthest_row_as_in_scikit_learn(stored: bool) -> None:
    values = blobs(200, 3, 5)
    start = np.concatenate([values[:3], [[1e3, 1e3, 1e3]]])
    data = sparse.csr_array(values) if stored else values
    found, trace = find(data, start)
    expected = expected_of(data, start)
    assert len(trace) == expected.n_iter_
    assert np.abs(found.centres - expected.cluster_centers_).max() < 1e-6
    labels = cdist(values, found.centres).argmin(axis=1)
    assert len(np.unique(labels)) == 4


def test_a_row_that_another_cluster_takes_counts_there_alone() -> None:
    values = blobs(50, 3, 5)
    start = np.concatenate([values[:2], [[1e3, 1e3, 1e3]]])
    points = Points.of(row_blocks(values))
    found = lloyd(points, lambda: start, tolerance=1e-4, max_iterations=1, progress=Progress())
    squares = cdist(values, start[:2], "sqeuclidean")
    labels = squares.argmin(axis=1)
    labels[squares.min(axis=1).argmax()] = 2
    expected = np.array([values[labels == label].mean(axis=0) for label in range(3)])
    assert found.centres == pytest.approx(expected, abs=1e-12)


def test_the_farthest_rows_are_kept_and_of_equal_ones_the_earliest() -> None:
    one = _Farthest(np.array([9.0, 4.0]), np.array([0, 1]), np.array([[1.0], [2.0]]))
    other = _Farthest(np.array([9.0, 5.0]), np.array([2, 3]), np.array([[3.0], [4.0]]))
    both = _farther(one, other, 3)
    assert both.squares.tolist() == [9, 9, 5]
    assert both.labels.tolist() == [0, 2, 3]
    assert both.rows.tolist() == [[1], [3], [4]]


@pytest.mark.parametrize("stored", [False, True])
def test_rows_that_lie_off_their_centres_by_rounding_alone_are_not_taken(stored: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 6)) + 3
    values = np.repeat(rows, 7, axis=0)
    far = np.full((2, 6), 1e3)
    start = np.concatenate([rows * (1 + 4e-16), far])
    found, trace = find(sparse.csr_array(values) if stored else values, start)
    assert found.centres == pytest.approx(np.concatenate([rows, far]), rel=1e-12)
    assert len(trace) == 1


@pytest.mark.parametrize("stored", [False, True])
def test_an_outlier_does_not_blur_the_other_clusters(stored: bool) -> None:
    values = blobs(200, 3, 8)
    values[0] = 1e7
    data = sparse.csr_array(values) if stored else values
    found, trace = find(data, values[:5], tolerance=1e-20)
    expected = expected_of(data, values[:5], tolerance=1e-20)
    assert len(trace) == expected.n_iter_
    assert found.centres == pytest.approx(expected.cluster_centers_, rel=1e-6, abs=1e-6)


def test_every_one_of_many_empty_clusters_takes_a_row_of_its_own() -> None:
    values = blobs(200, 3, 6)
    start = np.concatenate([values[:2], 1e3 + np.arange(18.0).reshape(6, 3)])
    found, _ = find(values, start, tolerance=1e-12, num_blocks=7)
    other, _ = find(values, start, tolerance=1e-12, num_blocks=1)
    assert len(np.unique(cdist(values, found.centres).argmin(axis=1))) == 8
    assert found.centres == pytest.approx(other.centres, abs=1e-9)


@pytest.mark.parametrize("stored", [False, True])
def test_more_clusters_than_distinct_rows_end_on_all_of_them(stored: bool) -> None:
    values = np.repeat(np.array([[0.1, 0.2], [0.3, 0.7], [5.1, 5.3]]), 7, axis=0)
    start = np.array([[0.1, 0.2], [0.1, 0.2], [0.1, 0.2], [9.0, 9.0], [8.0, 8.0]])
    found, _ = find(sparse.csr_array(values) if stored else values, start)
    assert found.converged
    assert found.inertia == pytest.approx(0, abs=1e-12)
    assert cdist(values, found.centres).min(axis=1).max() < 1e-7


def test_equal_rows_do_not_move() -> None:
    found, _ = find(np.full((20, 3), 0.1), np.array([[0.3, 0.0, 0.0], [9.0, 9.0, 9.0]]))
    assert found.converged
    assert found.centres[0] == pytest.approx([0.1] * 3, abs=1e-15)
    assert found.inertia == pytest.approx(0, abs=1e-25)


def test_it_stops_at_the_limit_and_says_that_centres_move() -> None:
    values = np.random.default_rng(0).normal(size=(500, 2))
    points, progress = Points.of(row_blocks(values)), Progress()
    found = lloyd(points, lambda: values[:9], tolerance=1e-12, max_iterations=3, progress=progress)
    assert len(progress.trace) == 3
    assert not found.converged
    assert found.movement > 1e-12


def seeded(blocks: RowBlocks, progress: Progress | None = None) -> bytes:
    points = Points.of(blocks)
    found = lloyd(
        points,
        lambda: scattered_centres(points, 8, 3),
        tolerance=1e-8,
        max_iterations=50,
        progress=progress or Progress(),
    )
    return found.centres.tobytes() + np.array(found.inertia).tobytes()


@pytest.mark.parametrize("stored", [False, True])
def test_workers_give_the_same_bits_as_this_process(stored: bool, one_worker: Workers, two_workers: Workers) -> None:
    values: Any = blobs(400, 6, 1).astype(np.float32)
    values = sparse.csr_array(values * (values > 0)) if stored else values
    here, alone, together = (
        seeded(row_blocks(values, num_blocks=7, workers=opened, mib=64)) for opened in (None, one_worker, two_workers)
    )
    assert here == alone == together


@pytest.mark.usefixtures("sockets_may_leak")
def test_a_worker_killed_in_the_middle_changes_no_bit(
    two_workers: Workers, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    values = blobs(400, 6, 2).astype(np.float32)
    marker, reads = tmp_path / "killed", tmp_path / "reads"

    def read(part: slice) -> np.ndarray:
        with reads.open("a") as file:
            file.write(".")
        # Every pass reads 8 blocks; the seeding takes no more than 13 passes, and one is for the moments.
        if reads.stat().st_size > 8 * 16 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return values[part]

    parts = borders_of(400, 8)
    readers = [lambda part=part: read(part) for part in parts]
    progress = Progress()
    try:
        found = run_with_limit(lambda: seeded(RowBlocks(readers, two_workers, sizes=[50] * 8), progress), seconds=60)
    finally:
        two_workers.client.wait_for_workers(2, timeout=30)
    assert marker.exists()
    assert len(progress.trace) > 3
    assert found == seeded(row_blocks(values, num_blocks=8))


def test_a_fit_that_was_killed_goes_on_without_a_new_start(tmp_path: Path) -> None:
    values = blobs(300, 4, 3)
    whole, expected = find(values, values[:6], tolerance=1e-10)
    progress = Progress(tmp_path, every_s=0.0)
    note = progress.note

    def killed(value: float, state: Any) -> None:
        note(value, state)
        if len(progress.trace) == 4:
            raise KeyboardInterrupt

    progress.note = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        find(values, values[:6], progress, tolerance=1e-10)

    def again() -> np.ndarray:
        raise AssertionError("it should go on from what was saved")

    progress = Progress(tmp_path, every_s=0.0)
    points = Points.of(row_blocks(values))
    found = lloyd(points, again, tolerance=1e-10, max_iterations=300, progress=progress)
    assert found.centres.tobytes() == whole.centres.tobytes()
    assert [line["value"] for line in progress.trace] == expected
