"""Predictors that need no training, against scikit-learn's and against sums by hand over what the store holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score
from sklearn.neighbors import KNeighborsClassifier

from headrace.batching.batches import Split
from headrace.blocks import Ragged
from headrace.inference import references
from headrace.inference.references import Reference, make_references
from headrace.models.base import Shapes
from headrace.planning.artifacts import artifact_path
from headrace.provenance.manifests import read_json
from headrace.provenance.verification import verify_artifact
from headrace.running.workers import Workers
from headrace.stores.layout import STORE, Layout
from headrace.stores.reading import Store
from sample_runs import PLAYS, Made, make_runs
from sample_stores import write_store

STEPS, HORIZON = 120, 3
EXPERIMENT: dict[str, Any] = {
    "name": "references",
    "datasets": {
        "tumours": {"kind": "breast_cancer", "rows_per_shard": 200},
        "progression": {"kind": "diabetes"},
        "plays": {"kind": "text_stream", "path": str(PLAYS), "context": 60},
        "topics": {"kind": "synthetic_sparse_topics", "num_samples": 90, "num_terms": 50},
    },
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [
        {"kind": "linear", "features": "scaled", "datasets": ["tumours", "progression", "series"]},
        {"kind": "rnn", "hidden": 4, "datasets": ["plays"]},
        {"kind": "fnn", "name": "sparse", "hidden": [4], "datasets": ["topics"]},
        {"kind": "vae", "features": "scaled", "hidden": 4, "latent": 2, "likelihood": "gaussian"}
        | {"datasets": ["tumours"]},
    ],
    "training": {"epochs": 1, "batch_size": 64, "seeds": [3], "device": "cpu"},
    "evaluation": {"bootstrap": 5},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    folder = tmp_path_factory.mktemp("references")
    wave = np.sin(np.arange(STEPS) / 5)
    lines = [f"{step},{100 + 20 * wave[step]:.3f},{-(wave[step] ** 2):.3f}" for step in range(STEPS)]
    (folder / "series.csv").write_text("\n".join(["time,load,heat", *lines]) + "\n")
    series = {"kind": "time_series", "path": str(folder / "series.csv"), "time": "time", "targets": ["heat", "load"]}
    series |= {"look_back": 6, "horizon": HORIZON}
    return make_runs(folder, one_worker, EXPERIMENT | {"datasets": {**EXPERIMENT["datasets"], "series": series}})


def folder_of(made: Made, dataset: str) -> Path:
    (found,) = (each for each in made.plan.references if each.dataset == dataset)
    return artifact_path(made.root, "evaluate", found.evaluate.id)


def found_for(made: Made, dataset: str) -> dict[str, dict[tuple[str, str], float]]:
    """Every predictor's values by split and metric."""
    return {
        said["name"]: {(row["split"], row["metric"]): row["value"] for row in said["metrics"]}
        for said in read_json(folder_of(made, dataset) / "references.json")
    }


def split_of(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    store = Store(folder / STORE)
    inputs, target = (store.read(name, store.split(split)) for name in ("inputs", "target"))
    assert isinstance(inputs, np.ndarray)
    assert isinstance(target, np.ndarray)
    return inputs.astype(np.float64), target.astype(np.float64 if target.dtype.kind == "f" else np.int64)


def test_there_are_references_for_every_task_but_densities(made: Made) -> None:
    named = {(each.dataset, each.task): set(found_for(made, each.dataset)) for each in made.plan.references}
    assert named == {
        ("tumours", "classification"): {"most_frequent", "nearest_neighbour"},
        ("progression", "regression"): {"mean"},
        ("plays", "next_step"): {"code_frequencies"},
        ("topics", "classification"): {"most_frequent"},
        ("series", "regression"): {"mean", "last_value"},
    }
    for each in made.plan.references:
        assert list(verify_artifact(folder_of(made, each.dataset))) == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_classes_are_judged_as_scikit_learn_judges_them(made: Made, split: str) -> None:
    train, judged = (split_of(made.features("linear"), name) for name in ("train", split))
    found = found_for(made, "tumours")
    prior = DummyClassifier(strategy="prior").fit(*train)
    frequent = found["most_frequent"]
    assert frequent[split, "accuracy"] == pytest.approx(prior.score(*judged))
    assert frequent[split, "nll"] == pytest.approx(log_loss(judged[1], prior.predict_proba(judged[0])))
    nearest = KNeighborsClassifier(1).fit(*train).predict(judged[0])
    # It is certain of all that it says, so that there is nothing to say of its likelihood or calibration.
    assert {metric for _, metric in found["nearest_neighbour"]} == {"accuracy", "macro_f1"}
    assert found["nearest_neighbour"][split, "accuracy"] == pytest.approx(accuracy_score(judged[1], nearest))
    assert found["nearest_neighbour"][split, "macro_f1"] == pytest.approx(f1_score(judged[1], nearest, average="macro"))


def test_numbers_are_judged_in_the_units_of_the_data(made: Made) -> None:
    train, test = (split_of(made.shards_of("progression"), split) for split in ("train", "test"))
    predicted = DummyRegressor().fit(*train).predict(test[0])
    found = found_for(made, "progression")["mean"]
    assert found["test", "mae"] == pytest.approx(mean_absolute_error(test[1], predicted))
    assert found["test", "r2"] == pytest.approx(r2_score(test[1], predicted))
    assert found["test", "rmse"] > 50


def test_the_last_value_is_that_of_the_data_and_not_of_the_features(made: Made) -> None:
    inputs, target = split_of(made.shards_of("series"), "test")
    # Predicted are heat and load, which are the second and the first of the inputs.
    last = np.stack([inputs[:, -1, 1], inputs[:, -1, 0]] * HORIZON, axis=1)
    found = found_for(made, "series")
    rmse = np.sqrt(((last - target) ** 2).mean(axis=0)).mean()
    assert found["last_value"]["test", "rmse"] == pytest.approx(rmse, rel=1e-5)
    assert found["mean"]["test", "rmse"] != pytest.approx(rmse, rel=0.05)


def test_codes_are_as_frequent_as_training_predicts_them(made: Made) -> None:
    store = Store(made.shards_of("plays") / STORE)
    num_codes = store.attributes["num_codes"]
    rows = {split: rows_of(store.read("inputs", store.split(split))) for split in ("train", "test")}
    counts = np.ones(num_codes)
    for row in rows["train"]:
        for code in row[1:]:
            counts[code] += 1
    nats = [-np.log(counts[code] / counts.sum()) for row in rows["test"] for code in row[1:]]
    found = found_for(made, "plays")["code_frequencies"]
    assert found["test", "nll"] == pytest.approx(np.mean(nats))
    assert found["test", "perplexity"] == pytest.approx(np.exp(np.mean(nats)))


def rows_of(block: Any) -> list[np.ndarray]:
    if isinstance(block, Ragged):
        return [block.values[start:stop] for start, stop in zip(block.offsets[:-1], block.offsets[1:], strict=True)]
    return list(block)


# Bounds


def splits_of(folder: Path, inputs: Any, target: np.ndarray, sizes: Mapping[str, int]) -> dict[str, Split]:
    names = {"train": 0, "validation": 0, "test": 0} | dict(sizes)
    layout = Layout(len(target), 64, 16)
    written = write_store(folder / "store", {"inputs": inputs, "target": target}, layout, names)
    return {name: Split(written.store, written.store.split(name)) for name in sizes}


def nearest_of(folder: Path, inputs: np.ndarray, target: np.ndarray, num_train: int, seed: int = 0) -> list[Reference]:
    splits = splits_of(folder, inputs, target, {"train": num_train, "test": len(target) - num_train})
    shapes = Shapes(inputs.shape[1:], int(target.max()) + 1, "classification")
    found = make_references(shapes, splits["train"], {"test": splits["test"]}, seed=seed)
    return [each for each in found if each.name == "nearest_neighbour"]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), columns=st.integers(1, 5), shift=st.sampled_from([0.0, 1e5]))
def test_the_nearest_is_the_nearest_whatever_lies_between(
    tmp_path_factory: pytest.TempPathFactory, seed: int, columns: int, shift: float
) -> None:
    noise = np.random.default_rng(seed)
    # Few values, so that many samples are equally far away: then it is the first of them.
    inputs = (noise.integers(0, 4, (90, 1, columns)) + shift).astype(np.float32)
    target = noise.integers(0, 3, 90)
    target[0] = 2
    (found,) = nearest_of(tmp_path_factory.mktemp("nearest"), inputs, target, 60)
    flat = inputs.reshape(90, -1).astype(np.float64)
    squares = ((flat[60:, None] - flat[None, :60]) ** 2).sum(axis=2)
    assert found.outputs["test"]["probabilities"].argmax(axis=1).tolist() == target[squares.argmin(axis=1)].tolist()
    assert found.about == "all of training"


def test_of_a_large_training_split_samples_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MAX_ROWS", 120)
    noise = np.random.default_rng(0)
    inputs, target = noise.normal(size=(400, 3)).astype(np.float32), np.arange(400) % 2
    said: dict[int, list[int]] = {}
    for seed in (0, 1):
        (one,), (two,) = (nearest_of(tmp_path / f"{seed}{i}", inputs, target, 300, seed) for i in range(2))
        assert one.about == "120 of 300 training samples"
        said[seed] = one.outputs["test"]["probabilities"].argmax(axis=1).tolist()
        assert said[seed] == two.outputs["test"]["probabilities"].argmax(axis=1).tolist()
    assert said[0] != said[1]


@pytest.mark.parametrize("bound", ["MAX_NUMBERS", "MAX_PRODUCTS"])
def test_without_room_for_enough_samples_there_is_no_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    noise = np.random.default_rng(0)
    inputs, target = noise.normal(size=(300, 3)).astype(np.float32), np.arange(300) % 2
    assert nearest_of(tmp_path / "all", inputs, target, 200)
    monkeypatch.setattr(references, bound, 99 * 3 * (100 if bound == "MAX_PRODUCTS" else 1))
    assert nearest_of(tmp_path / "few", inputs, target, 200) == []
