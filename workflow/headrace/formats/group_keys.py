"""What the key `groups` asks of the keys beside it, in whichever kind it stands."""

from __future__ import annotations


def check_groups(groups: object, target: object, beside: str) -> None:
    """Raise ValueError for groups without a target, or of what is the target; `beside` is what would be allowed."""
    if groups is not None and target in (None, groups):
        what = "needs a `target`" if target is None else f"{groups!r} is the target"
        raise ValueError(f"groups: {what}; allowed: {beside} beside that of the target")
