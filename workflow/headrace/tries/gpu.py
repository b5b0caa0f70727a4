"""How busy the GPUs of a job are while it works, and what power they draw, as nvidia-smi tells."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

PAUSE_S = 10.0
TIMEOUT_S = 10.0


class GpuSampler:
    """Looks now and then in a thread of its own; means of all looks: `percent` of a GPU, `watts` of all together."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self.pause_s = pause_s
        self.samples: list[float] = []
        self.powers: list[float] = []
        """Watts of all GPUs together."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="headrace-gpu", daemon=True)

    def __enter__(self) -> GpuSampler:
        if shutil.which("nvidia-smi") and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=TIMEOUT_S)

    @property
    def percent(self) -> float | None:
        """Mean utilisation in percent; None where there is no GPU, or nothing was seen."""
        return round(sum(self.samples) / len(self.samples), 1) if self.samples else None

    @property
    def watts(self) -> float | None:
        """Mean power of all GPUs together; None where there is no GPU, or it does not say."""
        return round(sum(self.powers) / len(self.powers), 1) if self.powers else None

    def _watch(self) -> None:
        while not self._ended.wait(self.pause_s):
            found = look()
            self.samples += [utilisation for utilisation, _ in found]
            powers = [watts for _, watts in found if watts is not None]
            self.powers += [sum(powers)] if powers else []


def look() -> list[tuple[float, float | None]]:
    """The utilisation of each GPU of this process in percent, and its power in watts where that is told.

    None where nvidia-smi does not answer.
    """
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,power.draw", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [[_number(part) for part in line.split(",")] for line in done.stdout.splitlines()]
    return [(line[0], line[1] if len(line) > 1 else None) for line in lines if line and line[0] is not None]


def _number(text: str) -> float | None:
    return float(text) if text.strip().replace(".", "", 1).isdecimal() else None
