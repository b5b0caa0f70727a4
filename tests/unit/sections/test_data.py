"""The data as the report tells of them: who wrote their shards, and the digest of every one."""

import dataclasses

import pytest

from headrace.reporting.report import render
from headrace.sections import data
from headrace.sections.base import Page
from sample_results import make_dataset, make_results, quickstart_runs


def results_with(**changes):
    dataset = make_dataset("digits", "mnist5k", ("classification", "density"), 5000)
    return make_results(quickstart_runs(), [dataclasses.replace(dataset, **changes)])


def section_of(results):
    page = render(results)
    section = page[page.index('<section aria-labelledby="data">') :]
    return section[: section.index("</section>")]


def digests(count):
    return {f"{array}/{place}": f"{place:064x}" for place in range(count) for array in ("inputs", "target")}


def test_every_shard_has_its_digest():
    section = section_of(results_with(shard_digests=digests(3)))
    for place in range(3):
        assert section.count(f"<code>{place:064x}</code>") == 2
    assert "provenance.json" not in section


def test_of_many_shards_the_first_are_shown_and_where_the_others_are_is_said():
    section = section_of(results_with(shard_digests=digests(300)))
    assert section.count('<tr><th scope="row">inputs</th>') == data.MAX_SHARDS / 2
    assert f"the first {data.MAX_SHARDS} of 600;" in section
    assert "provenance.json" in section


def test_without_shards_there_is_no_table():
    assert "digests" not in section_of(results_with())


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({}, ""),
        ({"7": 3}, "written by worker 7"),
        ({"0": 4, "1": 5}, "written by 2 workers: 4 by worker 0, 5 by worker 1"),
        ({str(i): 2 + i % 2 for i in range(20)}, "written by 20 workers, 2 to 3 by each"),
        ({str(i): 2 for i in range(20)}, "written by 20 workers, 2 by each"),
    ],
)
def test_workers_are_named_while_they_are_few(tasks, words):
    said = data.describe(Page(results_with(tasks_by_worker=tasks)))
    assert said["datasets"][0]["workers"] == words
