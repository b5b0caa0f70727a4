"""Calls dealt over Dask workers: order, fairness, bounded flight, and a worker that dies."""

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from headrace.errors import StageError
from headrace.workers import run_on_workers


@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_results_come_in_the_order_of_the_calls(workers: str, request: pytest.FixtureRequest) -> None:
    def answer(i: int) -> int:
        time.sleep(0.2 if i == 0 else 0)
        return i * i

    client = request.getfixturevalue(workers)
    results = [result for _, result in run_on_workers(client, [partial(answer, i) for i in range(30)], "test")]
    assert results == [i * i for i in range(30)]


@pytest.mark.parametrize("num_calls", [2, 3, 8, 40])
def test_every_worker_gets_its_share(two_workers: Client, num_calls: int) -> None:
    def answer() -> int:
        return 1

    counts = Counter(worker for worker, _ in run_on_workers(two_workers, [answer] * num_calls, "test"))
    assert set(counts) == {"0", "1"}
    assert min(counts.values()) >= num_calls // 4


def test_no_calls_give_no_results(one_worker: Client) -> None:
    assert list(run_on_workers(one_worker, [], "test")) == []


def test_only_a_few_calls_are_in_flight(two_workers: Client) -> None:
    taken = 0

    def calls() -> Iterator[Callable[[], Any]]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield lambda i=i: i

    ahead = [taken - done for done, _ in enumerate(run_on_workers(two_workers, calls(), "test"))]
    assert len(ahead) == 100
    assert max(ahead) <= 4 * 2 + 1


def test_an_error_in_a_call_is_raised_here(one_worker: Client) -> None:
    def fail() -> None:
        raise StageError("shard 3 is damaged")

    with pytest.raises(StageError, match="shard 3 is damaged"):
        list(run_on_workers(one_worker, [fail], "test"))


@pytest.mark.usefixtures("sockets_may_leak")
@pytest.mark.parametrize("workers", ["one_worker", "two_workers"])
def test_a_worker_killed_in_the_middle_loses_nothing(
    workers: str, request: pytest.FixtureRequest, tmp_path: Path, run_with_limit: Callable[..., Any]
) -> None:
    client: Client = request.getfixturevalue(workers)
    num_workers = len(client.scheduler_info(n_workers=-1)["workers"])
    marker = tmp_path / "killed"

    def answer(i: int) -> int:
        if i == 7 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return i * i

    def run() -> list[int]:
        return [result for _, result in run_on_workers(client, [partial(answer, i) for i in range(20)], "test")]

    try:
        results = run_with_limit(run, seconds=20)
    finally:
        client.wait_for_workers(num_workers, timeout=30)
    assert marker.exists()
    assert results == [i * i for i in range(20)]


def test_progress_is_logged(one_worker: Client, log_lines: list[str]) -> None:
    list(run_on_workers(one_worker, itertools.repeat(lambda: 0, 7), "shard"))
    assert log_lines[-1] == "INFO shard: all 7 done"
    assert "INFO shard: 1 done" in log_lines
