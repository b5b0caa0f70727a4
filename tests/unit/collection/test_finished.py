"""Results are read back as they were, and what is damaged is said in one line."""

import dataclasses
import json
from pathlib import Path

import pytest

from headrace.__main__ import main
from headrace.collection.finished import Line, read_all, read_finished
from headrace.errors import InputError
from headrace.provenance.manifests import RESULT_FORMAT
from sample_results import broken_quickstart, make_references, quickstart


def test_every_line_has_its_main_metric_for_every_seed(write) -> None:
    finished = read_finished(write("one"))
    runs = [run for run in quickstart().runs if run.family == "fnn" and run.point == {"learning_rate": 0.003}]
    line = Line("digits", "classification", "fnn", "pixels", "learning_rate=0.003")
    expected = {run.seed: m.value for run in runs for m in run.metrics if (m.metric, m.split) == ("accuracy", "test")}
    assert finished.of(line, "test") == expected
    assert len(expected) == 3
    # The table has a column of the swept learning rate for models that are not swept, too.
    assert Line("digits", "classification", "cnn", "pixels", "") in finished.values
    assert finished.num_runs == 15


def test_references_are_no_lines_of_results(write) -> None:
    alone = read_finished(write("one"))
    beside = read_finished(write("two", dataclasses.replace(quickstart(), references=make_references())))
    assert beside.values == alone.values
    assert beside.num_runs == 15
    accuracy = {
        each.name: value.value
        for each in make_references()
        for value in each.metrics
        if (value.metric, value.split) == ("accuracy", "test")
    }
    assert beside.references == {("digits", "classification"): accuracy}
    assert alone.references == {}


def test_failed_and_missing_runs_are_no_results(write) -> None:
    finished = read_finished(write("broken", broken_quickstart()))
    done = sum(run.status == "done" for run in broken_quickstart().runs)
    assert finished.num_runs == done < 15


def test_models_that_ask_for_the_same_run_are_told_apart(write) -> None:
    runs = [run for run in quickstart().runs if run.family == "fnn"]
    shared = [dataclasses.replace(run, model="small", point={}) for run in runs if run.point["learning_rate"] == 0.001]
    finished = read_finished(write("one", dataclasses.replace(quickstart(), runs=[*shared, *runs])))
    names = [line.name for line in finished.values]
    assert names == ["small", "fnn (learning_rate=0.001)", "fnn (learning_rate=0.003)"]
    assert [len(finished.of(line, "test")) for line in finished.values] == [3, 3, 3]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("experiment.yaml", "a: [b"),
        ("experiment.yaml", "- 3"),
        ("experiment.yaml", "description: without a name"),
        ("provenance.json", '{"artifacts": []}'),
        ("provenance.json", '{"artifacts": [], "environment": {"versions": {}}}'),
        ("provenance.json", '{"artifacts": [], "environment": {"versions": 3}}'),
        ("provenance.json", "{"),
        ("results.csv", "run,seed\n1,2\n"),
        ("results.csv", ""),
        (
            "results.csv",
            "dataset,model,features,task,run,seed,split,metric,value\nd,m,f,regression,none,0,test,rmse,1\n",
        ),
        (
            "results.csv",
            "dataset,model,features,task,run,seed,split,metric,value\nd,m,f,regression,none,0,test,mae\n",
        ),
        ("results.csv", None),
        ("experiment.yaml", None),
    ],
)
def test_damaged_results_are_one_line(write, file: str, content: str | None) -> None:
    folder = write("one")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(InputError) as caught:
        read_finished(folder)
    (line,) = caught.value.problems
    assert str(folder) in line
    assert "again" in line


def test_a_seed_that_appears_twice_counts_once_or_is_refused(write) -> None:
    folder = write("one")
    once = read_finished(folder).values
    lines = (folder / "results.csv").read_text().splitlines(keepends=True)
    again = [line for line in lines[1:] if ",test,accuracy," in line]
    (folder / "results.csv").write_text("".join([*lines, *again]))
    assert read_finished(folder).values == once
    (folder / "results.csv").write_text("".join([*lines, again[0].replace(",accuracy,0.", ",accuracy,0.1")]))
    with pytest.raises(InputError, match=r"seed 0 of fnn .* appears twice with different values"):
        read_finished(folder)


def test_a_result_of_a_newer_version_is_refused_in_one_line(write, tmp_path: Path, capsys) -> None:
    write("mine")
    folder = write("newer")
    provenance = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**provenance, "format": RESULT_FORMAT}))
    assert read_finished(folder).num_runs == 15
    # Whatever else may be in it is no longer what this version knows.
    (folder / "provenance.json").write_text(json.dumps({"format": RESULT_FORMAT + 1, "artifacts": "elsewhere"}))
    said = f"{folder / 'provenance.json'}: was written by a newer version of Headrace, in format {RESULT_FORMAT + 1}"
    for command in (
        ["digest", str(folder)],
        ["verify", str(folder)],
        ["compare", str(tmp_path / "results/mine"), str(folder)],
    ):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert main(["collect", "--results", str(tmp_path / "results")]) == 1
    line, found = capsys.readouterr().out.splitlines()
    assert said in line
    assert found.startswith("1 experiments: ")


def test_all_results_are_found_and_damaged_ones_named(write, tmp_path: Path) -> None:
    write("b")
    write("a")
    (write("c") / "results.csv").unlink()
    (tmp_path / "results" / "no-results").mkdir()
    (tmp_path / "results" / "d" / "provenance.json").mkdir(parents=True)
    (tmp_path / "results" / "index.html").touch()
    found, problems = read_all(tmp_path / "results")
    assert [finished.name for finished in found] == ["a", "b"]
    assert len(problems) == 2
    assert str(tmp_path / "results" / "c") in problems[0]
    assert "cannot be read: Is a directory" in problems[1]
    assert read_all(tmp_path / "nowhere") == ([], [])
