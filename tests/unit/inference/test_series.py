"""Forecasts on the standardised scale, as Zeng et al. 2023 and those before them count: from the series itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.preprocessing import StandardScaler

from headrace.planning.artifacts import artifact_path
from headrace.planning.runs import Run
from headrace.provenance.manifests import read_json
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from sample_runs import Made, make_runs

STEPS, LOOK_BACK, HORIZON, BORDERS = 300, 8, 4, (180, 240)
EXPERIMENT: dict[str, Any] = {
    "name": "forecasts",
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [{"kind": "linear", "features": "scaled"}],
    "training": {"epochs": 5, "batch_size": 32, "learning_rate": 0.01, "device": "cpu"},
    "evaluation": {"bootstrap": 20, "corruption": {"noise": [1]}},
}


def make_series() -> pd.DataFrame:
    noise, steps = np.random.default_rng(0), np.arange(STEPS)
    load = 1000 + 200 * np.sin(steps / 5) + noise.normal(0, 20, STEPS) + steps
    heat = -0.1 * np.cos(steps / 9) + noise.normal(0, 0.01, STEPS)
    return pd.DataFrame({"time": steps, "load": load.round(3), "heat": heat.round(6)})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    folder = tmp_path_factory.mktemp("forecasts")
    make_series().to_csv(folder / "series.csv", index=False)
    noise = np.random.default_rng(1)
    inputs = noise.normal(size=(200, 3)).astype(np.float32)
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "pairs.npy", (inputs[:, :2] * [1, 100] + noise.normal(size=(200, 2))).astype(np.float32))
    cut = {"kind": "time_series", "path": str(folder / "series.csv"), "time": "time"}
    cut |= {"look_back": LOOK_BACK, "horizon": HORIZON, "split": {"by": "time", "borders": BORDERS}}
    datasets = {
        "both": {**cut, "targets": ("heat", "load")},
        "unseen": {**cut, "columns": ("load",), "targets": ("heat",)},
        "pairs": {"kind": "npy", "path": str(folder / "inputs.npy"), "target": str(folder / "pairs.npy")}
        | {"task": "regression"},
        "one": {"kind": "diabetes"},
    }
    return make_runs(folder, one_worker, EXPERIMENT | {"datasets": datasets})


def run_of(made: Made, dataset: str) -> Run:
    return next(run for run in made.plan.runs if run.dataset == dataset)


def folder_of(made: Made, dataset: str) -> Path:
    return artifact_path(made.root, "evaluate", run_of(made, dataset).evaluate.id)


def metrics_of(rows: list[dict[str, Any]], split: str = "test") -> dict[str, float]:
    return {row["metric"]: row["value"] for row in rows if row["split"] == split}


def references_of(made: Made, dataset: str) -> dict[str, dict[str, float]]:
    (reference,) = (each for each in made.plan.references if each.dataset == dataset)
    found = read_json(artifact_path(made.root, "evaluate", reference.evaluate.id) / "references.json")
    return {each["name"]: metrics_of(each["metrics"]) for each in found}


def standardized(columns: list[str]) -> tuple[StandardScaler, np.ndarray]:
    """The scaler of the training stretch, and the whole series by it."""
    values = make_series()[columns].to_numpy()
    scaler = StandardScaler().fit(values[: BORDERS[0]])
    return scaler, scaler.transform(values)


def windows_of(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(windows, horizon, columns) of the test split: what is to be predicted, and the last step before it repeated."""
    starts = range(BORDERS[1], STEPS - HORIZON + 1)
    wanted = np.stack([series[start : start + HORIZON] for start in starts])
    return wanted, np.stack([np.repeat(series[[start - 1]], HORIZON, axis=0) for start in starts])


def test_repetition_is_judged_by_mse_and_mae_of_the_standardised_series(made: Made) -> None:
    _, series = standardized(["heat", "load"])
    wanted, last = (windows.ravel() for windows in windows_of(series))
    found = references_of(made, "both")
    mean, repeated = found["mean"], found["last_value"]
    assert repeated["rmse_standardized"] ** 2 == pytest.approx(mean_squared_error(wanted, last), rel=1e-4)
    assert repeated["mae_standardized"] == pytest.approx(mean_absolute_error(wanted, last), rel=1e-4)
    assert repeated["skill"] == 0
    assert mean["skill"] == pytest.approx(1 - mean["mae_standardized"] / repeated["mae_standardized"], rel=1e-6)
    # In the units of the data one column drowns the other.
    assert repeated["mae"] > 20


def test_a_run_is_judged_on_the_same_scale(made: Made) -> None:
    scaler, series = standardized(["heat", "load"])
    wanted, last = (windows.ravel() for windows in windows_of(series))
    arrays = load_arrays(folder_of(made, "both") / "predictions.safetensors")
    assert set(arrays) == {"target", "prediction"}
    predicted = scaler.transform(arrays["prediction"].reshape(-1, 2)).ravel()
    metrics = metrics_of(read_json(folder_of(made, "both") / "metrics.json"))
    mae = mean_absolute_error(wanted, predicted)
    assert metrics["mae_standardized"] == pytest.approx(mae, rel=1e-4)
    assert metrics["rmse_standardized"] ** 2 == pytest.approx(mean_squared_error(wanted, predicted), rel=1e-4)
    assert metrics["skill"] == pytest.approx(1 - mae / mean_absolute_error(wanted, last), rel=1e-3)
    for row in read_json(folder_of(made, "both") / "metrics.json"):
        assert row["low"] < row["high"]


def test_worse_inputs_are_held_against_the_same_repetition(made: Made) -> None:
    clean = metrics_of(read_json(folder_of(made, "both") / "metrics.json"))
    worse = metrics_of(read_json(folder_of(made, "both") / "corrupted.json"))
    assert set(worse) == set(clean)
    naive = clean["mae_standardized"] / (1 - clean["skill"])
    assert worse["skill"] == pytest.approx(1 - worse["mae_standardized"] / naive, rel=1e-6)
    assert worse["skill"] < clean["skill"]


def test_of_what_was_never_seen_nothing_can_be_repeated(made: Made) -> None:
    assert set(references_of(made, "unseen")) == {"mean"}
    metrics = metrics_of(read_json(folder_of(made, "unseen") / "metrics.json"))
    assert "skill" not in metrics
    scaler, series = standardized(["heat"])
    wanted, _ = windows_of(series)
    predicted = load_arrays(folder_of(made, "unseen") / "predictions.safetensors")["prediction"]
    mae = mean_absolute_error(wanted.ravel(), scaler.transform(predicted.reshape(-1, 1)).ravel())
    assert metrics["mae_standardized"] == pytest.approx(mae, rel=1e-4)


def test_several_numbers_are_counted_in_those_of_their_own_training_targets(made: Made) -> None:
    arrays = load_arrays(folder_of(made, "pairs") / "predictions.safetensors")
    summary = read_json(artifact_path(made.root, "train", run_of(made, "pairs").train.id) / "summary.json")
    unit = np.array(summary["target_deviation"])
    assert unit[1] > 30 * unit[0]
    metrics = metrics_of(read_json(folder_of(made, "pairs") / "metrics.json"))
    wanted, predicted = arrays["target"] / unit, arrays["prediction"] / unit
    assert metrics["mae_standardized"] == pytest.approx(mean_absolute_error(wanted, predicted), rel=1e-6)
    assert metrics["rmse_standardized"] ** 2 == pytest.approx(mean_squared_error(wanted, predicted), rel=1e-6)
    assert (
        set(references_of(made, "pairs")["mean"])
        == set(metrics)
        == {"rmse", "mae", "r2"}
        | {
            "rmse_standardized",
            "mae_standardized",
        }
    )


def test_one_number_that_is_no_forecast_is_judged_in_its_own_unit_alone(made: Made) -> None:
    assert set(metrics_of(read_json(folder_of(made, "one") / "metrics.json"))) == {"rmse", "mae", "r2"}
    assert set(references_of(made, "one")["mean"]) == {"rmse", "mae", "r2"}
