"""What SLURM's clients print, as numbers, times and names. Nothing here asks anybody."""

from __future__ import annotations

import re
import time


def parse_fields(line: str) -> dict[str, str]:
    """The `Key=value` pairs of a line of `scontrol --oneliner`; a value may hold spaces, the first of a key counts."""
    pairs = re.findall(r"(?:^|\s)([A-Za-z][\w:/]*)=(.*?)(?=\s+[A-Za-z][\w:/]*=|\s*$)", line)
    return dict(reversed(pairs))


def parse_config(text: str) -> dict[str, str]:
    """The lines `Key = value` of `scontrol show config`."""
    return {key.strip(): value.strip() for key, mark, value in (s.partition("=") for s in text.splitlines()) if mark}


def parse_gpus(gres: str) -> dict[str, int]:
    """How many GPUs of which type `gpu:a100:4(S:0-1),gpu:2` means; the type may be empty."""
    found: dict[str, int] = {}
    for kind, number in re.findall(r"(?:^|,)gpu(?::([^:,()]*[^:,()\d][^:,()]*))?(?::(\d+))?(?=[(,]|$)", gres):
        found[kind] = found.get(kind, 0) + int(number or 1)
    return found


def parse_minutes(text: str) -> int | None:
    """Whole minutes of `45`, `45:30`, `1:45:30`, `2-01`, `2-01:45` or `2-01:45:30`; None for UNLIMITED and the like."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        return None
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        hours, minutes, *_ = [*parts, 0]
        return (int(days) * 24 + hours) * 60 + minutes
    return parts[0] * 60 + parts[1] if len(parts) == 3 else parts[0]


def parse_signal(code: str) -> int:
    """The signal that ended something, from `0:9`, or from the status 9 or 35072 (a shell's 137), or 0."""
    exit_code, colon, signal = code.partition(":")
    if not exit_code.isdigit():
        return 0
    if not colon:
        exit_code, signal = str(int(code) >> 8), str(int(code) & 127)
    return whole_number(signal) or max(int(exit_code) - 128, 0)


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of a local time as SLURM writes it; None for `Unknown`."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def expand_nodes(text: str) -> tuple[str, ...]:
    """The names that `c[01-03,7],g1` stands for, in that order."""
    names: list[str] = []
    for item in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text):
        names += _expand_brackets(item)
    return tuple(name for name in names if name not in ("(null)", "None assigned"))


def _expand_brackets(item: str) -> list[str]:
    before, bracket, rest = item.partition("[")
    if not bracket:
        return [item]
    inside, _, after = rest.partition("]")
    tails = _expand_brackets(after)
    numbers: list[str] = []
    for part in inside.split(","):
        first, dash, last = part.partition("-")
        # Zeros in front belong to the name.
        numbers += [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)] if dash else [part]
    return [f"{before}{number}{tail}" for number in numbers for tail in tails]


def split_lines(text: str, least: int) -> list[list[str]]:
    """The parts between `|` of every line that has at least so many."""
    return [parts for line in text.splitlines() if len(parts := line.strip().split("|")) >= least]


def whole_number(text: str | None) -> int:
    """0 for UNLIMITED, and for what is no number."""
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else 0


def at_most(number: int, limit: str | None) -> int | None:
    """A number, or the limit on it where there is one; None for nothing."""
    return min(number, whole_number(limit) or number) or None
