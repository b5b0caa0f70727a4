"""Which code makes an artifact: a digest of syntax trees without docstrings, so that prose can be edited freely."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from headrace.registry import PACKAGE, kind_path


@functools.cache
def code_fingerprint(stage: str, kinds: tuple[tuple[str, str], ...]) -> str:
    """SHA-256 over the stage's module, the kinds (group, name) that it uses, and the modules in their `COMPUTES`."""
    stage_path = PACKAGE / "stages" / f"{stage}.py"
    paths = {f"stages.{stage}": stage_path}
    paths |= {module: module_path(module) for module in read_computes(stage_path)}
    for group, kind in kinds:
        paths[f"{group}.{kind}"] = kind_path(group, kind)
        paths |= {module: module_path(module) for module in read_computes(kind_path(group, kind), needed=False)}
        paths[f"{group}.base"] = kind_path(group, "base")
    return combine(f"{name} {module_fingerprint(path)}" for name, path in paths.items())


def read_computes(path: Path, *, needed: bool = True) -> tuple[str, ...]:
    """The `COMPUTES` of a stage or of a kind, read without importing it: the modules whose code decides its results.

    A kind that computes with nothing but its own file has none; a stage must have it, or LookupError is raised.
    """
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) == "COMPUTES":
            modules: tuple[str, ...] = ast.literal_eval(statement.value)
            return modules
    if needed:
        raise LookupError(f"{path}: has no COMPUTES")
    return ()


def module_path(module: str) -> Path:
    """`linalg.svd` -> .../linalg/svd.py"""
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@functools.cache
def module_fingerprint(path: Path) -> str:
    """SHA-256 of a module's syntax tree without docstrings, comments and layout."""
    return hashlib.sha256(_render(ast.parse(path.read_text(encoding="utf-8"))).encode()).hexdigest()


def combine(lines: Iterable[str]) -> str:
    """SHA-256 of lines in sorted order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _render(node: object) -> str:
    """Like ast.dump, but the same on every Python version: empty fields and bare strings are left out."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({','.join(f'{name}={_render(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(_render(item) for item in node if not _is_bare_string(item))}]"
    return repr(node)


def _is_bare_string(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
