"""How busy the GPUs of a job are while it works, as nvidia-smi tells."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

PAUSE_S = 10.0
TIMEOUT_S = 10.0


class GpuSampler:
    """Looks now and then in a thread of its own; the mean over all looks and GPUs is in `percent`."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self.pause_s = pause_s
        self.samples: list[float] = []
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

    def _watch(self) -> None:
        while not self._ended.wait(self.pause_s):
            self.samples += look()


def look() -> list[float]:
    """The utilisation of each GPU of this process in percent; none where nvidia-smi does not answer."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [float(line) for line in done.stdout.split() if line.replace(".", "", 1).isdecimal()]
