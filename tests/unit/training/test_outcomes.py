"""How the ranks of a run ended: who decided it."""

import signal
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StageError
from headrace.provenance.manifests import read_json
from headrace.training.outcomes import Outcome, RankDiedError, died, judge
from headrace.tries.stopping import NEVER, Stop, StoppedError

LOST = {"by_peer": True, "by_system": True}


def said(*outcomes: dict[str, Any]) -> list[Outcome]:
    return [Outcome(**{"rank": rank, "at": 10.0 + rank, **one}) for rank, one in enumerate(outcomes)]


class Told(Stop):
    cause = "preemption"


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    outcome = Outcome(2, 12.5, error="the disk is full", by_system=True, execution={"device": "cpu"})
    outcome.write(tmp_path)
    assert Outcome(**read_json(tmp_path / "rank-2.json")) == outcome


def test_the_first_rank_speaks_for_a_run_that_went_well() -> None:
    ended = judge(said({"execution": {"device": "a"}}, {"execution": {"device": "b"}}), {}, 2, NEVER)
    assert (ended.rank, ended.failure, ended.execution) == (0, None, {"device": "a"})


def test_who_fails_first_decides() -> None:
    outcomes = said({"failure": "IndexError: 7"}, {"failure": "ValueError: row 7", "at": 9.0})
    assert judge(outcomes, {}, 2, NEVER).failure == "ValueError: row 7"


@pytest.mark.parametrize("dead", [{}, {1: -signal.SIGABRT}, {1: -signal.SIGKILL}])
def test_a_failure_of_its_own_beats_what_it_made_of_the_others_whoever_has_the_earlier_clock(
    dead: dict[int, int],
) -> None:
    own = {"failure": "ValueError: row 7", "at": 20.0}
    outcomes = said(own, {"error": "RuntimeError: connection closed", "at": 1.0, **LOST})[: 2 - len(dead)]
    ended = judge(outcomes, dead, 2, NEVER)
    assert (ended.rank, ended.failure) == (0, "ValueError: row 7")


def test_ranks_that_lost_each_other_and_nothing_else_may_try_again() -> None:
    outcomes = said(*({"error": f"rank {rank}: connection reset", **LOST} for rank in (0, 1)))
    with pytest.raises(StageError, match="rank 0: connection reset") as raised:
        judge(outcomes, {}, 2, NEVER)
    assert isinstance(raised.value.__cause__, OSError)


def test_whom_the_agent_ended_is_no_death_of_its_own() -> None:
    term, kill = -signal.SIGTERM, -signal.SIGKILL
    assert died({0: (2, 100), 1: (term, 100), 2: (kill, 130)}) == {0: 2}
    assert died({0: (term, 101), 1: (kill, 100), 2: (1, 100)}) == {1: kill, 2: 1}
    # Nobody else did anything: somebody outside sent it.
    assert died({0: (term, 100), 1: (term, 100)}) == {0: term, 1: term}
    assert died({}) == {}


def test_an_error_of_one_rank_beats_what_it_made_of_the_others() -> None:
    outcomes = said({"error": "connection closed", "at": 1.0, **LOST}, {"error": "disk full", "by_system": True})
    with pytest.raises(StageError, match="disk full") as raised:
        judge(outcomes, {1: 1, 0: 1}, 2, NEVER)
    assert isinstance(raised.value.__cause__, OSError)


def test_a_stop_stays_a_stop() -> None:
    outcomes = said({"error": "saved after epoch 3", "cause": "time limit"}, {"error": "saved", "cause": "time limit"})
    with pytest.raises(StoppedError, match="saved after epoch 3") as stopped:
        judge(outcomes, {0: 1, 1: 1}, 2, NEVER)
    assert stopped.value.cause == "time limit"


def test_a_rank_that_was_killed_is_named_when_the_others_only_lost_it() -> None:
    outcomes = said({"error": "RuntimeError: connection closed by peer", **LOST})
    with pytest.raises(RankDiedError, match=r"^rank 2 of 3 died \(SIGKILL\), and the others ended with it$") as died:
        judge(outcomes, {1: 3, 2: -signal.SIGKILL}, 3, NEVER)
    assert died.value.code == -signal.SIGKILL
    with pytest.raises(StoppedError, match="ended before they could save once more"):
        judge(outcomes, {2: -signal.SIGTERM}, 3, Told())


def test_ranks_that_say_nothing_are_the_systems_fault() -> None:
    with pytest.raises(StageError, match="only 1 of 2 ranks told how they ended") as raised:
        judge(said({}), {}, 2, NEVER)
    assert isinstance(raised.value.__cause__, OSError)
