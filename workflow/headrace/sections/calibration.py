"""Whether the probabilities of the chosen candidates are what they say."""

from __future__ import annotations

from headrace.figures.comparisons import Candidate
from headrace.figures.numbers import format_mean
from headrace.figures.ranking import MAX_PANELS, draw_reliability, select_measured
from headrace.sections.base import Context, Page

TITLE = "Calibration"


def describe(page: Page) -> Context | None:
    """Return one reliability diagram a model for every comparison of classifiers; None where there is none."""
    comparisons: list[Context] = []
    figures = []
    for each in page.comparisons:
        measured = select_measured(each)
        panels = [
            {
                "name": candidate.name,
                "num_seeds": sum(run.reliability is not None for run in candidate.counted),
                "ece": _say_error(candidate, each.split),
                "spec": draw_reliability(candidate, page.colours[candidate.name], each.dataset),
            }
            for candidate in measured[:MAX_PANELS]
        ]
        if panels:
            about = {"dataset": each.dataset, "task": each.task, "num_measured": len(measured)}
            comparisons.append({**about, "panels": panels})
            drawn = zip(measured, panels, strict=False)
            figures += [((each.dataset, candidate.model), panel["spec"]) for candidate, panel in drawn]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _say_error(candidate: Candidate, split: str) -> str:
    """Say the calibration error over the seeds as the results do; "" where it was not measured.

    Each seed has its own. That of all samples together is no model's: the errors of several cancel out.
    """
    found = candidate.summary("ece", split)
    if not found.count:
        return ""
    mean, deviation = format_mean(found.mean, found.standard_deviation)
    return f"{mean} ± {deviation}" if deviation else mean
