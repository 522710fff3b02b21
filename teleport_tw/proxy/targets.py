"""
From a name to an open connection: which server is meant, and the way to it.

A server with an agent is reached by one of the links it dialled; one without, by its address.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TCPClient
from teleport_tw.proxy.direct import AgentlessEndpoint, DirectEndpoint, is_internal, is_nobodys, unreachable
from teleport_tw.proxy.route import Strategy, find_node
from teleport_tw.resources.metadata import Resource
from teleport_tw.tunnel.registry import Registry

AGENTLESS = frozenset({"openssh", "openssh-ec2-ice"})
"""Each C{sub_kind} of nodes that run a stock sshd: nobody but the proxy decides who may sign in there."""


class Readable(Protocol):
    """
    The local copy of what auth knows: L{teleport_tw.api.mirror.Mirror}.
    """

    def get(self, kind: str, name: str, sub_kind: str = "") -> Resource:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

    def list(self, kind: str) -> Iterable[Resource]:
        """
        All of a kind.
        """
        ...


@define(eq=False)
class Targets:
    """
    What can be reached through this proxy.

    @ivar registry: links of agents to this proxy.
    @ivar host_id: the proxy's own; an agent of this id runs on the proxy's host.
    """

    cluster: str
    copy: Readable
    registry: Registry
    reactor: IReactorTime
    host_id: str = ""

    def node(self, host: str, cluster: str = "") -> Resource:
        """
        @param host: as the user typed it, without port.
        @param cluster: as typed; empty for this one.
        @raise TeleportError: NOT_FOUND; BAD_PARAMETER, several servers are meant.
        """
        if cluster and cluster != self.cluster:
            raise TeleportError(Kind.NOT_FOUND, f"no cluster is known as {cluster}; this is {self.cluster}")
        spec = self._networking()
        strategy = Strategy.MOST_RECENT if spec.get("routing_strategy") in (1, "most_recent") else None
        return find_node(
            self.copy.list("node"),
            host,
            self.cluster,
            strategy=strategy or Strategy.UNAMBIGUOUS_MATCH,
            ignore_case=bool(spec.get("case_insensitive_routing")),
        )

    def _networking(self) -> dict[str, object]:
        try:
            return dict(self.copy.get("cluster_networking_config", "cluster-networking-config").spec)
        except TeleportError:
            return {}

    def endpoint(self, node: Resource, header: StreamHeader) -> IStreamClientEndpoint:
        """
        @param header: for the agent.
        @raise TeleportError: CONNECTION_PROBLEM, the server is known and there is no way to it.
        """
        if node.sub_kind not in AGENTLESS and self.registry.links(node.name, header.target_kind):
            return self.registry.endpoint(node.name, header)
        address = str(node.spec.get("addr") or "")
        if not address or (node.sub_kind not in AGENTLESS and node.spec.get("use_tunnel")):
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"{node.spec.get('hostname') or node.name} is offline: its agent is not connected",
            )
        host, port = split_address(address)
        plain = TCPClient(self.reactor, host, port, timeout=30)
        name = str(node.spec.get("hostname") or node.name)
        if node.sub_kind in AGENTLESS:
            if is_nobodys(host):
                raise unreachable(name)
            return AgentlessEndpoint(plain)
        direct = DirectEndpoint(plain, self.reactor, name, own_host=node.name == self.host_id)
        if is_internal(host) and not direct.own_host:
            raise direct.refusal(f"it announced the address {host}")
        return direct
