"""One line a message, with the time: to a terminal when a person runs a stage, to its log file in a workflow."""

from __future__ import annotations

import logging
import sys
import warnings

logger = logging.getLogger("headrace")
FORMAT = "%(asctime)s %(levelname)s %(message)s"
TIME = "%Y-%m-%d %H:%M:%S"


def start_logging() -> None:
    """Send the messages of this process to standard error, a line each, with local time and level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, TIME))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    warnings.filterwarnings("default", module="headrace")


def name_in_log(name: str) -> None:
    """Begin every message of this process with a name: others write to the same log."""
    if not logger.handlers:
        start_logging()
    for handler in logger.handlers:
        handler.setFormatter(
            logging.Formatter(FORMAT.replace("%(message)s", name.replace("%", "%%") + ": %(message)s"), TIME)
        )
