"""How long planning takes: CPU seconds of `headrace plan` for 50, 500 and 5,000 runs, whole processes, interleaved."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 5
POINTS = (10, 100, 1000)
SEEDS = 5
EXPERIMENT = """
name: many
datasets: {{digits: {{kind: mnist5k}}}}
models:
  - {{kind: fnn, sweep: {{random: {{samples: {points}, parameters: {{dropout: {{uniform: [0, 0.9]}}}}}}}}}}
training: {{seeds: [0, 1, 2, 3, 4]}}
"""


def measure(folder: Path, points: int) -> float:
    """CPU seconds of one call, children's user and system time."""
    config = folder / f"{points}.yaml"
    config.write_text(EXPERIMENT.format(points=points))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "headrace", "plan", str(config)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the machine, then one line a size."""
    versions = {package: importlib.metadata.version(package) for package in ("headrace", "pydantic", "snakemake")}
    print(
        json.dumps(
            {"machine": platform.platform(), "cpus": os.cpu_count(), "python": sys.version.split()[0], **versions}
        )
    )
    seconds: dict[int, list[float]] = {points: [] for points in POINTS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for points in POINTS:
                seconds[points].append(measure(Path(folder), points))
    for points, values in seconds.items():
        line = {"bench": "plan", "case": f"{points * SEEDS} runs", "against": None, "ratio": None}
        why = {"why": "no peer plans runs, artifacts and identities without starting them"}
        print(
            json.dumps({**line, "ours": round(statistics.median(values), 3), "unit": "CPU s", "rounds": ROUNDS, **why})
        )


if __name__ == "__main__":
    main()
