"""The report in a real browser: it draws, it asks nobody for anything, and runs nothing but its own scripts."""

from __future__ import annotations

import pytest

from browsing import rendered
from headrace.collection.finished import read_all
from headrace.collection.pages import render_index
from sample_experiments import write_results
from sample_results import broken_quickstart, hostile, oddities, quickstart, ranked, three_datasets, unconverged


@pytest.mark.parametrize("make", [quickstart, broken_quickstart])
def test_every_chart_is_drawn_without_a_complaint_or_a_request(visit, make):
    seen = visit(make)
    assert seen.num_charts == 9
    assert seen.page.locator(".chart svg .mark-symbol path").count() >= 15
    assert seen.complaints == []
    assert seen.requests == [seen.address]


def test_odd_names_and_values_are_drawn_too(visit):
    seen = visit(oddities)
    assert seen.num_charts == 1 + 4 + 3
    axis = seen.page.locator(".chart svg").first.text_content()
    assert all(name in axis for name in ("constructor", "__proto__", "1e5", "nan"))
    assert seen.complaints == []


def test_traces_of_fits_are_drawn_and_tell_time_and_traffic(visit):
    seen = visit(unconverged, viewport={"width": 360, "height": 800})
    assert seen.num_charts == 9 + 2
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    section = seen.page.locator("section[aria-labelledby=convergence]")
    assert section.locator(".mark-rule line[stroke-dasharray='4,3']").count() == 2
    tooltip = seen.page.locator("#vg-tooltip-element")
    # The second chart has too many iterations for dots that are seen, and still answers.
    for chart, seconds, moved in ((0, "3.00 s", "18.0 MiB"), (1, "25.0 s", "150.0 MiB")):
        section.locator(".chart svg").nth(chart).locator(".mark-symbol path").last.hover(force=True)
        tooltip.filter(has_text=seconds).wait_for(state="visible")
        assert moved in tooltip.inner_text()
    assert seen.complaints == []


def test_models_over_several_datasets_are_drawn_as_profiles(visit):
    seen = visit(three_datasets, viewport={"width": 360, "height": 800})
    section = seen.page.locator("section[aria-labelledby=statistics]")
    assert section.locator(".chart svg .mark-line path").count() == 3
    assert section.locator(".chart svg .role-legend").text_content() == "cnnfnnlinear"
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    section.locator(".chart svg .mark-symbol path").nth(150).hover(force=True)
    tooltip = seen.page.locator("#vg-tooltip-element")
    tooltip.filter(has_text="score above").wait_for(state="visible")
    assert seen.complaints == []


def test_reliability_and_curves_are_drawn_and_tell_their_numbers(visit):
    seen = visit(ranked, viewport={"width": 360, "height": 800})
    assert seen.num_charts == 9 + 3 + 2
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    seen.page.locator("section[aria-labelledby=calibration] .chart svg .mark-symbol path").last.hover(force=True)
    seen.page.locator("#vg-tooltip-element").filter(has_text="mean confidence").wait_for(state="visible")
    # A line for every seed, in both charts, and one for chance.
    assert seen.page.locator("section[aria-labelledby=ranking] .chart svg .mark-line path").count() == 9 + 1 + 9
    assert seen.complaints == []


def test_hostile_names_are_read_and_not_run(visit):
    seen = visit(hostile)
    assert seen.page.evaluate("window.hacked") is None
    assert seen.page.locator("img[src=x]").count() == 0
    assert seen.page.locator("script").count() == 10 + 3
    assert "onerror" in seen.page.locator("h1").inner_text()
    assert "onerror" in seen.page.locator(".chart svg").first.text_content()
    assert seen.complaints == []
    assert seen.requests == [seen.address]


def test_a_hostile_tooltip_is_read_and_not_run(visit):
    seen = visit(hostile)
    seen.page.locator(".chart svg .mark-symbol path").first.hover()
    tooltip = seen.page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert "<img src=x onerror=" in tooltip.inner_text()
    assert seen.page.evaluate("window.hacked") is None
    assert tooltip.locator("img").count() == 0
    assert seen.complaints == []


def test_a_dot_tells_its_run_and_value(visit):
    seen = visit(quickstart)
    seen.page.locator(".chart svg .mark-symbol path").first.hover()
    tooltip = seen.page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    run = quickstart().runs[0]
    assert run.id in tooltip.inner_text()
    accuracy = next(value for value in run.metrics if (value.metric, value.split) == ("accuracy", "test"))
    assert repr(accuracy.value) in tooltip.inner_text()


def test_dark_and_light_follow_the_reader(visit):
    seen = visit(quickstart)
    label = ".chart svg .role-axis-label text"
    light = [seen.style("body", "background-color"), seen.style(label, "fill")]
    assert light == ["rgb(255, 255, 255)", "rgb(29, 35, 41)"]
    seen.page.emulate_media(color_scheme="dark")
    assert [seen.style("body", "background-color"), seen.style(label, "fill")] == [
        "rgb(20, 24, 28)",
        "rgb(230, 234, 238)",
    ]
    seen.page.emulate_media(color_scheme="dark", media="print")
    assert [seen.style("body", "background-color"), seen.style(label, "fill")] == light
    assert seen.complaints == []


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_the_page_never_scrolls_sideways(visit, width):
    seen = visit(broken_quickstart, viewport={"width": width, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    widths = seen.page.evaluate(
        "[...document.querySelectorAll('.chart svg')].map(svg => svg.getBoundingClientRect().right)"
    )
    assert max(widths) <= width


def test_a_wide_table_is_reached_by_the_keyboard(visit):
    seen = visit(quickstart, viewport={"width": 400, "height": 800})
    region = seen.page.locator(".scroll").first
    region.focus()
    assert region.evaluate("element => element === document.activeElement")
    seen.page.keyboard.press("ArrowRight")
    seen.page.wait_for_function("() => document.querySelector('.scroll').scrollLeft > 0")


def test_a_model_card_opens_by_the_keyboard_and_is_not_wider_than_a_phone(visit):
    seen = visit(quickstart, viewport={"width": 360, "height": 800})
    card = seen.page.locator("details.card").first
    assert not card.locator("pre").is_visible()
    card.locator("summary").focus()
    seen.page.keyboard.press("Enter")
    assert "headrace predict artifacts/train/" in card.locator("pre").inner_text()
    seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert seen.complaints == []


def test_a_closed_model_card_is_printed_whole(visit):
    seen = visit(quickstart)
    seen.page.emulate_media(media="print")
    assert seen.page.locator("details.card table").first.is_visible()
    assert seen.style("details.card", "border-top-color") == "rgb(221, 226, 231)"


def test_without_scripts_the_numbers_are_still_there(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(rendered(quickstart), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "Charts need JavaScript" in page.locator("noscript").inner_text()
    assert page.locator("table.results").first.is_visible()
    context.close()


def test_the_index_of_all_results_is_searched_without_a_request(browser, tmp_path):
    write_results(tmp_path, "first", description="Are digits hard?")
    write_results(tmp_path, "second", description="Is <b>noise</b> harmless?")
    path = tmp_path / "index.html"
    path.write_text(render_index(tmp_path, read_all(tmp_path)[0]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme="dark")
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    rows = page.locator("section[aria-labelledby=all] tbody tr")
    assert [row.locator("th").inner_text() for row in rows.all()] == ["first", "second"]
    page.get_by_label("Search").fill("NOISE harm")
    assert [row.is_visible() for row in rows.all()] == [False, True]
    assert "of 4 lines" in page.get_by_role("status").inner_text()
    page.get_by_label("Search").fill("")
    assert all(row.is_visible() for row in rows.all())
    assert requests == [path.as_uri()]
    rows.first.get_by_role("link").click()
    assert page.url == (tmp_path / "first" / "report.html").as_uri()
    assert complaints == []
    page.close()
