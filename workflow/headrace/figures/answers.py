"""What the numbers say, in plain words, and what a reader must know before believing them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.figures.absences import explain_absence, say_missing_baseline
from headrace.figures.claims import MAX_NAMES
from headrace.figures.comparisons import Candidate, Comparison, find_metric
from headrace.figures.leads import find_lead, say_lead
from headrace.figures.numbers import format_mean
from headrace.figures.references import hold_against
from headrace.figures.words import join, join_some
from headrace.findings.results import Results, RunResult


@dataclass(frozen=True)
class Answer:
    """The question's answer for one task on one dataset."""

    dataset: str
    task: str
    headline: str
    sentences: tuple[str, ...]
    is_clear: bool


def answer(comparison: Comparison) -> Answer:
    """Say which model is best, and whether seeds and samples bear that out."""
    best = list(comparison.best.values())
    headline, sentences, is_clear = _judge(comparison, best)
    verdict = hold_against(comparison, best[0]) if best else None
    if verdict is not None and verdict.is_beaten:
        sentences.append(verdict.sentence)
    elif verdict is not None:
        # Whichever model is the best of them is of no account then.
        said = f"That alone reaches {verdict.reached} in {comparison.metric}."
        headline, sentences = verdict.sentence, [said, f"Among the models: {headline}", *sentences]
        is_clear = False
    left_out = [model for model in comparison.models if model not in comparison.best]
    if best and left_out:
        sentences.append(_say_left_out(comparison, left_out))
    if any(comparison.is_swept(candidate.model) for candidate in best):
        sentences.append(_describe_selection(comparison))
    return Answer(comparison.dataset, comparison.task, headline, tuple(sentences), is_clear)


def _is_doubtful(candidate: Candidate) -> bool:
    """Say whether it has finished runs of which none may count."""
    return bool(candidate.finished) and not candidate.counted


def _judge(comparison: Comparison, best: Sequence[Candidate]) -> tuple[str, list[str], bool]:
    if not best and any(map(_is_doubtful, comparison.candidates)):
        return "No answer: it is not known which runs count.", [], False
    if not best:
        return "No answer: no run finished with a result.", [], False
    winner, metric = best[0], comparison.metric
    numbers = [_describe(comparison, candidate) for candidate in best[:2]]
    if len(best) == 1:
        alone = "There is no other model to compare it with."
        others = (candidate for candidate in comparison.candidates if candidate.model != winner.model)
        has_values = any(each.values(metric, comparison.split) or _is_doubtful(each) for each in others)
        headline = f"{winner.name} is the only model {'that can be ranked' if has_values else 'with a result'}."
        return headline, [f"Its mean {metric} is {numbers[0]}.", alone], False
    ranking = f"{winner.name} has the best mean {metric}, {numbers[0]}; {best[1].name} comes next with {numbers[1]}."
    headline, sentences, is_clear = say_lead(comparison, find_lead(comparison, best))
    return headline, [ranking, *sentences], is_clear


def _say_left_out(comparison: Comparison, models: Sequence[str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for model in models:
        by_reason.setdefault(explain_absence(comparison, model), []).append(model)
    return f"Not ranked: {'; '.join(f'{join_some(names, MAX_NAMES)} ({why})' for why, names in by_reason.items())}."


def _describe(comparison: Comparison, candidate: Candidate) -> str:
    summary = candidate.summary(comparison.metric, comparison.split)
    mean, deviation = format_mean(summary.mean, summary.standard_deviation)
    total = candidate.num_seeds
    seeds = f"{summary.count} seed{'s' if summary.count > 1 else ''}"
    seeds = seeds if summary.count == total else f"{summary.count} of {total} seeds"
    return f"{mean} ± {deviation} over {seeds}" if deviation else f"{mean} with {seeds}"


def _describe_selection(comparison: Comparison) -> str:
    chosen = f"Swept settings were chosen by their mean {comparison.metric} on {comparison.selection_split}"
    if comparison.selection_split != comparison.split:
        return f"{chosen}; the numbers are from {comparison.split}."
    return f"{chosen} itself, which flatters the models with many settings."


def find_problems(results: Results, comparisons: Sequence[Comparison]) -> list[str]:
    """Return what a reader must know first: what failed, what is missing, which numbers aren't numbers."""
    problems = [_describe_unfinished(results.runs)]
    stages = Counter((str(step["stage"]), str(step["status"])) for step in find_broken_steps(results))
    problems += [f"Stage {stage}: {count} {status}." for (stage, status), count in stages.items()]
    for comparison in comparisons:
        if missing := say_missing_baseline(comparison, results.baseline):
            problems.append(missing)
        for candidate in comparison.candidates:
            problems += _find_doubts(comparison, candidate)
        problems += _find_twins(comparison)
    if not results.runs:
        problems.append("There are no runs: nothing was compared.")
    return [problem for problem in problems if problem]


def _find_twins(comparison: Comparison) -> Iterator[str]:
    """Yield the candidates that are the same runs, as a model that was named twice: nothing can differ between them."""
    named: dict[tuple[str, ...], list[str]] = {}
    for candidate in comparison.candidates:
        named.setdefault(tuple(run.id for run in candidate.runs), []).append(candidate.name)
    for names in (names for names in named.values() if len(names) > 1):
        yield f"{join_some(names, MAX_NAMES)} on {comparison.dataset} are the same runs, and each is ranked by itself."


def find_broken_steps(results: Results) -> list[Mapping[str, Any]]:
    """Return the steps that aren't done for a reason of their own: neither runs nor what waits for another step."""
    unfinished = {step["id"] for step in results.steps if step["status"] != "done"}
    known = {run.id for run in results.runs}
    return [
        step
        for step in results.steps
        if step["status"] != "done"
        and step["id"] not in known
        and unfinished.isdisjoint(set(step["inputs"]) - {step["id"]})
    ]


def _describe_unfinished(runs: Sequence[RunResult]) -> str:
    states = Counter(run.status for run in runs if run.status != "done")
    if not states:
        return ""
    counts = [
        f"{count} {'is' if count == 1 else 'are'} {state}" for state, count in states.items() if state != "failed"
    ]
    counts = [f"{states['failed']} failed", *counts] if states["failed"] else counts
    rest = len(runs) - states.total()
    rests = f"every number here rests on the other {rest}" if rest else "there is no result yet"
    return f"Of {len(runs)} runs, {join(counts)}: {rests}."


def _find_doubts(comparison: Comparison, candidate: Candidate) -> list[str]:
    doubts = []
    broken: dict[tuple[str, str], list[str]] = {}
    for run in candidate.finished:
        for value in (value for value in run.metrics if not math.isfinite(value.value)):
            broken.setdefault((value.metric, value.split), []).append(run.id)
        if find_metric(run, comparison.metric, comparison.split) is None:
            doubts.append(f"{run.id} finished without {comparison.metric} on {comparison.split}.")
    where = f"{candidate.name} on {comparison.dataset}"
    for (metric, split), runs in broken.items():
        who = runs[0] if len(runs) == 1 else f"{len(runs)} runs of {where}"
        why = "; a class is missing there" if metric == "auroc" else ""
        doubts.append(f"{who} finished, but {metric} ({split}) isn't a finite number{why}.")
    left_out = "It has no mean and takes part in no comparison; the table of runs shows each of them."
    if candidate.disagreeing_seeds:
        seeds = ", ".join(map(str, candidate.disagreeing_seeds))
        doubts.append(f"{where} has runs of the same seed that do not say the same: {seeds}. {left_out}")
    elif candidate.repeated_seeds:
        seeds = ", ".join(map(str, candidate.repeated_seeds))
        doubts.append(f"{where} has the same seed more than once: {seeds}. The first finished run of each counts.")
    if candidate.mixed_settings:
        names = ", ".join(candidate.mixed_settings)
        doubts.append(f"{where} mixes runs with different settings: {names}. {left_out}")
    return doubts
