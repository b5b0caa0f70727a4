"""What differs between two experiments, and what may be claimed of it."""

import dataclasses
import re

from headrace.collection.differences import find_differences
from headrace.collection.finished import read_finished
from headrace.collection.text import describe
from headrace.reporting.results import Results
from sample_results import forecasts, quickstart


def changed(metric: str, by_model: dict[str, list[float]], **changes: object) -> Results:
    """The quickstart, with something added to a metric of the seeds of some models."""
    runs = []
    for run in quickstart().runs:
        added = by_model.get(run.model, [0.0, 0.0, 0.0])[run.seed]
        values = [dataclasses.replace(m, value=m.value + added * (m.metric == metric)) for m in run.metrics]
        runs.append(dataclasses.replace(run, metrics=values))
    return dataclasses.replace(quickstart(), runs=runs, **changes)


def verdicts(one: Results | None, two: Results | None, write) -> dict[str, str]:
    found = find_differences(read_finished(write("one", one)), read_finished(write("two", two)))
    return {outcome.line.name: outcome.verdict for outcome in found.outcomes}


def test_the_same_results_are_called_the_same(write) -> None:
    first, second = read_finished(write("one")), read_finished(write("two"))
    found = find_differences(first, second)
    assert [change.what for change in found.config] == ["name"]
    assert not any([found.data, found.code, found.environment, found.only_first, found.only_second])
    assert {outcome.verdict for outcome in found.outcomes} == {"the same, seed by seed"}
    assert len(found.outcomes) == 5


def test_better_and_worse_follow_the_metric_and_small_changes_claim_nothing(write) -> None:
    steady, wavering = [0.0101, 0.0100, 0.0102], [0.02, -0.02, 0.001]
    better = verdicts(None, changed("accuracy", {"cnn": steady, "rnn": wavering}), write)
    assert better["cnn"] == "better"
    assert better["rnn"] == "no difference can be claimed"
    assert better["fnn (learning_rate=0.001)"] == "the same, seed by seed"


def test_of_a_loss_less_is_better(write) -> None:
    assert verdicts(None, changed("neg_elbo", {"vae": [3.0, 3.1, 3.2]}), write)["vae"] == "worse"


def test_many_comparisons_make_each_one_harder(write) -> None:
    # p is .02 alone: of three that differ, twice that is too much for the second and third.
    added = [0.010, 0.016, 0.013]
    alone = verdicts(None, changed("accuracy", {"cnn": added}), write)
    assert alone["cnn"] == "better"
    some = changed("accuracy", {"cnn": added, "rnn": added, "fnn": added})
    found = find_differences(read_finished(write("three")), read_finished(write("four", some)))
    assert {outcome.verdict for outcome in found.outcomes if outcome.metric == "accuracy"} == {
        "no difference can be claimed"
    }


def test_one_seed_claims_nothing(write) -> None:
    only = [run for run in quickstart().runs if run.seed == 0]
    one = dataclasses.replace(quickstart(), runs=only)
    moved = changed("accuracy", {"cnn": [0.1, 0, 0]})
    other = dataclasses.replace(moved, runs=[run for run in moved.runs if run.seed == 0])
    assert verdicts(one, other, write)["cnn"] == "one seed cannot tell a difference from chance"


def test_settings_data_code_and_environment_are_told_apart(write) -> None:
    data = [dataclasses.replace(quickstart().datasets[0], digest="other" * 10)]
    models = [{"kind": "fnn", "name": "fnn", "hidden": [64]}, {"kind": "cnn", "name": "cnn"}]
    first = read_finished(write("one", models=models[:1], training={"epochs": 5}))
    second = read_finished(
        write("two", changed("", {}, datasets=data), code="new", torch="2.14.0", models=models, training={"epochs": 9})
    )
    found = find_differences(first, second)
    config = {change.what: (change.first, change.second) for change in found.config}
    assert config == {
        "name": ("one", "two"),
        "training.epochs": ("5", "9"),
        "models.cnn.kind": ("-", "cnn"),
        "models.cnn.name": ("-", "cnn"),
    }
    assert [change.what for change in found.data] == ["shard digits"]
    assert {outcome.verdict for outcome in found.outcomes} == {"the same, seed by seed (on other data)"}
    stages = [f"{stage} {model}" for model in ("fnn", "cnn", "rnn", "vae") for stage in ("train", "evaluate")]
    assert [change.what for change in found.code] == stages
    assert [(change.what, change.first, change.second) for change in found.environment] == [
        ("torch", "2.13.0", "2.14.0")
    ]


def test_lines_of_one_alone_are_named(write) -> None:
    fewer = dataclasses.replace(quickstart(), runs=[run for run in quickstart().runs if run.family != "vae"])
    first, second = read_finished(write("one")), read_finished(write("two", fewer))
    found = find_differences(first, second)
    assert [line.name for line in found.only_first] == ["vae"]
    text = describe(first, second, found)
    assert "only in A: vae on raw of digits" in text
    assert "data: the same" in text
    assert re.search(r"digits +cnn +pixels +accuracy +0\.97\d+ \(3\) +0\.97\d+ \(3\) +0 ", text)


def test_code_that_nobody_knows_is_not_called_the_same(write) -> None:
    first, second = read_finished(write("one")), read_finished(write("two"))
    assert "code: the same" in describe(first, second, find_differences(first, second))
    for entry in second.artifacts:
        entry.pop("code", None)
    assert "code: not known of both" in describe(first, second, find_differences(first, second))


def test_settings_are_shown_as_they_were_written(write) -> None:
    first, second = read_finished(write("one")), read_finished(write("two", description="Größe – ½"))
    found = find_differences(first, second)
    assert [change.second for change in found.config if change.what == "description"] == ["Größe – ½"]


def test_results_with_more_metrics_are_held_against_those_of_before(write) -> None:
    old = forecasts(["skill", "rmse_standardized", "mae_standardized"])
    assert verdicts(old, forecasts(), write) == {"fnn": "the same, seed by seed", "rnn": "the same, seed by seed"}
