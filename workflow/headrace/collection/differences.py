"""Two finished experiments held against each other: what was asked, what it was computed with, what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """As the first calls it."""
    other: Line
    """As the second does: with a parameter in its name that only that one sweeps, say."""
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
    """Of what made the artifacts, or of the reports where one of the two does not know."""
    is_of_reports: bool
    """Whether `environment` is that of the reports alone."""
    knows_code: bool
    """Whether both say what code made them."""
    shared_code: float
    """The share of what either made that both made, and say of it with what code."""
    outcomes: Sequence[Outcome]
    only_first: Sequence[Line]
    only_second: Sequence[Line]


def find_differences(first: Finished, second: Finished) -> Differences:
    """Hold the second against the first."""
    shared = match(first, second)
    matched = set(shared.values())
    codes = _codes(first), _codes(second)
    return Differences(
        config=list(_changes(dict(_flatten(first.settings)), dict(_flatten(second.settings)))),
        data=list(_changes(_digests(first), _digests(second))),
        code=_find_code(*codes),
        environment=list(_changes(first.environment, second.environment)),
        is_of_reports=not (first.knows_artifacts and second.knows_artifacts),
        knows_code=bool(codes[0] and codes[1]),
        shared_code=len(codes[0].keys() & codes[1].keys()) / max(1, len(codes[0].keys() | codes[1].keys())),
        outcomes=_judge_all(first, second, shared),
        only_first=[line for line in first.values if line not in shared],
        only_second=[line for line in second.values if line not in matched],
    )


def match(first: Finished, second: Finished) -> dict[Line, Line]:
    """Return for lines of the first what they are in the second.

    Lines of one model meet where all parameters that either experiment sweeps have the same values, so that one that is
    swept and one that is fixed find each other. What is left meets under another name where it is the same in all
    settings. Where more than one line might be meant, none is.
    """
    found: dict[Line, Line] = {}
    swept: dict[str, set[str]] = {}
    for line in (*first.values, *second.values):
        swept.setdefault(line.model, set()).update(line.swept)

    def by_point(side: Finished, line: Line) -> str:
        settings = side.resolved(line)
        point = {name: settings.get(name) for name in swept[line.model]}
        return _key(line.dataset, line.task, line.features, line.model, point)

    def by_settings(side: Finished, line: Line) -> str:
        return _key(line.dataset, line.task, line.features, line.family, side.resolved(line))

    for key in (by_point, by_settings):
        sides = [
            _unique((key(side, line), line) for line in side.values if line not in taken)
            for side, taken in ((first, found.keys()), (second, set(found.values())))
        ]
        found |= {line: sides[1][name] for name, line in sides[0].items() if name in sides[1]}
    return {line: found[line] for line in first.values if line in found}


def _key(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)


def _unique(pairs: Iterable[tuple[str, Line]]) -> dict[str, Line]:
    """What stands under a key of its own."""
    found: dict[str, list[Line]] = {}
    for key, line in pairs:
        found.setdefault(key, []).append(line)
    return {key: lines[0] for key, lines in found.items() if len(lines) == 1}


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


def _codes(finished: Finished) -> dict[str, set[str]]:
    """With what code each stage made what it made, by names that two experiments may share: `train cnn`."""
    found: dict[str, set[str]] = {}
    for entry in finished.artifacts:
        if code := entry.get("code"):
            stage, *label = entry["label"]
            found.setdefault(f"{stage} {label[1 if stage in ('train', 'evaluate') else 0]}", set()).add(str(code))
    return found


def _find_code(*codes: Mapping[str, set[str]]) -> list[Change]:
    """What was made with other code, as far as both say what code that was."""
    written = [
        (what, *(", ".join(sorted(code[:12] for code in side[what])) for side in codes))
        for what in codes[0]
        if what in codes[1] and codes[0][what] != codes[1][what]
    ]
    return [Change(*each) for each in written]


def _shard(line: Line) -> str:
    """How `_digests` calls the data of a line."""
    return f"shard {line.dataset}"


def _judge_all(first: Finished, second: Finished, lines: Mapping[Line, Line]) -> list[Outcome]:
    pairs = [(first.of(line, "test"), second.of(other, "test")) for line, other in lines.items()]
    found = [difference(one, two) for one, two in pairs]
    corrected = correct([each.p_value for each in found])
    digests = [_digests(finished) for finished in (first, second)]
    return [
        Outcome(
            line=line,
            other=other,
            metric=main_metric(line.task),
            first=_mean(one),
            second=_mean(two),
            num_seeds=(len(one), len(two)),
            difference=each,
            p_value=p_value,
            verdict=judge(main_metric(line.task), one, two, each, p_value)
            + ("" if digests[0].get(_shard(line)) == digests[1].get(_shard(line)) else OTHER_DATA),
        )
        for (line, other), (one, two), each, p_value in zip(lines.items(), pairs, found, corrected, strict=True)
    ]


def _mean(values: Mapping[int, float]) -> float:
    return math.fsum(values.values()) / len(values) if values else math.nan
