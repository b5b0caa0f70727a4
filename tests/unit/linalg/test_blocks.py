"""Row blocks: order, the tree of sums, what is kept, and that lost workers change nothing."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.linalg import residence
from headrace.linalg.blocks import RowBlocks, Rows, Traffic
from headrace.running.workers import Workers


def readers_of(blocks: Sequence[np.ndarray]) -> list[Callable[[], np.ndarray]]:
    # Closures travel to workers by value.
    return [lambda block=block: block for block in blocks]


def test_map_keeps_the_order_of_the_blocks() -> None:
    blocks = RowBlocks(readers_of([np.full((2, 1), i) for i in range(9)]))
    assert blocks.map(lambda block, factor: int(block[0, 0]) * factor, 10) == list(range(0, 90, 10))


VALUES = (1e16, 1.0, -1e16, 1.0)
"""Their sum is 0, 1 or 2, by the order of additions; in pairs it is 0."""


def test_sums_are_taken_in_pairs() -> None:
    blocks = RowBlocks(readers_of([np.array([value]) for value in VALUES]))
    assert blocks.sum(lambda block: block[0]) == (1e16 + 1.0) + (-1e16 + 1.0)


@given(num_blocks=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_the_tree_may_be_cut_into_any_number_of_tasks(num_blocks: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=num_blocks) * 10.0 ** np.arange(num_blocks)
    totals = set()
    for width in (1, 2, 3, 7, 16):
        blocks = RowBlocks(readers_of([np.array([value]) for value in values]), Pretended(width))  # type: ignore[arg-type]
        parts = blocks._parts()
        assert [row for part in parts for row in range(*part)] == list(range(num_blocks))
        assert len(parts) >= min(width, num_blocks)
        totals.add(blocks.sum(lambda block: float(block[0])))
    assert len(totals) == 1


class Pretended:
    """Workers that are this process."""

    def __init__(self, width: int) -> None:
        self.client, self._addresses = self, [str(i) for i in range(width)]

    def await_any(self) -> list[str]:
        return self._addresses

    addresses = property(await_any)

    def submit(self, function: Any, *arguments: Any, **_: Any) -> Any:
        return Answer(function(*arguments))

    def take(self, answer: Any) -> Any:
        return answer

    def check(self) -> None:
        raise AssertionError("nobody was to wait")


class Answer:
    def __init__(self, value: Any) -> None:
        self.value, self.client, self.status = value, self, "finished"

    def as_current(self) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def done(self) -> bool:
        return True

    def result(self, timeout: float) -> Any:
        return self.value


@pytest.fixture(autouse=True)
def waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    wait = distributed.wait
    monkeypatch.setattr(
        distributed, "wait", lambda future, **more: None if isinstance(future, Answer) else wait(future, **more)
    )


def test_no_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="no blocks"):
        RowBlocks([])


def test_rows_are_cut_to_those_of_each_block(two_workers: Workers) -> None:
    blocks = [np.full((rows, 2), rows, float) for rows in (1, 4, 2, 3)]
    vector = np.arange(10.0)
    for workers in (None, two_workers):
        rows = RowBlocks(readers_of(blocks), workers, sizes=[1, 4, 2, 3])
        found = rows.map(lambda block, own: (len(block), own.tolist()), Rows(vector))
        assert found == [(1, [0.0]), (4, [1.0, 2.0, 3.0, 4.0]), (2, [5.0, 6.0]), (3, [7.0, 8.0, 9.0])]


def test_sizes_are_counted_when_nobody_says_them() -> None:
    rows = RowBlocks(readers_of([np.zeros((3, 1)), np.zeros((5, 1))]))
    assert (rows.sizes, rows.num_rows) == ((3, 5), 8)


def test_what_goes_to_workers_and_back_is_counted(two_workers: Workers) -> None:
    traffic = Traffic()
    blocks = RowBlocks(readers_of([np.ones((2, 3))] * 4), two_workers, sizes=[2] * 4, traffic=traffic)
    blocks.sum(lambda block, weights: block @ weights, np.ones((3, 20_000)))
    there, back = 2 * 3 * 20_000 * 8, 2 * 2 * 20_000 * 8
    assert traffic.num_bytes == there + back


# What is kept


def count_reads(limit_bytes: int, passes: int, blocks: int = 4, step: str = "one") -> int:
    reads = []

    def read(i: int) -> np.ndarray:
        reads.append(i)
        return np.zeros(1000)

    kept = residence.Residence(f"matrix of {limit_bytes} {step}", step, limit_bytes)
    for _ in range(passes):
        for i in range(blocks):
            kept.read(i, lambda i=i: read(i))
    return len(reads)


def test_blocks_are_kept_while_there_is_room() -> None:
    assert count_reads(0, passes=3) == 12
    assert count_reads(32_000, passes=3, step="all") == 4
    # Two fit and stay; the other two are read in every pass.
    assert count_reads(16_000, passes=3, step="half") == 2 + 3 * 2


def test_another_step_finds_room_again() -> None:
    assert count_reads(32_000, passes=2, step="first") == 4
    assert count_reads(32_000, passes=2, step="second") == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.zeros(3), 24), ((np.zeros(1), np.zeros(2)), 24), (np.float64(1), 8), ({"a": np.zeros(2)}, 16)],
)
def test_bytes_are_those_of_the_numbers(value: Any, expected: int) -> None:
    assert residence.num_bytes(value) == expected


# With workers


def test_workers_finish_in_any_order_and_sum_in_one(two_workers: Workers) -> None:
    def slowest_first(block: np.ndarray) -> float:
        time.sleep(0.3 if block[0] == 1e16 else 0)
        return float(block[0])

    blocks = RowBlocks(readers_of([np.array([value]) for value in VALUES]), two_workers)
    assert blocks.map(slowest_first) == list(VALUES)
    assert blocks.sum(slowest_first) == (1e16 + 1.0) + (-1e16 + 1.0)


def test_arguments_reach_every_block(two_workers: Workers) -> None:
    blocks = RowBlocks(readers_of([np.full((3, 4), i) for i in range(5)]), two_workers)
    products = blocks.map(lambda block, weights, name: (name, float((block @ weights).sum())), np.ones(4), "all")
    assert products == [("all", 12.0 * i) for i in range(5)]


@pytest.mark.usefixtures("sockets_may_leak")
@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_a_worker_killed_in_the_middle_changes_nothing(
    workers: str, request: pytest.FixtureRequest, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    opened: Workers = request.getfixturevalue(workers)
    num_workers = len(opened.addresses)
    marker = tmp_path / "killed"

    def kill_once(block: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if block[0, 0] == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block @ weights / 3

    readers = readers_of([np.full((2, 3), float(i)) for i in range(8)])
    weights = np.array([0.1, 0.2, 0.7])
    expected = RowBlocks(readers).sum(lambda block, weights: block @ weights / 3, weights)
    try:
        total = run_with_limit(lambda: RowBlocks(readers, opened).sum(kill_once, weights), seconds=60)
    finally:
        opened.client.wait_for_workers(num_workers, timeout=30)
    assert marker.exists()
    assert total.tobytes() == expected.tobytes()
