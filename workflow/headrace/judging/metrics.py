"""Metrics by task, each for the plain sample and for every bootstrap resample in one vectorised pass.

A metric is a function of terms per sample and of weights W (resamples, samples), how often each sample counts. The
plain value is the same function with W = ones((1, samples)), so there is one definition of each metric.

The bits of a resample's value don't depend on the block of resamples that it is computed in, nor on the number of
threads; `weighted` says how.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from headrace.judging.calibration import NUM_BINS, bins_of
from headrace.judging.checks import IntArray, Measure, check_same, get_classes, get_floats
from headrace.judging.ranking import prepare_auroc
from headrace.judging.regression import prepare_regression
from headrace.judging.statistics import BLOCK_MIB, FloatArray, interval_around, resample_weight_blocks
from headrace.judging.weighted import Groups, average

METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "nll", "ece", "auroc"),
    "regression": ("rmse", "mae", "r2"),
    "density": ("neg_elbo", "reconstruction"),
    "next_step": ("nll", "perplexity"),
}
"""Task -> the names of its metrics; nll, neg_elbo and reconstruction in nats, rmse and mae in units of the target."""

MAIN_METRICS: Mapping[str, str] = {task: names[0] for task, names in METRICS.items()}
"""The metric that answers the question, by task."""

RESAMPLES = "resamples.safetensors"
"""The file in which evaluation keeps the main metric on every bootstrap resample of the test split, (resamples,)
float32. All that is judged on a split meets the same resamples, which is why the values of two models are pairs."""

STANDARDIZED = ("skill", "rmse_standardized", "mae_standardized")
"""Of forecasts, and all but the first of several numbers: by how much smaller errors are than those of repeating the
last value, and errors in standard deviations of training."""

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "classification": ("target", "probabilities"),
    "regression": ("target", "prediction"),
    "density": ("neg_elbo", "reconstruction"),
    "next_step": ("nats", "steps"),
}
"""Task -> the arrays that its metrics need; `compute` states their shapes."""

EXTRA: Mapping[str, tuple[str, ...]] = {"density": ("neg_iw_bound",), "regression": STANDARDIZED}
"""Task -> metrics that are there where the arrays that they need are: neg_iw_bound in nats."""

HIGHER_IS_BETTER: frozenset[str] = frozenset({"accuracy", "macro_f1", "auroc", "r2", "skill"})

BIASED: Mapping[str, tuple[float, float]] = {"macro_f1": (0.0, 1.0), "ece": (0.0, 1.0)}
"""Metrics whose resamples lie to one side of the plain value, and the least and the largest that each can be. The gaps
of a calibration error are distances, which chance makes larger; of a class with few samples the F1 bends downwards."""

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""2.2e-16: a target with a smaller probability costs 36.04 nats instead of possibly infinitely many."""

ROUNDING = 1e-12
"""A mean gap of calibration below it is none."""

PROBABILITY_TOLERANCE = 1e-3
"""How far the probabilities of a sample may sum from 1: room for reduced precision, none for logits."""


def compute(
    task: str,
    outputs: Mapping[str, np.ndarray],
    *,
    num_resamples: int,
    seed: int,
    confidence: float = 0.95,
    block_mib: float = BLOCK_MIB,
) -> list[dict[str, Any]]:
    """Return {"metric", "value", "low", "high"} for each metric of the task, with bootstrap intervals.

    They are percentile intervals, of `BIASED` metrics basic ones, and hold their own value. Without resamples `low` and
    `high` are nan. Otherwise as `resample`.
    """
    plain, resampled = resample(task, outputs, num_resamples=num_resamples, seed=seed, block_mib=block_mib)
    return tabulate(plain, resampled, confidence)


def resample(
    task: str, outputs: Mapping[str, np.ndarray], *, num_resamples: int, seed: int, block_mib: float = BLOCK_MIB
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Return the plain value of each metric of the task, and its values (resamples,) on bootstrap resamples.

    `outputs` by task (other keys are ignored): classification: target (samples,) whole numbers, probabilities
    (samples, classes); regression: target and prediction, both (samples,) or both (samples, outputs), and perhaps
    deviation (outputs,), what errors are divided by, and with it naive, another prediction; density: neg_elbo,
    reconstruction and perhaps neg_iw_bound, all (samples,), in nats; next_step: nats that a sample's steps cost
    together, and how many steps those are, both (samples,). Peak memory is a few blocks of `block_mib`; the values
    don't depend on it. Raises ValueError, naming the array, for outputs that are missing, misshapen, not finite or out
    of range.
    """
    measure = prepare(task, outputs)
    num_samples = len(outputs[OUTPUTS[task][0]])
    plain = measure(np.ones((1, num_samples)))
    blocks = resample_weight_blocks(num_samples, num_resamples, seed, block_mib=block_mib)
    resampled = [measure(weights) for weights in blocks]
    joined = {name: np.concatenate([np.empty(0), *(block[name] for block in resampled)]) for name in plain}
    return {name: float(values[0]) for name, values in plain.items()}, joined


def tabulate(
    plain: Mapping[str, float], resampled: Mapping[str, FloatArray], confidence: float
) -> list[dict[str, Any]]:
    """Return one row for each metric, as `compute` does, of what `resample` gave."""
    rows = []
    for metric, value in plain.items():
        low, high = interval_around(value, resampled[metric], confidence, bounds=BIASED.get(metric))
        rows.append({"metric": metric, "value": value, "low": low, "high": high})
    return rows


def prepare(task: str, outputs: Mapping[str, np.ndarray]) -> Measure:
    """Check the outputs and compute the terms per sample once; see `compute` for what `outputs` holds."""
    if task not in METRICS:
        raise ValueError(f"task must be one of {', '.join(METRICS)}, not {task!r}")
    preparations: Mapping[str, Callable[[Mapping[str, np.ndarray]], Measure]] = {
        "classification": _prepare_classification,
        "regression": prepare_regression,
        "density": _prepare_density,
        "next_step": _prepare_next_step,
    }
    return preparations[task](outputs)


def confusion(target: np.ndarray, predicted: np.ndarray, num_classes: int) -> IntArray:
    """Count the pairs of true and predicted class: (classes, classes); rows are the true classes."""
    true_n = get_classes({"target": target}, "target", num_classes)
    predicted_n = get_classes({"predicted": predicted}, "predicted", num_classes)
    check_same(len(true_n), len(predicted_n), "predicted", "samples")
    counts = np.bincount(true_n * num_classes + predicted_n, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def _prepare_classification(outputs: Mapping[str, np.ndarray]) -> Measure:
    """Prepare accuracy, macro F1, negative log-likelihood, expected calibration error and area under the ROC curve.

    Macro F1 is the mean over all classes of the dataset, as scikit-learn has it with all of them as labels and
    zero_division=0: a class without a sample in the split counts as 0. A resample is no other dataset for missing a
    class that the split has: the mean is then over the classes that it holds, and those that the split lacks stay 0.
    ECE is the gap between confidence and accuracy in 15 equal bins of the confidence in the predicted class, weighted
    by the bins' samples (Guo et al. 2017, "On Calibration of Modern Neural Networks"). A bin holds its lower edge but
    not its upper one, and a confidence of exactly 1 has a bin of its own, as in torchmetrics.
    """
    probabilities = get_floats(outputs, "probabilities", dims=(2,))
    num_classes = probabilities.shape[1]
    target = get_classes(outputs, "target", num_classes)
    check_same(len(target), len(probabilities), "probabilities", "samples")
    gaps = np.abs(probabilities.sum(axis=1) - 1)
    if probabilities.min() < 0 or gaps.max() > PROBABILITY_TOLERANCE:
        raise ValueError("probabilities: must not be negative and must sum to 1 for each sample")
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    correct = (predicted == target).astype(np.float64)
    target_probability = probabilities[np.arange(len(target)), target]
    nll = -np.log(np.maximum(target_probability, SMALLEST_PROBABILITY))
    by_bin = Groups.of(bins_of(confidence), correct - confidence)
    by_target, by_predicted, by_hit = Groups.of(target), Groups.of(predicted), Groups.of(target, correct)
    measure_auroc = prepare_auroc(target, probabilities)

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        """Every metric for each row of weights (resamples, samples)."""
        targets = by_target.sum(weights, num_classes)
        present = targets + by_predicted.sum(weights, num_classes)
        hits = by_hit.sum(weights, num_classes)
        f1 = np.divide(2 * hits, present, out=np.zeros_like(hits), where=present > 0)
        # Of a class without a target it is 0: the sum is over the classes that the resample holds.
        macro_f1 = f1.sum(axis=1) / np.count_nonzero(targets, axis=1) * (len(by_target.present) / num_classes)
        total = weights.sum(axis=1)
        gap = np.abs(by_bin.sum(weights, NUM_BINS + 1))
        # What is but rounding would be told as a number of its own, as 3e-17 of probabilities that are exact.
        gap[gap <= ROUNDING * total[:, np.newaxis]] = 0
        return {
            "accuracy": average(weights, correct),
            "macro_f1": macro_f1,
            "nll": average(weights, nll),
            "ece": gap.sum(axis=1) / total,
            "auroc": measure_auroc(weights),
        }

    return measure


def _prepare_density(outputs: Mapping[str, np.ndarray]) -> Measure:
    """Prepare the means of the per-sample negative ELBO, reconstruction term and, where it is there, tighter bound."""
    names = [*OUTPUTS["density"], *(name for name in EXTRA["density"] if name in outputs)]
    terms = {name: get_floats(outputs, name, dims=(1,)) for name in names}
    for name, term in terms.items():
        check_same(len(terms["neg_elbo"]), len(term), name, "samples")
    return lambda weights: {name: average(weights, term) for name, term in terms.items()}


def _prepare_next_step(outputs: Mapping[str, np.ndarray]) -> Measure:
    """Prepare the nats per predicted step, over all steps of all samples, and the perplexity, which is exp of that.

    A resample that happens to hold no predicted step has neither: nan.
    """
    nats, steps = (get_floats(outputs, name, dims=(1,)) for name in OUTPUTS["next_step"])
    check_same(len(nats), len(steps), "steps", "samples")
    if steps.min() < 0 or (steps != np.floor(steps)).any() or not steps.any():
        raise ValueError("steps: must be whole numbers, not negative and not all 0")

    def measure(weights: FloatArray) -> dict[str, FloatArray]:
        """Both for each row of weights (resamples, samples)."""
        counts = np.add.reduce(weights * steps, axis=1)
        total = np.add.reduce(weights * nats, axis=1)
        nll = np.divide(total, counts, out=np.full(len(weights), math.nan), where=counts > 0)
        # Beyond float64 there is only infinity.
        with np.errstate(over="ignore"):
            return {"nll": nll, "perplexity": np.exp(nll)}

    return measure
