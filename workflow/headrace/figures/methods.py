"""What was done, in the words of a paper: only of what was in fact used, and with its sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.experiments.config import Training
from headrace.figures.aggregates import Aggregate
from headrace.figures.cards import describe_step
from headrace.figures.citations import Citation, Text
from headrace.figures.claims import MAX_NAMES, is_known
from headrace.figures.comparisons import Candidate, Comparison, format_point
from headrace.figures.environments import describe_software
from headrace.figures.pairs import Pair
from headrace.figures.references import name_reference
from headrace.figures.trainings import describe_training
from headrace.figures.words import join, join_some
from headrace.findings.results import DatasetResult, Results, RunResult
from headrace.judging.metrics import BIASED
from headrace.judging.resampling import NUM_RESAMPLES
from headrace.judging.significance import MAX_EXACT_PAIRS, NUM_PATTERNS

PACKAGES = {
    "headrace": "Headrace",
    "snakemake": "Snakemake",
    "dask": "Dask",
    "torch": "PyTorch",
    "CUDA": "CUDA",
    "numpy": "NumPy",
    "python": "Python",
}
SOURCES = {"snakemake": "snakemake", "dask": "dask", "torch": "pytorch"}
"""Packages with a publication, and its key."""
STEPS = frozenset(
    {"truncated_svd", "kmeans", "hash_vectorize", "tfidf", "propagate", "spectral_embedding", "triangle_count", "ridge"}
)
"""Steps with a publication, whose key is their kind."""
ON_A_GRAPH = frozenset(
    {"connected_components", "pagerank", "propagate", "smooth", "spectral_embedding", "triangle_count"}
)
ODDS = {"equalized odds difference": "odds"}
CALIBRATION = frozenset({"ece"})


@dataclass(frozen=True)
class Methods:
    """Paragraphs, and what they cite in the order of the text."""

    paragraphs: tuple[str, ...]
    citations: tuple[Citation, ...]


def describe_methods(
    results: Results,
    comparisons: Sequence[Comparison],
    pairs: Sequence[Sequence[Pair]],
    aggregates: Sequence[Aggregate],
) -> Methods | None:
    """Return what was done to get the results; None where no run has finished.

    `pairs` are those with the baseline, for every comparison, and `aggregates` what was summed up over datasets.
    """
    chosen = [(each, candidate) for each in comparisons for candidate in each.best.values()]
    if not chosen:
        return None
    text = Text()
    used = {each.dataset for each, _ in chosen}
    paragraphs = (
        " ".join(_describe_dataset(dataset) for dataset in results.datasets if dataset.name in used),
        " ".join(_describe_features(text, results, chosen)),
        " ".join(_describe_models(text, results, chosen)),
        " ".join(describe_training(text, [candidate for _, candidate in chosen])),
        " ".join([*_describe_measures(text, results, comparisons), *_describe_tests(text, results, pairs, aggregates)]),
        _describe_explanations(text, [run for _, candidate in chosen for run in candidate.counted]),
        _describe_tools(text, results, [run for _, candidate in chosen for run in candidate.counted]),
    )
    return Methods(tuple(filter(None, paragraphs)), tuple(text.cited.values()))


def _describe_dataset(dataset: DatasetResult) -> str:
    about = [f"kind {dataset.kind}"]
    about += [f"licence {dataset.licence}"] if dataset.licence else ["no licence stated"]
    about += [dataset.source] if dataset.source else []
    sizes = join([f"{_count(size)} for {name}" for name, size in dataset.split_sizes.items()])
    way = format_point({name: value for name, value in dataset.split.items() if name in ("by", "column", "seed")})
    divided = f", divided into {sizes}{f' ({way})' if way else ''}" if sizes else ""
    return f"Dataset {dataset.name} ({', '.join(about)}) has {_count(dataset.num_samples)} samples{divided}."


def _describe_features(text: Text, results: Results, chosen: Sequence[tuple[Comparison, Candidate]]) -> Iterable[str]:
    """Say which steps the models' inputs went through."""
    for name in dict.fromkeys(candidate.runs[0].features for _, candidate in chosen):
        models = join_some([*dict.fromkeys(c.model for _, c in chosen if c.runs[0].features == name)], MAX_NAMES)
        steps = results.features.get(name, ())
        if steps:
            said = [f"{describe_step(step)}{text.cite(*STEPS & {step['kind']})}" for step in steps]
            sees_all = any(step["kind"] in ON_A_GRAPH for step in steps)
            exception = ", while a step on a graph sees all nodes and no label" if sees_all else ""
            yield (
                f"Inputs of {models} went through {join(said, 'then')}; what a step learns comes from the training "
                f"split alone{exception}."
            )
        elif name == "raw":
            yield f"Inputs of {models} were the data as they are."


def _describe_models(text: Text, results: Results, chosen: Sequence[tuple[Comparison, Candidate]]) -> Iterable[str]:
    """Yield a sentence for all models of a comparison of which there is the same to say."""
    alike: dict[tuple[str, str], list[str]] = {}
    for comparison, candidate in chosen:
        where = f"{comparison.dataset} ({comparison.task})"
        alike.setdefault((where, _say_model(text, results, comparison, candidate)), []).append(candidate.model)
    for (where, said), models in alike.items():
        yield f"On {where}, {join_some(models, MAX_NAMES)} {'is' if len(models) == 1 else 'are'} {said}"


def _say_model(text: Text, results: Results, comparison: Comparison, candidate: Candidate) -> str:
    run = candidate.runs[0]
    own = {name: value for name, value in run.parameters.items() if name not in Training.model_fields}
    settings = format_point({name: value for name, value in own.items() if name != "kind" and value is not None})
    about = results.families.get(candidate.family, "").rstrip(".")
    kind = f"of kind {candidate.family}{text.cite(*_find_sources(run))}"
    parts = [kind]
    parts += [f": {about[:1].lower()}{about[1:]}"] if about else []
    parts += [f" ({settings})"] if settings else []
    parts += [f", with dropout{text.cite('dropout')}"] if run.parameters.get("dropout") else []
    if comparison.is_swept(candidate.model):
        number = len(comparison.of_model(candidate.model))
        parts.append(
            f"; of {number} settings {candidate.setting} was chosen, by the mean {comparison.metric} over seeds on "
            f"the {comparison.selection_split} split"
        )
    return "".join(parts) + "."


def _find_sources(run: RunResult) -> Iterable[str]:
    """Yield the keys of what a model is made of."""
    parameters = run.parameters
    names = {"cnn": "convolutions", "transformer": "transformer", "vae": "vae", "rnn": parameters.get("cell")}
    yield from filter(None, [names.get(run.family)])
    if run.family == "cnn" and parameters.get("blocks") == "residual":
        yield "residual"
    if run.family == "vae" and parameters.get("beta", 1) != 1:
        yield "beta"


def _describe_measures(text: Text, results: Results, comparisons: Sequence[Comparison]) -> Iterable[str]:
    """Yield what was measured, and with which intervals."""
    for each in comparisons:
        metrics = [f"{metric}{text.cite(*CALIBRATION & {metric})}" for metric in each.metrics]
        if metrics:
            yield f"On {each.dataset} ({each.task}) {join(metrics)} were measured on the {each.split} split."
    yield from _describe_forecasts(text, {metric for each in comparisons for metric in each.metrics})
    unfinished = sum(run.status != "done" for run in results.runs)
    if unfinished:
        left_out = "is" if unfinished == 1 else "are"
        yield f"Of {_count(len(results.runs))} runs {_count(unfinished)} did not finish and {left_out} left out."
    yield from _describe_judged_beside(text, results, comparisons)
    number = results.evaluation.get("bootstrap")
    if number and _has_intervals(results):
        share = f"{100 * float(results.evaluation.get('confidence', 0.95)):g}"
        yield (
            f"Intervals of single runs are {share} % percentile intervals over {_count(number)} bootstrap "
            f"resamples of the samples of a split{text.cite('bootstrap')}{_say_basic(comparisons)}."
        )
    if any(len(candidate.counted) > 1 for each in comparisons for candidate in each.best.values()):
        yield (
            "Results are means over seeds with their standard deviation and 95 % Student t intervals"
            f"{text.cite('student')}. Medians and interquartile means have intervals by {_count(NUM_RESAMPLES)} "
            f"bootstrap resamples of the seeds{text.cite('seeds')}."
        )


def _describe_forecasts(text: Text, metrics: set[str]) -> Iterable[str]:
    """Say what errors without a unit are in, and what a forecast was held against."""
    if "mae_standardized" in metrics:
        yield (
            "What is standardized counts errors in standard deviations of each predicted column over training, the "
            "same for all predicted numbers."
        )
    if "skill" in metrics:
        yield (
            "skill is the share by which mae_standardized is smaller than that of repeating the last value"
            f"{text.cite('forecasting')}."
        )


def _describe_judged_beside(text: Text, results: Results, comparisons: Sequence[Comparison]) -> Iterable[str]:
    """Yield what was judged beside the models, with which other inputs, and for which groups."""
    references = dict.fromkeys(name_reference(each) for comparison in comparisons for each in comparison.references)
    if references:
        yield f"What needs no training ({join(references)}) was judged on the same samples as the models."
    for each in comparisons:
        finished = [run for candidate in each.best.values() for run in candidate.finished]
        worse = list(_list_corruptions(results, finished))
        if worse:
            yield (
                f"On {each.dataset} ({each.task}) models were judged on {each.split} inputs made worse too, behind all "
                f"preprocessing, by {join(worse)}{text.cite('corruptions')}."
            )
        groups = next((run.groups for run in finished if run.groups is not None), None)
        if groups is not None:
            gaps = join(f"{name}{text.cite(ODDS.get(name, ''))}" for name in groups.gaps)
            yield (
                f"On {each.dataset} ({each.task}) scores were told apart by {groups.column}, of which there are "
                f"{len(groups.names)}, and the largest difference between two groups is reported as {gaps}."
            )


def _list_corruptions(results: Results, runs: Sequence[RunResult]) -> Iterable[str]:
    """Yield every kind of corruption that runs were judged with, and its strengths."""
    values = [value for run in runs for value in run.corrupted]
    for corruption in dict.fromkeys(value.corruption for value in values):
        strengths = sorted({value.strength for value in values if value.corruption == corruption})
        unit = f" ({results.corruptions[corruption].unit})" if corruption in results.corruptions else ""
        yield f"{corruption} of strength {join(f'{strength:g}' for strength in strengths)}{unit}"


def _describe_tests(
    text: Text, results: Results, pairs: Sequence[Sequence[Pair]], aggregates: Sequence[Aggregate]
) -> Iterable[str]:
    """Yield which tests were made, and what was summed up over datasets."""
    tested = [pair for members in pairs for pair in members if not math.isnan(pair.p_value)]
    if tested:
        is_paired = {pair.difference.is_paired for pair in tested}
        ways = ["Student's t test in pairs of the same seed"] * (True in is_paired)
        ways += [f"Welch's t test{text.cite('welch')}" for used in is_paired if not used]
        yield (
            f"Differences from the baseline {results.baseline} were tested by {join(ways, 'or')}, with p values "
            f"corrected by Holm's method{text.cite('holm')} for the models of a dataset."
        )
    if any(is_known(pair.samples) for pair in tested):
        yield (
            "A difference is claimed where it also keeps its sign over the test samples, by the 95 % interval of a "
            f"paired bootstrap{text.cite('paired')} of the means over the seeds."
        )
    flipped = [pair.difference.num_pairs for pair in tested if not math.isnan(pair.flip_p_value)]
    if flipped:
        if max(flipped) <= MAX_EXACT_PAIRS:
            yield "An exact test by flipped signs stands beside it."
        else:
            yield f"A test by {_count(NUM_PATTERNS)} random flips of signs{text.cite('flips')} stands beside it."
    if any(not math.isnan(pair.probability) for members in pairs for pair in members):
        yield (
            "The probability of improvement is the share of pairs of a run and a run of the baseline in which it is "
            f"better, ties counted half, with 95 % bootstrap intervals over the seeds{text.cite('seeds')}."
        )
    for found in (each for each in aggregates if each.standings):
        yield (
            f"Over {join(found.datasets)} ({found.task}) models are compared by their mean rank and by the "
            f"interquartile mean of their scores{text.cite('seeds')}."
        )


def _describe_explanations(text: Text, runs: Sequence[RunResult]) -> str:
    """Say how predictions were explained, and how that was checked; "" where they were not."""
    found = [run.explanation for run in runs if run.explanation is not None]
    if not found:
        return ""
    numbers = sorted({each.num_samples for each in found})
    return (
        f"What predictions rest on was found for {join(map(_count, numbers), 'or')} samples of the test split by "
        f"integrated gradients{text.cite('integrated_gradients')}, at {_count(found[0].num_steps)} steps from a "
        f"baseline of 0, and by occlusion{text.cite('occlusion')}. Both were held against the same attributions with "
        f"random weights{text.cite('sanity')} by Spearman's rank correlation{text.cite('spearman')}."
    )


def _say_basic(comparisons: Sequence[Comparison]) -> str:
    """Say which metrics have basic intervals."""
    found = sorted({metric for each in comparisons for metric in each.metrics if metric in BIASED})
    return f", and basic ones of {join(found)}" if found else ""


def _has_intervals(results: Results) -> bool:
    return any(not math.isnan(value.low) for run in results.runs for value in run.metrics)


def _describe_tools(text: Text, results: Results, runs: Sequence[RunResult]) -> str:
    versions = describe_software(results.environments, results.steps)
    tools = [
        f"{name} {versions[package]}{text.cite(SOURCES.get(package, ''))}"
        for package, name in PACKAGES.items()
        if package in versions
    ]
    devices = sorted({"CPU" if run.device == "cpu" else run.device for run in runs if run.device})
    where = f"Models were trained on {join(devices)}" if devices else ""
    return ". ".join(filter(None, [where, f"Software: {join(tools)}" if tools else ""])) + "." if tools or where else ""


def _count(number: int) -> str:
    """With commas: what is pasted into a paper has no spaces that only a page knows."""
    return f"{number:,}"
