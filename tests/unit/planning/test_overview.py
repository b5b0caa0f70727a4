"""The table of runs."""

import pytest

from headrace.experiments.reading import check_experiment
from headrace.planning.artifacts import artifact_path
from headrace.planning.overview import COLUMNS, find_states, overview, stage_lines, state_of
from headrace.planning.plan import Plan, Site
from headrace.provenance.manifests import MANIFEST, write_json

DATA = {
    "name": "small",
    "datasets": {"d": {"kind": "diabetes"}},
    "features": {"s": [{"kind": "standardize"}]},
    "models": [
        {"kind": "fnn", "features": "s", "sweep": {"grid": {"learning_rate": [0.1, 0.2], "dropout": [0.0]}}},
        {"kind": "fnn", "name": "a-longer-name"},
    ],
}


@pytest.fixture
def plan(tmp_path):
    return Plan(check_experiment(DATA), Site(artifacts=tmp_path / "artifacts", results=tmp_path / "results"))


def seal(plan, artifact, status, identity=None):
    folder = artifact_path(plan.site.artifacts, artifact.stage, artifact.id)
    write_json(folder / MANIFEST, {"identity": identity or artifact.identity, "status": status, "reason": "why"})


def rows(plan):
    return [line.split() for line in overview(plan).split("\n\n")[0].splitlines()]


def test_there_is_a_line_for_every_run(plan):
    head, *lines = rows(plan)
    assert tuple(head) == COLUMNS
    first, second, third = (run.train.id for run in plan.runs)
    assert lines == [
        ["d", "fnn", "s", "learning_rate=0.1", "dropout=0.0", "0", first, "-", "-"],
        ["d", "fnn", "s", "learning_rate=0.2", "dropout=0.0", "0", second, "-", "-"],
        ["d", "a-longer-name", "raw", "-", "0", third, "-", "-"],
    ]


def test_columns_are_aligned(plan):
    head, *lines = overview(plan).split("\n\n")[0].splitlines()
    for column in ("model", "features", "seed", "run", "trained"):
        place = head.index(column)
        assert all(line[place - 1] == " " and line[place] != " " for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_every_stage_and_the_report_are_summed_up(plan, tmp_path):
    assert stage_lines(plan, find_states(plan)) == [
        "shard: 1 artifacts in 1 jobs, 0 done",
        "preprocess: 1 artifacts in 1 jobs, 0 done",
        "train: 3 artifacts in 2 jobs, 0 done",
        "evaluate: 4 artifacts in 2 jobs, 0 done",
        f"3 runs; the report goes to {tmp_path / 'results' / 'small' / 'report.html'}",
    ]


def test_what_is_done_and_what_failed_is_shown(plan):
    one, two, three = plan.runs
    seal(plan, one.train, "done")
    seal(plan, one.evaluate, "done")
    seal(plan, two.train, "failed")
    seal(plan, three.train, "done", identity="another")
    assert [state_of(plan, run.train) for run in plan.runs] == ["done", "failed", "-"]
    assert [row[-2:] for row in rows(plan)[1:]] == [["done", "done"], ["failed", "-"], ["-", "-"]]
    assert "train: 3 artifacts in 2 jobs, 1 done, 1 failed" in overview(plan)


def test_a_damaged_artifact_is_not_done_and_the_table_is_still_shown(plan):
    artifact = plan.runs[0].train
    seal(plan, artifact, "done")
    (artifact_path(plan.site.artifacts, "train", artifact.id) / MANIFEST).write_text('{"identity": "')
    assert len(rows(plan)) == 4
    assert state_of(plan, artifact) != "done"
