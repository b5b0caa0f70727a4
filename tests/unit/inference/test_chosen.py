"""Samples that stand for a split: as many of every class, evenly over numbers, read as they are."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.batching.batches import Split, open_split
from headrace.inference.chosen import pick_rows, read_rows
from headrace.inference.trained import BATCH_SIZE
from sample_stores import write_artifact


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Two batches and a sample; the numbers of each tell which it is."""
    inputs = np.arange(2 * (2 * BATCH_SIZE + 1), dtype=np.float32).reshape(-1, 2)
    blocks = {"inputs": inputs, "target": np.zeros(len(inputs), np.int64)}
    folder = tmp_path_factory.mktemp("split")
    write_artifact(folder, {"train": {name: block[:1] for name, block in blocks.items()}, "test": blocks})
    return open_split(folder, "test")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 40))
def test_as_many_samples_of_every_class_as_there_are(codes: list[int], count: int) -> None:
    rows = pick_rows(np.array(codes), count, are_classes=True)
    assert len(set(rows.tolist())) == len(rows) == min(count, len(codes))
    sizes, picked = Counter(codes), Counter(codes[row] for row in rows)
    # Nobody has two more than another one that has samples left.
    most = max(picked.values())
    assert all(picked[code] >= min(size, most - 1) for code, size in sizes.items())
    assert [codes[row] for row in rows] == sorted(codes[row] for row in rows)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.integers(1, 40))
def test_numbers_are_picked_from_the_lowest_to_the_highest(numbers: list[float], count: int) -> None:
    rows = pick_rows(np.array(numbers), count, are_classes=False)
    found = [numbers[row] for row in rows]
    assert len(set(rows.tolist())) == len(rows) == min(count, len(numbers))
    assert found == sorted(found)
    if len(rows) > 1:
        assert (found[0], found[-1]) == (min(numbers), max(numbers))


def test_many_classes_are_left_out_evenly() -> None:
    rows = pick_rows(np.repeat(np.arange(100), 3), 12, are_classes=True)
    assert np.array_equal(rows // 3, np.linspace(0, 99, 12).round())


@given(st.sets(st.integers(0, 2 * BATCH_SIZE), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_rows_are_read_in_the_order_that_was_asked(split: Split, wanted: set[int], shuffler: random.Random) -> None:
    rows = sorted(wanted)
    shuffler.shuffle(rows)
    assert read_rows(split, np.array(rows)).tolist() == [[2.0 * row, 2.0 * row + 1] for row in rows]
