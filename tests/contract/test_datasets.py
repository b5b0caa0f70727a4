"""Every kind of dataset is what it says it is, from its source through shards to batches."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pytest
import torch
import xarray as xr
import yaml
import zarr

from headrace.batching.batches import Padded, open_split
from headrace.blocks import Block, Ragged, num_rows
from headrace.clusters.base import Place
from headrace.datasets.base import INPUTS, SAMPLE, TARGET, DataInfo, DatasetSpec, FileDataset, Source
from headrace.experiments.splits import SPLITS, planned_sizes, resolve_split
from headrace.provenance.manifests import write_json
from headrace.provenance.verification import verify_artifact
from headrace.registry import GROUPS, list_kinds, load_kind
from headrace.running.jobs import Making
from headrace.running.workers import Workers
from headrace.sources.gathering import gather
from headrace.sources.library import Library
from headrace.stages import shard
from headrace.stores.layout import STORE
from headrace.stores.reading import Store

OPTIONAL = {"japanese_vowels": "sktime"}
"""Kind -> the package that ships its files, where `pip install` alone does not bring that."""
KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(missing, reason=f"{OPTIONAL[kind]} is not installed"))
    if (missing := kind in OPTIONAL and find_spec(OPTIONAL[kind]) is None)
    else kind
    for kind in list_kinds("datasets")
]
TASKS = {"classification", "regression", "forecasting", "density", "next_step"}
HEAVY = ("torch", "dask", "distributed", "xarray", "zarr", "sklearn", "scipy", "safetensors", "numcodecs", "pandas")
HEAVY += ("pyarrow", "h5py", "PIL", "pooch", "numpy")
DESCRIBE_ALL = """
import json, sys
from contextlib import suppress
from pathlib import Path
from headrace.datasets.base import DataInfo
from headrace.registry import list_kinds, load_kind
from headrace.sources.library import Library

examples = json.loads(sys.argv[1])
library = Library(Path(sys.argv[2]))
info = DataInfo(("classification", "density"), 50, (8, 8), ("height", "width"), ("no", "yes"), (25, 25), 0, True)
for group, kinds in examples.items():
    assert sorted(kinds) == list(list_kinds(group))
    for kind, parameters in kinds.items():
        spec = load_kind(group, kind).model_validate_json(json.dumps({"kind": kind, **parameters}))
        if group == "datasets":
            library.look_up(spec)
        elif group == "preprocessing":
            # What it cannot work on is refused without anything heavy, too.
            with suppress(ValueError):
                spec.describe(info, 40)
        elif group == "models":
            spec.check(info)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@dataclass(frozen=True)
class Sharded:
    """A kind's example, and the artifact that was made of it."""

    spec: DatasetSpec
    info: DataInfo
    source: Source
    folder: Path

    @property
    def store(self) -> Store:
        return Store((self.folder / STORE).absolute())


Open = Callable[[str], Sharded]


@pytest.fixture(scope="module")
def kept_cluster(make_example: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One cluster for all: `open` gives the workers that run already."""
    place = tmp_path_factory.mktemp("place")
    with make_example("clusters", "local", workers=2, worker_memory_mib=900).open(Place(place, place)) as workers:

        @contextmanager
        def open_kept(_: Place) -> Iterator[Workers]:
            yield workers

        yield SimpleNamespace(open=open_kept)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def open_kind(make_example: Callable[..., Any], kept_cluster: Any, library: Library) -> Open:
    @cache
    def opened(kind: str) -> Sharded:
        spec = make_example("datasets", kind)
        known = library.look_up(spec)
        folder = library.root / "shard" / kind
        folder.mkdir(parents=True)
        work = Making(folder)
        task = SimpleNamespace(id=kind, spec={"content": known.sha256})
        job = SimpleNamespace(place=None, workers_used={})
        shard.make_shards(job, task, work, spec, library, kept_cluster)
        manifest = {"identity": "0", "status": "done", "outputs": work.digests, "chunks": work.chunks}
        write_json(folder / "manifest.json", manifest)
        scratch = library.root / "scratch" / kind
        scratch.mkdir(parents=True)
        source, _ = library.open(spec, scratch, known.sha256)
        return Sharded(spec, known.info, source, folder)

    return opened


def values_of(block: Block) -> np.ndarray:
    return block if isinstance(block, np.ndarray) else block.values if isinstance(block, Ragged) else block.data


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_what_was_described(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    info, variable = made.info, made.store.variables[INPUTS]
    assert (variable.layout, variable.dims, variable.shape, variable.dtype) == (
        info.layout,
        info.dims,
        info.shape,
        info.dtype,
    )
    inputs = made.store.read(INPUTS, slice(0, info.num_samples))
    assert num_rows(inputs) == info.num_samples
    values = values_of(inputs).astype(np.float64) * (variable.scale or 1)
    assert np.isfinite(values).all()
    assert len(info.dims) == len(info.shape) == len(set(info.dims))
    if info.unit_interval:
        assert 0 <= values.min() <= values.max() <= 1
    if isinstance(inputs, Ragged):
        assert inputs.lengths.max() <= info.longest
    if info.num_codes:
        assert 0 <= values.min() <= values.max() < info.num_codes


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_what_was_described(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    info = made.info
    assert set(info.tasks) <= TASKS
    assert info.tasks
    assert not {"classification", "regression"} <= set(info.tasks)
    if "classification" in info.tasks:
        target = made.store.read(TARGET, slice(0, info.num_samples))
        assert target.dtype == np.int64
        assert target.shape == (info.num_samples,)
        counts = np.bincount(target, minlength=len(info.class_names))
        assert tuple(counts.tolist()) == info.class_counts
        assert len(set(info.class_names)) == len(info.class_names) == len(info.class_counts) >= 2
        assert made.store.attributes["class_names"] == list(info.class_names)
    elif "regression" in info.tasks:
        target = made.store.read(TARGET, slice(0, info.num_samples))
        assert target.dtype == np.float32
        assert target.reshape(info.num_samples, -1).shape[1] == info.num_targets >= 1
        assert not info.class_names
    else:
        assert not info.class_names
        assert info.num_targets == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_row_is_in_the_store_once_and_unchanged(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    with xr.open_zarr(made.folder / STORE) as dataset:
        order = dataset.source_row.to_numpy()
    assert sorted(order.tolist()) == list(range(made.info.num_samples))
    for name in set(made.source.variables) - made.source.square:
        wanted = gather(made.source, order, [name])[name]
        found = made.store.read(name, slice(0, made.info.num_samples))
        if isinstance(wanted, np.ndarray | Ragged):
            assert np.array_equal(values_of(found), values_of(wanted))
        else:
            assert (found != wanted).nnz == 0
        if isinstance(wanted, Ragged):
            assert np.array_equal(found.lengths, wanted.lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_of_batches_is_the_training_split(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    split = open_split(made.folder, "train")
    rows = made.store.split("train")
    assert len(split) == rows.stop - rows.start
    batches = list(split.epoch(16, seed=1, epoch=2))
    assert sum(len(batch) for batch in batches) == len(split)
    assert all(len(batch) == 16 for batch in batches[:-1])
    inputs = made.store.read(INPUTS, rows)
    scale = made.store.variables[INPUTS].scale or 1
    total = float(values_of(inputs).astype(np.float64).sum() * scale)
    sums = [(b.inputs.values if isinstance(b.inputs, Padded) else b.inputs).double().sum() for b in batches]
    assert float(sum(sums)) == pytest.approx(total, rel=1e-4, abs=1e-2)
    if TARGET in made.store.variables:
        target = np.sort(made.store.read(TARGET, rows).reshape(-1))
        assert np.array_equal(np.sort(torch.cat([b.target.reshape(-1) for b in batches]).numpy()), target)


@pytest.mark.parametrize("kind", KINDS)
def test_other_tools_open_what_was_written(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    with xr.open_zarr(made.folder / STORE) as dataset:
        assert dataset.sizes[SAMPLE] == made.info.num_samples
        assert {"split", "source_row"} <= set(dataset.coords)
        if made.info.layout == "dense":
            assert dataset[INPUTS].dims == (SAMPLE, *made.info.dims)
        if made.info.layout == "ragged":
            assert dataset[f"{INPUTS}_offsets"].sizes["sample_edge"] == made.info.num_samples + 1
    if made.info.layout == "sparse":
        group = zarr.open_group(made.folder / STORE, mode="r")
        first = anndata.io.read_elem(group[f"{INPUTS}/0"])
        assert (first != made.store.read(INPUTS, made.store.layout.rows(0))).nnz == 0
    assert list(verify_artifact(made.folder)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_says_whose_it_is(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    if not isinstance(made.spec, FileDataset):
        assert made.info.licence
        assert made.info.source
    json.dumps(dict(made.source.attributes), allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_split_is_the_planned_one(kind: str, open_kind: Open) -> None:
    made = open_kind(kind)
    sizes = made.store.attributes["split_sizes"]
    assert sizes == planned_sizes(made.info, resolve_split(made.spec.split, made.info))
    assert list(sizes) == list(SPLITS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_shows_an_example_that_is_allowed(kind: str) -> None:
    spec = load_kind("datasets", kind)
    examples = re.findall(r"`(\{kind: .*?\})`", " ".join((spec.__doc__ or "").split()))
    if {name for name, field in spec.model_fields.items() if field.is_required()} == {"kind"}:
        assert spec.model_validate({"kind": kind})
        return
    assert examples, f"datasets/{kind}.py: say in the docstring how it is used, as in `{{kind: {kind}, ...}}`"
    for example in examples:
        spec.model_validate_json(json.dumps(yaml.safe_load(example)))


def test_describing_imports_nothing_heavy(make_example: Callable[..., Any], library: Library, open_kind: Open) -> None:
    for kind in list_kinds("datasets"):
        if issubclass(load_kind("datasets", kind), FileDataset):
            open_kind(kind)
    examples = {
        group: {
            kind: make_example(group, kind).model_dump(mode="json", exclude={"kind"}, exclude_unset=True)
            for kind in list_kinds(group)
        }
        for group in GROUPS
    }
    command = [sys.executable, "-c", DESCRIBE_ALL, json.dumps(examples), str(library.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()
