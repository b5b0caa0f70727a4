"""The index of all results and the page of a comparison."""

import dataclasses
import io
import re
from pathlib import Path

import pandas

from headrace.__main__ import main
from headrace.collection.finished import read_all, read_finished
from headrace.collection.pages import render_index
from headrace.findings.results import Results
from sample_results import HOSTILE, make_references, quickstart


def test_collect_writes_an_index_with_the_best_of_each_dataset(write, tmp_path: Path, capsys) -> None:
    write("first")
    without = dataclasses.replace(quickstart(), runs=[run for run in quickstart().runs if run.family != "cnn"])
    write("second", without)
    assert main(["collect", "--results", str(tmp_path / "results")]) == 0
    page = (tmp_path / "results" / "index.html").read_text()
    assert "2 experiments" in capsys.readouterr().out
    # One data set in both, so that one line of it is the best: the cnn that only the first has.
    best = page[page.index('id="best"') : page.index('id="all"')]
    rows = best.count("<tr data-text>")
    assert rows == 2
    assert "<td>cnn</td>" in best
    assert '<a href="first/report.html">first</a>' in best
    assert '<a href="second/report.html">second</a>' in page


def test_collect_writes_the_lines_of_all_experiments_into_one_table(write, tmp_path: Path) -> None:
    runs = [dataclasses.replace(run, point={"hidden": [64, 32]}) for run in quickstart().runs if run.family == "fnn"]
    folders = [write("b"), write("a", dataclasses.replace(quickstart(), runs=runs[:1]))]
    assert main(["collect", "--results", str(tmp_path / "results")]) == 0
    assert '<a href="all.csv">' in (tmp_path / "results" / "index.html").read_text()
    text = (tmp_path / "results" / "all.csv").read_text()
    tables = [pandas.read_csv(folder / "results.csv", dtype=str, keep_default_na=False) for folder in folders]
    joined = pandas.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert list(joined.experiment.unique()) == ["a", "b"]
    swept = {"a": "hidden", "b": "learning_rate"}
    for table in tables:
        (name,) = set(table.experiment)
        (other,) = set(swept.values()) - {swept[name]}
        mine = joined[joined.experiment == name].reset_index(drop=True)
        assert mine.drop(columns=other).equals(table)
        assert set(mine[other]) == {""}
    assert main(["collect", "--results", str(tmp_path / "results")]) == 0
    assert (tmp_path / "results" / "all.csv").read_text() == text


def test_a_reference_stands_beside_the_best_model_and_is_never_it(write, tmp_path: Path) -> None:
    def page_of(name: str, added: float) -> str:
        found = [
            dataclasses.replace(
                each, metrics=[dataclasses.replace(value, value=value.value + added) for value in each.metrics]
            )
            for each in make_references()
        ]
        folder = write(name, dataclasses.replace(quickstart(), references=found))
        return " ".join(render_index(tmp_path / "results", [read_finished(folder)]).split())

    page = page_of("good", 0.0)
    assert re.search(r"<td>cnn</td><td>accuracy</td><td>0.97\S+ ± \S+</td><td>nearest neighbour 0.93\d+</td>", page)
    page = page_of("poor", 0.06)
    assert re.search(r"<td>cnn<span .*?</td><td>accuracy</td><td>0.97.*?</td><td>nearest neighbour 0.99\d+</td>", page)


def test_tables_of_an_older_version_have_runs_alone(write, tmp_path: Path) -> None:
    write("new", dataclasses.replace(quickstart(), references=make_references()))
    path = write("old") / "results.csv"
    table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    table.drop(columns="kind").to_csv(path, index=False)
    assert main(["collect", "--results", str(tmp_path / "results")]) == 0
    joined = pandas.read_csv(tmp_path / "results" / "all.csv", dtype=str, keep_default_na=False)
    assert set(joined[joined.experiment == "old"].kind) == {"run"}
    assert set(joined[joined.experiment == "new"].kind) == {"run", "reference"}
    assert joined[joined.experiment == "old"].reset_index(drop=True).equals(table)


def test_what_is_damaged_is_left_out_and_said(write, tmp_path: Path, capsys) -> None:
    write("good")
    (write("bad") / "results.csv").unlink()
    assert main(["collect", "--results", str(tmp_path / "results")]) == 1
    assert "bad" in capsys.readouterr().out
    assert "good/report.html" in (tmp_path / "results" / "index.html").read_text()


def test_without_results_there_is_one_line_and_no_file(tmp_path: Path, capsys) -> None:
    assert main(["collect", "--results", str(tmp_path)]) == 2
    assert "run an experiment first" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()


def test_data_of_the_same_name_and_other_content_are_told_apart(write, tmp_path: Path) -> None:
    write("first")
    other = [dataclasses.replace(quickstart().datasets[0], digest="f" * 64)]
    write("second", dataclasses.replace(quickstart(), datasets=other))
    found, _ = read_all(tmp_path / "results")
    page = render_index(tmp_path / "results", found)
    best = page[page.index('id="best"') : page.index('id="all"')]
    assert best.count("<tr data-text>") == 4


def test_what_could_not_be_read_stands_on_the_page(write, tmp_path: Path) -> None:
    write("good")
    (write(f"bad <b>{'x'}") / "results.csv").unlink()
    assert main(["collect", "--results", str(tmp_path / "results")]) == 1
    page = (tmp_path / "results" / "index.html").read_text()
    assert "1 left out, since it cannot be read" in page
    left_out = page[page.index('id="problems"') : page.index('id="best"')]
    assert "<li>bad &lt;b&gt;x: experiment.yaml, provenance.json, results.csv do not belong together" in left_out
    (tmp_path / "results" / "bad <b>x").rename(tmp_path / "aside")
    assert main(["collect", "--results", str(tmp_path / "results")]) == 0
    assert "Left out" not in (tmp_path / "results" / "index.html").read_text()


def test_equal_names_are_told_apart(write, tmp_path: Path) -> None:
    def split(seed: int) -> dict[str, object]:
        return {"datasets": {"digits": {"kind": "mnist5k", "split": {"by": "stratified", "seed": seed}}}}

    def holding(digest: str) -> Results:
        data = [dataclasses.replace(quickstart().datasets[0], digest=digest * 64)]
        return dataclasses.replace(quickstart(), datasets=data)

    write("one", holding("a"), **split(0))
    folder = write("two", holding("b"), **split(7))
    found, _ = read_all(tmp_path / "results")
    page = render_index(tmp_path / "results", found)
    best = page[page.index('id="best"') : page.index('id="all"')]
    for seed, digest in ((0, "a"), (7, "b")):
        assert f'digits<span class="note">by=stratified, seed={seed}, data {digest * 12}</span>' in best
    assert "<span" not in page[page.index('id="all"') :]
    # A copy of a folder has the name of the experiment in it.
    settings = folder / "experiment.yaml"
    settings.write_text(settings.read_text().replace("name: two", "name: one"))
    page = render_index(tmp_path / "results", read_all(tmp_path / "results")[0])
    for name in ("one", "two"):
        assert f'<a href="{name}/report.html">one</a><span class="note">{name}</span>' in page


def test_a_model_that_beats_no_reference_is_told(write, tmp_path: Path) -> None:
    write("beaten", dataclasses.replace(quickstart(), references=make_references()))
    page = render_index(tmp_path / "results", read_all(tmp_path / "results")[0])
    assert "no better than" not in page
    references = [
        dataclasses.replace(each, metrics=[dataclasses.replace(m, value=m.value + 0.06) for m in each.metrics])
        for each in make_references()
    ]
    found = read_finished(write("unbeaten", dataclasses.replace(quickstart(), references=references)))
    assert found.references["digits", "classification"]["nearest_neighbour"] > 0.98
    page = render_index(tmp_path / "results", [found])
    assert page.count("no better than what needs no training: nearest neighbour reaches 0.99") == 2


def test_hostile_words_stay_text(write, tmp_path: Path) -> None:
    write("hostile", description=HOSTILE)
    found, _ = read_all(tmp_path / "results")
    page = render_index(tmp_path / "results", found)
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_compare_prints_and_writes_a_page(write, tmp_path: Path, capsys) -> None:
    first, second = write("one"), write("two", description=HOSTILE)
    page = tmp_path / "compared.html"
    assert main(["compare", str(first), str(second), "--html", str(page)]) == 0
    assert "the same, seed by seed" in capsys.readouterr().out
    text = page.read_text()
    assert text.count("the same, seed by seed") == 5
    assert "<img" not in text


def test_compare_refuses_what_is_no_result(write, tmp_path: Path, capsys) -> None:
    first = write("one")
    assert main(["compare", str(first), str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["compare", str(first), str(first), "--html", str(tmp_path / "none" / "page.html")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["compare", str(first), str(first), "--html", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert said.out == ""
