"""Dask clusters that last for the session, limits on time, and the lines that the package logs."""

import gc
import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from distributed import Client

from headrace.clusters.base import ClusterSpec
from headrace.logs import logger
from headrace.registry import restore


@contextmanager
def forgiving() -> Iterator[None]:
    """Dask leaves sockets to the garbage collector when workers come and go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def start_workers(workers: int) -> Iterator[Client]:
    context = restore("clusters", {"kind": "local", "workers": workers}, ClusterSpec).open()
    with forgiving():
        client = context.__enter__()
    yield client
    with forgiving():
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def one_worker() -> Iterator[Client]:
    yield from start_workers(1)


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Client]:
    yield from start_workers(2)


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
    """Call a function that may never return; an endless loop becomes a TimeoutError."""

    def run(function: Callable[[], Any], *, seconds: int) -> Any:
        def stop(*_: object) -> None:
            raise TimeoutError(f"not done after {seconds} s")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
        try:
            return function()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return run
