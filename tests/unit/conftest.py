"""Dask clusters that last for the session, limits on time, and the lines that the package logs."""

import gc
import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.clusters.base import ClusterSpec, Place
from headrace.logs import logger
from headrace.registry import restore
from headrace.workers import Workers


class TookTooLongError(Exception):
    """No TimeoutError, which the code under test may expect."""


@contextmanager
def forgiving() -> Iterator[None]:
    """Dask leaves sockets to the garbage collector when workers come and go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def start_workers(workers: int, folder: Path) -> Iterator[Workers]:
    place = Place(folder / "logs", folder / "secrets")
    context = restore("clusters", {"kind": "local", "workers": workers}, ClusterSpec).open(place)
    with forgiving():
        opened = context.__enter__()
    yield opened
    with forgiving():
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    yield from start_workers(1, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    yield from start_workers(2, tmp_path_factory.mktemp("two"))


@pytest.fixture
def sockets_may_leak() -> Iterator[None]:
    """For tests that kill workers."""
    with forgiving():
        yield


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What the package logs while a test runs; a stage that ran before may have turned propagation off."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def run_with_limit() -> Callable[..., Any]:
    """Call a function that may never return; an endless loop becomes a TookTooLongError."""

    def run(function: Callable[[], Any], *, seconds: int) -> Any:
        def stop(*_: object) -> None:
            raise TookTooLongError(f"not done after {seconds} s")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
        try:
            return function()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return run
