"""One task on several datasets: what its models are worth over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from headrace.figures.charts import NAME_OF_KEY
from headrace.figures.comparisons import HIGHER_IS_BETTER, LOWER_IS_BETTER, ROUNDING, Candidate, Comparison
from headrace.figures.numbers import format_number, format_share
from headrace.figures.spreads import find_doubt
from headrace.figures.theme import Row, Spec, finish
from headrace.judging.resampling import Estimate, draw_runs, estimate
from headrace.judging.statistics import FloatArray, percentile_interval

MAX_DRAWN = 8
"""Models whose profiles are drawn, the best ones; the table has them all."""

NUM_STEPS = 101
"""Scores at which a profile is drawn."""

Values = tuple[float, ...]


@dataclass(frozen=True)
class Standing:
    """One model over all datasets, by its chosen candidate on each."""

    model: str
    rank: Estimate
    """The mean over the datasets of its place among the models, 1 the best mean and ties shared."""
    mean: Estimate
    """Of the scores of all runs, as is the next."""
    iqm: Estimate
    scores: tuple[Values, ...]
    """Of every run, by dataset: 0 the worst run of all models there, 1 the best."""


@dataclass(frozen=True)
class Aggregate:
    """All models of one task that have a result on every dataset."""

    task: str
    metric: str
    split: str
    datasets: tuple[str, ...]
    standings: tuple[Standing, ...]
    """The best interquartile mean first; empty where fewer than two models or datasets are left."""
    left_out: tuple[tuple[str, str], ...]
    """Models and datasets that do not count, and why."""


def aggregate(comparisons: Sequence[Comparison]) -> list[Aggregate]:
    """Return one aggregate for every task that has been judged by the same metric on several datasets."""
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for each in comparisons:
        if each.metric in LOWER_IS_BETTER | HIGHER_IS_BETTER:
            groups.setdefault((each.task, each.metric, each.split), []).append(each)
    return [_join(*key, members) for key, members in groups.items() if len(members) > 1]


def _join(task: str, metric: str, split: str, comparisons: Sequence[Comparison]) -> Aggregate:
    chosen = {each.dataset: _choose(each) for each in comparisons}
    models = dict.fromkeys(model for each in comparisons for model in each.models)
    lacking = {model: [name for name, known in chosen.items() if model not in known] for model in models}
    left_out = [(model, f"nothing to sum up on {', '.join(names)}") for model, names in lacking.items() if names]
    shared = [model for model, names in lacking.items() if not names]
    scores: dict[str, Mapping[str, Values]] = {}
    for name, known in chosen.items() if len(shared) > 1 else ():
        if found := _score({model: known[model] for model in shared}, metric, split):
            scores[name] = found
        else:
            left_out.append((name, "all runs are the same there"))
    standings = _rank(shared, list(scores.values())) if len(scores) > 1 else []
    ordered = tuple(sorted(standings, key=lambda standing: -standing.iqm.value))
    return Aggregate(task, metric, split, tuple(scores or chosen), ordered, tuple(left_out))


def _choose(comparison: Comparison) -> dict[str, Candidate]:
    """Return the chosen candidate of every model, without those of which nothing can be said."""
    best = comparison.best.items()
    return {name: one for name, one in best if not find_doubt(one, comparison.metric, comparison.split)}


def _score(candidates: Mapping[str, Candidate], metric: str, split: str) -> Mapping[str, Values]:
    """Return how far each run is on the way from the worst run of all models to the best; nothing where all are equal.

    Ratios to the best, as of Dolan & Moré, would need costs above 0, which accuracies and likelihoods are not.
    """
    sign = -1 if metric in LOWER_IS_BETTER else 1
    values = {
        model: [sign * value.value for _, value in candidate.values(metric, split)]
        for model, candidate in candidates.items()
    }
    worst, best = min(map(min, values.values())), max(map(max, values.values()))
    if not math.isfinite(best - worst) or best - worst <= ROUNDING * max(abs(best), abs(worst)):
        return {}
    return {model: tuple((value - worst) / (best - worst) for value in runs) for model, runs in values.items()}


def _rank(models: Sequence[str], scores: Sequence[Mapping[str, Values]]) -> list[Standing]:
    """Return the standing of every model from its scores by dataset."""
    strata = [tuple(known[model] for known in scores) for model in models]
    observed = np.array([[math.fsum(runs) / len(runs) for runs in members] for members in strata])
    resampled, over_runs = [], []
    for place, members in enumerate(strata):
        # One behind the other, since both rest on the same resamples.
        resampled.append(_resample_means(members, _stream(place, scores)))
        over_runs.append(estimate(members, _stream(place, scores)))
    ranks, found = mean_ranks(observed), mean_ranks(np.stack(resampled, axis=1))
    has_spread = all(len(runs) > 1 for members in strata for runs in members)
    return [
        Standing(
            model=model,
            rank=Estimate(
                float(ranks[place]), *(percentile_interval(found[:, place]) if has_spread else (math.nan, math.nan))
            ),
            mean=over_runs[place]["mean"],
            iqm=over_runs[place]["iqm"],
            scores=strata[place],
        )
        for place, model in enumerate(models)
    ]


def _stream(place: int, scores: Sequence[Mapping[str, Values]]) -> int:
    """Return the first stream of random numbers of a model, so that no two of them share their luck."""
    return place * len(scores)


def _resample_means(strata: Sequence[Values], stream: int) -> FloatArray:
    """Return the mean on every dataset in every resample: (resamples, datasets)."""
    values = np.concatenate([np.asarray(runs) for runs in strata])
    ends = np.cumsum([len(runs) for runs in strata])[:-1]
    parts = np.split(values[draw_runs(tuple(map(len, strata)), stream)], ends, axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)


def mean_ranks(scores: FloatArray) -> FloatArray:
    """Return the mean rank of every model, (..., models), from (..., models, datasets); the highest score is 1.

    Equal scores share the mean of their ranks.
    """
    total = np.zeros(scores.shape[:-1])
    for on_dataset in np.moveaxis(scores, -1, 0):
        total += _rank_models(on_dataset)
    return np.asarray(total / scores.shape[-1])


def _rank_models(scores: FloatArray) -> FloatArray:
    """Return the rank of every model on one dataset, from (..., models).

    By sorting: a model held against each other one takes time by the square of the models.
    """
    order = np.argsort(-scores, axis=-1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=-1)
    places = np.broadcast_to(np.arange(scores.shape[-1]), scores.shape)
    apart = ordered[..., :-1] - ordered[..., 1:] > ROUNDING
    edge = np.ones((*scores.shape[:-1], 1), bool)
    # Of a stretch of equal scores the first place and the last, which is looked for from behind.
    first = np.maximum.accumulate(np.where(np.concatenate([edge, apart], axis=-1), places, 0), axis=-1)
    ends = np.where(np.concatenate([apart, edge], axis=-1), places, scores.shape[-1])
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    return ranks


def draw_profile(found: Aggregate, colours: Mapping[str, str]) -> Spec | None:
    """Draw by model the share of runs that score more than each number, with pointwise bootstrap bands.

    The score distributions of Agarwal et al. 2021, section 4.2; None without a standing.
    """
    if not found.standings:
        return None
    # Keys and not names, since Vega keeps some domains in plain objects, in which `constructor` is taken.
    drawn = found.standings[:MAX_DRAWN]
    keys = [f"{place}\n{standing.model}" for place, standing in enumerate(drawn)]
    rows = [
        row
        for place, (key, standing) in enumerate(zip(keys, drawn, strict=True))
        for row in _tabulate_profile(key, standing, place * len(found.datasets))
    ]
    scale = alt.Scale(domain=keys, range=[colours[standing.model] for standing in drawn])
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolOpacity=1, labelExpr=NAME_OF_KEY)
    axis = alt.Axis(title="score (0 the worst run, 1 the best)", tickCount=5, grid=False)
    x = alt.X("score:Q", axis=axis, scale=alt.Scale(domain=[0, 1], nice=False))
    axis_of_share = alt.Axis(title="runs above", format="%", tickCount=5)
    up: dict[str, Any] = {"axis": axis_of_share, "scale": alt.Scale(domain=[0, 1])}
    y = alt.Y("share:Q", **up)
    colour = alt.Color("key:N", scale=scale, legend=legend)
    told = [alt.Tooltip(f"{name}:N") for name in ("model", "score above", "runs", "95 % interval")]
    data = alt.Chart(alt.NamedData("profile"))
    bands = data.mark_area(opacity=0.15, interpolate="step-after").encode(
        x=x, y=alt.Y("low:Q", **up), y2="high:Q", color=colour
    )
    lines = data.mark_line(strokeWidth=2, interpolate="step-after").encode(x=x, y=y, color=colour)
    dots = data.mark_circle(size=60, opacity=0).encode(x=x, y=y, color=colour, tooltip=told)
    chart = alt.layer(bands, lines, dots).properties(width="container", height=260)
    words = f"Share of runs by score over {len(found.datasets)} datasets of the task {found.task}, by model."
    return finish(chart, words, {"profile": rows})


def _tabulate_profile(key: str, standing: Standing, stream: int) -> list[Row]:
    """Return the share of runs above every score, with its interval; without one where nothing can be resampled."""
    scores = np.concatenate([np.asarray(runs) for runs in standing.scores])
    drawn = scores[draw_runs(tuple(map(len, standing.scores)), stream)]
    has_spread = max(map(len, standing.scores)) > 1
    rows = []
    for step in np.linspace(0, 1, NUM_STEPS):
        share = float((scores > step).mean())
        low, high = percentile_interval((drawn > step).mean(axis=1)) if has_spread else (math.nan, math.nan)
        interval = f"{format_share(low)} to {format_share(high)}" if has_spread else "none"
        texts = {"model": standing.model, "score above": format_number(float(step), 2), "runs": format_share(share)}
        numbers = {"score": round(float(step), 6), "share": share, "low": low, "high": high}
        rows.append({"key": key, **texts, "95 % interval": interval, **numbers})
    return rows
