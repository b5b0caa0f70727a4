"""Reports of samples, opened in a real browser."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from headrace.findings.results import Results
from headrace.reporting.report import render

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@functools.cache
def rendered(make: Callable[[], Results]) -> str:
    """Return the report of a sample."""
    return render(make())


class Visit:
    """A page that was opened and read to its end, so that its charts are drawn, and what happened meanwhile."""

    def __init__(
        self, browser, path: Path, make: Callable[[], Results], *, is_read: bool = True, **options: object
    ) -> None:
        path.write_text(rendered(make), encoding="utf-8")
        self.address = path.as_uri()
        self.page = browser.new_page(**options)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.address)
        self.num_charts = self.page.locator(".chart").count()
        if is_read:
            self.read()

    def read(self) -> None:
        """Scroll through the page until every chart is drawn, and back."""
        for chart in self.page.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for()
        self.page.evaluate("scrollTo(0, 0)")

    def style(self, selector: str, name: str) -> str:
        """Return a computed style."""
        script = "([selector, name]) => getComputedStyle(document.querySelector(selector)).getPropertyValue(name)"
        return self.page.evaluate(script, [selector, name])
