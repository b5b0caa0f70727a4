"""Metrics on the plain sample and on single resamples, against scikit-learn and torchmetrics."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from headrace.judging.metrics import (
    BIASED,
    HIGHER_IS_BETTER,
    METRICS,
    OUTPUTS,
    SMALLEST_PROBABILITY,
    compute,
    confusion,
    prepare,
)
from headrace.judging.statistics import percentile_interval, resample_weights

Outputs = Mapping[str, np.ndarray]


def make_classification(num_samples: int, num_classes: int, seed: int) -> Outputs:
    """Draw targets and probabilities in 64ths, with zeros and ones among them.

    64ths are exact in the float32 that torchmetrics computes in, and none but 0 and 1 is an edge of its 15 bins. The
    most probable class gets the last 64th, so that it is unique.
    """
    generator = np.random.default_rng(seed)
    chances = generator.dirichlet(np.full(num_classes, 0.4), num_samples)
    counts = generator.multinomial(63, chances)
    counts[np.arange(num_samples), counts.argmax(axis=1)] += 1
    guesses = counts.argmax(axis=1)
    target = np.where(generator.random(num_samples) < 0.6, guesses, generator.integers(0, num_classes, num_samples))
    return {"target": target, "probabilities": counts / 64}


def make_regression(num_samples: int, num_outputs: int, seed: int) -> Outputs:
    """Draw targets of rather different scales and noisy predictions; one output makes flat arrays."""
    generator = np.random.default_rng(seed)
    target = generator.normal(5, 10.0 ** np.arange(num_outputs), (num_samples, num_outputs))
    prediction = target + generator.normal(0.1, 0.7, target.shape)
    if num_outputs == 1:
        return {"target": target[:, 0], "prediction": prediction[:, 0]}
    return {"target": target, "prediction": prediction}


def make_density(num_samples: int, seed: int) -> Outputs:
    """Draw nats per sample."""
    generator = np.random.default_rng(seed)
    return {"neg_elbo": generator.gamma(9, 12, num_samples), "reconstruction": generator.gamma(8, 10, num_samples)}


def make_next_step(num_samples: int, seed: int) -> Outputs:
    """Draw nats per sample, and numbers of steps, the last of them without any but where it is the only one."""
    generator = np.random.default_rng(seed)
    steps = generator.integers(1, 90, num_samples)
    steps[1:][-1:] = 0
    return {"nats": steps * generator.gamma(9, 0.2, num_samples), "steps": steps}


def refer_classification(outputs: Outputs) -> dict[str, float]:
    target, probabilities = outputs["target"], outputs["probabilities"]
    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    ece = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(target), num_classes=len(classes), n_bins=15, norm="l1"
    )
    return {
        "accuracy": sk.accuracy_score(target, predicted),
        "macro_f1": sk.f1_score(target, predicted, average="macro", labels=classes, zero_division=0),
        "nll": sk.log_loss(target, probabilities, labels=classes),
        "ece": float(ece),
        "auroc": refer_auroc(target, probabilities),
    }


def refer_auroc(target: np.ndarray, probabilities: np.ndarray) -> float:
    """That of scikit-learn, which knows none where a class is missing."""
    if len(np.unique(target)) < probabilities.shape[1] or probabilities.shape[1] < 2:
        return math.nan
    score = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    return float(sk.roc_auc_score(target, score, multi_class="ovr", average="macro"))


def refer_regression(outputs: Outputs) -> dict[str, float]:
    target, prediction = outputs["target"], outputs["prediction"]
    return {
        "rmse": sk.root_mean_squared_error(target, prediction),
        "mae": sk.mean_absolute_error(target, prediction),
        "r2": sk.r2_score(target, prediction) if len(target) > 1 else math.nan,
    }


def refer_density(outputs: Outputs) -> dict[str, float]:
    return {name: math.fsum(values) / len(values) for name, values in outputs.items()}


def refer_next_step(outputs: Outputs) -> dict[str, float]:
    nll = math.fsum(outputs["nats"]) / int(outputs["steps"].sum())
    return {"nll": nll, "perplexity": math.exp(nll)}


REFERENCES: dict[str, Callable[[Outputs], dict[str, float]]] = {
    "classification": refer_classification,
    "regression": refer_regression,
    "density": refer_density,
    "next_step": refer_next_step,
}
# torchmetrics averages confidences in float32.
TOLERANCES = {"ece": 1e-6}

EXAMPLES: list[tuple[str, Outputs]] = [
    ("classification", make_classification(750, 10, 0)),
    ("regression", make_regression(200, 1, 0)),
    ("regression", make_regression(200, 3, 0)),
    ("density", make_density(300, 0)),
    ("next_step", make_next_step(300, 0)),
]


def repeat(outputs: Outputs, weights: np.ndarray) -> Outputs:
    """Write a resample out as rows."""
    return {name: np.repeat(array, weights.astype(np.int64), axis=0) for name, array in outputs.items()}


def refer_resample(task: str, outputs: Outputs, weights: np.ndarray) -> dict[str, float]:
    """Those of a resample, whose macro F1 is over the classes that it holds, and 0 for those that the split lacks."""
    drawn = repeat(outputs, weights)
    found = REFERENCES[task](drawn)
    if task == "classification":
        target, predicted = drawn["target"], drawn["probabilities"].argmax(axis=1)
        macro = sk.f1_score(target, predicted, average="macro", labels=np.unique(target), zero_division=0)
        found["macro_f1"] = macro * len(np.unique(outputs["target"])) / outputs["probabilities"].shape[1]
    return found


def assert_matches(task: str, found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert set(found) == set(expected) == set(METRICS[task])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-10, abs=TOLERANCES.get(name, 1e-12), nan_ok=True), name


def assert_matches_on_resamples(task: str, outputs: Outputs, num_resamples: int) -> None:
    num_samples = len(outputs[OUTPUTS[task][0]])
    weights = np.concatenate([np.ones((1, num_samples)), resample_weights(num_samples, num_resamples, 5)])
    values = prepare(task, outputs)(weights)
    expected = [REFERENCES[task](outputs), *(refer_resample(task, outputs, counts) for counts in weights[1:])]
    for row, reference in enumerate(expected):
        assert_matches(task, {name: value[row] for name, value in values.items()}, reference)


def measure(task: str, **outputs: object) -> dict[str, float]:
    """Compute the plain values."""
    arrays = {name: np.asarray(array) for name, array in outputs.items()}
    return {row["metric"]: row["value"] for row in compute(task, arrays, num_resamples=0, seed=0)}


@pytest.mark.parametrize(("task", "outputs"), EXAMPLES)
def test_plain_values_and_resamples_equal_the_references(task: str, outputs: Outputs) -> None:
    assert_matches_on_resamples(task, outputs, 5)


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_classification_equals_the_references(num_samples: int, num_classes: int, seed: int) -> None:
    assert_matches_on_resamples("classification", make_classification(num_samples, num_classes, seed), 2)


@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_regression_equals_the_references(num_samples: int, num_outputs: int, seed: int) -> None:
    outputs = make_regression(num_samples, num_outputs, seed)
    # Whole targets: scikit-learn's test for a constant one is exact only where the mean is.
    assert_matches_on_resamples("regression", {**outputs, "target": outputs["target"].round()}, 3)


def test_weights_are_sample_weights() -> None:
    outputs = make_classification(100, 4, 1)
    weights = resample_weights(100, 3, 2)
    values = prepare("classification", outputs)(weights)
    target, predicted = outputs["target"], outputs["probabilities"].argmax(axis=1)
    expected = [
        sk.f1_score(target, predicted, average="macro", labels=range(4), zero_division=0, sample_weight=row)
        for row in weights
    ]
    np.testing.assert_allclose(values["macro_f1"], expected, rtol=1e-14)


@pytest.mark.parametrize(("task", "outputs"), EXAMPLES)
def test_intervals_are_those_of_the_references(task: str, outputs: Outputs) -> None:
    num_samples = len(outputs[OUTPUTS[task][0]])
    rows = compute(task, outputs, num_resamples=25, seed=9, confidence=0.8)
    references = [refer_resample(task, outputs, counts) for counts in resample_weights(num_samples, 25, 9)]
    assert [row["metric"] for row in rows] == list(METRICS[task])
    for row in rows:
        assert all(type(row[key]) is float for key in ("value", "low", "high"))
        low, high = percentile_interval([reference[row["metric"]] for reference in references], 0.8)
        value = row["value"]
        if row["metric"] in BIASED:
            low, high = (min(max(2 * value - end, 0), 1) for end in (high, low))
        expected = min(low, value), max(high, value)
        tolerance = TOLERANCES.get(row["metric"], 1e-12)
        assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-10, abs=tolerance, nan_ok=True)


@given(st.integers(1, 60), st.integers(2, 30), st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_every_interval_holds_its_own_value(num_samples: int, size: int, seed: int, num_resamples: int) -> None:
    examples = {
        "classification": make_classification(num_samples, size, seed),
        "regression": make_regression(num_samples, 1 + size % 3, seed),
        "density": make_density(num_samples, seed),
        "next_step": make_next_step(num_samples, seed),
    }
    for task, outputs in examples.items():
        for row in compute(task, outputs, num_resamples=num_resamples, seed=seed):
            assert math.isnan(row["low"]) or row["low"] <= row["value"] <= row["high"], row


def test_macro_f1_of_many_small_classes_is_not_pulled_down() -> None:
    # Two samples a class, of which a resample misses one class in seven.
    generator = np.random.default_rng(0)
    target = np.repeat(np.arange(200), 2)
    predicted = np.where(generator.random(400) < 0.6, target, generator.integers(0, 200, 400))
    row = compute(
        "classification", {"target": target, "probabilities": np.eye(200)[predicted]}, num_resamples=200, seed=0
    )[1]
    assert row["metric"] == "macro_f1"
    assert row["value"] == pytest.approx(sk.f1_score(target, predicted, average="macro"))
    assert row["low"] < row["value"] - 0.02 < row["value"] + 0.02 < row["high"]


def cover(metric: str, truth: float, draw: Callable[[np.random.Generator], Outputs]) -> float:
    """In how many of 100 samples the interval of a metric holds the truth."""
    found = []
    for seed in range(100):
        rows = compute("classification", draw(np.random.default_rng(seed)), num_resamples=200, seed=seed)
        row = next(row for row in rows if row["metric"] == metric)
        found.append(row["low"] <= truth <= row["high"])
    return float(np.mean(found))


def test_intervals_of_biased_metrics_cover_the_truth() -> None:
    def draw_confident(generator: np.random.Generator) -> Outputs:
        confidence = generator.uniform(0.6, 1, 300)
        right = generator.random(300) < confidence - 0.05
        return {"target": (~right).astype(int), "probabilities": np.stack([confidence, 1 - confidence], axis=1)}

    def draw_small_classes(generator: np.random.Generator) -> Outputs:
        target = np.repeat(np.arange(50), 3)
        # The same share of every class is right, and what is wrong falls on all alike: precision and recall are equal.
        predicted = np.where(generator.random(150) < 0.7, target, generator.integers(0, 50, 150))
        return {"target": target, "probabilities": np.eye(50)[predicted]}

    # Every bin is too sure by 0.05; each class is right 0.7 + 0.3 / 50 of the time.
    assert cover("ece", 0.05, draw_confident) >= 0.85
    assert cover("macro_f1", 0.706, draw_small_classes) >= 0.85


def test_interval_of_accuracy_has_the_width_that_theory_says() -> None:
    num_samples = 2000
    target = (np.arange(num_samples) < 400).astype(np.int64)
    outputs = {"target": target, "probabilities": np.tile([0.75, 0.25], (num_samples, 1))}
    accuracy = compute("classification", outputs, num_resamples=4000, seed=0)[0]
    error = math.sqrt(0.8 * 0.2 / num_samples)
    assert accuracy["value"] == 0.8
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.8 - 1.96 * error, 0.8 + 1.96 * error), abs=error / 5)


def test_no_resamples_leave_no_interval() -> None:
    for row in compute("density", make_density(5, 0), num_resamples=0, seed=0):
        assert math.isnan(row["low"])
        assert math.isnan(row["high"])


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_block_size_changes_no_bit(num_samples: int, rows: int, seed: int) -> None:
    assert_blocks_change_no_bit(num_samples, rows, seed)


@pytest.mark.parametrize("num_samples", [8192, 30_011])
def test_block_size_changes_no_bit_of_large_samples(num_samples: int) -> None:
    assert_blocks_change_no_bit(num_samples, 5, 0)


def assert_blocks_change_no_bit(num_samples: int, rows: int, seed: int) -> None:
    weights = resample_weights(num_samples, 13, seed)
    examples = {
        "classification": make_classification(num_samples, 5, seed),
        "regression": make_regression(num_samples, 2, seed),
        "density": make_density(num_samples, seed),
        "next_step": make_next_step(num_samples, seed),
    }
    for task, outputs in examples.items():
        compute_block = prepare(task, outputs)
        whole = compute_block(weights)
        blocks = [compute_block(weights[start : start + rows]) for start in range(0, 13, rows)]
        for name, values in whole.items():
            joined = np.concatenate([block[name] for block in blocks])
            assert joined.tobytes() == values.tobytes(), name


def test_compute_does_not_depend_on_the_block_size() -> None:
    outputs = make_classification(100, 10, 3)
    expected = compute("classification", outputs, num_resamples=50, seed=1)
    for block_mib in (1e-9, 0.003, 1.0):
        assert compute("classification", outputs, num_resamples=50, seed=1, block_mib=block_mib) == expected
    assert compute("classification", outputs, num_resamples=50, seed=2) != expected


def test_class_missing_from_the_sample_counts_as_zero_f1() -> None:
    values = measure("classification", target=[0, 0, 1, 1], probabilities=np.eye(3)[[0, 0, 1, 1]])
    assert values["accuracy"] == 1.0
    assert values["macro_f1"] == pytest.approx(2 / 3)


def test_perfect_predictions_have_perfect_values_on_every_resample() -> None:
    target = np.arange(40) % 4
    rows = compute("classification", {"target": target, "probabilities": np.eye(4)[target]}, num_resamples=50, seed=0)
    best = [1.0, 1.0, 0.0, 0.0, 1.0]
    assert [(row["value"], row["low"], row["high"]) for row in rows] == [(value,) * 3 for value in best]
    target_n = np.random.default_rng(0).normal(size=40)
    rows = compute("regression", {"target": target_n, "prediction": target_n}, num_resamples=50, seed=0)
    assert [(row["value"], row["low"], row["high"]) for row in rows] == [(0.0,) * 3, (0.0,) * 3, (1.0,) * 3]


def test_single_sample() -> None:
    outputs = {"target": np.array([1]), "probabilities": np.array([[0.25, 0.75]])}
    rows = compute("classification", outputs, num_resamples=10, seed=0)
    assert [row["value"] for row in rows[:4]] == pytest.approx([1.0, 0.5, -math.log(0.75), 0.25])
    assert all(row["low"] == row["value"] == row["high"] for row in rows[:4])
    # There is nothing to tell it from.
    assert rows[4]["metric"] == "auroc"
    assert all(math.isnan(rows[4][key]) for key in ("value", "low", "high"))
    rows = compute("regression", {"target": np.array([1.0]), "prediction": np.array([3.0])}, num_resamples=10, seed=0)
    assert [row["value"] for row in rows[:2]] == [2.0, 2.0]
    assert all(math.isnan(rows[2][key]) for key in ("value", "low", "high"))


@pytest.mark.parametrize("constant", [3.0, 0.1])
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_r2_of_a_constant_target(constant: float, error: float) -> None:
    outputs = {"target": np.full(7, constant), "prediction": np.full(7, constant) + error * (np.arange(7) % 2)}
    r2 = compute("regression", outputs, num_resamples=30, seed=0)[2]
    expected = 1.0 if error == 0 else 0.0
    assert r2["value"] == expected
    assert r2["low"] == expected
    assert sk.r2_score(np.full(7, 3.0), 3 + outputs["prediction"] - constant) == expected


def test_r2_of_a_resample_that_repeats_one_target() -> None:
    outputs = {"target": np.array([0.1, 0.3]), "prediction": np.array([0.1, 0.4])}
    r2 = prepare("regression", outputs)(np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))["r2"]
    assert r2 == pytest.approx([1.0, 0.0, 0.5])
    # Each row repeats one of 49 targets 49 times; the mean of these repetitions is rounded for some of them.
    outputs = make_regression(49, 1, 0)
    np.testing.assert_array_equal(prepare("regression", outputs)(49 * np.eye(49))["r2"], 0.0)


def test_r2_survives_a_large_offset() -> None:
    outputs = make_regression(100, 1, 0)
    shifted = {name: array + 2.0**30 for name, array in outputs.items()}
    assert measure("regression", **shifted)["r2"] == pytest.approx(measure("regression", **outputs)["r2"], rel=1e-6)


def test_long_samples_count_more_than_short_ones() -> None:
    values = measure("next_step", nats=[10.0, 1.0], steps=[10, 2])
    assert values == {"nll": 11 / 12, "perplexity": pytest.approx(math.exp(11 / 12))}


def test_a_resample_without_a_step_has_no_value_and_an_enormous_cost_is_infinitely_perplexing() -> None:
    values = prepare("next_step", {"nats": np.array([1e4, 0.0]), "steps": np.array([2, 0])})(np.eye(2) * 2)
    assert values["nll"][0] == 5000
    assert values["perplexity"][0] == math.inf
    assert all(math.isnan(value[1]) for value in values.values())


def test_target_of_probability_zero_has_a_finite_nll() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]])
    values = measure("classification", target=[1, 0], probabilities=probabilities)
    assert values["nll"] == pytest.approx((-math.log(SMALLEST_PROBABILITY) + math.log(2)) / 2)
    assert values["nll"] == pytest.approx(sk.log_loss([1, 0], probabilities))


def test_certain_confidence_has_a_calibration_bin_of_its_own() -> None:
    outputs = {"target": np.array([1, 0]), "probabilities": np.array([[1.0, 0.0], [0.96875, 0.03125]])}
    # In one bin the two gaps, +1 and -1/32, would cancel in part.
    assert measure("classification", **outputs)["ece"] == pytest.approx((1 + 1 / 32) / 2)
    assert refer_classification(outputs)["ece"] == pytest.approx((1 + 1 / 32) / 2)


def test_exact_probabilities_have_no_calibration_error_of_rounding():
    # A tenth of each class, and each predicted with a tenth: the gap is 3e-17 in float64.
    outputs = {"target": np.repeat(np.arange(10), 75), "probabilities": np.full((750, 10), 0.1)}
    assert measure("classification", **outputs)["ece"] == 0


def test_single_precision_outputs_are_summed_in_double() -> None:
    outputs = {name: array.astype(np.float32) for name, array in make_density(10_000, 0).items()}
    for row in compute("density", outputs, num_resamples=0, seed=0):
        assert row["value"] == pytest.approx(math.fsum(map(float, outputs[row["metric"]])) / 10_000, rel=1e-14)


def test_a_tighter_bound_is_judged_where_it_is_there() -> None:
    bound = np.array([2.0, 5.0, 4.0, 1.0])
    outputs = make_density(4, 0)
    rows = compute("density", outputs | {"neg_iw_bound": bound}, num_resamples=50, seed=0)
    assert [row["metric"] for row in rows] == ["neg_elbo", "reconstruction", "neg_iw_bound"]
    assert rows[-1]["value"] == 3.0
    assert 1.0 <= rows[-1]["low"] < 3.0 < rows[-1]["high"] <= 5.0
    assert rows[:-1] == compute("density", outputs, num_resamples=50, seed=0)
    with pytest.raises(ValueError, match=r"^neg_iw_bound: samples 3, but 4"):
        compute("density", outputs | {"neg_iw_bound": bound[:3]}, num_resamples=0, seed=0)


@pytest.mark.parametrize("task", METRICS)
def test_better_outputs_score_better(task: str) -> None:
    eye = np.eye(3)
    good_and_bad: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "classification": (
            {"target": [0, 1, 2], "probabilities": 0.7 * eye + 0.1},
            {"target": [0, 1, 2], "probabilities": 0.7 * eye[[1, 2, 0]] + 0.1},
        ),
        "regression": ({"target": [0, 1], "prediction": [0, 1]}, {"target": [0, 1], "prediction": [5, 2]}),
        "density": ({"neg_elbo": [1], "reconstruction": [0.5]}, {"neg_elbo": [2], "reconstruction": [1.5]}),
        "next_step": ({"nats": [4], "steps": [3]}, {"nats": [5], "steps": [3]}),
    }
    good, bad = (measure(task, **outputs) for outputs in good_and_bad[task])
    for name in METRICS[task]:
        assert (good[name] > bad[name]) == (name in HIGHER_IS_BETTER)
        assert good[name] != bad[name]


EVEN = np.full((2, 2), 0.5)
WRONG: list[tuple[str, dict[str, object], str]] = [
    ("classification", {"target": [0, 1], "probabilities": [[0.5, math.nan], [0.5, 0.5]]}, "^probabilities: .*NaN"),
    ("classification", {"target": [0, 1], "probabilities": [[3.0, -2.0], [0.5, 0.5]]}, "^probabilities: .*negative"),
    ("classification", {"target": [0, 1], "probabilities": [[3.0, 2.0], [0.5, 0.5]]}, "^probabilities: .*sum to 1"),
    ("classification", {"target": [0, 1], "probabilities": [0.5, 0.5]}, "^probabilities: .*dimensions"),
    ("classification", {"target": [0, 1, 1], "probabilities": EVEN}, "^probabilities: samples 2, but 3"),
    ("classification", {"target": [0, 2], "probabilities": EVEN}, "^target: .*0 to 1"),
    ("classification", {"target": [0, -1], "probabilities": EVEN}, "^target: .*0 to 1"),
    ("classification", {"target": [0, 0.5], "probabilities": EVEN}, "^target: .*whole"),
    ("classification", {"target": [], "probabilities": np.empty((0, 2))}, "^probabilities: .*samples"),
    ("classification", {"probabilities": EVEN}, "^target: missing"),
    ("regression", {"target": [0.0, 1.0], "prediction": [0.0, math.inf]}, "^prediction: .*Inf"),
    ("regression", {"target": [-math.inf, 1.0], "prediction": [0.0, 1.0]}, "^target: .*Inf"),
    ("regression", {"target": [0.0, 1.0], "prediction": [[0.0], [1.0]]}, "^prediction: shape"),
    ("regression", {"target": np.ones((1, 1, 1)), "prediction": np.ones((1, 1, 1))}, "^target: .*dimensions"),
    ("regression", {"target": ["a"], "prediction": [1.0]}, "^target: .*real"),
    ("density", {"neg_elbo": [math.nan], "reconstruction": [1.0]}, "^neg_elbo: .*NaN"),
    ("density", {"neg_elbo": [1.0], "reconstruction": [1.0, 2.0]}, "^reconstruction: samples 2, but 1"),
    ("next_step", {"nats": [1.0], "steps": [0]}, "^steps: .*not all 0"),
    ("next_step", {"nats": [1.0], "steps": [1.5]}, "^steps: .*whole"),
    ("next_step", {"nats": [1.0], "steps": [-1]}, "^steps: .*not negative"),
    ("next_step", {"nats": [1.0], "steps": [1, 1]}, "^steps: samples 2, but 1"),
    ("next_step", {"nats": [math.inf], "steps": [1]}, "^nats: .*Inf"),
    ("ranking", {"target": [0]}, "^task must be one of classification"),
]


@pytest.mark.parametrize(("task", "outputs", "message"), WRONG)
def test_wrong_outputs_are_refused_by_name(task: str, outputs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(task, **outputs)


@given(st.integers(1, 50), st.integers(2, 6), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_confusion_equals_scikit_learn(num_samples: int, num_classes: int, seed: int) -> None:
    target, predicted = np.random.default_rng(seed).integers(0, num_classes, (2, num_samples))
    counts = confusion(target, predicted, num_classes)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, sk.confusion_matrix(target, predicted, labels=np.arange(num_classes)))


def test_confusion_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match=r"^predicted: .*0 to 1"):
        confusion(np.array([0, 1]), np.array([0, 2]), 2)
    with pytest.raises(ValueError, match=r"^predicted: samples 1, but 2"):
        confusion(np.array([0, 1]), np.array([0]), 2)
