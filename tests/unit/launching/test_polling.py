"""How long Snakemake waits between two questions."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.launching import polling
from headrace.launching.polling import LONGEST_S, pause_s
from headrace.schedulers.base import JobState
from headrace.schedulers.slurm.scheduler import SCHEDULER


@given(st.floats(0, 1e7), st.floats(0.1, 60))
def test_a_pause_is_a_tenth_of_the_wait_within_its_limits(since: float, shortest: float) -> None:
    pause = pause_s(since, shortest)
    assert shortest <= pause <= max(LONGEST_S, shortest)
    if shortest <= since / 10 <= LONGEST_S:
        assert pause == pytest.approx(since / 10)


@pytest.mark.parametrize("duration_s", [11.0, 35.0, 120.0, 3600.0])
def test_no_job_seems_a_tenth_longer_than_it_was(duration_s: float) -> None:
    asked_at, questions = 0.0, 0
    while asked_at < duration_s:
        asked_at += pause_s(asked_at, 1.0)
        questions += 1
    assert asked_at <= max(duration_s * 1.1, duration_s + 1)
    # A day is asked about no more often than once a minute.
    assert questions <= 60 + duration_s / LONGEST_S


def test_it_starts_anew_when_a_job_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    settings = SimpleNamespace(remote_execution_settings=SimpleNamespace(seconds_between_status_checks=2))
    executor: Any = SimpleNamespace(lock=threading.Lock(), active_jobs=[], workflow=settings)
    now = [1000.0]
    # Other threads of the test process sleep and read the clock too.
    monkeypatch.setattr(polling, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))
    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(polling, "_say", lambda jobs: f"waiting for {jobs}")
    for at, jobs in ((0, "ab"), (100, "ab"), (100, "b"), (5000, "b")):
        now[0] = 1000.0 + at
        executor.active_jobs = [SimpleNamespace(external_jobid=job) for job in jobs]
        asyncio.run(polling._sleep(executor))
    assert pauses == [2, 10, 2, 60]
    assert capsys.readouterr().err.splitlines() == ["waiting for ['a', 'b']", "waiting for ['b']"]


def test_a_wait_says_for_what_and_what_to_change() -> None:
    states = {
        "1": JobState("running"),
        "2": JobState("pending", reason="Priority"),
        "3": JobState("pending", reason="Priority"),
        "4": JobState("pending", reason="PartitionTimeLimit"),
    }
    lines = polling.describe_waiting(states, SCHEDULER.advise).splitlines()
    assert lines[0] == "headrace: 4 jobs: 1 pending (PartitionTimeLimit), 2 pending (Priority), 1 running"
    assert lines[1].startswith("headrace: job 4: ")
    assert "runtime" in lines[1]
    assert len(lines) == 2


def test_the_plugin_has_what_is_replaced() -> None:
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    assert asyncio.iscoroutinefunction(RemoteExecutor.sleep)
    before = plugin.Executor.sleep
    try:
        polling.pace_questions()
        assert plugin.Executor.sleep is polling._sleep
    finally:
        plugin.Executor.sleep = before
