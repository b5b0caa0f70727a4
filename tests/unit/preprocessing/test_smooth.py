"""Features smoothed along a graph, against a direct solver, networkx and what can be said without solving."""

from dataclasses import replace
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import spsolve

from headrace.datasets.base import DataInfo
from headrace.errors import StageError
from sample_fits import Sample, fit_apply, make_samples, step


def sample_of(inputs: np.ndarray, adjacency: Any, num_train: int | None = None) -> Sample:
    info = DataInfo(
        ("density",),
        len(inputs),
        inputs.shape[1:],
        ("a", "b")[: inputs.ndim - 1],
        dtype=inputs.dtype.name,
        has_graph=True,
    )
    return Sample(inputs, info, num_train or len(inputs), None, sparse.csr_array(adjacency))


def draw_graph(nodes: int, density: float, seed: int, *, loops: bool = False) -> sparse.csr_array:
    generator = np.random.default_rng(seed)
    half = sparse.random_array((nodes, nodes), density=density, rng=generator, format="csr")
    adjacency = (half + half.T).tolil()
    if not loops:
        adjacency.setdiag(0)
    return adjacency.tocsr()


def direct(adjacency: Any, inputs: np.ndarray, strength: float, kind: str) -> np.ndarray:
    """(I + strength L) x = b by a sparse LU of the whole matrix."""
    adjacency = sparse.csr_array(adjacency).astype(np.float64)
    degrees = np.asarray(adjacency.sum(axis=1)).reshape(-1)
    matrix = sparse.diags_array(degrees) - adjacency
    if kind == "normalized":
        roots = sparse.diags_array(np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0))
        matrix = roots @ matrix @ roots
    system = sparse.eye_array(len(degrees)) + strength * matrix
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    return np.asarray(spsolve(system.tocsc(), flat)).reshape(inputs.shape)


@given(
    nodes=st.integers(1, 40),
    features=st.integers(1, 5),
    density=st.floats(0, 0.3),
    strength=st.sampled_from([1e-3, 1.0, 50.0]),
    kind=st.sampled_from(["combinatorial", "normalized"]),
    num_blocks=st.integers(1, 5),
    loops=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_smooth_matches_a_direct_solver(
    nodes: int,
    features: int,
    density: float,
    strength: float,
    kind: str,
    num_blocks: int,
    loops: bool,
    dtype: type,
    seed: int,
) -> None:
    adjacency = draw_graph(nodes, density, seed, loops=loops)
    inputs = np.random.default_rng(seed).normal(size=(nodes, features)).astype(dtype)
    spec = step("smooth", strength=strength, laplacian=kind, tolerance=1e-8)
    found = fit_apply(spec, sample_of(inputs, adjacency), num_blocks)
    assert found.dtype == np.float32
    assert found == pytest.approx(direct(adjacency, inputs, strength, kind), abs=1e-5)


def test_laplacians_are_those_of_networkx_and_scipy() -> None:
    graph = networkx.karate_club_graph()
    graph.add_node(34)
    adjacency = networkx.to_scipy_sparse_array(graph, weight="weight", dtype=float).tocsr()
    inputs = np.random.default_rng(0).normal(size=(35, 3)).astype(np.float32)
    references = {
        "combinatorial": networkx.laplacian_matrix(graph).astype(float),
        "normalized": laplacian(adjacency, normed=True),
    }
    for kind, matrix in references.items():
        expected = spsolve((sparse.eye_array(35) + 2 * matrix).tocsc(), inputs.astype(np.float64))
        found = fit_apply(step("smooth", strength=2.0, laplacian=kind, tolerance=1e-8), sample_of(inputs, adjacency))
        assert found == pytest.approx(expected, abs=1e-5)


def test_default_tolerance_gives_five_digits() -> None:
    sample = make_samples()["graph"]
    assert isinstance(sample.inputs, np.ndarray)
    for kind in ("combinatorial", "normalized"):
        expected = direct(sample.adjacency, sample.inputs, 1.0, kind)
        assert fit_apply(step("smooth", laplacian=kind), sample) == pytest.approx(expected, abs=1e-5)


def test_duplicate_and_unsorted_edges_are_added_up() -> None:
    edges = [(0, 1, 2.0), (1, 0, 2.0), (2, 1, 1.0), (1, 2, 0.5), (1, 2, 0.5), (0, 2, 3.0), (2, 0, 3.0), (1, 1, 4.0)]
    rows, columns, weights = map(np.array, zip(*edges[::-1], strict=True))
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.bincount(rows).cumsum()])
    adjacency = sparse.csr_array((weights[order], columns[order], indptr), shape=(3, 3))
    assert not adjacency.has_sorted_indices
    inputs = np.array([[1.0], [0], [5]], np.float32)
    for kind in ("combinatorial", "normalized"):
        expected = direct(adjacency.toarray(), inputs, 1.0, kind)
        found = fit_apply(step("smooth", laplacian=kind, tolerance=1e-9), sample_of(inputs, adjacency), 2)
        assert found == pytest.approx(expected, abs=1e-6)


def test_an_edge_to_itself_pulls_at_nothing() -> None:
    plain = draw_graph(30, 0.1, 0)
    looped = (plain + sparse.diags_array(np.arange(30.0))).tocsr()
    inputs = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    spec = step("smooth", tolerance=1e-9)
    assert fit_apply(spec, sample_of(inputs, looped)) == pytest.approx(
        fit_apply(spec, sample_of(inputs, plain)), abs=1e-6
    )


def test_nodes_without_edges_keep_their_inputs() -> None:
    adjacency = np.zeros((6, 6))
    adjacency[0, 1] = adjacency[1, 0] = 1
    inputs = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    for kind in ("combinatorial", "normalized"):
        found = fit_apply(step("smooth", laplacian=kind), sample_of(inputs, adjacency), 3)
        assert found[2:] == pytest.approx(inputs[2:], abs=1e-6)
        assert np.abs(found[:2] - inputs[:2]).max() > 0.1
    nothing = fit_apply(step("smooth"), sample_of(inputs, np.zeros((6, 6))))
    assert nothing == pytest.approx(inputs, abs=1e-6)


def test_strong_smoothing_makes_parts_of_a_graph_alike_and_keeps_their_mean() -> None:
    path = networkx.to_numpy_array(networkx.path_graph(8))
    adjacency = np.block([[path, np.zeros((8, 8))], [np.zeros((8, 8)), path]])
    inputs = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    found = fit_apply(step("smooth", strength=1e6, tolerance=1e-10), sample_of(inputs, adjacency))
    for part in (slice(0, 8), slice(8, 16)):
        assert found[part] == pytest.approx(np.tile(inputs[part].mean(axis=0), (8, 1)), abs=1e-4)


def test_images_keep_their_shape() -> None:
    inputs = np.random.default_rng(0).uniform(size=(20, 3, 4)).astype(np.float32)
    adjacency = draw_graph(20, 0.2, 0)
    spec = step("smooth", tolerance=1e-8)
    sample = sample_of(inputs, adjacency)
    described = spec.describe(replace(sample.info, unit_interval=True), 20)
    assert (described.shape, described.dims) == ((3, 4), ("a", "b"))
    assert not described.unit_interval
    found = fit_apply(spec, sample)
    assert found == pytest.approx(direct(adjacency, inputs, 1.0, "combinatorial"), abs=1e-5)


def test_rows_for_validation_and_test_are_smoothed_along_with_the_rest() -> None:
    inputs, adjacency = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32), draw_graph(30, 0.2, 1)
    spec = step("smooth", tolerance=1e-9)
    found = fit_apply(spec, sample_of(inputs, adjacency, 12))
    assert found == pytest.approx(direct(adjacency, inputs, 1.0, "combinatorial"), abs=1e-5)
    state = spec.fit(sample_of(inputs, adjacency, 12).fit_data())
    assert state["nodes"].shape == (30, 2)
    assert state["nodes"].dtype == np.float32
    with pytest.raises(StageError, match="row 30 is none of the 30 nodes"):
        spec.apply(inputs[:3], state, slice(28, 31))


def directed() -> np.ndarray:
    adjacency = draw_graph(30, 0.2, 0).toarray()
    row, column = np.argwhere(adjacency)[0]
    adjacency[row, column] *= 1.1
    return adjacency


def weighted(weight: float) -> np.ndarray:
    adjacency = draw_graph(30, 0.2, 0).toarray()
    adjacency[3, 4] = adjacency[4, 3] = weight
    return adjacency


@pytest.mark.parametrize(
    ("adjacency", "why"),
    [
        (directed(), r"^smooth: edges of the graph have directions; give every edge both ways"),
        (np.triu(draw_graph(30, 0.2, 0).toarray()), "^smooth: edges of the graph have directions"),
        (weighted(-0.25), r"^smooth: the graph has an edge of weight -0\.25; allowed"),
        (weighted(np.nan), "^smooth: the graph has edges whose weight is not a finite number"),
    ],
)
def test_graphs_that_have_no_laplacian_are_refused(adjacency: np.ndarray, why: str) -> None:
    sample = sample_of(np.ones((30, 2), np.float32), adjacency)
    with pytest.raises(StageError, match=why) as caught:
        step("smooth").fit(sample.fit_data())
    assert "\n" not in str(caught.value)


def test_inputs_that_are_no_numbers_are_refused() -> None:
    inputs = np.ones((30, 2), np.float32)
    inputs[7, 1] = np.inf
    with pytest.raises(StageError, match=r"^smooth: a right-hand side holds what is no finite number"):
        step("smooth").fit(sample_of(inputs, draw_graph(30, 0.2, 0)).fit_data())


def test_a_fit_that_does_not_converge_says_so() -> None:
    adjacency = networkx.to_numpy_array(networkx.path_graph(200))
    sample = sample_of(np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32), adjacency)
    with pytest.raises(StageError, match=r"^smooth: relative residual .* after 3 iterations, above tolerance = 1e-06"):
        step("smooth", strength=1e4, max_iterations=3, on_no_convergence="error").fit(sample.fit_data())
    data = sample.fit_data()
    step("smooth", strength=1e4, max_iterations=3).fit(data)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged
    assert len(data.progress.trace) == 3


def test_what_is_said_of_convergence_is_true() -> None:
    adjacency = draw_graph(50, 0.1, 0)
    inputs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    data = sample_of(inputs, adjacency).fit_data()
    state = step("smooth", tolerance=1e-5).fit(data)
    assert data.progress.convergence is not None
    system = np.eye(50) + np.diag(adjacency.toarray().sum(axis=1)) - adjacency.toarray()
    left = np.linalg.norm(inputs - system @ state["nodes"].astype(np.float64), axis=0) / np.linalg.norm(inputs, axis=0)
    assert data.progress.convergence.value == pytest.approx(left.max(), rel=0.05)
    assert data.progress.convergence.value <= 1e-5
