"""Inputs passed along the edges of a graph, against networkx and scipy on whole matrices."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from headrace.errors import StageError
from headrace.running.workers import Workers
from sample_fits import step
from sample_graphs import Drawn, communities, graph_sample, graphs, untidy_csr


def inputs_for(adjacency: sparse.csr_array, features: int = 4) -> np.ndarray:
    return np.random.default_rng(8).normal(size=(adjacency.shape[0], features)).astype(np.float32)


def expected_of(dense: np.ndarray, inputs: np.ndarray, steps: int, normalize: str, self_loops: bool) -> np.ndarray:
    whole = dense + np.eye(len(dense)) * self_loops
    degrees = whole.sum(axis=1)
    shares = np.divide(1, degrees, out=np.zeros(len(dense)), where=degrees > 0)
    operator = whole * shares[:, None] if normalize == "row" else np.sqrt(np.outer(shares, shares)) * whole
    return np.linalg.matrix_power(operator, steps) @ inputs.reshape(len(inputs), -1).astype(np.float64)


@given(graphs(directed=False), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_symmetric_steps_match_the_power_of_the_whole_matrix(drawn: Drawn, steps: int, self_loops: bool) -> None:
    inputs = inputs_for(drawn.adjacency)
    spec = step("propagate", steps=steps, self_loops=self_loops or not drawn.dense.any())
    nodes = spec.fit(graph_sample(drawn.adjacency, inputs).fit_data(drawn.num_blocks))["nodes"]
    assert nodes.dtype == np.float32
    assert nodes == pytest.approx(expected_of(drawn.dense, inputs, steps, "symmetric", spec.self_loops), abs=2e-5)


@given(graphs(directed=True), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_steps_by_row_match_the_power_of_the_whole_matrix(drawn: Drawn, steps: int, self_loops: bool) -> None:
    inputs = inputs_for(drawn.adjacency)
    self_loops = self_loops or not drawn.dense.any()
    spec = step("propagate", steps=steps, normalize="row", self_loops=self_loops)
    nodes = spec.fit(graph_sample(drawn.adjacency, inputs).fit_data(drawn.num_blocks))["nodes"]
    assert nodes == pytest.approx(expected_of(drawn.dense, inputs, steps, "row", self_loops), abs=2e-5)


def test_the_operator_is_that_of_the_normalised_laplacian_with_loops() -> None:
    graph = nx.karate_club_graph()
    adjacency = nx.to_scipy_sparse_array(graph, weight="weight", format="csr", dtype=float)
    graph.add_weighted_edges_from((node, node, 1.0) for node in list(graph))
    # networkx counts a loop once, as A + I does.
    operator = np.eye(34) - nx.normalized_laplacian_matrix(graph).toarray()
    inputs = inputs_for(adjacency)
    nodes = step("propagate", steps=3).fit(graph_sample(adjacency, inputs).fit_data())["nodes"]
    assert nodes == pytest.approx(np.linalg.matrix_power(operator, 3) @ inputs, abs=1e-5)


def test_a_path_of_three_by_hand() -> None:
    path = untidy_csr([0, 1, 1, 2], [1, 0, 2, 1], [1.0] * 4, 3)
    sample = graph_sample(path, np.array([[6.0], [0.0], [12.0]], np.float32))
    nodes = step("propagate", steps=1, normalize="row").fit(sample.fit_data(2))["nodes"]
    assert nodes.tolist() == [[3], [6], [6]]
    nodes = step("propagate", steps=1, normalize="row", self_loops=False).fit(sample.fit_data(2))["nodes"]
    assert nodes.tolist() == [[0], [9], [0]]


def test_nodes_without_edges_keep_their_inputs_or_become_zero() -> None:
    edges = untidy_csr([0, 1], [1, 0], [1.0, 1.0], 3)
    sample = graph_sample(edges, np.array([[1.0], [2.0], [5.0]], np.float32))
    assert step("propagate").fit(sample.fit_data())["nodes"].tolist() == [[1.5], [1.5], [5]]
    assert step("propagate", self_loops=False).fit(sample.fit_data())["nodes"].tolist() == [[1], [2], [0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_images_are_flattened_and_kept_in_front_if_so_wished(dtype: type) -> None:
    images = np.arange(24).reshape(4, 3, 2).astype(dtype)
    sample = graph_sample(nx.to_scipy_sparse_array(nx.path_graph(4), format="csr"), images)
    spec = step("propagate", keep_inputs=True)
    described = spec.describe(sample.info, 3)
    assert (described.shape, described.dims, described.dtype) == ((12,), ("feature",), "float32")
    state = spec.fit(sample.fit_data())
    applied = sample.apply(spec, state, [1])
    assert isinstance(applied, np.ndarray)
    assert applied[:, :6].tolist() == images.reshape(4, 6).tolist()
    assert applied[:, 6:].tolist() == state["nodes"].tolist()
    replaced = step("propagate")
    assert replaced.describe(sample.info, 3).shape == (6,)
    assert sample.apply(replaced, state).tolist() == state["nodes"].tolist()  # type: ignore[union-attr]


def test_the_inputs_of_all_nodes_are_seen_and_no_target() -> None:
    path = nx.to_scipy_sparse_array(nx.path_graph(6), format="csr")
    inputs = np.eye(6, dtype=np.float32)
    data = graph_sample(path, inputs).fit_data()
    assert data.labelled is None
    assert (step("propagate", steps=1).fit(data)["nodes"][3, 4]) > 0.3


def test_edges_with_directions_need_rows() -> None:
    one_way = graph_sample(untidy_csr([0, 1], [1, 2], [1.0, 1.0], 3))
    with pytest.raises(StageError, match=r"^propagate: edges of the graph have directions; say normalize: row$"):
        step("propagate").fit(one_way.fit_data())
    assert step("propagate", normalize="row").fit(one_way.fit_data())["nodes"].shape == (3, 1)


def test_a_graph_without_edges_is_refused_without_loops() -> None:
    empty = graph_sample(untidy_csr([0, 1], [1, 0], [0.0, 0.0], 3), np.ones((3, 2), np.float32))
    with pytest.raises(StageError, match=r"^propagate: the graph has no edges; leave this step out.*$"):
        step("propagate", self_loops=False).fit(empty.fit_data())
    assert step("propagate").fit(empty.fit_data())["nodes"].tolist() == [[1, 1]] * 3


def test_negative_weights_are_refused_by_name() -> None:
    with pytest.raises(StageError, match=r"^propagate: the graph has an edge of weight -1; .*$"):
        step("propagate").fit(graph_sample(untidy_csr([0, 1], [1, 0], [-1.0, -1.0], 3)).fit_data())


def test_neighbours_of_one_class_tell_the_classes_apart(tmp_path: Path) -> None:
    inputs, target, edges = communities(tmp_path, num_nodes=1200, homophily=0.9, separation=0.7, num_features=8)
    nodes = step("propagate").fit(graph_sample(edges, inputs).fit_data())["nodes"]
    scores = [LogisticRegression().fit(x[:600], target[:600]).score(x[600:], target[600:]) for x in (inputs, nodes)]
    assert scores[1] > scores[0] + 0.2


def test_workers_give_the_same_bits_as_this_process(two_workers: Workers) -> None:
    edges = sparse.random_array((400, 400), density=0.02, format="csr", rng=np.random.default_rng(0))
    edges = sparse.csr_array(edges + edges.T)
    sample = graph_sample(edges, inputs_for(edges, 40))
    here, there = (step("propagate").fit(sample.fit_data(5, workers=opened)) for opened in (None, two_workers))
    assert here["nodes"].tobytes() == there["nodes"].tobytes()
