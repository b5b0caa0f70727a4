"""Metrics of predicted numbers: in the units of the data, in those of their spread, and beside repetition."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from headrace.judging.checks import Measure, check_same, get_floats
from headrace.judging.statistics import FloatArray
from headrace.judging.weighted import average, find_variance


def prepare_regression(outputs: Mapping[str, np.ndarray]) -> Measure:
    """Prepare RMSE, MAE and R2, each the plain mean over the outputs of the value per output, as in scikit-learn; and
    those of `_prepare_standardized` where there are deviations.

    R2 of a constant target is 1 where the prediction is exact and 0 where it isn't; R2 of a single sample is nan.
    Resamples that happen to repeat one target follow the first rule. The time is linear in the number of outputs.
    """
    target = get_floats(outputs, "target", dims=(1, 2))
    prediction = get_floats(outputs, "prediction", dims=(1, 2))
    check_same(target.shape, prediction.shape, "prediction", "shape")
    num_samples = len(target)
    target_kn = np.ascontiguousarray(target.reshape(num_samples, -1).T)
    error_kn = np.ascontiguousarray(prediction.reshape(num_samples, -1).T) - target_kn
    absolute = np.abs(error_kn).mean(axis=0)
    measure_standardized = _prepare_standardized(outputs, target_kn, error_kn) if "deviation" in outputs else None

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        """Every metric for each row of weights (resamples, samples)."""
        rmse, r2 = np.zeros(len(weights)), np.zeros(len(weights))
        for error_n, target_n in zip(error_kn, target_kn, strict=True):
            squared = average(weights, error_n**2)
            rmse += np.sqrt(squared)
            r2 += _score_r2(squared, find_variance(weights, target_n))
        r2 = r2 / len(target_kn) if num_samples > 1 else np.full(len(weights), math.nan)
        plain = {"rmse": rmse / len(target_kn), "mae": average(weights, absolute), "r2": r2}
        return plain | (measure_standardized(weights) if measure_standardized else {})

    return measure


def _prepare_standardized(outputs: Mapping[str, np.ndarray], target_kn: FloatArray, error_kn: FloatArray) -> Measure:
    """Prepare RMSE and MAE of errors in units of each output's deviation, over all outputs together; and, where there
    is a naive forecast, by which share of its MAE the prediction's is smaller: 0 is as good, 1 perfect, and undefined
    (nan) where the naive forecast has no error (a skill score: Hyndman and Athanasopoulos 2021, section 5.9).
    """
    deviation = get_floats(outputs, "deviation", dims=(1,))
    check_same(len(target_kn), len(deviation), "deviation", "outputs")
    if deviation.min() <= 0:
        raise ValueError("deviation: must be above 0")
    # In one unit outputs need no mean of means: the square of this RMSE is the MSE of standardised numbers.
    squared, absolute = _sum_up(error_kn, deviation)
    absolute_naive: FloatArray | None = None
    if "naive" in outputs:
        naive = get_floats(outputs, "naive", dims=(1, 2))
        check_same(outputs["target"].shape, naive.shape, "naive", "shape")
        absolute_naive = _sum_up(naive.reshape(len(naive), -1).T - target_kn, deviation)[1]

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        mae = average(weights, absolute)
        found: dict[str, FloatArray] = {}
        if absolute_naive is not None:
            naive_mae = average(weights, absolute_naive)
            found["skill"] = 1 - np.divide(mae, naive_mae, out=np.full(len(mae), math.nan), where=naive_mae > 0)
        return found | {"rmse_standardized": np.sqrt(average(weights, squared)), "mae_standardized": mae}

    return measure


def _sum_up(error_kn: FloatArray, deviation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean squared and mean absolute error of each sample in units of the deviations, both (samples,)."""
    squared, absolute = np.zeros(error_kn.shape[1]), np.zeros(error_kn.shape[1])
    for error_n, unit in zip(error_kn, deviation, strict=True):
        scaled = error_n / unit
        squared += scaled**2
        absolute += np.abs(scaled)
    return squared / len(deviation), absolute / len(deviation)


def _score_r2(squared_error: FloatArray, variance: FloatArray) -> FloatArray:
    """Return 1 - error / variance, by the convention of `prepare_regression` where the variance is 0."""
    ratio = np.divide(squared_error, variance, out=np.ones_like(variance), where=variance > 0)
    return 1 - np.where(squared_error > 0, ratio, 0.0)
