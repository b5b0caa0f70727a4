"""The stages in this process: what they seal, skip, refuse and withdraw, from the first shard to the gate."""

import faulthandler
import gc
import json
import logging
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

from headrace.__main__ import main
from headrace.experiments.reading import check_experiment
from headrace.findings import gathering
from headrace.findings.gathering import gather
from headrace.judging.metrics import RESAMPLES
from headrace.judging.statistics import resample_weights
from headrace.planning.artifacts import Job, artifact_path, receipt_path, spec_path
from headrace.planning.plan import Plan, Site
from headrace.provenance.manifests import read_json, read_manifest
from headrace.reporting.report import render
from headrace.reporting.tidy import tabulate
from headrace.running import jobs
from headrace.stages import train
from headrace.stores.arrays import load_arrays
from headrace.stores.groups import read_attributes
from headrace.stores.layout import STORE

EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "datasets": {"tumours": {"kind": "breast_cancer", "rows_per_shard": 285}, "progression": {"kind": "diabetes"}},
    "features": {
        "scaled": [{"kind": "standardize"}],
        "reduced": [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 3}],
    },
    "models": [
        {"kind": "fnn", "features": "scaled", "hidden": [8], "datasets": ["tumours"]},
        {"kind": "fnn", "name": "reduced", "features": "reduced", "hidden": [4], "datasets": ["progression"]},
    ],
    "training": {"epochs": 2, "batch_size": 64, "seeds": [0, 1], "device": "cpu"},
    "evaluation": {"bootstrap": 20, "baseline": "fnn"},
}
FAILING: dict[str, Any] = {
    "name": "failing",
    "datasets": {"tumours": {"kind": "breast_cancer"}},
    "models": [{"kind": "fnn", "hidden": [8], "optimizer": "sgd", "sweep": {"grid": {"learning_rate": [1e30, 1e-6]}}}],
    "training": {"epochs": 2, "device": "cpu"},
    "evaluation": {"bootstrap": 20},
}
DATA_STAGES = ("shard", "preprocess")
BEFORE_THE_REPORT = (*DATA_STAGES, "train", "evaluate")


@pytest.fixture(scope="module", autouse=True)
def one_process_like_a_stage() -> Iterator[None]:
    """A stage owns its process: its log handler, and the number of threads in the environment."""
    logger = logging.getLogger("headrace")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    environment = dict(os.environ)
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    os.environ.clear()
    os.environ.update(environment)


@dataclass
class Place:
    """An experiment planned in a folder of its own."""

    folder: Path
    plan: Plan

    @classmethod
    def make(cls, folder: Path, experiment: Mapping[str, Any]) -> "Place":
        site = Site(artifacts=folder / "artifacts", results=folder / "results", device="cpu")
        plan = Plan(check_experiment(experiment), site)
        plan.write_specs()
        return cls(folder, plan)

    @property
    def root(self) -> Path:
        return self.plan.site.artifacts

    def jobs(self, *stages: str) -> list[Job]:
        return [job for job in self.plan.jobs if job.stage in stages]

    def receipt(self, job: Job) -> Path:
        return receipt_path(self.root, job.stage, job.id)

    def call(self, job: Job, workers: int = 1) -> int:
        options = ["--workers" if job.stage in DATA_STAGES else "--cores", str(workers)]
        with warnings.catch_warnings():
            # Dask leaves sockets of closed clusters to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            code = main([job.stage, str(self.receipt(job)), *options])
            if job.stage in DATA_STAGES:
                gc.collect()
        return code

    def call_all(self, *stages: str, workers: int = 1) -> None:
        for job in self.jobs(*stages):
            assert self.call(job, workers) == 0, job.id

    def manifest(self, stage: str, artifact: str) -> dict[str, Any]:
        manifest = read_manifest(artifact_path(self.root, stage, artifact))
        assert manifest is not None
        return manifest

    def manifests(self, *stages: str) -> dict[str, dict[str, Any]]:
        return {
            f"{artifact.stage}/{artifact.id}": self.manifest(artifact.stage, artifact.id)
            for artifact in self.plan.artifacts
            if artifact.stage in stages
        }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place.make(tmp_path_factory.mktemp("done"), EXPERIMENT)
    place.call_all(*BEFORE_THE_REPORT, workers=2)
    return place


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same with one worker."""
    place = Place.make(tmp_path_factory.mktemp("alone"), EXPERIMENT)
    place.call_all(*DATA_STAGES, workers=1)
    return place


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place.make(tmp_path_factory.mktemp("failed"), FAILING)
    place.call_all(*BEFORE_THE_REPORT)
    return place


# What is sealed


def test_every_job_leaves_its_receipt_and_seals_its_artifacts(done: Place) -> None:
    assert all(done.receipt(job).is_file() for job in done.jobs(*BEFORE_THE_REPORT))
    for artifact in done.plan.artifacts:
        manifest = done.manifest(artifact.stage, artifact.id)
        assert (manifest["stage"], manifest["id"], manifest["status"]) == (artifact.stage, artifact.id, "done")
        assert (manifest["identity"], manifest["code"]) == (artifact.identity, artifact.code)
        assert manifest["outputs"]
        assert {name: wanted["identity"] for name, wanted in manifest["inputs"].items()} == {
            name: wanted.identity for name, wanted in artifact.inputs.items()
        }
        for wanted in manifest["inputs"].values():
            assert wanted["digest"] == done.manifest(wanted["stage"], wanted["id"])["digest"]


def test_nothing_unfinished_is_left_behind(done: Place) -> None:
    assert not [path for folder in (".attempts", ".running") for path in (done.root / folder).glob("*")]
    assert not list((done.root / ".checkpoints").glob("*"))


def test_manifests_vouch_for_what_lies_on_the_disk(done: Place) -> None:
    from headrace.provenance.verification import verify_artifact

    folders = [artifact_path(done.root, artifact.stage, artifact.id) for artifact in done.plan.artifacts]
    assert [problem for folder in folders for problem in verify_artifact(folder)] == []


def test_one_worker_and_two_give_the_same_digests(done: Place, alone: Place) -> None:
    one, two = alone.manifests(*DATA_STAGES), done.manifests(*DATA_STAGES)
    assert {name: manifest["outputs"] for name, manifest in one.items()} == {
        name: manifest["outputs"] for name, manifest in two.items()
    }


def test_both_workers_held_tasks(done: Place) -> None:
    executions = {name: manifest["execution"] for name, manifest in done.manifests(*DATA_STAGES).items()}
    num_shards = {execution["shards"] for execution in executions.values() if "shards" in execution}
    assert min(num_shards) == 2
    assert max(num_shards) >= 8
    for execution in executions.values():
        assert set(execution["workers"]["tasks"]) == {"0", "1"}
        assert min(execution["workers"]["tasks"].values()) >= 1


def test_shards_hold_every_row_of_the_source_in_its_split(done: Place) -> None:
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    with xr.open_zarr(artifact_path(done.root, "shard", done.plan.shards["tumours"].id) / STORE) as dataset:
        rows = dataset.source_row.to_numpy()
        assert sorted(rows.tolist()) == list(range(569))
        assert np.array_equal(dataset.inputs.to_numpy(), source.data[rows].astype(np.float32))
        assert np.array_equal(dataset.target.to_numpy(), source.target[rows])
        assert np.bincount(dataset.split.to_numpy()).tolist() == list(dataset.attrs["split_sizes"].values())
        for code in range(3):
            share = dataset.target.to_numpy()[dataset.split.to_numpy() == code].mean()
            assert share == pytest.approx(source.target.mean(), abs=0.02)


def test_features_keep_rows_targets_and_order(done: Place) -> None:
    for (name, _), features in done.plan.features.items():
        shard = done.plan.shards[name]
        with (
            xr.open_zarr(artifact_path(done.root, "shard", shard.id) / STORE) as before,
            xr.open_zarr(artifact_path(done.root, features.stage, features.id) / STORE) as after,
        ):
            assert after.target.identical(before.target)
            assert np.array_equal(after.source_row, before.source_row)
            train = after.inputs.to_numpy()[after.split.to_numpy() == 0]
            if features.spec["steps"][-1]["kind"] == "standardize":
                assert train.mean(axis=0) == pytest.approx(np.zeros(train.shape[1]), abs=1e-5)
                assert train.std(axis=0) == pytest.approx(np.ones(train.shape[1]), abs=1e-5)
            else:
                assert train.shape[1] == 3


def test_training_leaves_weights_curves_and_a_summary(done: Place) -> None:
    for run in done.plan.runs:
        folder = artifact_path(done.root, "train", run.train.id)
        assert [row["epoch"] for row in read_json(folder / "curves.json")] == [1, 2]
        weights = load_arrays(folder / "weights.safetensors")
        summary = read_json(folder / "summary.json")
        assert summary["num_parameters"] == sum(values.size for values in weights.values())
        assert summary["best_epoch"] in (1, 2)
        assert ("target_mean" in summary) == (run.task == "regression")


def test_metrics_follow_from_the_predictions(done: Place) -> None:
    for run in done.plan.runs:
        folder = artifact_path(done.root, "evaluate", run.evaluate.id)
        arrays = load_arrays(folder / "predictions.safetensors")
        metrics = {m["metric"]: m["value"] for m in read_json(folder / "metrics.json") if m["split"] == "test"}
        if run.task == "classification":
            right = arrays["probabilities"].argmax(axis=1) == arrays["target"]
            assert metrics["accuracy"] == pytest.approx(right.mean())
        else:
            squares = (arrays["prediction"].ravel() - arrays["target"].ravel()) ** 2
            assert metrics["rmse"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
            # In the units of the data, not in standard deviations.
            assert arrays["target"].max() > 200
            assert arrays["prediction"].mean() > 50


def test_training_twice_gives_the_same_digests_however_many_runs_are_trained_at_a_time(
    done: Place, alone: Place
) -> None:
    alone.call_all("train", "evaluate")
    one, two = alone.manifests("train", "evaluate"), done.manifests("train", "evaluate")
    assert {name: manifest["outputs"] for name, manifest in one.items()} == {
        name: manifest["outputs"] for name, manifest in two.items()
    }


# What is skipped and what is refused


def test_a_second_call_changes_nothing(done: Place) -> None:
    manifests = sorted(done.root.glob("*/*/manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in manifests}
    receipts = [done.receipt(job) for job in done.jobs(*BEFORE_THE_REPORT)]
    for receipt in receipts:
        receipt.unlink()
    done.call_all(*BEFORE_THE_REPORT, workers=2)
    assert {path: path.stat().st_mtime_ns for path in sorted(done.root.glob("*/*/manifest.json"))} == before
    assert all(receipt.is_file() for receipt in receipts)


@pytest.fixture
def shards_only(done: Place, tmp_path: Path) -> Place:
    place = Place.make(tmp_path, EXPERIMENT)
    shutil.copytree(done.root / "shard", place.root / "shard")
    return place


@pytest.mark.parametrize("stage", BEFORE_THE_REPORT)
def test_a_stage_with_other_code_than_planned_refuses(
    stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place.make(tmp_path, EXPERIMENT)
    job = place.jobs(stage)[0]
    path = spec_path(place.root, stage, job.id)
    spec = read_json(path)
    spec["artifacts"][0]["code"] = "0" * 64
    path.write_text(json.dumps(spec))
    assert place.call(job) == 1
    error = capsys.readouterr().err
    assert f"{stage} {spec['artifacts'][0]['id']}: code changed since planning; start the workflow again" in error
    assert not place.receipt(job).exists()
    assert not artifact_path(place.root, stage, spec["artifacts"][0]["id"]).exists()


def test_a_receipt_without_a_spec_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / ".receipts" / "train" / "none-00000000.ok")]) == 2
    assert "no such spec; the workflow writes it when it starts" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "train.ok")]) == 2
    assert "not a receipt" in capsys.readouterr().err


def test_a_receipt_of_another_stage_is_refused(done: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (job, *_) = done.jobs("train")
    assert main(["evaluate", str(done.receipt(job))]) == 2
    assert "is the receipt of a train job, not of evaluate" in capsys.readouterr().err


def test_an_input_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place.make(tmp_path, EXPERIMENT)
    job = place.jobs("preprocess")[0]
    assert place.call(job) == 1
    assert f"its input {artifact_path(place.root, 'shard', '')}" in capsys.readouterr().err
    assert not place.receipt(job).exists()


def store_of_tumours(place: Place) -> Path:
    return artifact_path(place.root, "shard", place.plan.shards["tumours"].id) / STORE


def tumours(place: Place) -> Job:
    (job,) = (job for job in place.jobs("preprocess") if job.id == place.plan.features["tumours", "scaled"].id)
    return job


def flip_shard(store: Path) -> None:
    path = store / "inputs" / "c" / "1" / "0"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def drop_shard(store: Path) -> None:
    (store / "target" / "c" / "1").unlink()


def change_coordinate(name: str) -> Callable[[Path], None]:
    def change(store: Path) -> None:
        array = zarr.open_group(store, mode="r+", use_consolidated=False)[name]
        array[5] = 2  # type: ignore[index]

    return change


def change_splits(store: Path) -> None:
    path = store / "zarr.json"
    path.write_text(path.read_text().replace('"train": 398', '"train": 388').replace('"test": 86', '"test": 96'))
    assert read_attributes(store)["split_sizes"]["train"] == 388


@pytest.mark.parametrize(
    "damage",
    [flip_shard, drop_shard, change_coordinate("source_row"), change_splits],
    ids=["flipped bit", "missing shard", "changed source rows", "changed split sizes"],
)
def test_features_are_never_made_from_damaged_shards(damage: Callable[[Path], None], shards_only: Place) -> None:
    job = tumours(shards_only)
    damage(store_of_tumours(shards_only))
    code = shards_only.call(job)
    assert code == 1
    assert not shards_only.receipt(job).exists()
    assert not artifact_path(shards_only.root, "preprocess", job.id).exists()
    assert not list((shards_only.root / ".attempts").glob("*"))


def test_a_failed_attempt_is_made_good_by_the_next_call(shards_only: Place) -> None:
    chunk = store_of_tumours(shards_only) / "inputs" / "c" / "1" / "0"
    content = chunk.read_bytes()
    chunk.unlink()
    job = tumours(shards_only)
    assert shards_only.call(job) == 1
    chunk.write_bytes(content)
    assert shards_only.call(job) == 0
    assert shards_only.receipt(job).exists()


# Runs that fail


def failed_and_done(place: Place) -> tuple[Any, Any]:
    by_rate = {run.point["learning_rate"]: run for run in place.plan.runs}
    return by_rate[1e30], by_rate[1e-6]


def test_a_failed_run_is_sealed_as_failed_and_its_siblings_finish(failed: Place) -> None:
    bad, good = failed_and_done(failed)
    assert len(failed.jobs("train")) == 1
    manifest = failed.manifest("train", bad.train.id)
    assert manifest["status"] == "failed"
    assert "the loss was not finite in epoch 1" in manifest["reason"]
    assert not any(part.startswith("weights") for part in manifest["outputs"])
    assert failed.manifest("train", good.train.id)["status"] == "done"
    assert not (failed.root / ".checkpoints" / bad.train.id).exists()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_run_whose_process_dies_costs_the_others_nothing(
    number: signal.Signals, alone: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    place = Place.make(tmp_path, EXPERIMENT)
    for folder in ("shard", "preprocess"):
        shutil.copytree(alone.root / folder, place.root / folder)
    job = place.jobs("train")[0]
    bad, good = (artifact.id for artifact in job.artifacts)
    train_one = train.train_one

    def die_or_train(task: Any, *arguments: Any) -> None:
        if task.id == bad:
            faulthandler.disable()
            os.kill(os.getpid(), number)
        train_one(task, *arguments)

    monkeypatch.setattr(train, "train_one", die_or_train)
    code = place.call(job, workers=2)
    assert place.manifest("train", good)["status"] == "done"
    if number == signal.SIGKILL:
        # Nobody kills but for memory: a retry may ask for more.
        assert code == 1
        assert "its process was killed twice, as happens out of memory" in capsys.readouterr().err
        assert not artifact_path(place.root, "train", bad).exists()
        return
    assert code == 0
    manifest = place.manifest("train", bad)
    assert (manifest["status"], manifest["reason"]) == ("failed", "its process ended twice with SIGSEGV")


def test_a_failed_run_is_not_evaluated(failed: Place) -> None:
    bad, good = failed_and_done(failed)
    assert failed.manifest("evaluate", good.evaluate.id)["status"] == "done"
    assert not artifact_path(failed.root, "evaluate", bad.evaluate.id).exists()
    assert all(failed.receipt(job).exists() for job in failed.jobs("train", "evaluate"))


def test_the_gate_names_failed_runs_and_withdraws_what_stands_on_them(
    failed: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = failed_and_done(failed)
    (gate,) = failed.jobs("gate")
    (report,) = failed.jobs("report")
    failed.receipt(report).parent.mkdir(parents=True, exist_ok=True)
    failed.receipt(report).touch()
    assert failed.call(gate) == 1
    error = capsys.readouterr().err
    assert "1 of 2 runs failed" in error
    assert f"train {bad.train.id}: the loss was not finite in epoch 1" in error
    assert good.train.id not in error
    assert not any(failed.receipt(job).exists() for job in failed.jobs("train", "evaluate", "report", "gate"))
    assert all(failed.receipt(job).exists() for job in failed.jobs("shard"))

    paths = [artifact_path(failed.root, "train", run.train.id) / "manifest.json" for run in (bad, good)]
    before = [path.stat().st_mtime_ns for path in paths]
    failed.call_all("train", "evaluate")
    after = [path.stat().st_mtime_ns for path in paths]
    assert after[0] > before[0]
    assert after[1] == before[1]


def test_the_gate_lets_a_whole_experiment_pass(done: Place) -> None:
    (gate,) = done.jobs("gate")
    assert done.call(gate) == 0
    assert done.receipt(gate).exists()
    assert all(done.receipt(job).exists() for job in done.jobs(*BEFORE_THE_REPORT))


# The report


def test_a_result_can_be_digested_and_verified(done: Place, capsys: pytest.CaptureFixture[str]) -> None:
    done.call_all("report")
    result = done.folder / "results" / "tiny"
    assert (result / "report.html").is_file()
    capsys.readouterr()
    assert main(["digest", str(result)]) == 0
    digest = capsys.readouterr().out.strip()
    assert len(digest) == 64
    assert main(["verify", str(result)]) == 0
    assert "every chunk is what its manifest says" in capsys.readouterr().out

    run = done.plan.runs[0]
    curves = artifact_path(done.root, "train", run.train.id) / "curves.json"
    content = curves.read_text()
    try:
        curves.write_text(content.replace('"epoch": 2', '"epoch": 3'))
        assert main(["verify", str(result)]) == 1
        assert f"{run.train.id}: curves.json is not what was written" in capsys.readouterr().out
        assert main(["digest", str(result)]) == 0
        assert capsys.readouterr().out.strip() != digest
    finally:
        curves.write_text(content)


def test_the_table_has_a_row_for_every_metric(done: Place) -> None:
    done.call_all("report")
    header, *rows = (done.folder / "results" / "tiny" / "results.csv").read_text().splitlines()
    assert header.startswith("experiment,dataset,family,model,features,task,run,seed")
    assert header.endswith("split,metric,value,low,high")
    typed = pq.read_table(done.folder / "results" / "tiny" / "results.parquet")
    assert (",".join(typed.column_names), typed.num_rows) == (header, len(rows))
    for run in done.plan.runs:
        metrics = read_json(artifact_path(done.root, "evaluate", run.evaluate.id) / "metrics.json")
        mine = [row for row in rows if f",{run.train.id}," in row]
        assert len(mine) == len(metrics)


def test_references_have_a_row_for_every_metric_in_a_table_of_their_own(done: Place) -> None:
    done.call_all("report")
    header, *rows = (done.folder / "results" / "tiny" / "references.csv").read_text().splitlines()
    assert header == "experiment,dataset,reference,features,task,split,metric,value,low,high"
    expected = 0
    for reference in done.plan.references:
        judged = read_json(artifact_path(done.root, "evaluate", reference.evaluate.id) / "references.json")
        for each in judged:
            mine = [row for row in rows if row.startswith(f"tiny,{reference.dataset},{each['name']},")]
            assert len(mine) == len(each["metrics"])
            expected += len(mine)
    assert len(rows) == expected > 0


def test_the_statistics_lie_beside_the_table_and_in_the_crate(done: Place) -> None:
    done.call_all("report")
    result = done.folder / "results" / "tiny"
    header, *rows = (result / "statistics.csv").read_text().splitlines()
    assert header == "dataset,task,model,setting,metric,split,statistic,value,low,high,seeds"
    models = {row.split(",")[2] for row in rows if ",reference," not in row}
    assert models == {run.model for run in done.plan.runs}
    assert any(",most_frequent,,accuracy,test,reference," in row for row in rows)
    assert '"statistics.csv"' in (result / "ro-crate-metadata.json").read_text()


def test_results_of_an_older_version_are_reported_without_references(done: Place) -> None:
    (job,) = done.jobs("report")
    old = jobs.Job(done.receipt(job))
    for key in ("references", "repository", "short"):
        old.spec.pop(key, None)
    results = gather(old)
    assert results.references == []
    assert len(results.runs) == len(done.plan.runs)
    assert "most frequent class" not in render(results)
    assert "references" not in tabulate(results)


def test_artifacts_of_an_older_version_are_reported_without_what_they_do_not_say(done: Place, monkeypatch) -> None:
    newer = {"device", "cpu_s", "flops_per_sample", "bounds_value"}

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: without(item) for key, item in value.items() if key not in newer}
        return [without(item) for item in value] if isinstance(value, list) else value

    (job,) = done.jobs("report")
    monkeypatch.setattr(gathering, "read_manifest", lambda folder: without(read_manifest(folder)))
    monkeypatch.setattr(gathering, "read_json", lambda path: without(read_json(path)))
    results = gather(jobs.Job(done.receipt(job)))
    assert {(run.status, run.device, run.flops_per_sample, run.cpu_s) for run in results.runs} == {
        ("done", "", None, None)
    }
    assert results.traces
    assert len(render(results)) > 10_000


def test_what_a_newer_version_wrote_is_neither_read_nor_replaced(done: Place, capsys) -> None:
    done.call_all("report")
    result = done.folder / "results" / "tiny"
    run = done.plan.runs[0]
    manifest = artifact_path(done.root, "train", run.train.id) / "manifest.json"
    report = ["report", str(result), "--artifacts", str(done.root)]
    for path, command in (
        (result / "provenance.json", report),
        (manifest, report),
        (manifest, ["verify", str(manifest.parent)]),
    ):
        content = path.read_text()
        newer = json.dumps({**json.loads(content), "format": 2})
        try:
            path.write_text(newer)
            assert main(command) == 2
            *_, line = capsys.readouterr().err.splitlines()
            assert f"{path}: was written by a newer version of Headrace, in format 2" in line
            assert path.read_text() == newer
        finally:
            path.write_text(content)
    assert main(report) == 0


def test_what_is_judged_on_one_split_meets_the_same_resamples(done: Place) -> None:
    (job,) = done.jobs("report")
    results = gather(jobs.Job(done.receipt(job)))
    judged = [*results.runs, *results.references]
    assert {each.name for each in results.references} >= {"most_frequent", "nearest_neighbour", "mean"}
    for each in judged:
        assert each.resampled is not None
        assert (each.resampled.dtype, each.resampled.shape) == (np.float32, (20,))
        (value,) = (m for m in each.metrics if m.split == "test" and m.metric in ("accuracy", "rmse"))
        interval = np.quantile(each.resampled, [0.025, 0.975])
        # Where so few resamples leave the value out, the interval reaches it.
        expected = min(interval[0], value.value), max(interval[1], value.value)
        assert (value.low, value.high) == pytest.approx(expected, rel=1e-6)
    run = next(run for run in done.plan.runs if run.task == "classification")
    arrays = load_arrays(artifact_path(done.root, "evaluate", run.evaluate.id) / "predictions.safetensors")
    right = (arrays["probabilities"].argmax(axis=1) == arrays["target"]).astype(float)
    (found,) = (each.resampled for each in results.runs if each.id == run.train.id)
    assert found == pytest.approx(resample_weights(len(right), 20, 0) @ right / len(right), rel=1e-6)


def test_without_resamples_in_an_artifact_a_run_has_none(done: Place, tmp_path: Path) -> None:
    (job,) = done.jobs("report")
    path = artifact_path(done.root, "evaluate", done.plan.runs[0].evaluate.id) / RESAMPLES
    kept = path.rename(tmp_path / RESAMPLES)
    try:
        results = gather(jobs.Job(done.receipt(job)))
    finally:
        kept.rename(path)
    assert [run.id for run in results.runs if run.resampled is None] == [done.plan.runs[0].train.id]


def test_the_report_is_told_what_model_cards_say(done: Place) -> None:
    (job,) = done.jobs("report")
    results = gather(jobs.Job(done.receipt(job)))
    assert results.families == {"fnn": "Fully connected layers with ReLU and dropout between them."}
    assert [step["kind"] for step in results.features["reduced"]] == ["standardize", "truncated_svd"]
    assert [dataset.split["by"] for dataset in results.datasets] == ["stratified", "random"]
    # Of 30 inputs, 8 units and 2 classes; of 3, 4 and 1 number. Nobody asks for the gradient of the inputs.
    wanted = {"fnn": 3 * 2 * (30 * 8 + 8 * 2) - 2 * 30 * 8, "reduced": 3 * 2 * (3 * 4 + 4 * 1) - 2 * 3 * 4}
    for run in results.runs:
        assert Path(run.artifact, "weights.safetensors").is_file()
        assert (run.device, run.shapes["task"]) == ("cpu", run.task)
        assert run.flops_per_sample == wanted[run.model]


def test_a_failed_run_stands_in_the_report(failed: Place) -> None:
    failed.call_all("train", "evaluate", "report")
    bad, good = failed_and_done(failed)
    rows = (failed.folder / "results" / "failing" / "results.csv").read_text()
    assert good.train.id in rows
    assert bad.train.id not in rows
    assert "the loss was not finite" in (failed.folder / "results" / "failing" / "report.html").read_text()


def test_groups_go_with_their_samples_from_the_file_to_the_report(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    region = generator.choice(["north", "south"], 300)
    x = generator.normal(size=300)
    target = (x + generator.normal(size=300) * (region == "south") > 0).astype(int)
    rows = [f"{a:.4f},{b},{c}" for a, b, c in zip(x, region, target, strict=True)]
    (tmp_path / "loans.csv").write_text("\n".join(["x,region,repaid", *rows]) + "\n")
    table = {"kind": "csv", "path": str(tmp_path / "loans.csv"), "target": "repaid", "groups": "region"}
    experiment = {
        "name": "grouped",
        "datasets": {"loans": {**table, "rows_per_shard": 70}},
        "features": {"scaled": [{"kind": "standardize"}]},
        "models": [{"kind": "linear", "features": "scaled"}],
        "training": {"epochs": 2, "device": "cpu"},
        "evaluation": {"bootstrap": 0},
    }
    place = Place.make(tmp_path, experiment)
    place.call_all(*BEFORE_THE_REPORT)
    (job,) = place.jobs("report")
    (run,) = gather(jobs.Job(place.receipt(job))).runs
    assert run.groups is not None
    assert run.resampled is None
    (shard,) = (artifact for artifact in place.plan.artifacts if artifact.stage == "shard")
    path = artifact_path(place.root, "shard", shard.id) / STORE
    store = xr.open_zarr(path)
    test = store["source_row"].to_numpy()[store["split"].to_numpy() == 2]
    (judged,) = (run.evaluate for run in place.plan.runs)
    said = load_arrays(artifact_path(place.root, "evaluate", judged.id) / "predictions.safetensors")
    predicted = said["probabilities"].argmax(axis=1)
    assert run.groups.names == ("north", "south")
    for code, name in enumerate(run.groups.names):
        own = region[test] == name
        assert run.groups.counts[code] == own.sum()
        assert run.groups.scores["accuracy"][code] == np.mean(predicted[own] == target[test][own])
        assert run.groups.scores["selection rate"][code] == np.mean(predicted[own])
    place.call_all("report")
    result = place.folder / "results" / "grouped"
    table = pandas.read_csv(result / "groups.csv")
    accuracy = table[table.metric == "accuracy"].set_index("group")["value"]
    assert accuracy.to_dict() == dict(zip(run.groups.names, run.groups.scores["accuracy"], strict=True))
    assert pq.read_table(result / "groups.parquet").num_rows == len(table)
    assert all(f'"{name}.csv"' in (result / "ro-crate-metadata.json").read_text() for name in ("groups", "classes"))
