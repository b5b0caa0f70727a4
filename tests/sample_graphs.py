"""Graphs to fit preprocessing steps on, as untidy as files may hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from headrace.datasets.base import DataInfo, DatasetSpec
from headrace.preprocessing.base import StepSpec
from headrace.registry import restore
from sample_fits import Sample


@dataclass(frozen=True)
class Drawn:
    """A graph, what it is cut in, and what it is once duplicates are added up."""

    adjacency: sparse.csr_array
    num_blocks: int
    dense: np.ndarray

    def networkx(self, *, directed: bool) -> Any:
        """Without the edges of weight 0."""
        graph: Any = nx.DiGraph() if directed else nx.Graph()
        graph.add_nodes_from(range(len(self.dense)))
        graph.add_weighted_edges_from((i, j, self.dense[i, j]) for i, j in np.argwhere(self.dense).tolist())
        return graph


def untidy_csr(rows: Any, columns: Any, weights: Any, num_nodes: int, seed: int = 0) -> sparse.csr_array:
    """CSR as given: duplicates and zeros stay, and columns are in no order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[np.argsort(np.asarray(rows)[order], kind="stable")]
    counts = np.bincount(np.asarray(rows, np.int64), minlength=num_nodes)
    offsets = np.concatenate([[0], counts.cumsum()])
    parts = (np.asarray(weights)[order], np.asarray(columns, np.int64)[order], offsets)
    return sparse.csr_array(parts, shape=(num_nodes, num_nodes))


@st.composite
def graphs(draw: st.DrawFn, *, directed: bool, weighted: bool = True) -> Drawn:
    """Up to 25 nodes: some alone, loops, duplicates, weights of 0; float32 or float64."""
    num_nodes = draw(st.integers(1, 25))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_edges = draw(st.integers(1, 60))
    rows, columns = generator.integers(0, num_nodes, (2, num_edges))
    weights = generator.integers(0, 4, num_edges) / 2.0 if weighted else generator.integers(0, 2, num_edges) * 1.0
    if not directed:
        rows, columns = np.concatenate([rows, columns]), np.concatenate([columns, rows])
        weights = np.concatenate([weights, weights])
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    adjacency = untidy_csr(rows, columns, weights.astype(dtype), num_nodes, draw(st.integers(0, 9)))
    dense = np.zeros((num_nodes, num_nodes))
    np.add.at(dense, (rows, columns), weights)
    return Drawn(adjacency, draw(st.integers(1, 6)), dense)


def graph_sample(adjacency: Any, inputs: np.ndarray | None = None) -> Sample:
    """Nodes of which two thirds are for training, with one number each if nothing else is given."""
    num_nodes = adjacency.shape[0]
    if inputs is None:
        inputs = np.zeros((num_nodes, 1), np.float32)
    dims = ("feature",) if inputs.ndim == 2 else ("height", "width")
    info = DataInfo(("density",), num_nodes, inputs.shape[1:], dims, has_graph=True, dtype=inputs.dtype.name)
    return Sample(inputs, info, max(1, 2 * num_nodes // 3), adjacency=sparse.csr_array(adjacency))


def fit_nodes(spec: StepSpec, adjacency: Any, num_blocks: int = 3, **options: Any) -> np.ndarray:
    """What a step says of every node, in float64."""
    state = spec.fit(graph_sample(adjacency).fit_data(num_blocks, **options))
    assert state["nodes"].dtype == np.float32
    return state["nodes"].astype(np.float64)


def communities(folder: Path, **parameters: Any) -> tuple[np.ndarray, np.ndarray, sparse.csr_array]:
    """Inputs, classes and edges of a `synthetic_graph`."""
    spec = restore("datasets", {"kind": "synthetic_graph", **parameters}, DatasetSpec)
    source: Any = spec.open(folder)
    parts = [source.read(part, ["inputs", "target", "adjacency"]) for part in range(len(source.borders) - 1)]
    inputs, target = (np.concatenate([part[name] for part in parts]) for name in ("inputs", "target"))
    return inputs, target, sparse.csr_array(sparse.vstack([part["adjacency"] for part in parts], format="csr"))
