"""Numbers that a profile or a command line gives to rules, held to what they count before anything is planned.

To Snakemake whatever is no number is an expression, and one that names nothing is text: that would reach the job.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from headrace.experiments import yaml_files
from headrace.requests.profiles import parse_value

LEAST = {"threads": 1, "cpus_per_task": 1, "nodes": 1, "gpu": 0, "runs_per_gpu": 1, "dask_workers": 1}
"""Resources that are counted -> the smallest number that means something."""
AMOUNTS = {"mem": ", or as 8GB", "mem_mb": "", "mem_mib": "", "mem_mb_per_cpu": "", "runtime": ", or as 2h"}
AMOUNTS |= {"dask_worker_mem_mb": ""}
"""Resources that are measured -> how else they may be written."""
PLANNED = frozenset({"runs_per_gpu"})
"""What planning itself counts with, so that no expression can say it later."""
IN_EXPRESSIONS = frozenset({"attempt", "threads"})
"""Numbers that Snakemake gives to an expression by name."""


def check_numbers(stated: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is no number where one must be, or none that means something, a sentence each.

    `stated` is what stands in a profile or on a command line: rule -> resource -> what was written.
    """
    return [
        f"{rule}: {key}: {yaml_files.printable(str(raw))[:60]}; allowed: {_allowed(key)}"
        for rule, pairs in stated.items()
        for key, raw in pairs.items()
        if not _is_good(key, raw)
    ]


def _is_good(key: str, raw: Any) -> bool:
    if key not in LEAST and key not in AMOUNTS:
        return True
    written = raw if isinstance(raw, float) else _literal(str(raw))
    if not isinstance(written, int | float) or isinstance(written, bool):
        value = parse_value(key, raw)
        return isinstance(value, int) or (key not in PLANNED and not _stays_text(str(raw)))
    if key in AMOUNTS:
        return written >= 0
    # Snakemake rounds fractions: whoever counts in halves means something else.
    return isinstance(written, int) and written >= LEAST[key]


def _literal(text: str) -> object:
    """The number that a text is, in quotes too; anything else for other text."""
    try:
        found = ast.literal_eval(text.strip())
        return ast.literal_eval(found) if isinstance(found, str) else found
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _stays_text(text: str) -> bool:
    """Whether Snakemake finds nothing to evaluate in an expression, and is left with its words."""
    if "$" in text or text.startswith("~"):
        return False
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id not in IN_EXPRESSIONS)


def _allowed(key: str) -> str:
    if key in AMOUNTS:
        return f"whole numbers{AMOUNTS[key]}"
    return "whole numbers above 0" if LEAST[key] else "whole numbers from 0 on"
