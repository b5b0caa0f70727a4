"""Triangles and clustering coefficients, against networkx."""

from math import comb

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse

from headrace.errors import StageError
from headrace.running.workers import Workers
from sample_fits import step
from sample_graphs import Drawn, fit_nodes, graph_sample, graphs, untidy_csr


def expected_of(graph: nx.Graph) -> np.ndarray:
    """(nodes, 2); networkx counts no loops as neighbours once they are gone."""
    graph = nx.Graph(graph)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    triangles, clustering = nx.triangles(graph), nx.clustering(graph)
    return np.array([[triangles[node], clustering[node]] for node in range(len(graph))], float)


@given(graphs(directed=False))
@settings(deadline=None, max_examples=40)
def test_untidy_graphs_match_networkx(drawn: Drawn) -> None:
    found = fit_nodes(step("triangle_count"), drawn.adjacency, drawn.num_blocks)
    expected = expected_of(drawn.networkx(directed=False))
    assert found[:, 0].tolist() == expected[:, 0].tolist()
    assert found[:, 1] == pytest.approx(expected[:, 1], abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize(
    "graph",
    [nx.karate_club_graph(), nx.powerlaw_cluster_graph(400, 5, 0.6, seed=1), nx.star_graph(50), nx.Graph([(0, 0)])],
    ids=["karate", "powerlaw", "star", "loop"],
)
@pytest.mark.parametrize("num_blocks", [1, 5])
def test_known_graphs_match_networkx(graph: nx.Graph, num_blocks: int, dtype: type) -> None:
    adjacency = nx.to_scipy_sparse_array(graph, weight=None, format="csr", dtype=float).astype(dtype)
    found = fit_nodes(step("triangle_count"), adjacency, num_blocks)
    expected = expected_of(graph)
    assert found[:, 0].tolist() == expected[:, 0].tolist()
    assert found[:, 1] == pytest.approx(expected[:, 1], rel=1e-6)


def test_everybody_of_a_complete_graph_is_in_all_triangles() -> None:
    complete = nx.to_scipy_sparse_array(nx.complete_graph(40), format="csr")
    assert fit_nodes(step("triangle_count"), complete, 6).tolist() == [[comb(39, 2), 1]] * 40


def test_weights_do_not_matter_even_if_only_they_have_a_direction() -> None:
    triangle = untidy_csr([0, 1, 1, 2, 2, 0], [1, 0, 2, 1, 0, 2], [1.0, 2.0, -3.0, 4.0, 5.0, 6.0], 4)
    assert fit_nodes(step("triangle_count"), triangle).tolist() == [[1, 1]] * 3 + [[0, 0]]


def test_edges_with_directions_are_refused() -> None:
    with pytest.raises(StageError, match=r"^triangle_count: edges of the graph have directions; store .*$"):
        fit_nodes(step("triangle_count"), untidy_csr([0, 1, 2], [1, 2, 0], [1.0] * 3, 3))


def test_without_edges_there_are_none() -> None:
    assert fit_nodes(step("triangle_count"), untidy_csr([1], [1], [1.0], 3)).tolist() == [[0, 0]] * 3


def test_the_columns_stand_behind_the_inputs_or_alone() -> None:
    inputs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    sample = graph_sample(nx.to_scipy_sparse_array(nx.complete_graph(4), format="csr"), inputs)
    spec, alone = step("triangle_count"), step("triangle_count", keep_inputs=False)
    state = spec.fit(sample.fit_data())
    assert spec.describe(sample.info, 2).shape == (5,)
    assert alone.describe(sample.info, 2).shape == (2,)
    applied = sample.apply(spec, state, [3])
    assert applied[:, :3].tolist() == inputs.tolist()  # type: ignore[index]
    assert applied[:, 3:].tolist() == sample.apply(alone, state).tolist() == [[3, 1]] * 4  # type: ignore[index,union-attr]


def test_workers_count_as_this_process_does(two_workers: Workers) -> None:
    # Enough edges that they are sent to the workers by themselves.
    graph = nx.gnm_random_graph(3000, 20000, seed=2)
    edges = sparse.csr_array(nx.to_scipy_sparse_array(graph, format="csr"))
    found = fit_nodes(step("triangle_count"), edges, 5, workers=two_workers)
    assert found[:, 0].tolist() == expected_of(graph)[:, 0].tolist()
