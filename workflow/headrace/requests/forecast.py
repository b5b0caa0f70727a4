"""What `headrace plan CONFIG --profile NAME` prints: what the jobs will ask for, and what would be refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.errors import StageError
from headrace.planning.overview import find_states, stage_lines
from headrace.planning.plan import Plan
from headrace.requests.defaults import default_requests
from headrace.requests.limits import WORDS, Ask, check_devices, check_limits, find_asks, show_minutes
from headrace.requests.numbers import check_numbers
from headrace.requests.profiles import Profile
from headrace.requests.rules import devices_by_rule, jobs_by_rule
from headrace.schedulers.base import Survey, load_scheduler

LEFT, RIGHT = "<", ">"
COLUMNS = (
    ("rule", LEFT),
    ("jobs", RIGHT),
    ("done", RIGHT),
    ("cores", RIGHT),
    ("memory", RIGHT),
    ("time", RIGHT),
    ("gpu", RIGHT),
    ("", LEFT),
)


@dataclass(frozen=True)
class Forecast:
    """What a plan asks a scheduler for."""

    lines: tuple[str, ...]
    """For a person to read."""
    problems: tuple[str, ...]
    """What the scheduler would refuse, or never start."""


def forecast(plan: Plan, profile: Profile) -> Forecast:
    """Ask the profile's scheduler and lay its limits against what the jobs will ask for."""
    survey, silence = ask_scheduler(profile)
    states = find_states(plan)
    jobs = jobs_by_rule(plan)
    num_done = {
        rule: sum(all(states[artifact.stage, artifact.id] == "done" for artifact in job.artifacts) for job in some)
        for rule, some in jobs.items()
    }
    resources = profile.resources(default_requests(plan, profile.overrides))
    asks = find_asks({rule: len(some) - num_done[rule] for rule, some in jobs.items()}, resources)
    pending = [ask for ask in asks if ask.num_jobs]
    lines = [
        *table(asks, num_done, survey, WORDS.get(profile.scheduler or "", "partition")),
        "",
        total(pending),
        *(f"note: {remark}" for remark in [*profile.notes, *silence, *remarks(plan, pending, resources, survey)]),
        *stage_lines(plan, states)[-1:],
    ]
    problems = check_numbers(profile.stated) + (check_devices(plan, pending) if profile.scheduler else [])
    if survey is not None:
        problems = [*problems, *check_limits(pending, survey)]
    return Forecast(tuple(lines), tuple(f"{profile.path}: {problem}" for problem in problems))


def ask_scheduler(profile: Profile) -> tuple[Survey | None, list[str]]:
    """What the scheduler says of itself, or why it says nothing."""
    if profile.scheduler is None:
        return None, [f"{profile.path} names no scheduler that is known here; no limit is checked"]
    scheduler = load_scheduler(profile.scheduler)
    if not scheduler.is_here():
        return None, [f"the clients of {profile.scheduler} are not installed here; no limit is checked"]
    try:
        return scheduler.survey(), []
    except StageError as error:
        return None, [f"no limit is checked: {error}"]


def table(asks: Sequence[Ask], num_done: Mapping[str, int], survey: Survey | None, word: str) -> list[str]:
    """One line for each rule, and one for its Dask workers when they are jobs too."""
    rows = [[title or word for title, _ in COLUMNS]]
    for ask in asks:
        default = survey.default_queue.name if survey and survey.default_queue else "-"
        rows.append(
            [
                "  its Dask workers" if ask.is_workers else ask.rule,
                str(ask.num_jobs) if ask.is_workers else str(ask.num_jobs + num_done[ask.rule]),
                "" if ask.is_workers else str(num_done[ask.rule]),
                str(ask.cores),
                "-" if ask.mem_mb is None else f"{ask.mem_mb / 1024:.1f} GiB",
                "-" if ask.runtime_min is None else show_minutes(ask.runtime_min),
                str(ask.gpus) if ask.gpus else "-",
                ask.queue or default,
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    sides = [side for _, side in COLUMNS]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def total(pending: Sequence[Ask]) -> str:
    """Jobs to come, and what they may cost at most."""
    if not pending:
        return "nothing to submit: every job is done"
    hours = [(ask, ask.num_jobs * (ask.runtime_min or 0) / 60) for ask in pending]
    core_hours = sum(ask.cores * spent for ask, spent in hours)
    gpu_hours = sum(ask.gpus * spent for ask, spent in hours)
    num_jobs = sum(ask.num_jobs for ask in pending if not ask.is_workers)
    num_workers = sum(ask.num_jobs for ask in pending if ask.is_workers)
    largest_mb = max((ask.mem_mb for ask in pending if ask.mem_mb is not None), default=0)
    workers = f" and {num_workers} of Dask workers" if num_workers else ""
    gpus = f" and {gpu_hours:,.1f} GPU-hours" if gpu_hours else ""
    return (
        f"to submit: {num_jobs} jobs{workers}; at most {core_hours:,.1f} core-hours{gpus}, each tried once; "
        f"the largest asks for {largest_mb / 1024:.1f} GiB"
    )


def remarks(
    plan: Plan, pending: Sequence[Ask], resources: Mapping[str, Mapping[str, int | str]], survey: Survey | None
) -> list[str]:
    """What a person may want to change, though nothing would be refused."""
    found = []
    devices = devices_by_rule(jobs_by_rule(plan))
    for ask in pending:
        own = resources.get(ask.rule, {})
        if ask.gpus and devices[ask.rule] == {"cpu"}:
            found.append(f"{ask.title}: asks for a GPU that none of its runs will use (device: cpu)")
        if own.get("dask_cluster") == "local" and ask.mem_mb is not None:
            num, each_mb = int(own.get("dask_workers", 0)), int(own.get("dask_worker_mem_mb", 0))
            if num * each_mb > ask.mem_mb:
                found.append(
                    f"{ask.title}: {num} Dask workers of {each_mb} MiB do not fit into its {ask.mem_mb} MiB (mem_mb)"
                )
        found += _queue_remarks(ask, survey) if survey else []
    return list(dict.fromkeys(found))


def _queue_remarks(ask: Ask, survey: Survey) -> list[str]:
    word = WORDS.get(survey.scheduler, "partition")
    names = ask.queues or ((survey.default_queue.name,) if survey.default_queue else ())
    found = []
    for queue in filter(None, map(survey.queue, names)):
        if not queue.is_up:
            found.append(f"{word} {queue.name} is down: its jobs wait until it is up again")
        if queue.preemption == "cancel" and survey.scheduler == "slurm":
            found.append(
                f"{word} {queue.name} cancels preempted jobs, and Snakemake's SLURM plugin would wait for such a job "
                "for ever: choose another one, or watch it"
            )
    return found
