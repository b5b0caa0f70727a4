"""qsub, qstatus: what Snakemake calls for each job on PBS; and headrace-qdel, a program of its own."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.commands.base import Add
from headrace.errors import InputError, StageError

FULL_WAIT_S = 600.0
"""So long a queue that takes no more jobs is asked again; then the job fails, and its retries go on."""
FULL_PAUSE_S = 15.0
AWAY_TRIES = 4
AWAY_PAUSE_S = 5.0


def register(add: Add) -> None:
    """Their options; what qsub is not told, it reads in the job script that Snakemake wrote."""
    qsub = add("qsub", submit, "submit one of Snakemake's job scripts to PBS, as the profile pbs calls it")
    qsub.add_argument("--dialect", choices=("auto", "openpbs", "torque"), default="auto", help="how PBS is asked")
    for option, what in (
        ("--name", "name of the job"),
        ("--queue", "queue; without one PBS chooses"),
        ("--account", "who pays"),
        ("--chunk", "more of what a node must have, as gpu_type=a100"),
        ("--extra", "more options of qsub, as one word: --extra='-P project'"),
        ("--threads", "CPUs on each node"),
        ("--memory-mib", "memory of each node in MiB"),
        ("--runtime-min", "wall time in minutes"),
        ("--gpus", "GPUs on each node"),
        ("--nodes", "number of nodes"),
    ):
        qsub.add_argument(option, help=what)
    qsub.add_argument("script", type=Path, metavar="SCRIPT")
    qstatus = add("qstatus", status, "print running, success or failed for a job on PBS, as Snakemake asks")
    qstatus.add_argument("--grace-s", type=float, default=60.0, help="for a job that PBS does not know", metavar="S")
    qstatus.add_argument("job", metavar="JOB")


def submit(options: argparse.Namespace) -> int:
    """Submit a job; print its id and nothing else."""
    from headrace.schedulers.pbs import jobs as pbs_jobs
    from headrace.schedulers.pbs.scheduler import detect_dialect
    from headrace.schedulers.pbs.scripts import submit_arguments, wrap_script

    try:
        script = options.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{options.script}: cannot be read: {error}") from None
    properties = read_properties(script)
    request = read_request(vars(options), properties)
    rule = re.sub(r"[^\w-]+", "-", str(properties.get("rule") or request.name))
    log = pbs_jobs.LOGS / rule / f"{properties.get('jobid', request.name)}.log"
    dialect = detect_dialect() if options.dialect == "auto" else options.dialect
    exit_file = pbs_jobs.new_exit_file(request.name)
    arguments = submit_arguments(dialect, request, str(log))
    log.parent.mkdir(parents=True, exist_ok=True)
    # Beside the exit file, as a relative path: SLURM's wrappers paste it into a shell's line.
    wrapped = pbs_jobs.FOLDER / exit_file.with_suffix(".sh").name
    wrapped.write_text(wrap_script(script, str(exit_file)), encoding="utf-8")
    output = properties.get("output") or ()
    _end_orphans(pbs_jobs.find_orphans(output))
    try:
        job = hand_in(["qsub", *arguments, str(wrapped)], request.name)
    finally:
        wrapped.unlink()
    pbs_jobs.note_submission(job, exit_file, output)
    print(job)
    return 0


def _end_orphans(jobs: list[str]) -> None:
    """Two jobs that make the same would be in each other's way, and one of them for nothing."""
    from headrace.schedulers.pbs.jobs import forget
    from headrace.schedulers.pbs.scheduler import SCHEDULER

    for job in jobs:
        try:
            SCHEDULER.cancel([job])
            words = "ended"
        except StageError as error:
            words = f"could not end ({error})"
        forget(job)
        print(f"headrace qsub: {words} job {job}, left by a workflow that was killed", file=sys.stderr)


def hand_in(command: list[str], name: str) -> str:
    """Call qsub until it takes the job; returns the job's id. Raises StageError when it refuses."""
    from headrace.schedulers.base import call
    from headrace.schedulers.pbs.text import parse_job_id
    from headrace.schedulers.pbs.words import AWAY, FULL, explain_refusal, refusal_words

    begin, tries = time.monotonic(), 0
    while True:
        done = call(command, timeout_s=60)
        job = parse_job_id(done.stdout)
        if done.returncode == 0 and job:
            return job
        tries += 1
        words = refusal_words(done.stdout, done.stderr)
        if FULL.search(words) and time.monotonic() - begin < FULL_WAIT_S:
            if tries == 1:
                print(f"headrace qsub: {name}: {words}: waiting for a place; `jobs` is too high", file=sys.stderr)
            time.sleep(FULL_PAUSE_S)
        elif AWAY.search(words) and tries < AWAY_TRIES:
            time.sleep(AWAY_PAUSE_S)
        else:
            advice = explain_refusal(words)
            raise StageError(f"PBS refuses {name}: {words}" + (f"; {advice}" if advice else ""))


def read_properties(script: str) -> dict[str, Any]:
    """What Snakemake writes about the job into its script; empty for any other script."""
    found = re.search(r"^# properties = (\{.*\})$", script, re.MULTILINE)
    try:
        return dict(json.loads(found[1])) if found else {}
    except json.JSONDecodeError:
        return {}


def read_request(options: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    """What the job asks for: what the command says, else what the rule and the profile say. Raises InputError."""
    from headrace.schedulers.pbs.scripts import Request, safe_name

    resources = properties.get("resources", {})

    def text(option: str, resource: str) -> str:
        return str(options[option] if options[option] is not None else resources.get(resource) or "").strip()

    def number(option: str, resource: str, value: Any, least: int) -> int:
        given = options[option] if options[option] is not None else value
        if not re.fullmatch(r"\d+(\.0)?", str(given)) or int(float(given)) < least:
            raise InputError(f"{resource}: {given!r}: must be a whole number, {least} or more")
        return int(float(given))

    rule = properties.get("rule") or properties.get("groupid") or "headrace"
    try:
        extra = tuple(shlex.split(text("extra", "pbs_options")))
    except ValueError as error:
        raise InputError(f"pbs_options: {text('extra', 'pbs_options')}: {error}") from None
    return Request(
        name=safe_name(options["name"] or f"{rule}.{properties.get('jobid', 0)}"),
        cpus=number("threads", "threads", properties.get("threads", 1), 1),
        memory_mib=number("memory_mib", "mem_mb", resources.get("mem_mb", Request.memory_mib), 1),
        runtime_min=number("runtime_min", "runtime", resources.get("runtime", Request.runtime_min), 1),
        gpus=number("gpus", "gpu", resources.get("gpu", 0), 0),
        nodes=number("nodes", "nodes", resources.get("nodes", 1), 1),
        queue=text("queue", "pbs_queue"),
        account=text("account", "pbs_account"),
        chunk=text("chunk", "pbs_chunk"),
        extra=extra,
    )


def status(options: argparse.Namespace) -> int:
    """Print where a job stands; what a person should know goes to standard error."""
    from headrace.schedulers.pbs.jobs import check
    from headrace.schedulers.pbs.scheduler import SCHEDULER, ask_states

    try:
        verdict, words = check(options.job, ask_states, SCHEDULER.advise, options.grace_s)
    except (OSError, StageError, KeyboardInterrupt) as error:
        # What goes wrong here says nothing of the job: a full disk, or a Ctrl-C that ends the workflow anyway.
        verdict, words = "running", f"job {options.job}: {error}" if str(error) else ""
    if words:
        print(f"headrace qstatus: {words}", file=sys.stderr)
    print(verdict)
    return 0


def cancel() -> int:
    """headrace-qdel JOB...: end jobs.

    Snakemake gives it 2 s and then kills it: qdel runs in a session of its own, and goes on.
    """
    from headrace.schedulers.pbs.words import deletion_trouble

    jobs = sys.argv[1:]
    if not jobs or jobs[0].startswith("-"):
        print("usage: headrace-qdel JOB...", file=sys.stderr)
        return 2
    # A file and no pipe: qdel must be able to speak when nobody listens any more.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        command = ["qdel", *jobs]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            print(f"headrace-qdel: qdel: {error.strerror}", file=sys.stderr)
            return 1
        said.seek(0)
        trouble = deletion_trouble(said.read()) if done.returncode else ""
    if trouble:
        print(f"headrace-qdel: {trouble}", file=sys.stderr)
    return 1 if trouble else 0
