"""The report as those meet it who cannot see it well, or not at all: axe-core finds nothing to complain of.

https://github.com/dequelabs/axe-core checks what a program can check of the Web Content Accessibility Guidelines.
"""

from __future__ import annotations

import importlib.resources
from urllib.parse import quote

import pytest

from sample_explanations import explained_quickstart, explained_series, hostile_explanations
from sample_results import broken_quickstart, hostile, quickstart, unconverged

AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def find_violations(page, *rules: str) -> list[str]:
    """Return a line for every element that breaks one of these rules, or any rule where none is named."""
    page.evaluate(AXE)
    chosen = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    options = {"runOnly": chosen, "resultTypes": ["violations", "passes"]}
    found = page.evaluate("(options) => axe.run(document, options)", options)
    assert len(found["passes"]) >= (len(rules) or 20)
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(
    "make", [quickstart, broken_quickstart, hostile, explained_quickstart, explained_series, hostile_explanations]
)
def test_the_report_breaks_no_rule_in_light_and_in_dark(visit, make):
    seen = visit(make)
    assert find_violations(seen.page) == []
    seen.page.emulate_media(color_scheme="dark")
    # The dark page differs in its colours alone.
    assert find_violations(seen.page, "color-contrast") == []


def test_nothing_that_opens_breaks_a_rule(visit):
    seen = visit(unconverged, color_scheme="dark", viewport={"width": 400, "height": 800})
    seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    seen.page.locator("table.runs th button").first.click()
    seen.page.locator(".filter input").first.fill("cnn")
    assert find_violations(seen.page) == []


@pytest.mark.parametrize("make", [broken_quickstart, hostile])
def test_the_page_of_a_run_breaks_no_rule(visit, make):
    seen = visit(make, is_read=False)
    identity = next(run.id for run in make().runs if run.status == "failed")
    seen.page.evaluate("(place) => { location.hash = place; }", f"run-{quote(identity, safe='')}")
    seen.page.locator("main#one-run .chart svg").wait_for()
    assert find_violations(seen.page) == []
