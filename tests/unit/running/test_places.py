"""How many runs of a job are trained at a time, and on which GPU each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.running.places import cores_of, deal_gpus, num_children
from headrace.stages import train
from headrace.tries.stopping import NEVER

GPUS = st.lists(st.from_regex(r"[0-9]|GPU-[0-9a-f]{8}", fullmatch=True), min_size=1, max_size=8, unique=True)


def settings(threads: int = 1, world_size: int = 1, device: str = "cpu") -> Mapping[str, Any]:
    return {"threads": threads, "world_size": world_size, "device": device}


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1), st.integers(1, 64))
def test_runs_that_are_trained_at_a_time_find_cores_or_there_is_one(sizes: list[tuple[int, int]], cores: int) -> None:
    training = [settings(*size) for size in sizes]
    needed = max(threads * ranks for threads, ranks in sizes)
    assert cores_of(training) == needed
    num = num_children(training, cores)
    assert num == 1 or num * needed <= cores
    assert (num + 1) * needed > cores


@given(GPUS, st.integers(1, 5))
def test_every_gpu_gets_as_many_runs_as_it_may_and_one_before_another_gets_two(gpus: list[str], each: int) -> None:
    dealt = deal_gpus(gpus, each)
    assert Counter(dealt) == dict.fromkeys(gpus, each)
    for num in range(len(dealt) + 1):
        counts = Counter(dict.fromkeys(gpus, 0) | Counter(dealt[:num]))
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(
    ("visible", "each", "wanted"),
    [
        ("0,1", 1, ["0", "1"]),
        ("0,1", 2, ["0", "1", "0", "1"]),
        ("GPU-5,MIG-7", 1, ["GPU-5", "MIG-7"]),
        ("3", 2, ["3", "3"]),
    ],
)
def test_processes_of_their_own_see_the_gpu_of_their_place(
    monkeypatch: pytest.MonkeyPatch, visible: str, each: int, wanted: list[str]
) -> None:
    made: list[tuple[list[Mapping[str, str]], str]] = []

    class Noted:
        def __init__(self, work: Any, stop: Any, places: list[Mapping[str, str]], method: str) -> None:
            made.append((places, method))

        def run(self, tasks: Any) -> dict[str, int]:
            return {}

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(train, "Pool", Noted)
    tasks: Any = [SimpleNamespace(id=str(i), spec={"training": settings(device="cuda")}) for i in range(4)]
    job: Any = SimpleNamespace(stop=NEVER, cores=1, runs_per_gpu=each)
    train.run_alone(job, tasks)
    # CUDA cannot be used in a process that was forked from one that has used it.
    assert made == [([{"CUDA_VISIBLE_DEVICES": gpu} for gpu in wanted], "spawn")]


def test_a_gpu_that_runs_do_not_share_is_used_by_the_process_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: list[str] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(train, "open_data", lambda task: {})
    monkeypatch.setattr(train, "seal", lambda task, data, stop: sealed.append(task.id))
    tasks: Any = [SimpleNamespace(id=str(i), spec={"training": settings(device="cuda")}) for i in range(2)]
    job: Any = SimpleNamespace(stop=NEVER, cores=1, runs_per_gpu=1)
    train.run_alone(job, tasks)
    assert sealed == ["0", "1"]
