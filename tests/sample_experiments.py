"""Folders of results as the report stage leaves them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from headrace.findings.results import Results
from headrace.reporting.tables import write_csv
from headrace.reporting.tidy import tabulate_metrics
from headrace.stages.report import RUN_KEYS, describe_reference
from sample_results import quickstart

STAGES = ("train", "evaluate")


def write_results(
    root: Path, name: str, results: Results | None = None, *, code: str = "old", torch: str = "2.13.0", **changes: Any
) -> Path:
    """Write the results of a sample to root/name, with changes of its settings, versions and code."""
    results = dataclasses.replace(results or quickstart(), experiment=name)
    folder = root / name
    folder.mkdir(parents=True)
    settings = {**yaml.safe_load(results.resolved_yaml), "name": name, **changes}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(settings))
    (folder / "results.csv").write_text(write_csv(tabulate_metrics(results)))
    entries = [
        {"label": ["shard", each.name], "id": each.name, "digest": each.digest, "status": "done", "artifact": "-"}
        for each in results.datasets
    ]
    for each in results.runs:
        label = [each.dataset, each.model, each.features, each.point, each.seed]
        entry = {"id": each.id, "digest": each.id, "status": each.status, "artifact": "-"}
        entries += [{**entry, "label": [stage, *label], "code": f"{each.family}-{code}"} for stage in STAGES]
    provenance = {
        "artifacts": entries,
        "runs": [{key: getattr(run, key) for key in RUN_KEYS} for run in results.runs],
        "environment": {"versions": {"python": "3.11.7", "torch": torch}},
        "references": [describe_reference(reference) for reference in results.references],
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "report.html").write_text("<p>a report")
    return folder
