"""How the ranks of one run ended, in their own words and by their exit codes, and which of it decided."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import StageError
from headrace.provenance.manifests import write_json
from headrace.running.processes import describe
from headrace.schedulers.base import Cause
from headrace.tries.stopping import Stop, StoppedError

CLOSED_S = 15.0
"""After which SIGKILL is torchrun's own, which comes 30 s after its SIGTERM."""


class RankDiedError(Exception):
    """A rank ended without a word, by an exit code as processes have it: -9 for SIGKILL."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """How a rank ended, in its own words."""

    rank: int
    at: float
    """Seconds since the epoch: who fails first takes the others with it."""
    failure: str | None = None
    """Why the run failed: a result."""
    error: str | None = None
    """Why the stage cannot go on."""
    cause: Cause | None = None
    """Of an error that is a stop."""
    by_system: bool = False
    """Whether the system was at fault, which may stand again for another try."""
    by_peer: bool = False
    """Whether all that it knows is that it lost the others."""
    execution: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Leave it where the launcher looks."""
        write_json(folder / f"rank-{self.rank}.json", asdict(self))


def judge(said: Sequence[Outcome], dead: Mapping[int, int], world_size: int, stop: Stop) -> Outcome:
    """What decided: the first error that a rank told, else the first failure, else a death.

    Others lose a rank that fails or dies: what they say of that decides when nobody says more, and some are ended by
    their own libraries before they say anything. `dead` are the exit codes of ranks that failed by themselves.
    """
    said = sorted(said, key=lambda one: (one.by_peer, one.at))
    for outcome in said:
        if outcome.cause is not None:
            raise StoppedError(str(outcome.error), outcome.cause)
        if outcome.error is not None and not outcome.by_peer:
            raise StageError(outcome.error) from (OSError(outcome.error) if outcome.by_system else None)
    for outcome in said:
        if outcome.failure is not None:
            return outcome
    told = {outcome.rank for outcome in said}
    if told != set(range(world_size)):
        stop.check("its ranks were ended before they could save once more")
        # One that was ended by a signal before any that could not go on without it.
        for rank, code in sorted(dead.items(), key=lambda one: (one[1] >= 0, one[0])):
            if rank not in told:
                message = f"rank {rank} of {world_size} died ({describe(code)}), and the others ended with it"
                raise RankDiedError(message, code)
        message = f"only {len(told)} of {world_size} ranks told how they ended"
        raise StageError(message) from OSError(message)
    for outcome in said:
        if outcome.error is not None:
            raise StageError(outcome.error) from OSError(outcome.error)
    return min(said, key=lambda one: one.rank)


def died(failures: Mapping[int, tuple[int, float]]) -> dict[int, int]:
    """The exit codes of ranks, but for those that torchrun's agent ended because of another one.

    `failures` are exit codes and when they were seen, in seconds. The agent sends SIGTERM, and SIGKILL half a minute
    later to whoever lives on.
    """
    first = min((at for _, at in failures.values()), default=0.0)
    late = {-signal.SIGTERM: 0.0, -signal.SIGKILL: CLOSED_S}
    own = {rank: code for rank, (code, at) in failures.items() if code not in late or at < first + late[code]}
    return own or {rank: code for rank, (code, _) in failures.items()}
