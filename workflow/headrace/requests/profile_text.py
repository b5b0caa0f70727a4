"""Write a Snakemake profile from what a scheduler says about itself."""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from headrace.errors import InputError
from headrace.experiments.yaml_files import printable
from headrace.provenance.manifests import write_atomically
from headrace.registry import list_kinds, suggest
from headrace.requests.defaults import MAX_RUNTIME_MIN
from headrace.requests.limits import WORDS, show_minutes
from headrace.schedulers.base import Queue, Survey

PROFILES = Path(__file__).parents[2] / "profiles"
MAX_ROWS = 30
"""Queues that are listed; some sites have hundreds."""
MAX_NOTES = 12
DASK_JOBS = 2
"""Stages with Dask workers at a time."""
DASK_WORKERS = 4
"""Of each stage, where there is room."""

SNAKEMAKE_NAMES = frozenset(
    """lookup evaluate branch collect exists input output params prepend_param resources threads subpath parse_input
    extract_checksum flatten choose_file choose_folder choose_tmp as_py_module wildcards attempt system_tmpdir shutil
    async_run""".split()  # noqa: SIM905
)
"""What a resource that is text may be taken for, besides Python's own names."""


@dataclass(frozen=True)
class Choice:
    """Where jobs go."""

    cpu: Queue | None
    """For all jobs without a GPU; None leaves it to the scheduler."""
    gpu: Queue | None
    """For training and evaluation; None keeps them on CPUs."""
    account: str
    notes: tuple[str, ...]
    """What a person should know about it."""


def choose(survey: Survey, queue: str = "", gpu_queue: str = "", account: str = "") -> Choice:
    """Take what was asked for, else the default queue and the best one with GPUs. Raises InputError.

    Never chosen unasked: a queue that is down, or one that cancels what it preempts.
    """
    notes: list[str] = []
    cpu = _named(survey, queue) if queue else _best(survey, notes, with_gpus=False)
    gpu = _named(survey, gpu_queue) if gpu_queue else _best(survey, notes, with_gpus=True)
    if gpu and survey.queues and not gpu.gpus_per_node:
        with_gpus = [other.name for other in survey.queues if other.gpus_per_node]
        raise InputError(f"{gpu.name}: has no GPU; with GPUs: {', '.join(with_gpus) or 'none here'}")
    notes += [note for chosen in dict.fromkeys((cpu, gpu)) if chosen for note in _warnings(chosen, survey)]
    mine = {name.lower() for name in survey.accounts}
    if account and mine and account.lower() not in mine:
        allowed = f"{', '.join(survey.accounts)}{suggest(account, survey.accounts)}"
        raise InputError(f"account {account!r} is none of yours; allowed: {allowed}")
    account = account or (survey.accounts[0] if len(survey.accounts) == 1 else "")
    return Choice(cpu, gpu, account, tuple(notes))


def _named(survey: Survey, name: str) -> Queue:
    found = survey.queue(name)
    if found is None and survey.queues:
        names = [queue.name for queue in survey.queues]
        word = WORDS.get(survey.scheduler, "partition")
        raise InputError(f"no {word} {name!r} here; allowed: {', '.join(names)}{suggest(name, names)}")
    return found or Queue(name)


def _best(survey: Survey, notes: list[str], *, with_gpus: bool) -> Queue | None:
    """The default queue (with GPUs, one that is called so) where it serves, else the longest one with most nodes."""
    able = [queue for queue in survey.queues if queue.gpus_per_node or not with_gpus]
    safe = [queue for queue in able if queue.is_up and not _loses_jobs(queue, survey)]
    if able and not safe:
        what = "with GPUs " if with_gpus else ""
        word = WORDS.get(survey.scheduler, "partition")
        option = f"--{'gpu-' if with_gpus else ''}{word}"
        why = "; ".join(warning for queue in able for warning in _warnings(queue, survey))
        notes.append(f"no {word} {what}was chosen ({option} NAME takes one all the same): {why}")

    def rank(queue: Queue) -> tuple[bool, bool, bool, float, int]:
        # GPUs are for those who need them; some schedulers say less of their queues than the names do.
        by_name = ("gpu" in queue.name.lower()) == with_gpus
        spared = with_gpus or not queue.gpus_per_node
        longest = MAX_RUNTIME_MIN if queue.max_runtime_min is None else min(queue.max_runtime_min, MAX_RUNTIME_MIN)
        preferred = (by_name, queue.is_default) if with_gpus else (queue.is_default, by_name)
        return *preferred, spared, longest, queue.num_nodes

    return max(safe, key=rank, default=None)


def _loses_jobs(queue: Queue, survey: Survey) -> bool:
    return queue.preemption == "cancel" and survey.scheduler == "slurm"


def _warnings(queue: Queue, survey: Survey) -> list[str]:
    found = [] if queue.is_up else [f"{queue.name} is down"]
    if _loses_jobs(queue, survey):
        found.append(
            f"{queue.name} cancels jobs that it preempts, and Snakemake's SLURM plugin waits for such a job for ever"
        )
    return found


def render_profile(survey: Survey, choice: Choice) -> str:
    """The text of the profile: YAML with comments."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(PROFILES / "templates")
    # Escaping is for HTML; here `line` and `resource` keep what a scheduler says from becoming YAML.
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update(line=show_line, resource=quote_resource)
    text = environment.get_template(f"{survey.scheduler}.yaml.j2").render(
        survey=survey,
        cpu=choice.cpu,
        gpu=choice.gpu,
        account=choice.account,
        table=list_queues(survey.queues),
        notes=[*choice.notes, *survey.notes][:MAX_NOTES],
        families=list_kinds("models") if survey.queues else (),
        max_runtime_min=MAX_RUNTIME_MIN,
        dask_jobs=DASK_JOBS,
        dask_workers=count_workers(choice.cpu),
    )
    return re.sub(r"(?<=\n)\n+(?= )|(?<=\n\n)\n+", "", text).strip("\n") + "\n"


def count_workers(queue: Queue | None) -> int:
    """Dask workers of a stage: all that find a place when `DASK_JOBS` stages wait for theirs at once, four at most."""
    cores = queue.num_nodes * (queue.cpus_per_node or 0) if queue else 0
    return max(1, min(DASK_WORKERS, cores // DASK_JOBS - 1)) if cores else DASK_WORKERS


def list_queues(queues: Sequence[Queue]) -> list[str]:
    """A line for each queue, in columns."""
    rows = [[show_line(cell) for cell in _describe(queue)] for queue in queues[:MAX_ROWS]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, f"... and {len(queues) - MAX_ROWS} more"] if len(queues) > MAX_ROWS else lines


def _describe(queue: Queue) -> list[str]:
    memory_mib, limit = queue.memory_mib_per_node, queue.max_runtime_min
    gpus = f"{queue.gpus_per_node} GPU{'s' * (queue.gpus_per_node != 1)}" + (
        f" ({', '.join(queue.gpu_types)})" if queue.gpu_types else ""
    )
    remarks = [] if queue.is_up else ["down"]
    remarks += [f"preempted jobs: {queue.preemption}"] if queue.preemption else []
    return [
        queue.name + "*" * queue.is_default,
        f"{queue.num_nodes} node{'s' * (queue.num_nodes != 1)}",
        f"{queue.cpus_per_node} cores" if queue.cpus_per_node else "? cores",
        f"{memory_mib / 1024:.0f} GiB" if memory_mib else "? GiB",
        gpus if queue.gpus_per_node else "no GPU",
        f"up to {show_minutes(limit)}" if limit is not None else "no limit",
        "; ".join(remarks),
    ]


def show_line(text: str) -> str:
    """What a scheduler said, on one line and not too long: it goes into a comment."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= 300 else f"{line[:297]}..."


def quote_resource(text: str) -> str:
    """A resource that is text, as YAML that stays text: Snakemake evaluates what reads as a Python expression."""
    is_name = re.fullmatch(r"[A-Za-z]\w*", text, re.ASCII) and yaml.safe_load(text) == text
    if is_name and text not in SNAKEMAKE_NAMES | {*dir(builtins), *keyword.kwlist}:
        return text
    return json.dumps(repr(text), ensure_ascii=False)


def write_profile(path: Path, text: str) -> Path | None:
    """Write a profile; what stood there and is not simply the generic one is kept, and its new name returned."""
    kept = None
    if path.exists():
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        if before == text:
            return None
        if before not in _generic_texts():
            kept = _free_name(path)
            path.rename(kept)
    write_atomically(path, text.encode())
    return kept


def _generic_texts() -> list[str]:
    from headrace.schedulers.base import list_schedulers

    empty = [Survey(name, "", ()) for name in list_schedulers() if (PROFILES / f"templates/{name}.yaml.j2").exists()]
    return [render_profile(survey, choose(survey)) for survey in empty]


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.before{end}") for end in ("", *(f"-{i}" for i in range(2, 10_000))))
    return next(name for name in names if not name.exists())
