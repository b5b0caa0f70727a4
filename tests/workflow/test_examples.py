"""The example experiments run end to end: of each group of sources, of sequences, of sparse data and of a graph."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.registry import list_kinds
from projects import ROOT, Project

ITERATIVE = {"graph": ["pagerank"], "sparse": ["truncated_svd"]}
"""Steps whose convergence the report must show."""
HAS_UTTERANCES = find_spec("sktime") is not None
"""Whether the package is here that ships the files of `vowels`, as after `make setup`."""
EXAMPLES = [
    *sorted(path.stem for path in (ROOT / "configs").glob("own-*.yaml")),
    pytest.param("vowels", marks=pytest.mark.skipif(not HAS_UTTERANCES, reason="sktime is not installed")),
    *ITERATIVE,
]
LONGER = {"vowels": 5}
"""Epochs of an experiment in which a learning rate warms up for four of them."""
SHORT: dict[str, dict[str, Any]] = {
    "training": {"epochs": 2, "seeds": [0], "device": "cpu"},
    "evaluation": {"bootstrap": 20},
}


def test_every_group_of_sources_has_an_example() -> None:
    kinds = {
        dataset["kind"]
        for path in (ROOT / "configs").glob("*.yaml")
        for dataset in yaml.safe_load(path.read_text())["datasets"].values()
    }
    groups = {
        "tables": {"csv", "parquet"},
        "series": {"time_series"},
        "texts": {"text_lines"},
        "long texts": {"text_stream"},
        "arrays": {"npy", "npz", "idx", "image_folder"},
        "sparse": {"svmlight", "matrix_market"},
        "grids": {"netcdf", "hdf5", "zarr"},
        "generators": {kind for kind in list_kinds("datasets") if kind.startswith("synthetic_")},
    }
    assert {name for name, members in groups.items() if not kinds & members} == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_from_its_files_to_its_report(name: str, project: Project) -> None:
    training = {**SHORT["training"], "epochs": LONGER.get(name, SHORT["training"]["epochs"])}
    short = project.write({**SHORT, "training": training}, "short.yaml")
    done = project.snakemake("--configfile", f"configs/{name}.yaml", str(short))
    assert done.returncode == 0, done.stdout
    folder = Path(project.folder / "results" / name)
    page = (folder / "report.html").read_text()
    assert len(page) > 10_000
    assert ("Convergence of iterative steps" in page) == (name in ITERATIVE)
    for kind in ITERATIVE.get(name, []):
        (trace,) = project.folder.glob(f"artifacts/preprocess/*/*-{kind}.convergence.json")
        assert json.loads(trace.read_text())["converged"] is True
        assert f"-{kind}" in page
    with (folder / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    asked = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    assert {row["family"] for row in rows} == {model["kind"] for model in asked["models"]}
    explained = list(project.folder.glob("artifacts/evaluate/*/attributions.json"))
    assert len(explained) == ("attributions" in asked.get("evaluation", {})) * len(asked["models"])
    assert ('id="attributions"' in page) == bool(explained)
