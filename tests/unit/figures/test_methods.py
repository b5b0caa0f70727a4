"""The paragraphs for a paper: what they say is so, and what was not used is not spoken of."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from headrace.figures import methods
from headrace.figures.citations import FILE, read_citations
from headrace.figures.methods import Methods
from headrace.findings.results import Results
from headrace.judging.group_metrics import score_classes_by_group
from headrace.registry import list_kinds, load_kind
from headrace.sections import methods as section
from headrace.sections.base import Page
from sample_explanations import explained_quickstart
from sample_results import (
    HOSTILE,
    broken_quickstart,
    corrupted_quickstart,
    forecasts,
    hostile,
    make_dataset,
    make_references,
    make_results,
    make_run,
    oddities,
    quickstart,
    quickstart_runs,
    three_datasets,
    two_datasets,
    unconverged,
    without_resamples,
)


def methods_of(results: Results) -> Methods:
    found = section.describe(Page(results))
    assert found is not None
    return found["methods"]


def text_of(results: Results) -> str:
    return "\n".join(methods_of(results).paragraphs)


def keys_of(results: Results) -> set[str]:
    return {citation.key for citation in methods_of(results).citations}


def trained_with(**parameters: Any) -> Results:
    """One model that was trained in a way of its own."""
    run = make_run("fnn", 0, {"accuracy": 0.9})
    changed = {**run.parameters, "dropout": 0.0, **parameters}
    return make_results([dataclasses.replace(run, parameters=changed)], quickstart().datasets)


def test_the_quickstart_is_told_as_it_was():
    text = text_of(dataclasses.replace(quickstart(), evaluation={"bootstrap": 1000, "confidence": 0.95}))
    for fact in (
        "Dataset digits (kind mnist5k, licence CC-BY-SA-3.0, https://doi.org/10.1109/5.726791) has 5,000 samples, "
        "divided into 3,500 for train, 750 for validation and 750 for test (by=stratified, seed=0).",
        "Inputs of cnn, fnn and rnn went through standardize (per=all); what a step learns comes from the training "
        "split alone.",
        "Inputs of vae were the data as they are.",
        "rnn is of kind rnn (Cho et al. 2014) (cell=gru, hidden=64).",
        "fnn is of kind fnn: fully connected layers with ReLU and dropout between them (hidden=[256, 128], "
        "dropout=0.1), with dropout (Srivastava et al. 2014); of 2 settings",
        "of 2 settings learning_rate=0.001 was chosen, by the mean accuracy over seeds on the validation split.",
        "All models were trained with adam (Kingma and Ba 2015) at a learning rate of 0.001 and batches of 128 "
        "samples, for 10 epochs, once for each of the seeds 0, 1 and 2.",
        "Intervals of single runs are 95 % percentile intervals over 1,000 bootstrap resamples",
        "Differences from the baseline fnn were tested by Student's t test in pairs of the same seed, with p values "
        "corrected by Holm's method (Holm 1979)",
        "Models were trained on CPU.",
        "Snakemake 9.27.1 (Mölder et al. 2021)",
        "PyTorch 2.13.0 (Paszke et al. 2019)",
    ):
        assert fact in text
    assert "did not finish" not in text


def test_a_regression_has_no_word_of_a_classification():
    results = two_datasets()
    only = [run for run in results.runs if run.task == "regression"]
    text = text_of(dataclasses.replace(results, runs=only))
    assert "Dataset diabetes" in text
    assert "310 for train, 66 for validation and 66 for test" in text
    assert "On diabetes (regression) rmse, mae and r2 were measured on the test split." in text
    for word in ("wine", "accuracy", "ece", "classification", "LeCun", "settings", "percentile"):
        assert word not in text


def test_only_what_was_used_is_cited():
    plain = {"student", "seeds", "snakemake", "pytorch", "adam", "holm", "paired", "dropout"}
    assert keys_of(two_datasets()) == plain
    assert keys_of(quickstart()) == {*plain, "convolutions", "gru", "vae", "ece"}


def test_how_predictions_were_explained_is_said_and_cited():
    text = text_of(explained_quickstart())
    assert (
        "What predictions rest on was found for 4 samples of the test split by integrated gradients (Sundararajan et "
        "al. 2017), at 64 steps from a baseline of 0, and by occlusion (Zeiler and Fergus 2014). Both were held "
        "against the same attributions with random weights (Adebayo et al. 2018) by Spearman's rank correlation "
        "(Spearman 1904)."
    ) in text
    sources = {"integrated_gradients", "occlusion", "sanity", "spearman"}
    assert keys_of(explained_quickstart()) - keys_of(quickstart()) == sources


@pytest.mark.parametrize(
    ("parameters", "words", "cited"),
    [
        ({"optimizer": "sgd"}, "trained with sgd (Polyak 1964)", "momentum"),
        ({"optimizer": "adamw", "weight_decay": 0.01}, "a weight decay of 0.01", "adamw"),
        ({"schedule": "cosine"}, "a cosine schedule (Loshchilov and Hutter 2017)", "cosine"),
        ({"gradient_clip": 1.0}, "gradient_clip=1.0 (Pascanu et al. 2013)", "clipping"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.1 (Szegedy et al. 2016)", "smoothing"),
        ({"average": 0.99}, "average=0.99 (Polyak and Juditsky 1992)", "averaging"),
        ({"world_size": 2}, "world_size=2 (Li et al. 2020)", "distributed"),
        ({"epochs": 1}, "for 1 epoch, once, with seed 0", "adam"),
    ],
)
def test_how_models_were_trained_is_said_and_cited(parameters, words, cited):
    results = trained_with(**parameters)
    assert words in text_of(results)
    optimizer = {"sgd": "momentum"}.get(parameters.get("optimizer"), parameters.get("optimizer", "adam"))
    assert keys_of(results) == {optimizer, cited, "snakemake", "pytorch"}


def test_models_that_were_trained_differently_are_told_apart():
    runs = [make_run("fnn", seed, {"accuracy": 0.9}) for seed in range(2)]
    cnn = make_run("cnn", 0, {"accuracy": 0.8})
    runs.append(dataclasses.replace(cnn, parameters={**cnn.parameters, "epochs": 3}))
    text = text_of(make_results(runs, quickstart().datasets))
    assert re.search(
        r"fnn was trained with adam[^.]* of 0.001[^.]*for 10 epochs, once for each of the seeds 0 and 1", text
    )
    assert re.search(r"cnn was trained with adam[^.]* of 0.001[^.]*for 3 epochs, once, with seed 0", text)
    assert "Welch's t test" not in text


def test_seeds_that_differ_are_tested_by_welch():
    runs = [make_run("fnn", seed, {"accuracy": 0.9}) for seed in range(3)]
    runs += [make_run("cnn", seed, {"accuracy": 0.8}) for seed in range(1, 5)]
    results = make_results(runs, quickstart().datasets)
    assert "tested by Welch's t test (Welch 1947), with p values" in text_of(results)
    assert "welch" in keys_of(results)


def test_what_did_not_finish_is_said():
    assert "Of 15 runs 2 did not finish and are left out." in text_of(broken_quickstart())


def test_one_that_did_not_finish_is_one():
    runs = quickstart_runs()
    runs[4] = dataclasses.replace(runs[4], status="failed", metrics=(), confusion=None)
    assert "Of 15 runs 1 did not finish and is left out." in text_of(dataclasses.replace(quickstart(), runs=runs))


def test_what_needs_no_training_is_told_where_it_was_judged():
    text = text_of(dataclasses.replace(quickstart(), references=make_references()))
    assert (
        "What needs no training (most frequent class and nearest neighbour) was judged on the same samples as the "
        "models." in text
    )
    assert "needs no training" not in text_of(quickstart())


def test_inputs_that_were_made_worse_are_told_with_their_source():
    text = text_of(corrupted_quickstart())
    assert (
        "On digits (classification) models were judged on test inputs made worse too, behind all preprocessing, by "
        "noise of strength 0.1 and 0.5 (standard deviations of each input) and blur of strength 0.1 and 0.5 (standard "
        "deviation in pixels) (Hendrycks and Dietterich 2019)." in text
    )
    assert text.count("made worse") == 1
    assert "corruptions" in keys_of(corrupted_quickstart())
    assert "made worse" not in text_of(quickstart())


def test_groups_are_told_where_a_dataset_names_some():
    samples = 90
    target, group = np.arange(samples) % 2, np.arange(samples) % 3
    scores = score_classes_by_group("site", ("a", "b", "c"), group, target, target, 2)
    run = dataclasses.replace(make_run("fnn", 0, {"accuracy": 0.9}), groups=scores)
    results = make_results([run], quickstart().datasets)
    assert (
        "On digits (classification) scores were told apart by site, of which there are 3, and the largest difference "
        "between two groups is reported as accuracy gap, demographic parity difference and equalized odds difference "
        "(Hardt et al. 2016)." in text_of(results)
    )
    assert "odds" in keys_of(results)


def test_the_probability_of_improvement_is_told_where_there_is_a_baseline():
    assert "The probability of improvement is the share of pairs" in text_of(quickstart())
    assert "probability of improvement" not in text_of(dataclasses.replace(quickstart(), baseline=None))


def test_software_is_that_of_the_artifacts_and_not_of_the_report():
    results = dataclasses.replace(quickstart(), versions={"torch": "99.9"})
    assert "PyTorch 2.13.0 (Paszke et al. 2019)" in text_of(results)
    assert "99.9" not in text_of(results)
    assert "Software" not in text_of(dataclasses.replace(results, environments=(), steps=()))


def test_models_over_several_datasets_are_told():
    text = text_of(three_datasets())
    assert (
        "are compared by their mean rank and by the interquartile mean of their scores (Agarwal et al. 2021)." in text
    )
    assert "mean rank" not in text_of(quickstart())


def test_without_a_result_nothing_is_told():
    assert section.describe(Page(make_results([], []))) is None
    failed = [dataclasses.replace(run, status="failed", metrics=()) for run in quickstart().runs]
    results = make_results(failed, quickstart().datasets)
    assert section.describe(Page(results)) is None


def test_steps_of_a_graph_are_not_said_to_see_the_training_split_alone():
    run = make_run("fnn", 0, {"accuracy": 0.9}, features="nodes")
    steps = [{"kind": "propagate", "steps": 2}, {"kind": "standardize"}]
    results = make_results(
        [run], [make_dataset("digits", "mnist5k", ("classification",), 5000)], features={"nodes": steps}
    )
    assert (
        "went through propagate (steps=2) (Wu et al. 2019) then standardize; what a step learns comes from the "
        "training split alone, while a step on a graph sees all nodes and no label." in text_of(results)
    )


def test_the_steps_named_here_are_the_kinds_that_there_are():
    kinds = list_kinds("preprocessing")
    assert {kind for kind in kinds if "graph" in load_kind("preprocessing", kind).needs} == methods.ON_A_GRAPH
    assert set(kinds) >= methods.STEPS
    assert read_citations().keys() >= methods.STEPS


def test_every_source_is_an_entry_of_its_own():
    text = FILE.read_text()
    citations = read_citations()
    assert len(citations) == text.count("\n@") + 1 == len({citation.words for citation in citations.values()})
    for key, citation in citations.items():
        assert re.match(rf"@(article|book|inproceedings){{{key},\n", citation.bibtex)
        assert citation.bibtex.count("{") == citation.bibtex.count("}")
        assert "cited" not in citation.bibtex
        year, *_ = re.findall(r"year = {(\d{4})}", citation.bibtex)
        assert citation.words.endswith(year)
        assert ("doi = {10." in citation.bibtex) + ("eprint" in citation.bibtex) <= 1


@pytest.mark.parametrize("make", [quickstart, two_datasets, broken_quickstart, oddities, hostile, unconverged])
def test_no_sentence_is_broken(make):
    text = text_of(make())
    for broken in ("()", " ,", " .", "..", "None", "{", "nan "):
        if make not in (hostile, oddities):
            assert broken not in text
    assert all(paragraph.endswith(".") for paragraph in text.split("\n"))
    assert text == text_of(make())
    if make is hostile:
        assert HOSTILE in text


def test_nothing_is_said_of_several_datasets_where_nothing_was_summed_up():
    results = three_datasets()
    alone = dataclasses.replace(results, runs=[run for run in results.runs if run.model == "fnn"])
    assert "mean rank" in text_of(results)
    assert "mean rank" not in text_of(alone)


def test_a_test_by_random_flips_is_not_called_exact():
    seeds = range(20)
    runs = [
        make_run(family, seed, {"accuracy": base + 0.001 * (seed * 7 % 5)})
        for family, base in (("fnn", 0.9), ("cnn", 0.92))
        for seed in seeds
    ]
    results = dataclasses.replace(make_results(runs, quickstart().datasets), baseline="fnn")
    assert "A test by 19,999 random flips of signs" in text_of(results)
    assert "flips" in keys_of(results)
    few = dataclasses.replace(results, runs=[run for run in runs if run.seed < 6])
    assert "An exact test by flipped signs" in text_of(few)


def test_a_claim_over_the_samples_and_basic_intervals_are_told_where_there_are_any():
    results = dataclasses.replace(quickstart(), evaluation={"bootstrap": 1000, "confidence": 0.95})
    text = text_of(results)
    assert "resamples of the samples of a split (Efron 1979), and basic ones of ece and macro_f1." in text
    assert (
        "A difference is claimed where it also keeps its sign over the test samples, by the 95 % interval of a paired "
        "bootstrap (Koehn 2004) of the means over the seeds." in text
    )
    without = dataclasses.replace(results, runs=without_resamples(results.runs))
    assert "paired bootstrap" not in text_of(without)
    assert "basic" not in text_of(two_datasets())


def many_models(rates: list[float], **changes: Any) -> Results:
    """One model for every learning rate."""
    runs = [make_run("fnn", 0, {"accuracy": 0.9}, model=f"m{i}", id=f"m{i}") for i in range(len(rates))]
    return make_results(
        [
            dataclasses.replace(run, parameters={**run.parameters, "learning_rate": rate, **changes})
            for run, rate in zip(runs, rates, strict=True)
        ],
        quickstart().datasets,
    )


def test_models_of_which_there_is_the_same_to_say_share_a_sentence():
    text = text_of(many_models([0.001, 0.002, 0.001]))
    assert "On digits (classification), m0, m1 and m2 are of kind fnn: fully connected layers" in text
    assert (
        "All models were trained with adam (Kingma and Ba 2015) at learning rates of 0.001 (m0 and m2) and 0.002 (m1)"
        in text
    )
    text = text_of(many_models([0.001 * (i + 1) for i in range(60)]))
    assert text.count("of kind fnn") == 1
    assert "m0, m1, m2, m3, m4, m5, m6, m7 and 52 others are of kind fnn" in text
    assert "at 60 learning rates from 0.001 to 0.06 and batches of 128 samples" in text
    assert len(text) < 2500


def test_units_of_forecasts_are_told_where_there_are_some():
    text = text_of(forecasts())
    assert "counts errors in standard deviations of each predicted column over training" in text
    assert "smaller than that of repeating the last value (Hyndman and Athanasopoulos 2021)." in text
    assert "repeating the last value" not in text_of(forecasts(["skill"]))
    assert "standard deviations of each predicted" not in text_of(two_datasets())
