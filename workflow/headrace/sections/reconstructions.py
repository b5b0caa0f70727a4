"""What models of the density make of the inputs, and what their latent dimensions mean."""

from __future__ import annotations

import numpy as np

from headrace.figures.comparisons import Comparison
from headrace.figures.images import Strip, join_images
from headrace.figures.numbers import format_number
from headrace.findings.results import RunResult
from headrace.findings.shown import Traversals
from headrace.sections.base import Context, Page

TITLE = "Reconstructions"

MAX_IMAGES = 12
"""Reconstructions side by side."""


def describe(page: Page) -> Context | None:
    """Return the pictures of every model that has any; None where none has."""
    comparisons: list[Context] = [
        {"dataset": each.dataset, "task": each.task, "reconstructions": panels}
        for each in page.comparisons
        if (panels := _draw_reconstructions(each))
    ]
    pictures = [one for each in comparisons for panel in each["reconstructions"] for one in _list_pictures(each, panel)]
    return {"comparisons": comparisons, "pictures": pictures} if comparisons else None


def _list_pictures(comparison: Context, panel: Context) -> list[tuple[tuple[str, ...], str, list[Strip]]]:
    """Return what becomes files: what tells them apart, a caption, and strips with the labels of the page."""
    place, who = (comparison["dataset"], panel["model"]), f"{panel['name']}, run {panel['run'].id}"
    strips = [Strip("input", "", panel["inputs"]), Strip("output", "", panel["outputs"])]
    about = f"Samples of the test split of {comparison['dataset']} above their reconstructions by {who}."
    listed: list[tuple[tuple[str, ...], str, list[Strip]]] = [((*place, "reconstructions"), about, strips)]
    if rows := panel["traversals"]:
        strips = [Strip(f"dimension {row['dimension']}", f"{row['divergence']} nats", row["strip"]) for row in rows]
        low, high = rows[0]["ends"]
        about = f"What {who}, decodes as one latent dimension goes from {low} to {high} and the others stay at 0."
        listed.append(((*place, "traversals"), about, strips))
    return listed


def _draw_reconstructions(comparison: Comparison) -> list[Context]:
    panels = []
    for candidate in comparison.best.values():
        run = next((run for run in candidate.finished if run.reconstructions and len(run.reconstructions[0])), None)
        if run is not None:
            pictures = {**_join_reconstructions(run), "traversals": _join_traversals(run.traversals)}
            panels.append({"name": candidate.name, "model": candidate.model, "run": run, **pictures})
    return panels


def _join_reconstructions(run: RunResult) -> Context:
    assert run.reconstructions is not None
    # Spread over the split, which may be in the order of its classes.
    chosen = np.unique(np.linspace(0, len(run.reconstructions[0]) - 1, MAX_IMAGES).round().astype(int))
    inputs, outputs = (np.asarray(images)[chosen] for images in run.reconstructions)
    return {
        "num_images": len(inputs),
        "num_broken": int(np.count_nonzero(~np.isfinite(inputs)) + np.count_nonzero(~np.isfinite(outputs))),
        "inputs": join_images(inputs),
        "outputs": join_images(outputs),
    }


def _join_traversals(found: Traversals | None) -> list[Context]:
    """Return one strip of images per dimension, from the lowest step to the highest."""
    if found is None:
        return []
    ends = [f"{step:g}" for step in (found.steps[0], found.steps[-1])]
    rows = zip(found.dimensions, found.divergences, found.pictures, strict=True)
    return [
        {
            "dimension": int(dimension),
            "divergence": format_number(float(divergence), 3),
            "ends": ends,
            "strip": join_images(pictures),
        }
        for dimension, divergence, pictures in rows
    ]
