"""Turn pydantic's errors into lines that a person can act on."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.experiments.config import Name
from headrace.registry import suggest

KeyPath = tuple[str | int, ...]
NAME = TypeAdapter(Name)
NAME_RULE = "may hold letters, digits, `.`, `_` and `-`, 60 at most, the first a letter, a digit or `_`"
_KEY = re.compile(r"([A-Za-z_][\w-]*(?:\[\d+\]|\.[A-Za-z_][\w-]*)*): ")
_WORDS = {
    "tuple_type": "should be a list, as in [a, b]",
    "mapping_type": "should be a mapping of keys",
    "dict_type": "should be a mapping of keys",
    "model_type": "should be a mapping of keys",
    "model_attributes_type": "should be a mapping of keys",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "string_type": "should be text",
    "bool_type": "should be true or false",
}
"""What pydantic says in Python's words, in YAML's."""
T = TypeVar("T")


class Problems:
    """What is wrong with an experiment, collected so that all of it is told at once."""

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        self._files = files
        self._lines: dict[str, None] = {}

    def add(self, path: KeyPath, message: str) -> None:
        """Note a problem at a key; a message that itself begins with the rest of the key (`rank: ...`) is joined."""
        text = " ".join(message.split())
        rest = _KEY.match(text)
        if rest:
            path = (*path, *_parts(rest[1]))
            text = text[rest.end() :]
        key = spell(path)
        self._lines[f"{self._where(path)}{key}: {text}" if key else f"{self._where(path)}{text}"] = None

    def raise_any(self) -> None:
        """Raise InputError if there is any problem."""
        if self._lines:
            raise InputError(*self._lines)

    def _where(self, path: KeyPath) -> str:
        for file in self._files:
            line = yaml_files.line_of(file, path)
            if line is not None:
                return f"{file}:{line}: "
        return f"{self._files[0]}: " if self._files else ""


def parse(
    model: type[BaseModel], value: Any, path: KeyPath, problems: Problems, allowed: Iterable[str] | None = None
) -> BaseModel | None:
    """Validate, or note every error under `path`. `allowed` are the keys to name when one is unknown."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unknown = [str(item["loc"][-1]) for item in details if item["type"] == "extra_forbidden"]
        for item in details:
            # A required key that was misspelt is told once, as the unknown key that it became.
            if item["type"] == "missing" and difflib.get_close_matches(str(item["loc"][-1]), unknown, 1):
                continue
            # For a key that is wrong itself, pydantic gives the key and a mark.
            location = (*path, *(item["loc"][:-2] if item["loc"] and item["loc"][-1] == "[key]" else item["loc"]))
            nested = _model_at(model, item["loc"][:-1])
            problems.add(location, _sentence(item, allowed if nested is model and allowed else nested.model_fields))
        return None


def parse_mapping(
    value: Mapping[str, Any],
    path: KeyPath,
    problems: Problems,
    parse_item: Callable[[Any, KeyPath, Problems], T | None],
) -> dict[str, T]:
    """Validate a mapping of names to things."""
    items = {}
    for name, item in value.items():
        try:
            NAME.validate_python(name, strict=True)
        except ValidationError:
            problems.add(
                (*path, name),
                f"a name {NAME_RULE}",
            )
            continue
        parsed = parse_item(item, (*path, name), problems)
        if parsed is not None:
            items[name] = parsed
    return items


def spell(path: KeyPath) -> str:
    """`("models", 0, "hidden")` -> `models[0].hidden`"""
    text = ""
    for part in path:
        word = yaml_files.printable(str(part))
        text += f"[{part}]" if isinstance(part, int) else f".{word}" if text else word
    return text


def _parts(key: str) -> KeyPath:
    """`features.scaled[1].rank` -> `("features", "scaled", 1, "rank")`"""
    return tuple(int(part[1:-1]) if part[0] == "[" else part for part in re.findall(r"\[\d+\]|[^.\[\]]+", key))


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    """The part of a model that a key lies in."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        nested = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)]
        model = nested[0] if nested else model
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _sentence(details: ErrorDetails, allowed: Iterable[str]) -> str:
    kind, message = details["type"], details["msg"]
    if kind == "extra_forbidden":
        word, names = str(details["loc"][-1]), list(dict.fromkeys(allowed))
        return f"unknown key; allowed: {', '.join(names)}{suggest(word, names)}"
    if kind == "missing":
        return "is required and missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if details["loc"] and details["loc"][-1] == "[key]":
        return f"a key must be a word, not {yaml_files.printable(str(details['input']))}"
    # As YAML's flow style would have it, not as Python does.
    try:
        shown = yaml_files.printable(json.dumps(details["input"], default=str, ensure_ascii=False))
    except (TypeError, ValueError):
        shown = yaml_files.printable(repr(details["input"]))
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    if kind == "string_pattern_mismatch":
        return f"{NAME_RULE}, not {shown}"
    return f"{_WORDS.get(kind, message.replace('Input should', 'should'))}, not {shown}"
