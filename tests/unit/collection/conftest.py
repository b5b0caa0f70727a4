"""Results in a folder of a test's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sample_experiments import write_results


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the results of a sample by name, with changes."""
    return partial(write_results, tmp_path / "results")
