"""Which runs belong together: one candidate for every model at one point of the sweep, compared on one dataset."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headrace.findings.results import MetricValue, ReferenceResult, Results, RunResult
from headrace.judging.metrics import MAIN_METRICS
from headrace.judging.statistics import Summary, summarise

LOWER_IS_BETTER = frozenset({"rmse", "mae", "nll", "ece", "neg_elbo", "neg_iw_bound", "reconstruction", "perplexity"})
LOWER_IS_BETTER |= {"rmse_standardized", "mae_standardized"}
HIGHER_IS_BETTER = frozenset({"accuracy", "macro_f1", "auroc", "r2", "skill"})

ROUNDING = 1e-12
"""Relative error of a mean of equal numbers, and then some."""

SPLITS = ("test", "validation", "train")
"""In the order in which a report prefers them."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model at one point of the sweep on one dataset: the runs that differ in nothing but their seed."""

    model: str
    setting: str
    """The point of the sweep as a reader sees it, with the features where they differ; "" without a sweep."""
    family: str
    runs: tuple[RunResult, ...]
    parts: tuple[str, ...] = ()
    """The setting's, a parameter each."""

    @property
    def name(self) -> str:
        """Return the model and its setting; no two candidates of a comparison share it."""
        return f"{self.model} ({self.setting})" if self.setting else self.model

    @cached_property
    def finished(self) -> tuple[RunResult, ...]:
        """Return the runs that are done."""
        return tuple(run for run in self.runs if run.status == "done")

    @cached_property
    def counted(self) -> tuple[RunResult, ...]:
        """Return the finished runs that a mean may rest on: of every seed the first one.

        None where a seed's runs disagree or runs differ in more than their seed: nobody knows which of them count.
        """
        if self.disagreeing_seeds or self.mixed_settings:
            return ()
        firsts: dict[int, RunResult] = {}
        for run in self.finished:
            firsts.setdefault(run.seed, run)
        return tuple(firsts.values())

    @property
    def num_seeds(self) -> int:
        """Return how many seeds were asked for."""
        return len({run.seed for run in self.runs})

    @cached_property
    def repeated_seeds(self) -> list[int]:
        """Return the seeds of more than one run."""
        return [seed for seed, count in Counter(run.seed for run in self.runs).items() if count > 1]

    @cached_property
    def disagreeing_seeds(self) -> list[int]:
        """Return the seeds whose finished runs do not say the same."""
        said: dict[int, set[tuple[str, ...]]] = {seed: set() for seed in self.repeated_seeds}
        for run in self.finished if said else ():
            if run.seed in said:
                # As text, in which a value that is not a number is the same as another one.
                said[run.seed].add(tuple(sorted(map(repr, run.metrics))))
        return [seed for seed, different in said.items() if len(different) > 1]

    @cached_property
    def mixed_settings(self) -> list[str]:
        """Return the parameters that are not the same in all runs."""
        # The same text is the same setting, and writing each parameter of thousands of runs alone takes seconds.
        if len({repr(run.parameters) for run in self.runs}) == 1:
            return []
        names = dict.fromkeys(name for run in self.runs for name in run.parameters)
        return [name for name in names if len({_write_parameter(run, name) for run in self.runs}) > 1]

    def values(self, metric: str, split: str) -> list[tuple[RunResult, MetricValue]]:
        """Return one value for every seed that counts and has this metric."""
        return [(run, value) for run in self.counted if (value := find_metric(run, metric, split)) is not None]

    def summary(self, metric: str, split: str) -> Summary:
        """Return mean and spread over the seeds; a spread that is but rounding is zero."""
        if (metric, split) not in self._summaries:
            summary = summarise([value.value for _, value in self.values(metric, split)])
            if summary.count > 1 and summary.standard_deviation <= ROUNDING * abs(summary.mean):
                summary = Summary(summary.count, summary.mean, 0.0, 0.0, summary.mean, summary.mean)
            self._summaries[metric, split] = summary
        return self._summaries[metric, split]

    @cached_property
    def _summaries(self) -> dict[tuple[str, str], Summary]:
        """By metric and split, what was asked for once: a page asks for the same ones in many places."""
        return {}

    def interval(self, metric: str, split: str) -> tuple[float, float]:
        """Return the interval that a comparison may rest on; nan where there is none.

        It is the t interval over seeds. A model without chance in it gives the same value for every seed, and an
        interval of width zero that would call any difference clear: then it's the bootstrap interval over samples.
        """
        summary = self.summary(metric, split)
        if summary.low < summary.high or not math.isfinite(summary.low):
            return summary.low, summary.high
        values = [value for _, value in self.values(metric, split)]
        return min(value.low for value in values), max(value.high for value in values)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every candidate for one task on one dataset."""

    dataset: str
    task: str
    metric: str
    """The main metric."""
    split: str
    candidates: tuple[Candidate, ...]
    references: tuple[ReferenceResult, ...] = ()
    """What needs no training: never a candidate, and never chosen."""
    num_samples: int | None = None
    """In the split; None where that is not known."""

    @property
    def lower_is_better(self) -> bool:
        """Say which way the main metric goes."""
        return self.metric in LOWER_IS_BETTER

    @property
    def models(self) -> list[str]:
        """Return the models in the order of the experiment file."""
        return list(self._by_model)

    @cached_property
    def _by_model(self) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            found.setdefault(candidate.model, []).append(candidate)
        return found

    def of_model(self, model: str) -> Sequence[Candidate]:
        """Return the candidates of a model, one for every point of its sweep."""
        return self._by_model.get(model, ())

    @cached_property
    def metrics(self) -> list[str]:
        """Return the metrics of the runs on this split, the main one first."""
        names = dict.fromkeys(
            value.metric
            for candidate in self.candidates
            for run in candidate.finished
            for value in run.metrics
            if value.split == self.split
        )
        # Where no run has any, there is still what a model has to beat.
        for reference in self.references if not names else ():
            names |= dict.fromkeys(value.metric for value in reference.metrics if value.split == self.split)
        return sorted(names, key=lambda name: name != self.metric)

    @cached_property
    def selection_split(self) -> str:
        """Return the split that chooses a model's point: validation where every finished run was measured on it."""
        finished = [run for candidate in self.candidates for run in candidate.finished]
        has_validation = all(find_metric(run, self.metric, "validation") is not None for run in finished)
        return "validation" if finished and has_validation else self.split

    @cached_property
    def best(self) -> dict[str, Candidate]:
        """Return every model's best candidate, models without a finite mean left out, the best model first."""
        chosen: dict[str, Candidate] = {}
        for model in self.models:
            ranked = self.rank(self.of_model(model), self.selection_split)
            if ranked and math.isfinite(ranked[0].summary(self.metric, self.split).mean):
                chosen[model] = ranked[0]
        return {candidate.model: candidate for candidate in self.rank(chosen.values(), self.split)}

    def is_swept(self, model: str) -> bool:
        """Say whether a model has more candidates than one."""
        return len(self.of_model(model)) > 1

    def rank(self, candidates: Iterable[Candidate], split: str) -> list[Candidate]:
        """Order by the mean of the main metric, best first; candidates without a finite mean are left out."""
        sign = 1 if self.lower_is_better else -1
        means = [(candidate, candidate.summary(self.metric, split).mean) for candidate in candidates]
        finite = [(candidate, mean) for candidate, mean in means if math.isfinite(mean)]
        return [candidate for candidate, _ in sorted(finite, key=lambda pair: sign * pair[1])]


def find_metric(run: RunResult, metric: str, split: str) -> MetricValue | None:
    """Return one metric of a run, or None."""
    return next((value for value in run.metrics if value.metric == metric and value.split == split), None)


def _write_parameter(run: RunResult, name: str) -> str:
    """Return a parameter as canonical JSON, "" where a run doesn't have it."""
    return json.dumps(run.parameters[name], sort_keys=True, default=str) if name in run.parameters else ""


def format_point(point: Mapping[str, Any]) -> str:
    """Write a point of the sweep for a reader: `learning_rate=0.003, hidden=[64, 64]`."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in point.items())


def format_value(value: Any) -> str:
    """Write a parameter's value for a reader: words as they are, all else as JSON."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)


def compare(results: Results) -> list[Comparison]:
    """Group the runs by dataset and task, in the order of the datasets and then of the runs."""
    order = {dataset.name: position for position, dataset in enumerate(results.datasets)}
    sizes = {dataset.name: dataset.split_sizes for dataset in results.datasets}
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for run in results.runs:
        groups.setdefault((run.dataset, run.task), []).append(run)
    keys = sorted(groups, key=lambda key: order.get(key[0], len(order)))
    return [_make_comparison(*key, groups[key], results.references, sizes.get(key[0], {})) for key in keys]


def _make_comparison(
    dataset: str,
    task: str,
    runs: Sequence[RunResult],
    references: Sequence[ReferenceResult],
    sizes: Mapping[str, int],
) -> Comparison:
    present = {(value.metric, value.split) for run in runs if run.status == "done" for value in run.metrics}
    split = next((split for split in SPLITS if any(other == split for _, other in present)), SPLITS[0])
    main = MAIN_METRICS.get(task) or min((metric for metric, other in present if other == split), default="value")
    own = tuple(each for each in references if (each.dataset, each.task) == (dataset, task))
    return Comparison(dataset, task, main, split, _make_candidates(runs), own, sizes.get(split))


def _make_candidates(runs: Sequence[RunResult]) -> tuple[Candidate, ...]:
    groups: dict[tuple[str, str, str, str], list[RunResult]] = {}
    features_of: dict[str, set[str]] = {}
    for run in runs:
        # Canonical JSON and not the reader's form, in which 1 and "1" look the same.
        point = json.dumps(run.point, sort_keys=True, default=str)
        groups.setdefault((run.model, run.family, run.features, point), []).append(run)
        features_of.setdefault(run.model, set()).add(run.features)
    candidates: list[Candidate] = []
    namesakes: Counter[tuple[str, str]] = Counter()
    for (model, family, features, _), members in groups.items():
        parts = [f"features={features}"] if len(features_of[model]) > 1 else []
        parts += [format_point({name: value}) for name, value in members[0].point.items()]
        namesakes[model, ", ".join(parts)] += 1
        if (number := namesakes[model, ", ".join(parts)]) > 1:
            parts += [f"no. {number}"]
        ordered = tuple(sorted(members, key=lambda run: run.seed))
        candidates.append(Candidate(model, ", ".join(parts), family, ordered, tuple(parts)))
    return tuple(candidates)
