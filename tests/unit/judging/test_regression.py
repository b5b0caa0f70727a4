"""Errors without a unit, against scikit-learn on standardised numbers and against a series by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from headrace.judging.metrics import EXTRA, HIGHER_IS_BETTER, METRICS, compute, prepare
from headrace.judging.statistics import percentile_interval, resample_weights


def make_forecasts(num_samples: int, num_outputs: int, seed: int) -> tuple[dict[str, np.ndarray], StandardScaler]:
    """Targets of rather different scales, two predictions of them, and the scaler of what was seen in training."""
    generator = np.random.default_rng(seed)
    scales = 10.0 ** np.arange(num_outputs)
    scaler = StandardScaler().fit(generator.normal(5, scales, (50, num_outputs)))
    target = generator.normal(5, scales, (num_samples, num_outputs))
    outputs = {
        "target": target,
        "prediction": target + generator.normal(0, 0.3 * scales, target.shape),
        "naive": target + generator.normal(0, 0.8 * scales, target.shape),
        "deviation": scaler.scale_,
    }
    return outputs, scaler


def refer(outputs: dict[str, np.ndarray], scaler: StandardScaler) -> dict[str, float]:
    target, prediction, naive = (scaler.transform(outputs[name]) for name in ("target", "prediction", "naive"))
    mae = sk.mean_absolute_error(target, prediction)
    return {
        "skill": 1 - mae / sk.mean_absolute_error(target, naive),
        "rmse_standardized": math.sqrt(sk.mean_squared_error(target, prediction)),
        "mae_standardized": mae,
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32))
def test_they_are_scikit_learns_on_standardised_numbers(num_samples: int, num_outputs: int, seed: int) -> None:
    outputs, scaler = make_forecasts(num_samples, num_outputs, seed)
    weights = np.concatenate([np.ones((1, num_samples)), resample_weights(num_samples, 3, 5)])
    values = prepare("regression", outputs)(weights)
    assert list(values) == [*METRICS["regression"], *EXTRA["regression"]]
    for row, counts in enumerate(weights):
        drawn = {
            name: np.repeat(array, counts.astype(np.int64), axis=0) if name != "deviation" else array
            for name, array in outputs.items()
        }
        expected = refer(drawn, scaler)
        assert {name: values[name][row] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_their_intervals_are_those_of_the_resamples() -> None:
    outputs, scaler = make_forecasts(60, 2, 0)
    rows = {row["metric"]: row for row in compute("regression", outputs, num_resamples=40, seed=3, confidence=0.8)}
    drawn = [np.repeat(np.arange(60), counts.astype(np.int64)) for counts in resample_weights(60, 40, 3)]
    found = [
        refer({name: outputs[name][rows_of] for name in ("target", "prediction", "naive")}, scaler) for rows_of in drawn
    ]
    for name in EXTRA["regression"]:
        expected = percentile_interval([one[name] for one in found], 0.8)
        assert (rows[name]["low"], rows[name]["high"]) == pytest.approx(expected, rel=1e-9)
        assert rows[name]["low"] < rows[name]["value"] < rows[name]["high"]


def test_a_series_by_hand() -> None:
    # 10, 12, 16 are to be predicted after 8, 10, 12; the deviation of training was 4.
    outputs = {
        "target": np.array([[10.0], [12.0], [16.0]]),
        "prediction": np.array([[10.0], [13.0], [15.0]]),
        "naive": np.array([[8.0], [10.0], [12.0]]),
        "deviation": np.array([4.0]),
    }
    values = {row["metric"]: row["value"] for row in compute("regression", outputs, num_resamples=0, seed=0)}
    assert values["mae_standardized"] == pytest.approx((0 + 1 + 1) / 3 / 4)
    assert values["rmse_standardized"] == pytest.approx(math.sqrt(2 / 3) / 4)
    assert values["skill"] == pytest.approx(1 - 2 / 8)


def test_repetition_has_no_skill_and_the_truth_all_of_it() -> None:
    outputs, _ = make_forecasts(30, 3, 1)
    for prediction, skill in (("naive", 0.0), ("target", 1.0)):
        rows = compute("regression", {**outputs, "prediction": outputs[prediction]}, num_resamples=20, seed=0)
        (row,) = (row for row in rows if row["metric"] == "skill")
        assert (row["value"], row["low"], row["high"]) == (skill,) * 3


def test_a_forecast_that_nothing_can_be_better_than_leaves_skill_undefined() -> None:
    outputs, _ = make_forecasts(30, 2, 1)
    rows = compute("regression", {**outputs, "naive": outputs["target"]}, num_resamples=20, seed=0)
    values = {row["metric"]: row["value"] for row in rows}
    assert math.isnan(values["skill"])
    assert values["mae_standardized"] > 0


def test_without_deviations_or_repetition_there_is_the_less() -> None:
    outputs, _ = make_forecasts(30, 2, 1)
    for missing, extra in (("naive", ["rmse_standardized", "mae_standardized"]), ("deviation", [])):
        given_ = {name: array for name, array in outputs.items() if name != missing}
        names = [row["metric"] for row in compute("regression", given_, num_resamples=0, seed=0)]
        assert names == [*METRICS["regression"], *extra]


def test_more_skill_is_better_and_smaller_errors_are() -> None:
    outputs, _ = make_forecasts(30, 2, 1)
    good, bad = (
        {row["metric"]: row["value"] for row in compute("regression", each, num_resamples=0, seed=0)}
        for each in (outputs, {**outputs, "prediction": outputs["prediction"] + 9})
    )
    for name in EXTRA["regression"]:
        assert (good[name] > bad[name]) == (name in HIGHER_IS_BETTER)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"deviation": np.array([1.0, 0.0])}, "^deviation: must be above 0"),
        ({"deviation": np.ones(3)}, "^deviation: outputs 3, but 2"),
        ({"deviation": np.array([1.0, math.nan])}, "^deviation: .*NaN"),
        ({"naive": np.ones((30, 1))}, "^naive: shape"),
        ({"naive": np.full((30, 2), math.inf)}, "^naive: .*Inf"),
    ],
)
def test_what_cannot_be_measured_against_is_refused_by_name(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute("regression", make_forecasts(30, 2, 1)[0] | changed, num_resamples=0, seed=0)
