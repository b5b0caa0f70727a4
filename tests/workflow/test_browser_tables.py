"""Tables of the report in a real browser: they sort by what their cells mean, and leave the rows that are asked for."""

from __future__ import annotations

import dataclasses
import functools
import math

from browsing import rendered
from headrace.figures.comparisons import find_metric
from headrace.findings.results import MetricValue, Results
from sample_results import (
    broken_quickstart,
    exact_runs,
    hostile,
    make_dataset,
    make_references,
    make_results,
    many_runs,
    quickstart,
)

RUNS = "table.runs >> nth=0"


def read_column(table, head: str) -> list[str]:
    """Return the shown text of one column, what stands in brackets or small below left out."""
    place = [text.split("\n")[0].strip() for text in table.locator("thead th").all_inner_texts()].index(head)
    cells = table.locator(f"tbody tr > :nth-child({place + 1})").all()
    return [cell.text_content().split("[")[0].strip() for cell in cells]


@functools.cache
def odd_numbers() -> Results:
    """Return runs whose accuracies do not sort as texts do, among them some that say nothing."""
    values = [0.5, 1e-5, 123.0, -2.0, math.nan, math.inf, 0.5, 20.0]
    runs = exact_runs("fnn", values)
    runs += exact_runs("cnn", [0.25], validation=[0.75])
    nothing = dataclasses.replace(runs[0], id="lost", seed=8, status="not begun", metrics=(), seconds=None)
    broken = [MetricValue("accuracy", "test", math.nan, math.nan, math.nan)]
    return make_results(
        [nothing, *runs, dataclasses.replace(runs[1], id="broken", seed=9, metrics=broken)],
        [make_dataset("digits", "mnist5k", ("classification",), 5000)],
    )


def test_a_column_sorts_by_its_numbers_up_down_and_back(visit):
    seen = visit(odd_numbers)
    seen.page.locator("summary").filter(has_text="Every run").first.click()
    table = seen.page.locator(RUNS)
    before = read_column(table, "seed")
    head = table.locator("th", has_text="accuracy (test)")
    assert head.get_attribute("aria-sort") is None
    numbers = ["-2.000", "1.000e-05", "0.2500", "0.5000", "0.5000", "20.00", "123.0", "inf"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert read_column(table, "accuracy (test)")[:8] == numbers
    # What says nothing stays last in the order of the file, and equals keep theirs.
    assert read_column(table, "seed") == ["3", "1", "0", "0", "6", "7", "2", "5", "4", "8", "9"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert read_column(table, "accuracy (test)")[:8] == numbers[::-1]
    assert read_column(table, "seed") == ["5", "2", "7", "0", "6", "0", "1", "3", "4", "8", "9"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert read_column(table, "seed") == before
    assert seen.complaints == []


def test_the_keyboard_sorts_and_one_column_alone_is_sorted(visit):
    seen = visit(quickstart)
    table = seen.page.locator("table.results").first
    heads = {name: table.locator("thead th", has_text=name) for name in ("model", "accuracy", "parameters")}
    heads["accuracy"].get_by_role("button").focus()
    seen.page.keyboard.press("Enter")
    means = [float(text) for text in table.locator("tbody tr td:nth-child(3) .mean").all_inner_texts()]
    assert means == sorted(means)
    assert len(set(means)) == 4
    heads["parameters"].get_by_role("button").focus()
    seen.page.keyboard.press("Space")
    assert heads["accuracy"].get_attribute("aria-sort") is None
    assert read_column(table, "parameters") == ["18\u202f826", "242\u202f762", "242\u202f762", "421\u202f642"]
    heads["model"].get_by_role("button").click()
    names = [text.split("\n")[0] for text in table.locator("tbody th").all_inner_texts()]
    assert names == ["cnn", "fnn", "fnn", "rnn"]


@functools.cache
def five_seeds() -> Results:
    """Return a quickstart with five seeds, references and names of some length."""
    runs = quickstart().runs
    runs = [*runs, *(dataclasses.replace(run, id=f"{run.id}+", seed=run.seed + 3) for run in runs if run.seed < 2)]
    return dataclasses.replace(quickstart(), runs=runs, references=make_references())


def test_the_table_of_results_fits_a_laptop_and_a_wider_one_says_that_it_goes_on(visit):
    seen = visit(five_seeds, is_read=False, viewport={"width": 1280, "height": 800})
    table = seen.page.locator(".scroll").first
    assert "accuracy" in table.locator("thead").inner_text()
    overflow = "element => element.scrollWidth - element.clientWidth"
    assert table.evaluate(overflow) == 0
    hint = "element => getComputedStyle(element, '::before').content"
    assert table.evaluate(hint) == "none"
    seen.page.set_viewport_size({"width": 390, "height": 800})
    seen.page.wait_for_function("() => document.querySelector('.scroll').classList.contains('wide')")
    assert "scroll this table sideways" in table.evaluate(hint)
    # What a row is about stays in sight.
    name = table.locator("tbody th").first
    before = name.bounding_box()["x"]
    table.evaluate("element => { element.scrollLeft = 300; }")
    assert name.bounding_box()["x"] == before
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert seen.complaints == []


def test_a_filter_leaves_the_rows_that_hold_every_word_and_counts_them(visit):
    seen = visit(broken_quickstart)
    seen.page.locator("summary").filter(has_text="Every run").first.click()
    box = seen.page.get_by_label("Filter: Runs of digits: classification")
    rows = seen.page.locator(RUNS).locator("tbody tr")
    box.fill("FNN failed")
    status = seen.page.locator(".filter").first.get_by_role("status")
    assert status.inner_text() == "1 of 12 rows"
    assert [row.is_visible() for row in rows.all()].count(True) == 1
    assert "failed" in rows.locator("visible=true").inner_text()
    box.fill("no such run")
    assert status.inner_text() == "0 of 12 rows"
    box.fill("")
    assert status.inner_text() == ""
    assert all(row.is_visible() for row in rows.all())
    # A table that is seen at a glance has no box.
    assert seen.page.locator(".filter").count() == 1
    assert seen.complaints == []


def test_sorted_rows_stay_filtered(visit):
    seen = visit(quickstart)
    seen.page.locator("summary").filter(has_text="Every run").first.click()
    table = seen.page.locator(RUNS)
    seen.page.get_by_label("Filter: Runs of digits: classification").fill("cnn")
    table.locator("thead th", has_text="seed").get_by_role("button").click(click_count=2)
    assert table.locator("tbody tr").locator("visible=true").locator("td:nth-child(2)").all_inner_texts() == [
        "2",
        "1",
        "0",
    ]


@functools.cache
def doubtful() -> Results:
    """Return three models, of which the first ran a seed twice: its statistics are left out, in one wide cell."""
    twice = [dataclasses.replace(run, seed=0) for run in exact_runs("twice", [0.7, 0.7])]
    runs = [*twice, *exact_runs("fnn", [0.8, 0.8]), *exact_runs("cnn", [0.6, 0.6])]
    return make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)])


def test_a_row_whose_numbers_are_left_out_sorts_last(visit):
    seen = visit(doubtful, is_read=False)
    table = seen.page.locator("section[aria-labelledby=statistics] table").first
    for head in ("mean", "highest"):
        button = table.locator("thead th", has_text=head).get_by_role("button")
        for wanted in (["cnn", "fnn", "twice"], ["fnn", "cnn", "twice"]):
            button.click()
            assert table.locator("tbody th").all_inner_texts() == wanted
        button.click()
        assert table.locator("tbody th").all_inner_texts() == ["twice", "fnn", "cnn"]
    assert seen.complaints == []


def test_hostile_heads_and_cells_are_sorted_and_filtered_as_text(visit):
    seen = visit(hostile)
    seen.page.locator("summary").filter(has_text="Every run").first.click()
    table = seen.page.locator(RUNS)
    table.locator("thead th").first.get_by_role("button").click()
    seen.page.locator(".filter input").first.fill("<img src=x")
    assert table.locator("tbody tr").locator("visible=true").count() == 12
    assert seen.page.evaluate("window.hacked") is None
    assert seen.complaints == []


def test_without_scripts_the_tables_stand_as_they_are(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(rendered(quickstart), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("th button, .filter").count() == 0
    assert page.locator("table.results").first.locator("tbody th").all_inner_texts()[2] == "cnn"
    context.close()


def test_a_thousand_runs_open_in_one_small_page_and_sort_rightly(visit):
    seen = visit(many_runs, is_read=False)
    assert len(rendered(many_runs).encode()) < 15_000_000
    values = {run.id: find_metric(run, "nll", "test").value for run in many_runs().runs}
    ordered = sorted(values, key=values.__getitem__)
    assert len(ordered) == 1000
    seen.page.locator("summary").filter(has_text="Every run").click()
    button = seen.page.locator("table.runs th", has_text="nll (test)").get_by_role("button")
    shown = "[...document.querySelectorAll('table.runs tbody tr')].map((row) => row.lastElementChild.textContent)"
    before = seen.page.evaluate(shown)
    for wanted in (ordered, ordered[::-1], before):
        button.click()
        assert seen.page.evaluate(shown) == wanted
    box = seen.page.get_by_label("Filter: Runs of digits: classification")
    box.fill(ordered[123])
    assert seen.page.evaluate("document.querySelectorAll('table.runs tbody tr:not([hidden])').length") == 1
    assert seen.complaints == []
