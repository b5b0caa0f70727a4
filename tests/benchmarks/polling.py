"""How long a workflow of one SLURM job takes beyond the job: our pace of questions against the plugin's own.

Brings up the test cluster, so it needs SLURM here. `bound` is the job itself and Snakemake's two starts.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.slurm import SlurmCluster

ROUNDS = 5
JOBS_S = (11, 35)
RULES = """
rule all:
    default_target: True
    input: "done.txt"

rule sleep:
    output: "done.txt"
    resources: mem_mb=200, runtime=5
    shell: "sleep {seconds}; touch {{output}}"
"""
OURS = "from headrace.launching.polling import pace_questions\n\npace_questions()\n"
OPTIONS = ["--executor", "slurm", "--jobs", "4", "--latency-wait", "5", "--default-resources", "slurm_partition=cpu"]
SIDES = {
    "ours": ["--slurm-init-seconds-before-status-checks", "5", "--seconds-between-status-checks", "5"],
    "theirs": [],
}


def run(side: str, seconds: int) -> float:
    """Seconds from the command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        text = (OURS if side == "ours" else "") + RULES.format(seconds=seconds)
        (Path(folder) / "Snakefile").write_text(text)
        command = [sys.executable, "-m", "snakemake", *OPTIONS, "--slurm-status-command", "squeue", *SIDES[side]]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, "NO_COLOR": "1"})
        return time.perf_counter() - start


def main() -> None:
    """Interleaved rounds; medians."""
    plugin = "snakemake-executor-plugin-slurm"
    about = {"machine": platform.platform(), "cpus": os.cpu_count(), plugin: version(plugin)}
    print(json.dumps({"bench": "polling", **about}))
    with SlurmCluster():
        for seconds in JOBS_S:
            taken: dict[str, list[float]] = {side: [] for side in SIDES}
            for _ in range(ROUNDS):
                for side in SIDES:
                    taken[side].append(run(side, seconds))
            ours, theirs = (statistics.median(taken[side]) for side in ("ours", "theirs"))
            result = {"bench": "polling", "case": f"one job of {seconds} s", "against": f"{plugin} by default"}
            numbers = {"ratio": round(theirs / ours, 2), "ours": round(ours, 1), "theirs": round(theirs, 1)}
            print(
                json.dumps({**result, **numbers, "unit": "s", "rounds": ROUNDS, "bound": "the job itself"}), flush=True
            )


if __name__ == "__main__":
    main()
