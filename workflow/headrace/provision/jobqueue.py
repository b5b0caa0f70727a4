"""dask-jobqueue without its handler of Ctrl-C: with that one an interrupted stage ends as if all had gone well."""

from __future__ import annotations

import importlib
import signal
from typing import Any


def load_jobs(module: str) -> Any:
    """A module of dask-jobqueue, as `slurm`: whichever is imported first sets that handler. For the main thread."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return importlib.import_module(f"dask_jobqueue.{module}")
    finally:
        signal.signal(signal.SIGINT, before)
