"""How often Snakemake asks SLURM about its jobs.

Its SLURM plugin waits 10 s longer after each question that finds no job done, up to 180 s, and counts a job that failed
as none: a job of 35 s is then found after 64 s, and four tries of a job that fails at once take 160 s. Here the pause
is a tenth of the time since anything changed, so that no job seems to take a tenth longer than it did, between the
profile's `seconds-between-status-checks` and a minute. One question is for all jobs of the workflow.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

SHARE = 0.1
LONGEST_S = 60.0


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
        executor.headrace_jobs, executor.headrace_changed = jobs, now
    shortest_s = executor.workflow.remote_execution_settings.seconds_between_status_checks
    await asyncio.sleep(pause_s(now - executor.headrace_changed, shortest_s))
