"""Linear models with an L2 penalty, fitted to labelled row blocks: softmax regression and least squares.

Both are minimised in coordinates in which columns are centred and brought to a curvature of about one. Intercepts are
not penalised, so that the minimum is the same, but the way there is shorter. Sparse rows stay sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.linalg.blocks import RowBlocks
from headrace.linalg.centred import Centred, pieces, rows_of
from headrace.linalg.descent import Minimum, Solver, minimise
from headrace.linalg.matrix import Moments, block_moments
from headrace.linalg.progress import Progress

LEAST_GRADIENT = 1e-8
"""Columns and targets have about unit variance: a gradient that begins below this holds little but rounding."""


@dataclass(frozen=True)
class Seen:
    """What one pass over labelled blocks has found; added over blocks."""

    inputs: Moments
    """Of every column."""
    target: Moments | None
    """Of every number to predict, (outputs,)."""
    counts: np.ndarray
    """(largest code + 1,) training rows of each class; empty where numbers are to be predicted."""

    def __add__(self, other: Seen) -> Seen:
        counts = np.zeros(max(len(self.counts), len(other.counts)), np.int64)
        for own in (self.counts, other.counts):
            counts[: len(own)] += own
        target = self.target + other.target if self.target and other.target else None
        return Seen(self.inputs + other.inputs, target, counts)


@dataclass(frozen=True)
class LinearFit:
    """Outputs X W + b."""

    weights: np.ndarray
    """W, (columns, outputs)."""
    intercept: np.ndarray
    """b, (outputs,)."""
    gradient: float
    """Norm of the gradient relative to the first one, computed from the data where the fit ended."""


def survey(labelled: RowBlocks) -> Seen:
    """Means and variances of the inputs, and what the targets are: whole numbers are codes of classes."""
    seen: Seen = labelled.sum(_see)
    return seen


def fit_softmax(
    labelled: RowBlocks,
    seen: Seen,
    *,
    penalty: float,
    solver: Solver,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
) -> LinearFit:
    """Logits of the classes that have rows, in the order of their codes, (columns, classes present).

    Minimises the mean of -log p(class) plus penalty / 2 times the sum of all squared weights; a single class is left
    to the caller. The logits of one row sum to zero.
    """
    present = np.flatnonzero(seen.counts)
    columns, classes, count = len(seen.inputs.mean), len(present), seen.inputs.count
    # No softmax is curved more than 1/2 along any direction (Boehning 1992, https://doi.org/10.1007/BF00048682).
    scale = _scale(seen.inputs, 0.5, penalty)[:, None]

    def objective(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        scaled, intercept = numbers[:-classes].reshape(columns, classes), numbers[-classes:]
        weights = scaled / scale
        total = labelled.sum(_softmax_pass, seen.inputs.mean, weights, intercept, present) / count
        slopes = (total[1 + classes :].reshape(columns, classes) + penalty * weights) / scale
        value = float(total[0]) + penalty / 2 * float((weights**2).sum())
        return value, np.concatenate([slopes.reshape(-1), total[1 : 1 + classes]])

    found = _minimise(objective, (columns + 1) * classes, solver, tolerance, max_iterations, progress)
    weights = found.point[:-classes].reshape(columns, classes) / scale
    return LinearFit(weights, found.point[-classes:] - seen.inputs.mean @ weights, found.gradient)


def fit_squares(
    labelled: RowBlocks,
    seen: Seen,
    *,
    outputs: int,
    penalty: float,
    solver: Solver,
    tolerance: float,
    max_iterations: int,
    progress: Progress,
) -> LinearFit:
    """Predictions of numbers, or of 1 for a row's own class and -1 for every other, (columns, outputs).

    Minimises half the mean squared error plus penalty / 2 times the squared weights, of each output by itself. Centred
    inputs and targets need no intercept.
    """
    centre, spread = _targets(seen, outputs)
    columns, count = len(seen.inputs.mean), seen.inputs.count
    scale = _scale(seen.inputs, 1.0, penalty)[:, None]

    def objective(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        weights = numbers.reshape(columns, outputs) / scale
        total = labelled.sum(_squares_pass, seen.inputs.mean, weights, centre, spread) / count
        slopes = (total[1:].reshape(columns, outputs) + penalty * weights) / scale
        return float(total[0]) + penalty / 2 * float((weights**2).sum()), slopes.reshape(-1)

    found = _minimise(objective, columns * outputs, solver, tolerance, max_iterations, progress)
    weights = found.point.reshape(columns, outputs) / scale * spread
    return LinearFit(weights, centre - seen.inputs.mean @ weights, found.gradient)


def softmax(logits: np.ndarray) -> np.ndarray:
    """(rows, classes) to probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _minimise(
    objective: Any, numbers: int, solver: Solver, tolerance: float, max_iterations: int, progress: Progress
) -> Minimum:
    return minimise(
        objective,
        np.zeros(numbers),
        solver=solver,
        tolerance=tolerance,
        max_iterations=max_iterations,
        progress=progress,
        least=LEAST_GRADIENT,
    )


def _scale(inputs: Moments, curvature: float, penalty: float) -> np.ndarray:
    """(columns,) the root of the objective's curvature along each weight; infinite where a column is constant.

    A constant column leaves only rounding behind when it is centred: the bound on the error of a two-pass variance
    (Chan, Golub and LeVeque 1983, table 2). Its weight is zero.
    """
    variance = inputs.squares / inputs.count
    error = inputs.count * np.finfo(np.float64).eps
    constant = variance <= error * variance + (error * inputs.mean) ** 2
    return np.where(constant, np.inf, np.sqrt(np.where(constant, 1.0, curvature * variance + penalty)))


def _targets(seen: Seen, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """(outputs,) mean and deviation; a deviation of 1 where all targets are equal."""
    if seen.target is not None:
        mean, variance = seen.target.mean, seen.target.squares / seen.target.count
    else:
        shares = np.zeros(outputs)
        shares[: len(seen.counts)] = seen.counts / seen.inputs.count
        mean, variance = 2 * shares - 1, 4 * shares * (1 - shares)
    return mean, np.where(variance > 0, np.sqrt(variance), 1.0)


def _see(block: Any) -> Seen:
    """Runs in a worker, as do the functions below."""
    inputs, target = block
    moments = block_moments(rows_of(inputs))
    if target.dtype.kind in "iu":
        return Seen(moments, None, np.bincount(target))
    return Seen(moments, block_moments(target.reshape(len(target), -1)), np.zeros(0, np.int64))


def _softmax_pass(
    block: Any, mean: np.ndarray, weights: np.ndarray, intercept: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Sums over rows, one behind the other: the loss, its slopes along intercepts and along weights."""
    inputs, target = block
    rows, places = rows_of(inputs), np.searchsorted(present, target)
    loss, slopes, along = 0.0, np.zeros_like(intercept), np.zeros_like(weights)
    for part in pieces(len(target), max(len(mean) if isinstance(rows, np.ndarray) else 0, len(intercept))):
        own = Centred.of(rows[part], mean)
        # One class after the other: numpy is slow where the last axis is short.
        logits = np.ascontiguousarray(own.times(weights).T)
        logits += intercept[:, None]
        logits -= logits.max(axis=0)
        chosen = places[part], np.arange(logits.shape[1])
        kept = logits[chosen]
        residuals = np.exp(logits, out=logits)
        totals = residuals.sum(axis=0)
        loss += float((np.log(totals) - kept).sum())
        residuals /= totals
        residuals[chosen] -= 1.0
        slopes += residuals.sum(axis=1)
        along += own.transposed_times(residuals.T)
    return np.concatenate([[loss], slopes, along.reshape(-1)])


def _squares_pass(
    block: Any, mean: np.ndarray, weights: np.ndarray, centre: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Sums over rows, one behind the other: half the squared residuals of scaled targets, and the slopes."""
    inputs, target = block
    rows, outputs = rows_of(inputs), len(centre)
    loss, along = 0.0, np.zeros_like(weights)
    for part in pieces(len(target), max(weights.shape[0] if isinstance(rows, np.ndarray) else 0, outputs)):
        expected = (_numbers(target[part], outputs) - centre) / spread
        own = Centred.of(rows[part], mean)
        residuals = own.times(weights) - expected
        loss += float((residuals**2).sum()) / 2
        along += own.transposed_times(residuals)
    return np.concatenate([[loss], along.reshape(-1)])


def _numbers(target: np.ndarray, outputs: int) -> np.ndarray:
    """(rows, outputs) what a linear model is to predict: the numbers, or 1 for the own class and -1 for the others."""
    if target.dtype.kind in "iu":
        return np.where(target[:, None] == np.arange(outputs), 1.0, -1.0)
    return target.reshape(len(target), -1).astype(np.float64)
