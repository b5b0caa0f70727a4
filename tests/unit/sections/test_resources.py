"""What an experiment took, as the report says it."""

import dataclasses
import html
import re

import pytest

from headrace.figures.comparisons import compare
from headrace.figures.numbers import format_energy
from headrace.figures.runs import tabulate_runs
from headrace.reporting.report import render
from headrace.tries.usage import add_up
from sample_results import quickstart


def tried(**used):
    measured = {"seconds": 100.0, "cpu_s": 50.0, "peak_memory_mib": 500.0, "gpu_percent": None, **used}
    return {"job": "", "outcome": "done", "cause": None, "requested": {"cores": 1}, "used": measured}


def text_of(results):
    page = render(results)
    section = page[page.index('<section aria-labelledby="resources">') :]
    section = section[: section.index("</section>")]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", section)).split())


def with_energy(cpu_s=6.0, **used):
    results = quickstart()
    runs = [dataclasses.replace(run, cpu_s=cpu_s) for run in results.runs]
    return dataclasses.replace(results, runs=runs, usage=add_up([("train", [tried(**used)])]))


def test_energy_of_a_run_and_of_a_point_of_accuracy_is_measured():
    # 50 s of CPU took 2 kJ: 40 J for every second, 240 J for a run of 6 s, and 2.5 J for each of cnn's 97 points.
    text = text_of(with_energy(cpu_j=2000.0))
    assert "measured by the counters of the processors (RAPL)" in text
    assert "estimated" not in text
    assert re.search(r"cnn 3 6\.00 s 240 J 2\.4[0-9] J", text)
    assert "2.00 kJ" in text


def test_energy_that_is_not_measured_is_said_to_be_estimated():
    text = text_of(with_energy())
    assert "estimated (≈) from the CPU time at 10 W for a busy core" in text
    assert "≈ 500 J" in text
    assert "fnn (learning_rate=0.001) 3 6.00 s 60.0 J" in text


def test_every_run_tells_its_cpu_time_and_energy():
    for results, energy in ((with_energy(cpu_j=2000.0), "240 J"), (with_energy(), "≈ 60.0 J")):
        facts = [dict(run["facts"]) for run in tabulate_runs(results, compare(results))["runs"]]
        assert {(fact["CPU time"], fact["energy of training"]) for fact in facts} == {("6.00 s", energy)}
    unknown = with_energy(cpu_s=None)
    for run in tabulate_runs(unknown, compare(unknown))["runs"]:
        assert {"CPU time", "energy of training"}.isdisjoint(dict(run["facts"]))


def test_energy_on_a_gpu_is_part_of_a_run():
    # 6 s of CPU at 10 J each, and 100 s on a GPU of 300 W.
    results = with_energy(gpu_percent=50.0, gpu_watts=300.0)
    runs = [dataclasses.replace(run, device="NVIDIA H100", seconds=100.0) for run in results.runs]
    results = dataclasses.replace(results, runs=runs)
    facts = dict(tabulate_runs(results, compare(results))["runs"][0]["facts"])
    assert facts["energy of training"] == "≈ 30.1 kJ"


@pytest.mark.parametrize("results", [with_energy(cpu_s=None), dataclasses.replace(quickstart(), usage=())])
def test_runs_of_unknown_cpu_time_have_no_energy(results):
    assert "energy of a run" not in text_of(results)


def test_energy_is_written_as_people_say_it():
    written = [format_energy(joules) for joules in (None, 0.0, 12.345, 999.4, 12_345, 360_000, 7.2e9)]
    assert written == ["–", "0 J", "12.3 J", "999 J", "12.3 kJ", "0.100 kWh", "2000 kWh"]
