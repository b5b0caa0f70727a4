"""Results with attributions, made up: of images, of features and of series; one of the models has learnt nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.findings.results import Results, RunResult
from headrace.findings.shown import Explanation, SanityCheck
from sample_results import HOSTILE, make_dataset, make_images, make_results, make_run, quickstart, two_datasets

METHODS = ("integrated_gradients", "occlusion")
ASKED = {"attributions": {"samples": 12, "steps": 64, "patches": 256, "seed": 0}}
FEATURES = ("radius", "texture", "perimeter", "constructor", "__proto__", *(f"column {i}" for i in range(5, 20)))


def make_explanation(num_shown: int = 4, **changes: Any) -> Explanation:
    """Return an explanation that passes the check, without any picture."""
    checks = [
        SanityCheck(method, weights, correlation, 0.3)
        for method in METHODS
        for weights, correlation in (("start", 0.12), ("random", 0.02))
    ]
    targets = np.arange(num_shown) % 10
    explanation = Explanation(
        methods=METHODS,
        num_samples=num_shown,
        num_steps=64,
        patch_kind="windows",
        num_patches=169,
        patch_size=4,
        patch_stride=2,
        completeness_error=0.0012,
        agreement=0.81,
        checks=checks,
        rows=10 + np.arange(num_shown),
        targets=targets,
        # The last one is taken for another.
        outputs=np.where(np.arange(num_shown) == num_shown - 1, (targets + 1) % 10, targets),
    )
    return dataclasses.replace(explanation, **changes)


def checks_of(correlations: Mapping[tuple[str, str], tuple[float, float]]) -> list[SanityCheck]:
    """Return checks with these rank correlations, of attributions and of their sizes, by method and weights."""
    return [SanityCheck(*key, *values) for key, values in correlations.items()]


def explain_images(num_shown: int = 4, **changes: Any) -> Explanation:
    """Return rings, blue in their upper half and orange in the lower."""
    rings, _ = make_images(num_shown, np.random.default_rng(0))
    sides = np.where(np.arange(28) < 14, 127, -127)[:, None]
    fine = np.rint(rings * sides).astype(np.int8)
    coarse = np.rint(rings.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2) * sides * 2)
    drawn = {
        "pictures": np.rint(255 * rings).astype(np.uint8),
        "maps": np.stack([fine, coarse.clip(-127, 127).astype(np.int8)], axis=1),
        "reach": np.full((num_shown, 2), 0.25),
    }
    return make_explanation(num_shown, **{**drawn, **changes})


def explain_features(num_features: int = 20, num_shown: int = 4, **changes: Any) -> Explanation:
    """Return shares that fall with the place of a feature, half of them against the prediction."""
    sizes = np.linspace(1, 0.05, num_features)
    shares = np.random.default_rng(1).choice([-1, 1], (num_shown, 1, num_features)) * sizes
    both = np.concatenate([shares, 0.9 * shares], axis=1).astype(np.float32)
    drawn = {
        "shares": both,
        "means": np.abs(both).mean(axis=0),
        "edges": np.arange(num_features + 1),
        "names": FEATURES[:num_features],
        "patch_kind": "spans",
        "patch_size": 1,
        "patch_stride": 1,
        "num_patches": num_features,
    }
    return make_explanation(num_shown, **{**drawn, **changes})


def explain_series(num_steps: int = 24, num_shown: int = 4, **changes: Any) -> Explanation:
    """Return waves over the steps, of two features."""
    waves = np.sin(np.arange(num_steps) / 3 + np.arange(num_shown)[:, None])[:, None]
    drawn = {
        "shares": np.concatenate([waves, 0.8 * waves], axis=1).astype(np.float32),
        "means": np.full((2, num_steps), 0.6),
        "edges": np.arange(num_steps + 1),
        "feature_means": np.array([3.0, 8.0]),
        "names": ("temperature", "load"),
        "patch_kind": "spans",
        "patch_size": 1,
        "patch_stride": 1,
        "num_patches": num_steps,
        "targets": np.linspace(250.5, 400.5, num_shown),
        "outputs": np.linspace(255, 390, num_shown),
    }
    return make_explanation(num_shown, **{**drawn, **changes})


def explained_with(results: Results, runs: Sequence[RunResult]) -> Results:
    """Return results whose experiment asked for attributions."""
    return dataclasses.replace(results, runs=list(runs), evaluation=ASKED)


def explained_quickstart() -> Results:
    """Return a quickstart whose cnn passes the check, fnn by the signs alone, and whose rnn has learnt nothing."""
    key = {(method, weights): (0.1, 0.8) for method in METHODS for weights in ("start", "random")}
    idle = {
        **dict.fromkeys(key, (0.05, 0.2)),
        (METHODS[0], "start"): (0.97, 0.9),
        (METHODS[1], "start"): (0.8, 0.9),
    }
    changes = {"fnn": {"checks": checks_of(key)}, "rnn": {"checks": checks_of(idle), "completeness_error": 0.081}}
    runs = [
        dataclasses.replace(run, unexplained="was trained for density")
        if run.task == "density"
        else dataclasses.replace(run, explanation=explain_images(**changes.get(run.model, {})))
        for run in quickstart().runs
    ]
    return explained_with(quickstart(), runs)


def explained_tables() -> Results:
    """Return two tables, whose features have names."""
    numbers = {"targets": np.array([25.0, 102.0, 177.0, 283.0]), "outputs": np.array([129.0, 99.9, 131.0, 172.0])}
    runs = [
        dataclasses.replace(
            run,
            explanation=explain_features(targets=np.arange(4) % 3, outputs=np.arange(4) % 3)
            if run.task == "classification"
            else explain_features(10, **numbers),
            shapes={**run.shapes, "inputs": [20], "outputs": 3 if run.task == "classification" else 1},
        )
        for run in two_datasets().runs
    ]
    return explained_with(two_datasets(), runs)


def explained_series() -> Results:
    """Return a series of two features, whose load is forecast."""
    shapes = {"inputs": [24, 2], "outputs": 1, "task": "regression", "is_sequence": True}
    runs = [
        make_run("rnn", seed, {"rmse": 12.0 + seed}, dataset="load", task="regression", shapes=shapes)
        for seed in range(2)
    ]
    runs = [dataclasses.replace(run, explanation=explain_series()) for run in runs]
    return explained_with(make_results(runs, [make_dataset("load", "time_series", ("regression",), 1000)]), runs)


def hostile_explanations() -> Results:
    """Return attributions whose every name wants to be markup: of classes, features, datasets and models."""
    dataset = make_dataset(
        HOSTILE, "csv", ("classification",), 500, class_names=(HOSTILE, f"{HOSTILE}2", "constructor")
    )
    explanation = explain_features(6, targets=np.arange(4) % 3, outputs=np.ones(4, np.int64), names=(HOSTILE,) * 6)
    shapes = {"inputs": [6], "outputs": 3, "task": "classification"}
    run = make_run("fnn", 0, {"accuracy": 0.9}, dataset=HOSTILE, shapes=shapes, explanation=explanation)
    images = dataclasses.replace(
        explain_images(targets=np.arange(4) % 3, outputs=np.ones(4, np.int64)), names=(HOSTILE,), patch_kind="windows"
    )
    other = make_run("cnn", 0, {"accuracy": 0.8}, dataset=HOSTILE, shapes=shapes, explanation=images)
    runs = [
        dataclasses.replace(each, model=f"{each.model}{HOSTILE}", id=f"{each.id}{HOSTILE}") for each in (run, other)
    ]
    runs.append(make_run("rnn", 0, {"accuracy": 0.7}, dataset=HOSTILE, unexplained=HOSTILE, model=HOSTILE))
    return explained_with(make_results(runs, [dataset]), runs)
