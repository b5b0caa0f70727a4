"""The tidy table: the Parquet file says what the CSV says, with types."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.findings.results import MetricValue, Results
from headrace.reporting.tidy import FIXED, MEASURED, write_csv, write_parquet, write_robustness
from sample_results import (
    broken_quickstart,
    corrupted_quickstart,
    hostile,
    make_results,
    make_run,
    oddities,
    quickstart,
    two_datasets,
)

NUMBERS = ("seed", "value", "low", "high")


def read_parquet(results: Results) -> pa.Table:
    return pq.read_table(io.BytesIO(write_parquet(results)))


def swept_over(*values: object) -> Results:
    """One run for every value of a swept parameter, and one of a model without it."""
    runs = [make_run("fnn", seed, {"accuracy": 0.9}, point={"x": value}) for seed, value in enumerate(values)]
    return make_results([*runs, make_run("cnn", 0, {"accuracy": 0.9})], [])


@pytest.mark.parametrize("make", [quickstart, broken_quickstart, two_datasets, oddities, hostile])
def test_both_tables_say_the_same(make):
    typed = read_parquet(make())
    text = pandas.read_csv(io.StringIO(write_csv(make())), dtype=str, keep_default_na=False)
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
    for results in (quickstart(), oddities(), make_results([], [])):
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
    assert write_parquet(quickstart()) == write_parquet(quickstart())


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
    text = write_robustness(results)
    assert text is not None
    table = pandas.read_csv(io.StringIO(text), keep_default_na=False)
    assert list(table.columns) == [*FIXED, "learning_rate", "corruption", "strength", *MEASURED]
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
    assert write_robustness(quickstart()) is None
