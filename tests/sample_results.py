"""Results as an experiment would leave them, made up from fixed seeds, for the tests of the report and the crate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.experiments.config import Training
from headrace.figures.comparisons import Comparison, compare, find_metric
from headrace.findings.results import (
    CorruptedValue,
    CorruptionKind,
    DatasetResult,
    Environment,
    FitTrace,
    MetricValue,
    ReferenceResult,
    Results,
    RunResult,
)
from headrace.findings.shown import Traversals
from headrace.judging.calibration import measure_reliability
from headrace.judging.metrics import MAIN_METRICS
from headrace.judging.ranking import thin, trace_precision_recall, trace_roc

HOSTILE = '"><img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
"""What a field would hold that wants to be run instead of read."""

NUM_RESAMPLES = 200
"""Of the test split, behind the main metric of every run."""

DIGITS = tuple(str(digit) for digit in range(10))
QUESTION = "Which of four model families reads handwritten digits best?"
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "fnn": {"hidden": [256, 128], "dropout": 0.1},
    "cnn": {"channels": [16, 32], "kernel": 3, "hidden": 128},
    "rnn": {"cell": "gru", "hidden": 64},
    "vae": {"hidden": 400, "latent": 20, "likelihood": "bernoulli"},
}
FAMILIES = {
    "fnn": "Fully connected layers with ReLU and dropout between them.",
    "vae": "A diagonal Gaussian posterior over a latent space, and a Bernoulli or Gaussian likelihood.",
}
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "snakemake": "9.27.1", "headrace": "0.1.0"}
FEATURES = {"pixels": [{"kind": "standardize", "per": "all", "clip": None}]}
RESOLVED = f"""name: quickstart
description: {QUESTION}
datasets:
  digits: {{kind: mnist5k, split: {{by: stratified, train: 0.7, validation: 0.15, test: 0.15, seed: 0}}}}
models:
- {{kind: fnn, features: pixels, sweep: {{grid: {{learning_rate: [0.001, 0.003]}}}}}}
- {{kind: cnn, features: pixels}}
- {{kind: rnn, features: pixels, cell: gru, hidden: 64}}
- {{kind: vae, latent: 20}}
training: {{epochs: 10, seeds: [0, 1, 2]}}
"""


def make_dataset(name: str, kind: str, tasks: tuple[str, ...], num_samples: int, **changes: Any) -> DatasetResult:
    """Return a dataset of ten shards that two workers wrote."""
    held_out = round(0.15 * num_samples)
    sizes = {"train": num_samples - 2 * held_out, "validation": held_out, "test": held_out}
    dataset = DatasetResult(
        name=name,
        kind=kind,
        tasks=tasks,
        num_samples=num_samples,
        split_sizes=sizes,
        sample_shape=(28, 28),
        class_names=DIGITS,
        num_shards=10,
        tasks_by_worker={"tls://127.0.0.1:41001": 6, "tls://127.0.0.1:41002": 4},
        digest="sha256:" + 8 * "5a3c91e0",
        artifact=f"artifacts/shard/{name}-1f0c2a77",
        licence="CC-BY-SA-3.0",
        source="https://doi.org/10.1109/5.726791",
        split={"by": "stratified", "train": 0.7, "validation": 0.15, "test": 0.15, "seed": 0},
    )
    return dataclasses.replace(dataset, **changes)


def make_metrics(values: Mapping[str, float], noise: np.random.Generator) -> list[MetricValue]:
    """Return every metric on the validation and the test split."""
    found = []
    for split in ("validation", "test"):
        for metric, value in values.items():
            exact = float(value + abs(value) * 0.001 * noise.standard_normal())
            width = 0.012 * abs(value)
            found.append(MetricValue(metric, split, exact, exact - width, exact + 0.9 * width))
    return found


def make_curves(start: float, end: float, epochs: int, noise: np.random.Generator) -> list[dict[str, float]]:
    """Return losses that fall from start to end, the validation loss rising a little at the end."""
    curves = []
    for epoch in range(1, epochs + 1):
        train = end + (start - end) * math.exp(-0.7 * epoch) * float(1 + 0.03 * noise.standard_normal())
        validation = train * (1.05 + 0.015 * max(0, epoch - 6)) * float(1 + 0.01 * noise.standard_normal())
        row = {"epoch": float(epoch), "train_loss": train, "validation_loss": validation}
        measured = {"samples_per_second": 7000.0 + epoch, "peak_memory_mib": 380.0 + epoch}
        curves.append({**row, "learning_rate": 0.001, "seconds": 1.5, **measured})
    return curves


def make_confusion(accuracy: float, num_classes: int, total: int, noise: np.random.Generator) -> np.ndarray:
    """Return counts with about this share on the diagonal."""
    shares = np.full((num_classes, num_classes), (1 - accuracy) / max(1, num_classes - 1))
    np.fill_diagonal(shares, accuracy)
    return np.stack([noise.multinomial(total // num_classes, row / row.sum()) for row in shares])


def make_images(num_samples: int, noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rings of different sizes, and the same blurred by noise."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    radii = np.linspace(0.25, 0.75, num_samples)[:, None, None]
    inputs = np.exp(-80 * (np.hypot(x, y)[None] - radii) ** 2)
    blurred = np.exp(-25 * (np.hypot(x, 1.1 * y)[None] - radii) ** 2)
    return inputs, (blurred + 0.05 * noise.random(inputs.shape)).clip(0, 1)


def make_traversals(num_dimensions: int) -> Traversals:
    """Return rings that grow with every step, each dimension a little wider than the one before."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    radii = np.linspace(0.2, 0.7, 7)[None, :] + np.linspace(0, 0.2, num_dimensions)[:, None]
    pictures = np.exp(-40 * (np.hypot(x, y)[None, None] - radii[:, :, None, None]) ** 2)
    divergences = np.linspace(2.5, 0.5, num_dimensions)
    return Traversals(np.arange(num_dimensions)[::-1] + 4, divergences, np.linspace(-3, 3, 7), pictures)


def make_run(family: str, seed: int, values: Mapping[str, float], **changes: Any) -> RunResult:
    """Return a finished run on the digits."""
    noise = np.random.default_rng([seed, *family.encode(), *str(changes.get("point", "")).encode()])
    task = str(changes.get("task", "classification"))
    identity = f"{family}-{changes.get('dataset', 'digits')}-s{seed}-{noise.integers(16**8):08x}"
    training = Training().model_dump(mode="json", exclude={"seeds"}) | {"device": "cpu"}
    run = RunResult(
        id=identity,
        dataset="digits",
        family=family,
        model=family,
        features="pixels",
        task=task,
        seed=seed,
        point={},
        status="done",
        parameters={**training, "kind": family, **ARCHITECTURES.get(family, {}), **changes.get("point", {})},
        shapes={"inputs": [28, 28], "outputs": 10 if task == "classification" else 0, "task": task},
        artifact=f"artifacts/train/{identity}",
        device="cpu",
        flops_per_sample=1_454_000,
        metrics=make_metrics(values, noise),
        curves=make_curves(2.3, 2.0 * (1.01 - values.get("accuracy", 0.95)), 10, noise),
        best_epoch=6 + seed,
        num_parameters=242_762,
        seconds=14.2 + seed,
        confusion=make_confusion(values["accuracy"], 10, 750, noise) if task == "classification" else None,
    )
    run = dataclasses.replace(run, **changes)
    return run if run.resampled is not None else with_resamples(run)


def with_resamples(run: RunResult, own: float = 0.0005) -> RunResult:
    """Return a run whose main metric has met the resamples of all others; `own` is what it makes of them alone."""
    value = find_metric(run, MAIN_METRICS.get(run.task, ""), "test")
    if value is None or not abs(value.value) < 1e30:
        return dataclasses.replace(run, resampled=None)
    return dataclasses.replace(run, resampled=make_resamples(value.value, run.model, own))


def make_resamples(value: float, name: str, own: float = 0.0005) -> np.ndarray:
    """Return a metric on resamples, in which shares of it are the luck that all have and that of this name alone."""
    noise = 0.006 * np.random.default_rng(0).normal(size=NUM_RESAMPLES)
    noise += own * np.random.default_rng([*name.encode()]).normal(size=NUM_RESAMPLES)
    return (value * (1 + noise)).astype(np.float32)


def without_resamples(runs: Sequence[RunResult]) -> list[RunResult]:
    """Return runs of which nobody has kept resamples."""
    return [dataclasses.replace(run, resampled=None) for run in runs]


def quickstart_runs() -> list[RunResult]:
    """Return the 15 runs of the quickstart."""
    noise = np.random.default_rng(0)
    runs = []
    for rate, accuracy in ((0.001, 0.9496), (0.003, 0.9437)):
        values = {"accuracy": accuracy, "macro_f1": accuracy - 0.001, "nll": 0.18, "ece": 0.021, "auroc": 0.9969}
        runs += [make_run("fnn", seed, values, point={"learning_rate": rate}) for seed in range(3)]
    for family, accuracy, size in (("cnn", 0.9741, 421_642), ("rnn", 0.8742, 18_826)):
        values = {"accuracy": accuracy, "macro_f1": accuracy - 0.002, "nll": 0.09, "ece": 0.011, "auroc": 0.9991}
        runs += [make_run(family, seed, values, num_parameters=size) for seed in range(3)]
    for seed in range(3):
        values = {"neg_elbo": 143.2 + 0.4 * seed, "reconstruction": 117.9 + 0.3 * seed}
        curves = make_curves(310, 142 + 0.4 * seed, 10, noise)
        images = make_images(10, noise)
        drawn = {"reconstructions": images, "traversals": make_traversals(3)}
        changes = {"task": "density", "features": "raw", "curves": curves, **drawn}
        runs.append(make_run("vae", seed, values, num_parameters=652_824, **changes))
    return runs


def make_steps(runs: Sequence[RunResult], datasets: Sequence[DatasetResult]) -> list[dict[str, Any]]:
    """Return one step per artifact: the shards, the trained runs, and the report."""
    steps: list[dict[str, Any]] = []
    shard_ids = {}
    for dataset in datasets:
        identity = f"{dataset.name}-1f0c2a77"
        shard_ids[dataset.name] = identity
        steps.append(make_step("shard", identity, [], digest=dataset.digest))
    for run in runs:
        changes = {"status": run.status, "reason": run.reason, "seconds": run.seconds or 0.0}
        inputs = [identity for name, identity in shard_ids.items() if name == run.dataset]
        steps.append(make_step("train", run.id, inputs, **changes))
    return steps


def make_step(stage: str, identity: str, inputs: list[str], **changes: Any) -> dict[str, Any]:
    """Return one finished step."""
    named = {"stage": stage, "id": identity, "identity": identity, "environment": 0}
    step = {**named, "artifact": f"artifacts/{stage}/{identity}", "inputs": inputs}
    step |= {"digest": "sha256:" + 8 * "77b1e0c4", "start": "2026-11-20T10:00:00Z"}
    return step | {"end": "2026-11-20T10:00:14Z", "seconds": 14.2, "status": "done", "reason": ""} | changes


def make_trace(values: Sequence[float], **changes: Any) -> FitTrace:
    """Return the fit of a step that measured these values, a quarter of a second and 1.5 MiB each."""
    lines = [
        {"iteration": float(i), "value": value, "seconds": 0.25 * i, "bytes_moved": 1.5 * 2**20 * i}
        for i, value in enumerate(values, 1)
    ]
    value, tolerance = values[-1] if values else 0.0, changes.get("tolerance", 1e-6)
    fit = FitTrace(
        dataset="digits",
        features="topics",
        step=0,
        kind="truncated_svd",
        measure="relative residual",
        value=value,
        tolerance=tolerance,
        converged=value <= tolerance,
        iterations=len(values),
        max_iterations=max(50, len(values)),
        trace=lines,
    )
    return dataclasses.replace(fit, **changes)


def make_references() -> list[ReferenceResult]:
    """Return what needs no training to classify the digits."""
    noise = np.random.default_rng(1)
    frequent = {"accuracy": 0.1, "macro_f1": 0.018, "nll": 2.303, "ece": 0.0}
    nearest = {"accuracy": 0.9307, "macro_f1": 0.9302}
    about = {"most_frequent": "class frequencies of training", "nearest_neighbour": "1,000 of 3,500 training samples"}
    return [
        ReferenceResult(
            name,
            "digits",
            "classification",
            "pixels",
            about[name],
            make_metrics(values, noise),
            make_resamples(values["accuracy"], name),
        )
        for name, values in (("most_frequent", frequent), ("nearest_neighbour", nearest))
    ]


def corrupted_quickstart() -> Results:
    """Return a quickstart whose classifiers lose accuracy with the strength of noise, and half as much by blur, which
    fnn is left out of.
    """
    runs = []
    for run in quickstart_runs():
        values = [value for value in run.metrics if value.split == "test" and run.task == "classification"]
        worse = [
            CorruptedValue(
                **{**vars(value), "value": value.value * (1 - loss * strength)},
                corruption=corruption,
                strength=strength,
            )
            for corruption, loss in (("noise", 0.4), ("blur", 0.2))
            if (run.model, corruption) != ("fnn", "blur")
            for strength in (0.5, 0.1)
            for value in values
        ]
        left_out = {"blur": "flat features"} if run.model == "fnn" else {}
        runs.append(dataclasses.replace(run, corrupted=worse, uncorrupted=left_out))
    kinds = {
        "blur": CorruptionKind("Images are blurred.", "standard deviation in pixels", "images or sequences"),
        "noise": CorruptionKind("Noise is added.", "standard deviations of each input", "dense measurements"),
    }
    return dataclasses.replace(quickstart(), runs=runs, corruptions=kinds)


def make_results(runs: Sequence[RunResult], datasets: Sequence[DatasetResult], **changes: Any) -> Results:
    """Return results with everything around them."""
    results = Results(
        experiment="quickstart",
        description=QUESTION,
        datasets=datasets,
        runs=runs,
        resolved_yaml=RESOLVED,
        plan_digest="sha256:" + 8 * "c0ffee11",
        baseline="fnn",
        versions=VERSIONS,
        environments=[Environment(VERSIONS, "node-1", "Linux-6.1", 8, "cpu")],
        commands=("git checkout 0123abc", "snakemake --cores all --configfile results/quickstart/experiment.yaml"),
        steps=make_steps(runs, datasets),
        families=FAMILIES,
        features=FEATURES,
    )
    return dataclasses.replace(results, **changes)


def quickstart() -> Results:
    """Return a quickstart in which every run finished."""
    return make_results(quickstart_runs(), [make_dataset("digits", "mnist5k", ("classification", "density"), 5000)])


def ranked(num_classes: int = 10, num_samples: int = 750) -> Results:
    """Return a quickstart whose classifiers left reliability and curves, the more confident the worse."""
    runs = []
    for run in quickstart_runs():
        if run.task == "classification":
            noise = np.random.default_rng([run.seed, *run.model.encode()])
            target = np.arange(num_samples) % num_classes
            scores = noise.normal(size=(num_samples, num_classes))
            scores[np.arange(num_samples), target] += {"cnn": 4.5, "fnn": 3.5}.get(run.model, 2.0)
            scores *= {"cnn": 1.0, "fnn": 1.5}.get(run.model, 4.0)
            chances = np.exp(scores - scores.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            traced = {"roc": trace_roc(target, chances), "precision_recall": trace_precision_recall(target, chances)}
            curves = {name: thin(curve, 200) for name, curve in traced.items() if curve is not None}
            run = dataclasses.replace(run, reliability=measure_reliability(target, chances), **curves)
        runs.append(run)
    return dataclasses.replace(quickstart(), runs=runs)


def unconverged() -> Results:
    """Return a quickstart with iterative steps of which one converged and one did not."""
    fast = make_trace([0.31 * 10 ** (-0.55 * i) for i in range(12)])
    slow = [2.5e-2 / i**0.7 * (1 + 0.2 * math.sin(i)) for i in range(1, 101)]
    return dataclasses.replace(
        quickstart(), traces=[fast, make_trace(slow, features="parts", step=1, kind="nmf", max_iterations=100)]
    )


def broken_quickstart() -> Results:
    """Return a quickstart with one failed run and one that is not begun."""
    runs = quickstart_runs()
    nothing: dict[str, Any] = {"metrics": (), "confusion": None, "best_epoch": None, "seconds": None}
    failed = {"status": "failed", "reason": "loss is nan at epoch 3, step 41"}
    runs[4] = dataclasses.replace(runs[4], curves=runs[4].curves[:3], **failed, **nothing)
    runs[7] = dataclasses.replace(runs[7], status="not begun", reason="never started", curves=(), **nothing)
    return make_results(runs, [make_dataset("digits", "mnist5k", ("classification", "density"), 5000)])


def many_runs(num_points: int = 200) -> Results:
    """Return a random sweep of so many points with five seeds each."""
    noise = np.random.default_rng(7)
    runs = []
    for dropout in noise.uniform(0, 0.9, num_points):
        accuracy = 0.95 - 0.1 * float(dropout) ** 2
        values = {"accuracy": accuracy, "macro_f1": accuracy - 0.001, "nll": 0.18, "ece": 0.021, "auroc": 0.9969}
        runs += [make_run("fnn", seed, values, point={"dropout": float(dropout)}) for seed in range(5)]
    return make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)], experiment="many")


def two_datasets() -> Results:
    """Return an experiment with classification and regression on two datasets, and no clear winner."""
    datasets = [
        make_dataset("wine", "wine", ("classification",), 178, class_names=("barolo", "grignolino", "barbera")),
        make_dataset("diabetes", "diabetes", ("regression",), 442, class_names=(), sample_shape=(10,)),
    ]
    runs = []
    for family, accuracy, rmse in (("fnn", 0.9629, 54.1), ("linear", 0.9631, 54.3)):
        for seed in range(3):
            noise = np.random.default_rng(seed)
            sample = {"dataset": "wine", "confusion": make_confusion(accuracy, 3, 27, noise)}
            runs.append(make_run(family, seed, {"accuracy": accuracy + 0.002 * seed, "nll": 0.1}, **sample))
            values = {"rmse": rmse + 0.4 * seed, "mae": 43.0, "r2": 0.46}
            runs.append(make_run(family, seed, values, dataset="diabetes", task="regression"))
    return make_results(runs, datasets, experiment="tables", description="Does depth help on small tables?")


FORECASTS: dict[str, dict[str, float]] = {
    "fnn": {"rmse": 3.8, "mae": 3.1, "r2": 0.98, "skill": 0.87, "rmse_standardized": 0.11, "mae_standardized": 0.087},
    "rnn": {"rmse": 6.1, "mae": 4.8, "r2": 0.96, "skill": 0.80, "rmse_standardized": 0.18, "mae_standardized": 0.134},
}
REPEATED = {"rmse": 27.1, "mae": 24.3, "r2": 0.26, "skill": 0.0, "rmse_standardized": 0.83, "mae_standardized": 0.674}


def forecasts(without: Sequence[str] = ()) -> Results:
    """Return a forecast by two models, beside the last value repeated; `without` some of the metrics."""
    runs = [
        make_run(family, seed, FORECASTS[family], dataset="load", task="regression")
        for family in FORECASTS
        for seed in (0, 1)
    ]
    runs = [
        dataclasses.replace(run, metrics=[value for value in run.metrics if value.metric not in without])
        for run in runs
    ]
    metrics = [
        MetricValue(name, "test", value, value, value) for name, value in REPEATED.items() if name not in without
    ]
    reference = ReferenceResult("last_value", "load", "regression", "scaled", "last step of each window", metrics)
    dataset = make_dataset("load", "time_series", ("forecasting", "regression"), 1392, class_names=())
    return make_results(runs, [dataset], experiment="forecasts", references=[reference])


def three_datasets() -> Results:
    """Return an experiment with one task on three datasets, and a model that has a result on two of them alone."""
    means = {
        "digits": {"fnn": 0.949, "cnn": 0.974, "linear": 0.915, "rnn": 0.874},
        "letters": {"fnn": 0.842, "cnn": 0.871, "linear": 0.768, "rnn": 0.851},
        "wine": {"fnn": 0.958, "cnn": 0.951, "linear": 0.968},
    }
    runs = []
    for dataset, by_model in means.items():
        for model, accuracy in by_model.items():
            for seed in range(5):
                noise = np.random.default_rng([seed, *dataset.encode(), *model.encode()])
                values = {"accuracy": accuracy + 0.012 * float(noise.standard_normal()), "nll": 0.2}
                runs.append(make_run(model, seed, values, dataset=dataset))
    datasets = [make_dataset(name, "mnist5k", ("classification",), 5000) for name in means]
    return make_results(runs, datasets, experiment="three", description="Which model is best over all of them?")


def oddities() -> Results:
    """Return single seeds, values and intervals that aren't numbers, and names that are words of JavaScript."""
    names = ("constructor", "__proto__", "toString", *DIGITS[3:])
    dataset = make_dataset("digits", "mnist5k", ("classification",), 5000, class_names=names)
    runs = [make_run(family, 0, {"accuracy": 0.9}, point={}) for family in ("constructor", "__proto__", "1e5", "nan")]
    nothing = [MetricValue("accuracy", "test", value, math.nan, math.nan) for value in (0.93, 0.91, math.nan)]
    runs[2] = dataclasses.replace(runs[2], metrics=nothing[:1], curves=runs[2].curves[:1])
    runs += [make_run("nan", seed, {"accuracy": 0.9}, metrics=[nothing[seed]]) for seed in (1, 2)]
    return make_results(runs, [dataset], baseline="constructor")


def hostile() -> Results:
    """Return results in which every text wants to be markup."""
    shards = {"class_names": (*DIGITS[:9], HOSTILE), "licence": HOSTILE, "source": HOSTILE, "artifact": HOSTILE}
    dataset = make_dataset(HOSTILE, HOSTILE, ("classification", "density"), 5000, digest=HOSTILE, **shards)
    dataset = dataclasses.replace(dataset, tasks_by_worker={HOSTILE: 10}, split_sizes={HOSTILE: 5000})
    names = {"dataset": HOSTILE, "features": HOSTILE}
    runs = [dataclasses.replace(run, id=f"{run.id}{HOSTILE}", **names) for run in quickstart_runs()]
    runs = [dataclasses.replace(run, model=f"{run.model}{HOSTILE}", family=HOSTILE) for run in runs]
    runs = [dataclasses.replace(run, point={HOSTILE: HOSTILE, **run.point}) for run in runs]
    built = {"parameters": {HOSTILE: HOSTILE, "optimizer": HOSTILE}, "artifact": HOSTILE, "device": HOSTILE}
    runs = [dataclasses.replace(run, **built) for run in runs]
    runs[3] = dataclasses.replace(runs[3], status="failed", reason=HOSTILE, metrics=())
    texts = {"experiment": HOSTILE, "description": HOSTILE, "resolved_yaml": HOSTILE, "plan_digest": HOSTILE}
    steps = [make_step(HOSTILE, run.id, [HOSTILE], status=run.status, reason=HOSTILE, artifact=HOSTILE) for run in runs]
    around = {"versions": {HOSTILE: HOSTILE}, "commands": (HOSTILE,), "baseline": runs[0].model, "steps": steps}
    around |= {"environments": [Environment({HOSTILE: HOSTILE}, HOSTILE, HOSTILE, 8, HOSTILE, HOSTILE)]}
    around |= {"short_yaml": HOSTILE, "repository": {"commit": HOSTILE, "num_changed": 1, "num_unknown": 0}}
    around |= {"families": {HOSTILE: HOSTILE}, "features": {HOSTILE: [{"kind": HOSTILE, HOSTILE: HOSTILE}]}}
    fit = make_trace([0.5, 0.4], kind=HOSTILE, measure=HOSTILE, **names)
    references = [dataclasses.replace(each, name=HOSTILE, about=HOSTILE, **names) for each in make_references()]
    return make_results(runs, [dataset], **{**texts, **around}, traces=[fit], references=references)


def only(runs: Sequence[RunResult]) -> Comparison:
    """Return the one comparison of some runs on the digits."""
    (comparison,) = compare(make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)]))
    return comparison


def exact_runs(
    model: str, values: list[float], *, validation: list[float] | None = None, **changes: object
) -> list[RunResult]:
    """Return one run per value of the test accuracy, without noise."""
    runs = []
    for seed, value in enumerate(values):
        metrics = [MetricValue("accuracy", "test", value, value - 0.01, value + 0.01)]
        if validation:
            metrics.append(MetricValue("accuracy", "validation", validation[seed], 0, 1))
        runs.append(make_run(model, seed, {"accuracy": 0.9}, metrics=metrics, **changes))
    return runs
