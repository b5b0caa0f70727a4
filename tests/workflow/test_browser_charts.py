"""Charts of the report in a real browser: drawn when they are about to be seen, all of them on paper, and they zoom."""

from __future__ import annotations

import itertools

import pytest

from sample_explanations import explained_quickstart
from sample_results import hostile, quickstart

COUNT = "document.querySelectorAll('.chart svg').length"


def test_charts_are_drawn_when_they_come_near_and_keep_their_room_until_then(visit):
    seen = visit(quickstart, is_read=False, viewport={"width": 1000, "height": 400})
    last = seen.page.locator(".chart").last
    seen.page.locator(".chart").first.scroll_into_view_if_needed()
    seen.page.locator(".chart svg").first.wait_for()
    assert last.locator("svg").count() == 0
    reserved = last.bounding_box()["height"]
    last.scroll_into_view_if_needed()
    last.locator("svg").wait_for()
    assert abs(last.bounding_box()["height"] - reserved) < 40
    seen.read()
    assert seen.page.evaluate(COUNT) == seen.num_charts == 9
    assert seen.complaints == []


def test_a_printer_finds_every_chart_drawn(visit):
    seen = visit(quickstart, is_read=False, viewport={"width": 1000, "height": 400})
    assert seen.page.evaluate(COUNT) < 9
    # What a browser does before it prints: it tells the page, lets its promises finish, and looks no later.
    drawn = f"async () => {{ dispatchEvent(new Event('beforeprint')); {500 * 'await null;'} return {COUNT}; }}"
    assert seen.page.evaluate(drawn) == 9
    assert seen.complaints == []


def test_printing_draws_every_chart(visit):
    seen = visit(quickstart, is_read=False, viewport={"width": 1000, "height": 400})
    assert len(seen.page.pdf()) > 10_000
    assert seen.page.evaluate(COUNT) == 9


class Chart:
    """One chart under the mouse."""

    def __init__(self, seen, selector: str) -> None:
        self.page = seen.page
        self.place = self.page.locator(selector).first
        self.place.scroll_into_view_if_needed()
        box = self.place.locator("svg").bounding_box()
        self.x, self.y = box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"]
        self.page.mouse.move(self.x, self.y)

    def read_axis(self, place: int = 0) -> list[float]:
        """Return the numbers of an axis in order."""
        labels = self.place.locator(".role-axis-label").nth(place).locator("text")
        return sorted(float(text) for text in labels.all_text_contents() if text)

    def wait_for_axis(self, change: str, old: list[float]) -> list[float]:
        """Wait until the horizontal axis differs from (or equals) an old one, and return it."""
        labels = "chart.querySelector('.role-axis-label').querySelectorAll('text')"
        read = f"[...{labels}].map((one) => Number(one.textContent))"
        wanted = f"([chart, old]) => (String({read}.sort((a, b) => a - b)) {change} String(old))"
        self.page.wait_for_function(wanted, arg=[self.place.element_handle(), old])
        return self.read_axis()

    def turn_wheel(self, key: str | None = None) -> None:
        """Turn the wheel by a step away from the reader."""
        if key:
            self.page.keyboard.down(key)
        self.page.mouse.wheel(0, -400)
        if key:
            self.page.keyboard.up(key)


@pytest.mark.parametrize("make", [quickstart, hostile])
def test_seeds_zoom_about_the_mouse_move_with_it_and_come_back(visit, make):
    seen = visit(make, viewport={"width": 1100, "height": 800})
    chart = Chart(seen, "section[aria-labelledby=results] .chart")
    position, whole = seen.page.evaluate("scrollY"), chart.read_axis()
    chart.turn_wheel("Control")
    near = chart.wait_for_axis("!==", whole)
    assert near[-1] - near[0] < 0.8 * (whole[-1] - whole[0])
    seen.page.mouse.down()
    seen.page.mouse.move(chart.x - 300, chart.y, steps=4)
    seen.page.mouse.up()
    moved = chart.wait_for_axis("!==", near)
    assert moved[0] > near[0]
    seen.page.mouse.dblclick(chart.x, chart.y)
    assert chart.wait_for_axis("===", whole) == whole
    assert seen.page.evaluate("scrollY") == position
    assert seen.complaints == []


def test_the_wheel_alone_scrolls_the_page_and_moves_no_axis(visit):
    seen = visit(quickstart, viewport={"width": 1100, "height": 800})
    chart = Chart(seen, "section[aria-labelledby=results] .chart")
    position, whole = seen.page.evaluate("scrollY"), chart.read_axis()
    chart.turn_wheel()
    seen.page.wait_for_function("(position) => scrollY < position", arg=position)
    assert chart.read_axis() == whole


def test_curves_zoom_along_both_axes_keep_numbers_on_them_and_still_tell_their_run(visit):
    seen = visit(quickstart, viewport={"width": 1100, "height": 800})
    chart = Chart(seen, "section[aria-labelledby=curves] .chart")
    epochs, losses = chart.read_axis(0), chart.read_axis(1)
    assert (epochs, losses) == ([2, 4, 6, 8, 10], [0.1, 0.2, 0.5, 1])
    chart.turn_wheel("Control")
    chart.wait_for_axis("!==", epochs)
    for _ in range(2):
        chart.turn_wheel("Control")
    evenly = "(chart) => chart.querySelectorAll('.role-axis-label')[1].querySelectorAll('text').length === 5"
    seen.page.wait_for_function(evenly, arg=chart.place.element_handle())
    ticks = chart.read_axis(1)
    assert losses[0] < ticks[0] < ticks[-1] < 5 * ticks[0]
    ratios = [high / low for low, high in itertools.pairwise(ticks)]
    assert ratios == pytest.approx(4 * [ratios[0]], rel=0.01)
    assert all(epoch == round(epoch) for epoch in chart.read_axis(0))
    inside = """(chart) => {
      const frame = chart.querySelector(".role-axis-grid, .role-frame .background").getBoundingClientRect();
      const middles = [...chart.querySelectorAll(".mark-symbol path")].map((dot) => dot.getBoundingClientRect())
        .map((box) => [box.x + box.width / 2, box.y + box.height / 2]);
      return middles.find(([x, y]) => frame.left < x && x < frame.right && frame.top < y && y < frame.bottom);
    }"""
    seen.page.mouse.move(*chart.place.evaluate(inside))
    tooltip = seen.page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert "fnn-digits-s" in tooltip.inner_text()
    assert seen.complaints == []


def test_heat_maps_are_seen_on_light_and_dark_and_tell_their_sample(visit):
    seen = visit(explained_quickstart, viewport={"width": 1100, "height": 800})
    charts = seen.page.locator("section[aria-labelledby=attributions] .chart")
    assert charts.count() == 3
    assert [chart.locator("svg image").count() for chart in charts.all()] == [3, 3, 3]
    tiles = "(chart) => [...chart.querySelectorAll('path')].map((one) => getComputedStyle(one).fill)"
    for scheme, panel in (("light", "rgb(245, 247, 249)"), ("dark", "rgb(28, 34, 40)")):
        seen.page.emulate_media(color_scheme=scheme)
        assert panel in charts.first.evaluate(tiles)
    charts.first.scroll_into_view_if_needed()
    box = charts.first.locator("svg image").first.bounding_box()
    # The last of four samples.
    seen.page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    tooltip = seen.page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert tooltip.inner_text().split() == [
        "what",
        "sample",
        "sample",
        "13",
        "true",
        "3",
        "predicted",
        "4",
        "largest",
        "share",
    ]
    assert seen.complaints == []
