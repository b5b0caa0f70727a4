"""A run over two ranks through the stage: started by torchrun's agent, told to stop, killed, gone on with, sealed."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.__main__ import main
from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.planning.plan import Plan, Site
from headrace.provenance.checkpoints import NEWEST
from headrace.provenance.manifests import read_json, read_manifest
from headrace.schedulers import base
from headrace.schedulers.base import OwnJob
from headrace.schedulers.slurm.scheduler import Slurm
from headrace.stages import train
from headrace.stores.arrays import load_arrays

EXPERIMENT: dict[str, Any] = {
    "name": "shared",
    "datasets": {"tumours": {"kind": "breast_cancer"}},
    "models": [{"kind": "fnn", "hidden": [8], "world_size": 2}],
    "training": {"epochs": 80, "batch_size": 64, "learning_rate": 0.0001, "device": "cpu"},
    "evaluation": {"bootstrap": 5},
}
TIMEOUT_S = 90


@dataclass
class Place:
    """The experiment planned in a folder, its data sharded."""

    plan: Plan

    @classmethod
    def make(cls, folder: Path, experiment: dict[str, Any]) -> "Place":
        plan = Plan(check_experiment(experiment), Site(artifacts=folder / "artifacts", results=folder / "results"))
        plan.write_specs()
        return cls(plan)

    @property
    def command(self) -> list[str]:
        (job,) = (job for job in self.plan.jobs if job.stage == "train")
        return ["train", str(receipt_path(self.plan.site.artifacts, "train", job.id)), "--cores", "2"]

    @property
    def run(self) -> str:
        return self.plan.runs[0].train.id

    @property
    def folder(self) -> Path:
        return artifact_path(self.plan.site.artifacts, "train", self.run)

    @property
    def checkpoints(self) -> Path:
        return self.plan.site.artifacts / ".checkpoints" / self.run

    def start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "headrace", *self.command]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    environment = dict(os.environ)
    made = Place.make(tmp_path_factory.mktemp("shared"), EXPERIMENT)
    (job,) = (job for job in made.plan.jobs if job.stage == "shard")
    with warnings.catch_warnings():
        # Dask leaves sockets of closed clusters to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        assert main(["shard", str(receipt_path(made.plan.site.artifacts, "shard", job.id)), "--workers", "1"]) == 0
    yield made
    os.environ.clear()
    os.environ.update(environment)


def read_until(process: "subprocess.Popen[str]", words: str) -> list[str]:
    """The lines of a log up to the first with these words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"{words!r} was never said:\n{''.join(lines)}")


def ranks_of(process: "subprocess.Popen[str]") -> dict[int, psutil.Process]:
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        if "rank" in child.cmdline():
            found[int(child.environ()["RANK"])] = child
    return found


class OnThisMachine(Slurm):
    """Starts what belongs on another node here."""

    def node_command(self, node: str, command: Sequence[str]) -> list[str]:
        return list(command)


def as_if_on_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchrun for each of two names of this machine."""
    found = (OnThisMachine(), OwnJob(str(os.getpid()), nodes=("127.0.0.1", "localhost")))
    for module in (base, train):
        monkeypatch.setattr(module, "find_own_job", lambda: found)


def test_a_run_that_was_stopped_and_lost_a_rank_ends_with_the_bits_of_one_over_two_torchruns_that_was_not(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = place.start()
    read_until(process, "rank 0: epoch 1 of 80")
    ranks = ranks_of(process)
    assert set(ranks) == {0, 1}
    assert all(
        connection.laddr.ip == "127.0.0.1"
        for rank in ranks.values()
        for connection in rank.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    )
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "was told to stop (SIGTERM); saved after epoch" in log.splitlines()[-1]
    assert (place.checkpoints / NEWEST).is_file()
    assert not place.folder.exists()

    process = place.start()
    read_until(process, "rank 0: going on after epoch")
    ranks_of(process)[1].kill()
    lines = read_until(process, "rank 0: going on after epoch")
    assert any("rank 1 of 2 died (SIGKILL), and the others ended with it" in line for line in lines)
    assert any(f"{place.run}: its process ended with SIGKILL" in line for line in lines)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, log
    assert not place.checkpoints.exists()

    interrupted = read_manifest(place.folder)
    assert interrupted is not None
    assert interrupted["execution"]["resumed_from_epoch"] > 0
    place.folder.rename(tmp_path / "interrupted")
    receipt = Path(place.command[1])
    receipt.unlink()
    as_if_on_two_nodes(monkeypatch)
    assert main(place.command) == 0
    whole = read_manifest(place.folder)
    assert whole is not None
    assert whole["status"] == "done"
    assert whole["execution"]["resumed_from_epoch"] == 0
    assert whole["outputs"] == interrupted["outputs"]

    assert len(read_json(place.folder / "curves.json")) == 80
    weights = load_arrays(place.folder / "weights.safetensors")
    assert sum(values.size for values in weights.values()) == read_json(place.folder / "summary.json")["num_parameters"]


BROKEN = """
import os

if os.environ.get("RANK") == "0":
    from headrace.training.run import Run

    step = Run.step

    def step_twice(self, batch):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > 2:
            raise ValueError("row 7 is broken")
        return step(self, batch)

    Run.step = step_twice
elif os.environ.get("RANK") == "1":
    from headrace.commands import ranks

    train = ranks._train

    def train_or_abort(*arguments):
        # As NCCL's watchdog does where the connection to the others is lost.
        outcome = train(*arguments)
        os.abort() if outcome.error or outcome.failure else None
        return outcome

    ranks._train = train_or_abort
"""
"""Every Python that begins reads it: one rank makes a mistake, of which the other one dies."""


def test_the_mistake_of_a_rank_is_the_runs_though_another_one_died_of_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Place.make(tmp_path, {**EXPERIMENT, "training": {**EXPERIMENT["training"], "seeds": [2]}})
    (tmp_path / "artifacts" / "shard").symlink_to(place.plan.site.artifacts / "shard")
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    process = other.start()
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, log
    manifest = read_manifest(other.folder)
    assert manifest is not None
    assert (manifest["status"], manifest["reason"]) == ("failed", "ValueError: row 7 is broken")
    assert "died" not in log


def test_nobody_outlives_a_stage_that_was_killed(place: Place, tmp_path: Path) -> None:
    other = Place.make(tmp_path, {**EXPERIMENT, "training": {**EXPERIMENT["training"], "epochs": 5000, "seeds": [1]}})
    (tmp_path / "artifacts" / "shard").symlink_to(place.plan.site.artifacts / "shard")
    process = other.start()
    try:
        read_until(process, "rank 0: epoch 1 of")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(child.is_running() for child in children):
        time.sleep(0.05)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
