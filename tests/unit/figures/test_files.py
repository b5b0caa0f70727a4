"""The charts of a page as files: all of them, by names that are safe, with the numbers that they draw."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.figures import files
from headrace.figures.comparisons import compare
from headrace.figures.files import Figure, Picture, list_figures, name_figures, tabulate, write_figures
from headrace.findings.results import Results
from headrace.provenance.fingerprints import PACKAGE
from headrace.reporting.report import compose
from headrace.sections.base import Page
from sample_explanations import explained_quickstart, explained_series, explained_tables, hostile_explanations
from sample_results import hostile, oddities, quickstart, ranked, three_datasets, two_datasets, unconverged

QUICKSTART = [
    "results-digits-classification",
    "results-digits-density",
    *(f"curves-digits-{model}" for model in ("fnn", "cnn", "rnn", "vae")),
    *(f"confusions-digits-{model}" for model in ("cnn", "fnn", "rnn")),
]
PICTURES = [f"reconstructions-digits-vae-{what}" for what in ("reconstructions", "traversals")]
XLINK = "http://www.w3.org/1999/xlink"
SPEC = {"description": "A chart.", "datasets": {"rows": [{"x": 1.5}]}}


@pytest.fixture(autouse=True)
def drawn_at_once(request, monkeypatch):
    """Only the tests that look at drawings wait for them."""
    if "real_drawings" not in request.fixturenames:
        monkeypatch.setattr(files, "draw_svg", lambda spec: f"<svg>{spec['description']}</svg>")


@pytest.fixture
def real_drawings() -> None:
    """Draw."""


def scaled() -> Results:
    """The quickstart with measured times of a stage."""
    seconds = {"shard": {"1": [4.0, 4.1, 4.2], "2": [2.1, 2.2, 2.0]}}
    said = {"made": ["x"], "rounds": 3, "cluster": "local", "num_cpus": 2, "seconds": seconds}
    return dataclasses.replace(quickstart(), scaling=said)


composed = functools.cache(lambda make: compose(Page(make())))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


EXPLAINED = [explained_quickstart, explained_tables, explained_series, hostile_explanations]


@pytest.mark.parametrize(
    "make", [quickstart, unconverged, two_datasets, three_datasets, scaled, ranked, oddities, hostile, *EXPLAINED]
)
def test_every_chart_of_the_page_is_there(make):
    report = composed(make)
    charts = [figure for figure in report.figures if isinstance(figure, Figure)]
    pictures = [figure for figure in report.figures if isinstance(figure, Picture)]
    assert len(name_figures(report.figures)) == len(report.figures)
    assert len(charts) == report.page.count('<script type="application/json">') > 0
    assert sum(len(picture.strips) for picture in pictures) == report.page.count('<img src="data:')
    assert all(figure.spec["description"] for figure in charts)
    assert all(picture.caption for picture in pictures)


def test_names_say_section_dataset_and_model(tmp_path):
    written = write_figures(composed(quickstart).figures, tmp_path)
    assert [each["name"] for each in written] == QUICKSTART + PICTURES
    assert {path.name for path in tmp_path.iterdir()} == {
        "figures.json",
        *(f"{name}{suffix}" for name in QUICKSTART for suffix in (".svg", ".csv")),
        *(f"{name}.svg" for name in PICTURES),
    }
    assert list_figures(tmp_path) == written
    first = written[0]
    assert first["about"] == ["digits", "classification"]
    assert first["caption"] == "accuracy of every seed on digits, by model."


def test_drawings_are_svg_and_the_same_every_time(tmp_path, real_drawings):
    figures = composed(unconverged).figures[2::4]
    for folder in ("one", "two"):
        write_figures(figures, tmp_path / folder)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    drawn = (tmp_path / "one" / "curves-digits-fnn.svg").read_text()
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "learning_rate=0.003" in drawn
    assert len(drawn) < 20_000


def test_pictures_hold_the_images_of_the_page_and_their_labels(tmp_path):
    report = composed(quickstart)
    write_figures([figure for figure in report.figures if isinstance(figure, Picture)], tmp_path)
    for name, labels in zip(PICTURES, (["input", "output"], ["dimension 6", "2.50 nats"]), strict=True):
        root = ElementTree.fromstring((tmp_path / f"{name}.svg").read_text())
        images = [element.get(f"{{{XLINK}}}href") for element in root.iter() if element.tag.endswith("image")]
        assert images
        assert all(f'src="{image}"' in report.page for image in images)
        texts = [element.text for element in root.iter() if element.tag.endswith("text")]
        assert texts[:2] == labels
        assert "run vae-digits-s0-" in root.get("aria-label")


def test_hostile_words_stay_text(tmp_path, real_drawings):
    figures = [figure for figure in composed(hostile).figures if figure.section != "curves"][::2]
    for each in write_figures(figures, tmp_path):
        root = ElementTree.fromstring((tmp_path / each["files"][0]).read_text())
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "img", "a", "foreignObject"}
        links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
        assert all(link.startswith("data:image/png;base64,") for link in links)
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]


def test_the_rows_are_those_of_the_runs():
    (seeds, *_) = composed(quickstart).figures
    table = pandas.read_csv(io.StringIO(tabulate(seeds.spec)))
    found = table[table.table == "seeds"].set_index("run").x
    for run in quickstart().runs:
        if run.task == "classification":
            (value,) = [m.value for m in run.metrics if (m.metric, m.split) == ("accuracy", "test")]
            assert found[run.id] == value


def test_curves_have_a_row_for_every_epoch():
    (curves,) = [each for each in composed(quickstart).figures if each.parts == ("digits", "cnn")][:1]
    table = pandas.read_csv(io.StringIO(tabulate(curves.spec)))
    lines = table[table.table == "lines"]
    (comparison, _) = compare(quickstart())
    for run in next(each for each in comparison.candidates if each.model == "cnn").runs:
        for split in ("train", "validation"):
            mine = lines[(lines.run == run.id) & (lines.split == split)]
            assert list(mine.epoch) == [row["epoch"] for row in run.curves]
            assert list(mine.loss) == pytest.approx([row[f"{split}_loss"] for row in run.curves], rel=1e-5)


def test_of_pictures_the_table_holds_what_is_known_of_each():
    (figure,) = [each for each in composed(explained_quickstart).figures if each.parts == ("digits", "cnn", "samples")]
    table = pandas.read_csv(io.StringIO(tabulate(figure.spec)), dtype={"true": str})
    cells = table[table.table == "cells"]
    assert list(cells.true) == 3 * ["0", "1", "2", "3"]
    assert list(cells["largest share"])[4:] == 8 * [0.25]
    # What is only drawn has no row: strips of images.
    assert set(table.table) == {"cells", "labels", "signs"}


def test_confusions_hold_the_counts():
    (figure,) = [
        each for each in composed(quickstart).figures if (each.section, each.parts[1]) == ("confusions", "cnn")
    ]
    table = pandas.read_csv(io.StringIO(tabulate(figure.spec)))
    counts = table.pivot(index="true class", columns="predicted class", values="count").to_numpy()
    expected = sum(run.confusion for run in quickstart().runs if run.family == "cnn")
    assert counts.tolist() == expected.tolist()
    assert "row" not in table


def test_what_an_earlier_report_left_goes_and_nothing_else(tmp_path):
    folder = tmp_path / "figures"
    write_figures([Figure("curves", ("digits", "cnn"), SPEC), Figure("curves", ("digits", "old"), SPEC)], folder)
    (folder / "curves-digits-mine.svg").write_text("drawn by hand")
    (folder / "notes").mkdir()
    write_figures([Figure("curves", ("digits", "cnn"), SPEC)], folder)
    assert {path.name for path in folder.iterdir()} == {
        "figures.json",
        "curves-digits-cnn.svg",
        "curves-digits-cnn.csv",
        "curves-digits-mine.svg",
        "notes",
    }


@pytest.mark.parametrize(
    "listed",
    [
        "{",
        "7",
        "[7]",
        '[{"files": null}]',
        '[{"files": ["../kept.svg", "/kept.svg", "a-/../../kept.svg", "curves-folder.svg"]}]',
        '{"files": ["../kept.svg"]}',
    ],
)
def test_a_list_that_is_not_ours_removes_nothing(tmp_path, listed):
    (tmp_path / "kept.svg").write_text("kept")
    folder = tmp_path / "figures"
    (folder / "curves-folder.svg").mkdir(parents=True)
    (folder / "figures.json").write_text(listed)
    write_figures([Figure("curves", ("digits", "cnn"), SPEC)], folder)
    assert (tmp_path / "kept.svg").read_text() == "kept"
    assert (folder / "curves-folder.svg").is_dir()
    assert len(list_figures(folder)) == 1


def test_a_chart_of_too_many_points_is_rows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_POINTS", 3)
    large = {**SPEC, "datasets": {"lines": [{"x": [1, 2, 3, 4], "name": "a"}]}}
    (one, other) = write_figures([Figure("curves", ("d", "a"), large), Figure("curves", ("d", "b"), SPEC)], tmp_path)
    assert one["files"] == ["curves-d-a.csv"]
    assert other["files"] == ["curves-d-b.svg", "curves-d-b.csv"]
    assert (tmp_path / "curves-d-a.csv").read_text() == "table,x,name\nlines,1,a\nlines,2,a\nlines,3,a\nlines,4,a\n"


words = st.text(st.characters(codec="utf-8"), max_size=200)


@settings(max_examples=50)
@given(st.lists(st.tuples(words, words), max_size=8))
def test_any_words_give_names_that_any_file_system_takes(places):
    named = name_figures([Figure("curves", parts, SPEC) for parts in places])
    assert [figure.parts for figure in named.values()] == places
    assert len({name.lower() for name in named}) == len(places)
    for name in named:
        assert files.OURS.fullmatch(f"{name}.svg")
        assert len(name) < 200
    assert named == name_figures([Figure("curves", parts, SPEC) for parts in places])


cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))


@settings(max_examples=50)
@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=5))
def test_any_row_is_kept(rows):
    read = list(csv.DictReader(io.StringIO(tabulate({"datasets": {"rows": rows}}), newline="")))
    for row, found in zip(rows, read, strict=True):
        for name, value in row.items():
            text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            assert found.get(name, text) == text.replace("\r\n", "\n").replace("\r", "\n")


def test_every_section_with_charts_has_a_caption_in_the_report_of_snakemake():
    with_files = re.compile('"(figures|pictures)"')
    sections = {path.stem for path in (PACKAGE / "sections").glob("*.py") if with_files.search(path.read_text())}
    captions = (PACKAGE.parent / "report" / "figures.rst").read_text()
    assert {section for section in sections - {"base"} if f'"{section}": "' not in captions} == set()
    assert len(sections) > 8
