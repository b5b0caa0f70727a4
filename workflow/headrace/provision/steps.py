"""Dask workers as processes on the nodes that a job has been given already."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from headrace.clusters.base import Place
from headrace.errors import StageError
from headrace.schedulers.base import JobState, OwnJob, step_environment

END_S = 10.0


class Placement:
    """Which node the next worker goes to: the one with the fewest."""

    def __init__(self, scheduler: str, own: OwnJob, memory_mib: int, place: Place) -> None:
        if not own.nodes:
            raise StageError(f"dask_cluster: allocation: {scheduler} does not say which nodes job {own.id} has")
        self.scheduler, self.own, self.memory_mib, self.place = scheduler, own, memory_mib, place
        self.started = 0
        self._load: Counter[str] = Counter(dict.fromkeys(own.nodes, 0))

    def take(self) -> str:
        """A node for one more worker."""
        node = min(self.own.nodes, key=lambda name: self._load[name])
        self._load[node] += 1
        self.started += 1
        return node

    def give(self, node: str) -> None:
        """A worker has left its node."""
        self._load[node] -= 1

    def command(self, node: str, script: str) -> list[str]:
        """How to run a script on one of the nodes."""
        if self.scheduler == "slurm":
            return [
                "srun", "--overlap", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", f"--nodelist={node}",
                f"--mem={self.memory_mib}M", f"--job-name={self.place.name}", "--kill-on-bad-exit=1", "sh", script,
            ]  # fmt: skip
        from headrace.schedulers.pbs.scheduler import spawn_command

        return list(spawn_command(node, ["sh", script]))


def step_class(placement: Placement) -> Any:
    """A kind of dask-jobqueue's job that needs no queue."""
    from distributed.core import Status

    from headrace.provision.jobqueue import load_jobs

    base: Any = load_jobs("core").Job

    class Step(base):  # type: ignore[misc]
        submit_command = cancel_command = "true"
        config_name = "slurm"

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.job_header = ""
            self.process: subprocess.Popen[bytes] | None = None
            self.node = ""

        async def start(self) -> None:
            """Start the worker on the emptiest node."""
            self.node = placement.take()
            self.job_id = f"{placement.own.id}-{placement.started}"
            # Beside the keys: both are for this user alone, and reach every node.
            script = os.path.join(os.path.dirname(self._tls_file()), f"worker-{placement.started}.sh")
            with open(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(self.job_script())
            with (placement.place.logs / f"worker-{self.job_id}.log").open("wb") as log:
                self.process = subprocess.Popen(
                    placement.command(self.node, script),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=step_environment(),
                    start_new_session=True,
                )
            self.status = Status.running

        async def close(self) -> None:
            """End it."""
            if self.process is not None:
                end(self.process)
                placement.give(self.node)
                self.process = None

        def _tls_file(self) -> str:
            words = self._command_template.split()
            return str(words[words.index("--tls-key") + 1])

    return Step


def step_states(jobs: Sequence[Any]) -> Mapping[str, JobState]:
    """Where the steps stand, from the processes that hold them."""
    states = {}
    for job in jobs:
        code = job.process.poll() if job.process is not None else 0
        if code is None:
            states[job.job_id] = JobState("running", node=job.node)
        else:
            states[job.job_id] = JobState("failed", "unknown", f"exit code {code}", job.node)
    return states


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a step to end, and make it end when it does not listen."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return
            time.sleep(0.05)
