"""Which network interface Dask's scheduler and workers talk over."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping

import psutil

from headrace.errors import StageError


def choose_interface(node_address: str = "") -> str:
    """The interface of the address by which the scheduler of the cluster reaches this node.

    `node_address` is a host name or an IP address; without it, this host's name and then the default route decide.
    Raises StageError naming the interfaces when none fits.
    """
    interfaces = addresses()
    if node_address and (found := holder(resolve(node_address), interfaces)):
        return found
    # Many systems give their own name the address 127.0.1.1, by which no other node reaches them.
    reachable = [address for address in resolve(socket.gethostname()) if not ipaddress.ip_address(address).is_loopback]
    found = holder(reachable, interfaces) or holder(default_route(), interfaces)
    if not found:
        raise StageError(
            "no network interface found by which other nodes reach this one; name it with dask_options: interface=NAME "
            f"(here: {', '.join(sorted(interfaces))})"
        )
    return found


def addresses() -> dict[str, list[str]]:
    """The IPv4 addresses of every interface that is up."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    return {
        name: [entry.address for entry in entries if entry.family == socket.AF_INET]
        for name, entries in psutil.net_if_addrs().items()
        if name in up
    }


def holder(wanted: Iterable[str], interfaces: Mapping[str, list[str]]) -> str:
    """The interface that has one of the wanted addresses; empty where none has."""
    for address in wanted:
        for name, entries in interfaces.items():
            if address in entries:
                return name
    return ""


def resolve(name: str) -> list[str]:
    """The IPv4 addresses of a host; none where nobody knows it."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)})
    except OSError:
        return []


def default_route() -> list[str]:
    """The address that a packet to the outside would carry; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [str(probe.getsockname()[0])]
