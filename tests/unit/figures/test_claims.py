"""What may be claimed of two models: over the seeds, and over the test samples that both have met."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from scipy import stats

from headrace.figures.answers import answer, find_problems
from headrace.figures.claims import average_resamples, bound_differences
from headrace.figures.comparisons import Comparison, compare
from headrace.figures.pairs import Pair, pair_with, say_pairs
from headrace.findings.results import MetricValue, ReferenceResult, RunResult
from headrace.judging.metrics import resample
from headrace.sections import comparisons
from headrace.sections.base import Page
from sample_results import exact_runs, make_dataset, make_results, only, quickstart, without_resamples

NUM_SAMPLES = 60


def judged_runs(model: str, num_right: list[int], start: int = 0) -> list[RunResult]:
    """One run per seed that is right on so many of 60 test samples, from a sample of its own on."""
    runs = exact_runs(model, [count / NUM_SAMPLES for count in num_right])
    return [
        dataclasses.replace(run, resampled=resample_accuracy(count, start + run.seed))
        for run, count in zip(runs, num_right, strict=True)
    ]


def resample_accuracy(num_right: int, start: int) -> np.ndarray:
    """The accuracy of a model that is right on a stretch of the samples, on 500 resamples."""
    predicted = (np.arange(NUM_SAMPLES) - start) % NUM_SAMPLES >= num_right
    outputs = {"target": np.zeros(NUM_SAMPLES, np.int64), "probabilities": np.eye(2)[predicted.astype(int)]}
    return resample("classification", outputs, num_resamples=500, seed=0)[1]["accuracy"].astype(np.float32)


def compare_on_sixty(runs: list[RunResult], references: tuple[ReferenceResult, ...] = ()) -> Comparison:
    sizes = {"train": 280, "validation": 60, "test": NUM_SAMPLES}
    dataset = make_dataset("digits", "mnist5k", ("classification",), 400, split_sizes=sizes)
    (comparison,) = compare(make_results(runs, [dataset], references=references))
    return comparison


def pair_of(runs: list[RunResult]) -> Pair:
    (pair,) = pair_with(compare_on_sixty(runs), "fnn")
    return pair


FNN, CNN = [42, 42, 43, 42, 42], [44, 44, 44, 45, 44]
"""Two samples of 60 apart, seed after seed."""


def test_what_other_samples_could_turn_is_no_clear_lead() -> None:
    runs = judged_runs("fnn", FNN) + judged_runs("cnn", CNN, start=20)
    said = answer(compare_on_sixty(runs))
    assert said.headline == "No clear difference between cnn and fnn."
    assert not said.is_clear
    lead = (
        "Other samples than these 60 test samples could turn the lead of cnn over fnn, 0.0333 (95 % interval over the"
    )
    assert said.sentences[-1].startswith(lead)
    pair = pair_of(runs)
    assert pair.verdict == "better"
    assert pair.samples[0] < 0 < pair.samples[1]
    assert pair.sentence.startswith(
        "On these 60 test samples, cnn is better than fnn, but other samples could turn that: its mean accuracy "
        "differs by 0.0333 (95 % interval over the seeds 0.0187 to 0.0480, over the samples -0."
    )


def test_what_holds_on_other_samples_is_claimed_without_them() -> None:
    # Right on all that the other is right on, and on a quarter of the samples more.
    runs = judged_runs("fnn", [30, 30, 31, 30, 30]) + judged_runs("cnn", [45, 46, 45, 45, 45])
    said = answer(compare_on_sixty(runs))
    assert said.headline == "cnn is best."
    assert said.is_clear
    assert "the lead over fnn is 0.250 (95 % interval over the samples 0.1" in said.sentences[1]
    assert pair_of(runs).sentence.startswith(
        "cnn is better than fnn: its mean accuracy differs by 0.250 (95 % interval"
    )
    assert "over the samples 0.1" in pair_of(runs).sentence


def test_without_resamples_a_claim_is_about_these_samples() -> None:
    runs = without_resamples(judged_runs("fnn", FNN) + judged_runs("cnn", CNN))
    said = answer(compare_on_sixty(runs))
    assert said.headline == "cnn is best on these 60 test samples."
    assert "is not known, since no bootstrap resamples were kept" in said.sentences[1]
    assert pair_of(runs).sentence == (
        "On these 60 test samples, cnn is better than fnn: its mean accuracy differs by 0.0333 "
        "(95 % interval over the seeds 0.0187 to 0.0480)."
    )
    # Of one run alone they are not known either.
    mixed = [*runs[:5], *judged_runs("cnn", CNN)]
    assert answer(compare_on_sixty(mixed)).headline == said.headline
    uncounted = dataclasses.replace(compare_on_sixty(runs), num_samples=None)
    assert answer(uncounted).headline == "cnn is best on these test samples."


def test_the_interval_over_the_samples_is_that_of_a_paired_bootstrap() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.random((2, 40)) < np.array([[0.6], [0.8]])
    outputs = [
        {"target": np.zeros(40, np.int64), "probabilities": np.eye(2)[(~right).astype(int)]}
        for right in (first, second)
    ]
    runs = [
        dataclasses.replace(run, resampled=resample("classification", each, num_resamples=4000, seed=0)[1]["accuracy"])
        for run, each in zip(exact_runs("fnn", [0.6, 0.8]), outputs, strict=True)
    ]
    ((low, high),) = bound_differences("test", [(runs[:1], runs[1:])])
    expected = stats.bootstrap(
        (second.astype(float) - first,), np.mean, n_resamples=4000, method="percentile", random_state=generator
    ).confidence_interval
    # One of 40 samples is 0.025, the steps in which either moves.
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.026)


def test_means_over_the_seeds_are_subtracted_resample_by_resample() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(5, 300)).astype(np.float32)
    runs = [
        dataclasses.replace(run, resampled=row) for run, row in zip(exact_runs("a", [0.0] * 5), values, strict=True)
    ]
    found = bound_differences("test", [(runs[:2], runs[2:]), (runs[:1], runs[:1])])
    difference = values[2:].astype(float).mean(axis=0) - values[:2].astype(float).mean(axis=0)
    assert found[0] == pytest.approx(tuple(np.quantile(difference, [0.025, 0.975])))
    assert found[1] == (0, 0)
    other = dataclasses.replace(runs[0], resampled=values[0, :100])
    nothing = dataclasses.replace(runs[0], resampled=None)
    for pair in ((runs[:1], [other]), (runs[:1], [nothing]), ([runs[0], other], runs[1:2]), ([], runs)):
        assert np.isnan(bound_differences("test", [pair])[0]).all()
    assert np.isnan(bound_differences("validation", [(runs[:1], runs[1:2])])[0]).all()
    assert average_resamples([nothing]) is None


def test_a_resample_without_a_value_is_left_out_and_rounding_is_no_difference() -> None:
    values = np.linspace(1, 2, 200, dtype=np.float32)
    broken = values.copy()
    broken[:3] = np.nan, np.inf, -np.inf
    one, two, third = (
        dataclasses.replace(run, resampled=row)
        for run, row in zip(
            exact_runs("a", [0.0] * 3), (values, broken + 1, values * np.float32(1 + 2e-7)), strict=True
        )
    )
    found = bound_differences("test", [([one], [two]), ([one], [third])])
    assert found[0] == pytest.approx((1, 1))
    assert found[1] == (0, 0)


def test_of_a_loss_the_lead_is_told_as_a_positive_number() -> None:
    results = quickstart()
    runs = [run for run in results.runs if run.model == "vae"]
    better = [
        dataclasses.replace(
            run,
            model="flow",
            metrics=[dataclasses.replace(m, value=m.value - 20) for m in run.metrics],
            resampled=run.resampled - 20,
        )
        for run in runs
    ]
    (comparison,) = compare(dataclasses.replace(results, runs=[*runs, *better]))
    said = answer(comparison)
    assert said.headline == "flow is best."
    assert "the lead over vae is 20.0 (95 % interval over the samples 20.0 to 20.0)" in said.sentences[1]


def reference_at(num_right: int, start: int, *, keeps: bool = True) -> tuple[ReferenceResult, ...]:
    metrics = [MetricValue("accuracy", "test", num_right / NUM_SAMPLES, 0, 1)]
    resampled = resample_accuracy(num_right, start) if keeps else None
    return (ReferenceResult("nearest_neighbour", "digits", "classification", "raw", "", metrics, resampled),)


def test_a_reference_too_must_be_beaten_on_other_samples() -> None:
    runs = judged_runs("fnn", CNN) + judged_runs("cnn", [10] * 5)
    told = "copying the class of the nearest training sample, which reaches 0.700 without training"
    close = answer(compare_on_sixty(runs, reference_at(42, 30))).sentences[-1]
    assert close.startswith(
        f"On these 60 test samples, fnn is better than {told}, but other samples could turn that (the"
    )
    assert "the lead is 0.0367, 95 % interval over the samples -0." in close
    far = answer(compare_on_sixty(runs, reference_at(20, 0))).sentences[-1]
    assert far.startswith("fnn is better than copying")
    assert "(the lead is 0.403, 95 % interval over the samples 0.2" in far
    assert answer(compare_on_sixty(runs, reference_at(42, 30, keeps=False))).sentences[-1] == (
        f"On these 60 test samples, fnn is better than {told}."
    )


def test_one_seed_speaks_for_its_run_alone() -> None:
    said = answer(compare_on_sixty(judged_runs("fnn", [55]), reference_at(20, 0)))
    assert said.sentences[-1].startswith("The one run of fnn is better than copying")


def test_models_without_an_interval_are_named_and_not_placed() -> None:
    runs = [*exact_runs("fnn", [0.9, 0.91, 0.905]), *exact_runs("cnn", [0.5, 0.51, 0.505]), *exact_runs("rnn", [0.4])]
    said = answer(only(runs))
    assert said.headline == "fnn is best, of the models that can be placed."
    assert not said.is_clear
    assert "The 95 % intervals over the seeds don't overlap" in said.sentences[1]
    assert said.sentences[2] == "One seed can't tell a difference from chance, and rnn has no more."
    assert "overlap." not in " ".join(said.sentences)


def test_seeds_that_agree_without_a_bootstrap_are_not_called_one_seed() -> None:
    runs = without_resamples([*exact_runs("fnn", [0.9] * 3), *exact_runs("cnn", [0.5] * 3)])
    nothing = [
        dataclasses.replace(run, metrics=[dataclasses.replace(m, low=np.nan, high=np.nan) for m in run.metrics])
        for run in runs
    ]
    said = answer(only(nothing))
    assert said.headline == "No clear difference between fnn and cnn."
    assert said.sentences[1].startswith("fnn and cnn each have the same value for all seeds, and there is no bootstrap")
    assert "One seed" not in " ".join(said.sentences)


def test_equal_differences_of_seeds_that_differ_are_a_coincidence() -> None:
    runs = exact_runs("fnn", [0.500, 0.433]) + exact_runs("cnn", [0.700, 0.633])
    (pair,) = pair_with(only(runs), "fnn")
    assert pair.verdict == "the differences happen to be the same for every seed: no test can be made"


def test_a_seed_that_one_lacks_leaves_the_others_in_pairs() -> None:
    values = {"fnn": [0.70, 0.74, 0.71, 0.73, 0.72], "cnn": [0.72, 0.76, 0.74, 0.75]}
    (pair,) = pair_with(only([run for model, found in values.items() for run in exact_runs(model, found)]), "fnn")
    expected = stats.ttest_rel(values["cnn"], values["fnn"][:4])
    assert (pair.difference.num_pairs, pair.most_seeds) == (4, 5)
    assert pair.p_value == pytest.approx(expected.pvalue)
    assert pair.difference.value == pytest.approx(0.0225)


def test_a_baseline_without_a_result_is_missed() -> None:
    runs = [*exact_runs("fnn", [0.9, np.nan, 0.92]), *exact_runs("cnn", [0.95, 0.96]), *exact_runs("rnn", [0.9, 0.8])]
    said = (
        "On digits (classification) no model is compared with the baseline fnn "
        "(1 of 3 values of accuracy on test is no finite number)."
    )
    results = make_results(runs, quickstart().datasets)
    assert said in find_problems(results, compare(results))
    section = comparisons.describe(Page(results))
    assert section is not None
    assert [each["sentences"] for each in section["comparisons"]] == [[said]]
    failed = [dataclasses.replace(run, status="failed", metrics=()) if run.model == "fnn" else run for run in runs]
    assert any("fnn (no run finished)" in line for line in find_problems(results, [only(failed)]))
    others = [run for run in runs if run.model == "cnn"]
    alone = [dataclasses.replace(run, status="failed", metrics=()) for run in others] + exact_runs("fnn", [0.9, 0.8])
    assert any("no other model has a result" in line for line in find_problems(results, [only(alone)]))


def test_models_without_a_rank_are_named_with_the_reason() -> None:
    failed = [dataclasses.replace(run, status="failed", metrics=()) for run in exact_runs("hopeless", [0.9, 0.9])]
    runs = [*exact_runs("fnn", [0.9, 0.91]), *exact_runs("cnn", [0.95, np.nan, 0.97]), *failed]
    said = answer(only(runs))
    assert said.headline == "fnn is the only model that can be ranked."
    assert said.sentences[-1] == (
        "Not ranked: cnn (1 of 3 values of accuracy on test is no finite number); hopeless (no run finished)."
    )
    assert answer(only([*runs[:2], *failed])).headline == "fnn is the only model with a result."


def many_models(number: int) -> list[RunResult]:
    """Models that are hardly apart, but the first."""
    noise = np.random.default_rng(0).normal(0, 0.01, (number, 3))
    values = {f"model-{i:02d}": (0.9 if i else 0.6) + noise[i] for i in range(number)}
    return [
        dataclasses.replace(run, model=model, id=f"{model}-{run.seed}")
        for model, found in values.items()
        for run in exact_runs("fnn", list(found))
    ]


def test_of_many_models_a_headline_names_a_few_and_like_claims_share_a_sentence() -> None:
    comparison = only(many_models(20))
    said = answer(comparison)
    assert said.headline.startswith("No clear difference between model-")
    assert said.headline.endswith(" others.")
    assert len(said.headline) < 120
    pairs = pair_with(comparison, "model-00")
    sentences = say_pairs(comparison, pairs)
    assert len(sentences) <= 4
    assert any(" are better than model-00." in sentence for sentence in sentences)
    assert say_pairs(comparison, pairs[:3]) == [pair.sentence for pair in pairs[:3]]


def test_a_thousand_pairs_take_no_time() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.01, (1000, 1000)).astype(np.float32)
    run = exact_runs("fnn", [0.8])[0]
    runs = [dataclasses.replace(run, resampled=row) for row in values]
    start = time.perf_counter()
    found = bound_differences("test", [([runs[0]], [other]) for other in runs])
    assert len(found) == 1000
    assert time.perf_counter() - start < 5
