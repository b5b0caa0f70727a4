"""When a stage must stop."""

import os
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.tries.stopping import MARGIN_S, NEVER, Stop, StoppedError


@given(st.floats(0, 1e6))
def test_work_stops_before_the_end_and_never_before_three_quarters_of_a_short_job(left_s: float) -> None:
    stop = Stop(ends_at=1000 + left_s, now=1000)
    assert stop.deadline is not None
    kept_s = 1000 + left_s - stop.deadline
    assert kept_s == pytest.approx(min(MARGIN_S, left_s / 4), abs=1e-6)


def test_without_a_limit_there_is_always_time() -> None:
    assert NEVER.cause is None
    NEVER.check("nothing was saved")


def test_after_the_deadline_the_error_says_how_long_there_would_be() -> None:
    stop = Stop(ends_at=time.time() + 30, now=time.time() - 1000)
    assert stop.cause == "time limit"
    with pytest.raises(StoppedError, match=r"stops (29|30) s before its time limit; saved") as error:
        stop.check("saved")
    assert error.value.cause == "time limit"


def test_sigterm_is_heard_and_ends_nothing_by_itself() -> None:
    stop = Stop(ends_at=time.time() + 1000)
    stop.listen()
    assert stop.cause is None
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.cause == "preemption"
    with pytest.raises(StoppedError, match="was told to stop"):
        stop.check("saved")


def test_what_a_test_made_of_signals_ends_with_it() -> None:
    # The one before has a stop that listens.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_log_says_until_when_there_is_time(log_lines: list[str]) -> None:
    Stop(ends_at=time.time() + 1000).say()
    assert log_lines[0].startswith("INFO this job's time is over in 1000 s; it will stop at ")
