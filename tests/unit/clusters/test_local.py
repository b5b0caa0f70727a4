"""Workers on this machine that end: they come back however long that takes, or the work stops and says so."""

import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

from headrace.clusters import local
from headrace.clusters.base import Place
from headrace.errors import StageError
from headrace.running.workers import Workers


def pid_of_forkserver() -> int:
    pid: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


@pytest.mark.usefixtures("sockets_may_leak")
def test_a_worker_that_is_slow_to_start_again_is_not_given_up(one_worker: Workers) -> None:
    # Dask gives up what does not come back within 15 s.
    os.kill(pid_of_forkserver(), signal.SIGSTOP)
    try:
        (pid,) = one_worker.client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        time.sleep(20)
        assert one_worker.addresses == []
    finally:
        os.kill(pid_of_forkserver(), signal.SIGCONT)
    assert one_worker.take(one_worker.submit(abs, -3).result(timeout=120)) == 3


def test_work_stops_when_no_worker_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, scheduler = SimpleNamespace(now=1000.0), SimpleNamespace(workers={})
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: clock.now))
    watch = local._Watch(scheduler, Place(tmp_path, tmp_path))
    watch()
    clock.now += local.GONE_S - 1
    watch()
    # One that came back in between begins the time anew.
    scheduler.workers = {"tls://127.0.0.1:1": None}
    watch()
    scheduler.workers = {}
    clock.now += local.GONE_S
    watch()
    clock.now += local.GONE_S + 1
    with pytest.raises(StageError, match="all Dask workers of this machine ended"):
        watch()
