"""Turn pydantic's errors into lines that a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from headrace import yaml_files
from headrace.config import Name
from headrace.errors import InputError
from headrace.registry import suggest

KeyPath = tuple[str | int, ...]
NAME = TypeAdapter(Name)
T = TypeVar("T")


class Problems:
    """What is wrong with an experiment, collected so that all of it is told at once."""

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        self._files = files
        self._lines: dict[str, None] = {}

    def add(self, path: KeyPath, message: str, *, joined: bool = False) -> None:
        """Note a problem at a key. With `joined`, the message itself starts with the rest of the key."""
        key = spell(path)
        text = " ".join(message.split())
        glue = "." if joined else ": "
        self._lines[f"{self._where(path)}{key}{glue}{text}" if key else f"{self._where(path)}{text}"] = None

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
        for details in error.errors(include_url=False):
            location = (*path, *(part for part in details["loc"] if part != "[key]"))
            nested = _model_at(model, details["loc"][:-1])
            problems.add(location, _sentence(details, allowed if nested is model and allowed else nested.model_fields))
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
            problems.add((*path, name), "a name may hold letters, digits, `.`, `_` and `-`, 60 at most")
            continue
        parsed = parse_item(item, (*path, name), problems)
        if parsed is not None:
            items[name] = parsed
    return items


def spell(path: KeyPath) -> str:
    """`("models", 0, "hidden")` -> `models[0].hidden`"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


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
        word = str(details["loc"][-1])
        names = list(allowed)
        return f"unknown key; allowed: {', '.join(names)}{suggest(word, names)}"
    if kind == "missing":
        return "is required and missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"may hold letters, digits, `.`, `_` and `-`, not {details['input']!r}"
    shown = repr(details["input"])
    return f"{message.replace('Input should', 'should')}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"
