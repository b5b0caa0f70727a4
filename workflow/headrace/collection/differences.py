"""Two finished experiments held against each other: what was asked, what it was computed with, what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.collection.finished import Finished, Line, main_metric
from headrace.figures.pairs import judge
from headrace.judging.significance import Difference, correct, difference

ABSENT = "-"
OTHER_DATA = " (on other data)"
"""What a verdict ends with where the samples, or their division into splits, are not the same."""


@dataclass(frozen=True)
class Change:
    """Something that is not the same in both."""

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Outcome:
    """One line of the tables of results that both have."""

    line: Line
    metric: str
    first: float
    """Mean over seeds on the test split."""
    second: float
    num_seeds: tuple[int, int]
    difference: Difference
    p_value: float
    """Corrected for the number of lines that are compared."""
    verdict: str


@dataclass(frozen=True)
class Differences:
    """All that two experiments differ in."""

    config: Sequence[Change]
    data: Sequence[Change]
    code: Sequence[Change]
    environment: Sequence[Change]
    """Of the processes that wrote the reports."""
    knows_code: bool
    """Whether both say what code made them."""
    outcomes: Sequence[Outcome]
    only_first: Sequence[Line]
    only_second: Sequence[Line]


def find_differences(first: Finished, second: Finished) -> Differences:
    """Hold the second against the first."""
    shared = [line for line in first.values if line in second.values]
    return Differences(
        config=list(_changes(dict(_flatten(first.settings)), dict(_flatten(second.settings)))),
        data=list(_changes(_digests(first), _digests(second))),
        code=_find_code(first, second),
        environment=list(_changes(first.versions, second.versions)),
        knows_code=_knows_code(first) and _knows_code(second),
        outcomes=_judge_all(first, second, shared),
        only_first=[line for line in first.values if line not in second.values],
        only_second=[line for line in second.values if line not in first.values],
    )


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    """What stands in one alone, or differs."""
    for name in dict.fromkeys([*first, *second]):
        one, two = (_write(side[name]) if name in side else ABSENT for side in (first, second))
        if one != two:
            yield Change(name, one, two)


def _write(value: Any) -> str:
    """A setting as JSON, without the quotes of a text where nothing is lost by that."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    bare = text[1:-1]
    return bare if text.startswith('"') and bare.isprintable() and "\\" not in bare else text


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their path: `models.fnn.hidden`. Members of a list go by their names where they all have one."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{path}.{key}" if path else str(key))
        return
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        names = [str(item.get("name", place)) for place, item in enumerate(value)]
        if len(set(names)) < len(names):
            names = [str(place) for place in range(len(value))]
        for name, item in zip(names, value, strict=True):
            yield from _flatten(item, f"{path}.{name}")
        return
    yield path, value


def _digests(finished: Finished) -> dict[str, str]:
    """What each dataset and each of its features hold."""
    data = [entry for entry in finished.artifacts if entry["label"][0] in ("shard", "preprocess")]
    return {" ".join(map(str, entry["label"])): entry["digest"][:12] or entry["status"] for entry in data}


def _knows_code(finished: Finished) -> bool:
    return any(entry.get("code") for entry in finished.artifacts)


def _find_code(first: Finished, second: Finished) -> list[Change]:
    """Stages whose code differs, by what they made in both, where both results say what code that was."""
    codes: list[dict[str, str]] = []
    for finished in (first, second):
        codes.append({json.dumps(entry["label"]): str(entry.get("code") or "") for entry in finished.artifacts})
    found: dict[str, Change] = {}
    for label, one in codes[0].items():
        two = codes[1].get(label, "")
        parts = json.loads(label)
        what = f"{parts[0]} {parts[2] if parts[0] in ('train', 'evaluate') else parts[1]}"
        if one and two and one != two:
            found.setdefault(what, Change(what, one[:12], two[:12]))
    return list(found.values())


def _shard(line: Line) -> str:
    """How `_digests` calls the data of a line."""
    return f"shard {line.dataset}"


def _judge_all(first: Finished, second: Finished, lines: Sequence[Line]) -> list[Outcome]:
    pairs = [(first.of(line, "test"), second.of(line, "test")) for line in lines]
    found = [difference(one, two) for one, two in pairs]
    corrected = correct([each.p_value for each in found])
    digests = [_digests(finished) for finished in (first, second)]
    return [
        Outcome(
            line=line,
            metric=main_metric(line.task),
            first=_mean(one),
            second=_mean(two),
            num_seeds=(len(one), len(two)),
            difference=each,
            p_value=p_value,
            verdict=judge(main_metric(line.task), one, two, each, p_value)
            + ("" if digests[0].get(_shard(line)) == digests[1].get(_shard(line)) else OTHER_DATA),
        )
        for line, (one, two), each, p_value in zip(lines, pairs, found, corrected, strict=True)
    ]


def _mean(values: Mapping[int, float]) -> float:
    return math.fsum(values.values()) / len(values) if values else math.nan
