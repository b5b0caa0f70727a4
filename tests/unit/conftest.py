"""Limits on time, and the lines that the package logs."""

import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headrace.logs import logger


class TookTooLongError(Exception):
    """No TimeoutError, which the code under test may expect."""


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
