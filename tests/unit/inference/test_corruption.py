"""Inputs of the test split made worse, against what a linear model must lose by it."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from scipy.ndimage import gaussian_filter

from headrace.batching.batches import Batch, Split
from headrace.corruptions.base import Original
from headrace.corruptions.noise import Spec
from headrace.findings.gathering import gather
from headrace.inference.corruption import corrupt, measure_inputs
from headrace.judging.metrics import METRICS
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.planning.runs import Run
from headrace.provenance.manifests import read_json
from headrace.running.jobs import Job
from headrace.running.workers import Workers
from headrace.stages import report
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import STORE, Layout
from headrace.stores.reading import Store
from sample_runs import Made, make_runs
from sample_stores import write_store

EXPERIMENT: dict[str, Any] = {
    "name": "noise",
    "datasets": {
        "tumours": {"kind": "breast_cancer"},
        "progression": {"kind": "diabetes"},
        "images": {"kind": "synthetic_images", "num_samples": 300, "height": 8, "width": 8},
    },
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [
        {"kind": "linear", "features": "scaled"},
        {"kind": "vae", "hidden": 4, "latent": 2, "likelihood": "gaussian", "datasets": ["tumours"]},
    ],
    "training": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03, "device": "cpu"},
    "evaluation": {
        "bootstrap": 5,
        "corruption": {"noise": [0.5, 3, 0.1], "missing": [0.9, 0.4], "blur": [1.5], "contrast": [0.9]},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    return make_runs(tmp_path_factory.mktemp("noise"), one_worker, EXPERIMENT)


def test_mean_and_deviation_are_those_of_the_training_split(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(1e4, [[1.0], [30.0]], (3000, 2, 5)).astype(np.float32)
    values[:, 0, 0] = 0.1
    sizes = {"train": 2500, "validation": 250, "test": 250}
    written = write_store(tmp_path / "store", {"inputs": values}, Layout(3000, 512, 128), sizes)
    mean, deviation = measure_inputs(Split(written.store, written.store.split("train")))
    train = values[:2500].astype(np.float64)
    assert mean.shape == deviation.shape == (2, 5)
    assert np.allclose(mean.numpy(), train.mean(axis=0), rtol=1e-6)
    assert np.allclose(deviation.numpy(), train.std(axis=0), rtol=1e-6, atol=1e-9)


def test_what_is_drawn_is_the_same_for_every_call_and_no_chance_of_others() -> None:
    spec = Spec(kind="noise", strengths=(0.5,))
    original, inputs = Original(False, deviation=torch.ones(4)), torch.zeros(50, 4)

    def noise(seed: int) -> torch.Tensor:
        batches = (Batch(part, None) for part in inputs.split(20))
        return torch.cat([batch.inputs for batch in corrupt(spec, batches, 0.5, original, seed)])  # type: ignore[misc]

    before = torch.get_rng_state()
    assert torch.equal(noise(3), noise(3))
    assert not torch.equal(noise(3), noise(4))
    # One batch does not repeat the other.
    assert not torch.equal(noise(3)[:20], noise(3)[20:40])
    assert torch.equal(torch.get_rng_state(), before)


def rows_of(made: Made, dataset: str, corruption: str = "noise") -> dict[float, dict[str, float]]:
    """The metrics of the linear model by strength, 0 being the test split as it is."""
    folder = folder_of(made, dataset, "linear")
    found: dict[float, dict[str, float]] = {}
    for row in read_json(folder / "metrics.json"):
        if row["split"] == "test":
            found.setdefault(0.0, {})[row["metric"]] = row["value"]
    for row in read_json(folder / "corrupted.json"):
        assert row["split"] == "test"
        # Nobody can rank the classes of a resample that lacks one.
        assert (row["low"] is None and row["metric"] == "auroc") or row["low"] <= row["high"]
        if row["corruption"] == corruption:
            found.setdefault(row["strength"], {})[row["metric"]] = row["value"]
    return found


def run_of(made: Made, dataset: str, model: str) -> Run:
    return next(run for run in made.plan.runs if (run.dataset, run.model) == (dataset, model))


def folder_of(made: Made, dataset: str, model: str) -> Path:
    return artifact_path(made.root, "evaluate", run_of(made, dataset, model).evaluate.id)


@dataclass(frozen=True)
class Linear:
    """A linear model, and what it read."""

    train: np.ndarray
    test: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    summary: dict[str, Any]

    @classmethod
    def of(cls, made: Made, dataset: str) -> Linear:
        run = run_of(made, dataset, "linear")
        features = run.train.inputs["features"]
        store = Store(artifact_path(made.root, features.stage, features.id) / STORE)
        train, test = (store.read("inputs", store.split(split)).astype(np.float64) for split in ("train", "test"))
        target = store.read("target", store.split("test")).ravel()
        folder = artifact_path(made.root, "train", run.train.id)
        weight, bias = sorted(load_arrays(folder / "weights.safetensors").values(), key=np.ndim, reverse=True)
        return cls(train, test, target, weight, bias, read_json(folder / "summary.json"))

    def rmse(self, inputs: np.ndarray) -> float:
        scale, shift = self.summary["target_deviation"][0], self.summary["target_mean"][0]
        predicted = (inputs @ self.weight.T + self.bias).ravel() * scale + shift
        return float(np.sqrt(((predicted - self.target) ** 2).mean()))

    def accuracy(self, inputs: np.ndarray) -> float:
        logits = inputs.reshape(len(inputs), -1) @ self.weight.T + self.bias
        return float((logits.argmax(axis=1) == self.target).mean())


def test_a_linear_model_errs_by_its_weights_times_the_noise(made: Made) -> None:
    model, found = Linear.of(made, "progression"), rows_of(made, "progression")
    noise = torch.randn(model.test.shape, generator=torch.Generator().manual_seed(0)).double().numpy()
    assert set(found) == {0, 0.1, 0.5, 3}
    for strength, metrics in found.items():
        noisy = model.test + strength * model.train.std(axis=0) * noise
        assert metrics["rmse"] == pytest.approx(model.rmse(noisy), rel=1e-4)
    assert found[3]["rmse"] > 1.2 * found[0]["rmse"]


def test_a_linear_model_without_some_inputs_predicts_from_their_means(made: Made) -> None:
    model, found = Linear.of(made, "progression"), rows_of(made, "progression", "missing")
    draws = torch.rand(model.test.shape, generator=torch.Generator().manual_seed(0)).double().numpy()
    assert set(found) == {0, 0.4, 0.9}
    for strength, metrics in found.items():
        left = np.where(draws < strength, model.train.mean(axis=0), model.test)
        assert metrics["rmse"] == pytest.approx(model.rmse(left), rel=1e-4)
    assert found[0.9]["rmse"] > found[0]["rmse"]


def test_images_are_blurred_and_lose_contrast_as_the_model_reads_them(made: Made) -> None:
    model = Linear.of(made, "images")
    blurred = np.stack([gaussian_filter(image, 1.5) for image in model.test])
    mean = model.test.mean(axis=(1, 2), keepdims=True)
    for kind, strength, worse in (("blur", 1.5, blurred), ("contrast", 0.9, mean + 0.1 * (model.test - mean))):
        found = rows_of(made, "images", kind)
        assert set(found) == {0, strength}
        # A sample that lies between two classes may fall to either side.
        assert found[strength]["accuracy"] == pytest.approx(model.accuracy(worse), abs=0.03)
        assert found[strength]["accuracy"] < found[0]["accuracy"] - 0.06


def test_classifiers_lose_accuracy_and_densities_are_left_out(made: Made) -> None:
    found = rows_of(made, "tumours")
    assert set(found[0.1]) == set(METRICS["classification"])
    assert found[3]["accuracy"] < found[0]["accuracy"] - 0.05
    assert found[0.1]["nll"] == pytest.approx(found[0]["nll"], rel=0.2)
    assert not (folder_of(made, "tumours", "vae") / "corrupted.json").exists()


def test_what_flat_features_do_not_fit_is_left_out(made: Made) -> None:
    assert set(rows_of(made, "tumours", "blur")) == set(rows_of(made, "tumours", "contrast")) == {0}
    assert run_of(made, "tumours", "linear").uncorrupted == dict.fromkeys(("blur", "contrast"), "flat features")
    assert run_of(made, "tumours", "vae").uncorrupted == {}


def test_the_report_is_told(made: Made) -> None:
    planned = next(job for job in made.plan.jobs if job.stage == "report")
    results = gather(Job(receipt_path(made.root, "report", planned.id)))
    assert list(results.corruptions) == ["blur", "contrast", "missing", "noise"]
    assert results.corruptions["contrast"].needs == "images or sequences"
    for run in results.runs:
        strengths = {value.strength for value in run.corrupted if value.corruption == "noise"}
        assert strengths == (set() if run.task == "density" else {0.1, 0.5, 3})
        left_out = set() if run.task == "density" or run.dataset == "images" else {"blur", "contrast"}
        assert set(run.uncorrupted) == left_out
    (linear,) = (run for run in results.runs if (run.dataset, run.model) == ("progression", "linear"))
    of_noise = [value for value in linear.corrupted if value.corruption == "noise"]
    worst = [value for value in of_noise if (value.metric, value.strength) == ("rmse", 3)]
    assert [value.value for value in worst] == [rows_of(made, "progression")[3]["rmse"]]


def test_the_table_of_robustness_lies_beside_the_results_of_this_plan_alone(made: Made, tmp_path: Path) -> None:
    planned = next(job for job in made.plan.jobs if job.stage == "report")
    job = Job(receipt_path(made.root, "report", planned.id))
    results = gather(job)
    report.write(job, results, tmp_path)
    table = pandas.read_csv(tmp_path / "robustness.csv")
    mine = table[(table["dataset"] == "images") & (table["metric"] == "accuracy")]
    pairs = list(zip(mine["corruption"], mine["strength"], strict=True))
    assert pairs == [("blur", 0), ("blur", 1.5), ("contrast", 0), ("contrast", 0.9)] + [
        (kind, strength)
        for kind, all_of in (("missing", (0, 0.4, 0.9)), ("noise", (0, 0.1, 0.5, 3)))
        for strength in all_of
    ]
    assert "robustness.csv" in (tmp_path / "ro-crate-metadata.json").read_text()
    assert "robustness.csv" in read_json(tmp_path / "provenance.json")["files"]
    drawn = {path.name for path in (tmp_path / "figures").glob("robustness-*.svg")}
    assert "robustness-images-classification-blur.svg" in drawn
    assert "robustness-tumours-classification-blur.svg" not in drawn
    clean = [dataclasses.replace(run, corrupted=(), uncorrupted={}) for run in results.runs]
    shutil.rmtree(made.root / ".figures")
    report.write(job, dataclasses.replace(results, runs=clean), tmp_path)
    assert not (tmp_path / "robustness.csv").exists()
    assert "robustness.csv" not in read_json(tmp_path / "provenance.json")["files"]
    assert "robustness.csv" not in (tmp_path / "ro-crate-metadata.json").read_text()
