"""Areas under curves, and the curves, against scikit-learn."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_auroc

from headrace.judging import ranking
from headrace.judging.ranking import Curve, prepare_auroc, thin, trace_precision_recall, trace_roc
from headrace.judging.statistics import resample_weights


def draw(num_samples: int, num_classes: int, seed: int, steps: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Every class at least once, and probabilities in few steps, so that many are equal."""
    generator = np.random.default_rng(seed)
    target = np.append(np.arange(num_classes), generator.integers(0, num_classes, max(0, num_samples - num_classes)))
    chances = generator.dirichlet(np.full(num_classes, 0.7), len(target))
    chances[np.arange(len(target)), target] += 0.4
    counts = generator.multinomial(steps, chances / chances.sum(axis=1, keepdims=True))
    return target, counts / steps


def score_of(probabilities: np.ndarray) -> np.ndarray:
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


@given(st.integers(2, 60), st.integers(2, 6), st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_area_equals_scikit_learn_with_its_sample_weights(
    num_samples: int, num_classes: int, steps: int, seed: int
) -> None:
    target, probabilities = draw(num_samples, num_classes, seed, steps)
    weights = 1 + resample_weights(len(target), 3, seed)
    found = prepare_auroc(target, probabilities)(weights)
    expected = [
        np.mean([sk.roc_auc_score(target == k, probabilities[:, k], sample_weight=row) for k in range(num_classes)])
        if num_classes > 2
        else sk.roc_auc_score(target, probabilities[:, 1], sample_weight=row)
        for row in weights
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_area_is_that_of_torchmetrics() -> None:
    target, probabilities = draw(400, 5, 3)
    (found,) = prepare_auroc(target, probabilities)(np.ones((1, 400)))
    expected = multiclass_auroc(torch.from_numpy(probabilities), torch.from_numpy(target), num_classes=5)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    # The example of scikit-learn's documentation: of four pairs three are in order.
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    measure = prepare_auroc(np.array([0, 0, 1, 1]), np.stack([1 - scores, scores], axis=1))
    assert measure(np.ones((1, 4))) == [0.75]
    # Twice the pair that is in disorder, and once without any negative.
    assert measure(np.array([[1.0, 2, 1, 1], [0, 0, 2, 2]])) == pytest.approx([4 / 6, math.nan], nan_ok=True)


def test_constant_probabilities_rank_nothing() -> None:
    target = np.arange(30) % 3
    areas = prepare_auroc(target, np.full((30, 3), 1 / 3))(resample_weights(30, 20, 0))
    assert (areas == 0.5).all()


def test_a_single_class_is_told_from_nothing() -> None:
    for target, classes in (([0, 0], 1), ([0, 0], 2), ([1, 1], 2), ([0, 1], 3)):
        areas = prepare_auroc(np.array(target), np.full((2, classes), 1 / classes))(np.ones((4, 2)))
        assert np.isnan(areas).all()


def test_beyond_many_classes_there_is_a_value_and_no_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MAX_RESAMPLED_CLASSES", 3)
    target, probabilities = draw(50, 4, 0)
    weights = np.concatenate([np.ones((1, 50)), 2 * np.ones((1, 50)), resample_weights(50, 2, 0)])
    areas = prepare_auroc(target, probabilities)(weights)
    expected = sk.roc_auc_score(target, probabilities, multi_class="ovr")
    assert areas == pytest.approx([expected, expected, math.nan, math.nan], nan_ok=True)


@given(st.integers(2, 200), st.integers(2, 6), st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_curves_have_the_areas_of_scikit_learn(num_samples: int, num_classes: int, steps: int, seed: int) -> None:
    target, probabilities = draw(num_samples, num_classes, seed, steps)
    roc, recall = trace_roc(target, probabilities), trace_precision_recall(target, probabilities)
    assert roc is not None
    assert recall is not None
    score = score_of(probabilities)
    assert roc.area == pytest.approx(sk.roc_auc_score(target, score, multi_class="ovr"), rel=1e-12)
    truth = target if num_classes == 2 else np.eye(num_classes)[target]
    assert recall.area == pytest.approx(sk.average_precision_score(truth, score, average="macro"), rel=1e-12)
    for curve in (roc, recall):
        assert (np.diff(curve.x) >= 0).all()
        assert min(curve.x.min(), curve.y.min()) >= 0
        assert max(curve.x.max(), curve.y.max()) <= 1
        assert (curve.x[0], curve.x[-1]) == (0, 1)
    assert (roc.y[0], roc.y[-1]) == (0, 1)
    assert (np.diff(roc.y) > -1e-12).all()


def test_curves_of_two_classes_are_those_of_scikit_learn() -> None:
    target, probabilities = draw(300, 2, 1, steps=40)
    roc, recall = trace_roc(target, probabilities), trace_precision_recall(target, probabilities)
    assert roc is not None
    assert recall is not None
    alarms, hits, _ = sk.roc_curve(target, probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose([roc.x, roc.y], [alarms, hits], rtol=1e-12)
    precision, recalls, _ = sk.precision_recall_curve(target, probabilities[:, 1])
    best = {value: precision[recalls == value].max() for value in np.unique(recalls[recalls > 0])}
    # Of several thresholds with one recall, the highest has the fewest false alarms.
    np.testing.assert_allclose(recall.x[1:], list(best), rtol=1e-12)
    np.testing.assert_allclose(recall.y[1:], list(best.values()), rtol=1e-12)


def test_the_mean_curve_lies_between_those_of_the_classes() -> None:
    target, probabilities = draw(200, 3, 5)
    mean = trace_roc(target, probabilities)
    assert mean is not None
    heights = [
        np.interp(0.3, *sk.roc_curve(target == code, probabilities[:, code], drop_intermediate=False)[:2])
        for code in range(3)
    ]
    assert np.interp(0.3, mean.x, mean.y) == pytest.approx(np.mean(heights), abs=1e-12)


@pytest.mark.parametrize("trace", [trace_roc, trace_precision_recall])
def test_there_is_no_curve_of_a_class_that_is_not_there_or_of_very_many(trace) -> None:
    probabilities = np.full((40, 3), 1 / 3)
    assert trace(np.arange(40) % 2, probabilities) is None
    assert trace(np.zeros(40, np.int64), np.ones((40, 1))) is None
    assert trace(np.arange(42) % 21, np.full((42, 21), 1 / 21)) is None
    assert trace(np.arange(40) % 20, np.full((40, 20), 1 / 20)) is not None


@given(st.integers(2, 3000), st.integers(2, 200), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_thinned_curve_looks_the_same(num_samples: int, num_points: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = np.append([0, 1], generator.integers(0, 2, num_samples))
    score = generator.random(len(target)) + 0.3 * target
    curve = trace_roc(target, np.stack([1 - score / 2, score / 2], axis=1))
    assert curve is not None
    drawn = thin(curve, num_points)
    assert len(drawn.x) <= max(num_points, 2)
    assert (drawn.x[0], drawn.y[0], drawn.x[-1], drawn.y[-1], drawn.area) == (0, 0, 1, 1, curve.area)
    for x, y in zip(curve.x, curve.y, strict=True):
        # From every point, straight up or down or aside: what is drawn is no further than a step.
        aside = abs(np.interp(y, drawn.y, drawn.x) - x)
        along = abs(np.interp(x, drawn.x, drawn.y) - y)
        assert min(aside, along) <= 2 / (num_points - 1) + 1e-9


def test_a_curve_of_few_corners_keeps_them_all() -> None:
    x, y = np.repeat(np.linspace(0, 1, 1001), 2)[1:], np.repeat(np.linspace(0, 1, 1001), 2)[:-1]
    corners = thin(Curve(np.append(0, np.linspace(0, 1, 500)), np.append(0, np.ones(500)), 1.0), 10)
    assert (corners.x.tolist(), corners.y.tolist()) == ([0, 0, 1], [0, 1, 1])
    assert len(thin(Curve(x, y, 0.5), 200).x) == 200


def test_nothing_is_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        areas = prepare_auroc(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))(np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert areas == pytest.approx([math.nan, 1.0], nan_ok=True)


def test_curves_of_many_samples_and_classes_are_averaged_at_some_places(monkeypatch: pytest.MonkeyPatch) -> None:
    target, probabilities = draw(3000, 4, 7, steps=4000)
    whole = trace_roc(target, probabilities), trace_precision_recall(target, probabilities)
    monkeypatch.setattr(ranking, "MAX_GRID", 100)
    some = trace_roc(target, probabilities), trace_precision_recall(target, probabilities)
    for full, part in zip(whole, some, strict=True):
        assert full is not None
        assert part is not None
        assert part.area == full.area
        assert len(part.x) <= 201 < len(full.x)
        assert (part.x[-1], part.y[-1]) == (full.x[-1], full.y[-1])
    expected = sk.roc_auc_score(target, probabilities, multi_class="ovr", average="macro")
    assert some[0] is not None
    assert some[0].area == pytest.approx(expected)
