"""What the report says of runs that the stages made."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

from headrace.findings.gathering import gather
from headrace.judging.group_metrics import GroupScores
from headrace.planning.artifacts import receipt_path
from headrace.running.jobs import Job
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from headrace.stores.layout import STORE
from sample_runs import Made, make_runs

ROWS = 300


def save_everywhere(folder: Path) -> dict[str, dict[str, Any]]:
    """The same loans in files of three formats, as datasets of an experiment."""
    generator = np.random.default_rng(0)
    region = generator.choice(["north", "south"], ROWS)
    x = generator.normal(size=(ROWS, 2)).round(3)
    noise = generator.normal(size=ROWS) * (region == "south")
    repaid = (x[:, 0] + noise > 0).astype(int)
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "repaid": repaid, "region": region}).to_csv(
        folder / "loans.csv", index=False
    )
    np.savez(folder / "loans.npz", x=x, repaid=repaid, region=region)
    variables = {"x": (("loan", "feature"), x), "repaid": (("loan",), repaid), "region": (("loan",), region)}
    xr.Dataset(variables).to_netcdf(folder / "loans.nc", engine="h5netcdf")
    keys = {"target": "repaid", "groups": "region", "rows_per_shard": 70}
    return {
        "table": {"kind": "csv", "path": str(folder / "loans.csv"), **keys},
        "arrays": {"kind": "npz", "path": str(folder / "loans.npz"), "inputs": "x", **keys},
        "grid": {"kind": "netcdf", "path": str(folder / "loans.nc"), "inputs": "x", **keys},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    folder = tmp_path_factory.mktemp("groups")
    datasets = save_everywhere(folder)
    experiment = {
        "name": "grouped",
        "datasets": {**datasets, "patients": {"kind": "diabetes", "groups": "sex"}},
        "features": {"scaled": [{"kind": "standardize"}]},
        "models": [
            {"kind": "linear", "features": "scaled", "name": name, "datasets": [name]}
            for name in (*datasets, "patients")
        ],
        "training": {"epochs": 3, "device": "cpu"},
        "evaluation": {"bootstrap": 0},
    }
    return make_runs(folder, one_worker, experiment)


@pytest.fixture(scope="module")
def scores(made: Made) -> dict[str, GroupScores]:
    (job,) = (job for job in made.plan.jobs if job.stage == "report")
    found = gather(Job(receipt_path(made.root, job.stage, job.id))).runs
    return {run.dataset: run.groups for run in found if run.groups is not None}


@pytest.mark.parametrize("other", ["arrays", "grid"])
def test_scores_by_group_do_not_depend_on_the_format_of_the_data(scores: dict[str, GroupScores], other: str) -> None:
    table, same = scores["table"], scores[other]
    assert (same.column, same.names) == (table.column, table.names) == ("region", ("north", "south"))
    assert_array_equal(same.counts, table.counts)
    assert same.gaps == table.gaps
    assert same.gaps["accuracy gap"] > 0
    assert set(same.scores) == set(table.scores)
    for name, values in table.scores.items():
        assert_array_equal(same.scores[name], values)


def test_errors_by_group_of_shipped_data_are_those_of_their_samples(made: Made, scores: dict[str, GroupScores]) -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False, as_frame=True)
    with xr.open_zarr(made.shards("patients") / STORE) as store:
        test = store["source_row"].to_numpy()[store["split"].to_numpy() == 2]
    prediction = load_arrays(made.evaluation("patients") / "predictions.safetensors")["prediction"].reshape(-1)
    wrong = pd.Series(prediction.astype(float) - data.target.to_numpy()[test]).abs()
    wanted = wrong.groupby(data.data["sex"].to_numpy()[test]).agg(["mean", "size"])
    found = scores["patients"]
    assert (found.column, found.names) == ("sex", ("1", "2"))
    assert found.counts.tolist() == wanted["size"].tolist()
    np.testing.assert_allclose(found.scores["mae"], wanted["mean"], rtol=1e-6)
