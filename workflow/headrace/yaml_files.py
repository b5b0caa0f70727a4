"""Read YAML strictly: no key twice, no classes, `1e-3` is a number, and every key knows its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import InputError

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 4 * 2**20
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def read(path: Path) -> dict[str, Any]:
    """The mapping that a file holds. Raises InputError for what is not a file, not YAML or not a mapping."""
    node = compose(path)
    data = Loader("").construct_document(node) if node is not None else None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold a mapping of keys, as in `name: my-experiment`")
    return data


def compose(path: Path) -> yaml.Node | None:
    """The syntax tree of a file, in which no mapping has a key twice."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than an experiment file may be ({MAX_BYTES // 2**20} MiB)")
        node: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: is not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    _refuse_twins_and_aliases(node, path, "")
    return node


def _refuse_twins_and_aliases(node: yaml.Node | None, path: Path, prefix: str, depth: int = 0) -> None:
    if depth > 50:
        raise InputError(f"{path}: is nested too deeply at {prefix}")
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _refuse_twins_and_aliases(item, path, f"{prefix}[{i}]", depth + 1)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{prefix}.{key.value}" if prefix else str(key.value)
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{path}:{key.start_mark.line + 1}: a key must be a plain word")
        if key.value in seen:
            raise InputError(f"{path}:{key.start_mark.line + 1}: {name}: appears twice; every key may appear once")
        seen.add(key.value)
        _refuse_twins_and_aliases(value, path, name, depth + 1)


def line_of(path: Path, keys: tuple[str | int, ...]) -> int | None:
    """The line on which the deepest existing one of nested keys stands."""
    try:
        node = compose(path)
    except InputError:
        return None
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(name, value) for name, value in node.value if name.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line


def numbers(value: Any) -> Any:
    """YAML 1.1 reads `1e-3` as text; here it is the number that it looks like. Lists become tuples."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(numbers(item) for item in value)
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value
