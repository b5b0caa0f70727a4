"""What every artifact of a plan says, read back as results, and how far that has come which is not there yet."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.datasets.base import GROUP
from headrace.experiments import yaml_files
from headrace.findings.environments import intern_environments
from headrace.findings.feature_names import name_features
from headrace.findings.kinds import describe_corruption, describe_family
from headrace.findings.pictures import read_explanation, read_map, read_traversals
from headrace.findings.results import (
    SCALING,
    CorruptedValue,
    DatasetResult,
    FitTrace,
    MetricValue,
    ReferenceResult,
    Results,
    RunResult,
)
from headrace.findings.unfinished import NOT_BEGUN, NOT_FINISHED, Unfinished, find_unfinished
from headrace.judging.calibration import measure_reliability
from headrace.judging.group_metrics import GroupScores, score_classes_by_group, score_numbers_by_group
from headrace.judging.metrics import MAIN_METRICS, RESAMPLES, confusion
from headrace.judging.ranking import thin, trace_precision_recall, trace_roc
from headrace.planning.artifacts import artifact_path
from headrace.provenance.digests import ATTRIBUTIONS, PICTURES
from headrace.provenance.manifests import read_json, read_manifest
from headrace.running.jobs import Job, environment
from headrace.stores.arrays import load_arrays
from headrace.stores.groups import read_attributes
from headrace.stores.layout import STORE
from headrace.tries.history import history_path, read_tries
from headrace.tries.usage import add_up

CONVERGENCE = ".convergence.json"
"""How files end that say how a step converged; PLACE-KIND comes before."""
SHARD = re.compile(rf"{re.escape(STORE)}/(.+)/([0-9]+)")
"""What the digest of a shard is called in a manifest."""
MAX_CURVE_POINTS = 200
"""Of a ROC or precision-recall curve."""
SAID_OF_FITS = ("measure", "tolerance", "converged", "iterations", "max_iterations", "bounds_value")


def gather(job: Job) -> Results:
    """Read what every artifact of the plan says."""
    spec, evaluation = job.spec, job.spec["experiment"]["evaluation"]
    manifests = {(step["stage"], step["id"]): _manifest(job.root, step) for step in spec["steps"]}
    histories = {(stage, name): read_tries(history_path(job.root, stage, name)) for stage, name in spec["jobs"]}
    missing = [key for key, manifest in manifests.items() if manifest is None]
    unfinished = find_unfinished(job.root, missing, histories)
    environments, places = intern_environments(manifests.values())
    folder = Path(spec["results"]) / spec["experiment"]["name"]
    measured = folder / SCALING
    return Results(
        experiment=spec["experiment"]["name"],
        description=spec["experiment"]["description"],
        datasets=[_dataset(job, name, manifests["shard", shard]) for name, shard in spec["shards"].items()],
        runs=[_run(job, run, manifests, unfinished) for run in spec["runs"]],
        resolved_yaml=yaml_files.write(spec["experiment"]),
        short_yaml=yaml_files.write(spec["short"], compact=True) if "short" in spec else "",
        evaluation=evaluation,
        repository=spec.get("repository"),
        plan_digest=spec["plan"],
        baseline=evaluation.get("baseline"),
        versions=environment()["versions"],
        environments=environments,
        commands=(f"snakemake --cores all --configfile {shlex.quote(str(folder / 'experiment.yaml'))}",),
        usage=add_up((stage, tries) for (stage, _), tries in histories.items()),
        steps=[
            _step(job.root, step, manifest, unfinished.get(key)) | {"environment": place}
            for (key, manifest), step, place in zip(manifests.items(), spec["steps"], places, strict=True)
        ],
        traces=list(gather_traces(job.root, spec["features"], manifests)),
        references=[found for each in spec.get("references", ()) for found in _references(job, each, manifests)],
        families={family: describe_family(family) for family in dict.fromkeys(run["family"] for run in spec["runs"])},
        corruptions={kind: describe_corruption(kind) for kind in evaluation.get("corruption", ())},
        features=spec["experiment"]["features"],
        scaling=read_json(measured) if measured.exists() else None,
    )


def gather_traces(
    root: Path, features: Mapping[str, str], manifests: Mapping[tuple[str, str], Any]
) -> Iterable[FitTrace]:
    """Read how every iterative step converged; `features` maps DATASET/FEATURES to ids, raw ones to those of shards."""
    for label, identity in features.items():
        if manifests.get(("preprocess", identity)) is None:
            continue
        dataset, _, name = label.partition("/")
        paths = artifact_path(root, "preprocess", identity).glob(f"*{CONVERGENCE}")
        for place, kind, path in sorted((*_split_step(path), path) for path in paths):
            said = read_json(path)
            yield FitTrace(
                dataset=dataset,
                features=name,
                step=place,
                kind=kind,
                value=_number(said["value"]),
                trace=[{key: _number(line[key]) for key in line} for line in said["trace"]],
                **{key: said[key] for key in SAID_OF_FITS if key in said},
            )


def _manifest(root: Path, step: Mapping[str, Any]) -> dict[str, Any] | None:
    manifest = read_manifest(artifact_path(root, step["stage"], step["id"]))
    return manifest if manifest and manifest["identity"] == step["identity"] else None


def _dataset(job: Job, name: str, manifest: Mapping[str, Any] | None) -> DatasetResult:
    info = job.spec["infos"][name]
    folder = artifact_path(job.root, "shard", job.spec["shards"][name])
    sizes = read_attributes(folder / STORE)["split_sizes"] if manifest else {}
    return DatasetResult(
        name=name,
        kind=job.spec["experiment"]["datasets"][name]["kind"],
        tasks=tuple(info["tasks"]),
        num_samples=info["num_samples"],
        split_sizes=sizes,
        sample_shape=tuple(info["shape"]),
        class_names=tuple(info["class_names"]),
        num_shards=manifest["execution"]["shards"] if manifest else 0,
        tasks_by_worker=manifest["execution"]["workers"]["tasks"] if manifest else {},
        digest=manifest["digest"] if manifest else "",
        artifact=str(folder),
        licence=info["licence"],
        source=info["source"],
        split=job.spec["experiment"]["datasets"][name].get("split", {}),
        shard_digests=_shard_digests(manifest) if manifest else {},
    )


def _shard_digests(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Those of the store's arrays in shards, shard by shard."""
    outputs = manifest["outputs"]
    found = sorted((int(match[2]), match[1], match[0]) for match in map(SHARD.fullmatch, outputs) if match)
    return {f"{array}/{place}": outputs[name] for place, array, name in found}


def _run(
    job: Job,
    run: Mapping[str, Any],
    manifests: Mapping[tuple[str, str], Any],
    unfinished: Mapping[tuple[str, str], Unfinished],
) -> RunResult:
    names = ("dataset", "family", "model", "features", "task", "seed", "point", "parameters")
    base: dict[str, Any] = {"id": run["train"], **{name: run[name] for name in names}}
    base["uncorrupted"] = run.get("uncorrupted", {})
    trained, evaluated = manifests["train", run["train"]], manifests["evaluate", run["evaluate"]]
    if trained is None:
        return RunResult(**base, **vars(unfinished["train", run["train"]]))
    folder = artifact_path(job.root, "train", run["train"])
    base |= {"shapes": trained["spec"]["shapes"], "device": trained["execution"].get("device", "")}
    if trained["status"] == "failed":
        path = folder / "curves.json"
        curves = read_json(path) if path.exists() else ()
        said = {"reason": trained["reason"], "seconds": trained["seconds"]}
        return RunResult(**base, status="failed", curves=curves, **said)
    if evaluated is None:
        base |= _not_judged(unfinished["evaluate", run["evaluate"]])
        return RunResult(**base, seconds=trained["seconds"])
    judged = artifact_path(job.root, "evaluate", run["evaluate"])
    summary = read_json(folder / "summary.json")
    return RunResult(
        **base,
        status="done",
        metrics=[_metric(metric) for metric in read_json(judged / "metrics.json")],
        resampled=_resampled(judged).get(MAIN_METRICS[run["task"]]),
        corrupted=_corrupted(judged / "corrupted.json"),
        curves=read_json(folder / "curves.json"),
        best_epoch=summary["best_epoch"],
        num_parameters=summary["num_parameters"],
        artifact=str(folder),
        flops_per_sample=evaluated["execution"].get("flops_per_sample"),
        seconds=trained["seconds"],
        cpu_s=_cpu_seconds(trained),
        **_shown(judged, run["task"], artifact_path(job.root, "shard", job.spec["shards"][run["dataset"]]) / STORE),
        **_explained(job, run, judged),
    )


def _not_judged(state: Unfinished) -> dict[str, str]:
    """What is said of a run whose training is done."""
    said = f"trained, and not evaluated yet{': ' if state.reason else ''}{state.reason}"
    return {"status": state.status if state.status != NOT_BEGUN else NOT_FINISHED, "reason": said}


def _references(
    job: Job, reference: Mapping[str, str], manifests: Mapping[tuple[str, str], Any]
) -> Iterable[ReferenceResult]:
    if manifests["evaluate", reference["evaluate"]] is None:
        return
    judged = artifact_path(job.root, "evaluate", reference["evaluate"])
    resampled = _resampled(judged)
    for said in read_json(judged / "references.json"):
        found: dict[str, Any] = {name: reference[name] for name in ("dataset", "task", "features")}
        found |= {"metrics": [_metric(metric) for metric in said["metrics"]], "resampled": resampled.get(said["name"])}
        yield ReferenceResult(name=said["name"], about=said["about"], **found)


def _resampled(judged: Path) -> dict[str, np.ndarray]:
    """The main metric on the resamples of the test split, by metric or reference; nothing where nobody kept them."""
    path = judged / RESAMPLES
    return load_arrays(path) if path.exists() else {}


def _cpu_seconds(trained: Mapping[str, Any]) -> float | None:
    """Those of the first rank, and as many for every other."""
    told = trained["execution"].get("cpu_s")
    return None if told is None else told * trained["spec"]["training"]["world_size"]


def _metric(metric: Mapping[str, Any]) -> MetricValue:
    numbers = {key: _number(metric[key]) for key in ("value", "low", "high")}
    return MetricValue(metric=metric["metric"], split=metric["split"], **numbers)


def _corrupted(path: Path) -> list[CorruptedValue]:
    rows = read_json(path) if path.exists() else ()
    return [
        CorruptedValue(**vars(_metric(row)), corruption=row["corruption"], strength=row["strength"]) for row in rows
    ]


def _number(value: float | None) -> float:
    """JSON has no nan; null stands for it."""
    return float("nan") if value is None else value


def _split_step(path: Path) -> tuple[int, str]:
    place, _, kind = path.name.removesuffix(CONVERGENCE).partition("-")
    return int(place), kind


def _shown(folder: Path, task: str, data: Path) -> dict[str, Any]:
    """Confusion counts and curves, or images and their reconstructions, and scores by group; `data` is the store."""
    arrays = load_arrays(folder / "predictions.safetensors")
    grouped = {"groups": _score_groups(arrays, read_attributes(data))} if GROUP in arrays else {}
    if task == "classification":
        target, probabilities = arrays["target"], arrays["probabilities"]
        traced = {"roc": trace_roc, "precision_recall": trace_precision_recall}
        curves = {name: trace(target, probabilities) for name, trace in traced.items()}
        return {
            "confusion": confusion(target, probabilities.argmax(axis=1), probabilities.shape[1]),
            "reliability": measure_reliability(target, probabilities),
            **{name: thin(curve, MAX_CURVE_POINTS) for name, curve in curves.items() if curve is not None},
            **grouped,
        }
    if task != "density":
        return grouped
    shown: dict[str, Any] = {"latent_map": read_map(folder / PICTURES)}
    if arrays["inputs"].ndim != 3:
        return shown
    images = np.clip(arrays["inputs"], 0, 1), np.clip(arrays["mean"], 0, 1)
    return {**shown, "reconstructions": images, "traversals": read_traversals(folder / PICTURES)}


def _explained(job: Job, run: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What its predictions rest on, or why that was not asked."""
    if not (folder / ATTRIBUTIONS).exists():
        return {"unexplained": run.get("unexplained", "")}
    store = artifact_path(job.root, "shard", job.spec["shards"][run["dataset"]]) / STORE
    names = name_features(read_attributes(store), job.spec["experiment"]["features"].get(run["features"], ()))
    return {"explanation": read_explanation(folder, names)}


def _score_groups(arrays: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> GroupScores:
    """Scores by group of a run that predicts classes or numbers; `said` are the attributes of its data."""
    known = said["group_column"], said["group_names"], arrays[GROUP], arrays["target"]
    if "probabilities" not in arrays:
        return score_numbers_by_group(*known, arrays["prediction"])
    probabilities = arrays["probabilities"]
    return score_classes_by_group(*known, probabilities.argmax(axis=1), probabilities.shape[1])


def _step(
    root: Path, step: Mapping[str, Any], manifest: Mapping[str, Any] | None, state: Unfinished | None
) -> dict[str, Any]:
    keys = ("digest", "code", "start", "end", "seconds", "status", "reason")
    said = {**dict.fromkeys(keys, ""), "seconds": 0.0, **(vars(state) if state else {})}
    if manifest is not None:
        said = {key: manifest[key] for key in keys}
    return {
        "stage": step["stage"],
        "id": step["id"],
        "identity": step["identity"],
        "artifact": str(artifact_path(root, step["stage"], step["id"])),
        "inputs": [wanted["id"] for wanted in step["inputs"].values()],
        **said,
    }
