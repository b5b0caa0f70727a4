"""Dask workers on a real SLURM: who gets in, what happens when they die, and what is said when they do not come."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.slurm import SlurmCluster
from headrace.clusters.base import ClusterSpec, Place
from headrace.errors import StageError
from headrace.provision.certificates import make_security
from headrace.registry import load_kind
from headrace.running.workers import run_on_workers

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
CONNECT = """
import socket, ssl, sys

host, port, how, certificate, key = sys.argv[1:]
connection = socket.create_connection((host, int(port)), timeout=5)
try:
    if how != "without encryption":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if how == "with a certificate of its own":
            context.load_cert_chain(certificate, key)
        connection = context.wrap_socket(connection)
    connection.settimeout(5)
    # Whoever is let in is greeted by Dask at once.
    said = connection.recv(64)
    print("entered:" if said else "refused: closed", said)
except (ssl.SSLError, OSError) as error:
    print("refused:", error)
"""
STRANGERS = ["without encryption", "without a certificate", "with a certificate of its own"]


@pytest.fixture(autouse=True)
def sockets_may_leak() -> Iterator[None]:
    """Dask leaves sockets to the garbage collector when workers come and go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@pytest.fixture
def place() -> Iterator[Place]:
    """A folder to which every user finds the way, as on a cluster's file system."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="headrace-place-"))
    folder.chmod(0o755)
    yield Place(folder / "logs", folder / "secrets", "test-workers")
    shutil.rmtree(folder)


def spec(**more: Any) -> ClusterSpec:
    chosen = load_kind("clusters", "slurm").model_validate(
        {"kind": "slurm", "workers": 2, "worker_memory_mib": 400, "interface": "lo", **more}
    )
    assert isinstance(chosen, ClusterSpec)
    return chosen


def fail(place: Place, **more: Any) -> tuple[str, float]:
    """Why no worker came, and after how many seconds that was said."""
    start = time.monotonic()
    with pytest.raises(StageError) as error, spec(**more).open(place):
        pytest.fail("workers came")
    return str(error.value), time.monotonic() - start


def python_for_all() -> str:
    """A Python that another user may run too: that of the tests often lies in somebody's home."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([*AS_NOBODY, python, "-c", "import ssl"], capture_output=True, cwd="/").returncode == 0:
            return python
    pytest.fail("no Python that another user may run: apt-get install python3")


def connect_as_nobody(address: str, how: str, folder: Path) -> str:
    host, port = address.removeprefix("tls://").split(":")
    own = make_security(folder).get_tls_config_for_role("client")
    for part in ("cert", "key"):
        Path(own[part]).chmod(0o644)
    arguments = [host, port, how, own["cert"], own["key"]]
    command = [*AS_NOBODY, python_for_all(), "-c", CONNECT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/").stdout


@pytest.mark.parametrize("how", STRANGERS)
def test_a_second_user_gets_nowhere(how: str, slurm: SlurmCluster, place: Place) -> None:
    stranger = place.logs.parent / "stranger"
    stranger.mkdir()
    with spec().open(place) as workers:
        scheduler = workers.client.scheduler_info(n_workers=-1)
        for address in (scheduler["address"], *scheduler["workers"]):
            said = connect_as_nobody(address, how, stranger)
            assert said.startswith("refused: "), (address, said)
            for file in stranger.iterdir():
                file.unlink()
        (folder,) = place.secrets.iterdir()
        for path in (place.secrets, folder):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        keys = sorted(folder.glob("*.pem"))
        assert [key.name for key in keys] == ["ca_file.pem", "cert.pem", "key.pem"]
        assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
        for key in keys:
            refused = subprocess.run([*AS_NOBODY, "cat", str(key)], capture_output=True, text=True)
            assert refused.returncode != 0
            assert "Permission denied" in refused.stderr
        # The rightful client works meanwhile.
        assert list(run_on_workers(workers, [partial(pow, 2, 5)], "test")) == [32]
    assert list(place.secrets.iterdir()) == []


def test_a_client_with_the_keys_is_greeted(slurm: SlurmCluster, place: Place) -> None:
    # What the strangers above are refused for is their certificate, and nothing else.
    with spec().open(place) as workers:
        host, port = workers.client.scheduler_info()["address"].removeprefix("tls://").split(":")
        (folder,) = place.secrets.iterdir()
        keys = [str(folder / "cert.pem"), str(folder / "key.pem")]
        command = [sys.executable, "-c", CONNECT, host, port, STRANGERS[-1], *keys]
        assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.startswith("entered: ")


def test_nothing_listens_beyond_the_chosen_interface(slurm: SlurmCluster, place: Place) -> None:
    with spec().open(place) as workers:
        pids = {os.getpid(), *workers.client.run(os.getpid).values(), *workers.client.run(os.getppid).values()}
        listening = [
            connection.laddr.ip
            for pid in pids
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    # Scheduler, its dashboard, and two workers with their nannies.
    assert len(listening) >= 6
    assert set(listening) == {"127.0.0.1"}


def test_a_cancelled_worker_is_replaced_and_nothing_is_lost(slurm: SlurmCluster, place: Place) -> None:
    def answer(i: int) -> int:
        time.sleep(0.05)
        return i * i

    with spec().open(place) as workers:
        before = {job["id"] for job in slurm.jobs()}
        assert len(before) == 2
        results = []
        for result in run_on_workers(workers, [partial(answer, i) for i in range(400)], "test"):
            results.append(result)
            if len(results) == 40:
                slurm.run("scancel", min(before))
        assert results == [i * i for i in range(400)]
        slurm.wait_for(lambda: len(workers.addresses) == 2, what="the second worker again")
        where = workers.describe()["where"]
        assert {job["job"] for job in where} >= before
        after = {job["id"] for job in slurm.jobs() if job["state"] == "RUNNING"}
        assert len(after) == 2
        assert min(before) not in after
    slurm.wait_for(lambda: not [job for job in slurm.jobs() if job["state"] == "RUNNING"], what="all workers to end")


def test_idle_workers_go_and_come_back_when_that_is_wished(slurm: SlurmCluster, place: Place) -> None:
    with spec(scale="adaptive", workers=3).open(place) as workers:
        assert list(run_on_workers(workers, [partial(pow, i, 2) for i in range(50)], "test")) == [
            i * i for i in range(50)
        ]
        assert 1 <= len(workers.addresses) <= 3


def test_wrong_partition_is_said_by_name(slurm: SlurmCluster, place: Place) -> None:
    words, seconds = fail(place, partition="nowhere")
    assert "invalid partition specified: nowhere" in words
    assert seconds < 60


def test_impossible_request_is_refused(slurm: SlurmCluster, place: Place) -> None:
    words, seconds = fail(place, worker_memory_mib=9_000_000)
    assert "Memory specification can not be satisfied" in words or "node configuration is not available" in words
    assert seconds < 60


def test_time_above_the_limit_of_the_partition_never_starts(slurm: SlurmCluster, place: Place) -> None:
    words, seconds = fail(place, partition="short", runtime_min=30)
    assert "PartitionTimeLimit" in words or "time limit is invalid" in words
    assert seconds < 60


def test_workers_that_wait_too_long_say_for_what(slurm: SlurmCluster, place: Place) -> None:
    words, seconds = fail(place, extra="--begin=now+1hour", deadline_s=8)
    assert "no Dask worker for 8 s" in words
    assert "BeginTime" in words
    assert "deadline_s=SECONDS" in words
    assert seconds < 60
    assert slurm.jobs() == [] or {job["state"] for job in slurm.jobs()} <= {"CANCELLED", "COMPLETING"}


def test_workers_that_cannot_start_show_their_log(
    slurm: SlurmCluster, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.logs.mkdir()
    # Memory is looked at now and then: Python takes too much and waits for that, before it imports anything else.
    (place.logs / "sitecustomize.py").write_text("import time\nblock = bytearray(2**28)\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(place.logs))
    words, seconds = fail(place, extra="--mem=15")
    assert "end before they connect" in words
    assert "exceeded memory limit" in words or "memory" in words
    assert str(place.logs) in words
    assert seconds < 60


def test_a_worker_that_cannot_reach_the_scheduler_is_found_out(slurm: SlurmCluster, place: Place) -> None:
    # Workers look for an interface that only the driver's node has.
    words, seconds = fail(place, interface="nothere0")
    assert "nothere0" in words
    assert seconds < 60


def test_outside_of_a_job_there_is_no_allocation(slurm: SlurmCluster, place: Place) -> None:
    allocation = load_kind("clusters", "allocation").model_validate({"kind": "allocation"})
    assert isinstance(allocation, ClusterSpec)
    with pytest.raises(StageError, match="works inside a job of SLURM or PBS"), allocation.open(place):
        pytest.fail("there were workers")
