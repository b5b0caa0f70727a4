"""The ranks of one run as processes: by torchrun's agent on this machine, or by a torchrun on every node of a job.

On one machine nothing listens on any network: the ranks meet through a file and talk over the loopback. Over several
nodes they meet at a port of the first one that follows from the job's id.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from headrace.errors import StageError
from headrace.logs import logger
from headrace.provenance.manifests import read_json
from headrace.schedulers.base import OwnJob, Scheduler, step_environment
from headrace.training.outcomes import Outcome, died, judge
from headrace.tries.stopping import Stop

LOOK_S = 0.2
END_S = 20.0
"""What is left to the torchruns of other nodes when one of them has failed."""
SEEN_S = 10.0
WORDS = "rank-*.json"
PORTS = range(15_000, 30_000)
"""Below those that systems hand out by themselves."""


def launch(arguments: Sequence[str], world_size: int, words: Path, stop: Stop, nodes: Sequence[str] = ()) -> Outcome:
    """Start `headrace` with the arguments once a rank, and wait; tells how the run ended.

    The ranks leave their outcomes in the folder `words`. They are told of a stop by SIGTERM. Raises StageError or
    StoppedError for what a rank raised, RankDiedError for one that died.
    """
    words.mkdir(parents=True, exist_ok=True)
    for path in words.glob(WORDS):
        path.unlink()
    dead: dict[int, int] = {}
    if len(nodes) > 1:
        _launch_on_nodes(arguments, world_size, stop)
        # What was written on another node is seen here after a while.
        deadline = time.monotonic() + SEEN_S
        while len(list(words.glob(WORDS))) < world_size and time.monotonic() < deadline:
            time.sleep(LOOK_S)
    else:
        dead = _launch_here(arguments, world_size, stop)
    return judge([Outcome(**read_json(path)) for path in sorted(words.glob(WORDS))], dead, world_size, stop)


# One machine


def _launch_here(arguments: Sequence[str], world_size: int, stop: Stop) -> dict[int, int]:
    """Run all ranks as children of this process; the exit codes of those that failed by themselves."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _register()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world_size,
        run_id=f"{os.getpid()}",
        rdzv_backend=BACKEND,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(os.devnull),
        # SIGTERM is passed on by us, with all the time that saving takes.
        signals_to_handle="SIGINT",
    )
    with tempfile.TemporaryDirectory(prefix="headrace-ranks-") as meeting, _told(_children, stop), _own_interrupt():
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
        own = ["--store", f"{meeting}/store", "--parent", f"{os.getpid()}"]
        command = ["-m", "headrace", *arguments, *own]
        try:
            elastic_launch(config, sys.executable)(*command)
        except ChildFailedError as error:
            return died({rank: (failure.exitcode, failure.timestamp) for rank, failure in error.failures.items()})
        except SignalException:
            raise KeyboardInterrupt from None
    return {}


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Take Ctrl-C back afterwards: torchrun's agent keeps a handler whose exception anybody takes for an error."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


BACKEND = "headrace"


def _register() -> None:
    """A rendezvous of one machine with itself: torch's own ones open a port on all networks."""
    from torch._C._distributed_c10d import HashStore
    from torch.distributed.elastic.rendezvous import (
        RendezvousHandler,
        RendezvousInfo,
        RendezvousParameters,
        RendezvousStoreInfo,
        rendezvous_handler_registry,
    )

    class Alone(RendezvousHandler):
        def __init__(self, parameters: RendezvousParameters) -> None:
            self._run_id = parameters.run_id

        use_agent_store = False

        def get_backend(self) -> str:
            return BACKEND

        def next_rendezvous(self) -> RendezvousInfo:
            return RendezvousInfo(HashStore(), 0, 1, RendezvousStoreInfo("localhost", 0))

        def is_closed(self) -> bool:
            return False

        def set_closed(self) -> None:
            return None

        def num_nodes_waiting(self) -> int:
            return 0

        def get_run_id(self) -> str:
            return self._run_id

        def shutdown(self) -> bool:
            return True

    if BACKEND not in rendezvous_handler_registry._registry:
        rendezvous_handler_registry.register(BACKEND, Alone)


def _children() -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process().children()
    return children


@contextmanager
def _told(processes: Callable[[], Sequence[psutil.Process]], stop: Stop) -> Iterator[None]:
    """While inside, pass a wish to stop on to processes, also to those that begin after it; each hears it once."""
    over, heard = threading.Event(), set[int]()

    def watch() -> None:
        while not over.wait(LOOK_S):
            # Of its time limit every rank knows by itself.
            for process in processes() if stop.cause == "preemption" else ():
                if process.pid not in heard:
                    heard.add(process.pid)
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGTERM)

    watcher = threading.Thread(target=watch, name="ranks", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


# Several nodes


def port_of(job: str) -> int:
    """Where the ranks of a job meet: the same on all of its nodes, another one for most other jobs."""
    return PORTS[int("".join(re.findall(r"\d+", job)) or 0) % len(PORTS)]


def node_commands(scheduler: Scheduler, own: OwnJob, arguments: Sequence[str], world_size: int) -> list[list[str]]:
    """A torchrun for every node of a job, as the scheduler starts a command on one of its nodes.

    Raises StageError where the ranks cannot be spread equally. The static rendezvous is the one that takes nothing for
    code that it gets from the network.
    """
    if world_size % len(own.nodes):
        raise StageError(f"world_size: {world_size} ranks cannot be spread equally over the {len(own.nodes)} nodes")
    commands = []
    for number, node in enumerate(own.nodes):
        torchrun = [
            sys.executable, "-m", "torch.distributed.run", f"--nnodes={len(own.nodes)}", f"--node-rank={number}",
            f"--nproc-per-node={world_size // len(own.nodes)}", "--rdzv-backend=static",
            f"--master-addr={own.nodes[0]}", f"--master-port={port_of(own.id)}", "--max-restarts=0",
            "-m", "headrace", *arguments,
        ]  # fmt: skip
        commands.append(scheduler.node_command(node, torchrun))
    return commands


def _launch_on_nodes(arguments: Sequence[str], world_size: int, stop: Stop) -> None:
    """Run the ranks on all nodes of the job around this process; nobody tells the exit code of a rank."""
    from headrace.schedulers.base import find_own_job

    found = find_own_job()
    assert found is not None
    steps: list[subprocess.Popen[bytes]] = []
    try:
        for command in node_commands(*found, arguments, world_size):
            environment = step_environment()
            steps.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True))
        _wait_for(steps, stop)
    finally:
        _end(steps)
    codes = [step.returncode for step in steps]
    if any(codes):
        logger.error("torchrun ended with %s on the nodes of this job", ", ".join(str(code) for code in codes))


def _wait_for(steps: Sequence[subprocess.Popen[bytes]], stop: Stop) -> None:
    """Until all have ended, or one has failed and the others were left the time to end with it."""

    def running() -> list[psutil.Process]:
        found = []
        for step in steps:
            with suppress(psutil.NoSuchProcess):
                found += [psutil.Process(step.pid)] if step.poll() is None else []
        return found

    with _told(running, stop):
        while any(step.poll() is None for step in steps) and not any(step.poll() for step in steps):
            time.sleep(LOOK_S)
        deadline = time.monotonic() + END_S
        while any(step.poll() is None for step in steps) and time.monotonic() < deadline:
            time.sleep(LOOK_S)


def _end(steps: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that have not."""
    for step in steps:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if step.poll() is None:
                os.killpg(step.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    step.wait(END_S)
