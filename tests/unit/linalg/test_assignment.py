"""Rows and their nearest centres, by float32 and where that cannot tell by float64, against plain distances."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.linalg import lloyd
from headrace.linalg.distances import nearest


@given(
    st.integers(1, 300),
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from([1e-30, 1e-13, 1.0, 1e5, 1e14, 1e25]),
    st.sampled_from(["float32", "float64", "int16"]),
    st.integers(0, 2**32 - 1),
)
@example(300, 3, 40, 1.0, "float32", 0)
@example(300, 50, 20, 1e-30, "float64", 0)
@example(300, 50, 20, 1e25, "float64", 0)
@settings(deadline=None, max_examples=60)
def test_the_nearest_is_that_of_float64(
    count: int, columns: int, clusters: int, scale: float, dtype: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    scale = 100.0 if dtype == "int16" else min(scale, 1e14) if dtype == "float32" else scale
    rows = (scale * generator.normal(size=(count, columns))).astype(dtype)
    # Some rows are centres, some centres are the same, and some lie far away from all.
    centres = rows[generator.integers(0, count, clusters)].astype(float) + scale * generator.integers(0, 2)
    centres[generator.integers(0, clusters)] *= 1e6
    origin = rows.mean(axis=0, dtype=float)
    found = lloyd._assign_block(rows, origin, centres - origin)
    points = rows - origin
    labels, _ = nearest(points, centres - origin)
    members = labels[:, None] == np.arange(clusters)
    assert np.array_equal(found.counts, members.sum(axis=0))
    size = float(np.abs(points).max(initial=0))
    assert np.allclose(found.sums, members.T.astype(float) @ points, rtol=1e-12, atol=1e-12 * size * count)
    own = ((points - (centres - origin)[labels]) ** 2).sum()
    assert np.isclose(found.inertia, own, rtol=1e-10, atol=0)


def test_centres_that_float32_cannot_tell_apart() -> None:
    centres = np.array([[1.0, 0.0], [1.0 + 1e-9, 0.0], [1.0 + 1e-9, 0.0]])
    rows = np.array([[1.0, 0.0], [1.0 + 1e-9, 0.0], [1.0 + 4e-10, 0.5], [1.0 + 6e-10, 0.0]])
    found = lloyd._assign_dense(rows, np.zeros(2), centres)
    labels, _ = nearest(rows, centres)
    assert np.array_equal(found.counts, np.bincount(labels, minlength=3))
    assert found.counts[2] == 0
