"""What kinds say of themselves, for a report."""

from __future__ import annotations

import re
from typing import cast

from headrace.corruptions.base import CorruptionSpec
from headrace.findings.results import CorruptionKind
from headrace.registry import load_kind

EXAMPLE = re.compile(r"[:;,.]? for example `")
"""What comes before the example in the documentation of a kind."""


def describe_family(family: str) -> str:
    """What a kind of model says of itself in its first sentence, without the example."""
    text = " ".join((load_kind("models", family).__doc__ or "").split())
    return EXAMPLE.split(text, maxsplit=1)[0].split(". ")[0].rstrip(".") + "."


def describe_corruption(kind: str) -> CorruptionKind:
    """What a way to make inputs worse says of itself."""
    spec = cast(type[CorruptionSpec], load_kind("corruptions", kind))
    return CorruptionKind(" ".join((spec.__doc__ or "").split()), spec.unit, spec.needs)
