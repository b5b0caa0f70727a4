"""The typed `evaluation` of an experiment file, with a key for every kind of corruption that there is."""

from __future__ import annotations

from functools import cache
from typing import Any, Self, cast

from pydantic import Field, create_model, model_validator

from headrace.experiments.config import Corruption, Evaluation
from headrace.registry import list_kinds, load_kind


class _Some(Corruption):
    @model_validator(mode="after")
    def _names_a_kind(self) -> Self:
        if not self.strengths:
            raise ValueError(f"is empty; allowed: {', '.join(type(self).model_fields)}")
        return self


@cache
def corruption_type() -> type[Corruption]:
    """`Corruption` with every kind as a key."""
    fields: dict[str, Any] = {}
    for kind in list_kinds("corruptions"):
        spec = load_kind("corruptions", kind)
        strengths = spec.model_fields["strengths"]
        said = f"{' '.join((spec.__doc__ or '').split())} {strengths.description}"
        fields[kind] = (strengths.rebuild_annotation() | None, Field(default=None, description=said))
    found: Any = create_model("Corruption", __base__=_Some, __doc__=Corruption.__doc__, **fields)
    return cast(type[Corruption], found)


@cache
def evaluation_type() -> type[Evaluation]:
    """`Evaluation` with every kind of corruption."""
    said = Evaluation.model_fields["corruption"].description
    field: Any = (corruption_type() | None, Field(default=None, description=said))
    found: Any = create_model("Evaluation", __base__=Evaluation, __doc__=Evaluation.__doc__, corruption=field)
    return cast(type[Evaluation], found)
