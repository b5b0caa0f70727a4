"""Where samples lie in the latent space of a model of the density."""

from __future__ import annotations

from headrace.figures.comparisons import Comparison
from headrace.figures.latents import MAX_PANELS, draw_map
from headrace.sections.base import Context, Page

TITLE = "Latent space"


def describe(page: Page) -> Context | None:
    """Return a map for every model that has one; None where none has."""
    comparisons: list[Context] = [
        {"dataset": each.dataset, "task": each.task, "num_mapped": len(panels), "panels": panels[:MAX_PANELS]}
        for each in page.comparisons
        if (panels := _draw_maps(each, page))
    ]
    figures = [((each["dataset"], panel["model"]), panel["spec"]) for each in comparisons for panel in each["panels"]]
    return {"comparisons": comparisons, "figures": figures} if comparisons else None


def _draw_maps(comparison: Comparison, page: Page) -> list[Context]:
    dataset = page.datasets.get(comparison.dataset)
    panels = []
    for candidate in comparison.best.values():
        run = next((run for run in candidate.finished if run.latent_map is not None), None)
        if run is not None and run.latent_map is not None:
            classes = dataset.class_names if dataset else ()
            spec = draw_map(run.latent_map, classes, candidate.name, comparison.dataset)
            count = len(run.latent_map.places)
            panels.append({"name": candidate.name, "model": candidate.model, "run": run, "num": count, "spec": spec})
    return panels
