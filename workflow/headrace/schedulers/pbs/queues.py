"""Queues of PBS, and what a person should know of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence

from headrace.schedulers.base import Queue
from headrace.schedulers.pbs.nodes import Node, parse_nodes, serving
from headrace.schedulers.pbs.text import (
    Record,
    is_true,
    parse_records,
    parse_seconds,
    parse_size_mib,
    unique,
    whole_number,
)


def parse_queues(queues: str, nodes: str, server: Record, default: str) -> tuple[Queue, ...]:
    """From `qstat -Q -f` and `pbsnodes -a`; limits of the server hold where a queue has none of its own."""
    limits = {key: value for key, value in server.items() if key.startswith("resources_max.")}
    tables = {name: {**limits, **table} for name, table in parse_records(queues, "Queue").items()}
    machines = parse_nodes(nodes)
    found = [
        _parse_queue(name, tables, machines, is_default=name == default or len(tables) == 1)
        for name, table in tables.items()
        if not is_true(table.get("from_route_only"))
    ]
    return tuple(found)


def _parse_queue(name: str, tables: Mapping[str, Record], machines: Sequence[Node], *, is_default: bool) -> Queue:
    table = tables[name]
    ways = [way.partition("@")[0].strip() for way in table.get("route_destinations", "").split(",")]
    ends = [tables[way] for way in ways if way in tables] or [table]
    members = {
        node.host: node for way in [*ways, name] if way in tables for node in serving(way, tables[way], machines)
    }
    runtimes_s = [parse_seconds(end.get("resources_max.walltime")) for end in ends]
    longest_s = None if None in runtimes_s else max(filter(None, runtimes_s), default=None)
    limit_s = parse_seconds(table.get("resources_max.walltime")) or longest_s
    cpus = max((node.cpus for node in members.values()), default=0)
    memory_mib = max((node.memory_mib for node in members.values()), default=0)
    gpus = max((node.gpus for node in members.values()), default=0)
    max_cpus = whole_number(table.get("resources_max.ncpus"))
    max_gpus = whole_number(table.get("resources_max.ngpus"))
    max_mib = parse_size_mib(table.get("resources_max.mem"))
    return Queue(
        name=name,
        is_default=is_default,
        is_up=is_true(table.get("enabled")) and is_true(table.get("started")),
        num_nodes=len(members),
        cpus_per_node=min(cpus or max_cpus or 0, max_cpus or cpus) or None,
        memory_mib_per_node=int(min(memory_mib or max_mib or 0, max_mib or memory_mib)) or None,
        gpus_per_node=gpus if max_gpus is None else min(gpus, max_gpus),
        gpu_types=unique(kind for node in members.values() for kind in node.gpu_types),
        max_runtime_min=limit_s // 60 if limit_s else None,
        max_nodes_per_job=whole_number(table.get("resources_max.nodect") or table.get("resources_max.nodes")),
    )


def list_notes(queues: str, nodes: str, server: Record, dialect: str) -> Iterator[str]:
    """What a person should know before choosing."""
    if shutil.which("sbatch") and not server:
        yield "qsub and qstat are SLURM's wrappers here: `--profile slurm` tells and does more"
    elif not is_true(server.get("job_history_enable")):
        kept_s = whole_number(server.get("keep_completed"))
        how_long = f"for {kept_s} s after" if kept_s else "until"
        yield f"there is no job history: PBS knows a job {how_long} its end, and then its exit file alone tells"
    machines = parse_nodes(nodes)
    for name, table in parse_records(queues, "Queue").items():
        for who in ("user", "group"):
            if is_true(table.get(f"acl_{who}_enable")):
                yield f"queue {name}: only for the {who}s {table.get(f'acl_{who}s', 'that the site has chosen')}"
        some = serving(name, table, machines)
        if some and not any(node.is_up for node in some):
            yield f"queue {name}: none of its nodes works now"
