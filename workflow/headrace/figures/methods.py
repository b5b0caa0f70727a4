"""What was done, in the words of a paper: only of what was in fact used, and with its sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.experiments.config import Training
from headrace.figures.aggregates import Aggregate
from headrace.figures.cards import describe_step
from headrace.figures.citations import Citation, read_citations
from headrace.figures.comparisons import Candidate, Comparison, format_point
from headrace.figures.pairs import Pair
from headrace.judging.resampling import NUM_RESAMPLES
from headrace.judging.significance import MAX_EXACT_PAIRS, NUM_PATTERNS
from headrace.reporting.results import DatasetResult, Results, RunResult

PACKAGES = {"headrace": "Headrace", "snakemake": "Snakemake", "dask": "Dask", "torch": "PyTorch", "python": "Python"}
SOURCES = {"snakemake": "snakemake", "dask": "dask", "torch": "pytorch"}
"""Packages with a publication, and its key."""
STEPS = frozenset(
    {"truncated_svd", "kmeans", "hash_vectorize", "tfidf", "propagate", "spectral_embedding", "triangle_count", "ridge"}
)
"""Steps with a publication, whose key is their kind."""
ON_A_GRAPH = frozenset(
    {"connected_components", "pagerank", "propagate", "smooth", "spectral_embedding", "triangle_count"}
)
CALIBRATION = frozenset({"ece"})
TOLD_APART = frozenset(
    {"epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay", "device", "seeds", "threads"}
)
"""Keys of the training that have words of their own, or say nothing of the method."""


@dataclass(frozen=True)
class Methods:
    """Paragraphs, and what they cite in the order of the text."""

    paragraphs: tuple[str, ...]
    citations: tuple[Citation, ...]


class Text:
    """Sentences, and what they have cited so far."""

    def __init__(self) -> None:
        self.cited: dict[str, Citation] = {}

    def cite(self, *keys: str) -> str:
        """The sources of some methods in parentheses, with a space in front; "" where none has one."""
        found = [read_citations()[key] for key in keys if key in read_citations()]
        self.cited |= {citation.key: citation for citation in found}
        return f" ({'; '.join(citation.words for citation in found)})" if found else ""


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
        " ".join(_describe_model(text, results, *pair) for pair in chosen),
        " ".join(_describe_training(text, [candidate for _, candidate in chosen])),
        " ".join([*_describe_measures(text, results, comparisons), *_describe_tests(text, results, pairs, aggregates)]),
        _describe_explanations(text, [run for _, candidate in chosen for run in candidate.finished]),
        _describe_tools(text, results, [run for _, candidate in chosen for run in candidate.finished]),
    )
    return Methods(tuple(filter(None, paragraphs)), tuple(text.cited.values()))


def _describe_dataset(dataset: DatasetResult) -> str:
    about = [f"kind {dataset.kind}"]
    about += [f"licence {dataset.licence}"] if dataset.licence else ["no licence stated"]
    about += [dataset.source] if dataset.source else []
    sizes = _join([f"{_count(size)} for {name}" for name, size in dataset.split_sizes.items()])
    way = format_point({name: value for name, value in dataset.split.items() if name in ("by", "column", "seed")})
    divided = f", divided into {sizes}{f' ({way})' if way else ''}" if sizes else ""
    return f"Dataset {dataset.name} ({', '.join(about)}) has {_count(dataset.num_samples)} samples{divided}."


def _describe_features(text: Text, results: Results, chosen: Sequence[tuple[Comparison, Candidate]]) -> Iterable[str]:
    """Say which steps the models' inputs went through."""
    for name in dict.fromkeys(candidate.runs[0].features for _, candidate in chosen):
        models = _join(dict.fromkeys(c.model for _, c in chosen if c.runs[0].features == name))
        steps = results.features.get(name, ())
        if steps:
            said = [f"{describe_step(step)}{text.cite(*STEPS & {step['kind']})}" for step in steps]
            sees_all = any(step["kind"] in ON_A_GRAPH for step in steps)
            exception = ", while a step on a graph sees all nodes and no label" if sees_all else ""
            yield (
                f"Inputs of {models} went through {_join(said, 'then')}; what a step learns comes from the training "
                f"split alone{exception}."
            )
        elif name == "raw":
            yield f"Inputs of {models} were the data as they are."


def _describe_model(text: Text, results: Results, comparison: Comparison, candidate: Candidate) -> str:
    run = candidate.runs[0]
    own = {name: value for name, value in run.parameters.items() if name not in Training.model_fields}
    settings = format_point({name: value for name, value in own.items() if name != "kind" and value is not None})
    about = results.families.get(candidate.family, "").rstrip(".")
    kind = f"of kind {candidate.family}{text.cite(*_find_sources(run))}"
    parts = [f"On {comparison.dataset} ({comparison.task}), {candidate.model} is {kind}"]
    parts += [f": {about[:1].lower()}{about[1:]}"] if about else []
    parts += [f" ({settings})"] if settings else []
    parts += [f", with dropout{text.cite('dropout')}"] if run.parameters.get("dropout") else []
    if comparison.is_swept(candidate.model):
        number = sum(other.model == candidate.model for other in comparison.candidates)
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


def _describe_training(text: Text, candidates: Sequence[Candidate]) -> Iterable[str]:
    """Yield a sentence for all models that were trained alike, and what holds for all of them."""
    alike: dict[str, list[str]] = {}
    for candidate in candidates:
        alike.setdefault(_say_training(text, candidate), []).append(candidate.model)
    for said, models in alike.items():
        who = "All models" if len(alike) == 1 else _join(dict.fromkeys(models))
        yield f"{who} {'were' if len(alike) == 1 or len(set(models)) > 1 else 'was'} trained with {said}."
    yield "Of each run the weights of the epoch with the lowest validation loss were kept."


def _say_training(text: Text, candidate: Candidate) -> str:
    known = {**Training().model_dump(mode="json"), **candidate.runs[0].parameters}
    optimizer = str(known["optimizer"])
    decay = f" and a weight decay of {known['weight_decay']:g}" if known["weight_decay"] else ""
    parts = [f"{optimizer}{text.cite({'sgd': 'momentum'}.get(optimizer, optimizer))} at a learning rate of "
             f"{known['learning_rate']:g}{decay}"]  # fmt: skip
    if known["schedule"] != "constant":
        parts.append(f"a {known['schedule']} schedule{text.cite(str(known['schedule']))}")
    sources = {
        "gradient_clip": "clipping",
        "label_smoothing": "smoothing",
        "average": "averaging",
        "world_size": "distributed",
    }
    defaults = Training().model_dump(mode="json")
    changed = {name: known[name] for name in defaults if name not in TOLD_APART and known[name] != defaults[name]}
    parts += [f"{format_point({name: value})}{text.cite(sources.get(name, ''))}" for name, value in changed.items()]
    seeds = [run.seed for run in candidate.finished]
    parts.append(f"batches of {_count(known['batch_size'])} samples")
    epochs = f"for {_count(known['epochs'])} epoch{'' if known['epochs'] == 1 else 's'}"
    runs = f"once for each of the seeds {_join(map(str, seeds))}" if len(seeds) > 1 else f"once, with seed {seeds[0]}"
    return f"{_join(parts)}, {epochs}, {runs}"


def _describe_measures(text: Text, results: Results, comparisons: Sequence[Comparison]) -> Iterable[str]:
    """Yield what was measured, and with which intervals."""
    for each in comparisons:
        metrics = [f"{metric}{text.cite(*CALIBRATION & {metric})}" for metric in each.metrics]
        if metrics:
            yield f"On {each.dataset} ({each.task}) {_join(metrics)} were measured on the {each.split} split."
    unfinished = sum(run.status != "done" for run in results.runs)
    if unfinished:
        yield f"Of {_count(len(results.runs))} runs {_count(unfinished)} did not finish and are left out."
    number = results.evaluation.get("bootstrap")
    if number and _has_intervals(results):
        share = f"{100 * float(results.evaluation.get('confidence', 0.95)):g}"
        yield (
            f"Intervals of single runs are {share} % percentile intervals over {_count(number)} bootstrap "
            f"resamples of the samples of a split{text.cite('bootstrap')}."
        )
    if any(len(candidate.finished) > 1 for each in comparisons for candidate in each.best.values()):
        yield (
            "Results are means over seeds with their standard deviation and 95 % Student t intervals"
            f"{text.cite('student')}. Medians and interquartile means have intervals by {_count(NUM_RESAMPLES)} "
            f"bootstrap resamples of the seeds{text.cite('seeds')}."
        )


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
            f"Differences from the baseline {results.baseline} were tested by {_join(ways, 'or')}, with p values "
            f"corrected by Holm's method{text.cite('holm')} for the models of a dataset."
        )
    flipped = [pair.num_seeds for pair in tested if not math.isnan(pair.flip_p_value)]
    if flipped:
        if max(flipped) <= MAX_EXACT_PAIRS:
            yield "An exact test by flipped signs stands beside it."
        else:
            yield f"A test by {_count(NUM_PATTERNS)} random flips of signs{text.cite('flips')} stands beside it."
    for found in (each for each in aggregates if each.standings):
        yield (
            f"Over {_join(found.datasets)} ({found.task}) models are compared by their mean rank and by the "
            f"interquartile mean of their scores{text.cite('seeds')}."
        )


def _describe_explanations(text: Text, runs: Sequence[RunResult]) -> str:
    """Say how predictions were explained, and how that was checked; "" where they were not."""
    found = [run.explanation for run in runs if run.explanation is not None]
    if not found:
        return ""
    numbers = sorted({each.num_samples for each in found})
    return (
        f"What predictions rest on was found for {_join(map(_count, numbers), 'or')} samples of the test split by "
        f"integrated gradients{text.cite('integrated_gradients')}, at {_count(found[0].num_steps)} steps from a "
        f"baseline of 0, and by occlusion{text.cite('occlusion')}. Both were held against the same attributions with "
        f"random weights{text.cite('sanity')} by Spearman's rank correlation{text.cite('spearman')}."
    )


def _has_intervals(results: Results) -> bool:
    return any(not math.isnan(value.low) for run in results.runs for value in run.metrics)


def _describe_tools(text: Text, results: Results, runs: Sequence[RunResult]) -> str:
    tools = [
        f"{name} {results.versions[package]}{text.cite(SOURCES.get(package, ''))}"
        for package, name in PACKAGES.items()
        if package in results.versions
    ]
    devices = sorted({"CPU" if run.device == "cpu" else run.device for run in runs if run.device})
    where = f"Models were trained on {_join(devices)}" if devices else ""
    return (
        ". ".join(filter(None, [where, f"Software: {_join(tools)}" if tools else ""])) + "." if tools or where else ""
    )


def _join(parts: Iterable[str], word: str = "and") -> str:
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} {word} {last}" if most else last


def _count(number: int) -> str:
    """With commas: what is pasted into a paper has no spaces that only a page knows."""
    return f"{number:,}"
