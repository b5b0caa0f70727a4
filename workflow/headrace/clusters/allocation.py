"""Dask workers inside the job's own nodes, for sites where a job may not submit jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.clusters.base import DistributedSpec, Place
from headrace.errors import StageError

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

    from headrace.running.workers import Workers
    from headrace.schedulers.base import JobState


class Spec(DistributedSpec):
    """Workers dealt over the nodes of this job: steps of SLURM (`srun --overlap`), tasks of PBS (its node file)."""

    @contextmanager
    def open(self, place: Place) -> Iterator[Workers]:
        """The job must have been given as many cores and as much memory as its workers need."""
        from headrace.provision.cluster import open_cluster
        from headrace.provision.network import choose_interface
        from headrace.provision.steps import Placement, step_class, step_states
        from headrace.schedulers.base import find_own_job

        found = find_own_job()
        if found is None:
            raise StageError("dask_cluster: allocation works inside a job of SLURM or PBS; use dask_cluster: local")
        scheduler, own = found
        placement = Placement(scheduler.name, own, self.worker_memory_mib, place)

        def states(jobs: Sequence[Job]) -> Mapping[str, JobState]:
            return step_states(jobs)

        interface = self.interface or choose_interface(scheduler.node_address())
        with open_cluster(self, place, step_class(placement), {}, interface, states, scheduler.advise) as workers:
            yield workers
