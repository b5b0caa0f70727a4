"""Every kind of dataset is what it says it is; and saying it costs nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr

from headrace.datasets.base import INPUTS, SAMPLE, TARGET, DataInfo, DatasetSpec
from headrace.registry import GROUPS, list_kinds
from headrace.splits import SPLITS, divide, planned_sizes, resolve_split

KINDS = list_kinds("datasets")
TASKS = {"classification", "regression", "density"}
HEAVY = ("torch", "dask", "distributed", "xarray", "zarr", "sklearn", "scipy", "safetensors", "numcodecs", "pandas")
DESCRIBE_ALL = """
import json, sys
from headrace.datasets.base import DataInfo
from headrace.registry import list_kinds, load_kind

examples = json.loads(sys.argv[1])
info = DataInfo(("classification", "density"), 50, (8, 8), ("height", "width"), ("no", "yes"), (25, 25), 0, True)
for group, kinds in examples.items():
    assert sorted(kinds) == list(list_kinds(group))
    for kind, parameters in kinds.items():
        spec = load_kind(group, kind).model_validate({"kind": kind, **parameters})
        if group == "datasets":
            spec.describe()
        elif group == "preprocessing":
            spec.describe(info, 40)
        elif group == "models":
            spec.check(info)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="session")
def open_kind(make_example: Callable[..., Any]) -> Callable[[str], tuple[DatasetSpec, DataInfo, xr.Dataset]]:
    @cache
    def opened(kind: str) -> tuple[DatasetSpec, DataInfo, xr.Dataset]:
        spec = make_example("datasets", kind)
        return spec, spec.describe(), spec.open()

    return opened


Open = Callable[[str], tuple[DatasetSpec, DataInfo, xr.Dataset]]


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_are_what_was_described(kind: str, open_kind: Open) -> None:
    _, info, dataset = open_kind(kind)
    inputs = dataset[INPUTS]
    assert inputs.dims == (SAMPLE, *info.dims)
    assert inputs.shape == (info.num_samples, *info.shape)
    assert inputs.dtype == np.float32
    assert np.isfinite(inputs.to_numpy()).all()
    assert len(info.dims) == len(info.shape) == len(set(info.dims))
    if info.unit_interval:
        assert inputs.to_numpy().min() >= 0
        assert inputs.to_numpy().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_what_was_described(kind: str, open_kind: Open) -> None:
    _, info, dataset = open_kind(kind)
    assert set(info.tasks) <= TASKS
    assert info.tasks
    assert not {"classification", "regression"} <= set(info.tasks)
    if "classification" in info.tasks:
        target = dataset[TARGET]
        assert target.dims == (SAMPLE,)
        assert target.dtype == np.int64
        counts = np.bincount(target.to_numpy(), minlength=len(info.class_names))
        assert tuple(counts.tolist()) == info.class_counts
        assert len(set(info.class_names)) == len(info.class_names) == len(info.class_counts) >= 2
        assert sum(info.class_counts) == info.num_samples
    elif "regression" in info.tasks:
        target = dataset[TARGET]
        assert target.dtype == np.float32
        assert np.isfinite(target.to_numpy()).all()
        assert target.to_numpy().reshape(info.num_samples, -1).shape[1] == info.num_targets >= 1
        assert not info.class_names
    else:
        assert not info.class_names
        assert info.num_targets == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_says_whose_it_is(kind: str, open_kind: Open) -> None:
    _, info, dataset = open_kind(kind)
    assert info.licence
    assert info.source
    json.dumps(dataset.attrs, allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_opening_twice_gives_the_same_rows(kind: str, open_kind: Open) -> None:
    spec, _, dataset = open_kind(kind)
    assert dataset.identical(spec.open())


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_split_is_the_planned_one(kind: str, open_kind: Open) -> None:
    spec, info, dataset = open_kind(kind)
    split = resolve_split(spec.split, info)
    labels = dataset[TARGET].to_numpy() if info.class_names else None
    division = divide(info.num_samples, labels, split)
    assert division.sizes == planned_sizes(info, split)
    assert list(division.sizes) == list(SPLITS)
    assert sorted(division.order.tolist()) == list(range(info.num_samples))


def test_describing_imports_nothing_heavy(make_example: Callable[..., Any]) -> None:
    examples = {
        group: {
            kind: make_example(group, kind).model_dump(mode="json", exclude={"kind"}, exclude_unset=True)
            for kind in list_kinds(group)
        }
        for group in GROUPS
    }
    command = [sys.executable, "-c", DESCRIBE_ALL, json.dumps(examples)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()
