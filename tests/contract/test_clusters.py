"""Dask clusters: the promised workers, and nobody else gets in."""

import gc
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from headrace.clusters.base import ClusterSpec, Place
from headrace.registry import list_kinds

TRY_TO_ENTER = """
import os, sys
from distributed import Client, Security

address, stranger = sys.argv[1:]
security = Security.temporary() if stranger == "with another certificate" else None
address = address.replace("tls", "tcp") if stranger == "without encryption" else address
try:
    print("entered:", Client(address, timeout=3, security=security).submit(os.getpid).result(timeout=5), flush=True)
except Exception as error:
    print("refused:", type(error).__name__, error, flush=True)
os._exit(0)
"""
LOOPBACK = {"127.0.0.1", "::1"}


@pytest.fixture(scope="module", autouse=True)
def forgiving() -> Iterator[None]:
    """Refused clients leave their sockets to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")
    return Place(folder / "logs", folder / "secrets")


@pytest.fixture(scope="module")
def client(make_example: Callable[..., Any], place: Place) -> Iterator[Client]:
    with make_example("clusters", "local", workers=2, worker_memory_mib=700).open(place) as opened:
        yield opened.client


@pytest.mark.parametrize("kind", list_kinds("clusters"))
def test_every_kind_of_cluster_has_a_size(kind: str, make_example: Callable[..., Any]) -> None:
    spec = make_example("clusters", kind, workers=3, worker_memory_mib=100)
    assert isinstance(spec, ClusterSpec)
    assert (spec.workers, spec.worker_memory_mib) == (3, 100)


def test_all_workers_are_there_with_one_thread_each(client: Client) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    assert [worker["nthreads"] for worker in workers.values()] == [1, 1]
    assert {worker["memory_limit"] for worker in workers.values()} == {700 * 2**20}
    assert client.submit(lambda x: x + 1, 41).result() == 42


def test_numerical_libraries_use_one_thread_in_workers(client: Client) -> None:
    def count_threads() -> list[int]:
        import numpy as np
        from threadpoolctl import threadpool_info

        np.ones((4, 4)) @ np.ones((4, 4))
        return [pool["num_threads"] for pool in threadpool_info()]

    for counts in client.run(count_threads).values():
        assert set(counts) == {1}


def doors_of(client: Client) -> list[str]:
    info = client.scheduler_info(n_workers=-1)
    return [info["address"], *info["workers"], *(worker["nanny"] for worker in info["workers"].values())]


def test_everything_is_encrypted(client: Client) -> None:
    assert all(address.startswith("tls://127.0.0.1:") for address in doors_of(client))


@pytest.mark.parametrize("stranger", ["without a certificate", "without encryption", "with another certificate"])
def test_no_other_client_gets_in(stranger: str, client: Client) -> None:
    # In a process of its own: what a refused client leaves behind must not meet the other tests.
    command = [sys.executable, "-c", TRY_TO_ENTER, client.scheduler_info()["address"], stranger]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("refused: "), done.stdout + done.stderr


def test_a_stranger_gets_no_answer_at_any_door(client: Client) -> None:
    for address in doors_of(client):
        host, port = address.removeprefix("tls://").split(":")
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(b"\x00" * 64)
            try:
                answer = connection.recv(1024)
            except ConnectionResetError:
                answer = b""
        # At most a TLS alert.
        assert answer == b"" or answer[0] == 0x15


def test_nothing_listens_beyond_this_machine(client: Client) -> None:
    here = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) <= LOOPBACK


def test_two_clusters_live_side_by_side_without_a_warning(
    client: Client, make_example: Callable[..., Any], place: Place
) -> None:
    with make_example("clusters", "local", workers=1).open(place) as other:
        assert other.client.submit(sum, [1, 2]).result() == 3
    assert client.submit(sum, [3, 4]).result() == 7


def processes_of(opened: Client) -> list[int]:
    return list(opened.run(os.getpid).values())


def test_all_is_gone_when_the_context_ends(make_example: Callable[..., Any], place: Place) -> None:
    with make_example("clusters", "local", workers=1).open(place) as workers:
        opened = workers.client
        (pid,) = processes_of(opened)
        (folder,) = opened.run(lambda dask_worker: dask_worker.local_directory).values()
        host, port = opened.scheduler_info()["address"].removeprefix("tls://").split(":")
        assert psutil.pid_exists(pid)
        assert Path(folder).exists()
    assert not psutil.pid_exists(pid)
    assert not Path(folder).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=3)


def test_all_is_gone_after_an_error_too(make_example: Callable[..., Any], place: Place) -> None:
    pids: list[int] = []

    def fail() -> None:
        with make_example("clusters", "local", workers=1).open(place) as opened:
            pids.extend(processes_of(opened.client))
            raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        fail()
    assert len(pids) == 1
    assert not psutil.pid_exists(pids[0])
