"""The tables of results, and what is said of their chart."""

import dataclasses

from headrace.sections import results as section
from headrace.sections.base import Page
from sample_results import exact_runs, make_results


def test_a_candidate_without_a_result_is_not_said_to_be_left_out_of_the_chart() -> None:
    failed = [dataclasses.replace(run, status="failed", metrics=()) for run in exact_runs("rnn", [0.9])]
    runs = [*exact_runs("fnn", [0.9, 0.8]), *exact_runs("cnn", [0.7, 0.6]), *failed]
    found = section.describe(Page(make_results(runs, [])))
    assert found is not None
    (comparison,) = found["comparisons"]
    assert (comparison["num_shown"], comparison["num_measured"]) == (2, 2)
