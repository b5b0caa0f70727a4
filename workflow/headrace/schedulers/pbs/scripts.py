"""What is handed to PBS: qsub's options in each dialect, and the script that leaves its exit code behind.

OpenPBS and PBS Pro ask for chunks (`select=1:ncpus=4:mem=8192mb`), Torque and SLURM's wrappers for processors per node
(`nodes=1:ppn=4,mem=8192mb`).
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.errors import InputError

Dialect = Literal["openpbs", "torque"]
DIALECTS: tuple[Dialect, ...] = ("openpbs", "torque")
MAX_NAME_LENGTH = 60
"""Some versions refuse longer names of jobs."""


@dataclass(frozen=True)
class Request:
    """What a job asks for."""

    name: str
    cpus: int = 1
    """On each node."""
    memory_mib: int = 1024
    """On each node."""
    runtime_min: int = 60
    gpus: int = 0
    """On each node."""
    nodes: int = 1
    queue: str = ""
    account: str = ""
    chunk: str = ""
    """More of what a node must have, such as `gpu_type=a100`."""
    extra: tuple[str, ...] = ()
    """More options of qsub, word by word."""


def resource_spec(dialect: str, cpus: int, memory_mib: int, gpus: int = 0, nodes: int = 1, *, chunk: str = "") -> str:
    """What stands behind `-l`, without the wall time; CPUs, memory and GPUs are those of one node."""
    more = f":{chunk.strip(':')}" if chunk.strip(":") else ""
    if dialect == "openpbs":
        return f"select={nodes}:ncpus={cpus}:mem={memory_mib}mb{f':ngpus={gpus}' if gpus else ''}{more}"
    if dialect != "torque":
        raise InputError(f"PBS dialect {dialect!r}: allowed: {', '.join(DIALECTS)}")
    # Torque's `mem` is that of all nodes together and only works on one; `pmem` is that of each process.
    memory = f"mem={memory_mib}mb" if nodes == 1 else f"pmem={-(-memory_mib // cpus)}mb"
    return f"nodes={nodes}:ppn={cpus}{f':gpus={gpus}' if gpus else ''}{more},{memory}"


def submit_arguments(dialect: str, request: Request, log: str) -> list[str]:
    """Qsub's options; `log` takes standard output and errors, and is best a relative path of plain characters."""
    for what, value in (("queue", request.queue), ("account", request.account), ("chunk", request.chunk)):
        # SLURM's wrappers paste their options into a shell's line.
        if value and not re.fullmatch(r"[\w.@:/+=-]*", value):
            raise InputError(f"pbs_{what} {value!r}: allowed are letters, digits and . _ @ : / + = -, in the profile")
    resources = resource_spec(
        dialect, request.cpus, request.memory_mib, request.gpus, request.nodes, chunk=request.chunk
    )
    walltime = f"walltime={request.runtime_min // 60:02d}:{request.runtime_min % 60:02d}:00"
    # The wrappers only heed the last -l; OpenPBS wants one for each of select, place and what concerns the whole job.
    limits = [f"{resources},{walltime}"] if dialect == "torque" else [resources, walltime]
    if dialect == "openpbs" and request.nodes > 1:
        limits.insert(1, "place=scatter")
    arguments = ["-N", safe_name(request.name)]
    arguments += ["-q", request.queue] if request.queue else []
    arguments += ["-A", request.account] if request.account else []
    for limit in limits:
        arguments += ["-l", limit]
    # Rerunnable: a job whose node fails, or that gives way to others, is put back into the queue.
    return [*arguments, "-j", "oe", "-o", log, "-r", "y", "-V", *request.extra]


def safe_name(text: str) -> str:
    """A name that every version takes: letters, digits, `-` and `_`, with a letter in front."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text)[:MAX_NAME_LENGTH].strip("-")
    return name if re.match(r"[A-Za-z]", name) else f"j{name}"


def wrap_script(script: str, exit_file: str) -> str:
    """A job script around another one, for PBS's records of ended jobs are short-lived, and may be kept nowhere.

    It leaves the other's exit code in a file; 143 when the job was told to end, whatever came of that. A job that PBS
    runs again after it was done does nothing. `sh` would end at once when it is told to end, and PBS then kills what is
    left of the job: both shells stay, so that the work gets the time that the site grants for its last words.
    """
    return f"""\
#!/bin/sh
#PBS -S /bin/sh
headrace_exit={shlex.quote(exit_file)}
headrace_told=
if [ "$(cat "$headrace_exit" 2>/dev/null)" = 0 ]; then exit 0; fi
rm -f "$headrace_exit"
trap 'headrace_told=yes' TERM
(
trap : TERM
{script.rstrip()}
)
headrace_code=$?
if [ -n "$headrace_told" ] && [ "$headrace_code" != 0 ]; then headrace_code=143; fi
printf '%s\\n' "$headrace_code" > "$headrace_exit.$$" && mv -f "$headrace_exit.$$" "$headrace_exit"
exit "$headrace_code"
"""


def spawn_command(node: str, command: Sequence[str], which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """How to start a process on another node of the own job, by what is installed here.

    PBS gives it the environment that the job had at its start, ssh that of a login, and both the home folder: name
    programs and files by absolute paths.
    """
    if which("pbs_tmrsh"):
        return ["pbs_tmrsh", node, *command]
    if which("pbsdsh"):
        return ["pbsdsh", "-h", node, *command]
    return ["ssh", "-o", "BatchMode=yes", node, shlex.join(command)]
