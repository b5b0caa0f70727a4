"""What the predictions of the chosen candidates rest on, and whether that depends on what was learnt."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.figures.attribution_charts import draw_means, draw_series, draw_shares
from headrace.figures.attribution_pictures import draw_pictures
from headrace.figures.attribution_samples import name_samples
from headrace.figures.attributions import (
    LARGE_ERROR,
    LOW,
    NO,
    check_methods,
    describe_patches,
    find_explained,
    say_agreement,
    say_chance,
    say_checks,
    say_error,
)
from headrace.figures.cards import choose_run
from headrace.figures.comparisons import Candidate, Comparison
from headrace.findings.results import RunResult
from headrace.sections.base import Context, Page

TITLE = "Attributions"

MAX_PANELS = 8
"""Models whose attributions are drawn, the best; the table has them all."""
TITLES = {"samples": "Heat maps", "features": "Means", "shares": "Shares of features", "steps": "Shares of steps"}
CAPTIONS = {
    "samples": "Each heat map has its own scale, at whose ends the strongest hundredth of its pixels has full colour.",
    "shares": "Bars are integrated gradients, ticks occlusion.",
    "steps": "The share of a step is that of all its features.",
}
"""What stands below the table, where there are such charts."""


def describe(page: Page) -> Context | None:
    """Return a table for every comparison that was explained, and pictures of its models; None where nobody asked."""
    if not page.results.evaluation.get("attributions"):
        return None
    comparisons = [found for each in page.comparisons if (found := _describe_comparison(each, page))]
    left_out = list(_name_left_out(page))
    figures = [
        ((each["dataset"], panel["model"], chart["name"]), chart["spec"])
        for each in comparisons
        for panel in each["panels"]
        for chart in panel["charts"]
    ]
    about = {"low": LOW, "large": LARGE_ERROR, "left_out": left_out, "figures": figures}
    return {"comparisons": comparisons, **about} if comparisons or left_out else None


def _describe_comparison(comparison: Comparison, page: Page) -> Context | None:
    explained = [candidate for candidate in comparison.best.values() if find_explained(candidate)]
    if not explained:
        return None
    panels = [_describe_model(comparison, each, page) for each in explained[:MAX_PANELS]]
    drawn = {chart["name"] for panel in panels for chart in panel["charts"]}
    return {
        "dataset": comparison.dataset,
        "task": comparison.task,
        "rows": [{"name": each.name, "methods": check_methods(each)} for each in explained],
        "num_explained": len(explained),
        "captions": [text for name, text in CAPTIONS.items() if name in drawn],
        "panels": panels,
    }


def _describe_model(comparison: Comparison, candidate: Candidate, page: Page) -> Context:
    found = find_explained(candidate)
    run = _choose_explained(comparison, candidate)
    assert run.explanation is not None
    is_large, missed = say_error(found)
    return {
        "name": candidate.name,
        "model": candidate.model,
        "run": run,
        "num": len(run.explanation.rows),
        "num_explained": run.explanation.num_samples,
        "patches": describe_patches(run.explanation, bool(run.shapes.get("is_sequence"))),
        "checks": [(verdict == NO, sentence) for verdict, sentence in say_checks(check_methods(candidate))],
        "chance": say_chance(run.explanation),
        "agreement": say_agreement(found),
        "missed": missed,
        "misses_much": is_large,
        "charts": list(_draw(comparison, candidate, run, page)),
    }


def _choose_explained(comparison: Comparison, candidate: Candidate) -> RunResult:
    """Return the seed to be used, or the first that was explained."""
    chosen = choose_run(comparison, candidate)
    if chosen is not None and chosen.explanation is not None:
        return chosen
    return next(run for run in candidate.counted if run.explanation is not None)


def _draw(comparison: Comparison, candidate: Candidate, run: RunResult, page: Page) -> Iterable[Context]:
    found, dataset = run.explanation, page.datasets.get(comparison.dataset)
    assert found is not None
    class_names = dataset.class_names if dataset else ()
    samples = name_samples(found, run.task, class_names, int(run.shapes.get("outputs", 0)))
    names = (candidate.name, comparison.dataset)
    specs = (
        draw_pictures(found, samples, *names),
        draw_means(found, run, *names),
        draw_shares(found, run, samples, *names),
        draw_series(found, run, samples, *names),
    )
    for name, spec in zip(TITLES, specs, strict=True):
        if spec is not None:
            yield {"name": name, "spec": spec, "title": TITLES[name]}


def _name_left_out(page: Page) -> Iterable[str]:
    """Yield a few words for all models of a comparison that are left out for the same reason."""
    for each in page.comparisons:
        reasons: dict[str, list[str]] = {}
        for candidate in each.candidates:
            for run in candidate.runs[:1]:
                if run.unexplained:
                    models = reasons.setdefault(run.unexplained, [])
                    models += [] if candidate.model in models else [candidate.model]
        for reason, models in reasons.items():
            yield f"{', '.join(models)} on {each.dataset} ({reason})"
