"""What the report says in words: which model is best, whether that is clear, and what to know before believing it."""

from __future__ import annotations

import dataclasses
import math

from headrace.figures.answers import answer, find_problems
from headrace.figures.comparisons import compare
from headrace.figures.seeds import draw_seeds
from headrace.findings.results import MetricValue, ReferenceResult, RunResult
from sample_results import broken_quickstart, exact_runs, make_results, only, two_datasets


def test_the_best_point_is_chosen_on_validation():
    good = exact_runs("fnn", [0.90, 0.91], validation=[0.95, 0.95], point={"width": 64})
    lucky = exact_runs("fnn", [0.99, 0.99], validation=[0.90, 0.90], point={"width": 128})
    comparison = only([*good, *lucky])
    assert comparison.selection_split == "validation"
    assert comparison.best["fnn"].setting == "width=64"


def test_without_validation_the_answer_says_that_test_chose():
    runs = [*exact_runs("fnn", [0.9], point={"width": 1}), *exact_runs("fnn", [0.8], point={"width": 2})]
    comparison = only(runs)
    assert comparison.best["fnn"].setting == "width=1"
    assert any("on test itself" in sentence for sentence in answer(comparison).sentences)


def test_candidates_that_read_alike_stay_apart():
    runs = [run for width in (1, "1") for run in exact_runs("fnn", [0.9], point={"width": width})]
    names = [candidate.name for candidate in only(runs).candidates]
    assert names == ["fnn (width=1)", "fnn (width=1, no. 2)"]


def test_features_tell_candidates_of_one_model_apart():
    runs = [run for features in ("raw", "pixels") for run in exact_runs("fnn", [0.9], features=features)]
    names = [candidate.name for candidate in only(runs).candidates]
    assert names == ["fnn (features=raw)", "fnn (features=pixels)"]


def test_a_clear_answer_names_winner_runner_up_means_and_seeds():
    runs = [*exact_runs("fnn", [0.90, 0.91, 0.92]), *exact_runs("cnn", [0.97, 0.98, 0.99])]
    said = answer(only(runs))
    assert said.is_clear
    assert said.headline == "cnn is best."
    assert "0.980 ± 0.010 over 3 seeds; fnn comes next with 0.910 ± 0.010 over 3 seeds" in said.sentences[0]


def test_overlapping_intervals_give_no_clear_difference():
    runs = [*exact_runs("fnn", [0.90, 0.95, 0.97]), *exact_runs("cnn", [0.92, 0.95, 0.98])]
    said = answer(only(runs))
    assert not said.is_clear
    assert said.headline == "No clear difference between cnn and fnn."
    assert said.sentences[1] == "The 95 % intervals over the seeds of cnn and of fnn overlap."
    said = answer(only([*runs, *exact_runs("rnn", [0.91, 0.94, 0.96])]))
    assert said.headline == "No clear difference between cnn, fnn and rnn."
    assert said.sentences[1] == "The 95 % intervals over the seeds of fnn and rnn overlap that of cnn."


def test_one_seed_gives_no_clear_difference():
    said = answer(only([*exact_runs("fnn", [0.5]), *exact_runs("cnn", [0.9])]))
    assert not said.is_clear
    assert "No clear difference" in said.headline
    assert any("One seed" in sentence for sentence in said.sentences)


def test_seeds_that_all_agree_prove_nothing_by_themselves():
    close = [*exact_runs("linear", [0.900, 0.900]), *exact_runs("tree", [0.901, 0.901])]
    far = [*exact_runs("linear", [0.5, 0.5]), *exact_runs("tree", [0.9, 0.9])]
    assert not answer(only(close)).is_clear
    assert answer(only(far)).is_clear


def test_equal_seeds_have_no_spread_but_for_rounding():
    thirds = exact_runs("cnn", [733 / 750] * 3)
    (candidate,) = only(thirds).candidates
    assert candidate.summary("accuracy", "test").standard_deviation == 0
    low, high = candidate.interval("accuracy", "test")
    assert low < 0.97 < 0.98 < high


def test_lower_is_better_for_rmse():
    comparison = next(comparison for comparison in compare(two_datasets()) if comparison.task == "regression")
    assert list(comparison.best) == ["fnn", "linear"]


def test_failed_and_missing_runs_are_problems_and_count_against_the_seeds():
    results = broken_quickstart()
    comparisons = compare(results)
    problems = find_problems(results, comparisons)
    assert problems == ["Of 15 runs, 1 failed and 1 is not begun: every number here rests on the other 13."]
    assert "over 2 of 3 seeds" in answer(comparisons[0]).sentences[0]


def test_values_that_are_not_numbers_are_problems_and_never_win():
    runs = [*exact_runs("fnn", [0.9, 0.9]), *exact_runs("cnn", [math.nan, 0.99])]
    comparison = only(runs)
    assert list(comparison.best) == ["fnn"]
    said = answer(comparison)
    assert any("Not ranked" in sentence and "cnn" in sentence for sentence in said.sentences)
    problems = find_problems(make_results(runs, []), [comparison])
    assert any("accuracy (test)" in problem and runs[2].id in problem for problem in problems)


def test_a_seed_that_counts_twice_is_a_problem():
    runs = exact_runs("fnn", [0.9]) * 2
    assert any("more than once" in problem for problem in find_problems(make_results(runs, []), [only(runs)]))
    comparison = only([*runs, *exact_runs("cnn", [0.8])])
    ranking = "fnn has the best mean accuracy, 0.9000 with 1 seed; cnn comes next with 0.8000 with 1 seed."
    assert answer(comparison).sentences[0] == ranking


def test_of_runs_that_disagree_no_mean_is_told():
    twice = [*exact_runs("fnn", [0.9, 0.92]), *exact_runs("fnn", [0.1])]
    mixed = exact_runs("rnn", [0.99, 0.98])
    mixed[1] = dataclasses.replace(mixed[1], parameters={**mixed[1].parameters, "width": 3})
    comparison = only([*twice, *mixed, *exact_runs("cnn", [0.8, 0.81])])
    assert list(comparison.best) == ["cnn"]
    for candidate in comparison.candidates:
        summary = candidate.summary("accuracy", "test")
        assert (summary.count, math.isnan(summary.mean)) == ((2, False) if candidate.model == "cnn" else (0, True))
    said = answer(comparison)
    assert said.headline == "cnn is the only model that can be ranked."
    why = "fnn (seeds whose runs do not say the same: 0); rnn (runs with different settings: width)"
    assert f"Not ranked: {why}." in said.sentences
    assert answer(only(twice)).headline == "No answer: it is not known which runs count."


def test_a_model_that_was_named_twice_is_a_problem():
    runs = exact_runs("fnn", [0.9, 0.8])
    results = make_results([*runs, *(dataclasses.replace(run, model="other") for run in runs)], [])
    assert find_problems(results, compare(results)) == [
        "fnn and other on digits are the same runs, and each is ranked by itself."
    ]


def test_nothing_finished_is_no_answer():
    runs = [dataclasses.replace(run, status="failed", metrics=()) for run in exact_runs("fnn", [0.9])]
    comparison = only(runs)
    assert answer(comparison).headline.startswith("No answer")
    assert draw_seeds(comparison, {}) is None


def beside(runs: list[RunResult], **values: float):
    """The answer of some runs beside predictors that need no training."""
    found = tuple(
        ReferenceResult(name, "digits", "classification", "raw", "", [MetricValue("accuracy", "test", value, 0, 1)])
        for name, value in values.items()
    )
    return answer(dataclasses.replace(only(runs), references=found))


def test_a_model_no_better_than_a_constant_is_no_answer():
    runs = [*exact_runs("fnn", [0.60, 0.61, 0.62]), *exact_runs("cnn", [0.10, 0.11, 0.12])]
    for value in (0.61, 0.7):
        said = beside(runs, most_frequent=value, nearest_neighbour=0.3)
        assert said.headline == "No model is better than always predicting the most frequent class."
        assert not said.is_clear
        assert said.sentences[:2] == (f"That alone reaches {value:.3f} in accuracy.", "Among the models: fnn is best.")


def test_a_model_is_held_against_the_best_of_what_needs_no_training():
    runs = [*exact_runs("fnn", [0.97, 0.98, 0.99]), *exact_runs("cnn", [0.80, 0.81, 0.82])]
    said = beside(runs, most_frequent=0.2, nearest_neighbour=0.9)
    assert said.headline == "fnn is best."
    assert said.is_clear
    assert said.sentences[-1] == (
        "On these 750 test samples, fnn is better than copying the class of the nearest training sample, which reaches "
        "0.900 without training."
    )
    assert "fnn is not clearly better than copying" in beside(runs, nearest_neighbour=0.975).sentences[-1]


def test_a_reference_is_never_a_model():
    runs = [*exact_runs("fnn", [0.6, 0.6]), *exact_runs("cnn", [0.1, 0.1])]
    said = beside(runs, nearest_neighbour=0.99)
    assert said.headline == "No model is better than copying the class of the nearest training sample."
    assert said.sentences[2].startswith("fnn has the best mean accuracy")


def test_lower_is_better_of_references_too():
    comparison = next(comparison for comparison in compare(two_datasets()) if comparison.task == "regression")
    metrics = [[MetricValue("rmse", "test", value, value, value)] for value in (70.0, 50.0)]
    found = tuple(
        ReferenceResult(name, "diabetes", "regression", "raw", "", values)
        for name, values in zip(("mean", "last_value"), metrics, strict=True)
    )
    said = answer(dataclasses.replace(comparison, references=found))
    assert said.headline == "No model is better than repeating the last value."
    assert "which reaches 70" in answer(dataclasses.replace(comparison, references=found[:1])).sentences[-1]


def test_one_seed_is_held_against_a_reference_by_its_samples():
    runs = [
        dataclasses.replace(run, metrics=[MetricValue("accuracy", "test", 0.97, 0.95, 0.99)])
        for run in exact_runs("fnn", [0.97])
    ]
    assert "fnn is better than always" in beside(runs, most_frequent=0.1).sentences[-1]
    assert "fnn is not clearly better than copying" in beside(runs, nearest_neighbour=0.96).sentences[-1]


def test_what_is_no_number_in_many_runs_is_said_once():
    lacking = MetricValue("auroc", "validation", math.nan, math.nan, math.nan)
    runs = [dataclasses.replace(run, metrics=[*run.metrics, lacking]) for run in exact_runs("fnn", [0.9, 0.8, 0.7])]
    problems = find_problems(make_results(runs, []), [only(runs)])
    assert problems == [
        "3 runs of fnn on digits finished, but auroc (validation) isn't a finite number; a class is missing there."
    ]


def test_seeds_that_all_agree_are_not_said_to_have_intervals_of_their_own():
    runs = [*exact_runs("fnn", [0.9, 0.9, 0.9]), *exact_runs("cnn", [0.8, 0.8, 0.8])]
    said = " ".join(answer(only(runs)).sentences)
    assert "over the samples where all seeds agree" in said


def test_references_keep_their_numbers_where_every_run_failed():
    failed = [dataclasses.replace(run, status="failed", metrics=()) for run in exact_runs("fnn", [0.9])]
    values = [MetricValue("accuracy", "test", 0.1, 0, 1), MetricValue("nll", "test", 2.3, 2, 3)]
    reference = ReferenceResult("most_frequent", "digits", "classification", "raw", "", values)
    assert dataclasses.replace(only(failed), references=(reference,)).metrics == ["accuracy", "nll"]
