"""How iterative steps converged."""

from __future__ import annotations

from headrace.figures.convergence import MAX_POINTS, draw_convergence, select_drawn
from headrace.sections.base import Context, Page

TITLE = "Convergence of iterative steps"


def describe(page: Page) -> Context | None:
    """Return a table of all fits and charts of some; None where nothing was fitted by iterations."""
    traces = page.results.traces
    fits: list[Context] = [{"fit": fit, "spec": draw_convergence(fit)} for fit in select_drawn(traces)]
    figures = [((fit["fit"].dataset, fit["fit"].features, fit["fit"].name), fit["spec"]) for fit in fits]
    return {"traces": traces, "fits": fits, "max_points": MAX_POINTS, "figures": figures} if traces else None
