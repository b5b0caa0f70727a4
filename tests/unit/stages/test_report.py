"""The tables that a report leaves in a folder, and those that must not stay there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from headrace.findings.results import Results
from headrace.judging.group_metrics import score_classes_by_group
from headrace.reporting.crate import write_crate
from headrace.stages.report import write_tables
from sample_results import quickstart

ALWAYS = {"results.csv", "results.parquet"}
OF_CLASSES = {"classes.csv", "classes.parquet"}
OF_GROUPS = {"groups.csv", "groups.parquet"}


def grouped() -> Results:
    """The quickstart, whose samples belong to two groups."""
    places = np.arange(40)
    found = score_classes_by_group("hand", ["left", "right"], places % 2, places % 10, places // 4, 10)
    return dataclasses.replace(
        quickstart(), runs=[dataclasses.replace(run, groups=found) for run in quickstart().runs if run.family == "fnn"]
    )


def test_tables_of_an_earlier_report_that_this_one_lacks_go(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("kept")
    (tmp_path / "experiment.yaml").write_text("name: quickstart")
    write_tables(grouped(), tmp_path)
    write_crate(grouped(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= ALWAYS | OF_CLASSES | OF_GROUPS
    crate = (tmp_path / "ro-crate-metadata.json").read_text()
    assert all(f'"@id": "{name}"' in crate for name in ALWAYS | OF_CLASSES | OF_GROUPS)
    write_tables(quickstart(), tmp_path)
    write_crate(quickstart(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ALWAYS | OF_CLASSES | {"mine.csv", "experiment.yaml", "ro-crate-metadata.json"}
    assert "groups.csv" not in (tmp_path / "ro-crate-metadata.json").read_text()
    densities = [run for run in quickstart().runs if run.task == "density"]
    write_tables(dataclasses.replace(quickstart(), runs=densities), tmp_path)
    assert not OF_CLASSES & {path.name for path in tmp_path.iterdir()}
