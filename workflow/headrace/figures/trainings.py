"""How models were trained, in the words of a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.experiments.config import Training
from headrace.figures.citations import Text
from headrace.figures.claims import MAX_NAMES
from headrace.figures.comparisons import Candidate, format_point
from headrace.figures.words import join, join_some

RATE = "\0"
"""Stands for the learning rate in what is said of several models, which may have different ones."""
TOLD_APART = frozenset(
    {"epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay", "device", "seeds", "threads"}
)
"""Keys of the training that have words of their own, or say nothing of the method."""


def describe_training(text: Text, candidates: Sequence[Candidate]) -> Iterable[str]:
    """Yield a sentence for all models that were trained alike but for the learning rate, and what holds for all."""
    alike: dict[str, dict[float, list[str]]] = {}
    for candidate in candidates:
        rate = {**Training().model_dump(mode="json"), **candidate.runs[0].parameters}["learning_rate"]
        models = alike.setdefault(_say_training(text, candidate), {}).setdefault(rate, [])
        models += [candidate.model] if candidate.model not in models else []
    for said, by_rate in alike.items():
        names = [*dict.fromkeys(model for models in by_rate.values() for model in models)]
        who = "All models" if len(alike) == 1 else join_some(names, MAX_NAMES)
        verb = "were" if len(alike) == 1 or len(names) > 1 else "was"
        yield f"{who} {verb} trained with {said.replace(RATE, _say_rates(by_rate))}."
    yield "Of each run the weights of the epoch with the lowest validation loss were kept."


def _say_rates(by_rate: Mapping[float, Sequence[str]]) -> str:
    """Say at which learning rates models were trained; `by_rate` has their names."""
    if len(by_rate) == 1:
        return f"a learning rate of {next(iter(by_rate)):g}"
    if len(by_rate) > MAX_NAMES:
        return f"{len(by_rate):,} learning rates from {min(by_rate):g} to {max(by_rate):g}"
    said = [f"{rate:g} ({join_some(models, MAX_NAMES)})" for rate, models in by_rate.items()]
    return f"learning rates of {join(said)}"


def _say_training(text: Text, candidate: Candidate) -> str:
    known = {**Training().model_dump(mode="json"), **candidate.runs[0].parameters}
    optimizer = str(known["optimizer"])
    decay = f" and a weight decay of {known['weight_decay']:g}" if known["weight_decay"] else ""
    parts = [f"{optimizer}{text.cite({'sgd': 'momentum'}.get(optimizer, optimizer))} at {RATE}{decay}"]
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
    seeds = [run.seed for run in candidate.counted]
    parts.append(f"batches of {known['batch_size']:,} samples")
    epochs = f"for {known['epochs']:,} epoch{'' if known['epochs'] == 1 else 's'}"
    runs = f"once for each of the seeds {join(map(str, seeds))}" if len(seeds) > 1 else f"once, with seed {seeds[0]}"
    return f"{join(parts)}, {epochs}, {runs}"
