"""A dask-jobqueue cluster with encryption, a watch over its workers, and a dashboard that only its user reaches."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.clusters.base import ALLOCATOR, DistributedSpec, Place, QueuedSpec
from headrace.errors import StageError
from headrace.logs import logger
from headrace.provision.certificates import make_security, private_folder
from headrace.provision.network import addresses, choose_interface
from headrace.provision.watch import Ledger, Limits, Provision, noted
from headrace.running.workers import Workers
from headrace.schedulers.base import JobState, OwnJob, Scheduler

if TYPE_CHECKING:
    from dask_jobqueue.core import Job

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIFETIME_MARGIN_S = 60
"""What a worker keeps of its wall time for handing its data over."""
MIN_RUNTIME_S = 120
NANNY_MEMORY_MIB = 256
"""What the process beside the worker needs, which its memory limit does not cover."""
DEATH_TIMEOUT_S = 60
SETTINGS = {
    "distributed.deploy.lost-worker-timeout": "3s",
    # TLS does not cover HTTP: workers serve no pages, and the scheduler's are on the loopback interface.
    "distributed.worker.http.routes": [],
}


@contextmanager
def open_cluster(
    spec: DistributedSpec,
    place: Place,
    job_class: Any,
    job_options: Mapping[str, Any],
    interface: str,
    states: Callable[[Sequence[Job]], Mapping[str, JobState]],
    advise: Callable[[JobState], str],
) -> Iterator[Workers]:
    """Start Dask's scheduler in this process, ask for workers, wait for them, and end all of it with the context."""
    import dask
    from distributed import Client

    from headrace.provision.jobqueue import load_jobs

    ledger = Ledger()
    place.logs.mkdir(parents=True, exist_ok=True)
    with private_folder(place.secrets) as secrets, dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        security = make_security(secrets)
        if interface not in (here := addresses()):
            raise StageError(
                f"dask_options: interface={interface}: no such network here; {', '.join(sorted(here))} are"
            )
        cluster = load_jobs("core").JobQueueCluster(
            job_cls=noted(job_class, ledger, clean_environment()),
            config_name="pbs" if job_class.config_name == "pbs" else "slurm",
            name=place.name,
            security=security,
            protocol="tls",
            interface=interface,
            scheduler_options={"dashboard_address": "127.0.0.1:0", "dashboard": spec.dashboard},
            shared_temp_directory=str(secrets),
            **worker_options(spec, place),
            **job_options,
        )
        stack.callback(close, cluster)
        if spec.dashboard:
            say_dashboard(cluster.scheduler)
        if spec.scale == "adaptive":
            cluster.adapt(minimum=1, maximum=spec.workers)
        else:
            cluster.scale(spec.workers)
        limits = Limits(spec.deadline_s, spec.gather_s, spec.connect_s)
        provision = stack.enter_context(Provision(cluster, ledger, states, advise, limits, place.logs, place.stop))
        provision.wait(1 if spec.scale == "adaptive" else spec.workers)
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        yield Workers(client, spec.kind, provision.check)


@contextmanager
def open_queued(
    spec: QueuedSpec,
    place: Place,
    scheduler: Scheduler,
    job_class: Any,
    job_options: Callable[[OwnJob | None], Mapping[str, Any]],
) -> Iterator[Workers]:
    """Workers that are jobs of a scheduler. Raises StageError where it is not installed."""
    if not scheduler.is_here():
        raise StageError(f"dask_cluster: {spec.kind}: its commands are not here; use dask_cluster: local")
    own = scheduler.own_job()
    interface = spec.interface or choose_interface(scheduler.node_address())

    def states(jobs: Sequence[Job]) -> Mapping[str, JobState]:
        return scheduler.states([str(job.job_id) for job in jobs])

    with open_cluster(spec, place, job_class, job_options(own), interface, states, scheduler.advise) as workers:
        yield workers


def inherit(spec: QueuedSpec, place: Place, own: OwnJob | None, directives: Sequence[str]) -> dict[str, Any]:
    """Queue, account and wall time of the job that asks, unless set; a user's directives come after ours."""
    return {
        "queue": spec.partition or (own.queue if own else "") or None,
        "account": spec.account or (own.account if own else "") or None,
        "walltime": wall_time(spec, place),
        "job_extra_directives": [*directives, *(word.strip() for word in spec.extra.split(";") if word.strip())],
    }


def worker_options(spec: DistributedSpec, place: Place) -> dict[str, Any]:
    """What dask-jobqueue is told of every worker, wherever it runs: one process of one thread."""
    return {
        "cores": 1,
        "processes": 1,
        "memory": f"{spec.worker_memory_mib}MiB",
        "log_directory": str(place.logs),
        "death_timeout": DEATH_TIMEOUT_S,
        "job_name": place.name,
        "job_script_prologue": prologue(),
        # dask-jobqueue's own default of half an hour is nobody's wish.
        "job_directives_skip": [] if runtime_s(spec, place) else ["#SBATCH -t ", "walltime="],
        "worker_extra_args": ["--dashboard-address", "127.0.0.1:0", *lifetime(spec, place)],
    }


def job_script(
    spec: DistributedSpec, place: Place, job_class: Any, job_options: Mapping[str, Any], interface: str
) -> str:
    """The script of a worker's job as text, with the names of the keys that it would be given."""
    from distributed import Security

    security = Security(
        require_encryption=True, tls_ca_file="ca_file.pem", tls_worker_cert="cert.pem", tls_worker_key="key.pem"
    )
    told = {"interface": interface, "protocol": "tls", "security": security, "config_name": job_class.config_name}
    job = job_class("tls://SCHEDULER", name="WORKER", **told, **worker_options(spec, place), **job_options)
    return str(job.job_script())


def close(cluster: Any) -> None:
    """End a cluster; dask-jobqueue asserts that no worker was ended by anybody else, which happens."""
    try:
        cluster.close()
    except AssertionError:
        logger.info("a worker had been ended from outside")
    except (OSError, RuntimeError, TimeoutError) as error:
        logger.warning("the workers' cluster did not close cleanly: %s", error)


def runtime_s(spec: DistributedSpec, place: Place) -> int | None:
    """Wall time of a worker's job: its own, or what is left to this job; None where nobody limits it."""
    if isinstance(spec, QueuedSpec) and spec.runtime_min is not None:
        return spec.runtime_min * 60
    if place.stop.ends_at is None:
        return None
    return max(MIN_RUNTIME_S, int(place.stop.ends_at - time.time()))


def lifetime(spec: DistributedSpec, place: Place) -> list[str]:
    """Let a worker hand its data over and leave before its scheduler ends it; it is replaced then."""
    seconds = runtime_s(spec, place)
    if seconds is None:
        return []
    # So that not all of them leave at once, each draws its time from a range.
    stagger_s = seconds // 20
    life_s = seconds - min(LIFETIME_MARGIN_S, seconds // 4) - stagger_s
    return ["--lifetime", f"{life_s}s", "--lifetime-stagger", f"{stagger_s}s"]


def wall_time(spec: DistributedSpec, place: Place) -> str | None:
    """The wall time as HH:MM:SS, rounded up to whole minutes."""
    seconds = runtime_s(spec, place)
    if seconds is None:
        return None
    minutes = -(-seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def prologue() -> list[str]:
    """What a worker's job sets before the worker starts."""
    threads = [f"export {variable}=1" for variable in THREAD_VARIABLES]
    allocator = [f"export {variable}={value}" for variable, value in ALLOCATOR.items()]
    return [*threads, *allocator, "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'"]


def clean_environment() -> dict[str, str]:
    """The environment without what its own job and step were told about themselves."""
    ours = ("SLURM_", "SBATCH_", "SRUN_", "SLURMD_", "PBS_", "PMI")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours) or name == "SLURM_CONF"}


def say_dashboard(scheduler: Any) -> None:
    """How to look at Dask's dashboard from another machine."""
    port = scheduler.http_server.port if scheduler.http_server else None
    if port:
        host = socket.gethostname()
        logger.info("dashboard: ssh -N -L 8787:127.0.0.1:%d %s, then http://127.0.0.1:8787/status", port, host)
