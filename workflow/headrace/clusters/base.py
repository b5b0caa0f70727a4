"""What a kind of Dask cluster must give: connected workers that are authenticated and encrypted."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headrace.experiments.config import Kind, PositiveInt
from headrace.tries.stopping import NEVER, Stop

if TYPE_CHECKING:
    from headrace.running.workers import Workers

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": 32 * 2**20, "MALLOC_MMAP_THRESHOLD_": 4 * 2**20}
"""Bytes that a worker may keep of freed memory, and above which an array gets pages of its own. Dask lets hardly
anything be kept, so that every array of more than 128 KiB is made of fresh pages: those cost more than what is put
there."""


@dataclass(frozen=True)
class Place:
    """What a cluster may use of the place that the stage runs in."""

    logs: Path
    """A folder for what workers say; it stays."""
    secrets: Path
    """A folder for keys, which workers on other nodes must reach; it is swept."""
    name: str = "headrace"
    """What the workers' jobs are called."""
    stop: Stop = NEVER


class ClusterSpec(Kind):
    """How many workers, and how large."""

    workers: PositiveInt = 2
    """Worker processes, of one thread each."""
    worker_memory_mib: PositiveInt = 1024
    """Memory of one worker in MiB."""

    @abstractmethod
    def open(self, place: Place) -> AbstractContextManager[Workers]:
        """Workers that have arrived; all is shut down when the context ends. Raises StageError when none come."""


class DistributedSpec(ClusterSpec):
    """Workers on other nodes."""

    interface: str = ""
    """Network interface that scheduler and workers talk over, as `ib0`; by default that of the node's address."""
    scale: Literal["fixed", "adaptive"] = "fixed"
    """`adaptive` lets idle workers go and asks for them again, which on a busy cluster costs more than it saves."""
    deadline_s: PositiveInt = 1800
    """Seconds without any worker after which the work ends, with the scheduler's reason."""
    gather_s: PositiveInt = 60
    """Seconds after which work begins with the workers that have come; the others join when their jobs start."""
    connect_s: PositiveInt = 120
    """Seconds after which a worker whose job runs must have connected."""
    dashboard: bool = True
    """Serve Dask's dashboard, on the loopback interface alone."""


class QueuedSpec(DistributedSpec):
    """Workers that are jobs of their own. Whatever is empty is as in the job that asks for them."""

    partition: str = ""
    """Partition or queue of the workers' jobs."""
    account: str = ""
    """Who pays for them."""
    runtime_min: PositiveInt | None = None
    """Wall time of a worker's job in minutes; without it, what is left to the job that asks."""
    extra: str = ""
    """More options for the scheduler, as `--constraint=intel`; several are separated by `;`."""
