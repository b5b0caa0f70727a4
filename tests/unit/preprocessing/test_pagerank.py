"""Ranks of nodes, against networkx."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from headrace.errors import StageError
from headrace.running.workers import Workers
from sample_fits import step
from sample_graphs import Drawn, fit_nodes, graph_sample, graphs, untidy_csr

EXACT = {"tolerance": 1e-12, "max_iterations": 5000}


def with_sinks(num_nodes: int, dtype: type = np.float64) -> sparse.csr_array:
    """A graph with directions of which every fifth node is left by no edge."""
    generator = np.random.default_rng(1)
    edges = sparse.random_array((num_nodes, num_nodes), density=5 / num_nodes, format="csr", rng=generator, dtype=dtype)
    keep = sparse.diags_array((np.arange(num_nodes) % 5 > 0).astype(dtype))
    return sparse.csr_array(keep @ edges)


def ranks_of(graph: nx.Graph, damping: float = 0.85) -> np.ndarray:
    num_nodes = len(graph)
    ranks = nx.pagerank(graph, damping, tol=1e-12 / num_nodes, max_iter=5000)
    return np.array([ranks[node] for node in range(num_nodes)])


@given(graphs(directed=True), st.sampled_from([0.1, 0.5, 0.85, 0.95]))
@settings(deadline=None, max_examples=40)
def test_ranks_along_directions_match_networkx(drawn: Drawn, damping: float) -> None:
    if not drawn.dense.any():
        return
    found = fit_nodes(step("pagerank", damping=damping, **EXACT), drawn.adjacency, drawn.num_blocks)
    expected = ranks_of(drawn.networkx(directed=True), damping)
    assert found.shape == (len(expected), 1)
    assert found[:, 0] / len(expected) == pytest.approx(expected, abs=1e-7)


@given(graphs(directed=False))
@settings(deadline=None, max_examples=40)
def test_ranks_without_directions_match_networkx(drawn: Drawn) -> None:
    if not drawn.dense.any():
        return
    found = fit_nodes(step("pagerank", **EXACT), drawn.adjacency, drawn.num_blocks)
    # A loop of an undirected networkx graph has the weight of one entry of the matrix.
    expected = ranks_of(drawn.networkx(directed=False))
    assert found[:, 0] / len(expected) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_larger_graph_with_sinks_matches_networkx(dtype: type) -> None:
    edges = with_sinks(700, dtype)
    graph = nx.from_scipy_sparse_array(edges, create_using=nx.DiGraph)
    assert sum(degree == 0 for _, degree in graph.out_degree()) >= 140
    found = fit_nodes(step("pagerank"), edges)[:, 0]
    assert found / 700 == pytest.approx(ranks_of(graph), abs=1e-7)
    assert fit_nodes(step("pagerank", **EXACT), edges)[:, 0] == pytest.approx(700 * ranks_of(graph), rel=1e-6)


def test_the_mean_rank_is_one() -> None:
    assert fit_nodes(step("pagerank"), with_sinks(300)).mean() == pytest.approx(1, abs=1e-6)


def test_nodes_of_a_ring_are_all_alike() -> None:
    ring = nx.to_scipy_sparse_array(nx.cycle_graph(12), format="csr")
    assert fit_nodes(step("pagerank"), ring)[:, 0] == pytest.approx(np.ones(12), abs=1e-6)


def test_the_hub_of_a_star_by_hand() -> None:
    # Leaves 1 to 4 lead to the hub, which is a sink: h = (1-d)/5 + d (4 l + h/5), l = (1-d)/5 + d h/5.
    star = untidy_csr([1, 2, 3, 4], [0, 0, 0, 0], [1.0] * 4, 5)
    d = 0.85
    hub = ((1 - d) / 5 * (1 + 4 * d)) / (1 - d / 5 - 4 * d * d / 5)
    found = fit_nodes(step("pagerank", **EXACT), star)[:, 0]
    assert found[0] == pytest.approx(5 * hub, rel=1e-6)
    assert found[1:] == pytest.approx(np.full(4, 5 * ((1 - d) / 5 + d * hub / 5)), rel=1e-6)


def dense_step(edges: sparse.csr_array, ranks: np.ndarray, damping: float = 0.85) -> np.ndarray:
    dense = edges.toarray().astype(float)
    degrees = dense.sum(axis=1)
    steps = np.where(degrees[:, None] > 0, dense / np.where(degrees, degrees, 1)[:, None], 1 / len(dense))
    return damping * steps.T @ ranks + (1 - damping) / len(dense)


def test_the_trace_and_the_end_are_those_of_power_iteration() -> None:
    edges = with_sinks(200)
    data = graph_sample(edges).fit_data()
    spec = step("pagerank")
    spec.fit(data)
    ranks, changes = np.full(200, 1 / 200), []
    while not changes or changes[-1] > 1e-8:
        ranks, before = dense_step(edges, ranks), ranks
        changes.append(np.abs(ranks - before).sum())
    assert [line["value"] for line in data.progress.trace] == pytest.approx(changes, rel=1e-6)
    found = data.progress.convergence
    assert found is not None
    assert found.value == pytest.approx(np.abs(dense_step(edges, ranks) - ranks).sum(), rel=1e-5)
    assert found.value < data.progress.trace[-1]["value"]


def test_too_few_iterations_are_said() -> None:
    data = graph_sample(with_sinks(200)).fit_data()
    step("pagerank", max_iterations=3).fit(data)
    assert data.progress.convergence is not None
    assert not data.progress.convergence.converged
    assert len(data.progress.trace) == 3
    strict = step("pagerank", max_iterations=3, on_no_convergence="error")
    with pytest.raises(StageError, match=r"^pagerank: change of the ranks .* after 3 iterations, above tolerance"):
        strict.fit(graph_sample(with_sinks(200)).fit_data())


def test_a_graph_without_edges_is_refused() -> None:
    with pytest.raises(StageError, match=r"^pagerank: the graph has no edges.*; leave this step out$"):
        fit_nodes(step("pagerank"), untidy_csr([0], [1], [0.0], 4))


def test_negative_weights_are_refused_by_name() -> None:
    with pytest.raises(StageError, match=r"^pagerank: the graph has an edge of weight -2; .*$"):
        fit_nodes(step("pagerank"), untidy_csr([0, 1], [1, 0], [1.0, -2.0], 3))


def test_the_rank_stands_behind_the_inputs_or_alone() -> None:
    inputs = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    sample = graph_sample(nx.to_scipy_sparse_array(nx.path_graph(12), format="csr"), inputs)
    spec, alone = step("pagerank"), step("pagerank", keep_inputs=False)
    state = spec.fit(sample.fit_data())
    assert spec.describe(sample.info, 8).shape == (4,)
    assert alone.describe(sample.info, 8).shape == (1,)
    applied = sample.apply(spec, state, [5])
    assert applied[:, :3].tolist() == inputs.tolist()  # type: ignore[index]
    assert applied[:, 3:].tolist() == sample.apply(alone, state).tolist() == state["nodes"].tolist()  # type: ignore[index,union-attr]


def test_workers_give_the_same_bits_as_this_process(two_workers: Workers) -> None:
    edges = with_sinks(300)
    here, there = (fit_nodes(step("pagerank"), edges, 5, workers=opened) for opened in (None, two_workers))
    assert here.tobytes() == there.tobytes()
