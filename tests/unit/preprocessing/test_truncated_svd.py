"""Projections on singular vectors, against scikit-learn."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from sample_fits import Sample, dense_sample, fit_apply, step


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_truncated_svd_matches_scikit_learn_up_to_signs(rank: int) -> None:
    generator = np.random.default_rng(2)
    values = (generator.normal(size=(90, 12)) * 0.7 ** np.arange(12) + 0.3).astype(np.float32)
    expected = TruncatedSVD(rank, algorithm="arpack" if rank < 12 else "randomized", random_state=0).fit_transform(
        values.astype(np.float64)
    )
    found = fit_apply(step("truncated_svd", rank=rank, tolerance=1e-12), values)
    signs = np.sign((found * expected).sum(axis=0))
    assert found * signs == pytest.approx(expected, abs=1e-4)


def test_truncated_svd_that_does_not_converge_says_so() -> None:
    values = np.random.default_rng(0).normal(size=(300, 200)).astype(np.float32)
    few = {"rank": 3, "tolerance": 1e-12, "max_iterations": 2}
    with pytest.raises(StageError, match=r"truncated_svd: relative residual .* after 2 iterations, above tolerance"):
        step("truncated_svd", **few, on_no_convergence="error").fit(dense_sample(values).fit_data(2))
    data = dense_sample(values).fit_data(2)
    assert step("truncated_svd", **few).fit(data)["vectors"].shape == (3, 200)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged
    assert data.progress.convergence.value > 1e-12


def test_truncated_svd_refuses_a_rank_above_the_data() -> None:
    info = DataInfo(tasks=("density",), num_samples=50, shape=(4, 5), dims=("height", "width"))
    assert step("truncated_svd", rank=20).describe(info, 40).shape == (20,)
    with pytest.raises(ValueError, match=r"rank: 21 is above .* allowed: 1 to 20"):
        step("truncated_svd", rank=21).describe(info, 40)
    with pytest.raises(ValueError, match=r"rank: 11 is above .* allowed: 1 to 10"):
        step("truncated_svd", rank=11).describe(info, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_give_what_the_same_dense_ones_do(dtype: type) -> None:
    generator = np.random.default_rng(1)
    matrix = sparse.random_array((200, 40), density=0.1, format="csr", rng=generator, dtype=dtype)
    info = DataInfo(("density",), 200, (40,), ("term",), layout="sparse", num_values=matrix.nnz)
    spec = step("truncated_svd", rank=5, tolerance=1e-12)
    found = fit_apply(spec, Sample(matrix, info, 200))
    assert found.dtype == np.float32
    assert found == pytest.approx(fit_apply(spec, matrix.toarray()), abs=1e-5)
    expected = np.linalg.svd(matrix.toarray().astype(float), compute_uv=False)[:5]
    assert np.linalg.norm(found, axis=0) == pytest.approx(expected, rel=1e-5)
