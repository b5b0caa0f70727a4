"""Model cards: what a reader must know of a model before using it, and how to use it.

After Mitchell et al. 2019, "Model Cards for Model Reporting", https://doi.org/10.1145/3287560.3287596.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.experiments.config import Training
from headrace.figures.comparisons import Candidate, Comparison, find_metric, format_point
from headrace.figures.numbers import (
    format_count,
    format_flop,
    format_mean,
    format_mebibytes,
    format_number,
    format_seconds,
)
from headrace.figures.peaks import find_peak
from headrace.findings.results import DatasetResult, Results, RunResult

EXPORTED = frozenset({"classification", "regression"})
"""Tasks whose models `headrace export` writes as a program."""
NOT_SETTINGS = frozenset({"device", "seeds"})
"""Keys of the training that a card has a line of its own for."""


@dataclass(frozen=True)
class Score:
    """One metric on the held-out split, as a reader sees it."""

    metric: str
    mean: str
    """Over the seeds, with its standard deviation."""
    interval: str
    """The 95 % t interval of the mean over the seeds."""
    of_run: str
    """Of the run that is to be used, with its bootstrap interval over the samples."""


@dataclass(frozen=True)
class Card:
    """One model at its chosen point of the sweep, on one dataset."""

    name: str
    facts: tuple[tuple[str, str], ...]
    """What is known of it: a few words, and what they stand for."""
    scores: tuple[Score, ...]
    limits: tuple[str, ...]
    """Sentences."""
    run: RunResult | None
    """The run that is to be used; None where none finished."""
    chosen: str
    """Why that one."""
    commands: tuple[str, ...]
    """Shell lines that use it."""


def make_cards(comparison: Comparison, results: Results) -> list[Card]:
    """Return one card for every model: the best ones first, then those without a result."""
    dataset = next((dataset for dataset in results.datasets if dataset.name == comparison.dataset), None)
    chosen = dict(comparison.best)
    for candidate in comparison.candidates:
        chosen.setdefault(candidate.model, candidate)
    return [_make_card(comparison, candidate, results, dataset) for candidate in chosen.values()]


def _make_card(comparison: Comparison, candidate: Candidate, results: Results, dataset: DatasetResult | None) -> Card:
    run = choose_run(comparison, candidate)
    facts = {
        "what it is": ": ".join(filter(None, [candidate.family, results.families.get(candidate.family)])),
        "setting": _describe_setting(comparison, candidate),
        "task": _describe_task(comparison.task, dataset),
        "inputs": _describe_inputs(candidate.runs[0], results, dataset),
        "architecture": _describe_architecture(candidate.runs),
        "training": _describe_training(candidate.runs[0]),
        "data": _describe_data(dataset),
        "seeds": _describe_seeds(candidate),
        "cost": _describe_cost(candidate.counted),
        "speed": _describe_speed(candidate.counted),
        "intended use": _describe_use(comparison, dataset),
    }
    return Card(
        name=candidate.name,
        facts=tuple((name, text) for name, text in facts.items() if text),
        scores=tuple(_score(comparison, candidate, metric, run) for metric in comparison.metrics) if run else (),
        limits=tuple(_find_limits(comparison, candidate, dataset)),
        run=run,
        chosen=_describe_choice(comparison, candidate),
        commands=tuple(write_commands(comparison.task, run, dataset)) if run else (),
    )


def choose_run(comparison: Comparison, candidate: Candidate) -> RunResult | None:
    """Return the seed to be used: the best by the main metric on the split that settings were chosen on.

    The first of the finished ones where none has a number.
    """
    sign = 1 if comparison.lower_is_better else -1
    values = candidate.values(comparison.metric, comparison.selection_split)
    finite = [(sign * value.value, run) for run, value in values if math.isfinite(value.value)]
    if finite:
        return min(finite, key=lambda pair: pair[0])[1]
    return next(iter(candidate.finished), None)


def _describe_choice(comparison: Comparison, candidate: Candidate) -> str:
    if len(candidate.finished) < 2:
        return "its only finished run"
    if not candidate.counted:
        return "the first of its runs: it is not known which of them count"
    return f"the best of its seeds by {comparison.metric} on {comparison.selection_split}"


def _describe_setting(comparison: Comparison, candidate: Candidate) -> str:
    """Return the point of the sweep, and how it was chosen; "" without a sweep."""
    if not comparison.is_swept(candidate.model):
        return ""
    number = len(comparison.of_model(candidate.model))
    if comparison.best.get(candidate.model) is not candidate:
        return f"{candidate.setting}; the first of {number}, none of which has a result"
    return f"{candidate.setting}; the best of {number} by mean {comparison.metric} on {comparison.selection_split}"


def _describe_task(task: str, dataset: DatasetResult | None) -> str:
    if task == "classification" and dataset and dataset.class_names:
        return f"classification of {len(dataset.class_names)} classes"
    said = {
        "density": "density: how likely a sample is",
        "next_step": "next_step: what follows each step of a sequence",
    }
    return said.get(task, task)


def _describe_inputs(run: RunResult, results: Results, dataset: DatasetResult | None) -> str:
    """Return the way from a sample to what the model reads."""
    steps = [describe_step(step) for step in results.features.get(run.features, ())]
    is_ragged = run.shapes.get("layout") == "ragged"
    chain = [_format_shape(dataset.sample_shape, is_ragged and not steps)] if dataset else []
    chain += steps or (["as they are"] if run.features == "raw" else [f"features {run.features}"])
    if steps and run.shapes:
        chain.append(_format_shape(run.shapes["inputs"], is_ragged))
    return " → ".join(chain)


def describe_step(step: Mapping[str, Any]) -> str:
    """Return a step of preprocessing and its settings."""
    settings = format_point({name: value for name, value in step.items() if name != "kind" and value is not None})
    return f"{step['kind']} ({settings})" if settings else str(step["kind"])


def _format_shape(shape: Sequence[int], is_ragged: bool) -> str:
    size = " × ".join(map(str, shape))
    if is_ragged:
        return f"sequences of {size} a step" if size else "sequences of one number or code a step"
    return size or "sequences"


def _describe_architecture(runs: Sequence[RunResult]) -> str:
    own = {name: value for name, value in runs[0].parameters.items() if name not in Training.model_fields}
    counts = sorted({run.num_parameters for run in runs if run.num_parameters is not None})
    size = [f"{format_count(count)} trainable parameters" for count in counts[:1]]
    return "; ".join([*size, *filter(None, [format_point({k: v for k, v in own.items() if k != "kind"})])])


def _describe_training(run: RunResult) -> str:
    """Return where it was trained, and the settings that aren't the defaults."""
    defaults = Training().model_dump(mode="json", exclude=set(NOT_SETTINGS))
    known = {name: run.parameters[name] for name in defaults if name in run.parameters}
    if not known:
        return ""
    changed = format_point({name: value for name, value in known.items() if value != defaults[name]})
    settings = f"other than the defaults: {changed}" if changed else "all settings at their defaults"
    device = run.device or str(run.parameters.get("device", ""))
    return f"{settings}; on {'CPU' if device == 'cpu' else device}" if device else settings


def _describe_data(dataset: DatasetResult | None) -> str:
    if dataset is None:
        return ""
    sizes = ", ".join(f"{name} {format_count(size)}" for name, size in dataset.split_sizes.items())
    split = {name: value for name, value in dataset.split.items() if name in ("by", "column", "seed")}
    how = f"; split {format_point(split)}" if split else ""
    return f"{dataset.name} ({dataset.kind}), {format_count(dataset.num_samples)} samples: {sizes or 'not split'}{how}"


def _describe_seeds(candidate: Candidate) -> str:
    seeds = ", ".join(str(run.seed) for run in candidate.runs)
    missing = [f"{run.seed} ({run.status})" for run in candidate.runs if run.status != "done"]
    return f"{seeds}; not finished: {', '.join(missing)}" if missing else seeds


def _describe_cost(runs: Sequence[RunResult]) -> str:
    """Return time and memory of training, as far as they were recorded."""
    parts = []
    if seconds := [run.seconds for run in runs if run.seconds is not None]:
        parts.append(f"{format_seconds(statistics.fmean(seconds))} a run, {format_seconds(sum(seconds))} in all")
    if memory := list(_of_epochs(runs, "peak_memory_mib")):
        where = "in its process" if {run.device for run in runs} <= {"", "cpu"} else "on its GPU"
        where += ", the first rank's" if _world_size(runs[0]) > 1 else ""
        parts.append(f"at most {format_mebibytes(max(memory))} of memory {where}")
    return "; ".join(parts)


def _describe_speed(runs: Sequence[RunResult]) -> str:
    """Return samples and operations a second in training, and how far that is from what the device could reach."""
    rates = list(_of_epochs(runs, "samples_per_second"))
    if not rates:
        return ""
    rate, flops = statistics.median(rates), runs[0].flops_per_sample
    samples = f"{format_count(round(rate))} samples a second"
    if not flops:
        return f"{samples}; operations not counted"
    reached = f"{samples}, {format_flop(flops)} each forwards and backwards: {format_flop(rate * flops)}/s"
    return f"{reached}; {_describe_peak(runs[0], rate * flops)}"


def _describe_peak(run: RunResult, reached: float) -> str:
    """Return how far `reached` FLOP/s are from what the devices of all ranks could do together."""
    device, precision = run.device or "the device", str(run.parameters.get("precision", "fp32"))
    name, peak = "CPU" if device == "cpu" else device, find_peak(device, precision)
    if peak is None:
        return f"peak of {name} not known"
    peak *= _world_size(run)
    name = name if _world_size(run) == 1 else f"{_world_size(run)} {name}"
    share = format_number(100 * reached / peak, 2)
    return f"{share} % of the published peak of {name} in {precision}, {format_flop(peak)}/s"


def _world_size(run: RunResult) -> int:
    return int(run.parameters.get("world_size", 1))


def _of_epochs(runs: Iterable[RunResult], name: str) -> Iterable[float]:
    """Yield the finite values of one column of all curves."""
    values = (row.get(name) for run in runs for row in run.curves)
    return (value for value in values if value is not None and math.isfinite(value))


def _describe_use(comparison: Comparison, dataset: DatasetResult | None) -> str:
    named = dataset.name if dataset else comparison.dataset
    return f"more samples of what {named} was drawn from, taken and measured in the same way"


def _find_limits(comparison: Comparison, candidate: Candidate, dataset: DatasetResult | None) -> Iterable[str]:
    """Yield what the numbers don't show."""
    named = dataset.name if dataset else comparison.dataset
    yield f"Trained on the training split of {named} only: of data from elsewhere nothing is known."
    if all(run.groups is None for run in candidate.finished):
        yield "Not checked for groups: it may serve some of the people or things in the data worse than others."
    else:
        yield "It may serve some groups worse than others: see Groups. Of other groups nothing is known."
    if comparison.task == "classification":
        yield "It answers with one of its classes whatever it is shown."
    if comparison.task == "regression":
        yield "It gives a number without saying how sure it is."
    if len(candidate.counted) == 1:
        yield "One seed can't tell how much of the result is chance."
    if comparison.is_swept(candidate.model) and comparison.selection_split == comparison.split:
        yield f"Its setting was chosen on {comparison.split} itself, which flatters it."


def _score(comparison: Comparison, candidate: Candidate, metric: str, run: RunResult) -> Score:
    summary = candidate.summary(metric, comparison.split)
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    value = find_metric(run, metric, comparison.split)
    return Score(
        metric=metric,
        mean=f"{mean} ± {deviation}" if deviation else mean,
        interval=_format_interval(summary.low, summary.high),
        of_run=f"{format_number(value.value)} {_bracket(value.low, value.high)}".strip() if value else "–",
    )


def _format_interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{format_number(low)} to {format_number(high)}"


def _bracket(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{format_number(low)}, {format_number(high)}]"


def write_commands(task: str, run: RunResult, dataset: DatasetResult | None) -> Iterable[str]:
    """Yield shell lines: prediction of the test split, which may be replaced by other data, and the export."""
    if not run.artifact:
        return
    folder = shlex.quote(run.artifact)
    data = f"{shlex.quote(dataset.artifact)} --split test" if dataset and dataset.artifact else "DATA"
    yield f"headrace predict {folder} {data}"
    if task in EXPORTED:
        yield f"headrace export {folder}"
