"""Calls dealt over Dask workers: order, fairness, bounded flight, and a worker that dies."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StageError
from headrace.running.workers import Workers, run_on_workers


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_results_come_in_the_order_of_the_calls(workers: str, request: pytest.FixtureRequest) -> None:
    def answer(i: int) -> int:
        time.sleep(0.2 if i == 0 else 0)
        return i * i

    opened = request.getfixturevalue(workers)
    results = list(run_on_workers(opened, [partial(answer, i) for i in range(30)], "test"))
    assert results == [i * i for i in range(30)]


@pytest.mark.parametrize("num_calls", [2, 3, 8, 40])
def test_every_worker_gets_its_share(two_workers: Workers, num_calls: int) -> None:
    def answer() -> int:
        return 1

    opened = Workers(two_workers.client, "local")
    list(run_on_workers(opened, [answer] * num_calls, "test"))
    counts = opened.describe()["tasks"]
    assert set(counts) == {"0", "1"}
    assert min(counts.values()) >= num_calls // 4


def test_no_calls_give_no_results(one_worker: Workers) -> None:
    assert list(run_on_workers(one_worker, [], "test")) == []


def test_only_a_few_calls_are_in_flight(two_workers: Workers) -> None:
    taken = 0

    def calls() -> Iterator[Callable[[], Any]]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield lambda i=i: i

    ahead = [taken - done for done, _ in enumerate(run_on_workers(two_workers, calls(), "test"))]
    assert len(ahead) == 100
    assert max(ahead) <= 4 * 2 + 1


def test_an_error_in_a_call_is_raised_here(one_worker: Workers) -> None:
    def fail() -> None:
        raise StageError("shard 3 is damaged")

    with pytest.raises(StageError, match="shard 3 is damaged"):
        list(run_on_workers(one_worker, [fail], "test"))


@pytest.mark.usefixtures("sockets_may_leak")
@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_a_worker_killed_in_the_middle_loses_nothing(
    workers: str, request: pytest.FixtureRequest, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    opened: Workers = request.getfixturevalue(workers)
    num_workers = len(opened.addresses)
    marker = tmp_path / "killed"

    def answer(i: int) -> int:
        if i == 7 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return i * i

    def run() -> list[int]:
        return list(run_on_workers(opened, [partial(answer, i) for i in range(20)], "test"))

    try:
        results = run_with_limit(run, seconds=60)
    finally:
        opened.client.wait_for_workers(num_workers, timeout=30)
    assert marker.exists()
    assert results == [i * i for i in range(20)]


def test_progress_is_logged(one_worker: Workers, log_lines: list[str]) -> None:
    list(run_on_workers(one_worker, itertools.repeat(lambda: 0, 7), "shard"))
    assert log_lines[-1] == "INFO shard: all 7 done"
    assert "INFO shard: 1 done" in log_lines
