"""One run alone, in a real browser: everything that is known of it, at an address of its own."""

from __future__ import annotations

import dataclasses
import functools
from urllib.parse import quote

import pytest

from browsing import rendered
from headrace.figures.comparisons import find_metric
from headrace.figures.numbers import format_number
from headrace.findings.results import Results, RunResult
from sample_results import (
    HOSTILE,
    broken_quickstart,
    hostile,
    make_dataset,
    make_results,
    make_run,
    many_runs,
    quickstart,
)


def turn_to(seen, run: RunResult):
    """Follow the link to a run, and return what it shows."""
    seen.page.evaluate("(place) => { location.hash = place; }", f"run-{quote(run.id, safe='')}")
    page = seen.page.locator("main#one-run")
    page.locator("p.muted code").filter(has_text=run.id).wait_for()
    return page


def test_a_link_leads_to_a_run_and_back_to_its_row(visit):
    seen = visit(quickstart)
    run = quickstart().runs[7]
    seen.page.locator("summary").filter(has_text="Every run").first.click()
    link = seen.page.get_by_role("link", name=run.id)
    link.click()
    page = seen.page.locator("main#one-run")
    assert page.locator("h1").inner_text() == "cnn, seed 1"
    assert page.locator("h1").evaluate("heading => heading === document.activeElement")
    assert seen.page.title() == "cnn, seed 1: quickstart"
    assert [part.is_visible() for part in seen.page.locator("body > header, body > main").all()] == [False, False, True]
    seen.page.get_by_role("link", name="Back to all results").click()
    seen.page.wait_for_function("() => document.title === 'quickstart'")
    assert link.evaluate("link => link === document.activeElement")
    assert link.is_visible()
    assert not page.is_visible()
    seen.page.go_back()
    page.locator("h1").wait_for()
    assert seen.page.title() == "cnn, seed 1: quickstart"
    assert seen.complaints == []


def test_a_run_shows_its_facts_metrics_parameters_curve_and_commands(visit):
    seen = visit(quickstart, is_read=False)
    run = quickstart().runs[5]
    page = turn_to(seen, run)
    text = page.inner_text()
    for words in ("fnn (learning_rate=0.003), seed 2", "16.2 s", "cpu", "242\u202f762", run.artifact, "classification"):
        assert words in text
    for metric in run.metrics:
        row = page.get_by_role("region", name="Metrics").locator("tr").filter(has_text=metric.metric)
        cell = row.locator(f"td:nth-child({2 if metric.split == 'validation' else 3})")
        assert cell.locator("data").get_attribute("value") == repr(metric.value)
        assert cell.inner_text().split() == [
            format_number(metric.value),
            f"[{format_number(metric.low)},",
            f"{format_number(metric.high)}]",
        ]
    rows = page.get_by_role("region", name="Parameters").locator("tr").all_inner_texts()
    shown = dict(row.split("\t") for row in rows)
    assert rows[0].split() == ["learning_rate", "swept", "0.003"]
    assert shown["hidden"] == "[256, 128]"
    assert len(shown) == len(run.parameters)
    assert f"headrace predict {run.artifact} artifacts/shard/digits-1f0c2a77 --split test" in text
    assert f"headrace export {run.artifact}" in text
    page.locator(".chart svg").wait_for()
    assert page.locator(".chart svg .mark-line path").count() == 2
    assert page.locator(".chart svg .mark-symbol").first.locator("path").count() == 1
    assert page.locator(".chart svg").bounding_box()["width"] > 500
    assert seen.complaints == []


def test_neighbours_are_the_other_seeds_of_the_same_candidate(visit):
    runs = quickstart().runs
    seen = visit(quickstart, is_read=False)
    page = turn_to(seen, runs[0])
    assert "Previous: none" in page.locator("nav").inner_text()
    page.get_by_role("link", name="Next: seed 1").click()
    seen.page.wait_for_function("() => document.title === 'fnn (learning_rate=0.001), seed 1: quickstart'")
    page.get_by_role("link", name="Next: seed 2").click()
    seen.page.wait_for_function("() => document.title === 'fnn (learning_rate=0.001), seed 2: quickstart'")
    assert "Next: none" in page.locator("nav").inner_text()
    assert page.get_by_role("link", name="Previous: seed 1").get_attribute("href") == f"#run-{runs[1].id}"


def test_a_run_that_failed_says_why_first(visit):
    seen = visit(broken_quickstart, is_read=False, viewport={"width": 360, "height": 800})
    failed, missing = broken_quickstart().runs[4], broken_quickstart().runs[7]
    page = turn_to(seen, failed)
    assert page.locator(".warning").inner_text().split()[:4] == ["failed:", "loss", "is", "nan"]
    assert "To use it" not in page.inner_text()
    page.locator(".chart svg").wait_for()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    text = turn_to(seen, missing).inner_text()
    assert "It left no learning curve." in text
    assert "It left no metric." in text
    assert seen.complaints == []


def test_the_report_is_whole_again_after_a_run_that_was_opened_first(visit, tmp_path, browser):
    path = tmp_path / "report.html"
    path.write_text(rendered(quickstart), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.goto(f"{path.as_uri()}#run-{quickstart().runs[0].id}")
    assert page.locator("#one-run h1").inner_text() == "fnn (learning_rate=0.001), seed 0"
    page.set_viewport_size({"width": 800, "height": 800})
    page.get_by_role("link", name="Back to all results").click()
    chart = page.locator("main:not(#one-run) .chart").first
    chart.scroll_into_view_if_needed()
    chart.locator("svg").wait_for()
    assert chart.locator("svg").bounding_box()["width"] > 500
    page.close()


def test_charts_keep_the_width_of_a_window_that_changed_behind_a_run(visit):
    seen = visit(quickstart, viewport={"width": 1000, "height": 800})
    turn_to(seen, quickstart().runs[0])
    seen.page.set_viewport_size({"width": 700, "height": 800})
    seen.page.get_by_role("link", name="Back to all results").click()
    seen.page.wait_for_function("() => document.querySelector('.chart svg').getBoundingClientRect().width > 500")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 700


@pytest.mark.parametrize("place", ["run-nobody", "run-%E0%A4%A", "run-__proto__"])
def test_an_address_of_no_run_shows_the_report(visit, place):
    seen = visit(quickstart, is_read=False)
    seen.page.evaluate("(place) => { location.hash = place; }", place)
    assert seen.page.locator("header h1").is_visible()
    assert not seen.page.locator("main#one-run").is_visible()
    assert seen.complaints == []


def test_a_hostile_run_is_read_and_not_run(visit):
    seen = visit(hostile, is_read=False)
    for place in (0, 3):
        page = turn_to(seen, hostile().runs[place])
        assert page.inner_text().count(HOSTILE) > 8
        assert page.locator("img, script").count() == 0
    assert HOSTILE in seen.page.title()
    assert seen.page.evaluate("window.hacked") is None
    assert seen.complaints == []


@functools.cache
def shared_run() -> Results:
    """Return two models that asked for the same, and so share a run."""
    run = make_run("fnn", 0, {"accuracy": 0.9})
    dataset = make_dataset("digits", "mnist5k", ("classification",), 5000)
    return make_results([run, dataclasses.replace(run, model="twin")], [dataset])


def test_a_shared_run_names_both_models(visit):
    seen = visit(shared_run, is_read=False)
    page = turn_to(seen, shared_run().runs[0])
    facts = dict(row.split("\t") for row in page.get_by_role("region", name="Facts").locator("tr").all_inner_texts())
    assert (facts["model"], facts["shared with"]) == ("fnn", "twin")


def test_the_last_of_a_thousand_runs_has_its_page(visit):
    seen = visit(many_runs, is_read=False)
    run = many_runs().runs[-1]
    page = turn_to(seen, run)
    value = find_metric(run, "accuracy", "test").value
    assert page.locator("data").nth(1).get_attribute("value") == repr(value)
    page.locator(".chart svg .mark-line path").first.wait_for()
    assert page.locator(".chart svg .mark-line path").count() == 2
    assert seen.complaints == []
