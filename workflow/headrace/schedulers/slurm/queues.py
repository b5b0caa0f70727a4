"""Partitions of SLURM, and what a person should know of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from headrace.schedulers.base import Queue
from headrace.schedulers.slurm.text import at_most, parse_fields, parse_gpus, parse_minutes, split_lines, whole_number

SHORT_JOB_AGE_S = 240
"""Snakemake asks every 180 s at last."""


def parse_queues(partitions: str, nodes: str, preempt_type: str) -> tuple[Queue, ...]:
    """Partitions from `scontrol show partition --oneliner`; nodes as `partition|node|cpus|memory|gres|state` lines."""
    tables = [fields for line in partitions.splitlines() if "PartitionName" in (fields := parse_fields(line))]
    members: dict[str, list[list[str]]] = {}
    for name, *node in split_lines(nodes, 6):
        members.setdefault(name, []).append(node)
    shares = {name: {node[0] for node in some} for name, some in members.items()}
    queues = []
    for table in tables:
        name = table["PartitionName"]
        stronger = [
            other
            for other in tables
            if whole_number(other.get("PriorityTier")) > whole_number(table.get("PriorityTier"))
            and shares.get(other["PartitionName"], set()) & shares.get(name, set())
        ]
        loses = bool(stronger) if preempt_type.endswith("partition_prio") else preempt_type.endswith("qos")
        queues.append(_parse_queue(table, members.get(name, []), can_be_preempted=loses))
    return tuple(queues)


def _parse_queue(table: Mapping[str, str], nodes: Sequence[Sequence[str]], *, can_be_preempted: bool) -> Queue:
    gpus = [parse_gpus(gres) for _, _, _, gres, _ in nodes]
    cpus = [whole_number(node[1]) for node in nodes]
    memory_mib = [whole_number(node[2]) for node in nodes]
    modes = [mode for mode in table.get("PreemptMode", "OFF").lower().split(",") if mode not in ("off", "gang")]
    return Queue(
        name=table["PartitionName"],
        is_default=table.get("Default") == "YES",
        is_up=table.get("State", "UP") == "UP",
        num_nodes=len(nodes),
        cpus_per_node=at_most(max(cpus, default=0), table.get("MaxCPUsPerNode")),
        memory_mib_per_node=at_most(max(memory_mib, default=0), table.get("MaxMemPerNode")),
        gpus_per_node=max((sum(some.values()) for some in gpus), default=0),
        gpu_types=tuple(sorted({kind for some in gpus for kind in some if kind})),
        max_runtime_min=parse_minutes(table.get("MaxTime", "")),
        max_nodes_per_job=whole_number(table.get("MaxNodes")) or None,
        preemption=modes[0] if modes and can_be_preempted else "",
    )


def list_notes(config: Mapping[str, str], partitions: str, nodes: str, has_accounting: bool) -> Iterable[str]:
    """What a person should know before choosing."""
    age = re.match(r"\d+", config.get("MinJobAge", ""))
    if not has_accounting and age and int(age[0]) < SHORT_JOB_AGE_S:
        yield (
            f"there is no accounting, and the controller forgets a job {age[0]} s after its end (MinJobAge), before "
            "Snakemake has asked how it ended: ask the site to raise it to 300 s"
        )
    tables = [parse_fields(line) for line in partitions.splitlines()]
    keys = ("AllowAccounts", "DenyAccounts", "AllowGroups", "AllowQos")
    closed = [
        f"{table['PartitionName']} ({key}={table[key]})"
        for table in tables
        for key in keys
        if table.get(key, "ALL") not in ("ALL", "", "(null)")
    ]
    if closed:
        yield f"not every job may go to every partition: {', '.join(closed)}"
    usable: dict[str, list[bool]] = {}
    for partition, *_, state in split_lines(nodes, 6):
        usable.setdefault(partition, []).append(not re.match(r"down|drain|fail|unknown|.*\*$", state))
    for partition, some in usable.items():
        if not any(some):
            yield f"partition {partition}: none of its nodes works now"
