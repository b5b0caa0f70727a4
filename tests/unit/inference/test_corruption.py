"""Noise on the inputs of the test split, against what a linear model must lose by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from headrace.batching.batches import Batch, Split
from headrace.findings.gathering import gather
from headrace.inference.corruption import add_noise, find_deviations
from headrace.judging.metrics import METRICS
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.planning.runs import Run
from headrace.provenance.manifests import read_json
from headrace.running.jobs import Job
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import STORE, Layout
from headrace.stores.reading import Store
from sample_runs import Made, make_runs
from sample_stores import write_store

EXPERIMENT: dict[str, Any] = {
    "name": "noise",
    "datasets": {"tumours": {"kind": "breast_cancer"}, "progression": {"kind": "diabetes"}},
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [
        {"kind": "linear", "features": "scaled"},
        {"kind": "vae", "hidden": 4, "latent": 2, "likelihood": "gaussian", "datasets": ["tumours"]},
    ],
    "training": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03, "device": "cpu"},
    "evaluation": {"bootstrap": 5, "corruption": {"noise": [0.5, 3, 0.1]}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    return make_runs(tmp_path_factory.mktemp("noise"), one_worker, EXPERIMENT)


def batches(inputs: torch.Tensor, size: int) -> Iterator[Batch]:
    return (Batch(part, None) for part in inputs.split(size))


def test_noise_is_gaussian_and_in_units_of_every_feature() -> None:
    inputs, deviations = torch.full((20_000, 3), 7.0), torch.tensor([0.0, 2.0, 0.1])
    noisy = torch.cat([batch.inputs for batch in add_noise(batches(inputs, 6000), deviations, 0.5, seed=1)])
    assert isinstance(noisy, torch.Tensor)
    assert torch.equal(noisy[:, 0], inputs[:, 0])
    for column, deviation in ((1, 1.0), (2, 0.05)):
        assert kstest((noisy[:, column].double() - 7).numpy(), "norm", (0, deviation)).pvalue > 1e-3
    assert abs(np.corrcoef(noisy[:, 1:].T.numpy())[0, 1]) < 0.03


def test_every_strength_and_every_call_has_the_same_noise() -> None:
    inputs, deviations = torch.zeros(50, 4), torch.ones(4)

    def noise(strength: float, seed: int) -> torch.Tensor:
        return torch.cat([batch.inputs for batch in add_noise(batches(inputs, 20), deviations, strength, seed)])

    assert torch.equal(noise(0.25, 3), noise(0.25, 3))
    assert torch.equal(noise(0.5, 3), 2 * noise(0.25, 3))
    assert not torch.equal(noise(0.25, 3), noise(0.25, 4))
    before = torch.get_rng_state()
    noise(1.0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_deviations_are_those_of_the_training_split(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(1e4, [[1.0], [30.0]], (3000, 2, 5)).astype(np.float32)
    values[:, 0, 0] = 0.1
    sizes = {"train": 2500, "validation": 250, "test": 250}
    written = write_store(tmp_path / "store", {"inputs": values}, Layout(3000, 512, 128), sizes)
    found = find_deviations(Split(written.store, written.store.split("train"))).numpy()
    assert found.shape == (2, 5)
    assert np.allclose(found, values[:2500].astype(np.float64).std(axis=0), rtol=1e-6, atol=1e-9)


def rows_of(made: Made, dataset: str) -> dict[float, dict[str, float]]:
    """The metrics of the linear model by strength, 0 being the test split as it is."""
    folder = folder_of(made, dataset, "linear")
    found: dict[float, dict[str, float]] = {}
    for row in read_json(folder / "metrics.json"):
        if row["split"] == "test":
            found.setdefault(0.0, {})[row["metric"]] = row["value"]
    for row in read_json(folder / "corrupted.json"):
        assert (row["corruption"], row["split"]) == ("noise", "test")
        assert row["low"] <= row["value"] <= row["high"]
        found.setdefault(row["strength"], {})[row["metric"]] = row["value"]
    return found


def run_of(made: Made, dataset: str, model: str) -> Run:
    return next(run for run in made.plan.runs if (run.dataset, run.model) == (dataset, model))


def folder_of(made: Made, dataset: str, model: str) -> Path:
    return artifact_path(made.root, "evaluate", run_of(made, dataset, model).evaluate.id)


def test_a_linear_model_errs_by_its_weights_times_the_noise(made: Made) -> None:
    run = run_of(made, "progression", "linear")
    store = Store(made.features("linear").parent / run.train.inputs["features"].id / STORE)
    train, test = (store.read("inputs", store.split(split)).astype(np.float64) for split in ("train", "test"))
    target = store.read("target", store.split("test")).ravel()
    folder = artifact_path(made.root, "train", run.train.id)
    weight, bias = sorted(load_arrays(folder / "weights.safetensors").values(), key=np.ndim, reverse=True)
    scale = read_json(folder / "summary.json")
    noise = torch.randn(test.shape, generator=torch.Generator().manual_seed(0)).double().numpy()
    found = rows_of(made, "progression")
    assert set(found) == {0, 0.1, 0.5, 3}
    for strength, metrics in found.items():
        noisy = test + strength * train.std(axis=0) * noise
        predicted = (noisy @ weight.T + bias).ravel() * scale["target_deviation"][0] + scale["target_mean"][0]
        assert metrics["rmse"] == pytest.approx(np.sqrt(((predicted - target) ** 2).mean()), rel=1e-4)
    assert found[3]["rmse"] > 1.2 * found[0]["rmse"]


def test_classifiers_lose_accuracy_and_densities_are_left_out(made: Made) -> None:
    found = rows_of(made, "tumours")
    assert set(found[0.1]) == set(METRICS["classification"])
    assert found[3]["accuracy"] < found[0]["accuracy"] - 0.05
    assert found[0.1]["nll"] == pytest.approx(found[0]["nll"], rel=0.2)
    assert not (folder_of(made, "tumours", "vae") / "corrupted.json").exists()


def test_the_report_is_told(made: Made) -> None:
    report = next(job for job in made.plan.jobs if job.stage == "report")
    results = gather(Job(receipt_path(made.root, "report", report.id)))
    for run in results.runs:
        strengths = {value.strength for value in run.corrupted}
        assert strengths == (set() if run.task == "density" else {0.1, 0.5, 3})
    (linear,) = (run for run in results.runs if (run.dataset, run.model) == ("progression", "linear"))
    worst = [value for value in linear.corrupted if (value.metric, value.strength) == ("rmse", 3)]
    assert [value.value for value in worst] == [rows_of(made, "progression")[3]["rmse"]]
