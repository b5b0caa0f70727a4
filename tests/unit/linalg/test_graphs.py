"""What steps on graphs share: degrees, symmetry, clean patterns, columns behind the inputs; against dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse

from headrace.errors import StageError
from headrace.linalg.graphs import beside, inverse_where_positive, is_symmetric, pattern, weigh
from sample_fits import row_blocks
from sample_graphs import Drawn, graphs, untidy_csr


@given(graphs(directed=True))
@settings(deadline=None, max_examples=30)
def test_degrees_are_the_sums_of_rows(drawn: Drawn) -> None:
    degrees = weigh(row_blocks(drawn.adjacency, num_blocks=drawn.num_blocks), "kind")
    assert degrees.dtype == np.float64
    assert degrees == pytest.approx(drawn.dense.sum(axis=1), rel=1e-12)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(weight: float) -> None:
    edges = row_blocks(untidy_csr([0, 4], [1, 2], [1.0, weight], 5))
    with pytest.raises(StageError, match=r"^kind: the graph has edges whose weight is not a finite number; give .*$"):
        weigh(edges, "kind")


def test_negative_weights_are_refused() -> None:
    with pytest.raises(StageError, match=r"^kind: the graph has an edge of weight -0\.5; allowed: .*$"):
        weigh(row_blocks(untidy_csr([0, 4], [1, 2], [1.0, -0.5], 5)), "kind")


@given(graphs(directed=True))
@settings(deadline=None, max_examples=40)
def test_symmetry_is_what_a_comparison_of_all_entries_says(drawn: Drawn) -> None:
    edges = row_blocks(drawn.adjacency, num_blocks=drawn.num_blocks)
    assert is_symmetric(edges) == np.array_equal(drawn.dense, drawn.dense.T)
    joined = drawn.dense != 0
    np.fill_diagonal(joined, False)
    assert is_symmetric(edges, weighted=False) == np.array_equal(joined, joined.T)


@given(graphs(directed=False))
@settings(deadline=None, max_examples=30)
def test_graphs_without_directions_are_symmetric(drawn: Drawn) -> None:
    edges = row_blocks(drawn.adjacency, num_blocks=drawn.num_blocks)
    assert is_symmetric(edges)
    assert is_symmetric(edges, weighted=False)


def large_graph() -> sparse.csr_array:
    edges = sparse.random_array((5000, 5000), density=0.004, format="csr", rng=np.random.default_rng(0))
    return sparse.csr_array(edges + edges.T)


def test_one_edge_of_many_that_leads_one_way_is_found() -> None:
    edges = large_graph()
    assert is_symmetric(row_blocks(edges))
    edges.data[12345] = 0
    assert not is_symmetric(row_blocks(edges))
    assert not is_symmetric(row_blocks(edges), weighted=False)


def test_one_weight_of_many_that_is_another_on_the_way_back_is_found() -> None:
    edges = large_graph()
    edges.data[12345] *= 1.01
    assert not is_symmetric(row_blocks(edges))
    assert is_symmetric(row_blocks(edges), weighted=False)


def test_weights_that_were_rounded_each_for_itself_are_symmetric() -> None:
    edges = large_graph()
    noise = 1 + np.random.default_rng(1).uniform(-6e-8, 6e-8, edges.nnz)
    assert is_symmetric(row_blocks(sparse.csr_array((edges.data * noise, edges.indices, edges.indptr), edges.shape)))


@given(graphs(directed=True))
@settings(deadline=None, max_examples=30)
def test_a_pattern_is_where_the_sum_is_not_zero_off_the_diagonal(drawn: Drawn) -> None:
    expected = (drawn.dense != 0).astype(float)
    np.fill_diagonal(expected, 0)
    half = len(expected) // 2
    for rows in (slice(0, half), slice(half, len(expected))):
        block = drawn.adjacency[rows]
        before = block.copy()
        found = pattern(block, np.arange(rows.start, rows.stop))
        assert before.data.tolist() == block.data.tolist()
        assert before.indices.tolist() == block.indices.tolist()
        assert found.toarray().tolist() == expected[rows].tolist()
        assert found.nnz == expected[rows].sum()
        assert all(
            (np.diff(found.indices[a:b]) > 0).all() for a, b in zip(found.indptr, found.indptr[1:], strict=False)
        )


def test_duplicates_that_cancel_are_no_edge() -> None:
    found = pattern(untidy_csr([0, 0, 1], [1, 1, 0], [2.0, -2.0, 1.0], 2), np.arange(2))
    assert found.toarray().tolist() == [[0, 0], [1, 0]]


def test_what_has_no_inverse_becomes_zero() -> None:
    assert inverse_where_positive(np.array([0.0, 2.0, 0.5])).tolist() == [0, 0.5, 2]


def test_columns_stand_behind_the_flattened_inputs_of_their_rows() -> None:
    nodes = np.arange(12, dtype=np.float32).reshape(6, 2)
    block = np.arange(100, 108).reshape(2, 2, 2)
    kept = beside(block, nodes, slice(3, 5), keep_inputs=True)
    assert kept.dtype == np.float32
    assert kept.tolist() == [[100, 101, 102, 103, 6, 7], [104, 105, 106, 107, 8, 9]]
    assert beside(block, nodes, slice(3, 5), keep_inputs=False).tolist() == [[6, 7], [8, 9]]


def test_rows_that_are_no_nodes_are_refused() -> None:
    with pytest.raises(StageError, match=r"^row 6 is none of the 6 nodes of the graph; .*$"):
        beside(np.zeros((2, 1)), np.zeros((6, 2), np.float32), slice(5, 7), keep_inputs=True)
