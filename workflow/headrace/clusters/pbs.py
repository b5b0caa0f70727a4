"""Dask workers as PBS jobs of their own: OpenPBS, PBS Pro or Torque."""

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
        """Queue, account, network and wall time are those of the job that asks, unless set."""
        from headrace.provision.cluster import open_queued
        from headrace.provision.jobqueue import load_jobs
        from headrace.schedulers.pbs.scheduler import SCHEDULER

        return open_queued(self, place, SCHEDULER, load_jobs("pbs").PBSJob, partial(self.job_options, place))

    def job_options(self, place: Place, own: OwnJob | None) -> dict[str, Any]:
        """What dask-jobqueue is told of the jobs, in the dialect of the PBS that is here."""
        from headrace.provision.cluster import NANNY_MEMORY_MIB, inherit
        from headrace.schedulers.pbs.scheduler import detect_dialect, resource_spec

        memory_mib = self.worker_memory_mib + NANNY_MEMORY_MIB
        # A worker that was put back into the queue would come back beside the one that replaced it.
        return {**inherit(self, place, own, ["-r n"]), "resource_spec": resource_spec(detect_dialect(), 1, memory_mib)}
