"""Distances from centres, against scipy."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from headrace.linalg import centred
from headrace.linalg.centred import Centred, pieces, rows_of
from headrace.linalg.distances import Points, nearest, own_squares, points_of, squared_distances, squared_norms
from sample_fits import row_blocks


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def tangled(matrix: np.ndarray, generator: np.random.Generator) -> sparse.csr_array:
    """The same matrix in CSR, with places stored twice, in any order, and some zeros stored."""
    rows, columns = np.nonzero((matrix != 0) | (generator.random(matrix.shape) < 0.1))
    shares = generator.uniform(0.2, 0.8, len(rows))
    data = np.concatenate([matrix[rows, columns] * shares, matrix[rows, columns] * (1 - shares)])
    order = generator.permutation(len(data))
    rows, columns = np.tile(rows, 2)[order], np.tile(columns, 2)[order]
    by_row = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return sparse.csr_array((data[order][by_row], columns[by_row], indptr), shape=matrix.shape)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 12),
    clusters=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    piece=st.sampled_from([1, 7, 2**21]),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_nearest_centres_match_scipy(
    rows: int, columns: int, clusters: int, density: float, piece: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, columns)) * (generator.random((rows, columns)) < density)
    centres = generator.normal(size=(clusters, columns))
    expected = cdist(matrix, centres, "sqeuclidean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(centred, "PIECE_NUMBERS", piece)
        for block in (matrix, sparse.csr_array(matrix), tangled(matrix, generator)):
            points = points_of(block, np.zeros(columns))
            labels, squares = nearest(points, centres)
            assert labels.tolist() == expected.argmin(axis=1).tolist()
            assert squares == pytest.approx(expected.min(axis=1), abs=1e-10)
            assert squared_distances(points, centres) == pytest.approx(expected, abs=1e-10)
            assert own_squares(points, centres, labels) == pytest.approx(expected.min(axis=1), abs=1e-10)
            assert squared_norms(points) == pytest.approx((matrix**2).sum(axis=1), abs=1e-12)


def test_of_equally_near_centres_it_is_the_first_whatever_rows_share_the_block() -> None:
    generator = np.random.default_rng(0)
    # Mirrored centres and points on the mirror: as near to the one as to the other, but for rounding.
    half = generator.normal(size=(5, 20)) * 1e3
    half[:, 0] = generator.uniform(0.1, 1, 5)
    centres = np.concatenate([half, half * np.array([-1.0, *np.ones(19)])])
    points = np.concatenate([np.zeros((400, 1)), generator.normal(size=(400, 19)) * 1e3], axis=1)
    whole, _ = nearest(points, centres)
    assert whole.max() < 5
    for size in (1, 3, 16):
        parts = np.concatenate([nearest(points[i : i + size], centres)[0] for i in range(0, 400, size)])
        assert np.array_equal(parts, whole)


def test_squares_that_are_but_rounding_are_zero() -> None:
    centres = np.random.default_rng(0).normal(size=(50, 30)) * 1e4
    _, squares = nearest(centres.copy(), centres)
    assert (squares == 0).all()
    _, squares = nearest(centres + 1e-2, centres)
    assert (squares > 0).all()


def test_small_clusters_far_away_keep_their_digits() -> None:
    offsets = np.random.default_rng(0).normal(size=(200, 4)) * 1e-6
    centres = np.array([[1e4, 0, 0, 0], [-1e4, 0, 0, 0.0]])
    labels = np.arange(200) % 2
    points = centres[labels] + offsets
    exact = ((points - centres[labels]) ** 2).sum(axis=1)
    assert own_squares(points, centres, labels) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_points_lie_around_the_mean_of_dense_rows_and_around_zero_in_sparse_ones(dtype: type) -> None:
    matrix = np.random.default_rng(0).integers(0, 255, (50, 3, 2)).astype(dtype)
    flat = matrix.reshape(50, 6).astype(float)
    dense = Points.of(row_blocks(matrix))
    assert dense.origin == pytest.approx(flat.mean(axis=0), rel=1e-12)
    assert dense.variance == pytest.approx(flat.var(axis=0).mean(), rel=1e-12)
    stored = Points.of(row_blocks(tangled(flat, np.random.default_rng(1))))
    assert stored.origin.tolist() == [0.0] * 6
    assert stored.variance == pytest.approx(dense.variance, rel=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_centred_products_match_those_of_centred_rows(offset: float) -> None:
    generator = np.random.default_rng(3)
    matrix = (offset + generator.normal(size=(30, 8))) * (generator.random((30, 8)) < 0.5)
    centre, right, left = matrix.mean(axis=0), generator.normal(size=(8, 3)), generator.normal(size=(30, 2))
    exact = matrix - centre
    for block in (matrix, sparse.csr_array(matrix), tangled(matrix, generator)):
        rows = rows_of(block)
        scale = max(1.0, offset)
        assert Centred.of(rows, centre).times(right) == pytest.approx(exact @ right, abs=1e-13 * scale)
        assert Centred.of(rows, centre).transposed_times(left) == pytest.approx(exact.T @ left, abs=1e-13 * scale)


def test_rows_with_places_stored_twice_are_copied_before_they_are_summed() -> None:
    block = sparse.csr_array((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    assert rows_of(block).data.tolist() == [3.0]
    assert block.data.tolist() == [1.0, 2.0]


@given(num_rows=st.integers(0, 50), width=st.integers(0, 10**7))
def test_pieces_cover_all_rows_and_are_bounded(num_rows: int, width: int) -> None:
    parts = list(pieces(num_rows, width))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(num_rows))
    assert all((part.stop - part.start) * width <= max(centred.MOST_NUMBERS, width) for part in parts)
