"""Dask workers as processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from headrace.clusters.base import ClusterSpec, Place

if TYPE_CHECKING:
    from headrace.workers import Workers


class Spec(ClusterSpec):
    """Processes on the loopback interface, with TLS certificates made for this run alone and no dashboard."""

    @contextmanager
    def open(self, place: Place) -> Iterator[Workers]:
        """One thread a worker, so that sums have the same bits whatever the number of workers."""
        import tempfile

        import dask
        from distributed import Client, LocalCluster, Security

        from headrace.workers import Workers

        # Workers forked from a server that has imported once start with half the CPU time of fresh interpreters.
        settings: dict[str, object] = {"distributed.worker.multiprocessing-method": "forkserver"}
        # TLS does not cover their HTTP pages: none are served, and the server that remains listens on loopback alone.
        settings |= {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
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
            Client(cluster) as client,
        ):
            client.wait_for_workers(self.workers, timeout=60)
            yield Workers(client, self.kind, partial(place.stop.check, "its unfinished work starts again"))
