"""Data for a trained run: which rows there are, and what brings them to what the run reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace import chains
from headrace.batching.batches import Split
from headrace.batching.epochs import Rows
from headrace.chains import Chain
from headrace.datasets.base import INPUTS, DataInfo
from headrace.errors import InputError, StageError
from headrace.inference.new_rows import ArrayFile, Transformed
from headrace.planning.artifacts import artifact_path
from headrace.provenance.digests import content_digests
from headrace.provenance.manifests import read_manifest
from headrace.stores import groups
from headrace.stores.layout import STORE, Variable
from headrace.stores.reading import Store

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class SealedRun:
    """A run that was trained."""

    folder: Path
    manifest: Manifest

    @property
    def features(self) -> Path:
        """The artifact that it was trained on."""
        wanted = self.manifest["inputs"]["features"]
        return artifact_path(self.folder.parents[1], wanted["stage"], wanted["id"])

    @property
    def class_names(self) -> list[str]:
        """As the data that it was trained on name them; their codes where these data are no longer there.

        None where it does not tell classes apart.
        """
        if self.manifest["spec"]["shapes"]["task"] != "classification":
            return []
        try:
            names = list(groups.read_attributes(self.features / STORE).get("class_names", ()))
        except StageError:
            names = []
        num_outputs = self.manifest["spec"]["shapes"]["outputs"]
        return names if len(names) == num_outputs else [str(code) for code in range(num_outputs)]


@dataclass(frozen=True)
class Beginning:
    """What a run's samples are before its chain, and the chain."""

    inputs: Variable
    num_codes: int
    chain: Chain
    shards: str
    """Identity of those that the chain was fitted on."""
    num_rows: int
    """Of these shards."""
    may_miss: bool = False
    characters: str = ""
    """Where codes stand for characters: these, in the order of their codes."""


@dataclass(frozen=True)
class Part:
    """Rows that are predicted in one go, as `evaluate` does with a split."""

    data: Split
    numbers: np.ndarray
    """(rows,) int64: where each row lies in the source of the data, counted from 0."""


def find_run(name: str, root: Path) -> SealedRun:
    """A run by its folder, or by the name of its folder in artifacts/train. Raises InputError."""
    places = (Path(name), artifact_path(root, "train", name))
    folder = next((place.absolute() for place in places if read_manifest(place) is not None), None)
    if folder is None:
        raise InputError(f"{name}: not a sealed run; give the folder artifacts/train/ID, or its ID")
    manifest = read_manifest(folder)
    assert manifest is not None
    if manifest.get("stage") != "train":
        raise InputError(f"{name}: is an artifact of {manifest.get('stage')}, not of train")
    if manifest["status"] != "done":
        raise InputError(f"{name}: its training failed: {manifest.get('reason')}")
    _refuse_damage(folder, manifest)
    return SealedRun(folder, manifest)


def open_data(run: SealedRun, path: Path, split: str | None) -> list[Part]:
    """Rows of an artifact, or of a file of dense arrays, as the run reads them. Raises InputError."""
    if path.is_dir():
        return _open_artifact(run, path, split)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{path}: is neither an artifact of shard or preprocess nor a .npy or .npz file")
    if split is not None:
        raise InputError(f"--split {split}: means nothing with a file; allowed with artifacts")
    before = read_beginning(run)
    file = ArrayFile(path, before.inputs, before.num_codes, may_miss=before.may_miss)
    num_rows = file.layout.num_rows
    data = Split(_after_chain(file, before, None, str(path)), slice(0, num_rows), resident_mib=0)
    return [Part(data, np.arange(num_rows))]


def read_beginning(run: SealedRun) -> Beginning:
    """What the run's samples come from, by the artifact that it was trained on. Raises InputError if that is gone."""
    folder, wanted = run.features, run.manifest["inputs"]["features"]
    manifest = read_manifest(folder)
    if manifest is None or manifest["identity"] != wanted["identity"]:
        raise InputError(f"{folder}: is missing or another; the run {run.folder.name} was trained on it")
    if wanted["stage"] == "shard":
        attributes, inputs = groups.read_attributes(folder / STORE), groups.read_variables(folder / STORE)[INPUTS]
        characters = attributes.get("characters", "")
        num_codes = int(attributes.get("num_codes", 0))
        return Beginning(inputs, num_codes, (), manifest["identity"], 0, characters=characters)
    _refuse_damage(folder, manifest)
    info = DataInfo.of(manifest["spec"]["info"])
    inputs = Variable(info.dims, info.shape, info.dtype, info.layout)
    shards = manifest["inputs"]["shards"]["identity"]
    return Beginning(inputs, info.num_codes, chains.load_chain(folder), shards, info.num_samples, info.has_missing)


def _refuse_damage(folder: Path, manifest: Manifest) -> None:
    """Raise InputError unless all files of an artifact but its store are what was written."""
    store = {part: digest for part, digest in manifest["outputs"].items() if part.startswith(STORE)}
    # A store is looked at when it is read, and what a chain has learnt is enough where the store was removed.
    found = content_digests(folder, store)
    for part, digest in manifest["outputs"].items():
        if found.get(part) != digest:
            raise InputError(f"{folder}: {part} is missing or not what was written")


def _open_artifact(run: SealedRun, folder: Path, split: str | None) -> list[Part]:
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("stage") not in ("shard", "preprocess"):
        raise InputError(f"{folder}: not a sealed artifact of shard or preprocess")
    path = (folder / STORE).absolute()
    groups.check_small(path, manifest["outputs"])
    store = Store(path, manifest["chunks"])
    sizes = store.attributes["split_sizes"]
    if split is not None and split not in sizes:
        raise InputError(f"--split {split}: allowed: {', '.join(sizes)}")
    rows: Rows = store
    if manifest["identity"] != run.manifest["inputs"]["features"]["identity"]:
        if manifest["stage"] != "shard":
            raise InputError(
                f"{folder}: its steps were not fitted for {run.folder.name}; give the shards that it was made of"
            )
        before = read_beginning(run)
        _refuse_other(store, before, folder)
        rows = _after_chain(store, before, manifest["identity"], str(folder))
    numbers = groups.read_array(path, "source_row")
    wanted = [store.split(name) for name in sizes if split in (None, name)]
    return [Part(Split(rows, part, resident_mib=0), numbers[part]) for part in wanted if part.stop > part.start]


def _refuse_other(store: Store, before: Beginning, folder: Path) -> None:
    """Raise InputError where shards hold something else than the run's chain, or the run, begins with."""
    found, wanted = store.variables[INPUTS], before.inputs
    for what, one, other in (
        ("layout", found.layout, wanted.layout),
        ("shape", found.shape, wanted.shape),
        ("number of codes", int(store.attributes.get("num_codes", 0)), before.num_codes),
        ("type", np.dtype(found.dtype), np.dtype(wanted.dtype)),
    ):
        if one != other:
            raise InputError(f"{folder}: {what} of the inputs: {one}; the run was trained on {other}")
    if store.attributes.get("characters", "") != before.characters:
        raise InputError(f"{folder}: its codes stand for other characters than those that the run was trained on")


def _after_chain(rows: Rows, before: Beginning, shards: str | None, name: str) -> Rows:
    """Rows of some shards, or of none, as the run reads them."""
    if not before.chain:
        return rows
    own = shards == before.shards
    on_graph = [fitted.step.kind for fitted in before.chain if "graph" in fitted.step.needs]
    if on_graph and not own:
        raise InputError(f"{name}: {on_graph[0]} works on the nodes of its own graph, and on no others")
    return Transformed(rows, before.chain, 0 if own else before.num_rows)
