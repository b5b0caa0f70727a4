"""What the benches of solvers share: contenders that run in turns, each time in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT_S = 3600.0
"""A run that takes longer is given up."""
PATIENCE = 4
"""Who is still not exact enough after this many times as long as we take is not tried further."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Found = dict[str, Any]
"""seconds, error and peak_mib of a run, or why there are none."""


def version_of(package: str) -> str | None:
    """Of what is installed, if it is."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def say_machine(packages: Sequence[str]) -> None:
    """The first line: where the bench ran, and with what."""
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": sys.version.split()[0]}
    load = [round(value, 2) for value in os.getloadavg()]
    print(json.dumps({**machine, "load": load, **{name: version_of(name) for name in packages}}), flush=True)


def peak_mib() -> float:
    """The most memory that this process has had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


@dataclass
class Contender:
    """One of those that are compared."""

    name: str
    package: str
    """Where its version is from."""
    settings: Sequence[Mapping[str, Any]] = ({},)
    """The quickest first; the first one that is exact enough is kept."""
    threads: int | None = None
    """Of BLAS, in each process; as many as there are cores when nothing is said."""
    runs: list[Found] = field(default_factory=list)
    chosen: Mapping[str, Any] | None = None
    why: str = ""

    def choose(self, script: str, folder: Path, exact: float, patience_s: float = LIMIT_S) -> float:
        """Try the settings once each until the error is not above `exact`; gives the seconds of the last try.

        That fills the page cache, too.
        """
        tried, seconds = [], 0.0
        for settings in self.settings:
            found = self.call(script, folder, settings)
            if "why" in found:
                self.why = found["why"]
                return seconds
            seconds = found["seconds"]
            if found["error"] <= exact:
                self.chosen = settings
                return seconds
            tried.append(f"{json.dumps(settings)}: {found['error']:.1g} after {seconds:.1f} s")
            if seconds > patience_s:
                break
        self.why = f"not within {exact:g}: {'; '.join(tried)}"
        return seconds

    def round(self, script: str, folder: Path) -> None:
        """Run once more, unless it cannot."""
        if self.chosen is not None and not self.why:
            found = self.call(script, folder, self.chosen)
            self.why = found.get("why", "")
            self.runs.append(found)

    def call(self, script: str, folder: Path, settings: Mapping[str, Any]) -> Found:
        """In a process of its own, which runs `serve`."""
        command = [sys.executable, script, "--serve", self.name, str(folder), json.dumps(settings)]
        environment = {**os.environ, **({name: str(self.threads) for name in THREADS} if self.threads else {})}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return {"why": f"it took more than {LIMIT_S:.0f} s with {json.dumps(settings)}"}
        said = done.stdout.splitlines()[-1:] or [json.dumps({"why": f"its process ended with {done.returncode}"})]
        found: Found = json.loads(said[0])
        return found

    def median(self, key: str) -> float:
        """Over the rounds."""
        return statistics.median(run[key] for run in self.runs)


def serve(call: Callable[[], Found]) -> None:
    """Run a contender in this process and print what was found."""
    # What a library prints must not be taken for figures.
    figures = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        found = call()
    except Exception as error:
        found = {"why": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    figures.write(json.dumps(found) + "\n")


def run_in_turns(contenders: Sequence[Contender], script: str, folder: Path, rounds: int, exact: float) -> None:
    """Choose everybody's settings, then let all run `rounds` times, one after the other. We are the first."""
    patience_s = LIMIT_S
    for contender in contenders:
        seconds = contender.choose(script, folder, exact, patience_s)
        patience_s = PATIENCE * seconds if contender is contenders[0] else patience_s
    for _ in range(rounds):
        for contender in contenders:
            contender.round(script, folder)


def compare(ours: Contender, other: Contender, key: str = "seconds") -> dict[str, Any]:
    """Medians, and the median of the rounds' ratios; above 1 is better for us."""
    line: dict[str, Any] = {"against": other.name, "version": version_of(other.package)}
    if ours.why or other.why:
        return {**line, "ratio": None, "why": other.why or ours.why}
    ratio = statistics.median(b[key] / a[key] for a, b in zip(ours.runs, other.runs, strict=True))
    medians = {"ours": round(ours.median(key), 3), "theirs": round(other.median(key), 3)}
    return {**line, "ratio": round(ratio, 2), **medians, "rounds": len(ours.runs)}
