"""What a stage keeps for the report."""

import numpy as np
import pytest

from headrace.batching.batches import open_split
from headrace.stages.evaluate import NUM_SHOWN, pick_shown
from sample_stores import write_artifact


@pytest.mark.parametrize("num_rows", [1, 5, 12, 13, 1024, 2500])
def test_samples_that_are_shown_are_spread_over_the_split(tmp_path, num_rows):
    rows = np.arange(num_rows, dtype=np.float32)[:, np.newaxis] * np.ones(3, np.float32)
    write_artifact(tmp_path, {"train": {"inputs": rows[:1]}, "test": {"inputs": rows}})
    shown = pick_shown(open_split(tmp_path, "test"), -rows)
    assert np.array_equal(shown["mean"], -shown["inputs"])
    found = shown["inputs"][:, 0]
    assert len(found) == min(num_rows, NUM_SHOWN)
    assert found[0] == 0
    assert found[-1] == num_rows - 1
    steps = np.diff(found)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1
