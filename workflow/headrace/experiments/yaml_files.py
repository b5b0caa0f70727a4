"""Read YAML strictly: no key twice, no classes, `1e-3` is a number, and every key knows its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import InputError

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 50
MAX_NODES = 200_000


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain YAML, in which `1e-3` is the number that it looks like; YAML 1.1 wants `1.0e-3`."""


_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def read(path: Path) -> dict[str, Any]:
    """The mapping that a file holds. Raises InputError for what is not a file, not YAML or not a mapping."""
    node = compose(path)
    try:
        data = Loader("").construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise InputError(_sentence(path, error)) from error
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"{path}{_line_of_broken(node)}: is not valid YAML: {printable(str(error))[:100]}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold a mapping of keys, as in `name: my-experiment`")
    return data


class Dumper(yaml.SafeDumper):
    """Puts quotes around a text that `Loader` would take for a number."""


Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def write(data: Mapping[str, Any], *, compact: bool = False) -> str:
    """A mapping as YAML that `read` takes back as it was; `compact` writes the innermost parts on one line."""
    style = None if compact else False
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=style, width=110)
    return text


def compose(path: Path) -> yaml.Node | None:
    """The syntax tree of a file, in which no mapping has a key twice."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than an experiment file may be ({MAX_BYTES // 2**20} MiB)")
        text = path.read_text(encoding="utf-8")
        _refuse_depth(text, path)
        node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise InputError(_sentence(path, error)) from error
    _Walk(path).visit(node, "")
    return node


def _refuse_depth(text: str, path: Path) -> None:
    """Composing recurses in C, where too deep a nesting ends the process; events do not."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise InputError(f"{path}{line}: is nested too deeply; allowed: {MAX_DEPTH} levels")


class _Walk:
    """Visits every node, aliases followed, so that neither twins nor bombs get through."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_nodes = 0

    def visit(self, node: yaml.Node | None, prefix: str, depth: int = 0) -> None:
        """Raise InputError for a key twice, a key that is no word, and for too many nodes or levels."""
        self.num_nodes += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{self.path}: is nested too deeply; allowed: {MAX_DEPTH} levels")
        if self.num_nodes > MAX_NODES:
            raise InputError(f"{self.path}: holds more than {MAX_NODES} values, aliases counted as often as used")
        if isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.visit(item, f"{prefix}[{i}]", depth + 1)
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            where = f"{self.path}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{where}: a key must be a plain word")
            name = f"{prefix}.{key.value}" if prefix else str(key.value)
            if key.value in seen:
                raise InputError(f"{where}: {printable(name)}: appears twice; every key may appear once")
            seen.add(key.value)
            self.visit(value, name, depth + 1)


def printable(text: str) -> str:
    """The text on one line, with nothing that could steer a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _line_of_broken(node: yaml.Node | None) -> str:
    """`:LINE` of the first value that looks like a number or a date and is none."""
    if isinstance(node, yaml.MappingNode):
        found = (_line_of_broken(part) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        found = (_line_of_broken(part) for part in node.value)
    else:
        try:
            Loader("").construct_document(node)
        except (yaml.YAMLError, ValueError, OverflowError, TypeError):
            return f":{node.start_mark.line + 1}" if node and node.start_mark else ""
        return ""
    return next(filter(None, found), "")


def _sentence(path: Path, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        return f"{path}{line}: is not valid YAML: {printable(str(error.problem or error.context))}"
    return f"{path}: is not valid YAML: {printable(' '.join(str(error).split()))}"


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


def tuples(value: Any) -> Any:
    """The same data with tuples in place of lists: a frozen experiment holds nothing that can be changed."""
    if isinstance(value, Mapping):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(tuples(item) for item in value) if isinstance(value, list | tuple) else value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        both[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
