"""Dask workers as SLURM jobs of their own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.clusters.base import Place, QueuedSpec

if TYPE_CHECKING:
    from headrace.running.workers import Workers
    from headrace.schedulers.base import OwnJob


class Spec(QueuedSpec):
    """One job a worker, submitted from the job that needs them, with TLS certificates made for them alone."""

    def open(self, place: Place) -> AbstractContextManager[Workers]:
        """Partition, account, network and wall time are those of the job that asks, unless set."""
        from headrace.provision.cluster import open_queued
        from headrace.provision.jobqueue import load_jobs
        from headrace.schedulers.slurm.scheduler import SCHEDULER

        return open_queued(self, place, SCHEDULER, load_jobs("slurm").SLURMJob, partial(self.job_options, place))

    def job_options(self, place: Place, own: OwnJob | None) -> dict[str, Any]:
        """What dask-jobqueue is told of the jobs."""
        from headrace.provision.cluster import NANNY_MEMORY_MIB, inherit

        memory = f"{self.worker_memory_mib + NANNY_MEMORY_MIB}M"
        # A worker that was put back into the queue would come back beside the one that replaced it.
        return {**inherit(self, place, own, ["--no-requeue"]), "job_mem": memory}
