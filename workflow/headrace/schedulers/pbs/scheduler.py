"""PBS: OpenPBS, PBS Pro and Torque; what their clients print, and what that means.

SLURM's wrappers of the same names are taken for Torque: they speak its language, and tell less.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from headrace.errors import StageError
from headrace.schedulers.base import Cause, JobState, OwnJob, Scheduler, Survey, ask, call
from headrace.schedulers.pbs.queues import list_notes, parse_queues
from headrace.schedulers.pbs.scripts import resource_spec, spawn_command
from headrace.schedulers.pbs.text import (
    Record,
    is_true,
    job_number,
    list_hosts,
    parse_records,
    parse_seconds,
    parse_size_mib,
    parse_time,
    unique,
    whole_number,
)
from headrace.schedulers.pbs.words import AWAY, deletion_trouble, explain_waiting

__all__ = ["SCHEDULER", "Pbs", "ask_states", "detect_dialect", "resource_spec", "spawn_command"]

IDS_PER_CALL = 200
"""So that a command line never gets too long."""
UNKNOWN_JOB, FINISHED_JOB, NO_HISTORY = 153, 35, 36
"""Exit codes of qstat: the lowest eight bits of the server's errors 15001, 15139 and 15140."""
IS_FINISHED = "has finished"

WAITING = "QHWTM"
RUNNING = "REBSU"
ENDED = "FCX"
NOT_STARTED_CODES = frozenset((-1, -2, -13, -17, -19, -21, -22, -23, -30))
KILLED = (256 + signal.SIGKILL, 128 + signal.SIGKILL)
TOLD_TO_END = (256 + signal.SIGTERM, 128 + signal.SIGTERM)
AGAIN_CODES = frozenset((-3, -4, -5, -6, -7, -14, -15, -16, -18, -20, -32))
"""With which PBS gives a job back, mostly because a node failed."""


class Pbs(Scheduler):
    """PBS, through its clients."""

    name = "pbs"
    clients = ("qsub", "qstat", "qdel")

    def survey(self) -> Survey:
        """Queues, limits and whether ended jobs are remembered."""
        dialect, version = _identify()
        queues = ask(["qstat", "-Q", "-f"])
        nodes = _ask_or_nothing("pbsnodes", "-a")
        server = next(iter(parse_records(_ask_or_nothing("qstat", "-B", "-f"), "Server").values()), {})
        default = server.get("default_queue", "")
        if not server and dialect == "openpbs":
            default = read_default_queue(_ask_or_nothing("qmgr", "-c", "print server"))
        return Survey(
            scheduler=self.name,
            version=f"{dialect} {version}".strip(),
            queues=parse_queues(queues, nodes, server, default),
            has_accounting=is_true(server.get("job_history_enable")),
            notes=tuple(list_notes(queues, nodes, server, dialect)),
        )

    def states(self, jobs: Sequence[str]) -> dict[str, JobState]:
        """By qstat, for ended jobs from its history where there is one."""
        try:
            return ask_states(jobs)
        except StageError:
            return {job: JobState("unknown") for job in jobs}

    def cancel(self, jobs: Sequence[str]) -> None:
        """One call for many."""
        for start in range(0, len(jobs), IDS_PER_CALL):
            done = call(["qdel", *jobs[start : start + IDS_PER_CALL]])
            if done.returncode and (words := deletion_trouble(done.stdout + done.stderr)):
                raise StageError(f"qdel: {words}")

    def own_job(self) -> OwnJob | None:
        """From the environment, completed by one call of qstat."""
        job = os.environ.get("PBS_JOBID")
        return read_own_job(job, os.environ, _describe(job)) if job else None

    def node_address(self) -> str:
        """Of the job's nodes the one whose name is this host's."""
        own = self.own_job()
        here = socket.gethostname().partition(".")[0]
        return next((node for node in (own.nodes if own else ()) if node.partition(".")[0] == here), "")

    def node_command(self, node: str, command: Sequence[str]) -> list[str]:
        """By PBS itself where its clients are there, else by ssh."""
        return spawn_command(node, command)

    def advise(self, state: JobState) -> str:
        """Only for reasons that waiting alone may not cure."""
        return explain_waiting(state.reason) if state.phase == "pending" else ""


@cache
def _identify() -> tuple[str, str]:
    """The dialect and the version. Raises StageError without qstat."""
    done = call(["qstat", "--version"])
    return read_version(done.stdout + done.stderr)


def detect_dialect() -> str:
    """`openpbs` or `torque`; asked once. Raises StageError without qstat."""
    return _identify()[0]


def read_version(text: str) -> tuple[str, str]:
    """Dialect and version by what `qstat --version` prints; SLURM's wrapper knows no such option."""
    if found := re.search(r"pbs_version\s*=\s*(\S+)", text):
        return "openpbs", found[1]
    found = re.search(r"^\s*version:\s*(\S+)", text, re.IGNORECASE | re.MULTILINE)
    return "torque", found[1] if found else ""


def read_default_queue(text: str) -> str:
    """The default queue in what `qmgr -c 'print server'` prints."""
    found = re.search(r"^set server default_queue\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def _ask_or_nothing(*command: str) -> str:
    try:
        return ask(command)
    except StageError:
        return ""


def ask_states(jobs: Sequence[str]) -> dict[str, JobState]:
    """Like `states`, but raises StageError when qstat does not answer: `unknown` is said of unknown jobs alone."""
    found: dict[str, JobState] = {}
    for start in range(0, len(jobs), IDS_PER_CALL):
        records = _ask_records(jobs[start : start + IDS_PER_CALL])
        found |= {number: read_state(record) for number, record in records.items()}
    return {job: found.get(job_number(job), JobState("unknown")) for job in jobs}


def _ask_records(jobs: Sequence[str], *, history: bool = False) -> dict[str, Record]:
    """The records of the jobs that qstat knows, by the jobs' numbers."""
    done = call(["qstat", *(["-x"] if history else []), "-f", *jobs])
    records: dict[str, Record] = {
        job_number(name): record for name, record in parse_records(done.stdout, "Job Id").items()
    }
    missing = [job for job in jobs if job_number(job) not in records]
    is_answer = done.returncode in (0, UNKNOWN_JOB, FINISHED_JOB, NO_HISTORY) and not AWAY.search(done.stderr)
    if missing and not is_answer:
        raise StageError(f"qstat: exit code {done.returncode}: {' '.join((done.stderr or done.stdout).split())}")
    # Never asked of Torque, where -x means XML: only OpenPBS says that a job has finished.
    if missing and not history and (done.returncode == FINISHED_JOB or IS_FINISHED in done.stderr):
        records |= _ask_records(missing, history=True)
    return records


def read_state(record: Record) -> JobState:
    """Where a job stands, by one record of `qstat -f`."""
    letter = record.get("job_state", "")
    comment = record.get("comment", "")
    node = ",".join(list_hosts(record.get("exec_host", "")))
    if letter and letter in WAITING:
        holds = record.get("Hold_Types", "n")
        return JobState("pending", None, f"held (Hold_Types: {holds}): {comment}" if letter == "H" else comment)
    # SLURM's wrapper says U of what it does not understand, and never names a server.
    if letter and letter in RUNNING and (letter != "U" or "server" in record):
        return JobState("running", None, f"suspended: {comment}" if letter in "SU" else "", node)
    if not letter or letter not in ENDED:
        return JobState("unknown", None, comment, node)
    code = whole_number(record.get("Exit_status", record.get("exit_status")))
    if code == 0:
        return JobState("done", None, comment, node)
    if code is None and "server" not in record:
        return JobState("unknown", None, "it has ended, and the scheduler does not say how", node)
    return JobState("failed", find_cause(record, code), "; ".join(filter(None, (_in_words(code), comment))), node)


def find_cause(record: Record, code: int | None) -> Cause:
    """Why a job failed, by its exit code, by what it used of what it may use, and by the comment."""
    comment = record.get("comment", "").lower()
    is_torque = record.get("job_state") == "C"
    used_s = parse_seconds(record.get("resources_used.walltime"))
    limit_s = parse_seconds(record.get("Resource_List.walltime"))
    used_mib = parse_size_mib(record.get("resources_used.mem"))
    limit_mib = parse_size_mib(record.get("Resource_List.mem"))
    if code in ((-11, -12) if is_torque else (-28, -29)) or re.search(r"(walltime|cput).*exceed", comment):
        return "time limit"
    if code in ((-10,) if is_torque else (-26, -27, -31)) or re.search(r"mem.*exceed|out of memory|\boom\b", comment):
        return "memory"
    if code is None:
        return "cancelled"
    if code < 0:
        return "node failure" if code in AGAIN_CODES | NOT_STARTED_CODES or is_torque else "unknown"
    if "preempt" in comment:
        return "preemption"
    if used_s and limit_s and used_s >= limit_s:
        return "time limit"
    # A job in a control group is killed at its limit, never above it.
    if used_mib and limit_mib and used_mib >= limit_mib * (0.98 if code in KILLED else 1.0001):
        return "memory"
    if code == 128 + signal.SIGKILL:
        # A program of the job was killed, and not the job: that is what a kernel does that is short of memory.
        return "memory"
    return "cancelled" if code in (*KILLED, *TOLD_TO_END) else "code"


def _in_words(code: int | None) -> str:
    if code is None:
        return ""
    signal_number = code - (256 if code > 256 else 128)
    return f"exit code {code}" + (f" (signal {signal_number})" if 0 < signal_number < 64 else "")


@cache
def _describe(job: str) -> Record:
    """What the server says of this process's job; asked once, and empty when it does not answer."""
    try:
        return _ask_records([job]).get(job_number(job), {})
    except (StageError, OSError):
        return {}


def read_own_job(job: str, environment: Mapping[str, str], record: Record) -> OwnJob:
    """The job that a process runs in: what the server says, and what the environment says where that is silent."""
    nodes: tuple[str, ...] = ()
    started: float | None = None
    if file := environment.get("PBS_NODEFILE"):
        with suppress(OSError):
            nodes = unique(Path(file).read_text(encoding="utf-8", errors="replace").splitlines())
            started = Path(file).stat().st_mtime
    limit_s = parse_seconds(record.get("Resource_List.walltime") or environment.get("PBS_WALLTIME"))
    # Without the server's word: PBS writes the file of nodes when it starts the job.
    started = parse_time(record.get("stime") or record.get("start_time")) or started
    runs = whole_number(record.get("run_count") or record.get("start_count"))
    return OwnJob(
        id=job,
        queue=record.get("queue") or environment.get("PBS_QUEUE", ""),
        account=record.get("Account_Name") or environment.get("PBS_ACCOUNT", ""),
        nodes=nodes or list_hosts(record.get("exec_host", "")),
        ends_at=started + limit_s if started and limit_s else None,
        restarts=max(0, (runs or 1) - 1),
        details=record,
    )


SCHEDULER = Pbs()
