"""What artifacts were made with, in words: which versions, on which machines, and whether all had the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.findings.results import Environment, Results

DECISIVE = ("headrace", "python", "torch", "CUDA", "numpy", "scipy", "scikit-learn")
"""What may change the bits of a result; the rest says where, how often and in which order work is done."""

Step = Mapping[str, Any]
Made = Counter[str]
"""How many artifacts of each stage."""


@dataclass(frozen=True)
class Machine:
    """Hosts that are alike, and what was made there."""

    hosts: tuple[str, ...]
    platform: str
    num_cpus: int | None
    devices: tuple[str, ...]
    """What was trained on: CPU, or the names of GPUs."""
    made: str


def describe_software(environments: Sequence[Environment], steps: Sequence[Step]) -> dict[str, str]:
    """Return the version of every package in words, with what was made under each where there are several.

    Only what is done counts: no number rests on the rest.
    """
    totals, versions = Counter(str(step["stage"]) for step in _done(steps)), count_versions(environments, steps)
    return {package: _describe_versions(found, totals) for package, found in versions.items()}


def count_versions(environments: Sequence[Environment], steps: Sequence[Step]) -> dict[str, dict[str, Made]]:
    """Return how many artifacts of each stage are done under each version of each package."""
    found: dict[str, dict[str, Made]] = {}
    for place, made in _count_made(steps).items():
        environment = environments[place]
        versions = {**environment.versions, **({"CUDA": environment.cuda} if environment.cuda else {})}
        for package, version in versions.items():
            found.setdefault(package, {}).setdefault(version, Counter()).update(made)
    return found


def find_mixed_software(results: Results) -> list[str]:
    """Return a line where what the results rest on was made under different versions of what decides results."""
    software = describe_software(results.environments, results.steps)
    versions = count_versions(results.environments, results.steps)
    mixed = [f"{package} {software[package]}" for package in DECISIVE if len(versions.get(package, ())) > 1]
    if not mixed:
        return []
    return [
        f"Not everything here was made with the same software: {'; '.join(mixed)}. "
        "Some of what differs between results may come from that."
    ]


def find_machines(results: Results) -> list[Machine]:
    """Return the machines that made what is done, hosts that are alike as one, in the order of the stages."""
    totals = Counter(str(step["stage"]) for step in _done(results.steps))
    hosts: dict[tuple[Any, ...], dict[str, None]] = {}
    devices: dict[tuple[Any, ...], dict[str, None]] = {}
    made: dict[tuple[Any, ...], Made] = {}
    gpus = _find_gpus(results)
    for place, counts in _count_made(results.steps).items():
        each = results.environments[place]
        # A host is one machine, whether it trained on its GPU or sharded on its CPU.
        key = (each.platform, each.num_cpus, gpus.get(each.host, ()))
        hosts.setdefault(key, {})[each.host] = None
        made.setdefault(key, Counter()).update(counts)
        if each.device:
            devices.setdefault(key, {})["CPU" if each.device == "cpu" else each.device] = None
    return [
        Machine(tuple(hosts[key]), key[0], key[1], tuple(devices.get(key, ())), describe_made(counts, totals))
        for key, counts in made.items()
    ]


def describe_made(made: Made, totals: Made) -> str:
    """Say which artifacts: all of a stage, or how many of them."""
    return ", ".join(
        stage if made[stage] == total else f"{made[stage]:,} of {total:,} of {stage}"
        for stage, total in totals.items()
        if made[stage]
    )


def _describe_versions(found: Mapping[str, Made], totals: Made) -> str:
    if len(found) == 1:
        return next(iter(found))
    *most, last = [f"{version} ({describe_made(made, totals)})" for version, made in found.items()]
    return f"{', '.join(most)} and {last}"


def _find_gpus(results: Results) -> dict[str, tuple[str, ...]]:
    """Return the GPUs that each host trained on."""
    found: dict[str, dict[str, None]] = {}
    for each in results.environments:
        if each.device not in ("", "cpu"):
            found.setdefault(each.host, {})[each.device] = None
    return {host: tuple(names) for host, names in found.items()}


def _count_made(steps: Iterable[Step]) -> dict[int, Made]:
    """Return for every environment how many artifacts of each stage are done."""
    found: dict[int, Made] = {}
    for step in _done(steps):
        if step.get("environment") is not None:
            found.setdefault(step["environment"], Counter())[str(step["stage"])] += 1
    return found


def _done(steps: Iterable[Step]) -> Iterable[Step]:
    return (step for step in steps if step["status"] == "done")
