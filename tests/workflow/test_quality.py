"""What trained models reach on real data, over all seeds of the shipped experiment."""

import csv
import math
import statistics

import pytest

from projects import Project


@pytest.mark.slow
def test_sequence_models_tell_nine_speakers_apart(project: Project) -> None:
    """On the official test split; the goal lies within two standard errors of the mean over seeds, or below it."""
    done = project.snakemake("--configfile", "configs/vowels.yaml", timeout_s=900)
    assert done.returncode == 0, done.stdout
    with (project.folder / "results/vowels/results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["metric"]) == ("test", "accuracy")]
    for model, goal in (("gru", 0.95), ("transformer", 0.97)):
        values = [float(row["value"]) for row in rows if row["model"] == model]
        assert len(values) == 3
        error = statistics.stdev(values) / math.sqrt(len(values))
        assert statistics.mean(values) + 2 * error >= goal, f"{model}: {values}"
