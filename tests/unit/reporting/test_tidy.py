"""The tidy tables: the Parquet files say what those of text say, with types."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headrace.experiments.config import Training
from headrace.findings.results import MetricValue, Results
from headrace.judging.group_metrics import score_classes_by_group
from headrace.judging.metrics import confusion
from headrace.registry import list_kinds, load_kind
from headrace.reporting.tables import Table, write_csv, write_parquet
from headrace.reporting.tidy import (
    FIXED,
    MEASURED,
    OF_A_CLASS,
    OF_A_GROUP,
    OF_A_RUN,
    OF_WORSE,
    tabulate,
    tabulate_classes,
    tabulate_groups,
    tabulate_metrics,
    tabulate_robustness,
)
from sample_results import (
    broken_quickstart,
    corrupted_quickstart,
    hostile,
    make_dataset,
    make_references,
    make_results,
    make_run,
    oddities,
    quickstart,
    two_datasets,
)

NUMBERS = ("seed", "value", "low", "high")


def read_parquet(results: Results) -> pa.Table:
    return pq.read_table(io.BytesIO(write_parquet(tabulate_metrics(results))))


def read_csv(results: Results, **options: object) -> pandas.DataFrame:
    return pandas.read_csv(io.StringIO(write_csv(tabulate_metrics(results))), **options)


def referenced() -> Results:
    return dataclasses.replace(quickstart(), references=make_references())


def swept_over(*values: object) -> Results:
    """One run for every value of a swept parameter, and one of a model without it."""
    runs = [make_run("fnn", seed, {"accuracy": 0.9}, point={"x": value}) for seed, value in enumerate(values)]
    return make_results([*runs, make_run("cnn", 0, {"accuracy": 0.9})], [])


@pytest.mark.parametrize("make", [quickstart, referenced, broken_quickstart, two_datasets, oddities, hostile])
def test_both_tables_say_the_same(make):
    typed = read_parquet(make())
    text = read_csv(make(), dtype=str, keep_default_na=False)
    assert typed.column_names == list(text.columns)
    assert typed.num_rows == len(text) > 0
    for name in text.columns:
        cells = typed.column(name).to_pylist()
        if name in NUMBERS or not pa.types.is_string(typed.schema.field(name).type):
            assert [math.nan if cell is None else cell for cell in cells] == pytest.approx(
                [float(cell or "nan") for cell in text[name]], rel=0, abs=0, nan_ok=True
            )
        else:
            assert [cell or "" for cell in cells] == list(text[name])


def test_columns_have_types_that_do_not_hang_on_the_values():
    numbers = {"seed": pa.int64(), "value": pa.float64(), "low": pa.float64(), "high": pa.float64()}
    for results in (quickstart(), referenced(), oddities(), make_results([], [])):
        schema = read_parquet(results).schema
        assert {name: schema.field(name).type for name in (*FIXED, *MEASURED)} == {
            name: numbers.get(name, pa.string()) for name in (*FIXED, *MEASURED)
        }
    assert read_parquet(quickstart()).schema.field("learning_rate").type == pa.float64()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ((1, 2), pa.int64(), [1, 2, None]),
        ((1, 0.5), pa.float64(), [1.0, 0.5, None]),
        ((True, False), pa.bool_(), [True, False, None]),
        ((True, 1), pa.string(), ["true", "1", None]),
        (([64], [64, 32]), pa.string(), ["[64]", "[64, 32]", None]),
        (("gru", "lstm"), pa.string(), ["gru", "lstm", None]),
        ((None, 3), pa.string(), ["null", "3", None]),
        ((10**400, 1), pa.string(), [str(10**400), "1", None]),
        ((2**53 + 1, 0.5), pa.string(), [str(2**53 + 1), "0.5", None]),
    ],
)
def test_a_swept_parameter_is_a_number_where_all_are(values, kind, expected):
    table = read_parquet(swept_over(*values))
    assert table.schema.field("x").type == kind
    found = dict(zip(table.column("run").to_pylist(), table.column("x").to_pylist(), strict=True))
    assert list(found.values()) == expected


def test_references_are_lines_that_no_analysis_takes_for_runs():
    table, alone = read_csv(referenced()), read_csv(quickstart())
    measured = table[(table.split == "test") & (table.metric == "accuracy")]
    by_family = measured.groupby("family")["value"].mean()
    known = {
        each.name: value.value
        for each in make_references()
        for value in each.metrics
        if (value.metric, value.split) == ("accuracy", "test")
    }
    assert {name: by_family[name] for name in known} == known
    assert set(by_family.index) == {"fnn", "cnn", "rnn", *known}
    # What is grouped by runs or by seeds never meets them.
    for column in ("run", "seed"):
        found = measured.groupby(["family", column])["value"].mean()
        assert not set(found.index.get_level_values("family")) & set(known)
    runs = table[table.kind == "run"].astype({"seed": int})
    pandas.testing.assert_frame_equal(runs.reset_index(drop=True), alone)
    references = table[table.kind == "reference"]
    assert set(references.model) == set(references.family) == set(known)
    assert references[["run", "seed", "learning_rate"]].isna().all(axis=None)
    assert references.index.min() == len(alone)


def test_no_parameter_has_the_name_of_a_column():
    fields = {name for family in list_kinds("models") for name in load_kind("models", family).model_fields}
    swept = (fields | set(Training.model_fields)) - {"kind", "name", "features", "datasets", "sweep"}
    assert {"hidden", "learning_rate"} < swept
    assert not swept & {*FIXED, *MEASURED, *OF_A_GROUP, *OF_A_CLASS}


def read_both(table: Table) -> pandas.DataFrame:
    """The table as text, once that is known to be what the one with types says."""
    text = pandas.read_csv(io.StringIO(write_csv(table)), dtype={"group": str, "class": str})
    typed = pq.read_table(io.BytesIO(write_parquet(table))).to_pandas()
    pandas.testing.assert_frame_equal(text, typed, check_dtype=False)
    assert typed["num_samples"].dtype == np.int64
    return text


def test_every_group_of_every_run_has_its_scores_and_the_gaps_are_between_them() -> None:
    generator = np.random.default_rng(0)
    names = ["north", "south", "never"]
    runs, data = [], {}
    for seed in range(2):
        group, target, predicted = (generator.integers(0, 2, 200) for _ in range(3))
        found = score_classes_by_group("region", names, group, target, predicted, 2)
        runs.append(make_run("fnn", seed, {"accuracy": 0.5}, groups=found, point={"dropout": 0.1}))
        data[runs[-1].id] = pandas.DataFrame({"group": group, "target": target, "predicted": predicted})
    table = read_both(tabulate_groups(make_results([*runs, make_run("cnn", 0, {"accuracy": 0.9})], [])))
    assert set(table.run) == set(data)
    assert set(table.grouped_by) == {"region"}
    assert set(table.split) == {"test"}
    assert set(table.dropout) == {0.1}
    for run, samples in data.items():
        of_run = table[table.run == run].set_index(["group", "metric"])["value"]
        by_group = {name: samples[samples.group == place] for place, name in enumerate(names[:2])}
        rates = {
            "accuracy": {name: sk.accuracy_score(own.target, own.predicted) for name, own in by_group.items()},
            "selection_rate": {name: own.predicted.mean() for name, own in by_group.items()},
            "true_positive_rate": {name: sk.recall_score(own.target, own.predicted) for name, own in by_group.items()},
            "false_positive_rate": {
                name: 1 - sk.recall_score(own.target, own.predicted, pos_label=0) for name, own in by_group.items()
            },
        }
        gaps = {metric: max(known.values()) - min(known.values()) for metric, known in rates.items()}
        for metric, known in rates.items():
            assert [of_run[name, metric] for name in known] == pytest.approx(list(known.values()))
            assert math.isnan(of_run["never", metric])
        between = table[(table.run == run) & table.group.isna()].set_index("metric")
        assert between["value"].to_dict() == pytest.approx(
            {
                "accuracy_gap": gaps["accuracy"],
                "demographic_parity_difference": gaps["selection_rate"],
                "equalized_odds_difference": max(gaps["true_positive_rate"], gaps["false_positive_rate"]),
            }
        )
        assert set(between["num_samples"]) == {200}
        sizes = table[(table.run == run) & (table.metric == "accuracy")].set_index("group")["num_samples"]
        assert sizes.to_dict() == {**{name: len(own) for name, own in by_group.items()}, "never": 0}


def test_every_class_of_every_run_has_its_scores() -> None:
    generator = np.random.default_rng(0)
    runs, data = [], {}
    for seed in range(2):
        target, predicted = generator.integers(0, 3, 90), generator.integers(0, 2, 90)
        runs.append(make_run("fnn", seed, {"accuracy": 0.5}, confusion=confusion(target, predicted, 3)))
        data[runs[-1].id] = (target, predicted)
    dataset = make_dataset("digits", "csv", ("classification",), 90, class_names=("red", "green", "blue"))
    table = read_both(tabulate_classes(make_results(runs, [dataset])))
    for run, (target, predicted) in data.items():
        own = table[table.run == run].pivot(index="class", columns="metric", values="value")
        precision, recall, f1, support = sk.precision_recall_fscore_support(target, predicted, zero_division=np.nan)
        assert own.loc[["red", "green", "blue"], "recall"].tolist() == pytest.approx(recall.tolist())
        assert own.loc[["red", "green"], "precision"].tolist() == pytest.approx(precision[:2].tolist())
        # Blue is never predicted: its precision is not defined.
        assert math.isnan(own.loc["blue", "precision"])
        assert own.loc[["red", "green", "blue"], "f1"].tolist() == pytest.approx([*f1[:2], 0.0])
        sizes = table[table.run == run].groupby("class")["num_samples"].first()
        assert sizes[["red", "green", "blue"]].tolist() == support.tolist()


def test_a_result_without_groups_or_classes_has_no_table_of_them() -> None:
    assert list(tabulate(quickstart())) == ["results", "classes"]
    densities = [run for run in quickstart().runs if run.task == "density"]
    assert list(tabulate(make_results(densities, []))) == ["results"]
    assert list(tabulate(make_results([], []))) == ["results"]


def test_what_failed_changes_no_type():
    results = swept_over(1, 0.5)
    failed = dataclasses.replace(results.runs[1], status="failed", metrics=())
    partly = dataclasses.replace(results, runs=[results.runs[0], failed])
    assert read_parquet(partly).schema == read_parquet(results).schema


def test_nan_is_nan_and_not_missing():
    values = [MetricValue("accuracy", "test", math.nan, -math.inf, math.inf)]
    table = read_parquet(make_results([make_run("fnn", 0, {"accuracy": 0.9}, metrics=values)], []))
    assert table.column("value").null_count == 0
    assert math.isnan(table.column("value")[0].as_py())
    assert (table.column("low")[0].as_py(), table.column("high")[0].as_py()) == (-math.inf, math.inf)


def test_the_same_results_give_the_same_bytes():
    assert write_parquet(tabulate_metrics(quickstart())) == write_parquet(tabulate_metrics(quickstart()))


parameters = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))


@settings(deadline=None, max_examples=60)
@given(st.lists(parameters | st.lists(parameters, max_size=3), min_size=1, max_size=4))
def test_any_parameter_is_kept(values):
    results = swept_over(*values)
    table = read_parquet(results)
    is_text = pa.types.is_string(table.schema.field("x").type)
    found = dict(zip(table.column("run").to_pylist(), table.column("x").to_pylist(), strict=True))
    for value, run in zip(values, results.runs, strict=False):
        expected = value if isinstance(value, str) else json.dumps(value) if is_text else value
        kept = "" if found[run.id] is None else found[run.id]
        assert kept == expected or (kept != kept and expected != expected)


def test_the_table_of_robustness_has_every_strength_behind_the_split_as_it_is():
    results = corrupted_quickstart()
    text = write_csv(tabulate(results)["robustness"])
    table = pandas.read_csv(io.StringIO(text), keep_default_na=False)
    assert list(table.columns) == [*OF_A_RUN, "learning_rate", *OF_WORSE]
    expected = []
    for run in results.runs:
        for kind in dict.fromkeys(value.corruption for value in run.corrupted):
            own = [(s, v) for s in (0.1, 0.5) for v in run.corrupted if (v.corruption, v.strength) == (kind, s)]
            clean = [(0.0, value) for value in run.metrics if value.split == "test"]
            expected += [(run.id, kind, strength, v.metric, v.value) for strength, v in [*clean, *own]]
    columns = ("run", "corruption", "strength", "metric", "value")
    assert list(zip(*(table[name] for name in columns), strict=True)) == expected
    assert set(table["split"]) == {"test"}


def test_without_corruptions_there_is_no_table_of_them():
    assert not tabulate_robustness(quickstart()).lines
    assert "robustness" not in tabulate(quickstart())
