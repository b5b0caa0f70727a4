"""Components of graphs, against scipy and networkx on whole matrices."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from headrace.running.workers import Workers
from sample_fits import step
from sample_graphs import Drawn, fit_nodes, graph_sample, graphs, untidy_csr


def expected_of(graph: nx.Graph) -> np.ndarray:
    """(nodes, 2) by sorting sets of nodes."""
    found = np.empty((len(graph), 2))
    for number, members in enumerate(sorted(nx.connected_components(graph), key=lambda c: (-len(c), min(c)))):
        found[list(members)] = number, len(members) / len(graph)
    return found


@given(graphs(directed=True))
@settings(deadline=None, max_examples=40)
def test_components_match_networkx_whatever_the_directions(drawn: Drawn) -> None:
    found = fit_nodes(step("connected_components"), drawn.adjacency, drawn.num_blocks)
    expected = expected_of(drawn.networkx(directed=True).to_undirected())
    assert found[:, 0].tolist() == expected[:, 0].tolist()
    assert found[:, 1] == pytest.approx(expected[:, 1], rel=1e-6)


@pytest.mark.parametrize("num_blocks", [1, 2, 7, 40])
def test_many_components_match_scipy(num_blocks: int) -> None:
    edges = sparse.random_array((2000, 2000), density=0.0004, format="csr", rng=np.random.default_rng(5))
    num_components, labels = connected_components(edges, directed=False)
    assert 100 < num_components < 1500
    found = fit_nodes(step("connected_components"), edges, num_blocks)
    pairs = set(zip(labels.tolist(), found[:, 0].tolist(), strict=True))
    assert len(pairs) == num_components == len({number for _, number in pairs})
    assert found[:, 1] * 2000 == pytest.approx(np.bincount(labels)[labels], rel=1e-6)
    sizes = np.bincount(found[:, 0].astype(int))
    assert (np.diff(sizes) <= 0).all()


def test_a_long_path_in_any_order_is_one_component() -> None:
    order = np.random.default_rng(0).permutation(3000)
    path = untidy_csr(order[:-1], order[1:], np.ones(2999), 3000)
    assert fit_nodes(step("connected_components"), path, 9).tolist() == [[0, 1]] * 3000


def test_of_equally_large_ones_that_with_the_first_node_comes_first() -> None:
    # 0-4, 1-3 and 2 alone, 5-6-7.
    edges = untidy_csr([4, 3, 5, 7], [0, 1, 6, 6], [1.0] * 4, 8)
    found = fit_nodes(step("connected_components"), edges)
    assert found[:, 0].tolist() == [1, 2, 3, 2, 1, 0, 0, 0]
    assert found[:, 1] * 8 == pytest.approx([2, 2, 1, 2, 2, 3, 3, 3])


def test_edges_of_weight_zero_join_nobody_and_negative_ones_do() -> None:
    edges = untidy_csr([0, 1, 2, 2], [1, 2, 3, 3], [0.0, -1.0, 2.0, -2.0], 4)
    assert fit_nodes(step("connected_components"), edges)[:, 0].tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("num_blocks", [1, 4])
def test_without_edges_every_node_is_alone(num_blocks: int) -> None:
    found = fit_nodes(step("connected_components"), untidy_csr([2], [2], [1.0], 5), num_blocks)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert found[:, 1] == pytest.approx(np.full(5, 0.2))


def test_one_pass_over_the_edges_is_enough() -> None:
    data = graph_sample(nx.to_scipy_sparse_array(nx.path_graph(30), format="csr")).fit_data(5)
    assert data.adjacency is not None
    read: list[int] = []
    readers = data.adjacency._readers

    def counted(i: int) -> sparse.csr_array:
        read.append(i)
        return readers[i]()

    data.adjacency._readers = tuple(lambda i=i: counted(i) for i in range(5))  # type: ignore[misc]
    step("connected_components").fit(data)
    assert read == [0, 1, 2, 3, 4]


def test_the_columns_stand_behind_the_inputs_or_alone() -> None:
    inputs = np.random.default_rng(0).normal(size=(6, 3, 2)).astype(np.float32)
    sample = graph_sample(nx.to_scipy_sparse_array(nx.path_graph(6), format="csr"), inputs)
    spec, alone = step("connected_components"), step("connected_components", keep_inputs=False)
    state = spec.fit(sample.fit_data())
    assert spec.describe(sample.info, 4).shape == (8,)
    assert alone.describe(sample.info, 4).shape == (2,)
    applied = sample.apply(spec, state, [5])
    assert applied[:, :6].tolist() == inputs.reshape(6, 6).tolist()  # type: ignore[index]
    assert applied[:, 6:].tolist() == sample.apply(alone, state).tolist() == [[0, 1]] * 6  # type: ignore[index,union-attr]


def test_workers_give_the_same_bits_as_this_process(two_workers: Workers) -> None:
    edges = sparse.random_array((300, 300), density=0.003, format="csr", rng=np.random.default_rng(5))
    here, there = (fit_nodes(step("connected_components"), edges, 5, workers=opened) for opened in (None, two_workers))
    assert here.tobytes() == there.tobytes()
