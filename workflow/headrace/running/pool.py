"""Pieces of work in processes of their own, several at a time: one that dies costs the others nothing.

A process that was forked from one which has imported and warmed up everything begins in some 20 ms and shares that
memory, where a fresh one needs seconds. Where forking is unsafe (CUDA, macOS) processes are spawned.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, TypeVar

from headrace.errors import InputError, StageError
from headrace.logs import logger, name_in_log
from headrace.running.processes import describe
from headrace.tries.stopping import Stop, StoppedError

LOOK_S = 0.5
MAX_TRIES = 2
"""Of a piece of work whose process dies."""
PR_SET_PDEATHSIG = 1


class Piece(Protocol):
    """Something to be done."""

    @property
    def id(self) -> str:
        """What it is called in the log."""


P = TypeVar("P", bound=Piece)


@dataclass(frozen=True)
class Told:
    """What a process says of its error before it ends."""

    message: str
    stopped: StoppedError | None
    by_system: bool
    """Whether the system was at fault, which may stand again for another try."""

    def __reduce__(self) -> tuple[Callable[..., Told], tuple[object, ...]]:
        """An error with more than a message is not sent as it is."""
        cause = None if self.stopped is None else self.stopped.cause
        return _told, (self.message, cause, self.by_system)

    def error(self) -> StageError:
        """To be raised again."""
        if self.stopped is not None:
            return self.stopped
        error = StageError(self.message)
        error.__cause__ = OSError(self.message) if self.by_system else None
        return error


def _told(message: str, cause: str | None, by_system: bool) -> Told:
    return Told(message, None if cause is None else StoppedError(message, cause), by_system)  # type: ignore[arg-type]


@dataclass
class _Child(Generic[P]):
    piece: P
    place: int
    process: BaseProcess
    receiver: Connection

    def ended(self) -> Told | int | None:
        """What it said, or how it died, or nothing when all is well. Once its process has ended."""
        told: Told | None = None
        with suppress(EOFError):
            told = self.receiver.recv() if self.receiver.poll() else None
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        self.receiver.close()
        return told if told is not None else code or None


class Pool(Generic[P]):
    """At most as many processes at a time as there are places; each place has an environment of its own."""

    def __init__(
        self,
        work: Callable[[P], None],
        stop: Stop,
        places: Sequence[Mapping[str, str]],
        method: str = "fork",
    ) -> None:
        """`work` does one piece; where processes are spawned it must be importable, and hears of no `stop`."""
        self._work, self._stop, self._environments = work, stop, places
        self._context: ForkContext | SpawnContext = multiprocessing.get_context(method)  # type: ignore[assignment]
        self._free = list(range(len(places)))[::-1]
        self._running: dict[int, _Child[P]] = {}

    def run(self, pieces: Sequence[P]) -> dict[str, int]:
        """Do all of them; gives the exit code of those whose process died twice, by id.

        Raises what the first of them raised, or StoppedError when it is time, once the others have ended.
        """
        waiting, tries, dead = deque(pieces), Counter[str](), dict[str, int]()
        error: StageError | None = None
        told_to_stop = False
        # The garbage collector of a forked process would touch, and so copy, every object that it shares.
        gc.freeze()
        try:
            while self._running or (waiting and error is None and self._stop.cause is None):
                while waiting and self._free and error is None and self._stop.cause is None:
                    self._start(waiting.popleft())
                for child in self._wait():
                    ended = child.ended()
                    if isinstance(ended, Told):
                        error = error or ended.error()
                    elif ended is not None:
                        tries[child.piece.id] += 1
                        logger.error("%s: its process ended with %s", child.piece.id, describe(ended))
                        if tries[child.piece.id] < MAX_TRIES:
                            waiting.appendleft(child.piece)
                        else:
                            dead[child.piece.id] = ended
                if self._stop.cause == "preemption" and not told_to_stop:
                    # Of its time limit every process knows by itself.
                    told_to_stop = True
                    self._end(signal.SIGTERM)
        except BaseException:
            self._end(signal.SIGTERM)
            raise
        finally:
            gc.unfreeze()
        if error is not None:
            raise error
        if waiting:
            self._stop.check(f"{waiting[0].id} was not begun")
        return dead

    def _start(self, piece: P) -> None:
        place = self._free.pop()
        receiver, sender = self._context.Pipe(duplex=False)
        arguments = (self._work, piece, sender, self._environments[place], os.getpid())
        process = self._context.Process(target=_main, args=arguments, name=piece.id)
        process.start()
        sender.close()
        self._running[process.sentinel] = _Child(piece, place, process, receiver)

    def _wait(self) -> list[_Child[P]]:
        """Those that have ended since."""
        sentinels = wait(list(self._running), LOOK_S)
        ended = [self._running.pop(sentinel) for sentinel in sentinels if isinstance(sentinel, int)]
        self._free += [child.place for child in ended]
        return ended

    def _end(self, number: signal.Signals) -> None:
        for child in self._running.values():
            if child.process.pid is not None:
                os.kill(child.process.pid, number)


def _main(work: Callable[[P], None], piece: P, sender: Connection, environment: Mapping[str, str], parent: int) -> None:
    """The life of a process."""
    end_with(parent)
    os.environ.update(environment)
    name_in_log(piece.id)
    try:
        work(piece)
    except KeyboardInterrupt:
        sender.send(Told(f"{piece.id}: interrupted", None, by_system=True))
    except (StageError, InputError) as error:
        stopped = error if isinstance(error, StoppedError) else None
        sender.send(Told(str(error), stopped, isinstance(error.__cause__, OSError)))
    except Exception as error:
        # The log keeps where it happened; its last line says what.
        traceback.print_exc()
        message = f"{piece.id}: {type(error).__name__}: {' '.join(str(error).split())}"
        sender.send(Told(message, None, isinstance(error, OSError)))


def end_with(parent: int) -> None:
    """End this process when its parent does: another one may do by now what was done for one that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
