"""What the processors of a machine take of energy, by the counters that Linux shows where they may be read.

They are those of RAPL (running average power limit): one for every package, in microjoules, and all of the machine's
work is in them, whosever it is.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path

COUNTERS = Path("/sys/class/powercap")
PACKAGE = re.compile(r"intel-rapl:[0-9]+")
"""Of AMD's processors too; what has another colon is part of a package and counted there."""
PAUSE_S = 60.0
"""A counter starts again from 0 after 262 kJ or more: not within a minute."""


class EnergyMeter:
    """Adds up in a thread of its own what the counters move."""

    def __init__(self, folder: Path = COUNTERS, pause_s: float = PAUSE_S) -> None:
        self.folder, self.pause_s = folder, pause_s
        self._total_uj = 0
        self._last = read_counters(folder)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="headrace-energy", daemon=True)

    def __enter__(self) -> EnergyMeter:
        if self._last:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look()

    @property
    def joules(self) -> float | None:
        """Since it was made; None where no counter may be read."""
        return self._total_uj / 1e6 if self._last else None

    def _watch(self) -> None:
        while not self._ended.wait(self.pause_s):
            self._look()

    def _look(self) -> None:
        now = read_counters(self.folder)
        for package, (before, size) in self._last.items():
            if package in now:
                self._total_uj += (now[package][0] - before) % size
        self._last = {**self._last, **now}


def read_counters(folder: Path) -> dict[str, tuple[int, int]]:
    """Where the counter of every package stands, and how many microjoules it counts before it starts again."""
    found = {}
    for path in sorted(folder.glob("intel-rapl:*")):
        # Most systems let none but root read them.
        with suppress(OSError, ValueError):
            if PACKAGE.fullmatch(path.name):
                value, largest = (int((path / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[path.name] = (value, largest + 1)
    return found
