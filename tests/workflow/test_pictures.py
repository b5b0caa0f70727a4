"""Pictures of the report: those of a sample, for whoever wants to look at them, and the one in the README.

The tests keep theirs in the folder that HEADRACE_PICTURES names. `make picture` runs the quickstart and takes the
README's picture of its report: what it shows was measured. Pixels depend on a machine's fonts and are not compared.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sample_results import quickstart

ROOT = Path(__file__).parents[2]
EXAMPLE, REPORT = ROOT / "workflow/report/example.png", ROOT / "results/quickstart/report.html"
WIDTH, HEIGHT = 1200, 1900
CONTENTS = "Contents"
"""Where a picture keeps the titles of the page's sections."""


def read_contents(page) -> list[str]:
    """Return the titles of the sections."""
    return page.locator("nav[aria-label=Contents] a").all_inner_texts()


def read_picture(path: Path) -> tuple[tuple[int, int], list[str]]:
    """Return the size of a picture and the titles that it keeps."""
    with Image.open(path) as picture:
        picture.load()
        return picture.size, picture.text.get(CONTENTS, "").split("\n")


def take_picture(page, path: Path) -> Image.Image:
    """Write what the window shows, and return it."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    titles = PngInfo()
    titles.add_text(CONTENTS, "\n".join(read_contents(page)))
    image.save(path, optimize=True, pnginfo=titles)
    return image


def test_the_report_looks_like_itself_in_light_in_dark_and_on_a_phone(visit, tmp_path):
    folder = Path(os.environ.get("HEADRACE_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    seen = visit(quickstart, viewport={"width": WIDTH, "height": HEIGHT})
    pictures = {"light": take_picture(seen.page, folder / "light.png")}
    seen.page.emulate_media(color_scheme="dark")
    pictures["dark"] = take_picture(seen.page, folder / "dark.png")
    seen.page.emulate_media(color_scheme="light")
    seen.page.set_viewport_size({"width": 390, "height": 844})
    pictures["phone"] = take_picture(seen.page, folder / "phone.png")
    sizes = {name: read_picture(folder / f"{name}.png")[0] for name in pictures}
    assert sizes == {"light": (WIDTH, HEIGHT), "dark": (WIDTH, HEIGHT), "phone": (390, 844)}
    paper = {name: int(np.median(np.asarray(picture))) for name, picture in pictures.items()}
    assert paper["light"] > 230 > 60 > paper["dark"]
    # A chart has its palette in it; a page of words alone would be grey.
    spread = np.asarray(pictures["light"]).astype(int)
    assert (spread.max(axis=2) - spread.min(axis=2) > 100).sum() > 1000


def test_the_picture_in_the_readme_shows_the_page_as_it_is_today(browser, visit, fix):
    if fix:
        assert REPORT.is_file(), f"{REPORT} is missing: run the quickstart first, or call `make picture`, which does"
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(REPORT.as_uri())
        page.locator(".chart svg").first.wait_for()
        take_picture(page, EXAMPLE)
        page.close()
    size, shown = read_picture(EXAMPLE)
    assert size == (WIDTH, HEIGHT)
    assert "(workflow/report/example.png)" in (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [title for title in read_contents(visit(quickstart, is_read=False).page) if title not in shown]
    assert missing == [], "the picture is older than these sections: make picture"
