"""The nodes that `pbsnodes -a` lists, and which of them serve a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.schedulers.pbs.text import Record, parse_records, parse_size_mib, unique, whole_number

GPU_TYPES = ("gpu_type", "gputype", "gpu_model", "gpu_name", "accel_type", "gpu")
"""What sites call the resource that names a node's GPUs."""
AWAY = ("down", "offline", "unknown", "stale", "drain", "fail", "not responding")
COUNTED = ("ncpus", "mem", "ngpus", "mpiprocs", "ompthreads", "nodes", "vmem")
"""Resources of a chunk that are amounts, and not properties of the nodes that may serve it."""


@dataclass(frozen=True)
class Node:
    """A machine: what its virtual nodes have, added up."""

    host: str
    cpus: int = 0
    memory_mib: int = 0
    gpus: int = 0
    gpu_types: tuple[str, ...] = ()
    is_up: bool = True
    queue: str = ""
    """The only queue that it serves; empty when it serves all that have no nodes of their own."""
    properties: tuple[str, ...] = ()
    """Words in Torque (`fast`), resources in OpenPBS (`gpu_type=a100`)."""


def parse_nodes(text: str) -> tuple[Node, ...]:
    """From `pbsnodes -a`."""
    hosts: dict[str, Node] = {}
    for name, record in parse_records(text, "").items():
        node = _read_node(record.get("resources_available.host", name.partition("[")[0]), record)
        hosts[node.host] = _add(hosts[node.host], node) if node.host in hosts else node
    return tuple(hosts.values())


def _read_node(host: str, record: Record) -> Node:
    status = dict(pair for part in record.get("status", "").split(",") if len(pair := part.split("=", 1)) == 2)
    memory = record.get("resources_available.mem") or status.get("physmem") or status.get("availmem")
    properties = [word for word in record.get("properties", "").replace(",", " ").split() if word]
    for key, value in record.items():
        if key.startswith("resources_available."):
            name = key.partition(".")[2]
            properties += [f"{name}={word.strip()}" for word in value.strip('"').split(",")]
    kinds = [word.partition("=")[2] for word in properties if word.partition("=")[0] in GPU_TYPES]
    return Node(
        host=host,
        cpus=whole_number(record.get("resources_available.ncpus") or record.get("np") or status.get("ncpus")) or 0,
        memory_mib=int(parse_size_mib(memory) or 0),
        gpus=whole_number(record.get("resources_available.ngpus") or record.get("gpus")) or 0,
        gpu_types=unique(
            kind for kind in kinds if not kind.isdigit() and kind.lower() not in ("none", "false", "true")
        ),
        is_up=not any(word in record.get("state", "").lower() for word in AWAY),
        queue=record.get("queue", ""),
        properties=tuple(properties),
    )


def _add(node: Node, other: Node) -> Node:
    return Node(
        host=node.host,
        cpus=node.cpus + other.cpus,
        memory_mib=node.memory_mib + other.memory_mib,
        gpus=node.gpus + other.gpus,
        gpu_types=unique([*node.gpu_types, *other.gpu_types]),
        is_up=node.is_up or other.is_up,
        queue=node.queue or other.queue,
        properties=unique([*node.properties, *other.properties]),
    )


def serving(queue: str, table: Mapping[str, str], nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes on which a queue's jobs may run."""
    own = [node for node in nodes if node.queue == queue]
    some = own or [node for node in nodes if not node.queue]
    wanted = [
        f"{key.partition('.')[2]}={value}"
        for key, value in table.items()
        if key.startswith("default_chunk.") and key.partition(".")[2] not in COUNTED
    ]
    wanted += [table[key] for key in ("resources_default.neednodes", "features_required") if key in table]
    known = {word for node in nodes for word in node.properties}
    # What no node has is no property of a node.
    chosen = set(wanted) & known
    return tuple(node for node in some if chosen <= set(node.properties))
