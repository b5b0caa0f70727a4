"""From `headrace scaling` to the report: times by number of workers, the same results each time."""

import dataclasses
import html
import json
import re

import pytest
import yaml

from headrace.__main__ import main
from headrace.errors import StageError
from headrace.experiments.reading import check_experiment
from headrace.planning.plan import Plan, Site
from headrace.reporting.report import render
from headrace.scaling import measurements
from projects import TINY
from sample_results import quickstart

MEASURED = {
    "made": ["0" * 64],
    "rounds": 2,
    "cluster": "local",
    "num_cpus": 4,
    "seconds": {"shard": {"1": [10.0, 10.2], "2": [5.5, 5.7], "4": [3.3, 3.2]}, "preprocess": {"1": [4.0], "2": [5.0]}},
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "name": "tiny"}))
    return tmp_path


def test_stages_are_timed_for_every_number_of_workers(tiny, capsys):
    assert (
        main(["scaling", "tiny.yaml", "--workers", "2", "1", "2", "--rounds", "1", "--worker-memory-mib", "512"]) == 0
    )
    found = json.loads((tiny / "results/tiny/scaling.json").read_text())
    assert found["seconds"].keys() == {"shard", "preprocess"}
    for seconds in found["seconds"].values():
        assert seconds.keys() == {"1", "2"}
        assert all(0 < value < 300 for values in seconds.values() for value in values)
    out, err = capsys.readouterr()
    assert "shard: serial share" in out
    assert "round 1 of 1, 2 workers: shard" in err
    # Nothing is left of what was made for the clock, and no artifact of the experiment's was made.
    assert not list((tiny / "artifacts").glob(".scaling-*"))
    assert not (tiny / "artifacts" / "shard").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "2"], "--workers 2: give two different numbers"),
        (["--workers", "1", "0"], "--workers 1 0: give two different numbers"),
        (["--rounds", "0"], "--rounds 0: must be above 0"),
        (["--cluster", "fog"], "fog"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tiny, capsys, options, words):
    assert main(["scaling", "tiny.yaml", *options]) == 2
    _, err = capsys.readouterr()
    assert words in err
    assert err.count("\n") == 1
    assert not (tiny / "artifacts").exists() or not list((tiny / "artifacts").glob(".scaling-*"))


def test_other_results_with_other_workers_are_an_error(tiny, monkeypatch):
    plan = Plan(check_experiment({**TINY, "name": "tiny"}), Site(tiny / "artifacts", tiny / "results"))
    digests = iter("ab")

    def make(root, jobs, options):
        yield jobs[0], {"seconds": 1.0, "digest": next(digests)}

    monkeypatch.setattr(measurements, "_make", make)
    with pytest.raises(StageError, match="round 1 with --workers 2 made something else"):
        measurements.measure(plan, [1, 2], 2, [], lambda line: None)


def test_a_stage_that_fails_is_told_in_its_own_words(tiny, monkeypatch):
    plan = Plan(check_experiment({**TINY, "name": "tiny"}), Site(tiny / "artifacts", tiny / "results"))
    (tiny / "python").write_text("#!/bin/sh\necho 'x: no space left' >&2\nexit 1\n")
    (tiny / "python").chmod(0o755)
    monkeypatch.setattr(measurements.sys, "executable", str(tiny / "python"))
    with pytest.raises(StageError, match=r"shard breast_cancer-.*: x: no space left"):
        measurements.measure(plan, [1, 2], 1, [], lambda line: None)


def test_the_report_shows_speed_up_efficiency_and_the_laws():
    page = render(dataclasses.replace(quickstart(), scaling=MEASURED))
    section = page[page.index('<section aria-labelledby="scaling">') :]
    section = section[: section.index("</section>")]
    text = " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", section, flags=re.S)).split())
    assert "shard 4 3.25 s 3.11 78%" in text.replace(" %", "%")
    assert "Measured before the data, their steps or the code last changed." in text
    # 10.1 s of one worker, 5.6 and 3.25 s: about a tenth is serial, so that six workers are still worth it.
    assert "Above 5 workers" in text or "Above 4 workers" in text
    assert "Above 1 worker the efficiency falls" in text
    specs = [json.loads(spec) for spec in re.findall(r'<script type="application/json">(.*?)</script>', section)]
    assert [len(spec["datasets"]["measured"]) for spec in specs] == [6, 2]
    laws = {row["law"]: row for row in specs[0]["datasets"]["laws"]}
    assert laws["ideal"]["workers"][-1] == laws["ideal"]["speed-up"][-1] == 16
    assert (
        laws["Amdahl: the same data"]["speed-up"][-1]
        < laws["Gustafson: data that grows with the workers"]["speed-up"][-1]
        < 16
    )


def test_without_measurements_there_is_no_such_section():
    assert 'aria-labelledby="scaling"' not in render(quickstart())


def test_a_slow_down_is_drawn_below_one_and_what_is_as_today_is_not_doubted():
    results = quickstart()
    made = [step["identity"] for step in results.steps if step["stage"] == "shard"]
    measured = {**MEASURED, "made": made, "seconds": {"shard": {"1": [1.0, 1.2, 0.9], "2": [1.6, 1.7, 1.65]}}}
    page = render(dataclasses.replace(results, scaling=measured))
    section = page[page.index('<section aria-labelledby="scaling">') :]
    assert "last changed" not in section[: section.index("</section>")]
    (spec,) = [json.loads(spec) for spec in re.findall(r'<script type="application/json">(.*?)</script>', section)][:1]
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    speeds = [row["speed-up"] for row in spec["datasets"]["measured"]]
    assert low == min(speeds) < 0.6
    assert high == 8
