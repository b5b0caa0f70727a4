"""Where methods come from, as one cites them: words for the text and an entry for BibTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parents[2] / "report" / "citations.bib"

_ENTRY = re.compile(
    r"^@\w+\{(?P<key>\w+),\n(?P<cited>  cited = \{(?P<words>[^\n]*)\},\n).*?^\}$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Citation:
    """A published source."""

    key: str
    words: str
    """In a text, as `Kingma and Ba 2015`."""
    bibtex: str
    """The entry."""


@cache
def read_citations() -> Mapping[str, Citation]:
    """The sources of the report by their keys: names of kinds, or of what else they stand for."""
    found = _ENTRY.finditer(FILE.read_text(encoding="utf-8"))
    return {
        entry["key"]: Citation(entry["key"], entry["words"], entry[0].replace(entry["cited"], "", 1)) for entry in found
    }


class Text:
    """Sentences, and what they have cited so far."""

    def __init__(self) -> None:
        self.cited: dict[str, Citation] = {}

    def cite(self, *keys: str) -> str:
        """The sources of some methods in parentheses, with a space in front; "" where none has one."""
        found = [read_citations()[key] for key in keys if key in read_citations()]
        self.cited |= {citation.key: citation for citation in found}
        return f" ({'; '.join(citation.words for citation in found)})" if found else ""
