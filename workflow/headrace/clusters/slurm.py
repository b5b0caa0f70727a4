"""Dask workers as SLURM jobs of their own."""

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
        """Partition, account, network and wall time are those of the job that asks, unless set."""
        from dask_jobqueue.slurm import SLURMJob

        from headrace.provision.cluster import open_cluster
        from headrace.provision.network import choose_interface
        from headrace.schedulers.slurm import scheduler as slurm

        scheduler = slurm.SCHEDULER
        if not scheduler.is_here():
            raise StageError("dask_cluster: slurm: there is no SLURM here; use dask_cluster: local")
        own = scheduler.own_job()
        interface = self.interface or choose_interface(scheduler.node_address())

        def states(jobs: Sequence[Job]) -> Mapping[str, JobState]:
            return scheduler.states([str(job.job_id) for job in jobs])

        options = self.job_options(place, own)
        with open_cluster(self, place, SLURMJob, options, interface, states, scheduler.advise) as workers:
            yield workers

    def job_options(self, place: Place, own: OwnJob | None) -> dict[str, Any]:
        """What dask-jobqueue is told of the jobs."""
        from headrace.provision.cluster import NANNY_MEMORY_MIB, wall_time

        # A worker that was put back into the queue would come back beside the one that replaced it.
        extra = ["--no-requeue", *(word.strip() for word in self.extra.split(";") if word.strip())]
        return {
            "queue": self.partition or (own.queue if own else "") or None,
            "account": self.account or (own.account if own else "") or None,
            "walltime": wall_time(self, place),
            "job_mem": f"{self.worker_memory_mib + NANNY_MEMORY_MIB}M",
            "job_extra_directives": extra,
        }
