"""Chains of steps on stores: what they learn from, where blocks are cut, and what comes out in every layout."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from headrace import chains
from headrace.blocks import Ragged
from headrace.chains import Chain
from headrace.datasets.base import DataInfo
from headrace.provenance.manifests import write_json
from headrace.registry import load_kind
from headrace.running.workers import Workers
from headrace.stages import preprocess
from headrace.stores import groups
from headrace.stores.arrays import load_arrays, save_arrays
from headrace.stores.layout import Layout, choose_layout
from headrace.stores.reading import Store
from sample_stores import write_store


def make_store(path: Path, inputs: np.ndarray, sizes: dict[str, int]) -> Store:
    return write_store(path, {"inputs": inputs}, choose_layout(len(inputs), inputs[0].nbytes), sizes).store


def task_of(steps: list[dict[str, Any]], source: Store, folder: Path) -> Any:
    """What a stage is given, for data that are what the store says."""
    inputs = source.variables["inputs"]
    num_values = int(source.offsets("inputs")[-1]) if inputs.layout == "ragged" else 0
    info = DataInfo(
        ("classification",),
        source.layout.num_rows,
        inputs.shape,
        inputs.dims,
        layout=inputs.layout,
        dtype=inputs.dtype,
        num_codes=256 if inputs.dtype == "uint8" else 0,
        num_values=num_values,
    )
    num_train = source.attributes["split_sizes"]["train"]
    spec = json.loads(json.dumps({"steps": steps, "info": info.describe(), "num_train": num_train}))
    return SimpleNamespace(spec=spec, id="x", checkpoints=folder / "checkpoints")


def fit_chain(path: Path, inputs: np.ndarray) -> Chain:
    store = make_store(path, inputs, {"train": 60, "validation": 20, "test": 20})
    steps = [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}]
    folder = path.with_suffix(".states")
    folder.mkdir()
    return preprocess.fit(task_of(steps, store, folder), store, folder, None)


def test_only_the_training_split_is_learned_from(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    others = inputs.copy()
    others[60:] = 1e6 * np.random.default_rng(1).normal(size=(40, 6))
    chains = [fit_chain(tmp_path / f"{i}.zarr", values) for i, values in enumerate((inputs, others))]
    for one, other in zip(*chains, strict=True):
        assert {name: values.tobytes() for name, values in one.state.items()} == {
            name: values.tobytes() for name, values in other.state.items()
        }


def test_a_step_is_fitted_on_what_the_steps_before_it_leave(tmp_path: Path) -> None:
    inputs = (5 + 3 * np.random.default_rng(0).normal(size=(100, 6))).astype(np.float32)
    state = fit_chain(tmp_path / "data.zarr", inputs)[1].state
    scaled = StandardScaler().fit_transform(inputs[:60].astype(np.float64))
    assert state["values"] == pytest.approx(np.linalg.svd(scaled, compute_uv=False)[:3], rel=1e-5)


@pytest.mark.parametrize("rows", [slice(0, 60), slice(60, 80), slice(80, 100), slice(0, 100), slice(59, 61)])
def test_blocks_are_cut_at_the_borders_of_the_shards(tmp_path: Path, rows: slice) -> None:
    layout = make_store(tmp_path / "data.zarr", np.zeros((100, 2), np.float32), {"train": 100}).layout
    size = layout.rows_per_shard
    parts = chains.parts_of(layout, rows)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(rows.start, rows.stop))
    assert all(part.start // size == (part.stop - 1) // size for part in parts)


# What comes out, in every layout


TEXTS = [b"the sun", b"", b"a b c the", b"rain", b"the the"] * 20
Made = tuple[Store, Chain]


def text_store(path: Path) -> Store:
    rows = Ragged.of([np.frombuffer(text, np.uint8) for text in TEXTS], np.uint8)
    target = np.arange(len(TEXTS), dtype=np.int64) % 5
    sizes = {"train": 60, "validation": 20, "test": 20}
    return write_store(path, {"inputs": rows, "target": target}, Layout(100, 12, 4), sizes).store


def make(source: Store, steps: list[dict[str, Any]], tmp_path: Path, workers: Workers) -> Made:
    """The features of a store, as the stage makes them."""
    states = tmp_path / "states"
    states.mkdir()
    chain = preprocess.fit(task_of(steps, source, tmp_path), source, states, workers)
    target = tmp_path / "features.zarr"
    chains.create(source, target, chain, workers)
    for call in chains.calls(source, target, chain):
        call()
    groups.finish(target)
    return Store(target), chain


def test_texts_become_codes_of_other_lengths(tmp_path: Path, one_worker: Workers) -> None:
    source = text_store(tmp_path / "texts.zarr")
    store, _ = make(source, [{"kind": "tokenize", "unit": "words", "max_tokens": 50}], tmp_path, one_worker)
    assert store.variables["inputs"].layout == "ragged"
    assert store.attributes["num_codes"] == 50
    rows = store.read("inputs", slice(0, 100))
    assert isinstance(rows, Ragged)
    words = [text.split() for text in TEXTS]
    assert rows.lengths.tolist() == [max(1, len(text)) for text in words]
    codes: dict[bytes, int] = {}
    for text, start, length in zip(words, rows.offsets, rows.lengths, strict=False):
        for word, code in zip(text, rows.values[start : start + length].tolist(), strict=len(text) > 0):
            assert codes.setdefault(word, code) == code
    assert len(set(codes.values())) == len(codes)
    assert np.array_equal(store.read("target", slice(0, 100)), source.read("target", slice(0, 100)))


def test_texts_become_sparse_counts_and_dense_components(tmp_path: Path, one_worker: Workers) -> None:
    source = text_store(tmp_path / "texts.zarr")
    steps = [{"kind": "hash_vectorize", "num_features": 64}, {"kind": "tfidf"}]
    store, _ = make(source, steps, tmp_path, one_worker)
    assert store.variables["inputs"].layout == "sparse"
    norms = np.asarray(store.read("inputs", slice(0, 100)).power(2).sum(axis=1))  # type: ignore[union-attr]
    assert norms == pytest.approx([0.0 if not text else 1.0 for text in TEXTS], abs=1e-5)
    (tmp_path / "more").mkdir()
    dense, _ = make(source, [*steps, {"kind": "truncated_svd", "rank": 3}], tmp_path / "more", one_worker)
    assert dense.variables["inputs"].shape == (3,)
    vectors = dense.read("inputs", slice(0, 100))
    assert isinstance(vectors, np.ndarray)
    assert np.linalg.matrix_rank(vectors) == 3


def test_a_sealed_chain_transforms_other_data(finished_chain: Path) -> None:
    chain = chains.load_chain(finished_chain)
    inputs = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    found = chains.transform(inputs, chain, slice(0, 7))
    state = load_arrays(finished_chain / "0-standardize.safetensors")
    assert found == pytest.approx((inputs - state["mean"]) / state["scale"], abs=1e-6)
    with pytest.raises(FileNotFoundError, match="not a sealed artifact"):
        chains.load_chain(finished_chain / "nothing")


@pytest.fixture
def finished_chain(tmp_path: Path) -> Path:
    """What a stage leaves of a chain of one step."""
    state = {"mean": np.arange(6.0), "scale": np.arange(1.0, 7.0)}
    save_arrays(tmp_path / "0-standardize.safetensors", state)
    info = DataInfo(("density",), 100, (6,), ("feature",))
    spec = {"steps": [{"kind": "standardize"}], "info": info.describe(), "num_train": 60}
    write_json(tmp_path / "manifest.json", {"identity": "x", "status": "done", "spec": spec})
    return tmp_path


# After a kill


def test_a_step_that_was_fitted_before_a_kill_is_not_fitted_again(tmp_path: Path, monkeypatch: Any) -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    store = make_store(tmp_path / "data.zarr", inputs, {"train": 60, "validation": 20, "test": 20})
    steps = [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}]
    task = task_of(steps, store, tmp_path)
    (tmp_path / "one").mkdir()
    first = preprocess.fit(task, store, tmp_path / "one", None)

    def refuse(self: Any, data: Any) -> Any:
        raise AssertionError("was fitted again")

    for kind in ("standardize", "truncated_svd"):
        monkeypatch.setattr(load_kind("preprocessing", kind), "fit", refuse)
    (tmp_path / "two").mkdir()
    again = preprocess.fit(task, store, tmp_path / "two", None)
    for one, other in zip(first, again, strict=True):
        assert {k: v.tobytes() for k, v in one.state.items()} == {k: v.tobytes() for k, v in other.state.items()}
    assert (tmp_path / "two/1-truncated_svd.convergence.json").read_bytes() == (
        tmp_path / "one/1-truncated_svd.convergence.json"
    ).read_bytes()


def test_blocks_are_smaller_where_a_step_makes_much_of_little(tmp_path: Path, one_worker: Workers) -> None:
    store = make_store(
        tmp_path / "data.zarr", np.zeros((100, 2), np.float32), {"train": 60, "validation": 20, "test": 20}
    )
    (tmp_path / "states").mkdir()
    small = preprocess.fit(task_of([{"kind": "standardize"}], store, tmp_path), store, tmp_path / "states", None)
    wide = [replace(small[0], info=replace(small[0].info, shape=(2**22,)))]
    parts = chains.parts_of(store.layout, slice(3, 97), wide)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(3, 97))
    assert {part.stop - part.start for part in parts} <= {1, 2, 3, 4}
    assert len(chains.parts_of(store.layout, slice(3, 97), small)) < len(parts)
