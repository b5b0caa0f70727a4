"""What differs between two experiments, and what may be claimed of it."""

import dataclasses
import re
from pathlib import Path

from headrace.collection.differences import find_differences
from headrace.collection.finished import read_finished
from headrace.collection.text import WIDTH, describe, wrap
from headrace.findings.results import Results
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


def test_code_is_the_same_only_where_both_made_the_same(write, tmp_path: Path) -> None:
    def said(one: Results, two: Results, **changes: str) -> str:
        names = [f"{side}-{len(list(tmp_path.glob('results/*')))}" for side in "AB"]
        first, second = read_finished(write(names[0], one)), read_finished(write(names[1], two, **changes))
        text = describe(first, second, find_differences(first, second))
        return next(line for line in text.split("\n") if line.startswith("code"))

    def only(*models: str) -> Results:
        return dataclasses.replace(quickstart(), runs=[run for run in quickstart().runs if run.model in models])

    assert said(only("cnn"), only("rnn", "vae")) == "code: no stage in common"
    assert said(only("cnn", "rnn"), only("rnn")) == "code: the same in what both made, which is not all"
    # Other seeds and other points of the sweep are the same code all the same.
    seeds = [dataclasses.replace(run, seed=run.seed + 9, point={}) for run in only("fnn").runs if run.seed < 1]
    other = dataclasses.replace(only("fnn"), runs=seeds[:1])
    assert said(only("fnn"), other) == "code: the same"
    assert said(only("fnn"), other, code="ffff") == "code: 2 differ (A -> B)"


def settings_of(*models: dict[str, object]) -> dict[str, object]:
    return {"models": list(models), "training": {"epochs": 10, "learning_rate": 0.001}}


def fixed(rate: float, name: str = "fnn") -> Results:
    """The quickstart with one of the two settings of fnn alone, and no sweep."""
    runs = [run for run in quickstart().runs if run.point.get("learning_rate", rate) == rate]
    runs = [dataclasses.replace(run, point={}, model=name) if run.model == "fnn" else run for run in runs]
    return dataclasses.replace(quickstart(), runs=runs)


SWEPT = {"kind": "fnn", "name": "fnn", "sweep": {"grid": {"learning_rate": [0.001, 0.003]}}}
CNN = {"kind": "cnn", "name": "cnn", "learning_rate": 0.5}


def test_a_swept_setting_meets_the_same_one_fixed(write) -> None:
    swept = write("swept", **settings_of(SWEPT, CNN))
    for rate, own, other in ((0.003, {"learning_rate": 0.003}, 0.001), (0.001, {}, 0.003)):
        alone = {"kind": "fnn", "name": "fnn", **own}
        first, second = read_finished(swept), read_finished(write(f"at-{rate}", fixed(rate), **settings_of(alone, CNN)))
        for one, two, only in ((first, second, "only_first"), (second, first, "only_second")):
            found = find_differences(one, two)
            verdicts = {frozenset((each.line.name, each.other.name)): each.verdict for each in found.outcomes}
            assert verdicts[frozenset({f"fnn (learning_rate={rate})", "fnn"})] == "the same, seed by seed"
            assert [line.name for line in getattr(found, only)] == [f"fnn (learning_rate={other})"]
        assert f"fnn (learning_rate={rate}) / fnn" in describe(first, second, find_differences(first, second))


def test_a_fixed_value_that_was_not_swept_meets_nothing(write) -> None:
    alone = {"kind": "fnn", "name": "fnn", "learning_rate": 0.02}
    first = read_finished(write("swept", **settings_of(SWEPT)))
    second = read_finished(write("alone", fixed(0.001), **settings_of(alone)))
    found = find_differences(first, second)
    assert not [each for each in found.outcomes if each.line.model == "fnn"]
    assert [line.name for line in found.only_second] == ["fnn"]


def test_equal_settings_meet_under_another_name_and_a_change_of_a_setting_keeps_the_name(write) -> None:
    same = {"kind": "fnn", "hidden": [64]}
    first = read_finished(write("one", fixed(0.001), **settings_of({**same, "name": "fnn"})))
    renamed = read_finished(write("two", fixed(0.001, "small"), **settings_of({**same, "name": "small"})))
    (outcome,) = [each for each in find_differences(first, renamed).outcomes if each.line.model == "fnn"]
    assert (outcome.other.model, outcome.verdict) == ("small", "the same, seed by seed")
    other = settings_of({**same, "name": "small", "hidden": [8]})
    apart = find_differences(first, read_finished(write("three", fixed(0.001, "small"), **other)))
    assert [line.name for line in apart.only_second] == ["small"]
    # What one compares two experiments for: the same model under other settings.
    changed = settings_of({**same, "name": "fnn", "hidden": [8]})
    met = find_differences(first, read_finished(write("four", fixed(0.001), **changed)))
    assert not [*met.only_first, *met.only_second]


def test_long_lists_are_broken_between_their_items(write) -> None:
    items = [f"model-{i:02} (learning_rate=0.001) on pixels of digits" for i in range(60)]
    lines = wrap("only in A: ", items)
    assert len(lines) > 20
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(line.strip() for line in lines) == f"only in A: {', '.join(items)}"
    assert wrap("A: ", ["x" * 300, "y"]) == ["A:", f"  {'x' * 300},", "  y"]


def test_results_that_know_only_their_report_say_so(write) -> None:
    first, second = read_finished(write("one")), read_finished(write("two"))
    assert "environment of the reports: the same" in describe(first, second, find_differences(first, second))


def test_results_with_more_metrics_are_held_against_those_of_before(write) -> None:
    old = forecasts(["skill", "rmse_standardized", "mae_standardized"])
    assert verdicts(old, forecasts(), write) == {"fnn": "the same, seed by seed", "rnn": "the same, seed by seed"}
