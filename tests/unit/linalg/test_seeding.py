"""Starting centres over blocks: independence of the blocks, and quality against scikit-learn's k-means++."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.cluster import kmeans_plusplus
from threadpoolctl import threadpool_limits

from headrace.linalg.distances import Points
from headrace.linalg.seeding import _draw, scattered_centres, spread
from headrace.running.workers import Workers
from sample_fits import row_blocks


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def centres_of(values: Any, clusters: int, seed: int = 0, **options: Any) -> np.ndarray:
    return scattered_centres(Points.of(row_blocks(values, **options)), clusters, seed)


def islands(rows: int, clusters: int, seed: int = 0) -> np.ndarray:
    """Small clusters far from each other."""
    generator = np.random.default_rng(seed)
    middles = 100 * generator.permutation(np.eye(clusters))
    return middles[generator.permutation(np.arange(rows) % clusters)] + generator.normal(size=(rows, clusters))


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 5),
    share=st.floats(0, 1),
    num_blocks=st.integers(2, 9),
    stored=st.booleans(),
    seed=st.integers(0, 10**6),
)
# Two candidates that would share a cluster leave as much, whichever is picked.
@example(rows=34, columns=4, share=0.5, num_blocks=2, stored=False, seed=124)
@settings(deadline=None, max_examples=40)
def test_centres_are_rows_and_do_not_depend_on_the_blocks(
    rows: int, columns: int, share: float, num_blocks: int, stored: bool, seed: int
) -> None:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    clusters = 1 + int(share * (rows - 1))
    values = sparse.csr_array(matrix) if stored else matrix
    found = centres_of(values, clusters, seed, num_blocks=num_blocks)
    assert found.shape == (clusters, columns)
    distances = cdist(found, matrix)
    assert distances.min(axis=1).max() < 1e-12
    # No row comes twice where there are enough of them.
    assert len(set(distances.argmin(axis=1).tolist())) == clusters
    assert found == pytest.approx(centres_of(values, clusters, seed, num_blocks=1), abs=1e-12)


def test_workers_give_the_same_bits_as_this_process(one_worker: Workers, two_workers: Workers) -> None:
    values = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    here, alone, together = (centres_of(values, 12, workers=opened) for opened in (None, one_worker, two_workers))
    assert here.tobytes() == alone.tobytes() == together.tobytes()


def test_another_seed_gives_other_centres() -> None:
    values = np.random.default_rng(0).normal(size=(500, 6))
    assert not np.array_equal(centres_of(values, 5, 0), centres_of(values, 5, 1))
    assert np.array_equal(centres_of(values, 5, 1), centres_of(values, 5, 1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stored", [False, True])
def test_islands_get_a_centre_each(seed: int, stored: bool) -> None:
    values = islands(300, 12)
    found = centres_of(sparse.csr_array(values) if stored else values, 12, seed)
    assert sorted(found.argmax(axis=1).tolist()) == list(range(12))


def test_centres_are_as_good_as_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(1000, 5)) + 4 * generator.normal(size=(20, 5))[generator.integers(0, 20, 1000)]

    def cost(centres: np.ndarray) -> float:
        return float(cdist(values, centres, "sqeuclidean").min(axis=1).sum())

    own = [cost(centres_of(values, 20, seed)) for seed in range(10)]
    theirs = [cost(kmeans_plusplus(values, 20, random_state=seed)[0]) for seed in range(10)]
    by_chance = [cost(values[generator.choice(1000, 20, replace=False)]) for _ in range(10)]
    assert np.mean(own) < 1.1 * np.mean(theirs)
    assert np.mean(own) < 0.8 * np.mean(by_chance)


@pytest.mark.parametrize("distinct", [1, 2, 3])
@pytest.mark.parametrize("stored", [False, True])
def test_too_few_distinct_rows_come_several_times(distinct: int, stored: bool) -> None:
    values = np.repeat(np.eye(3)[:distinct] + 1e3, 10, axis=0)
    found = centres_of(sparse.csr_array(values) if stored else values, 5)
    assert found.shape == (5, 3)
    assert {tuple(row) for row in found.round(6).tolist()} == {tuple(row) for row in values.tolist()}


def test_images_are_read_as_rows_of_numbers() -> None:
    images = np.random.default_rng(0).integers(0, 255, (30, 2, 3)).astype(np.uint8)
    assert np.array_equal(centres_of(images, 4), centres_of(images.reshape(30, 6), 4))


def test_places_are_drawn_in_proportion_to_their_mass() -> None:
    mass = np.array([0.0, 1.0, 0.0, 3.0, 6.0, 0.0])
    drawn = _draw(mass, 100_000, np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=6) / 100_000
    assert shares == pytest.approx(mass / 10, abs=0.006)
    assert shares[[0, 2, 5]].tolist() == [0, 0, 0]


def test_candidates_that_nothing_is_nearest_to_are_not_picked() -> None:
    candidates = np.array([[0.0], [1.0], [50.0], [90.0], [100.0]])
    weights = np.array([5.0, 5.0, 0.0, 5.0, 5.0])
    for seed in range(20):
        found = spread(candidates, weights, 4, np.random.default_rng(seed))
        assert sorted(found[:, 0].tolist()) == [0, 1, 90, 100]
