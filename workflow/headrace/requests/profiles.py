"""What a Snakemake profile says about resources, read without Snakemake: only what stands there as plain YAML."""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.schedulers.base import list_schedulers

FILE = re.compile(r"(?:profile|config)(?:\.v(?P<major>\d+)\+)?\.ya?ml")
SNAKEMAKE_MAJOR = 9
FOLDERS = (Path("~/.config/snakemake"), Path("/etc/xdg/snakemake"))
"""Where Snakemake looks for a profile that is not in the working directory."""

Value = int | str
Settings = Mapping[str, Mapping[str, Value]]
"""Rule -> resource -> value; `threads` is one of them."""

NUMBERS = frozenset({"mem", "mem_mb", "mem_mib", "mem_mb_per_cpu", "runtime", "threads", "cpus_per_task"}) | frozenset(
    {"gpu", "runs_per_gpu", "nodes", "dask_workers", "dask_worker_mem_mb"}
)
"""Resources that are checked as numbers: what is no number there is a Python expression."""

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?")
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])(?:|ecs?|econds?|ins?|inutes?|ours?|ays?|eeks?)")
MINUTES_PER_UNIT = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0, "w": 10080.0}


@dataclass(frozen=True)
class Profile:
    """A profile, as far as it can be read without running it."""

    path: Path
    scheduler: str | None
    """Whose jobs it submits: a name of `list_schedulers()`, or None."""
    config: Mapping[str, Any]
    """What it passes as `--config`."""
    defaults: Mapping[str, Value]
    """`default-resources`: for rules that do not state a resource themselves."""
    overrides: Settings
    """`set-resources` and `set-threads`, by rule."""
    stated: Mapping[str, Mapping[str, Any]]
    """The same as it is written, expressions too."""
    notes: tuple[str, ...] = ()
    """What could not be read, a line each."""

    def resources(self, stated: Settings) -> Settings:
        """What is in force for each rule, where `stated` stands in the rules: as in Snakemake, that beats defaults."""
        return {rule: {**self.defaults, **own, **self.overrides.get(rule, {})} for rule, own in stated.items()}


def find_profile(name: str) -> Path:
    """The file of a profile, found as Snakemake finds it. Raises InputError."""
    places = [Path(name), *(folder.expanduser() / name for folder in FOLDERS)]
    for place in places:
        if place.is_file():
            return place
        if place.is_dir():
            matches = (match for file in sorted(os.listdir(place)) if (match := FILE.fullmatch(file)))
            known = {match[0]: int(match["major"] or 0) for match in matches}
            fitting = {file: major for file, major in known.items() if major <= SNAKEMAKE_MAJOR}
            if fitting:
                return place / max(fitting, key=lambda file: fitting[file])
    here = [entry.name for entry in Path().iterdir() if (entry / "config.yaml").is_file()]
    known_here = f"; here: {', '.join(sorted(here))}" if here else ""
    raise InputError(f"--profile {name}: no such profile in this folder{known_here}; `headrace profile` writes one")


def read_profile(name: str) -> Profile:
    """Read a profile by name, folder or file. Raises InputError for what is no profile."""
    path = find_profile(name)
    raw = yaml_files.read(path)
    notes: list[str] = []
    raw = _without_expressions(raw, path, notes)
    stated = _nested(raw.get("set-resources"))
    for rule, threads in _pairs(raw.get("set-threads")).items():
        stated.setdefault(rule, {})["threads"] = threads
    return Profile(
        path=path,
        scheduler=_scheduler(raw, path),
        config=_pairs(raw.get("config")),
        defaults=_values(_pairs(raw.get("default-resources")), f"{path}: default-resources", notes),
        overrides={rule: _values(pairs, f"{path}: {rule}", notes) for rule, pairs in stated.items()},
        stated=stated,
        notes=tuple(notes),
    )


def _scheduler(raw: Mapping[str, Any], path: Path) -> str | None:
    """SLURM has an executor of its own; others are reached by commands, and only those commands tell which it is."""
    executor = str(raw.get("executor", ""))
    if executor in list_schedulers():
        return executor
    submit = str(raw.get("cluster-generic-submit-cmd", ""))
    if executor == "cluster-generic" and re.search(r"\bqsub\b|\bpbs\b", f"{submit} {path.parent.name}"):
        return "pbs"
    return None


def _without_expressions(raw: dict[str, Any], path: Path, notes: list[str]) -> dict[str, Any]:
    """Leave YTE's `?` keys and values out: only Snakemake may run what a profile holds."""
    if not raw.get("__use_yte__"):
        return raw
    left_out: list[str] = []

    def plain(value: Any) -> Any:
        """The same without expressions, however deep they stand."""
        if isinstance(value, Mapping):
            kept = {}
            for key, item in value.items():
                if str(key).startswith("?") or (isinstance(item, str) and item.startswith("?")):
                    left_out.append(str(key))
                else:
                    kept[key] = plain(item)
            return kept
        return value

    kept = plain({key: value for key, value in raw.items() if not str(key).startswith("__")})
    if left_out:
        some = ", ".join(map(yaml_files.printable, left_out[:3]))
        notes.append(f"{path}: {some}: expressions (YTE), which only Snakemake evaluates; they are left out here")
    assert isinstance(kept, dict)
    return kept


def _pairs(value: Any) -> dict[str, Any]:
    """A mapping, or the older list of `key=value`."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    items = value if isinstance(value, list) else value.split() if isinstance(value, str) else ()
    return dict(str(item).split("=", 1) for item in items if "=" in str(item))


def _nested(value: Any) -> dict[str, dict[str, Any]]:
    """A mapping of mappings, or the older list of `rule:key=value`."""
    if isinstance(value, Mapping):
        return {str(rule): _pairs(pairs) for rule, pairs in value.items()}
    found: dict[str, dict[str, Any]] = {}
    for key, item in _pairs(value).items():
        rule, _, resource = key.partition(":")
        found.setdefault(rule, {})[resource] = item
    return found


def _values(pairs: Mapping[str, Any], where: str, notes: list[str]) -> dict[str, Value]:
    """Resources as Snakemake will see them; expressions are left out, and a line says so."""
    found: dict[str, Value] = {}
    for key, raw in pairs.items():
        value = parse_value(key, raw)
        if value is None:
            shown = yaml_files.printable(str(raw))[:60]
            notes.append(f"{where}: {key}: {shown}: an expression, which only Snakemake evaluates; not checked here")
        else:
            found[_standard_name(key)] = value
    return found


def _standard_name(key: str) -> str:
    """Snakemake keeps every size in megabytes."""
    return {"mem": "mem_mb", "mem_mib": "mem_mb"}.get(key, key)


def parse_value(key: str, raw: Any) -> Value | None:
    """One resource; None for an expression. `8GB` and `2h` are numbers where Snakemake takes them for such."""
    if isinstance(raw, bool) or raw is None:
        return None
    if isinstance(raw, int | float):
        amount = raw * 1.048576 if key == "mem_mib" else raw
        return math.ceil(amount) if math.isfinite(amount) else None
    text = _unquoted(str(raw))
    if key not in NUMBERS:
        return text
    if text.isdecimal():
        return parse_value(key, int(text))
    return _with_unit(key, text)


def _unquoted(text: str) -> str:
    """Inner quotes keep Snakemake from taking a name for a Python expression."""
    if text[:1] in ("'", '"'):
        try:
            return str(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            return text
    return text


def _with_unit(key: str, text: str) -> int | None:
    """`8 GiB` in MB, `2h` in minutes; None for anything else."""
    if key == "mem" and (found := SIZE.fullmatch(text.lower())):
        number, power, binary = found.groups()
        num_bytes = float(number) * float(1024 if binary else 1000) ** " kmgt".index(power or " ")
        return max(1, math.ceil(num_bytes / 1e6))
    if key == "runtime" and (found := TIME.fullmatch(text.lower())):
        return max(1, int(float(found[1]) * MINUTES_PER_UNIT[found[2]]))
    return None


def in_force(rules: Iterable[Any]) -> Settings:
    """What the rules of a running Snakemake ask for, by rule; what only a function knows is left out.

    Text from a profile or a command line, a partition's name for one, is an expression to Snakemake until a job needs
    it: here the words are read as they stand in the profile.
    """
    return {str(rule.name): dict(_known(rule.resources)) for rule in rules}


def as_written(threads: Mapping[str, Any], resources: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What Snakemake was given as `set-threads` and `set-resources`, before it knows the rules."""
    found = {rule: {key: _raw(resource) for key, resource in pairs.items()} for rule, pairs in resources.items()}
    for rule, number in threads.items():
        found.setdefault(rule, {})["threads"] = _raw(number)
    return found


def overridden(stated: Mapping[str, Mapping[str, Any]]) -> Settings:
    """What is known of that without evaluating anything."""
    return {rule: dict(_known(pairs)) for rule, pairs in stated.items()}


def _known(resources: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    for key, resource in resources.items():
        name = "threads" if key == "_cores" else key
        value = parse_value(name, _raw(resource))
        if value is not None:
            yield name, value


def _raw(resource: Any) -> Any:
    """What was written, of one of Snakemake's resources too."""
    if isinstance(resource, int | float | str) or resource is None:
        return resource
    return resource.raw if resource.is_evaluable() else resource.value
