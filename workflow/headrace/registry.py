"""Find a kind by its file name: `models/cnn.py` is `kind: cnn`."""

from __future__ import annotations

import difflib
import functools
import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from headrace.errors import InputError
from headrace.experiments.config import Kind

GROUPS = ("datasets", "preprocessing", "models", "corruptions", "clusters")
PACKAGE = Path(__file__).parent


@functools.cache
def list_kinds(group: str) -> tuple[str, ...]:
    """The names of all kinds of a group, without importing any of them."""
    names = (path.stem for path in (PACKAGE / group).glob("*.py"))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def kind_path(group: str, kind: str) -> Path:
    """The file that defines a kind."""
    return PACKAGE / group / f"{kind}.py"


@functools.cache
def load_kind(group: str, kind: str) -> type[Kind]:
    """The `Spec` of a kind. Raises InputError for a kind that no file defines."""
    kinds = list_kinds(group)
    if kind not in kinds:
        raise InputError(f"unknown kind {kind!r}; allowed: {', '.join(kinds)}{suggest(kind, kinds)}")
    module = importlib.import_module(f"headrace.{group}.{kind}")
    spec = getattr(module, "Spec", None)
    if not (isinstance(spec, type) and issubclass(spec, Kind)):
        raise InputError(f"{kind_path(group, kind)}: needs a class Spec that derives from the Spec in {group}/base.py")
    return spec


K = TypeVar("K", bound=Kind)


def restore(group: str, parameters: Mapping[str, Any], base: type[K]) -> K:
    """The `Spec` of a kind with parameters that were read from JSON."""
    spec = load_kind(group, parameters["kind"]).model_validate_json(json.dumps(parameters))
    assert isinstance(spec, base)
    return spec


def suggest(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean ...?)` where one of the allowed words is close, else nothing."""
    close = difflib.get_close_matches(word, list(allowed), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""
