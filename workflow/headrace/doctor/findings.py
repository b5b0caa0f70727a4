"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
"""A warning may be all right here; with a problem something will not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the answer, and where something is amiss what to do."""

    what: str
    level: Level
    said: str
    fix: str = ""


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", said)


def warning(what: str, said: str, fix: str = "") -> Finding:
    """It may be all right here; `fix` says when it is not."""
    return Finding(what, "warning", said, fix)


def problem(what: str, said: str, fix: str) -> Finding:
    """Something will not work."""
    return Finding(what, "problem", said, fix)


def guard(what: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check; one that stumbles over a strange machine must not hide what the others find."""
    try:
        yield from check()
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield warning(what, f"could not be checked: {said}", "the other checks hold; please report this one")


def render(finding: Finding) -> str:
    """As it is printed."""
    line = f"{finding.level:<8} {finding.what:<12} {finding.said}"
    return f"{line}\n{'':21} -> {finding.fix}" if finding.fix else line
