"""What the features are called that a chain of steps leaves, as far as anybody knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NAME_KEEPING = frozenset({"augment", "normalize", "quantile_scale", "smooth", "standardize"})
"""Kinds of steps behind which every feature is still what it was before."""


def name_features(attributes: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names along the last dimension of a sample; () where the data have none, or a step makes features anew.

    `attributes` are those of the shards: `feature_names`, and the names of `categories` by feature.
    """
    names = [str(name) for name in attributes.get("feature_names", ())]
    for step in steps if names else ():
        if step["kind"] == "impute":
            names += [f"{name} is missing" for name in names] if step["indicator"] else []
        elif step["kind"] == "one_hot" and step["columns"]:
            names = _name_indicators(names, attributes.get("categories", {}), step["columns"])
        elif step["kind"] not in NAME_KEEPING:
            return ()
    return tuple(names)


def _name_indicators(
    names: Sequence[str], categories: Mapping[str, Sequence[str]], columns: Iterable[Sequence[int]]
) -> list[str]:
    """As `one_hot` leaves them: `columns` are taken out, and come back behind the others as indicators."""
    taken = sorted((int(position), int(count)) for position, count in columns)
    others = [name for position, name in enumerate(names) if position not in dict(taken)]
    for position, count in taken:
        known = categories.get(names[position], ())
        others += [f"{names[position]} = {known[code] if code < len(known) else code}" for code in range(count)]
    return others
