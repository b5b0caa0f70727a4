"""Scores and gaps by group against definitions written out with pandas and scikit-learn, and worked numbers."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.figures.comparisons import compare
from headrace.figures.groups import tabulate_groups
from headrace.findings.results import Results
from headrace.judging.group_metrics import GroupScores, score_classes_by_group, score_numbers_by_group
from headrace.reporting.report import render
from headrace.sections import groups
from headrace.sections.base import Page
from sample_results import HOSTILE, make_dataset, make_results, make_run

LOANS = pd.DataFrame(
    [
        # sex, repaid, granted, how many
        ("f", 1, 1, 30),
        ("f", 1, 0, 10),
        ("f", 0, 1, 5),
        ("f", 0, 0, 15),
        ("m", 1, 1, 45),
        ("m", 1, 0, 5),
        ("m", 0, 1, 20),
        ("m", 0, 0, 30),
    ],
    columns=["sex", "repaid", "granted", "count"],
)


def score_loans() -> GroupScores:
    rows = LOANS.loc[LOANS.index.repeat(LOANS["count"])]
    codes = (rows["sex"] == "m").to_numpy().astype(np.int16)
    return score_classes_by_group("sex", ["f", "m"], codes, rows["repaid"].to_numpy(), rows["granted"].to_numpy(), 2)


def test_worked_numbers() -> None:
    found = score_loans()
    assert found.counts.tolist() == [60, 100]
    expected = {
        "accuracy": [45 / 60, 75 / 100],
        "selection rate": [35 / 60, 65 / 100],
        "true positive rate": [30 / 40, 45 / 50],
        "false positive rate": [5 / 20, 20 / 50],
    }
    assert {name: values.tolist() for name, values in found.scores.items()} == expected
    assert found.gaps == pytest.approx(
        {
            "accuracy gap": 0,
            "demographic parity difference": 0.65 - 35 / 60,
            # Hits differ by 0.9 - 0.75, false alarms by 0.4 - 0.25: both by 0.15.
            "equalized odds difference": 0.15,
        }
    )


@given(st.integers(40, 200), st.integers(2, 5), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_groups_score_as_pandas_and_scikit_learn_say(num_samples: int, num_groups: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    group, target = generator.integers(0, num_groups, num_samples), generator.integers(0, 2, num_samples)
    predicted = np.where(generator.random(num_samples) < 0.7, target, generator.integers(0, 2, num_samples))
    # Every group has both classes.
    group[: 2 * num_groups], target[: 2 * num_groups] = np.arange(2 * num_groups) // 2, np.arange(2 * num_groups) % 2
    found = score_classes_by_group("g", [f"{i}" for i in range(num_groups)], group, target, predicted, 2)
    frame = pd.DataFrame({"target": target, "predicted": predicted, "right": target == predicted})
    by_group = frame.groupby(group)
    rates = {
        "accuracy": by_group["right"].mean(),
        "selection rate": by_group["predicted"].mean(),
        "true positive rate": pd.Series({g: sk.recall_score(f["target"], f["predicted"]) for g, f in by_group}),
        "false positive rate": frame[frame["target"] == 0].groupby(group[target == 0])["predicted"].mean(),
    }
    for name, values in rates.items():
        np.testing.assert_allclose(found.scores[name], values, rtol=1e-12)
    # The definitions of fairlearn: between the extremes; the worse of the two rates.
    spread = {name: float(values.max() - values.min()) for name, values in rates.items()}
    assert found.gaps["demographic parity difference"] == pytest.approx(spread["selection rate"], abs=1e-12)
    worse = max(spread["true positive rate"], spread["false positive rate"])
    assert found.gaps["equalized odds difference"] == pytest.approx(worse, abs=1e-12)
    assert found.gaps["accuracy gap"] == pytest.approx(spread["accuracy"], abs=1e-12)


def test_of_many_classes_there_is_the_accuracy_alone() -> None:
    target = np.array([0, 1, 2, 0, 1, 2])
    found = score_classes_by_group(
        "g", ["a", "b"], np.array([0, 0, 0, 1, 1, 1]), target, np.array([0, 1, 1, 0, 0, 0]), 3
    )
    assert {name: values.tolist() for name, values in found.scores.items()} == {"accuracy": [2 / 3, 1 / 3]}
    assert found.gaps == pytest.approx({"accuracy gap": 1 / 3})


def test_a_group_without_positives_has_no_true_positive_rate_and_leaves_the_gap_to_the_others() -> None:
    group, target = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 0, 1, 0, 0, 0])
    found = score_classes_by_group("g", ["a", "b", "c", "never"], group, target, np.array([1, 0, 0, 0, 1, 0]), 2)
    assert found.counts.tolist() == [2, 2, 2, 0]
    np.testing.assert_equal(found.scores["true positive rate"], [1, 0, math.nan, math.nan])
    np.testing.assert_equal(found.scores["accuracy"], [1, 0.5, 0.5, math.nan])
    assert found.gaps["equalized odds difference"] == 1
    alone = score_classes_by_group("g", ["a", "b"], np.zeros(4, np.int16), np.array([0, 1, 0, 1]), np.ones(4), 2)
    assert all(math.isnan(gap) for gap in alone.gaps.values())


@given(st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_errors_of_numbers_by_group_are_those_of_scikit_learn(num_outputs: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.normal(size=(60, num_outputs)).astype(np.float32)
    prediction = (target + generator.normal(size=target.shape)).astype(np.float32)
    group = np.arange(60) % 3
    if num_outputs == 1:
        target, prediction = target[:, 0], prediction[:, 0]
    found = score_numbers_by_group("g", ["a", "b", "c"], group, target, prediction)
    for name, measure in (("rmse", sk.root_mean_squared_error), ("mae", sk.mean_absolute_error)):
        expected = [measure(target[group == g].astype(float), prediction[group == g].astype(float)) for g in range(3)]
        np.testing.assert_allclose(found.scores[name], expected, rtol=1e-9, atol=1e-7)
        assert found.gaps[f"{name} gap"] == pytest.approx(max(expected) - min(expected), abs=1e-7)


def with_groups(column: str = "sex", names: tuple[str, ...] = ("f", "m")) -> Results:
    """Return two models of two seeds each, which treat the second group a little better with every seed."""
    runs = []
    for model in ("fnn", "linear"):
        for seed in range(2):
            found = dataclasses.replace(score_loans(), column=column, names=names)
            selected = found.scores["selection rate"] + [0, 0.1 * seed]
            found = dataclasses.replace(found, scores={**found.scores, "selection rate": selected})
            runs.append(make_run(model, seed, {"accuracy": 0.75 - 0.1 * (model == "linear")}, groups=found))
    dataset = make_dataset("digits", "csv", ("classification",), 1000, class_names=("defaulted", "repaid"))
    return make_results(runs, [dataset])


def test_gaps_are_means_over_seeds_with_every_seed() -> None:
    (comparison,) = compare(with_groups())
    table = tabulate_groups(comparison.best["fnn"])
    assert table is not None
    gap = 0.65 - 35 / 60
    assert table.gaps["demographic parity difference"]["seeds"] == pytest.approx([gap, gap + 0.1])
    assert float(table.gaps["demographic parity difference"]["mean"]) == pytest.approx(gap + 0.05, abs=1e-3)
    name, count, cells = table.rows[1]
    assert (name, count) == ("m", 100)
    assert cells[1]["seeds"] == pytest.approx([0.65, 0.75])


def test_the_page_tells_groups_where_a_dataset_has_them() -> None:
    page = render(with_groups())
    for words in ("by sex", "Positive is the class repaid", "demographic parity difference", "0.6500 0.7500"):
        assert words in page
    assert "Fewer than 30" not in page
    few = with_groups()
    small = dataclasses.replace(few.runs[0].groups, counts=np.array([29, 100]))
    runs = [dataclasses.replace(run, groups=small) for run in few.runs]
    assert "Fewer than 30 test samples: f." in render(dataclasses.replace(few, runs=runs))
    bare = [dataclasses.replace(run, groups=None) for run in few.runs]
    assert groups.describe(Page(dataclasses.replace(few, runs=bare))) is None


def test_hostile_names_of_groups_stay_text() -> None:
    page = render(with_groups(HOSTILE, (HOSTILE, "m")))
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x") > 3


def test_a_card_sends_to_the_groups_that_were_checked() -> None:
    page = render(with_groups())
    assert "Not checked for groups" not in page
    assert "see Groups" in page
