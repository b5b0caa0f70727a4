"""How often Snakemake asks SLURM about its jobs.

Its SLURM plugin waits 10 s longer after each question that finds no job done, up to 180 s, and counts a job that failed
as none: a job of 35 s is then found after 64 s, and four tries of a job that fails at once take 160 s. Here the pause
is a tenth of the time since anything changed, so that no job seems to take a tenth longer than it did, between the
profile's `seconds-between-status-checks` and a minute. One question is for all jobs of the workflow. And while nothing
changes, a line says for what the jobs wait.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from headrace.schedulers.base import JobState, load_scheduler

SHARE = 0.1
LONGEST_S = 60.0
SAY_S = 60.0
"""How often what jobs wait for is mentioned."""
MAX_ASKED = 200


def pause_s(since_change_s: float, shortest_s: float) -> float:
    """How long to wait before the next question."""
    return max(shortest_s, min(LONGEST_S, SHARE * since_change_s))


def pace_questions() -> None:
    """Give Snakemake's SLURM executor this pace, where it is installed."""
    plugin = sys.modules.get("snakemake_executor_plugin_slurm")
    if plugin is not None:
        plugin.Executor.sleep = _sleep


async def _sleep(executor: Any) -> None:
    """Takes the place of the executor's method of the same name."""
    now = time.monotonic()
    with executor.lock:
        jobs = {job.external_jobid for job in executor.active_jobs}
    if jobs != getattr(executor, "headrace_jobs", None):
        executor.headrace_jobs, executor.headrace_changed, executor.headrace_said = jobs, now, now
    elif jobs and now - executor.headrace_said > SAY_S:
        executor.headrace_said = now
        print(await asyncio.to_thread(_say, sorted(jobs)), file=sys.stderr, flush=True)
    shortest_s = executor.workflow.remote_execution_settings.seconds_between_status_checks
    await asyncio.sleep(pause_s(now - executor.headrace_changed, shortest_s))


def _say(jobs: list[str]) -> str:
    scheduler = load_scheduler("slurm")
    return describe_waiting(scheduler.states(jobs[:MAX_ASKED]), scheduler.advise)


def describe_waiting(states: Mapping[str, JobState], advise: Callable[[JobState], str]) -> str:
    """How many jobs run, how many wait for what, and what to change where waiting is no use."""
    counts = Counter(
        f"{s.phase} ({s.reason})" if s.phase == "pending" and s.reason else s.phase for s in states.values()
    )
    line = f"headrace: {len(states)} jobs: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    advice = sorted({f"{job}: {words}" for job, state in states.items() if (words := advise(state))})
    return "\n".join([line, *(f"headrace: job {words}" for words in advice)])
