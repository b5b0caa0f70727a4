"""What a kind of Dask cluster must give: a client to authenticated, encrypted workers."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from headrace.config import Kind, PositiveInt

if TYPE_CHECKING:
    from distributed import Client


class ClusterSpec(Kind):
    """How many workers, and how large."""

    workers: PositiveInt = 2
    """Worker processes, of one thread each."""
    worker_memory_mib: PositiveInt = 1024
    """Memory of one worker in MiB."""

    @abstractmethod
    def open(self) -> AbstractContextManager[Client]:
        """A client whose workers have all arrived; all is shut down when the context ends."""
