"""Dask workers as PBS jobs of their own: OpenPBS, PBS Pro or Torque."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.clusters.base import Place, QueuedSpec
from headrace.errors import StageError

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

    from headrace.schedulers.base import JobState, OwnJob
    from headrace.workers import Workers


class Spec(QueuedSpec):
    """One job a worker, submitted from the job that needs them, with TLS certificates made for them alone."""

    @contextmanager
    def open(self, place: Place) -> Iterator[Workers]:
        """Queue, account, network and wall time are those of the job that asks, unless set."""
        from dask_jobqueue.pbs import PBSJob

        from headrace.provision.cluster import open_cluster
        from headrace.provision.network import choose_interface
        from headrace.schedulers.pbs import scheduler as pbs

        scheduler = pbs.SCHEDULER
        if not scheduler.is_here():
            raise StageError("dask_cluster: pbs: there is no PBS here; use dask_cluster: local")
        own = scheduler.own_job()
        interface = self.interface or choose_interface(scheduler.node_address())

        def states(jobs: Sequence[Job]) -> Mapping[str, JobState]:
            return scheduler.states([str(job.job_id) for job in jobs])

        options = self.job_options(place, own)
        with open_cluster(self, place, PBSJob, options, interface, states, scheduler.advise) as workers:
            yield workers

    def job_options(self, place: Place, own: OwnJob | None) -> dict[str, Any]:
        """What dask-jobqueue is told of the jobs, in the dialect of the PBS that is here."""
        from headrace.provision.cluster import NANNY_MEMORY_MIB, wall_time
        from headrace.schedulers.pbs.scheduler import detect_dialect, resource_spec

        extra = ["-r n", *(word.strip() for word in self.extra.split(";") if word.strip())]
        return {
            "queue": self.partition or (own.queue if own else "") or None,
            "account": self.account or (own.account if own else "") or None,
            "walltime": wall_time(self, place),
            "resource_spec": resource_spec(detect_dialect(), 1, self.worker_memory_mib + NANNY_MEMORY_MIB),
            "job_extra_directives": extra,
        }
