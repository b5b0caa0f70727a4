"""Names in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def join(parts: Iterable[str], word: str = "and") -> str:
    """Return all of them as one list: `a, b and c`; "" of none."""
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} {word} {last}" if most else last


def join_some(names: Sequence[str], most: int) -> str:
    """Return the first of many names, `a, b and 57 others`; all where no more than one is left over."""
    if len(names) <= most + 1:
        return join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} others"
