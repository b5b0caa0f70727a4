"""A project whose experiments run on the test cluster, by a profile that was written for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from projects import Project, copy_project

QUICK: dict[str, Any] = {
    "latency-wait": 5,
    "seconds-between-status-checks": 1,
    "slurm-init-seconds-before-status-checks": 1,
    "config": {"device": "cpu"},
}
"""What makes a small machine answer soon; the GPUs of the test cluster are not for computing."""
DASK: dict[str, Any] = {
    "dask_cluster": "slurm",
    "dask_workers": 4,
    "dask_worker_mem_mb": 500,
    "dask_options": "gather_s=40",
}
ALLOCATION: dict[str, Any] = {**DASK, "dask_cluster": "allocation", "nodes": 2, "tasks": 2}


class ClusterProject(Project):
    """A clone in which the commands for a cluster are typed."""

    def write_profile(self, dask: dict[str, Any] = DASK, generated: str = "", **rules: dict[str, Any]) -> None:
        """Edit the profile as a person would: on top of what the generator wrote, or of the one in the clone."""
        path = self.folder / "workflow/profiles/slurm/config.yaml"
        profile = yaml.safe_load(generated or path.read_text())
        profile |= QUICK
        resources = profile["set-resources"]
        for rule in ("shard", "preprocess"):
            resources[rule] = {"mem_mb": 1000, "runtime": 10, **dask}
        for name in list(resources):
            if name.startswith("train_") or name == "evaluate":
                resources[name].pop("gpu", None)
                resources[name].pop("slurm_partition", None)
        for name, values in rules.items():
            resources[name] = {**resources.get(name, {}), **values}
        path.write_text(yaml.safe_dump(profile))

    def submit(
        self, *arguments: str, config: str = "configs/small.yaml", profile: str = "slurm"
    ) -> subprocess.Popen[str]:
        """Start `snakemake --profile slurm`."""
        command = [sys.executable, "-m", "snakemake", "--profile", profile, "--configfile", config, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **pipes)

    def run(self, *arguments: str, timeout_s: float = 600, **options: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return finish(self.submit(*arguments, **options), timeout_s)

    def executions(self, stage: str) -> dict[str, dict[str, Any]]:
        """What the manifests of a stage say about how its artifacts were made."""
        return {path.parent.name: json.loads(path.read_text())["execution"] for path in self.sealed(stage)}

    def content(self, stage: str) -> dict[str, str]:
        """The digests of a stage's artifacts."""
        return {path.parent.name: json.loads(path.read_text())["digest"] for path in self.sealed(stage)}

    def sealed(self, stage: str) -> list[Path]:
        """The manifests of a stage."""
        return sorted((self.folder / "artifacts" / stage).glob("*/manifest.json"))

    def tries(self, stage: str) -> list[dict[str, Any]]:
        """How the jobs of a stage were tried."""
        files = sorted((self.folder / "artifacts/.history" / stage).glob("*.json"))
        return [one for file in files for one in json.loads(file.read_text())]

    def log(self, stage: str) -> str:
        """What the jobs of a stage have said so far."""
        files = sorted((self.folder / "artifacts/.logs" / stage).glob("*.log"))
        return "".join(file.read_text() for file in files)


def finish(process: subprocess.Popen[str], timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Wait for a workflow; whatever it started here is ended when it takes too long."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise AssertionError(f"not done after {timeout_s} s:\n{output}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, output, "")


def cluster_project(folder: Path, experiment: dict[str, Any]) -> ClusterProject:
    """A clone with the profiles' links and one experiment."""
    copy_project(folder, experiment)
    for name in ("slurm", "pbs"):
        if not (folder / name).exists():
            (folder / name).symlink_to(f"workflow/profiles/{name}")
    return ClusterProject(folder)
