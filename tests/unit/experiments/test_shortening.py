"""An experiment in few words is the same experiment, and no word of it could be left out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.experiments.reading import check_experiment
from headrace.experiments.shortening import shorten
from headrace.planning.plan import Plan, Site
from projects import ROOT, SMALL

# What is fetched from elsewhere cannot be looked at here.
SHIPPED = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if "download:" not in path.read_text()]

ODD = {
    "name": "odd",
    "description": "1e3",
    "datasets": {
        "a": {"kind": "diabetes", "split": {"by": "random", "train": 0.6, "validation": 0.2, "test": 0.2}},
        "b": {"kind": "breast_cancer", "split": {"by": "stratified", "seed": 0}},
        "c": {"kind": "breast_cancer", "split": {"by": "random"}, "rows_per_shard": 100},
    },
    "features": {"scaled": [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}]},
    "models": [
        {"kind": "fnn", "name": "fnn", "features": "raw", "epochs": 20, "dropout": 0.1, "seeds": [0]},
        {"kind": "fnn", "name": "swept", "hidden": [8], "sweep": {"grid": {"hidden": [[8], [4]], "epochs": [1, 10]}}},
        {
            "kind": "vae",
            "features": "scaled",
            "datasets": ["b"],
            "likelihood": "gaussian",
            "device": "auto",
            "sweep": {"random": {"samples": 2, "parameters": {"latent": {"integer": [2, 9]}}}},
        },
    ],
    "training": {"epochs": 20, "batch_size": 128, "device": "cpu", "seeds": [0, 1]},
    "evaluation": {"bootstrap": 1000, "baseline": "fnn"},
}


@pytest.fixture
def at_root(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)


def plan_of(data: dict[str, Any], artifacts: Path) -> Plan:
    return Plan(check_experiment(data, artifacts=artifacts), Site(artifacts=artifacts))


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The place of every key of a mapping, at any depth."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(value, dict):
            yield (*path, key)
        yield from leaves(inner, (*path, key))


@pytest.mark.parametrize("data", [*map(yaml_files.read, SHIPPED), SMALL, ODD], ids=lambda data: data["name"])
def test_the_short_file_gives_the_same_plan(data, tmp_path, at_root):
    plan = plan_of(data, tmp_path)
    path = tmp_path / "short.yaml"
    path.write_text(yaml_files.write(plan.short, compact=True))
    again = plan_of(yaml_files.read(path), tmp_path)
    assert again.digest == plan.digest
    assert [(run.train.identity, run.evaluate.identity) for run in again.runs] == [
        (run.train.identity, run.evaluate.identity) for run in plan.runs
    ]
    assert again.resolved == plan.resolved
    assert again.short == plan.short
    assert len(path.read_text()) < 0.75 * len(yaml_files.write(plan.resolved))


@pytest.mark.parametrize("data", [yaml_files.read(ROOT / "configs" / "quickstart.yaml"), ODD], ids=lambda d: d["name"])
def test_no_setting_could_be_left_out(data, tmp_path, at_root):
    plan = plan_of(data, tmp_path)
    seen = 0
    for *path, key in leaves(plan.short):
        fewer = copy.deepcopy(plan.short)
        place: Any = fewer
        for step in path:
            place = place[step]
        del place[key]
        with suppress(InputError):
            # The device stands there so that another machine takes the same one.
            assert key == "device" or plan_of(fewer, tmp_path).digest != plan.digest, (*path, key)
        seen += 1
    assert seen > 15


def test_defaults_are_gone_and_the_rest_is_as_it_was():
    short = shorten(check_experiment(ODD))
    assert short["datasets"] == {
        "a": {"kind": "diabetes", "split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
        "b": {"kind": "breast_cancer"},
        "c": {"kind": "breast_cancer", "rows_per_shard": 100, "split": {"by": "random"}},
    }
    fnn, swept, vae = short["models"]
    assert fnn == {"kind": "fnn", "epochs": 20, "seeds": [0]}
    assert swept == {"kind": "fnn", "name": "swept", "sweep": {"grid": {"hidden": [[8], [4]], "epochs": [1, 10]}}}
    assert list(vae) == ["kind", "features", "datasets", "likelihood", "device", "sweep"]
    assert short["training"] == {"epochs": 20, "seeds": [0, 1], "device": "cpu"}
    assert short["evaluation"] == {"baseline": "fnn"}


def test_a_text_that_looks_like_a_number_keeps_its_quotes():
    text = yaml_files.write(shorten(check_experiment(ODD)))
    assert "description: '1e3'" in text
    assert yaml.load(text, yaml_files.Loader)["description"] == "1e3"
