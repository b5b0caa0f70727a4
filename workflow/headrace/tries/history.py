"""How each job was tried: what it asked for, what it used, how it ended; one small file a job.

A retry reads here what was short the last time, and leaves at once when the code was at fault. The report shows what
was asked for beside what was used.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.errors import StageError
from headrace.provenance.manifests import iso_time, write_json
from headrace.schedulers.base import Cause, OwnJob, Scheduler, load_scheduler
from headrace.tries.energy import EnergyMeter
from headrace.tries.gpu import GpuSampler
from headrace.tries.stopping import StoppedError

MAX_TRIES = 20
OWN_FAULT = ("code",)
"""Causes that another try cannot cure."""

Try = dict[str, Any]


def history_path(artifacts: Path, stage: str, job: str) -> Path:
    """Where the tries of a job are written down."""
    return artifacts / ".history" / stage / f"{job}.json"


def read_tries(path: Path) -> list[Try]:
    """The tries of a job, oldest first; none where nothing readable was written."""
    try:
        tries = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return []
    return [one for one in tries if isinstance(one, dict)] if isinstance(tries, list) else []


def settle(path: Path, owner: str) -> list[Try]:
    """The tries of one workflow; of one that ended without a word the scheduler is asked how.

    So is one that had done its work: that there is another try says that its job failed all the same, as when it was
    killed in the moment between.
    """
    tries = read_tries(path)
    for one in tries:
        if one["owner"] == owner and one["outcome"] != "failed" and one["scheduler"]:
            state = load_scheduler(one["scheduler"]).states([one["job"]]).get(one["job"])
            if state is not None and state.phase == "failed":
                # Whoever fails by an error of his own has said so; who could not was ended from outside.
                cause = "unknown" if state.cause == "code" else state.cause
                one |= {"outcome": "failed", "cause": cause, "message": f"ended by the scheduler: {state.reason}"}
    return [one for one in tries if one["owner"] == owner]


def num_silent(attempt: int, tries: list[Try]) -> int:
    """How many of the tries before this one ended before they could write down a word.

    A job that the scheduler put back into the queue was tried several times; one that is not tried again writes
    nothing.
    """
    if any(one["cause"] in OWN_FAULT for one in tries):
        return 0
    return max(0, attempt - 1 - len([one for one in tries if not one["restarts"]]))


def raised(base: int, resource_name: str, tries: list[Try], stage: str, silent: int = 0) -> int:
    """What to ask for after these tries: twice as much for each that was short of this very resource.

    A training that ran out of time goes on from its checkpoint and needs no longer job. Silent tries were killed while
    they started, far from any limit of time: they count as short of memory.
    """
    short: Cause = "memory" if resource_name == "mem_mb" else "time limit"
    if short == "time limit" and stage == "train":
        return base
    num_short = len([one for one in tries if one["cause"] == short])
    return base << (num_short + (silent if short == "memory" else 0))


@contextmanager
def one_try(
    path: Path, owner: str, requested: Mapping[str, Any], own_job: tuple[Scheduler, OwnJob] | None
) -> Iterator[Try]:
    """Write down that a job is being tried, and then how it ended. Raises StageError when trying again is no use."""
    earlier = settle(path, owner)
    # Without a workflow a person types the command, and knows why again.
    if owner and earlier and earlier[-1]["cause"] in OWN_FAULT:
        raise StageError(f"not tried again: it failed by an error of its own: {earlier[-1]['message']}")
    scheduler, job = own_job if own_job else (None, None)
    this: Try = {
        "owner": owner,
        "scheduler": scheduler.name if scheduler else "",
        "job": job.id if job else "",
        "restarts": job.restarts if job else 0,
        "queue": job.queue if job else "",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "requested": dict(requested),
        "start": iso_time(),
        "outcome": "",
        "cause": None,
        "message": "",
    }
    start, cpu_before_s, gpus, meter = time.time(), cpu_seconds(), GpuSampler(), EnergyMeter()
    others = read_tries(path)[-MAX_TRIES + 1 :]
    # A try that is over without a word is shown with what the scheduler says of it.
    known = {(one["start"], one["host"], one["pid"]): one for one in earlier}
    tries = [known.get((one["start"], one["host"], one["pid"]), one) for one in others]
    write_json(path, [*tries, this], durable=False)
    try:
        with gpus, meter:
            yield this
        this["outcome"] = "done"
    except BaseException as error:
        this |= {"outcome": "failed", "cause": cause_of(error), "message": " ".join(str(error).split())[:500]}
        raise
    finally:
        workers = this.pop("workers", {})
        usage = used(time.time() - start, cpu_seconds() - cpu_before_s, gpus, workers)
        usage["cpu_j"] = None if meter.joules is None else round(meter.joules, 1)
        this |= {"end": iso_time(), "used": usage}
        write_json(path, [*tries, this], durable=False)


def cause_of(error: BaseException) -> Cause:
    """Why a stage ended early, from its own error and from what that was raised for."""
    if isinstance(error, StoppedError):
        return error.cause
    if isinstance(error, KeyboardInterrupt):
        return "cancelled"
    words = str(error).lower()
    if isinstance(error.__cause__, MemoryError) or "memoryerror" in words or "out of memory" in words:
        return "memory"
    # A file system that stumbles may stand again for the next try.
    return "unknown" if isinstance(error.__cause__, OSError) else "code"


def cpu_seconds() -> float:
    """What this process and the children that have ended took of the CPUs since it started."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def used(seconds: float, cpu_s: float, gpus: GpuSampler, workers: Mapping[str, Any]) -> dict[str, Any]:
    """What a try took, the peak of its memory, and what its GPUs and its workers elsewhere said of themselves."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Of the children only the largest is known.
    peak_memory_mib = max(own.ru_maxrss, children.ru_maxrss) / 1024
    usage: dict[str, Any] = {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "peak_memory_mib": round(peak_memory_mib, 1),
        "gpu_percent": gpus.percent,
        "gpu_watts": gpus.watts,
    }
    if workers:
        usage["workers"] = dict(workers)
    return usage
