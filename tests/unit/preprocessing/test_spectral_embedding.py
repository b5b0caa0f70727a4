"""Embeddings of graphs, against scipy and networkx on whole matrices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from headrace.errors import StageError
from headrace.running.workers import Workers
from sample_fits import step
from sample_graphs import Drawn, communities, fit_nodes, graph_sample, graphs, untidy_csr


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in every stage: the bits of a product depend on the number of threads."""
    with threadpool_limits(1):
        yield


def normalised(adjacency: Any) -> sparse.csr_array:
    degrees = np.asarray(adjacency.sum(axis=1, dtype=np.float64)).reshape(-1)
    roots = sparse.diags_array(np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0))
    return sparse.csr_array(roots @ adjacency @ roots)


def random_graph(num_nodes: int = 300, seed: int = 0) -> sparse.csr_array:
    graph = nx.connected_watts_strogatz_graph(num_nodes, 6, 0.3, seed=seed)
    return sparse.csr_array(nx.to_scipy_sparse_array(graph, format="csr", dtype=float))


def fit(adjacency: Any, num_blocks: int = 3, **parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, and columns of nodes in float64."""
    state = step("spectral_embedding", **parameters).fit(graph_sample(adjacency).fit_data(num_blocks))
    return state["values"], state["nodes"].astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 4, 12])
def test_values_and_spaces_match_scipy(rank: int, dtype: type) -> None:
    weights = np.random.default_rng(2).uniform(0.5, 2, (300, 300)).astype(dtype)
    edges = sparse.csr_array(random_graph().astype(dtype) * (weights + weights.T))
    assert edges.dtype == dtype
    values, nodes = fit(edges, rank=rank, tolerance=1e-8)
    expected, vectors = eigsh(normalised(edges.astype(float)), rank + 1, which="LA", tol=1e-12)
    assert expected[-1] == pytest.approx(1, abs=1e-9)
    assert values == pytest.approx(expected[-2::-1], abs=1e-9)
    cosines = np.linalg.svd(nodes.T @ vectors[:, :-1], compute_uv=False) / np.sqrt(len(nodes))
    assert cosines == pytest.approx(np.ones(rank), abs=1e-5)


def test_each_column_is_an_eigenvector_with_its_largest_entry_positive() -> None:
    values, nodes = fit(random_graph(), rank=5, tolerance=1e-8)
    assert np.abs(normalised(random_graph()) @ nodes - nodes * values).max() < 1e-5
    assert (nodes[np.abs(nodes).argmax(axis=0), np.arange(5)] > 0).all()
    assert nodes.T @ nodes / len(nodes) == pytest.approx(np.eye(5), abs=1e-6)


def test_they_belong_to_the_smallest_values_of_the_normalised_laplacian() -> None:
    graph = nx.karate_club_graph()
    values, _ = fit(nx.to_scipy_sparse_array(graph, format="csr", dtype=float), rank=6)
    assert 1 - values == pytest.approx(np.sort(nx.normalized_laplacian_spectrum(graph))[1:7], abs=1e-9)


@given(graphs(directed=False), st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_untidy_graphs_match_numpy(drawn: Drawn, rank: int) -> None:
    joined = np.flatnonzero(drawn.dense.any(axis=1))
    if rank >= len(joined):
        with pytest.raises(StageError, match=r"^spectral_embedding: rank = \d is not below the \d nodes that have edg"):
            fit(drawn.adjacency, drawn.num_blocks, rank=rank)
        return
    values, nodes = fit(drawn.adjacency, drawn.num_blocks, rank=rank)
    whole = normalised(sparse.csr_array(drawn.dense))
    # One eigenvalue 1 belongs to the eigenvector that is left out.
    expected = np.linalg.eigvalsh(whole.toarray()[joined][:, joined])[::-1][1:][:rank]
    assert values == pytest.approx(expected, abs=1e-7)
    assert np.abs(whole @ nodes - nodes * values).max() < 1e-4
    assert nodes.T @ nodes / len(nodes) == pytest.approx(np.eye(rank), abs=1e-5)
    assert np.abs(np.sqrt(drawn.dense.sum(axis=1)) @ nodes).max() < 1e-3
    assert not np.delete(nodes, joined, axis=0).any()


def test_nodes_without_edges_lie_at_zero_and_change_nothing_else() -> None:
    edges = random_graph(100)
    padded = sparse.csr_array((edges.data, edges.indices, np.r_[edges.indptr, [edges.nnz] * 20]), shape=(120, 120))
    values, nodes = fit(edges, rank=3, tolerance=1e-10)
    padded_values, padded_nodes = fit(padded, rank=3, tolerance=1e-10)
    assert padded_values == pytest.approx(values, abs=1e-10)
    assert padded_nodes[:100] == pytest.approx(nodes * np.sqrt(1.2), abs=1e-5)
    assert not padded_nodes[100:].any()


def test_parts_that_nothing_joins_have_a_value_of_one_each() -> None:
    parts = sparse.csr_array(sparse.block_diag([random_graph(50, seed) for seed in range(3)], format="csr"))
    values, nodes = fit(parts, rank=3)
    assert values[:2] == pytest.approx([1, 1], abs=1e-9)
    assert values[2] < 1 - 1e-3
    roots = np.sqrt(parts.sum(axis=1))
    for part in range(3):
        own = slice(50 * part, 50 * part + 50)
        constant = nodes[own, :2] / roots[own, None]
        assert constant == pytest.approx(np.tile(constant[:1], (50, 1)), abs=1e-3)


@pytest.mark.parametrize("num_nodes", [2, 3, 30])
def test_complete_graphs_have_all_other_values_alike(num_nodes: int) -> None:
    complete = nx.to_scipy_sparse_array(nx.complete_graph(num_nodes), format="csr", dtype=float)
    values, nodes = fit(complete, rank=num_nodes - 1)
    assert values == pytest.approx(np.full(num_nodes - 1, -1 / (num_nodes - 1)), abs=1e-9)
    assert np.abs(nodes.sum(axis=0)).max() < 1e-4


def test_communities_come_to_lie_together(tmp_path: Path) -> None:
    _, target, edges = communities(tmp_path, num_nodes=800, num_classes=4, homophily=0.9, degree=12)
    _, nodes = fit(edges, rank=3)
    found = KMeans(4, n_init=5, random_state=0).fit_predict(nodes)
    assert adjusted_rand_score(target, found) > 0.8


def test_what_is_concluded_is_the_residual_of_the_data() -> None:
    data = graph_sample(random_graph()).fit_data()
    state = step("spectral_embedding", rank=3, max_iterations=10).fit(data)
    found = data.progress.convergence
    assert found is not None
    assert not found.converged
    nodes = state["nodes"].astype(np.float64) / np.sqrt(300)
    errors = np.linalg.norm(normalised(random_graph()) @ nodes - nodes * state["values"], axis=0)
    scale = np.abs(np.linalg.eigvalsh(normalised(random_graph()).toarray()))[:-1].max()
    assert found.value == pytest.approx(errors.max() / scale, rel=0.01)
    strict = step("spectral_embedding", rank=3, max_iterations=10, on_no_convergence="error")
    with pytest.raises(StageError, match=r"^spectral_embedding: relative residual .* after 10 iterations"):
        strict.fit(graph_sample(random_graph()).fit_data())


def test_a_rank_that_the_nodes_do_not_reach_is_refused() -> None:
    sample = graph_sample(random_graph(20))
    assert step("spectral_embedding", rank=19).describe(sample.info, 10).shape == (20,)
    assert step("spectral_embedding", rank=19, keep_inputs=False).describe(sample.info, 10).shape == (19,)
    with pytest.raises(ValueError, match=r"^rank: 20 is not below the 20 nodes; allowed: 1 to 19$"):
        step("spectral_embedding", rank=20).describe(sample.info, 10)


@pytest.mark.parametrize(
    ("rows", "columns", "weights", "message"),
    [
        ([0, 1], [1, 0], [0.0, 0.0], "rank = 1 is not below the 0 nodes that have edges; .*"),
        ([0, 1, 1], [1, 0, 2], [1.0, 1.0, 1.0], "edges of the graph have directions; store every edge both ways"),
        ([0, 1], [1, 0], [-1.0, -1.0], "the graph has an edge of weight -1; .*"),
    ],
)
def test_graphs_that_have_no_embedding_are_refused(rows: Any, columns: Any, weights: Any, message: str) -> None:
    with pytest.raises(StageError, match=rf"^spectral_embedding: {message}$"):
        fit(untidy_csr(rows, columns, weights, 4), rank=1)


def test_the_columns_stand_behind_the_inputs() -> None:
    inputs = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    sample = graph_sample(random_graph(30), inputs)
    spec = step("spectral_embedding", rank=2)
    state = spec.fit(sample.fit_data())
    applied = sample.apply(spec, state, [7])
    assert applied[:, :3].tolist() == inputs.tolist()  # type: ignore[index]
    assert applied[:, 3:].tolist() == state["nodes"].tolist()  # type: ignore[index]


def test_workers_give_the_same_bits_as_this_process(two_workers: Workers) -> None:
    spec = step("spectral_embedding", rank=3)
    here, there = (fit_nodes(spec, random_graph(200), 5, workers=opened) for opened in (None, two_workers))
    assert here.tobytes() == there.tobytes()
