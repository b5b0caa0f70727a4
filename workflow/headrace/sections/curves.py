"""Losses by epoch."""

from __future__ import annotations

from headrace.figures.charts import MAX_PANELS, draw_curves
from headrace.sections.base import Context, Page

TITLE = "Learning curves"


def describe(page: Page) -> Context | None:
    """Return one chart a model for every comparison."""
    comparisons: list[Context] = [
        {
            "dataset": each.dataset,
            "task": each.task,
            "curves": draw_curves(each, page.colours),
            "num_models": len(each.models),
        }
        for each in page.comparisons
    ]
    figures = [((each["dataset"], model), spec) for each in comparisons for model, spec in each["curves"].items()]
    return {"comparisons": comparisons, "figures": figures, "max_drawn": MAX_PANELS}
