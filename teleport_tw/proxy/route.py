"""
From the name a user typed to the one server that is meant. Pure, over the nodes the proxy knows.

A name may be a host name, a UUID, C{name.cluster}, an address of an agentless node, or a label selector C{env=prod}.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import all_labels


class Strategy(Enum):
    """
    C{routing_strategy}: what to do when several servers have the name.
    """

    UNAMBIGUOUS_MATCH = 0
    MOST_RECENT = 1


def split_target(target: str) -> tuple[str, str]:
    """
    @param target: C{host}, C{host:port}, C{host:port@cluster}, C{[v6]:port}.
    @return: the host as typed, and the cluster; empty when none was given.
    """
    address, _, cluster = target.partition("@")
    return host_of(address), cluster


def find_node(
    nodes: Iterable[Resource],
    host: str,
    cluster: str,
    *,
    strategy: Strategy = Strategy.UNAMBIGUOUS_MATCH,
    ignore_case: bool = False,
) -> Resource:
    """
    @param host: as typed, without port.
    @param cluster: the name of this cluster, which may be a suffix of C{host}.
    @raise TeleportError: NOT_FOUND; BAD_PARAMETER when several servers are meant, naming them.
    """
    known = list(nodes)
    found = _matching(known, host, ignore_case)
    if not found and host.endswith("." + cluster):
        found = _matching(known, host.removesuffix("." + cluster), ignore_case)
    if not found:
        raise not_found(f"no server is known as {host}; `tsh ls` shows those you can reach")
    if len(found) == 1:
        return found[0]
    if strategy is Strategy.MOST_RECENT:
        return max(found, key=lambda node: node.metadata.expires.timestamp() if node.metadata.expires else 0.0)
    listed = ", ".join(f"{node.spec.get('hostname')} ({node.name})" for node in found[:5])
    raise bad_parameter(f"{len(found)} servers are known as {host}: {listed}; use the UUID of one")


def _matching(nodes: list[Resource], host: str, ignore_case: bool) -> list[Resource]:
    if not host:
        # A server that says no host name is not meant by saying none.
        return []
    by_id = [node for node in nodes if node.name == host]
    if by_id:
        return by_id
    if "=" in host:
        wanted = dict(part.partition("=")[::2] for part in host.split(","))
        return [node for node in nodes if wanted.items() <= all_labels(node).items()]
    fold = str.casefold if ignore_case else str
    name = fold(host)
    named = [node for node in nodes if fold(str(node.spec.get("hostname") or "")) == name]
    return named or [node for node in nodes if name in map(fold, _addresses(node))]


def _addresses(node: Resource) -> list[str]:
    listed = [str(node.spec.get("addr") or ""), *map(str, node.spec.get("public_addrs") or ())]
    return [host_of(address) for address in listed if address]
