"""A project as a user has it: a copy of the clone, with a small experiment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    "name": "small",
    "description": "Does a higher learning rate help on two small tables?",
    "datasets": {"tumours": {"kind": "breast_cancer"}, "progression": {"kind": "diabetes"}},
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [
        {"kind": "fnn", "features": "scaled", "hidden": [8], "sweep": {"grid": {"learning_rate": [0.01, 0.03]}}},
        {
            "kind": "vae",
            "features": "scaled",
            "hidden": 8,
            "latent": 2,
            "likelihood": "gaussian",
            "seeds": [0],
            "datasets": ["tumours"],
        },
    ],
    "training": {"epochs": 3, "batch_size": 64, "seeds": [0, 1], "device": "cpu"},
    "evaluation": {"bootstrap": 50, "baseline": "fnn"},
}

TINY = {
    **SMALL,
    "datasets": {"tumours": {"kind": "breast_cancer"}},
    "models": SMALL["models"][:1],
}
"""One job a stage, four runs: for tests that let it run many times."""


@dataclass
class Project:
    """A folder in which a user works."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Its own copy of the package comes before the installed one."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PYTHONPATH": str(self.folder / "workflow"), "PATH": path, "NO_COLOR": "1"}

    def write(self, experiment: dict, name: str = "small.yaml") -> Path:
        """Save an experiment file."""
        path = self.folder / "configs" / name
        path.write_text(yaml.safe_dump(experiment, sort_keys=False))
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "configs/small.yaml", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **pipes)

    def snakemake(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; whatever it started is ended when it takes too long."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, "")

    def headrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ours."""
        command = [sys.executable, "-m", "headrace", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )

    def digest(self) -> str:
        """The digest of the small experiment's result."""
        done = self.headrace("digest", "results/small")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def manifests(self) -> dict[str, tuple[int, int]]:
        """When each artifact was sealed, and its inode: a second sealing changes either."""
        paths = (self.folder / "artifacts").glob("*/*/manifest.json")
        return {path.parent.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def copy_project(folder: Path, experiment: dict = SMALL) -> Project:
    """What a clone holds, and one experiment."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=ignored)
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copytree(ROOT / "envs", folder / "envs")
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "profiles").symlink_to("workflow/profiles")
    project = Project(folder)
    project.write(experiment)
    return project
