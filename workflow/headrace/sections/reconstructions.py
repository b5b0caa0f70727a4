"""What models of the density make of the inputs, and what their latent dimensions mean."""

from __future__ import annotations

import numpy as np

from headrace.figures.comparisons import Comparison
from headrace.figures.images import image_uri, join_images
from headrace.figures.numbers import format_number
from headrace.findings.results import RunResult, Traversals
from headrace.sections.base import Context, Page

TITLE = "Reconstructions"

MAX_IMAGES = 12
"""Reconstructions side by side."""


def describe(page: Page) -> Context | None:
    """Return the pictures of every model that has any; None where none has."""
    comparisons = [
        {"dataset": each.dataset, "task": each.task, "reconstructions": panels}
        for each in page.comparisons
        if (panels := _draw_reconstructions(each))
    ]
    return {"comparisons": comparisons} if comparisons else None


def _draw_reconstructions(comparison: Comparison) -> list[Context]:
    panels = []
    for candidate in comparison.best.values():
        run = next((run for run in candidate.finished if run.reconstructions and len(run.reconstructions[0])), None)
        if run is not None:
            pictures = {**_join_reconstructions(run), "traversals": _join_traversals(run.traversals)}
            panels.append({"name": candidate.name, "run": run, **pictures})
    return panels


def _join_reconstructions(run: RunResult) -> Context:
    assert run.reconstructions is not None
    # Spread over the split, which may be in the order of its classes.
    chosen = np.unique(np.linspace(0, len(run.reconstructions[0]) - 1, MAX_IMAGES).round().astype(int))
    inputs, outputs = (np.asarray(images)[chosen] for images in run.reconstructions)
    return {
        "num_images": len(inputs),
        "num_broken": int(np.count_nonzero(~np.isfinite(inputs)) + np.count_nonzero(~np.isfinite(outputs))),
        "inputs": image_uri(join_images(inputs)),
        "outputs": image_uri(join_images(outputs)),
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
            "strip": image_uri(join_images(pictures)),
        }
        for dimension, divergence, pictures in rows
    ]
