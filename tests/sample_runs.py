"""Runs that the stages trained in this process, on a little of every layout of data."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.planning.plan import Plan, Site
from headrace.planning.runs import Run
from headrace.running.jobs import Job
from headrace.running.workers import Workers

PLAYS = Path(__file__).parents[1] / "configs/data/plays.txt"
EXPERIMENT: dict[str, Any] = {
    "name": "sample",
    "datasets": {
        "tumours": {"kind": "breast_cancer", "rows_per_shard": 200},
        "progression": {"kind": "diabetes"},
        "sines": {"kind": "synthetic_sequences", "num_samples": 90, "num_features": 2, "max_length": 30},
        "topics": {"kind": "synthetic_sparse_topics", "num_samples": 90, "num_terms": 50},
        "nodes": {"kind": "synthetic_graph", "num_nodes": 90},
        "images": {"kind": "synthetic_images", "num_samples": 90, "height": 8, "width": 8},
        "plays": {"kind": "text_stream", "path": str(PLAYS), "context": 60},
    },
    "features": {
        "reduced": [{"kind": "standardize"}, {"kind": "augment", "noise": 0.1}, {"kind": "truncated_svd", "rank": 3}],
        "scaled": [{"kind": "standardize"}],
        "unit": [{"kind": "normalize"}],
        "passed": [{"kind": "propagate"}],
        "rows": [{"kind": "window", "size": 2}],
    },
    "models": [
        {"kind": "fnn", "name": "reduced", "features": "reduced", "hidden": [4], "datasets": ["tumours"]},
        {"kind": "linear", "name": "raw", "datasets": ["tumours"]},
        {
            "kind": "vae",
            "name": "vae",
            "features": "scaled",
            "hidden": 8,
            "latent": 2,
            "likelihood": "gaussian",
            "datasets": ["tumours"],
        },
        {"kind": "fnn", "name": "numbers", "features": "scaled", "hidden": [4], "datasets": ["progression"]},
        {"kind": "rnn", "name": "ragged", "features": "unit", "hidden": 4, "datasets": ["sines"]},
        {"kind": "fnn", "name": "sparse", "features": "unit", "hidden": [4], "datasets": ["topics"]},
        {"kind": "fnn", "name": "graph", "features": "passed", "hidden": [4], "datasets": ["nodes"]},
        {"kind": "cnn", "name": "cnn", "channels": [2], "hidden": 4, "datasets": ["images"]},
        {"kind": "rnn", "name": "rnn", "features": "rows", "hidden": 4, "datasets": ["images"]},
        {"kind": "transformer", "name": "letters", "width": 8, "heads": 2, "layers": 1, "datasets": ["plays"]},
    ],
    "training": {"epochs": 2, "batch_size": 64, "seeds": [3], "device": "cpu"},
    "evaluation": {"bootstrap": 5},
}


@dataclass(frozen=True)
class Made:
    """What the stages have left."""

    root: Path
    plan: Plan

    def run(self, model: str) -> Run:
        return next(run for run in self.plan.runs if run.model == model)

    def folder(self, model: str) -> Path:
        return artifact_path(self.root, "train", self.run(model).train.id)

    def features(self, model: str) -> Path:
        features = self.run(model).train.inputs["features"]
        return artifact_path(self.root, features.stage, features.id)

    def shards(self, model: str) -> Path:
        return self.shards_of(self.run(model).dataset)

    def shards_of(self, dataset: str) -> Path:
        return artifact_path(self.root, "shard", self.plan.shards[dataset].id)

    def evaluation(self, model: str) -> Path:
        return artifact_path(self.root, "evaluate", self.run(model).evaluate.id)


def make_runs(folder: Path, workers: Workers, experiment: dict[str, Any] = EXPERIMENT) -> Made:
    """Shard, preprocess, train and evaluate, with workers that run already."""

    @contextmanager
    def open_kept(_: Any) -> Iterator[Workers]:
        yield workers

    site = Site(artifacts=folder / "artifacts", results=folder / "results", device="cpu")
    plan = Plan(check_experiment(experiment), site)
    plan.write_specs()
    cluster = SimpleNamespace(open=open_kept, worker_memory_mib=900)
    for planned in plan.jobs:
        if planned.stage in ("shard", "preprocess", "train", "evaluate"):
            job = Job(receipt_path(site.artifacts, planned.stage, planned.id))
            stage = importlib.import_module(f"headrace.stages.{planned.stage}")
            stage.run(job, *([cluster] if planned.stage in ("shard", "preprocess") else []))
    return Made(site.artifacts, plan)
