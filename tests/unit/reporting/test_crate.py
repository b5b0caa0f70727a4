"""The RO-Crate: what it says about every step, and what it leaves alone."""

from __future__ import annotations

import dataclasses
import json
import os
import socket

import pytest

from headrace.figures.files import Figure, write_figures
from headrace.reporting.crate import METADATA, write_crate
from sample_results import broken_quickstart, hostile, make_dataset, make_results, make_run, make_step, quickstart

FILES = (
    "experiment.yaml",
    "report.html",
    "results.csv",
    "results.parquet",
    "statistics.csv",
    "provenance.json",
)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of results."""
    for name in FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


def read(folder) -> dict[str, dict]:
    """Return the crate's entities by id."""
    graph = json.loads((folder / METADATA).read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    return entities


def ids(value) -> list[str]:
    """Return what a property refers to."""
    values = value if isinstance(value, list) else [value]
    return [reference["@id"] for reference in values]


def references(value):
    """Yield every reference inside a value."""
    if isinstance(value, dict) and set(value) == {"@id"}:
        yield value["@id"]
    elif isinstance(value, dict):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_root_and_main_entity_follow_the_profile(folder):
    write_crate(quickstart(), folder)
    crate = read(folder)
    root = crate["./"]
    assert "https://w3id.org/ro/wfrun/provenance/0.5" in ids(root["conformsTo"])
    assert all(crate[profile]["@type"] == "CreativeWork" for profile in ids(root["conformsTo"]))
    (main,) = ids(root["mainEntity"])
    assert set(crate[main]["@type"]) >= {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert main == "experiment.yaml"
    assert sorted(ids(root["hasPart"])) == sorted(FILES)
    assert root["datePublished"] == "2026-11-20T10:00:14Z"
    assert "CC-BY-SA-3.0" in root["license"]


def test_every_step_is_an_action_with_tool_input_output_and_times(folder):
    results = quickstart()
    write_crate(results, folder)
    crate = read(folder)
    tools = ids(crate["experiment.yaml"]["hasPart"])
    for step in results.steps:
        action = crate[f"#action/{step['stage']}/{step['id']}"]
        assert action["@type"] == "CreateAction"
        assert ids(action["instrument"])[0] in tools
        assert (action["startTime"], action["endTime"]) == ("2026-11-20T10:00:00+00:00", "2026-11-20T10:00:14+00:00")
        assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
        assert "error" not in action
        artifact = crate[ids(action["result"])[0]]
        assert (artifact["name"], artifact["identifier"]) == (step["artifact"], step["digest"])
        sources = [crate[reference]["name"] for reference in ids(action["object"])]
        assert sources == (["digits"] if step["stage"] == "shard" else ["artifacts/shard/digits-1f0c2a77"])
    run = crate["#run"]
    assert ids(run["instrument"]) == ["experiment.yaml"]
    assert sorted(ids(run["result"])) == sorted(set(FILES) - {"experiment.yaml"})


def test_every_chart_is_a_file_of_the_crate(folder):
    spec = {"description": "Losses.", "mark": "point", "data": {"name": "lines"}, "datasets": {"lines": [{"x": 1}]}}
    figures = [Figure("curves", ("digits", "cnn"), spec)]
    write_figures(figures, folder / "figures")
    write_crate(quickstart(), folder)
    crate = read(folder)
    for suffix, encoding in (("svg", "image/svg+xml"), ("csv", "text/csv")):
        path = f"figures/curves-digits-cnn.{suffix}"
        assert path in ids(crate["./"]["hasPart"])
        assert (crate[path]["name"], crate[path]["encodingFormat"]) == ("Losses.", encoding)
        assert int(crate[path]["contentSize"]) == (folder / path).stat().st_size


def test_every_reference_inside_the_crate_leads_somewhere(folder):
    write_crate(broken_quickstart(), folder)
    crate = read(folder)
    targets = {target for entity in crate.values() for target in references(entity)}
    assert {target for target in targets if not target.startswith("https://")} <= set(crate)


def test_failures_carry_their_error_and_missing_steps_did_nothing(folder):
    results = broken_quickstart()
    write_crate(results, folder)
    crate = read(folder)
    failed = next(run for run in results.runs if run.status == "failed")
    missing = next(run for run in results.runs if run.status == "not begun")
    action = crate[f"#action/train/{failed.id}"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == "loss is nan at epoch 3, step 41"
    assert f"#action/train/{missing.id}" not in crate
    assert crate["#run"]["actionStatus"] == "http://schema.org/FailedActionStatus"


def test_nothing_else_in_the_folder_changes(folder):
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    write_crate(quickstart(), folder)
    write_crate(quickstart(), folder)
    assert sorted(os.listdir(folder)) == sorted([*FILES, METADATA])
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == before


def test_files_that_are_not_there_are_not_described(tmp_path):
    (tmp_path / "experiment.yaml").write_text("name: x")
    write_crate(quickstart(), tmp_path)
    assert ids(read(tmp_path)["./"]["hasPart"]) == ["experiment.yaml"]
    assert "result" not in read(tmp_path)["#run"]


def test_a_folder_without_the_experiment_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"experiment\.yaml"):
        write_crate(quickstart(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_crate(folder, monkeypatch):
    write_crate(quickstart(), folder)
    old = (folder / METADATA).read_bytes()

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        write_crate(broken_quickstart(), folder)
    assert (folder / METADATA).read_bytes() == old
    assert sorted(os.listdir(folder)) == sorted([*FILES, METADATA])


def test_the_same_results_give_the_same_crate(folder):
    write_crate(quickstart(), folder)
    first = (folder / METADATA).read_bytes()
    write_crate(quickstart(), folder)
    assert (folder / METADATA).read_bytes() == first


def test_no_connection_is_opened(folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the crate opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    write_crate(quickstart(), folder)
    assert (folder / METADATA).exists()


def test_hostile_names_make_ids_that_an_iri_can_hold(folder):
    write_crate(hostile(), folder)
    for identity in read(folder):
        assert not set(identity) & set('<>" {}|\\^`')


def test_steps_that_left_no_times_or_digest_still_make_a_crate(folder):
    nothing = {"status": "not begun", "start": "", "end": "", "digest": "", "reason": "", "seconds": 0.0}
    results = dataclasses.replace(quickstart(), steps=[make_step("shard", "digits", [], **nothing)])
    write_crate(results, folder)
    assert read(folder)["#run"]["error"] == "1 of 1 steps aren't done, first shard digits"


def test_thousands_of_steps_are_all_there(folder):
    runs = [make_run("fnn", 0, {"accuracy": 0.9})]
    runs = [dataclasses.replace(runs[0], id=f"fnn-{number}") for number in range(5000)]
    results = make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000)])
    write_crate(results, folder)
    assert len(ids(read(folder)["./"]["mentions"])) == 5002
