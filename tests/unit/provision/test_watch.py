"""The watch over workers that a scheduler starts: what it says, whom it replaces, when it gives up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sortedcontainers import SortedDict

from headrace.errors import StageError
from headrace.provision import watch as provisioning
from headrace.provision.watch import Ledger, Limits, Provision, describe, noted
from headrace.schedulers.base import JobState
from headrace.tries.stopping import Stop, StoppedError


class FakeJob:
    def __init__(self, job_id: str | None) -> None:
        self.job_id = job_id

    async def close(self) -> None:
        self.job_id = "closed"


class FakeCluster:
    """As much of a cluster as the watch looks at; new jobs get the next number."""

    scheduler_address = "tls://10.0.0.1:1"

    def __init__(self, wanted: int) -> None:
        self.worker_spec = {f"w{i}": {} for i in range(wanted)}
        self.workers: dict[str, FakeJob] = {}
        self.scheduler = SimpleNamespace(workers={})
        self.next_id = 1
        asyncio.run(self._correct_state())

    async def _correct_state(self) -> None:
        for name in self.worker_spec:
            if name not in self.workers:
                self.workers[name] = FakeJob(str(self.next_id))
                self.next_id += 1

    def sync(self, function: Callable[[], Any]) -> None:
        asyncio.run(function())

    def connect(self, *names: str) -> None:
        self.scheduler.workers |= {name: SimpleNamespace(name=name) for name in names}

    def lose(self, name: str) -> None:
        del self.scheduler.workers[name]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "LOOK_S", 0.01)


States = dict[str, JobState]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., tuple[Provision, FakeCluster, States, Ledger]]]:
    opened: list[Provision] = []

    def open_watch(
        wanted: int = 2, deadline_s: float = 60, gather_s: float = 60, connect_s: float = 60, stop: Stop | None = None
    ) -> tuple[Provision, FakeCluster, States, Ledger]:
        cluster, states, ledger = FakeCluster(wanted), {}, Ledger()

        def ask(jobs: Sequence[Any]) -> Mapping[str, JobState]:
            return {job.job_id: states.get(job.job_id, JobState("pending", reason="Priority")) for job in jobs}

        def advise(state: JobState) -> str:
            return "change `runtime`" if state.reason == "PartitionTimeLimit" else ""

        limits = Limits(deadline_s, gather_s, connect_s)
        provision = Provision(cluster, ledger, ask, advise, limits, tmp_path, stop or Stop())
        opened.append(provision.__enter__())
        return provision, cluster, states, ledger

    yield open_watch
    for provision in opened:
        provision.__exit__()


def failure_of(provision: Provision, wanted: int = 2) -> str:
    with pytest.raises(StageError) as error:
        provision.wait(wanted)
    return str(error.value)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_says_for_what_it_waits_until_all_are_there(watch: Any, log_lines: list[str]) -> None:
    provision, cluster, states, _ = watch()
    states["1"] = JobState("pending", reason="Resources")
    until(lambda: provision._missing)
    cluster.connect("w1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: cluster.connect("w0") if len(log_lines) > 0 else None)
        provision.wait(2)
    assert "workers: 1 of 2 connected" in log_lines[0]
    assert "job 1: pending, Resources" in log_lines[0]
    assert log_lines[-1].startswith("INFO workers: all 2 connected after ")


def test_what_never_starts_ends_the_wait_with_advice(watch: Any) -> None:
    provision, _, states, _ = watch()
    states["2"] = JobState("pending", reason="PartitionTimeLimit")
    words = failure_of(provision)
    assert words == "no Dask worker can start: job 2 waits for PartitionTimeLimit: change `runtime`"


def test_one_that_never_starts_does_not_end_the_work_of_others(watch: Any) -> None:
    provision, cluster, states, _ = watch(gather_s=0.3)
    cluster.connect("w0")
    states["2"] = JobState("pending", reason="PartitionTimeLimit")
    provision.wait(2)
    provision.check()


def test_at_the_deadline_the_error_names_the_schedulers_reason(watch: Any) -> None:
    provision, _, _, _ = watch(deadline_s=0.2)
    words = failure_of(provision)
    assert "no Dask worker for 0.2 s (job 1: pending, Priority; job 2: pending, Priority)" in words
    assert "deadline_s=SECONDS" in words


def test_workers_that_end_before_they_connect_show_their_log(watch: Any, tmp_path: Path) -> None:
    provision, cluster, states, _ = watch(wanted=1)
    for number in range(1, 4):
        states[str(number)] = JobState("failed", "code", "NonZeroExitCode")
        (tmp_path / f"headrace-shard-{number}.err").write_text("...\nModuleNotFoundError: No module named 'dask'\n")
    words = failure_of(provision, 1)
    assert "Dask workers end before they connect (2 so far)" in words
    assert "failed, code, NonZeroExitCode" in words
    assert "ModuleNotFoundError: No module named 'dask'" in words
    assert cluster.next_id <= 5


def test_a_worker_that_runs_and_does_not_connect_is_replaced(watch: Any) -> None:
    provision, cluster, states, _ = watch(wanted=2, connect_s=0.05)
    cluster.connect("w0")
    states["2"] = JobState("running", node="n5")
    until(lambda: cluster.workers["w1"].job_id == "3")
    assert "job 2 runs on n5" in provision._last_loss
    assert "interface=NAME" in provision._last_loss
    provision.check()


def test_the_dead_are_replaced_while_others_work(watch: Any, log_lines: list[str]) -> None:
    provision, cluster, states, _ = watch()
    cluster.connect("w0", "w1")
    provision.wait(2)
    cluster.lose("w0")
    states["1"] = JobState("failed", "node failure", "NodeDown")
    until(lambda: cluster.workers["w0"].job_id == "3")
    cluster.connect("w0")
    provision.check()
    assert any("a worker was lost: job 1 ended (failed, node failure, NodeDown)" in line for line in log_lines)


def test_refusals_are_told_in_the_schedulers_words(watch: Any) -> None:
    provision, cluster, _, ledger = watch(wanted=1)
    for job in cluster.workers.values():
        job.job_id = None
    for _ in range(3):
        ledger.refuse(RuntimeError("Command exited...\nstdout:\n\nstderr:\nsbatch: error: invalid\n partition\n"))
    assert failure_of(provision, 1) == "the scheduler takes no worker's job: sbatch: error: invalid partition"


def test_a_watch_that_breaks_is_no_silent_wait(watch: Any) -> None:
    provision, cluster, _, _ = watch(wanted=1)
    cluster.workers["w0"] = SimpleNamespace()
    assert "the watch over the workers failed: AttributeError" in failure_of(provision, 1)


def test_a_job_near_its_end_stops_waiting(watch: Any) -> None:
    provision, _, _, _ = watch(stop=Stop(ends_at=time.time() + 5, now=time.time() - 100))
    with pytest.raises(StoppedError) as error:
        provision.wait(2)
    assert error.value.cause == "time limit"
    assert "no Dask worker had come" in str(error.value)


def test_workers_may_leave_while_they_are_counted(watch: Any) -> None:
    class Leaving(SortedDict):
        def values(self) -> Any:
            # As when the event loop removes a worker between the look at the keys and that at its value.
            raise KeyError("tls://10.0.0.1:2")

    provision, cluster, _, _ = watch()
    cluster.scheduler.workers = Leaving({"w0": SimpleNamespace(name="w0"), "w1": SimpleNamespace(name="w1")})
    assert provision.connected() == {"w0", "w1"}


def test_a_state_in_words() -> None:
    assert describe(JobState("pending", reason="None")) == "pending"
    assert describe(JobState("failed", "memory", "OUT_OF_MEMORY")) == "failed, memory, OUT_OF_MEMORY"


def test_a_refused_submission_is_noted_and_not_lost() -> None:
    class Refused:
        submit_command = "false --now"
        status = None

        async def start(self) -> None:
            await self._submit_job("script.sh")

        async def _submit_job(self, script: str) -> Any:
            raise NotImplementedError

        async def _call(self, command: list[str], env: dict[str, str]) -> str:
            assert command == ["false", "--now", "script.sh"]
            assert env == {"PATH": "/bin"}
            raise RuntimeError("stderr:\nno\n")

    ledger = Ledger()
    asyncio.run(noted(Refused, ledger, {"PATH": "/bin"})().start())
    assert ledger.refusals == ["no"]
