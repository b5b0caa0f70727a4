"""Mergeable summaries against exact ranks, and against numpy where they are exact themselves."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.linalg import quantiles
from headrace.linalg.blocks import RowBlocks
from headrace.linalg.quantiles import Summary, column_quantiles, room_for, summarize
from headrace.running.workers import Workers
from sample_fits import row_blocks

KINDS = ("normal", "few", "constant", "rising", "falling", "zeros", "outliers", "waves")


def column(kind: str, num_rows: int, generator: np.random.Generator) -> np.ndarray:
    if kind == "few":
        return generator.integers(0, 4, num_rows).astype(float)
    if kind == "constant":
        return np.full(num_rows, generator.normal())
    if kind == "zeros":
        return np.where(generator.uniform(size=num_rows) < 0.9, 0.0, generator.normal(size=num_rows))
    if kind == "outliers":
        return generator.standard_cauchy(num_rows) ** 3
    if kind == "waves":
        return np.sin(np.arange(num_rows) / 7)
    values = generator.normal(size=num_rows)
    return {"normal": values, "rising": np.sort(values), "falling": np.sort(values)[::-1]}[kind]


def rank_errors(values: np.ndarray, found: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """How far wanted ranks lie outside of those that a number takes among the values: [#{<}, #{<=}]."""
    values = np.sort(values[~np.isnan(values)])
    first, last = np.searchsorted(values, found, "left"), np.searchsorted(values, found, "right")
    return np.maximum(np.maximum(first - ranks, ranks - last), 0)


def estimated_ranks(summary: Summary, column: int, numbers: np.ndarray, side: str) -> np.ndarray:
    kept = summary.values[column, : summary.sizes[column]]
    return np.searchsorted(kept, numbers, side) * summary.weights[column, 0]  # type: ignore[call-overload,no-any-return]


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int, float]:
    num_rows = draw(st.integers(1, 4000))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    values = np.column_stack([column(kind, num_rows, generator) for kind in kinds])
    holes = draw(st.sampled_from([0.0, 0.0, 0.3, 0.97, 1.0]))
    values[generator.uniform(size=values.shape) < holes] = np.nan
    if draw(st.booleans()):
        values = values.astype(np.float32)
    return values, draw(st.integers(1, min(num_rows, 70))), draw(st.sampled_from([0.3, 0.1, 0.03, 0.01]))


@given(tables())
@example((np.arange(3000.0)[:, None], 64, 0.1))
@example((np.arange(3000.0)[::-1, None], 65, 0.1))
@example((np.repeat([0.0, 1.0], 1500)[:, None], 7, 0.01))
@settings(deadline=None, max_examples=40)
def test_no_rank_is_off_by_more_than_the_error(drawn: tuple[np.ndarray, int, float]) -> None:
    values, num_blocks, error = drawn
    blocks = row_blocks(values, num_blocks=num_blocks)
    summary = summarize(blocks, slice(0, values.shape[1]), room_for(len(blocks), error))
    levels = np.linspace(0, 1, 33)
    found, counts = column_quantiles(blocks, levels, error)
    assert found.dtype == np.float64
    assert (counts == (~np.isnan(values)).sum(axis=0)).all()
    assert (summary.sizes <= room_for(len(blocks), error)).all()
    assert (summary.slack <= error * counts + 1e-9).all()
    for i in range(values.shape[1]):
        there = np.sort(values[:, i][~np.isnan(values[:, i])])
        if not len(there):
            assert np.isnan(found[i]).all()
            continue
        # Of every number: not only of those that are kept.
        for side in ("left", "right"):
            off = estimated_ranks(summary, i, there, side) - np.searchsorted(there, there, side)  # type: ignore[call-overload]
            assert np.abs(off).max() <= summary.slack[i] + 1e-6
        # An interpolated quantile lies between two order statistics, whose ranks are one apart.
        assert rank_errors(there, found[i], levels * (len(there) - 1) + 0.5).max() <= error * len(there) + 1
        assert (np.diff(found[i]) >= 0).all()
        assert found[i, 0] == there[0]
        assert found[i, -1] == there[-1]


@given(tables())
@settings(deadline=None, max_examples=40)
def test_with_room_for_all_quantiles_are_those_of_numpy(drawn: tuple[np.ndarray, int, float]) -> None:
    values, num_blocks, _ = drawn
    levels = np.linspace(0, 1, 21)
    found, _ = column_quantiles(row_blocks(values, num_blocks=num_blocks), levels, 0.5 / len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value
        expected = np.nanquantile(values.astype(np.float64), levels, axis=0).T
    largest = np.nan_to_num(np.abs(values)).max(axis=0, initial=0)[:, None]
    assert np.isnan(found).tolist() == np.isnan(expected).tolist()
    assert (np.nan_to_num(np.abs(found - expected)) <= 1e-12 * largest).all()


def test_the_bound_is_nearly_met_and_no_room_is_wasted() -> None:
    # One block is summarized once: ranks are off by one half of what a number stands for, and by no more.
    values = np.arange(10_000.0)[:, None]
    summary = summarize(RowBlocks([lambda: values]), slice(0, 1), room_for(1, 0.01))
    off = estimated_ranks(summary, 0, values[:, 0], "right") - np.arange(1, 10_001)
    assert summary.sizes.tolist() == [50]
    assert 99 <= np.abs(off).max() <= 100 == summary.slack[0]


@pytest.mark.parametrize(("num_blocks", "height"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)])
def test_room_grows_with_the_height_of_the_tree(num_blocks: int, height: int) -> None:
    assert room_for(num_blocks, 0.001) == math.ceil((height + 1) * 500)


def test_columns_are_taken_in_groups_that_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(5000, 7)).astype(np.float32)
    blocks, levels = row_blocks(values, num_blocks=5), np.linspace(0, 1, 11)
    whole, counts = column_quantiles(blocks, levels, 0.01)
    monkeypatch.setattr(quantiles, "GROUP_VALUES", 2 * room_for(5, 0.01))
    grouped, again = column_quantiles(blocks, levels, 0.01)
    assert grouped.tobytes() == whole.tobytes()
    assert again.tolist() == counts.tolist() == [5000] * 7


def test_images_are_columns_of_numbers() -> None:
    images = np.random.default_rng(0).uniform(size=(50, 3, 4))
    found, _ = column_quantiles(row_blocks(images), np.array([0.5]), 0.001)
    assert found[:, 0] == pytest.approx(np.median(images, axis=0).reshape(-1), rel=1e-14)


def test_workers_give_the_same_bits_as_this_process(one_worker: Workers, two_workers: Workers) -> None:
    values = np.random.default_rng(0).normal(size=(6000, 3)).round(1)
    values[::5, 1] = np.nan
    found = [
        column_quantiles(row_blocks(values, num_blocks=11, workers=workers), np.linspace(0, 1, 101), 0.01)[0].tobytes()
        for workers in (None, one_worker, two_workers)
    ]
    assert found[0] == found[1] == found[2]
