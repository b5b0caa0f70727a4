"""What artifacts are said to have been made with, and how far those have come that are not there."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from headrace.collection.differences import find_differences
from headrace.collection.finished import read_finished
from headrace.errors import InputError
from headrace.figures.answers import find_problems
from headrace.figures.comparisons import compare
from headrace.figures.environments import describe_software, find_mixed_software
from headrace.figures.methods import describe_methods
from headrace.findings.gathering import gather
from headrace.findings.results import Results
from headrace.planning.artifacts import artifact_path, receipt_path
from headrace.provenance.manifests import read_json, write_json
from headrace.provenance.verification import verify_result
from headrace.reporting.crate import METADATA
from headrace.reporting.report import Report
from headrace.running.jobs import Job, versions
from headrace.running.processes import Process
from headrace.running.workers import Workers
from headrace.stages import report
from headrace.tries.history import history_path
from sample_runs import Made, make_runs

EXPERIMENT: dict[str, Any] = {
    "name": "sample",
    "datasets": {"tumours": {"kind": "breast_cancer"}},
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [{"kind": "linear", "features": "scaled"}, {"kind": "fnn", "features": "scaled", "hidden": [4]}],
    "training": {"epochs": 2, "batch_size": 64, "seeds": [0, 1], "device": "cpu"},
    "evaluation": {"bootstrap": 5, "baseline": "linear"},
}
OLD = "2.1.0+old"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    return make_runs(tmp_path_factory.mktemp("gathered"), one_worker, EXPERIMENT)


@pytest.fixture
def made(once: Made) -> Iterator[Made]:
    """A private copy of what was made, in the place where it was made."""
    aside = once.root.with_name("kept")
    shutil.copytree(once.root, aside)
    yield once
    shutil.rmtree(once.root)
    aside.rename(once.root)
    shutil.rmtree(once.root.with_name("results"), ignore_errors=True)


def report_job(made: Made) -> Job:
    (planned,) = [job for job in made.plan.jobs if job.stage == "report"]
    return Job(receipt_path(made.root, "report", planned.id))


def gathered(made: Made) -> Results:
    return gather(report_job(made))


def change(folder: Path, **said: Any) -> None:
    """Change what a manifest says of its environment, or of how it was made."""
    manifest = read_json(folder / "manifest.json")
    manifest["environment"]["versions"] |= said.pop("versions", {})
    manifest["environment"] |= {name: said.pop(name) for name in ("host", "num_cpus") if name in said}
    manifest["execution"] |= said
    write_json(folder / "manifest.json", manifest)


def methods_of(results: Results) -> str:
    found = describe_methods(results, compare(results), (), ())
    assert found is not None
    return "\n".join(found.paragraphs)


def runs_of(made: Made, model: str) -> list[Path]:
    return [artifact_path(made.root, "train", run.train.id) for run in made.plan.runs if run.model == model]


def write(made: Made) -> Path:
    report.run(report_job(made))
    return made.plan.site.results / "sample"


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and provenance alone: the page takes longer than all of them."""
    monkeypatch.setattr(report, "compose", lambda _: Report("", []))


def test_equal_environments_are_one_and_no_problem(made: Made) -> None:
    results = gathered(made)
    assert len(results.environments) == 2  # what was trained has a device
    assert {step["environment"] for step in results.steps} == {0, 1}
    assert find_mixed_software(results) == []
    assert describe_software(results.environments, results.steps) == versions()
    assert f"PyTorch {versions()['torch']} (" in methods_of(results)


def test_versions_that_trained_are_told_and_a_mixture_is_a_problem(made: Made) -> None:
    first, _ = runs_of(made, "linear")
    change(first, versions={"torch": OLD})
    results, new = gathered(made), versions()["torch"]
    (problem,) = find_mixed_software(results)
    told = f"torch {new} (shard, preprocess, 3 of 4 of train, evaluate) and {OLD} (1 of 4 of train)"
    assert problem.startswith(f"Not everything here was made with the same software: {told}.")
    assert told.replace("torch", "PyTorch", 1) in methods_of(results)
    page = (write(made) / "report.html").read_text()
    assert page.index("Read this first") < page.index(problem)
    assert f"<td>{told.removeprefix('torch ')}</td><td>{new}</td>" in page


def test_software_of_the_report_is_not_that_of_the_runs(made: Made) -> None:
    for model in ("linear", "fnn"):
        for folder in runs_of(made, model):
            change(folder, versions={"torch": OLD, "headrace": "0.0.9"}, host="gpu-1", num_cpus=64)
            change(folder, device="NVIDIA H100 80GB HBM3", cuda="12.8")
    folder = write(made)
    text = methods_of(gathered(made))
    assert f"PyTorch {versions()['torch']} (shard, preprocess, evaluate) and {OLD} (train) (Paszke" in text
    assert "CUDA 12.8" in text
    page = (folder / "report.html").read_text()
    row = page[page.index('<th scope="row">gpu-1</th>') :]
    assert row[: row.index("</tr>")].endswith("<td>NVIDIA H100 80GB HBM3</td><td>train</td>")
    assert '<td class="number">64</td>' in row[: row.index("</tr>")]
    provenance = read_json(folder / "provenance.json")
    trained = {entry["environment"] for entry in provenance["artifacts"] if entry["stage"] == "train"}
    assert [provenance["environments"][place]["versions"]["torch"] for place in trained] == [OLD]
    crate = {entity["@id"]: entity for entity in read_json(folder / METADATA)["@graph"]}
    tools = {stage: crate[f"#tool/{stage}"] for stage in ("train", "evaluate")}
    assert (tools["train"]["version"], tools["evaluate"]["version"]) == ("0.0.9", versions()["headrace"])
    needed = {crate[one["@id"]]["name"]: crate[one["@id"]] for one in tools["train"]["softwareRequirements"]}
    assert (needed["torch"]["version"], needed["CUDA"]["version"]) == (OLD, "12.8")


@pytest.mark.usefixtures("without_page")
def test_compare_tells_what_the_runs_were_made_with(made: Made) -> None:
    folder = write(made)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    for run in runs_of(made, "fnn"):
        change(run, versions={"torch": OLD})
    write(made)
    found = find_differences(read_finished(other), read_finished(folder))
    assert not found.is_of_reports
    ((what, first, second),) = [(each.what, each.first, each.second) for each in found.environment]
    assert (what, first) == ("torch", versions()["torch"])
    assert f"{OLD} (2 of 4 of train)" in second


def test_a_failed_run_under_other_software_carries_no_number(made: Made) -> None:
    first, _ = runs_of(made, "linear")
    change(first, versions={"torch": OLD})
    write_json(first / "manifest.json", {**read_json(first / "manifest.json"), "status": "failed", "reason": "x"})
    assert find_mixed_software(gathered(made)) == []


def test_an_artifact_that_tells_no_environment_is_not_counted(made: Made) -> None:
    first, _ = runs_of(made, "linear")
    manifest = read_json(first / "manifest.json")
    del manifest["environment"]
    write_json(first / "manifest.json", manifest)
    results = gathered(made)
    assert [step["environment"] for step in results.steps if step["id"] == first.name] == [None]
    assert find_mixed_software(results) == []


@pytest.mark.usefixtures("without_page")
@pytest.mark.parametrize("name", ["results.csv", "experiment.yaml"])
def test_a_table_that_was_cut_is_refused_in_one_line(made: Made, name: str) -> None:
    folder = write(made)
    assert read_finished(folder).num_runs == 4
    assert verify_result(folder) == []
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=f"{name} is not as it was written: it was cut or changed since") as caught:
        read_finished(folder)
    assert len(caught.value.problems) == 1
    assert verify_result(folder) == [f"{folder / name}: is not what was written"]


@pytest.mark.usefixtures("without_page")
def test_another_table_that_was_cut_is_found_by_verify_alone(made: Made) -> None:
    folder = write(made)
    (folder / "statistics.csv").write_text("")
    (folder / "results.parquet").unlink()
    (folder / "classes.csv").write_text("")
    assert read_finished(folder).num_runs == 4
    names = ("results.parquet", "classes.csv", "statistics.csv")
    assert [line.split(": ")[0] for line in verify_result(folder)] == [str(folder / name) for name in names]


@pytest.mark.usefixtures("without_page")
def test_results_of_old_are_still_read_and_held_against_their_runs(made: Made) -> None:
    folder = write(made)
    provenance = read_json(folder / "provenance.json")
    for name in ("files", "environments", "references"):
        del provenance[name]
    (folder / "provenance.json").write_text(json.dumps(provenance))
    finished = read_finished(folder)
    assert finished.num_runs == 4
    assert (finished.knows_artifacts, finished.environment) == (False, versions())
    with (folder / "results.csv").open() as file:
        header, *rows = csv.reader(file)
    gone = [row[header.index("run")] for row in rows if row[header.index("kind")] == "run"][-1]
    kept = [header, *(row for row in rows if row[header.index("run")] != gone)]
    (folder / "results.csv").write_text("".join(f"{','.join(row)}\n" for row in kept))
    with pytest.raises(InputError, match=f"results.csv has no line of {gone}, which is done"):
        read_finished(folder)


@pytest.mark.usefixtures("without_page")
def test_references_are_told_for_whoever_lists_results(made: Made) -> None:
    (found,) = read_finished(write(made)).references.items()
    key, values = found
    assert key == ("tumours", "classification")
    assert set(values) == {"most_frequent", "nearest_neighbour"}
    (reference,) = [one for one in gathered(made).references if one.name == "most_frequent"]
    expected = next(m.value for m in reference.metrics if (m.metric, m.split) == ("accuracy", "test"))
    assert values["most_frequent"] == expected


def forget(made: Made, *stages: str) -> None:
    """Take artifacts away, and what is known of the tries of their jobs."""
    for stage in stages:
        shutil.rmtree(made.root / stage)
        shutil.rmtree(made.root / ".history" / stage, ignore_errors=True)


def leave_try(made: Made, stage: str, job: str, **said: Any) -> None:
    one = {"owner": "", "host": "here", "start": "2026-11-20T10:00:00Z", "outcome": "", "cause": None, "message": ""}
    requested = {"requested": {}, "job": "", "pid": 1, "restarts": 0, "scheduler": ""}
    write_json(history_path(made.root, stage, job), [{**one, **requested, **said}])


def leave_note(made: Made, job: str, process: Process, owner: Process | None = None) -> None:
    note = {"process": asdict(process), "owner": asdict(owner) if owner else None, "stage": "train", "job": job}
    write_json(made.root / ".running" / f"{process.host}-{process.pid}.json", note)


def states(made: Made) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for run in gathered(made).runs:
        found.setdefault(run.model, set()).add((run.status, run.reason))
    return found


def training_job(made: Made, model: str) -> str:
    (run,) = [run for run in made.plan.runs if run.model == model and run.seed == 0]
    return next(job.id for job in made.plan.jobs if job.stage == "train" and run.train in job.artifacts)


def test_what_nobody_tried_is_not_begun(made: Made) -> None:
    forget(made, "train", "evaluate")
    assert states(made) == {"linear": {("not begun", "")}, "fnn": {("not begun", "")}}
    page = (write(made) / "report.html").read_text()
    assert "Of 4 runs, 4 are not begun: there is no result yet." in page
    assert "no reason was left" not in page.split("<script")[0]


def test_a_run_is_running_while_its_job_lives(made: Made) -> None:
    forget(made, "train", "evaluate")
    job, process = training_job(made, "fnn"), Process.current()
    leave_try(made, "train", job, host=process.host)
    leave_note(made, job, process)
    begun = runs_of(made, "fnn")[0].name
    (made.root / ".attempts" / f"{begun}.{socket.gethostname()}.{os.getpid()}.0123abcd").mkdir(parents=True)
    where = f"in its job on {process.host}, begun at 2026-11-20T10:00:00Z"
    assert states(made) == {
        "linear": {("not begun", "")},
        "fnn": {("running", where), ("not begun", f"its turn has not come {where}")},
    }
    (problem, *_) = find_problems(gathered(made), [])
    assert problem == "Of 4 runs, 3 are not begun and 1 is running: there is no result yet."


def test_a_job_elsewhere_runs_while_its_workflow_does(made: Made) -> None:
    forget(made, "train", "evaluate")
    job, process = training_job(made, "fnn"), Process.current()
    leave_try(made, "train", job, host="node-1")
    leave_note(made, job, replace(process, host="node-1"), process)
    first, second = (folder.name for folder in runs_of(made, "fnn"))
    for name in (first, second):
        (made.root / ".attempts" / f"{name}.node-1.17.0123abcd").mkdir(parents=True)
    assert states(made)["fnn"] == {("running", "in its job on node-1, begun at 2026-11-20T10:00:00Z")}


@pytest.mark.parametrize("whose", ["process", "owner"])
def test_a_job_that_was_killed_does_not_run(made: Made, whose: str) -> None:
    forget(made, "train", "evaluate")
    job, process = training_job(made, "fnn"), Process.current()
    # A pid that is used again: the process that the note means began another day.
    dead = replace(process, started=process.started - 86400)
    leave_try(made, "train", job)
    leave_note(made, job, *((dead, process) if whose == "process" else (replace(process, host="node-1"), dead)))
    ((status, reason),) = states(made)["fnn"]
    assert status == "not finished"
    assert reason == "its job on here, begun at 2026-11-20T10:00:00Z, left no word of how it ended"


def test_a_job_that_failed_tells_why(made: Made) -> None:
    forget(made, "train", "evaluate")
    leave_try(made, "train", training_job(made, "linear"), outcome="failed", cause="memory", message="out of memory")
    assert states(made)["linear"] == {("not finished", "its job's last try ended early (memory): out of memory")}


def test_a_run_that_is_not_judged_yet_says_so(made: Made) -> None:
    forget(made, "evaluate")
    assert states(made)["fnn"] == {("not finished", "trained, and not evaluated yet")}
