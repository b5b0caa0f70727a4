"""Versions and machines in words: what is said is counted, and hosts that are alike are one."""

from __future__ import annotations

import dataclasses
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.figures.environments import count_versions, describe_software, find_machines, find_mixed_software
from headrace.findings.results import Environment, Results
from sample_results import make_step, quickstart

PLATFORM = "Linux-6.1"


def made_in(environments: list[Environment], places: list[tuple[str, int]]) -> Results:
    steps = [make_step(stage, f"{stage}-{i}", [], environment=place) for i, (stage, place) in enumerate(places)]
    return dataclasses.replace(quickstart(), environments=environments, steps=steps)


def test_hosts_that_are_alike_are_one_machine():
    versions = {"torch": "2.13.0"}
    nodes = [Environment(versions, f"gpu-{i}", PLATFORM, 64, "NVIDIA A100", "12.8") for i in (1, 2)]
    login = Environment(versions, "login", PLATFORM, 8)
    same_host = Environment(versions, "gpu-1", PLATFORM, 64)
    results = made_in([login, *nodes, same_host], [("shard", 0), ("train", 1), ("train", 2), ("evaluate", 3)])
    machines = [(one.hosts, one.num_cpus, one.devices, one.made) for one in find_machines(results)]
    assert machines == [
        (("login",), 8, (), "shard"),
        (("gpu-1", "gpu-2"), 64, ("NVIDIA A100",), "train, evaluate"),
    ]
    assert find_mixed_software(results) == []


def test_what_decides_no_bit_is_no_problem():
    versions = [{"snakemake": "9.27", "dask": "1", "torch": "2"}, {"snakemake": "9.30", "dask": "2", "torch": "2"}]
    results = made_in([Environment(each) for each in versions], [("train", 0), ("train", 1)])
    assert find_mixed_software(results) == []
    assert describe_software(results.environments, results.steps) == {
        "snakemake": "9.27 (1 of 2 of train) and 9.30 (1 of 2 of train)",
        "dask": "1 (1 of 2 of train) and 2 (1 of 2 of train)",
        "torch": "2",
    }


def test_one_line_tells_all_that_differs():
    environments = [
        Environment({"python": "3.11", "torch": "2.12"}, device="A100", cuda="12.6"),
        Environment({"python": "3.12", "torch": "2.13"}, device="A100", cuda="12.8"),
    ]
    (line,) = find_mixed_software(made_in(environments, [("train", 0), ("evaluate", 1)]))
    assert "python 3.11 (train) and 3.12 (evaluate); torch 2.12 (train) and 2.13 (evaluate); CUDA 12.6" in line


@given(st.lists(st.tuples(st.sampled_from(["shard", "train", "evaluate"]), st.integers(0, 3)), max_size=30))
def test_every_artifact_is_counted_once(places):
    environments = [Environment({"torch": str(place % 2), "numpy": "2"}) for place in range(4)]
    results = made_in(environments, places)
    found = count_versions(results.environments, results.steps)
    assert sum(found.get("numpy", {}).values(), Counter()) == Counter(stage for stage, _ in places)
    for version, made in found.get("torch", {}).items():
        assert made == Counter(stage for stage, place in places if str(place % 2) == version)
    assert bool(find_mixed_software(results)) == (len({place % 2 for _, place in places}) == 2)
