"""SLURM: what its clients print, and what that means."""

from __future__ import annotations

import getpass
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from signal import SIGKILL

from headrace.errors import StageError
from headrace.schedulers.base import Cause, JobState, OwnJob, Phase, Scheduler, Survey, ask
from headrace.schedulers.slurm.queues import list_notes, parse_queues
from headrace.schedulers.slurm.text import (
    expand_nodes,
    parse_config,
    parse_fields,
    parse_minutes,
    parse_signal,
    parse_time,
    split_lines,
)

IDS_PER_CALL = 500
"""So that a command line never gets too long."""
SACCT_PAUSE_S = 600.0
"""After a failure: without a database behind it, sacct does not say so but hangs."""
OWN_JOB_TIMEOUT_S = 10.0
"""Every job asks for itself when it starts, and can do without the answer."""
OUT_OF_MEMORY = 125
"""What SLURM writes where a signal would stand when the kernel has told it."""
GONE = "Invalid job id specified"
SQUEUE_FORM = "--format=%i|%A|%T|%r|%N"
SQUEUE_CODES = "--Format=JobID:30,exit_code:30,DerivedEC:30"
SACCT_FORM = "--format=JobID,JobIDRaw,State,Reason,NodeList,ExitCode,DerivedExitCode"

PHASES: Mapping[str, tuple[Phase, Cause | None]] = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED", "SPECIAL_EXIT"),
        ("pending", None),
    ),
    "RESV_DEL_HOLD": ("pending", None),
    **dict.fromkeys(("RUNNING", "COMPLETING", "STAGE_OUT", "RESIZING", "SIGNALING", "STOPPED"), ("running", None)),
    "COMPLETED": ("done", None),
    "OUT_OF_MEMORY": ("failed", "memory"),
    "TIMEOUT": ("failed", "time limit"),
    "DEADLINE": ("failed", "time limit"),
    "NODE_FAIL": ("failed", "node failure"),
    "BOOT_FAIL": ("failed", "node failure"),
    "LAUNCH_FAILED": ("failed", "node failure"),
    "PREEMPTED": ("failed", "preemption"),
    "CANCELLED": ("failed", "cancelled"),
    "REVOKED": ("failed", "cancelled"),
    "FAILED": ("failed", "code"),
}

PROFILE = "workflow/profiles/slurm/config.yaml"
PARTITION = f"`slurm_partition` (of Dask workers: `dask_options: partition=...`) in {PROFILE}"
ACCOUNT = f"`slurm_account` (of Dask workers: `dask_options: account=...`) in {PROFILE}"
LESS = f"lower `mem_mb`, `threads`, `gpu` (of Dask workers: `dask_worker_mem_mb`, `dask_workers`) in {PROFILE}"
SAYS_LIMIT = "your account or QOS allows"
ADVICE: Mapping[str, str] = {
    r"PartitionTimeLimit": f"it asks for more time than its partition allows: lower `runtime` or change {PARTITION}",
    r"PartitionNodeLimit|(Assoc|QOS)MaxNodePerJob\w*": f"it wants too many nodes: lower `nodes` or change {PARTITION}",
    r"(Assoc|QOS)MaxWall\w*": f"it asks for more time than {SAYS_LIMIT}: lower `runtime` in {PROFILE}",
    r"(Assoc|QOS)Grp\w*(?<!Run)Minutes\w*|(Association|QOS)TimeLimit": (
        f"the computing time that {SAYS_LIMIT} is used up: change {ACCOUNT}"
    ),
    r"(Assoc|QOS)Max\w*MinutesPerJob\w*": f"it asks for more than {SAYS_LIMIT} one job: lower `runtime`, or {LESS}",
    r"(Assoc|QOS)Max\w+Per(Job|Node)\w*|MaxMemPerLimit": f"it asks for more than {SAYS_LIMIT} one job: {LESS}",
    r"QOSMin\w*": f"it asks for less than its QOS wants: raise `mem_mb`, `threads` or `gpu` in {PROFILE}",
    r"InvalidAccount|AccountNotAllowed|Job'saccount.*": (
        f"its account may not be used there: change {ACCOUNT}, or another partition"
    ),
    r"InvalidQOS|QOSNotAllowed|QOSUsageThreshold|Job'sQOS.*": (
        f"its QOS may not be used there: change `qos` (of Dask workers: `dask_options: extra=--qos=...`) in {PROFILE}"
    ),
    r"BadConstraints": f"no node has what it asks for: {LESS}, or change {PARTITION}",
    r"JobHeldUser": "it is held: `scontrol release JOB` lets it go",
    r"JobHeldAdmin": "an administrator holds it: ask the site's support",
    r"launchfailed\w*|jobrequeued\w*|JobHoldMaxRequeue": (
        "its start failed on a node and SLURM holds it: `scontrol release JOB` tries again; ask the site's support if "
        "that fails too"
    ),
    r"DependencyNeverSatisfied": "it waits for a job that has failed: `scancel JOB`",
    r"Reservation(Deleted|Invalid)": f"its reservation is gone: change `slurm_extra` in {PROFILE}",
    r"Partition(Down|Inactive)": f"its partition starts no jobs now: change {PARTITION}",
}
"""What to change, by the reason, written without spaces and underscores: each client writes it in its own way.

Only what waiting does not cure. Limits on all jobs of a user or a group, licences and nodes that are away are not
here: other jobs end, nodes come back.
"""


class Slurm(Scheduler):
    """SLURM, through its clients."""

    name = "slurm"
    clients = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")

    def __init__(self) -> None:
        self._sacct_again_at = 0.0

    def survey(self) -> Survey:
        """Partitions, limits and accounts."""
        config = parse_config(ask(["scontrol", "show", "config"]))
        nodes = ask(["sinfo", "--noheader", "--Node", "--format=%R|%N|%c|%m|%G|%T"])
        partitions = ask(["scontrol", "show", "partition", "--oneliner"])
        has_accounting = _keeps_accounts(config) and self._sacct(["--starttime=now"]) is not None
        return Survey(
            scheduler=self.name,
            version=config.get("SLURM_VERSION", ""),
            queues=parse_queues(partitions, nodes, config.get("PreemptType", "")),
            accounts=_own_accounts() if has_accounting else (),
            has_accounting=has_accounting,
            notes=tuple(list_notes(config, partitions, nodes, has_accounting)),
        )

    def states(self, jobs: Sequence[str]) -> dict[str, JobState]:
        """By squeue while the controller remembers a job, then by sacct where there is accounting."""
        found: dict[str, JobState] = {}
        for start in range(0, len(jobs), IDS_PER_CALL):
            some = jobs[start : start + IDS_PER_CALL]
            try:
                found.update(_add_codes(parse_states(_squeue(SQUEUE_FORM, some))))
                if (gone := [job for job in some if job not in found]) and _keeps_accounts(_config()):
                    found.update(parse_states(self._sacct([f"--jobs={','.join(gone)}"]) or ""))
            except StageError:
                break
        return {job: found.get(job, JobState("unknown")) for job in jobs}

    def cancel(self, jobs: Sequence[str]) -> None:
        """One call for many; what scancel says of jobs that have ended is no failure."""
        for start in range(0, len(jobs), IDS_PER_CALL):
            try:
                ask(["scancel", *jobs[start : start + IDS_PER_CALL]])
            except StageError as error:
                if GONE not in str(error) and "already completing" not in str(error):
                    raise

    def own_job(self) -> OwnJob | None:
        """From the environment, completed by the controller: Snakemake leaves little more than the id to its jobs."""
        job = os.environ.get("SLURM_JOB_ID") or os.environ.get("SLURM_JOBID")
        return read_own_job(job, os.environ, _describe(job)) if job else None

    def node_address(self) -> str:
        """NodeAddr of the node that this process runs on."""
        name = os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]
        try:
            return parse_fields(ask(["scontrol", "show", "node", name, "--oneliner"], OWN_JOB_TIMEOUT_S)).get(
                "NodeAddr", ""
            )
        except (StageError, OSError):
            return ""

    def node_command(self, node: str, command: Sequence[str]) -> list[str]:
        """By a step that shares all that the job has on the node."""
        options = ["--overlap", "--nodes=1", "--ntasks=1", "--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=1"]
        return ["srun", *options, f"--nodelist={node}", *command]

    def advise(self, state: JobState) -> str:
        """Only for reasons that waiting does not cure."""
        if state.phase != "pending":
            return ""
        # What follows a comma are names.
        word = re.sub(r"[\s_()]", "", state.reason.partition(",")[0])
        return next((advice for reason, advice in ADVICE.items() if re.fullmatch(reason, word, re.IGNORECASE)), "")

    def _sacct(self, options: Sequence[str]) -> str | None:
        """What sacct prints, as `parse_states` reads it; None when it does not answer."""
        if time.monotonic() < self._sacct_again_at:
            return None
        try:
            return ask(["sacct", "--noheader", "--allocations", "--parsable2", SACCT_FORM, *options])
        except StageError:
            self._sacct_again_at = time.monotonic() + SACCT_PAUSE_S
            return None


def _squeue(form: str, jobs: Sequence[str]) -> str:
    """Its lines for these jobs; those that it does not know are missing."""
    command = ["squeue", "--noheader", "--all", "--states=all", form]
    try:
        return ask([*command, f"--jobs={','.join(jobs)}"])
    except StageError as error:
        if GONE not in str(error):
            raise
        # One id that has gone takes the answer for all others away, in some versions: then ask for all of the user's.
        return ask([*command, f"--user={getpass.getuser()}"]) if len(jobs) > 1 else ""


def _add_codes(found: dict[str, JobState]) -> dict[str, JobState]:
    """The same, with the exit codes of what failed looked at."""
    if failed := [job for job, state in found.items() if state.cause == "code"]:
        for line in _squeue(SQUEUE_CODES, failed).splitlines():
            job, *codes = line.split()
            if job in found:
                found[job] = judge(found[job], codes)
    return found


@cache
def _config() -> Mapping[str, str]:
    return parse_config(ask(["scontrol", "show", "config"]))


def _keeps_accounts(config: Mapping[str, str]) -> bool:
    return config.get("AccountingStorageType", "").endswith("/slurmdbd")


@cache
def _describe(job: str) -> Mapping[str, str]:
    """What the controller says of this process's job; asked once, and empty when it does not answer."""
    try:
        return parse_fields(ask(["scontrol", "show", "job", job, "--oneliner"], OWN_JOB_TIMEOUT_S))
    except (StageError, OSError):
        return {}


def _own_accounts() -> tuple[str, ...]:
    try:
        user = f"user={getpass.getuser()}"
        text = ask(["sacctmgr", "--noheader", "--parsable2", "list", "associations", user, "format=account"])
    except StageError:
        return ()
    return tuple(sorted({line.strip() for line in text.splitlines() if line.strip()}))


def read_own_job(job: str, environment: Mapping[str, str], described: Mapping[str, str]) -> OwnJob:
    """The job that a process runs in: what the controller says, and what the environment says where that is silent."""

    def known(field: str, variable: str) -> str:
        value = described.get(field, "")
        return value if value not in ("", "(null)", "None") else environment.get(variable, "")

    ends_at = parse_time(described.get("EndTime", "")) if parse_minutes(described.get("TimeLimit", "")) else None
    if ends_at is None and environment.get("SLURM_JOB_END_TIME", "").isdigit():
        ends_at = float(environment["SLURM_JOB_END_TIME"])
    restarts = known("Restarts", "SLURM_RESTART_COUNT")
    return OwnJob(
        id=job,
        queue=known("Partition", "SLURM_JOB_PARTITION"),
        account=known("Account", "SLURM_JOB_ACCOUNT"),
        nodes=expand_nodes(known("NodeList", "SLURM_JOB_NODELIST") or environment.get("SLURM_NODELIST", "")),
        ends_at=ends_at,
        restarts=int(restarts) if restarts.isdigit() else 0,
        details=described,
    )


def parse_states(text: str) -> dict[str, JobState]:
    """Lines of `id|raw id|state|reason|nodes` and perhaps exit codes, under both ids: tasks of an array have two."""
    found: dict[str, JobState] = {}
    for job, raw, word, reason, nodes, *codes in split_lines(text, 5):
        # "CANCELLED by 1000" and, cut to a column's width, "CANCELLED+".
        phase, cause = PHASES.get(word.partition(" ")[0].rstrip("+"), ("unknown", None))
        reason, nodes = ("" if text in ("None", "None assigned") else text for text in (reason, nodes))
        state = judge(JobState(phase, cause, reason, nodes), codes)
        found |= {job: state, raw: state}
    return found


def judge(state: JobState, codes: Iterable[str]) -> JobState:
    """Tell from the exit codes of a job and its steps whether memory was what it lacked.

    Snakemake runs its jobs by srun: one that runs out of memory ends as FAILED, and only its steps tell why. Where
    SLURM did not notice, the kernel's SIGKILL is all there is to see; jobs that a person kills are CANCELLED.
    """
    signals = {parse_signal(code) for code in codes}
    if state.cause != "code" or not signals & {OUT_OF_MEMORY, SIGKILL}:
        return state
    reason = "OutOfMemory" if OUT_OF_MEMORY in signals else "killed by SIGKILL, as the kernel does when memory is short"
    return replace(state, cause="memory", reason=reason)


SCHEDULER = Slurm()
