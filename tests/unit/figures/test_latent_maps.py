"""Maps of a latent space as the report draws them."""

import dataclasses

import numpy as np
import pytest

from headrace.figures.latents import MAX_CLASSES, MAX_PANELS, draw_map
from headrace.figures.theme import draw_svg
from headrace.findings.shown import LatentMap
from headrace.reporting.report import render
from sample_results import DIGITS, HOSTILE, quickstart


def make_map(num_classes: int | None = 10, num_samples: int = 60) -> LatentMap:
    generator = np.random.default_rng(0)
    classes = None if num_classes is None else np.arange(num_samples) % num_classes
    return LatentMap(generator.normal(size=(num_samples, 2)), np.array([0.4, 0.25]), classes)


def test_every_sample_is_a_dot_of_its_class():
    found = make_map()
    spec = draw_map(found, DIGITS, "vae", "digits")
    rows = spec["datasets"]["samples"]
    assert [row["class"] for row in rows] == [str(code) for code in found.classes]
    assert np.allclose([[row["x"], row["y"]] for row in rows], found.places, rtol=1e-3)
    encoding = spec["layer"][0]["encoding"]
    scales = zip(encoding["color"]["scale"]["range"], encoding["shape"]["scale"]["range"], strict=True)
    assert len(set(scales)) == 10
    assert "axis 1, 40\u00a0% of the variance" in draw_svg(spec)


@pytest.mark.parametrize("names", [(), tuple(f"class {number}" for number in range(MAX_CLASSES + 1))])
def test_without_classes_or_with_too_many_all_dots_are_alike(names):
    found = make_map(len(names) or None)
    spec = draw_map(found, names, "vae", "digits")
    assert "color" not in spec["layer"][0]["encoding"]
    assert all(row.keys() == {"x", "y"} for row in spec["datasets"]["samples"])


def test_the_best_models_are_drawn_and_hostile_classes_stay_text():
    results = quickstart()
    one = next(run for run in results.runs if run.model == "vae")
    runs = [
        dataclasses.replace(one, model=f"vae{number}", id=f"vae{number}", latent_map=make_map())
        for number in range(MAX_PANELS + 2)
    ]
    names = (HOSTILE, "constructor", "__proto__", *DIGITS[3:])
    datasets = [dataclasses.replace(dataset, class_names=names) for dataset in results.datasets]
    page = render(dataclasses.replace(results, runs=runs, datasets=datasets))
    section = page[page.index('<section aria-labelledby="latents">') :]
    section = section[: section.index("</section>")]
    assert "<img" not in section
    assert section.count('class="chart"') == MAX_PANELS
    assert f"The best {MAX_PANELS} of {MAX_PANELS + 2} models are drawn." in section


def test_without_maps_there_is_no_such_section():
    assert 'aria-labelledby="latents"' not in render(quickstart())
