"""How large the report of 1,000 runs is, and how long it takes to render, to open, to sort and to filter.

And how long the tables beside it take, of 1,000 runs and of 5,000.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browsing import ARGUMENTS
from headrace.findings.results import Results
from headrace.reporting.report import compose, load_bundle, render
from headrace.reporting.tables import write_csv, write_parquet
from headrace.reporting.tidy import tabulate_metrics, write_statistics
from headrace.sections.base import Page as Findings
from sample_results import many_runs

ROUNDS = 5
MORE_POINTS = 1000
"""Of a sweep with five seeds each."""
T = TypeVar("T")
# After two frames a browser has laid out and painted what an action changed.
FRAMES = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
SORT = f"""async () => {{
  const buttons = [...document.querySelectorAll("table.runs th button")];
  const button = buttons.find((one) => one.textContent === "accuracy (test)");
  const start = performance.now();
  button.click();
  {FRAMES}
  return (performance.now() - start) / 1000;
}}"""
FILTER = f"""async () => {{
  const box = document.querySelector("details .filter input");
  const start = performance.now();
  box.value = "done s3";
  box.dispatchEvent(new Event("input"));
  {FRAMES}
  return (performance.now() - start) / 1000;
}}"""


def open_page(browser: Browser, path: Path) -> tuple[Page, float]:
    """Return the page and the seconds until it could be read."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.evaluate(f"async () => {{ {FRAMES} }}")
    return page, time.perf_counter() - start


def measure(browser: Browser, path: Path) -> dict[str, float]:
    """Return seconds of one visit."""
    page, opened = open_page(browser, path)
    page.locator(".chart").first.scroll_into_view_if_needed()
    start = time.perf_counter()
    page.locator(".chart svg").first.wait_for()
    drawn = time.perf_counter() - start
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(f"async () => {{ {FRAMES} }}")
    times = {
        "opened": opened,
        "first chart drawn": drawn,
        "sorted": page.evaluate(SORT),
        "filtered": page.evaluate(FILTER),
    }
    page.close()
    return times


def measure_tables(results: Results) -> dict[str, float]:
    """Return seconds of what a report writes, the way it writes them: tables and page share what is computed."""
    page = Findings(results)
    calls: dict[str, Callable[[], object]] = {
        "results.csv": lambda: write_csv(tabulate_metrics(results)),
        "results.parquet": lambda: write_parquet(tabulate_metrics(results)),
        "statistics.csv": lambda: write_statistics(page),
        "page behind them": lambda: compose(page),
    }
    return {name: time_call(call)[1] for name, call in calls.items()}


def time_call(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and its seconds."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def main() -> None:
    """Print the machine, then one line for every measurement."""
    versions = {
        package: importlib.metadata.version(package) for package in ("headrace", "vl-convert-python", "playwright")
    }
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": sys.version.split()[0]}
    results, seconds = many_runs(), {}
    load_bundle()
    rendered = [time_call(lambda: render(results)) for _ in range(ROUNDS)]
    seconds["rendered"] = [took for _, took in rendered]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "report.html"
        path.write_text(rendered[0][0], encoding="utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        print(json.dumps({**machine, **versions, "chromium": browser.version}))
        for _ in range(ROUNDS):
            for name, value in measure(browser, path).items():
                seconds.setdefault(name, []).append(value)
        browser.close()
        size = path.stat().st_size / 1e6
    line = {"bench": "report", "against": None, "ratio": None, "why": "no peer makes this page"}
    runs = f"{len(results.runs)} runs"
    for made in (results, many_runs(MORE_POINTS)):
        rounds = [measure_tables(made) for _ in range(ROUNDS)]
        for name in rounds[0]:
            told = {"ours": round(statistics.median(each[name] for each in rounds), 3), "unit": "s", "rounds": ROUNDS}
            print(json.dumps({**line, "case": f"{len(made.runs)} runs: {name}", **told}))
    print(json.dumps({**line, "case": f"{runs}: size", "ours": round(size, 2), "unit": "MB", "rounds": 1}))
    for name, values in seconds.items():
        found = {"ours": round(statistics.median(values), 3), "unit": "s", "rounds": ROUNDS}
        print(json.dumps({**line, "case": f"{runs}: {name}", **found}))


if __name__ == "__main__":
    main()
