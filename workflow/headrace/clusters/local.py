"""Dask workers as processes of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.clusters.base import ALLOCATOR, ClusterSpec, Place
from headrace.errors import StageError

if TYPE_CHECKING:
    from headrace.running.workers import Workers

GONE_S = 180.0
"""How long all workers may be gone: one that ended is started again, which takes seconds, or more on a busy machine."""


class Spec(ClusterSpec):
    """Processes on the loopback interface, with TLS certificates made for this run alone and no dashboard."""

    @contextmanager
    def open(self, place: Place) -> Iterator[Workers]:
        """One thread a worker, so that sums have the same bits whatever the number of workers."""
        import tempfile

        import dask
        from distributed import Client, LocalCluster, Security

        from headrace.running.workers import Workers

        # Workers forked from a server that has imported once start with half the CPU time of fresh interpreters.
        settings: dict[str, object] = {"distributed.worker.multiprocessing-method": "forkserver"}
        # TLS does not cover their HTTP pages: none are served, and the server that remains listens on loopback alone.
        settings |= {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
        settings |= {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()}
        # A worker that ended is started again by the process beside it, which must not be given up meanwhile: nobody
        # would start another one.
        settings["distributed.deploy.lost-worker-timeout"] = "1 day"
        loopback = "127.0.0.1:0"
        with (
            dask.config.set(settings),
            tempfile.TemporaryDirectory(prefix="headrace-dask-") as scratch,
            LocalCluster(
                n_workers=self.workers,
                threads_per_worker=1,
                memory_limit=f"{self.worker_memory_mib}MiB",
                host="127.0.0.1",
                protocol="tls",
                security=Security.temporary(),
                dashboard_address=loopback,
                worker_dashboard_address=loopback,
                local_directory=scratch,
            ) as cluster,
            Client(cluster, set_as_default=False, direct_to_workers=True) as client,
        ):
            client.wait_for_workers(self.workers, timeout=60)
            yield Workers(client, self.kind, _Watch(cluster.scheduler, place))


class _Watch:
    """Raises StageError when it is time to stop, and when no worker comes back."""

    def __init__(self, scheduler: Any, place: Place) -> None:
        self._scheduler, self._place = scheduler, place
        self._gone_since: float | None = None

    def __call__(self) -> None:
        self._place.stop.check("its unfinished work starts again")
        if self._scheduler.workers:
            self._gone_since = None
            return
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        if now - self._gone_since > GONE_S:
            raise StageError(
                f"all Dask workers of this machine ended, and none was started again within {GONE_S:.0f} s; give them "
                "more memory (dask_worker_mem_mb), and run again: what was finished is kept"
            )
