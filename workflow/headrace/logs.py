"""One line a message, with the time: to a terminal when a person runs a stage, to its log file in a workflow."""

from __future__ import annotations

import logging
import sys
import warnings

logger = logging.getLogger("headrace")


def start_logging() -> None:
    """Send the messages of this process to standard error, a line each, with local time and level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    warnings.filterwarnings("default", module="headrace")
