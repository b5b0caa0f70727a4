"""What a model card says, and that it says nothing that isn't known."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable

import pytest

from headrace.experiments.config import Training
from headrace.figures.cards import Card, choose_run, make_cards
from headrace.figures.comparisons import compare
from headrace.figures.numbers import format_number
from headrace.findings.kinds import describe_family
from headrace.findings.results import MetricValue, Results
from headrace.registry import list_kinds
from sample_results import (
    broken_quickstart,
    exact_runs,
    make_dataset,
    make_results,
    make_run,
    only,
    quickstart,
    quickstart_runs,
    two_datasets,
)


def cards_of(results: Results) -> dict[str, Card]:
    """Return all cards by dataset and name."""
    return {
        f"{comparison.dataset}: {card.name}": card
        for comparison in compare(results)
        for card in make_cards(comparison, results)
    }


def facts_of(results: Results, name: str) -> dict[str, str]:
    """Return what one card tells."""
    return dict(cards_of(results)[name].facts)


def test_every_model_has_one_card_at_its_chosen_point():
    assert list(cards_of(quickstart())) == [
        "digits: cnn",
        "digits: fnn (learning_rate=0.001)",
        "digits: rnn",
        "digits: vae",
    ]
    assert len(cards_of(two_datasets())) == 4


def test_a_card_tells_what_the_model_is_and_was_made_from():
    facts = facts_of(quickstart(), "digits: fnn (learning_rate=0.001)")
    assert facts["what it is"] == "fnn: Fully connected layers with ReLU and dropout between them."
    assert facts["setting"] == "learning_rate=0.001; the best of 2 by mean accuracy on validation"
    assert facts["task"] == "classification of 10 classes"
    assert facts["inputs"] == "28 × 28 → standardize (per=all) → 28 × 28"
    assert facts["architecture"] == "242\u202f762 trainable parameters; hidden=[256, 128], dropout=0.1"
    assert facts["training"] == "all settings at their defaults; on CPU"
    assert facts["data"] == (
        "digits (mnist5k), 5\u202f000 samples: train 3\u202f500, validation 750, test 750; split by=stratified, seed=0"
    )
    assert facts["seeds"] == "0, 1, 2"
    assert facts["cost"] == "15.2 s a run, 45.6 s in all; at most 390 MiB of memory in its process"
    others = facts_of(quickstart(), "digits: vae")
    assert others["inputs"] == "28 × 28 → as they are"
    assert "setting" not in others


@pytest.mark.parametrize(
    ("shape", "words"), [((12,), "sequences of 12 a step"), ((), "sequences of one number or code a step")]
)
def test_sequences_of_different_lengths_are_called_so(shape, words):
    shapes = {"inputs": list(shape), "outputs": 3, "task": "classification", "layout": "ragged"}
    dataset = make_dataset("digits", "text", ("classification",), 100, sample_shape=shape)
    for features, wanted in (("raw", "as they are"), ("pixels", f"standardize (per=all) → {words}")):
        run = make_run("rnn", 0, {"accuracy": 0.9}, shapes=shapes, features=features)
        assert facts_of(make_results([run], [dataset]), "digits: rnn")["inputs"].endswith(f" → {wanted}")
    raw = make_run("rnn", 0, {"accuracy": 0.9}, shapes=shapes, features="raw")
    assert facts_of(make_results([raw], [dataset]), "digits: rnn")["inputs"] == f"{words} → as they are"


@pytest.mark.parametrize(
    ("task", "words"), [("density", "how likely"), ("next_step", "what follows"), ("other", "other")]
)
def test_a_task_is_told_in_words_where_there_are_some(task, words):
    assert words in facts_of(make_results([make_run("rnn", 0, {"nll": 0.9}, task=task)], []), "digits: rnn")["task"]


def test_settings_that_are_not_the_defaults_are_named():
    training = Training(epochs=30, schedule="cosine", gradient_clip=1.0, batch_size=128)
    parameters = {**training.model_dump(mode="json"), "device": "cuda", "kind": "fnn"}
    runs = [make_run("fnn", 0, {"accuracy": 0.9}, parameters=parameters, device="NVIDIA H100 80GB HBM3")]
    results = make_results(runs, [])
    assert facts_of(results, "digits: fnn")["training"] == (
        "other than the defaults: epochs=30, schedule=cosine, gradient_clip=1.0; on NVIDIA H100 80GB HBM3"
    )
    assert "at most 390 MiB of memory on its GPU" in facts_of(results, "digits: fnn")["cost"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "7\u202f006 samples a second, 1.45 MFLOP each forwards and backwards: 10.2 GFLOP/s; peak of CPU not known",
        ),
        ({"flops_per_sample": None}, "7\u202f006 samples a second; operations not counted"),
        (
            {"device": "NVIDIA H100 80GB HBM3", "flops_per_sample": 10**8, "parameters": {"precision": "bf16"}},
            "7\u202f006 samples a second, 100 MFLOP each forwards and backwards: 701 GFLOP/s; "
            "0.071 % of the published peak of NVIDIA H100 80GB HBM3 in bf16, 989 TFLOP/s",
        ),
        (
            {"device": "Tesla T4", "flops_per_sample": 10**8, "parameters": {"world_size": 4}},
            "7\u202f006 samples a second, 100 MFLOP each forwards and backwards: 701 GFLOP/s; "
            "2.2 % of the published peak of 4 Tesla T4 in fp32, 32.4 TFLOP/s",
        ),
        (
            {"device": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"},
            "7\u202f006 samples a second, 1.45 MFLOP each forwards and backwards: 10.2 GFLOP/s; "
            "peak of NVIDIA A100-SXM4-40GB MIG 1g.5gb not known",
        ),
    ],
)
def test_the_speed_is_set_against_the_peak_where_that_is_known(changes, words):
    results = make_results([make_run("fnn", 0, {"accuracy": 0.9}, **changes)], [])
    assert facts_of(results, "digits: fnn")["speed"] == words


def test_without_a_measured_rate_there_is_no_speed():
    results = make_results([make_run("fnn", 0, {"accuracy": 0.9}, curves=())], [])
    assert "speed" not in facts_of(results, "digits: fnn")


def test_scores_are_those_of_the_table_and_of_the_run_to_be_used():
    results = quickstart()
    (comparison, _) = compare(results)
    card = make_cards(comparison, results)[0]
    assert [score.metric for score in card.scores] == comparison.metrics
    summary = comparison.best["cnn"].summary("accuracy", "test")
    assert card.scores[0].interval == f"{format_number(summary.low)} to {format_number(summary.high)}"
    value = next(value for value in card.run.metrics if (value.metric, value.split) == ("accuracy", "test"))
    words = f"{format_number(value.value)} [{format_number(value.low)}, {format_number(value.high)}]"
    assert card.scores[0].of_run == words


def test_the_run_to_be_used_is_the_best_on_validation_and_not_on_test():
    comparison = only(exact_runs("fnn", [0.9, 0.95, 0.92], validation=[0.91, 0.90, 0.94]))
    (candidate,) = comparison.candidates
    assert choose_run(comparison, candidate).seed == 2
    (card,) = make_cards(comparison, make_results(candidate.runs, []))
    assert card.chosen == "the best of its seeds by accuracy on validation"


def test_where_less_is_better_the_run_to_be_used_has_the_least():
    runs = [make_run("fnn", seed, {"rmse": rmse}, task="regression") for seed, rmse in enumerate((3.0, 1.0, 2.0))]
    comparison = only(runs)
    assert choose_run(comparison, comparison.candidates[0]).seed == 1


def test_commands_can_be_pasted_whatever_the_folder_is_called():
    runs = [make_run("fnn", 0, {"accuracy": 0.9}, artifact="my runs/it's; rm -rf")]
    results = make_results(runs, [make_dataset("digits", "mnist5k", ("classification",), 5000, artifact="a b")])
    predict, export = cards_of(results)["digits: fnn"].commands
    assert shlex.split(predict) == ["headrace", "predict", "my runs/it's; rm -rf", "a b", "--split", "test"]
    assert shlex.split(export) == ["headrace", "export", "my runs/it's; rm -rf"]


def test_what_cannot_be_exported_is_not_offered():
    results = make_results([make_run("fnn", 0, {"accuracy": 0.9}, task="density")], [])
    (command,) = cards_of(results)["digits: fnn"].commands
    assert command.startswith("headrace predict artifacts/train/")
    assert command.endswith(" DATA")


def test_limits_are_said_plainly():
    limits = " ".join(cards_of(quickstart())["digits: cnn"].limits)
    assert "Trained on the training split of digits only" in limits
    assert "Not checked for groups" in limits
    assert "one of its classes whatever it is shown" in limits
    (card, *_) = cards_of(make_results(exact_runs("fnn", [0.9]), [])).values()
    assert "One seed can't tell how much of the result is chance." in card.limits


def test_seeds_that_did_not_finish_are_named():
    facts = facts_of(broken_quickstart(), "digits: cnn")
    assert facts["seeds"] == "0, 1, 2; not finished: 1 (not begun)"


def test_a_model_without_a_result_has_a_card_that_says_so():
    runs = quickstart_runs()
    nothing = {"status": "failed", "metrics": (), "confusion": None, "seconds": None, "num_parameters": None}
    runs[6:9] = [dataclasses.replace(run, **nothing) for run in runs[6:9]]
    card = cards_of(make_results(runs, []))["digits: cnn"]
    assert (card.run, card.scores, card.commands) == (None, (), ())
    assert "cost" not in dict(card.facts)


def test_a_sweep_without_a_result_does_not_call_a_point_the_best():
    nothing = {"status": "not begun", "metrics": (), "confusion": None, "seconds": None}
    runs = [make_run("fnn", 0, {"accuracy": 0.9}, point={"hidden": size}, **nothing) for size in (4, 8)]
    facts = facts_of(make_results(runs, []), "digits: fnn (hidden=4)")
    assert facts["setting"] == "hidden=4; the first of 2, none of which has a result"


def test_a_model_whose_values_are_not_numbers_still_has_a_run_to_be_used():
    broken = [MetricValue("accuracy", "test", math.nan, math.nan, math.nan)]
    results = make_results([make_run("fnn", 0, {"accuracy": 0.9}, metrics=broken)], [])
    card = cards_of(results)["digits: fnn"]
    assert card.run is not None
    assert (card.scores[0].mean, card.scores[0].interval, card.scores[0].of_run) == ("nan", "–", "nan")


@pytest.mark.parametrize("make", [quickstart, broken_quickstart, two_datasets])
def test_no_line_of_a_card_is_empty(make: Callable[[], Results]):
    for card in cards_of(make()).values():
        assert all(name and text for name, text in card.facts)
        assert all(sentence.endswith(".") for sentence in card.limits)


@pytest.mark.parametrize("family", list_kinds("models"))
def test_every_family_says_what_it_is_in_a_sentence(family):
    sentence = describe_family(family)
    assert 20 < len(sentence) < 250
    assert sentence.endswith(".")
    assert "`" not in sentence
    assert "for example" not in sentence
