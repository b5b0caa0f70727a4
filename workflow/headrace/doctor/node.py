"""What the trial job does on its node: `python -m headrace.doctor.node FOLDER SCHEDULER [PARTITION [ACCOUNT]]`."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Any

from headrace.errors import InputError, StageError
from headrace.provenance.manifests import write_json
from headrace.provision.network import addresses, choose_interface
from headrace.schedulers.base import call, load_scheduler
from headrace.schedulers.pbs.scripts import Request, submit_arguments

NAME = "headrace-doctor"
MEMORY_MIB = 300
RUNTIME_MIN = 2
WORD, ANSWER = "word.txt", "answer.json"
"""What the submitting side writes, and what the node does."""


def submit(scheduler: str, script: Path, partition: str, account: str) -> str:
    """Hand a script to the scheduler; returns the job's id. Raises StageError with the scheduler's words."""
    if scheduler == "slurm":
        options = [f"--job-name={NAME}", "--ntasks=1", f"--mem={MEMORY_MIB}M", f"--time={RUNTIME_MIN}", "--no-requeue"]
        options += [f"--partition={partition}"] if partition else []
        options += [f"--account={account}"] if account else []
        return _submit("sbatch", "--parsable", f"--output={script.with_suffix('.log')}", *options, str(script))
    from headrace.schedulers.pbs.scheduler import detect_dialect

    request = Request(NAME, 1, MEMORY_MIB, RUNTIME_MIN, queue=partition, account=account)
    arguments = submit_arguments(detect_dialect(), request, str(script.with_suffix(".log")))
    return _submit("qsub", *arguments, str(script))


def _submit(*command: str) -> str:
    done = call(command)
    if done.returncode:
        raise StageError(f"{command[0]}: {' '.join((done.stderr or done.stdout).split()) or 'no message'}")
    # What stands behind a semicolon is the name of the cluster.
    return done.stdout.strip().partition(";")[0]


def write_script(path: Path, *command: str) -> Path:
    """A job script of one command."""
    path.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def look_around(folder: Path, scheduler: str, partition: str, account: str) -> dict[str, Any]:
    """What this node sees; another job is submitted and taken back."""
    answer: dict[str, Any] = {"host": socket.gethostname(), "time": time.time()}
    try:
        answer["word"] = (folder / WORD).read_text(encoding="utf-8")
    except OSError as error:
        answer["word"] = str(error)
    kind = load_scheduler(scheduler)
    try:
        interface = choose_interface(kind.node_address())
        answer["interface"] = f"{interface} ({', '.join(addresses().get(interface, []))})"
    except StageError as error:
        answer["interface_error"] = str(error)
    try:
        inner = submit(scheduler, write_script(folder / "inner.sh", "true"), partition, account)
        kind.cancel([inner])
        answer["inner"] = inner
    except (StageError, InputError, OSError) as error:
        answer["inner_error"] = str(error)
    return answer


def main(arguments: list[str]) -> int:
    """Leave the answer in the folder."""
    folder, scheduler, partition, account, *_ = [*arguments, "", ""]
    os.chdir(folder)
    write_json(Path(folder) / ANSWER, look_around(Path(folder), scheduler, partition, account))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
