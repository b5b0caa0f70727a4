"""What a batch scheduler is asked, and how it answers.

Its clients are only ever called through `ask` and `call`: with a time limit, because a controller that is down
answers after minutes or never, and with their words read as text, because no two versions agree on more.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headrace.errors import StageError

CLIENT_TIMEOUT_S = 20.0
KEPT = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF", "SLURM_CLUSTER_NAME")
"""What srun needs to know of the job around it; the rest describes the step that this process runs in."""

Phase = Literal["pending", "running", "done", "failed", "unknown"]
Cause = Literal["memory", "time limit", "node failure", "preemption", "cancelled", "code", "unknown"]
"""Why a job ended early. Only `memory` and `time limit` are cured by asking for more."""


@dataclass(frozen=True)
class Queue:
    """A partition (SLURM) or queue (PBS). None stands for no limit, or for one that the scheduler does not tell."""

    name: str
    is_default: bool = False
    is_up: bool = True
    num_nodes: int = 0
    cpus_per_node: int | None = None
    """Of its largest node."""
    memory_mib_per_node: int | None = None
    """Of its largest node."""
    gpus_per_node: int = 0
    """Of its largest node."""
    gpu_types: tuple[str, ...] = ()
    max_runtime_min: int | None = None
    max_nodes_per_job: int | None = None
    preemption: str = ""
    """What happens to its jobs when more important ones want the node: `requeue`, `cancel`, `suspend`, or nothing."""


@dataclass(frozen=True)
class Survey:
    """What a scheduler says about itself and this user."""

    scheduler: str
    version: str
    queues: tuple[Queue, ...]
    accounts: tuple[str, ...] = ()
    """Those that this user may charge; empty where the site has none."""
    has_accounting: bool = False
    """Whether it still knows jobs that ended long ago."""
    notes: tuple[str, ...] = ()
    """What a person should know before choosing, a sentence each."""

    def queue(self, name: str) -> Queue | None:
        """The queue of that name."""
        return next((queue for queue in self.queues if queue.name == name), None)

    @property
    def default_queue(self) -> Queue | None:
        """Where a job goes that names none."""
        return next((queue for queue in self.queues if queue.is_default), None)


@dataclass(frozen=True)
class JobState:
    """Where a job stands."""

    phase: Phase
    cause: Cause | None = None
    """Of a job that failed."""
    reason: str = ""
    """The scheduler's own words: why it waits, or how it ended."""
    node: str = ""


@dataclass(frozen=True)
class OwnJob:
    """The job that this process runs in."""

    id: str
    queue: str = ""
    account: str = ""
    nodes: tuple[str, ...] = ()
    """The names of its nodes, as the scheduler calls them."""
    ends_at: float | None = None
    """When its time is over, in seconds since the epoch."""
    restarts: int = 0
    """How often the scheduler has put it back into the queue."""
    details: Mapping[str, str] = field(default_factory=dict)


class Scheduler(ABC):
    """A kind of batch scheduler."""

    name: str
    clients: tuple[str, ...]
    """The commands without which it cannot be used."""

    def is_here(self) -> bool:
        """Whether its clients are installed."""
        return all(shutil.which(client) for client in self.clients)

    @abstractmethod
    def survey(self) -> Survey:
        """Ask for queues, limits and accounts. Raises StageError when it does not answer."""

    @abstractmethod
    def states(self, jobs: Sequence[str]) -> dict[str, JobState]:
        """Where these jobs stand; `unknown` for those that it does not know (any more), or when it does not answer."""

    @abstractmethod
    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs; those that have ended are passed over."""

    @abstractmethod
    def own_job(self) -> OwnJob | None:
        """The job that this process runs in, or None outside of one. Never raises."""

    def node_address(self) -> str:
        """The name or address by which it reaches the node that this process runs on; empty where it does not say."""
        return ""

    def node_command(self, node: str, command: Sequence[str]) -> list[str]:
        """How to start a command on one of the nodes of the own job. Raises StageError where there is no way."""
        raise StageError(f"{self.name}: nothing is known that starts {command[0]} on {node}")

    @abstractmethod
    def advise(self, state: JobState) -> str:
        """What to change so that a job in this state starts, in one sentence; empty when waiting is all."""


def ask(command: Sequence[str], timeout_s: float = CLIENT_TIMEOUT_S) -> str:
    """What a client of the scheduler prints. Raises StageError when it fails or does not answer in time."""
    done = call(command, timeout_s)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or "no message"
        raise StageError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def call(command: Sequence[str], timeout_s: float = CLIENT_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Like `ask`, for clients whose exit code and errors say something too. Raises StageError without an answer."""
    # Sites and users set defaults in these variables that change what the clients print.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SQUEUE_", "SINFO_", "SACCT_")) and name != "SLURM_TIME_FORMAT"
    }
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise StageError(f"{command[0]}: no such command here; is this a node of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise StageError(f"{' '.join(command)}: no answer within {timeout_s:g} s") from None


def step_environment() -> dict[str, str]:
    """The environment for a step of the own job, as if this process were no step itself."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(("SLURM_", "SRUN_", "SBATCH_", "PMI"))
    }


def list_schedulers() -> tuple[str, ...]:
    """The names of all schedulers: the folders beside this file."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/scheduler.py")))


def load_scheduler(name: str) -> Scheduler:
    """The scheduler of that name."""
    scheduler = importlib.import_module(f"headrace.schedulers.{name}.scheduler").SCHEDULER
    assert isinstance(scheduler, Scheduler)
    return scheduler


def find_own_job() -> tuple[Scheduler, OwnJob] | None:
    """The scheduler and the job that this process runs in, or None outside of one."""
    for name in list_schedulers():
        scheduler = load_scheduler(name)
        if (job := scheduler.own_job()) is not None:
            return scheduler, job
    return None
