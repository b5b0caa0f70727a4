"""SLURM's own commands, as a test wants them: with a time limit, and with answers in place of tables."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cluster.machine import ClusterError, search_path

CLIENT_TIMEOUT_S = 30
POLL_INTERVAL_S = 0.2
ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
COLUMNS = {
    "id": "JobID",
    "name": "Name",
    "partition": "Partition",
    "state": "State",
    "nodes": "NodeList",
    "reason": "Reason",
    "restarts": "RestartCnt",
    "user": "UserName",
    "account": "Account",
    "comment": "Comment",
}
SEPARATOR = "\x1f"
Answer = TypeVar("Answer")


class Client:
    """What can be asked of a cluster that is up."""

    folder: Path
    _forgotten: frozenset[str] = frozenset()

    def run(self, *command: str, user: int = 0, check: bool = True, timeout_s: float = CLIENT_TIMEOUT_S) -> str:
        """Run a command, as another user if told so, and give its standard output."""
        if user:
            command = ("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *command)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        done = subprocess.run(
            command,
            cwd=self.folder / "jobs",
            env={**environment, "PATH": search_path(), "SLURM_CONF": str(self.folder / "slurm.conf")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode:
            raise ClusterError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def submit(self, script: str, *options: str, user: int = 0) -> str:
        """Submit lines of shell as a batch job and give its id."""
        output = f"--output={self.folder}/jobs/%j.log"
        command = ["sbatch", "--parsable", output, "--open-mode=append", *options, f"--wrap={script}"]
        return self.run(*command, user=user).strip()

    def output(self, job: str) -> str:
        """What a submitted job has written so far, restarts included."""
        path = self.folder / "jobs" / f"{job}.log"
        return path.read_text() if path.exists() else ""

    def jobs(self) -> list[dict[str, Any]]:
        """Every job since the last `cancel_all`, ended ones included, oldest first."""
        columns = ",".join(f"{column}:{SEPARATOR}" for column in COLUMNS.values())
        text = self.run("squeue", "--all", "--states=all", "--noheader", "--sort=i", f"--Format={columns}")
        found = []
        for line in text.splitlines():
            values = ("" if value == "(null)" else value for value in line.split(SEPARATOR))
            job: dict[str, Any] = dict(zip(COLUMNS, values, strict=False))
            if job["id"] not in self._forgotten:
                found.append({**job, "restarts": int(job["restarts"])})
        return found

    def job(self, job: str) -> dict[str, Any]:
        """One job."""
        return next(each for each in self.jobs() if each["id"] == job)

    def state(self, job: str) -> str:
        """One job's state, such as PENDING."""
        return str(self.job(job)["state"])

    def details(self, job: str) -> dict[str, str]:
        """What scontrol knows of a job, such as ExitCode, TimeLimit, NumCPUs."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def squeue(self) -> str:
        """All jobs as a person would read them."""
        columns = "%.8i %.12j %.9P %.14T %.6M %.8N %.3D %r"
        return self.run("squeue", "--all", "--states=all", f"--format={columns}", check=False)

    def node_states(self) -> dict[str, str]:
        """Each node's state, such as idle, mixed, down; `*` after it: does not answer."""
        text = self.run("sinfo", "--Node", "--noheader", "--format=%N %T")
        return dict(line.split() for line in text.splitlines())

    def describe(self) -> str:
        """Nodes and jobs, for an error's message."""
        return self.run("sinfo", "--Node", "--long", check=False) + self.squeue()

    def wait_for(self, ask: Callable[[], Answer], timeout_s: float = 60, what: str = "an answer") -> Answer:
        """Ask until the answer is true, and give it."""
        deadline = time.monotonic() + timeout_s
        while not (answer := ask()):
            if time.monotonic() > deadline:
                raise ClusterError(f"waited {timeout_s:.0f} s for {what}\n{self.describe()}")
            time.sleep(POLL_INTERVAL_S)
        return answer

    def wait_for_state(self, job: str, *states: str, timeout_s: float = 60) -> str:
        """Wait until a job is in one of these states; without any, until it has ended."""
        wanted = set(states) or ENDED
        wait = f"job {job} to be {' or '.join(sorted(wanted))}"
        self.wait_for(lambda: self.state(job) in wanted, timeout_s, wait)
        return self.state(job)
