"""Charts of the report in a real browser: drawn when they are about to be seen, and all of them on paper."""

from __future__ import annotations

from sample_results import quickstart

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
