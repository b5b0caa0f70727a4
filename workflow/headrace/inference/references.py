"""Predictors that need no training: what a trained model has to beat before it has shown anything.

All that they know is from the training split. The mean of numbers and the repetition of the last value are the usual
benchmarks of a forecast (Hyndman and Athanasopoulos 2021, "Forecasting: Principles and Practice", section 5.2), the
nearest neighbour is that of Cover and Hart 1967.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from headrace.batching.batches import Batches, Padded, Split
from headrace.inference.series import Series
from headrace.inference.trained import BATCH_SIZE, Outputs
from headrace.judging.metrics import EXTRA, METRICS
from headrace.linalg.distances import nearest
from headrace.models.base import NEXT_STEP, Shapes
from headrace.training.targets import count_classes, target_scale

OF_NUMBERS = (*METRICS["regression"], *EXTRA["regression"])
MAX_ROWS = 10_000
"""Training samples among which the nearest is looked for."""
MIN_ROWS = 100
"""With fewer drawn from a larger training split there is no nearest neighbour worth the name."""
MAX_NUMBERS = 2**24
"""Numbers in those samples: 128 MiB in float64."""
MAX_PRODUCTS = 200_000_000_000
"""Multiplications for all distances, some 20 s of one core."""
QUERIES = 256
"""Samples whose neighbours are looked for at once."""


@dataclass(frozen=True)
class Reference:
    """What one predictor says of every judged split."""

    name: str
    about: str
    """What it was made from."""
    outputs: Mapping[str, Outputs]
    """By split, as `metrics.compute` takes them."""
    metrics: Sequence[str]
    """Those that mean something for it."""


def make_references(
    shapes: Shapes, train: Split, judged: Mapping[str, Split], *, seed: int, series: Series | None = None
) -> Iterator[Reference]:
    """Every predictor for a task; `seed` draws the samples of the nearest neighbour where there are too many."""
    if shapes.task == "classification":
        yield _most_frequent(shapes.outputs, train, judged)
        if (found := _nearest_neighbour(shapes, train, judged, seed)) is not None:
            yield found
    elif shapes.task == "regression":
        yield _mean(train, judged)
        if series is not None and series.columns is not None:
            yield _last_value(series, judged)
    elif shapes.task == NEXT_STEP:
        yield _code_frequencies(shapes.outputs, train, judged)


def _targets(data: Split) -> np.ndarray:
    """(rows, outputs)"""
    return np.concatenate(list(data.targets()))


def _most_frequent(num_classes: int, train: Split, judged: Mapping[str, Split]) -> Reference:
    """The frequencies of the classes for every sample, and so always the same class."""
    counts = count_classes(train, num_classes)
    frequencies = counts / counts.sum()
    outputs: dict[str, Outputs] = {}
    for split, data in judged.items():
        target = _targets(data)[:, 0]
        outputs[split] = {"target": target, "probabilities": np.broadcast_to(frequencies, (len(target), num_classes))}
    return Reference("most_frequent", "class frequencies of training", outputs, METRICS["classification"])


def _mean(train: Split, judged: Mapping[str, Split]) -> Reference:
    mean = target_scale(train)[0]
    targets = {split: _targets(data) for split, data in judged.items()}
    outputs: dict[str, Outputs] = {
        split: {"target": target, "prediction": np.broadcast_to(mean, target.shape)}
        for split, target in targets.items()
    }
    return Reference("mean", "mean of training", outputs, OF_NUMBERS)


def _last_value(series: Series, judged: Mapping[str, Split]) -> Reference:
    """Every step of the horizon is what the last step of the window was."""
    outputs: dict[str, Outputs] = {}
    for split, data in judged.items():
        last = series.repeat_last(split)
        assert last is not None
        outputs[split] = {"target": _targets(data), "prediction": last}
    return Reference("last_value", "last step of each window", outputs, OF_NUMBERS)


def _code_frequencies(num_codes: int, train: Split, judged: Mapping[str, Split]) -> Reference:
    """How frequent each code is among those that training predicts, one more of each, so that none is impossible."""
    counts = np.ones(num_codes, np.int64)
    for codes in _predicted_codes(train):
        counts += np.bincount(codes[codes >= 0], minlength=num_codes)
    nats = -np.log(counts / counts.sum())
    outputs: dict[str, Outputs] = {}
    for split, data in judged.items():
        sums, steps = [], []
        for codes in _predicted_codes(data):
            sums.append(np.where(codes >= 0, nats[codes], 0.0).sum(axis=1))
            steps.append((codes >= 0).sum(axis=1))
        outputs[split] = {"nats": np.concatenate(sums), "steps": np.concatenate(steps)}
    return Reference("code_frequencies", "code frequencies of training", outputs, METRICS[NEXT_STEP])


def _predicted_codes(data: Split) -> Iterator[np.ndarray]:
    """(batch, steps) the codes behind the first step of each sample, and -1 behind its end."""
    for batch in data.in_order(BATCH_SIZE):
        inputs = batch.inputs
        if isinstance(inputs, Padded):
            yield torch.where(inputs.mask, inputs.values, -1)[:, 1:].numpy()
        else:
            yield inputs[:, 1:].numpy()


def _nearest_neighbour(shapes: Shapes, train: Split, judged: Mapping[str, Split], seed: int) -> Reference | None:
    """The class of the training sample at the smallest Euclidean distance; None where that is none or too much."""
    if shapes.layout != "dense" or shapes.num_codes:
        return None
    width, num_judged = max(1, shapes.num_inputs), sum(len(data) for data in judged.values())
    most = min(MAX_ROWS, MAX_NUMBERS // width, MAX_PRODUCTS // (width * max(1, num_judged)))
    if most < min(MIN_ROWS, len(train)):
        return None
    is_drawn = len(train) > most
    points, classes = _take(train.epoch(QUERIES, seed, 0) if is_drawn else train.in_order(QUERIES), most)
    # Around their mean, so that its square costs the distances no digits.
    origin = points.mean(axis=0)
    points -= origin
    outputs: dict[str, Outputs] = {}
    for split, data in judged.items():
        found = []
        for batch in data.in_order(QUERIES):
            assert isinstance(batch.inputs, torch.Tensor)
            found.append(classes[nearest(batch.inputs.flatten(1).double().numpy() - origin, points)[0]])
        certain = np.eye(shapes.outputs)[np.concatenate(found)]
        outputs[split] = {"target": _targets(data)[:, 0], "probabilities": certain}
    about = f"{len(points):,} of {len(train):,} training samples" if is_drawn else "all of training"
    # It is certain of whatever it says: a likelihood or a calibration of that means nothing.
    return Reference("nearest_neighbour", about, outputs, ("accuracy", "macro_f1"))


def _take(batches: Batches, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first samples: (rows, columns) float64, and their classes (rows,)."""
    points, classes, missing = list[np.ndarray](), list[np.ndarray](), most
    with closing(batches):
        for batch in batches:
            assert isinstance(batch.inputs, torch.Tensor)
            assert batch.target is not None
            points.append(batch.inputs[:missing].flatten(1).double().numpy())
            classes.append(batch.target[:missing].numpy())
            missing -= len(classes[-1])
            if not missing:
                break
    return np.concatenate(points), np.concatenate(classes)
