"""The tidy table of statistics, as pandas reads it."""

import dataclasses
import io
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from headrace.findings.results import Results
from headrace.reporting.tidy import write_statistics
from headrace.sections.base import Page
from sample_results import (
    HOSTILE,
    broken_quickstart,
    exact_runs,
    hostile,
    make_dataset,
    make_references,
    make_results,
    quickstart,
    three_datasets,
)

COLUMNS = "dataset,task,model,setting,metric,split,statistic,value,low,high,seeds"


def read(results: Results) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(write_statistics(Page(results))), keep_default_na=False, na_values=["nan"])


def lines_of(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The lines that say all of this, by statistic."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert table["statistic"].is_unique
    return table.set_index("statistic")


def test_every_metric_on_every_split_has_its_statistics() -> None:
    results = quickstart()
    table = read(results)
    assert list(table.columns) == COLUMNS.split(",")
    runs = [run for run in results.runs if run.model == "fnn" and run.point == {"learning_rate": 0.003}]
    for metric in ("accuracy", "nll"):
        for split in ("validation", "test"):
            values = [m.value for run in runs for m in run.metrics if (m.metric, m.split) == (metric, split)]
            found = lines_of(table, model="fnn", setting="learning_rate=0.003", metric=metric, split=split)
            assert (found["seeds"] == 3).all()
            expected = {
                "mean": np.mean(values),
                "median": np.median(values),
                "iqm": scipy.stats.trim_mean(values, 0.25),
                "standard_deviation": np.std(values, ddof=1),
                "minimum": min(values),
                "maximum": max(values),
            }
            assert found["value"][list(expected)].to_dict() == pytest.approx(expected, rel=1e-9)
            interval = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
            assert found.loc["mean", ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])
            assert found.loc["mean", "low"] < found.loc["mean_bootstrap", "low"] < found.loc["mean", "value"]
            assert found.loc["mean_bootstrap", "value"] == found.loc["mean", "value"]
            assert math.isnan(found.loc["standard_deviation", "low"])
            assert found.loc["sample_half_width", "value"] > 0


def test_missing_runs_are_counted_and_one_seed_has_no_spread() -> None:
    table = read(broken_quickstart())
    found = lines_of(table, model="cnn", metric="accuracy", split="test")
    assert (found["seeds"] == 2).all()
    table = read(make_results(exact_runs("fnn", [0.9]), []))
    assert list(table["statistic"]) == [
        "mean", "mean_bootstrap", "median", "iqm", "minimum", "maximum", "sample_half_width",
    ]  # fmt: skip
    assert table["low"].isna().all()


def test_a_seed_that_was_run_twice_counts_once() -> None:
    runs = exact_runs("fnn", [0.9, 0.8])
    again = [*runs, dataclasses.replace(runs[0], id="again")]
    assert write_statistics(Page(make_results(again, []))) == write_statistics(Page(make_results(runs, [])))


def test_runs_of_one_seed_that_disagree_have_no_line() -> None:
    runs = [*exact_runs("fnn", [0.9, 0.8]), *exact_runs("fnn", [0.1]), *exact_runs("cnn", [0.7, 0.6])]
    assert set(read(make_results(runs, []))["model"]) == {"cnn"}


def test_what_needs_no_training_has_a_statistic_of_its_own() -> None:
    table = read(dataclasses.replace(quickstart(), references=make_references()))
    own = table[table["statistic"] == "reference"]
    assert set(own["model"]) == {"most_frequent", "nearest_neighbour"}
    assert (own["seeds"] == 0).all()
    nearest = own[(own["model"] == "nearest_neighbour") & (own["metric"] == "accuracy") & (own["split"] == "test")]
    (expected,) = [m for m in make_references()[1].metrics if (m.metric, m.split) == ("accuracy", "test")]
    assert nearest[["value", "low", "high"]].to_numpy().tolist() == [[expected.value, expected.low, expected.high]]
    assert table[table["statistic"] != "reference"].reset_index(drop=True).equals(read(quickstart()))


def test_lines_without_a_dataset_are_over_all_of_them() -> None:
    table = read(three_datasets())
    over_all = table[table["dataset"] == ""]
    assert set(over_all["model"]) == {"fnn", "cnn", "linear"}
    assert set(over_all["statistic"]) == {"mean_rank", "score_iqm", "score_mean"}
    assert (over_all["seeds"] == 15).all()
    assert ((over_all["low"] <= over_all["value"]) & (over_all["value"] <= over_all["high"])).all()
    assert (read(quickstart())["dataset"] == "digits").all()


def test_the_same_results_give_the_same_bytes_in_any_order_of_seeds() -> None:
    results = three_datasets()
    turned = sorted(results.runs, key=lambda run: -run.seed)
    models = list(dict.fromkeys((run.dataset, run.model) for run in results.runs))
    turned.sort(key=lambda run: models.index((run.dataset, run.model)))
    assert write_statistics(Page(results)) == write_statistics(Page(dataclasses.replace(results, runs=turned)))


def test_what_the_page_shows_is_what_the_table_was_made_from() -> None:
    page = Page(three_datasets())
    text = write_statistics(page)
    for comparison in page.comparisons:
        for candidate in comparison.candidates:
            wanted = (candidate, comparison.metric, comparison.split)
            (spread,), (again,) = page.describe_spreads([wanted]), page.describe_spreads([wanted])
            assert spread is again
            assert f",{candidate.model},,accuracy,test,median,{spread.median.value!r}," in text


def test_names_that_want_to_be_markup_stay_in_their_cells() -> None:
    table = read(hostile())
    assert (table["dataset"] == HOSTILE).all()
    assert set(table["task"]) == {"classification", "density"}


def test_nothing_gives_a_header_alone() -> None:
    empty = make_results([], [make_dataset("digits", "mnist5k", ("classification",), 5000)])
    assert write_statistics(Page(empty)) == COLUMNS + "\n"
