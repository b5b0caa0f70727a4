"""When a stage must stop: shortly before its job's time is over, or when the scheduler says so by SIGTERM.

Signals that are sent to a batch script reach a wrapper and not the training, and a job that ran into its time limit is
not put back into the queue by its scheduler. So a stage looks at the clock itself, saves what it has, and ends with an
error of which the workflow knows that trying again is right.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

from headrace.errors import StageError
from headrace.logs import logger
from headrace.schedulers.base import Cause

MARGIN_S = 60.0
"""What a stage keeps for saving its work."""


class StoppedError(StageError):
    """A stage stopped because it had to; what it saved is gone on with the next time."""

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause


class Stop:
    """Asked between two pieces of work whether there is time for another one."""

    def __init__(self, ends_at: float | None = None, now: float | None = None) -> None:
        """`ends_at` is when the job's time is over, in seconds since the epoch; None: there is no limit."""
        now = time.time() if now is None else now
        # A short job would spend itself on a margin made for long ones.
        self.deadline = None if ends_at is None else ends_at - min(MARGIN_S, 0.25 * max(0.0, ends_at - now))
        self.ends_at = ends_at
        self._told = threading.Event()

    def listen(self) -> None:
        """From now on SIGTERM is a wish to stop. Only the main thread may call this."""
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._told.set()

    @property
    def cause(self) -> Cause | None:
        """Why to stop, or None while there is time."""
        if self._told.is_set():
            return "preemption"
        return "time limit" if self.deadline is not None and time.time() >= self.deadline else None

    def check(self, what: str) -> None:
        """Raise StoppedError when it is time; `what` says what was saved."""
        cause = self.cause
        if cause == "preemption":
            raise StoppedError(f"was told to stop (SIGTERM); {what}", cause)
        if cause is not None:
            left = max(0.0, (self.ends_at or 0.0) - time.time())
            raise StoppedError(f"stops {left:.0f} s before its time limit; {what}", cause)

    def say(self) -> None:
        """Tell the log until when there is time."""
        if self.deadline is not None:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.deadline))
            logger.info("this job's time is over in %.0f s; it will stop at %s", self.ends_at - time.time(), at)  # type: ignore[operator]


NEVER = Stop()
"""For whoever has all the time there is."""
