"""What PBS's clients print, as records, numbers, times and names. Nothing here asks anybody."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping

Record = Mapping[str, str]
"""The attributes of one job, queue, node or server."""

ATTRIBUTE = re.compile(r"[ \t]+([A-Za-z_][\w.-]*) = ?(.*)")
MIB_PER_UNIT = {"": 2**-20, "k": 2**-10, "m": 1.0, "g": 2.0**10, "t": 2.0**20, "p": 2.0**30}
BYTES_PER_WORD = 8


def parse_records(text: str, title: str) -> dict[str, dict[str, str]]:
    """What `qstat -f` (title `Job Id`, `Queue`, `Server`) or `pbsnodes -a` (title ``) prints, by name.

    PBS indents attributes by spaces and goes on with a long value on a new line behind a tab. SLURM's wrappers indent
    attributes by a tab and break no lines. The first of two equal attributes counts: an environment variable of the
    job, printed later, may hold lines of any kind.
    """
    head = re.compile(rf"{re.escape(title)}:\s*(\S+)\s*" if title else r"([^\s=:]+)\s*")
    records: dict[str, dict[str, str]] = {}
    record: dict[str, str] | None = None
    key = indent = ""
    for line in text.splitlines():
        if found := head.fullmatch(line):
            record = records.setdefault(found[1], {})
            key = indent = ""
        elif record is None or not line.strip():
            continue
        elif (attribute := ATTRIBUTE.fullmatch(line)) and line[0] == (indent or line[0]):
            indent, key = line[0], attribute[1]
            if key in record:
                key = ""
            else:
                record[key] = attribute[2]
        elif line[0] == "\t" and key:
            record[key] += line[1:]
        else:
            key = ""
    return {name: {key: value.strip() for key, value in record.items()} for name, record in records.items()}


def job_number(job: str) -> str:
    """`123` of `123.server`: what stays the same when a server is known by several names."""
    return job.strip().partition(".")[0]


def parse_job_id(output: str) -> str | None:
    """The job's id in what qsub prints; sites print greetings too."""
    found = [line.strip() for line in output.splitlines() if re.fullmatch(r"\s*\d+(\[\])?(\.[\w.-]+)?\s*", line)]
    return found[-1] if found else None


def parse_size_mib(text: str | None) -> float | None:
    """MiB of `600mb`, `4gb`, `1048576kb`, `2048b`, `8gw` or plain bytes; PBS's units are powers of 1024."""
    found = re.fullmatch(r"\s*(\d+)([kmgtp]?)([bw]?)\s*", (text or "").lower())
    if not found:
        return None
    return int(found[1]) * MIB_PER_UNIT[found[2]] * (BYTES_PER_WORD if found[3] == "w" else 1)


def parse_seconds(text: str | None) -> int | None:
    """Seconds of `3600`, `90:00`, `01:30:00` or `1:01:30:00`; None for anything else."""
    if not re.fullmatch(r"\d+(:\d+){0,3}", (text or "").strip()):
        return None
    *days, hours, minutes, seconds = [0, 0, *map(int, str(text).strip().split(":"))][-4:]
    return (sum(days) * 24 + hours) * 3600 + minutes * 60 + seconds


def parse_time(text: str | None) -> float | None:
    """Seconds since the epoch of a local time as `Mon Nov 23 18:00:00 2026`, or of just such seconds."""
    if re.fullmatch(r"\d{9,11}", (text or "").strip()):
        return float(str(text))
    try:
        return time.mktime(time.strptime((text or "").strip(), "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None


def whole_number(text: str | None) -> int | None:
    """The number that a text begins with."""
    found = re.match(r"\s*(-?\d+)", text or "")
    return int(found[1]) if found else None


def list_hosts(exec_host: str) -> tuple[str, ...]:
    """The nodes of `n1/0*8+n2/0*8`, `n1/0-7+n2/0` or `n1/3+n1/2`, each once."""
    return unique(part.partition("/")[0].partition(":")[0] for part in exec_host.split("+"))


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order in which they came first."""
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def is_true(text: str | None) -> bool:
    """PBS says True, SLURM's wrapper yes."""
    return (text or "").strip().lower() in ("true", "yes", "1")
