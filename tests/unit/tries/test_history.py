"""How jobs were tried, and what follows from it."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StageError
from headrace.schedulers.base import JobState, OwnJob
from headrace.schedulers.slurm import scheduler as slurm
from headrace.tries import history
from headrace.tries.history import cause_of, history_path, num_silent, one_try, raised, read_tries, settle
from headrace.tries.stopping import StoppedError

REQUESTED = {"memory_mib": 1000, "runtime_min": 30, "cores": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return history_path(tmp_path, "train", "fnn-12345678")


def spend(cpu_s: float) -> None:
    deadline = time.process_time() + cpu_s
    while time.process_time() < deadline:
        pass


def fail_with(path: Path, error: BaseException, owner: str = "me") -> None:
    with pytest.raises(type(error)), one_try(path, owner, REQUESTED, None):
        raise error


def test_a_try_says_what_it_asked_for_and_used(path: Path) -> None:
    with one_try(path, "me", REQUESTED, (slurm.SCHEDULER, OwnJob("17", queue="cpu", restarts=2))) as this:
        (begun,) = read_tries(path)
        assert (begun["outcome"], begun["job"], begun["restarts"]) == ("", "17", 2)
        this["workers"] = {"kind": "slurm"}
        spend(0.05)
    (done,) = read_tries(path)
    assert done["outcome"] == "done"
    assert done["requested"] == REQUESTED
    assert done["used"]["peak_memory_mib"] > 20
    assert 0.04 <= done["used"]["cpu_s"] <= done["used"]["seconds"] + 0.1
    assert done["used"]["workers"] == {"kind": "slurm"}


def test_what_ran_before_the_try_is_not_charged_to_it(path: Path) -> None:
    spend(0.3)
    with one_try(path, "me", REQUESTED, None):
        pass
    (one,) = read_tries(path)
    assert one["used"]["cpu_s"] <= one["used"]["seconds"] + 0.1


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (StoppedError("saved", "time limit"), "time limit"),
        (StoppedError("saved", "preemption"), "preemption"),
        (StageError("MemoryError: Unable to allocate 3 GiB"), "memory"),
        (StageError("fnn: CUDA out of memory. Tried to allocate"), "memory"),
        (StageError("KeyError: 'x'"), "code"),
        (KeyboardInterrupt(), "cancelled"),
    ],
)
def test_errors_are_told_apart(error: BaseException, cause: str, path: Path) -> None:
    fail_with(path, error)
    (one,) = read_tries(path)
    assert (one["outcome"], one["cause"]) == ("failed", cause)


def test_a_stumbling_file_system_is_worth_another_try() -> None:
    error = StageError("OSError: stale file handle")
    error.__cause__ = OSError(116, "stale file handle")
    assert cause_of(error) == "unknown"


def test_an_error_of_the_code_is_not_tried_again_by_the_same_workflow(path: Path) -> None:
    fail_with(path, StageError("KeyError: 'x'"))
    with pytest.raises(StageError, match=r"not tried again: .*KeyError: 'x'"), one_try(path, "me", REQUESTED, None):
        pytest.fail("it was")
    # Whoever starts a workflow again has repaired something.
    with one_try(path, "another", REQUESTED, None):
        pass
    assert [one["outcome"] for one in read_tries(path)] == ["failed", "done"]


def test_a_person_may_try_as_often_as_he_likes(path: Path) -> None:
    for _ in range(2):
        fail_with(path, StageError("KeyError: 'x'"), owner="")
    assert len(read_tries(path)) == 2


def test_only_the_last_tries_are_kept(path: Path) -> None:
    for _ in range(history.MAX_TRIES + 5):
        fail_with(path, StoppedError("saved", "time limit"))
    assert len(read_tries(path)) == history.MAX_TRIES


@pytest.mark.parametrize(
    ("causes", "resource", "stage", "asked"),
    [
        ([], "mem_mb", "train", 1000),
        (["memory"], "mem_mb", "train", 2000),
        (["memory", "memory"], "mem_mb", "shard", 4000),
        (["memory", "time limit", "preemption"], "mem_mb", "shard", 2000),
        (["memory"], "runtime", "shard", 1000),
        (["time limit"], "runtime", "shard", 2000),
        # A training goes on from its checkpoint, and its queue may grant no longer job.
        (["time limit"], "runtime", "train", 1000),
        (["node failure", "preemption", "unknown", "code"], "mem_mb", "train", 1000),
    ],
)
def test_only_what_was_short_is_raised(causes: Sequence[str], resource: str, stage: str, asked: int) -> None:
    assert raised(1000, resource, [{"cause": cause} for cause in causes], stage) == asked


@pytest.mark.parametrize(
    ("attempt", "tries", "silent"),
    [
        (1, [], 0),
        (2, [("memory", 0)], 0),
        (2, [], 1),
        (4, [("memory", 0)], 2),
        # The scheduler put the job back into its queue, which Snakemake does not count.
        (2, [("preemption", 0), ("preemption", 1), ("memory", 2)], 0),
        (3, [("preemption", 0), ("node failure", 1)], 1),
        # It is not tried again, and says so without another entry.
        (3, [("code", 0)], 0),
    ],
)
def test_tries_that_ended_without_a_word_are_counted(
    attempt: int, tries: Sequence[tuple[str, int]], silent: int
) -> None:
    entries = [{"cause": cause, "restarts": restarts} for cause, restarts in tries]
    assert num_silent(attempt, entries) == silent


def test_a_silent_try_raises_memory_alone() -> None:
    assert raised(1000, "mem_mb", [{"cause": "memory"}], "train", silent=1) == 4000
    assert raised(1000, "runtime", [], "shard", silent=1) == 1000


class Told:
    """A scheduler that knows how one job ended."""

    def __init__(self, **state: Any) -> None:
        self.state = JobState("failed", **state)

    def states(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        return dict.fromkeys(jobs, self.state)


@pytest.mark.parametrize(("told", "cause"), [("memory", "memory"), ("time limit", "time limit"), ("code", "unknown")])
@pytest.mark.parametrize("has_worked", [False, True], ids=["without a word", "after its work"])
def test_a_try_whose_job_was_ended_is_judged_by_the_scheduler(
    told: Any, cause: str, has_worked: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_try(path, "me", REQUESTED, (slurm.SCHEDULER, OwnJob("17"))):
        left = read_tries(path)
    if not has_worked:
        path.write_text(json.dumps(left))
    monkeypatch.setattr(history, "load_scheduler", lambda name: Told(cause=told, reason="as said"))
    (one,) = settle(path, "me")
    assert (one["outcome"], one["cause"]) == ("failed", cause)
    assert "as said" in one["message"]
    # It stays known when the next try begins.
    with one_try(path, "me", REQUESTED, None):
        pass
    assert [one["cause"] for one in read_tries(path)] == [cause, None]


@pytest.mark.parametrize("content", ["", "[", "{}", '["x"]', "\x00"])
def test_a_damaged_file_is_no_history(content: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert read_tries(path) == []
