"""One process of one host, for good: a pid alone proves nothing, since it is used again after a while."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Process:
    """One process of one host, for good."""

    host: str
    pid: int
    started: float

    @classmethod
    def current(cls) -> Process:
        """The process that calls."""
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    def find(self) -> psutil.Process | None:
        """The living process, if it lives on this host."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            # The boot time behind create_time may be corrected by the clock's adjustment.
            if abs(process.create_time() - self.started) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def is_gone(self) -> bool:
        """Whether it is proved to have ended; never so for another host's."""
        return self.host == socket.gethostname() and self.find() is None


def describe(code: int) -> str:
    """The exit code of a process in words; a negative one is a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
