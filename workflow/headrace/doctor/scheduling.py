"""The batch schedulers of this place: whether they answer, what they offer, and the network to their nodes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headrace.doctor.findings import Finding, ok, problem, warning
from headrace.errors import InputError, StageError
from headrace.provision.network import addresses, choose_interface
from headrace.requests.profiles import find_profile, read_profile
from headrace.schedulers.base import Queue, Scheduler, Survey, find_own_job

SLURM_CONFIG = Path("/etc/slurm/slurm.conf")
WRAPPERS = "SLURM's wrappers"
LOGIN_NODE = "on a cluster: run this on a login node, or load the site's module; elsewhere there is nothing to do"


def check_scheduler(scheduler: Scheduler, surveys: dict[str, Survey]) -> Iterator[Finding]:
    """Commands, controller, accounting and queues of one scheduler; what it says of itself goes into `surveys`."""
    here = [client for client in scheduler.clients if shutil.which(client)]
    missing = [client for client in scheduler.clients if client not in here]
    name = scheduler.name
    if not here:
        return
    if missing:
        yield warning(name, f"{', '.join(here)} here, {', '.join(missing)} missing", LOGIN_NODE)
        return
    start = time.monotonic()
    try:
        survey = scheduler.survey()
    except StageError as error:
        yield _unanswered(name, str(error))
        return
    if "slurm" in surveys and any(WRAPPERS in note for note in survey.notes):
        yield ok(name, "qsub, qstat and qdel are SLURM's wrappers: use SLURM itself")
        return
    surveys[name] = survey
    yield ok(name, f"{survey.version or 'of unknown version'}, answered in {time.monotonic() - start:.1f} s")
    yield from _check_accounting(survey)
    for note in survey.notes:
        yield warning(name, note)
    yield from _check_queues(survey)
    yield from _check_profile(name)


def _unanswered(name: str, said: str) -> Finding:
    """A client without a configuration is a leftover; a configuration without a controller is trouble."""
    configured = os.environ.get("SLURM_CONF") or SLURM_CONFIG.exists() if name == "slurm" else True
    if not configured:
        return warning(name, f"its commands are here, and no cluster: {said}", LOGIN_NODE)
    if name != "slurm" and shutil.which("sbatch"):
        return warning(name, f"its commands are here, and may be {WRAPPERS}: {said}", "see what is said of SLURM")
    slow = "; until then every start of Snakemake takes 11 s, for its plugin waits too" if name == "slurm" else ""
    return problem(
        name,
        f"its commands are here and do not get an answer: {said}",
        f"try again, and else ask the site's support{slow}; where there is no cluster, uninstall the commands",
    )


def _check_accounting(survey: Survey) -> Iterator[Finding]:
    """Whether ended jobs are remembered, and who pays."""
    if survey.has_accounting:
        yield ok("accounting", "there is accounting: how jobs ended is known for long")
    elif survey.scheduler == "slurm":
        yield ok(
            "accounting", "none: `slurm-status-command: squeue` in the profile, as `headrace profile slurm` writes"
        )
    if survey.accounts:
        which = "slurm_account" if survey.scheduler == "slurm" else f"{survey.scheduler}_account"
        yield ok("accounts", f"{', '.join(survey.accounts)}: choose by `{which}` in the profile")


def _check_queues(survey: Survey) -> Iterator[Finding]:
    """A line for each queue, and whether jobs may go somewhere without naming one."""
    word = "partition" if survey.scheduler == "slurm" else "queue"
    for queue in survey.queues:
        yield ok(word, describe_queue(queue))
    if not any(queue.is_up for queue in survey.queues):
        yield problem(survey.scheduler, f"no {word} takes jobs now", "wait, or ask the site's support")
    elif survey.default_queue is None:
        yield warning(
            survey.scheduler,
            f"there is no default {word}",
            f"name one: `headrace profile {survey.scheduler} --partition NAME`",
        )


def describe_queue(queue: Queue) -> str:
    """What a queue offers, in one line."""
    size = [f"{queue.num_nodes} nodes"]
    if queue.cpus_per_node:
        size.append(f"{queue.cpus_per_node} cores")
    if queue.memory_mib_per_node:
        size.append(f"{queue.memory_mib_per_node / 1024:.0f} GiB")
    if queue.gpus_per_node:
        size.append(f"{queue.gpus_per_node} GPUs {'/'.join(queue.gpu_types)}".rstrip())
    longest = f"up to {describe_minutes(queue.max_runtime_min)}" if queue.max_runtime_min else "any time"
    words = [f"{queue.name}{' (default)' if queue.is_default else ''}: {', '.join(size)}", longest]
    words += [f"up to {queue.max_nodes_per_job} nodes a job"] if queue.max_nodes_per_job else []
    words += [f"more important jobs {queue.preemption} yours"] if queue.preemption else []
    words += [] if queue.is_up else ["takes no jobs now"]
    return "; ".join(words)


def describe_minutes(minutes: int) -> str:
    """As a person says it."""
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:g} h" if minutes < 48 * 60 else f"{minutes / 1440:.3g} days"


def _check_profile(name: str) -> Iterator[Finding]:
    try:
        yield ok("profile", f"`--profile {name}` is {find_profile(name)}")
    except InputError:
        yield warning("profile", f"`--profile {name}` is not written yet", f"`headrace profile {name}` writes it")


def destination(name: str) -> tuple[str, str]:
    """The partition and the account that the scheduler's profile names; empty where it names none."""
    try:
        defaults = read_profile(name).defaults
    except InputError:
        return "", ""
    queue = defaults.get("slurm_partition" if name == "slurm" else f"{name}_queue", "")
    return str(queue).partition(",")[0], str(defaults.get(f"{name}_account", ""))


def check_none(schedulers: Sequence[Scheduler]) -> Iterator[Finding]:
    """Say that there is no scheduler, where there is none."""
    if not any(shutil.which(client) for scheduler in schedulers for client in scheduler.clients):
        names = ", ".join(scheduler.name for scheduler in schedulers)
        yield ok("scheduler", f"none of {names} here: fine for a laptop; on a cluster, run this on a login node")


def check_own_job() -> Iterator[Finding]:
    """The job that this runs in, where it does."""
    if found := find_own_job():
        scheduler, job = found
        limit_s = job.ends_at - time.time() if job.ends_at else None
        left = f", ends in {limit_s / 60:.0f} min" if limit_s is not None else ""
        yield ok("job", f"inside {scheduler.name} job {job.id} on {', '.join(job.nodes) or 'an unknown node'}{left}")


def check_network(node_address: str, choose: Callable[[str], str] = choose_interface) -> Iterator[Finding]:
    """The interface over which Dask's scheduler talks to workers on other nodes; on a node it may be another one."""
    try:
        interface = choose(node_address)
    except StageError as error:
        yield warning(
            "network", str(error), "needed only for Dask workers on other nodes (`dask_cluster: slurm` or `pbs`)"
        )
        return
    known = ", ".join(addresses().get(interface, []))
    if known.startswith("127."):
        said = f"from here, Dask would talk over {interface} ({known}), which no other machine reaches"
        yield warning(
            "network", said, "name another: `dask_options: interface=NAME` in the profile (`ip address` lists them)"
        )
    else:
        yield ok("network", f"from here, Dask talks over {interface} ({known})")
