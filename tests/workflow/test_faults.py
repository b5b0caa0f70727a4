"""What a user's machine does to a workflow: kills, two starts at once, damage. The digest is the undisturbed one's."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from projects import SMALL, Project


def stages_of(project: Project) -> list[psutil.Process]:
    """The stages that work on a project's artifacts."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if process.info["cwd"] == str(project.folder) and any(
            part.startswith("artifacts/.receipts") for part in command
        ):
            found.append(process)
    return found


def wait_for_stage(project: Project, stage: str, timeout_s: float = 120) -> psutil.Process:
    """The first process of a stage, as soon as it has signed in."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for process in stages_of(project):
            notes = (project.folder / "artifacts/.running").glob(f"*-{process.pid}.json")
            with suppress(psutil.NoSuchProcess):
                if stage in process.cmdline() and any(notes):
                    return process
        time.sleep(0.05)
    raise AssertionError(f"no {stage} within {timeout_s} s")


def finish(tiny: Project) -> None:
    """The same command again, until the end."""
    done = tiny.snakemake()
    assert done.returncode == 0, done.stdout
    assert "--unlock" not in done.stdout
    assert not stages_of(tiny)


def assert_kept(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> None:
    """What was sealed before a kill was not made again."""
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("stage", ["shard", "train"])
def test_a_killed_workflow_goes_on_and_its_stage_is_ended(tiny: Project, undisturbed: str, stage: str) -> None:
    workflow = tiny.start()
    orphan = wait_for_stage(tiny, stage)
    os.kill(workflow.pid, signal.SIGKILL)
    workflow.wait()
    workflow.stdout.close()
    assert orphan.is_running()
    before = tiny.manifests()
    done = tiny.snakemake()
    assert done.returncode == 0, done.stdout
    assert "cleared the lock of a workflow that was killed" in done.stdout
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert_kept(before, tiny.manifests())
    assert tiny.digest() == undisturbed


def test_a_killed_run_is_begun_again_and_nobody_notices(tiny: Project, undisturbed: str) -> None:
    workflow = tiny.start()
    training = wait_for_stage(tiny, "train")
    runs: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while not runs and time.monotonic() < deadline:
        runs = training.children()
    runs[0].kill()
    output, _ = workflow.communicate(timeout=300)
    assert workflow.returncode == 0, output
    assert any(
        "its process ended with SIGKILL" in log.read_text() for log in tiny.folder.glob("artifacts/.logs/train/*")
    )
    assert tiny.digest() == undisturbed


@pytest.mark.parametrize("stage", ["preprocess", "train", "evaluate"])
def test_a_killed_stage_fails_the_workflow_and_goes_on(tiny: Project, undisturbed: str, stage: str) -> None:
    workflow = tiny.start()
    wait_for_stage(tiny, stage).kill()
    output, _ = workflow.communicate(timeout=300)
    assert workflow.returncode == 1
    assert stage in output
    before = tiny.manifests()
    finish(tiny)
    assert_kept(before, tiny.manifests())
    assert tiny.digest() == undisturbed


def test_kills_at_random_moments_change_nothing(tiny: Project, undisturbed: str) -> None:
    generator = random.Random(5)
    for _ in range(4):
        before = tiny.manifests()
        workflow = tiny.start()
        time.sleep(generator.uniform(1, 12))
        os.killpg(workflow.pid, signal.SIGKILL)
        workflow.communicate()
        assert_kept(before, tiny.manifests())
    before = tiny.manifests()
    finish(tiny)
    assert_kept(before, tiny.manifests())
    assert tiny.digest() == undisturbed


def test_the_second_of_two_starts_says_who_works(tiny: Project) -> None:
    first = tiny.start()
    try:
        wait_for_stage(tiny, "shard")
        second = tiny.snakemake()
        assert second.returncode == 2
        assert str(first.pid) in second.stdout
        assert "small" in second.stdout.splitlines()[-1]
        assert first.poll() is None
        first.communicate(timeout=300)
        assert first.returncode == 0
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)


def test_a_damaged_shard_is_never_read(finished: Project) -> None:
    victim = next((finished.folder / "artifacts/preprocess").glob("breast_cancer-*/data.zarr/inputs/c/0/0"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 1
    victim.write_bytes(content)
    verified = finished.headrace("verify", "results/small")
    assert verified.returncode == 1
    assert "breast_cancer-standardize-" in verified.stdout
    assert "data.zarr/inputs/0: chunk 0" in verified.stdout
    experiment = {**SMALL, "training": {**SMALL["training"], "epochs": 2}}
    finished.write(experiment)
    done = finished.snakemake("--keep-going")
    assert done.returncode == 1
    assert "inputs/c/0/0: chunk 0 is damaged" in done.stdout


def test_touched_files_make_nothing_run(finished: Project) -> None:
    before = finished.manifests()
    for path in (finished.folder / "artifacts/.receipts").rglob("*.ok"):
        os.utime(path, (2_000_000_000, random.Random(path.name).randint(0, 2_000_000_000)))
    done = finished.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
    assert finished.manifests() == before
