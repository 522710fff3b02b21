"""
Servers reached by SSH: those with our agent and those that run OpenSSH alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from attrs import field, frozen

from teleport_tw.base.addresses import host_of
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Json, Metadata, Resource

KIND = "node"
VERSION = "v2"

SELF_REGISTERED = "teleport-join-openssh"
"""Origin label of a node that wrote its own entry: its sshd must prove itself with the id it has as a member."""


class SubKind(Enum):
    """
    What answers on the server.
    """

    TELEPORT = "teleport"
    OPENSSH = "openssh"
    OPENSSH_EC2_ICE = "openssh-ec2-ice"


@frozen(kw_only=True)
class Node:
    """
    @ivar name: the host id, a UUID for agents.
    @ivar addr: C{host:port}; empty for nodes behind a tunnel.
    @ivar command_results: label name to the last result of its command.
    @ivar command_labels: C{spec.cmd_labels} as written, each with period, command and result.
    @ivar rotation: the agent's own state of CA rotation, as written.
    @ivar proxy_ids: the proxies its tunnel links end at.
    """

    name: str
    hostname: str
    addr: str = ""
    public_addrs: tuple[str, ...] = ()
    peer_addr: str = ""
    use_tunnel: bool = False
    version: str = ""
    sub_kind: SubKind = SubKind.TELEPORT
    labels: Mapping[str, str] = field(factory=dict)
    command_results: Mapping[str, str] = field(factory=dict)
    command_labels: Json = field(factory=dict)
    rotation: Json = field(factory=dict)
    proxy_ids: tuple[str, ...] = ()
    expires: datetime | None = None
    revision: str = ""

    @property
    def all_labels(self) -> Mapping[str, str]:
        """
        Static labels and the results of commands, which roles match on alike; a result wins over a label of its name.
        """
        return {**self.labels, **self.command_results}

    @classmethod
    def parse(cls, resource: Resource) -> Node:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        sub_kind = resource.sub_kind or SubKind.TELEPORT.value
        if sub_kind not in [each.value for each in SubKind]:
            spec.wrong.append("sub_kind must be teleport, openssh or openssh-ec2-ice")
            sub_kind = SubKind.TELEPORT.value
        agentless = sub_kind != SubKind.TELEPORT.value
        commands = spec.section("cmd_labels")
        node = cls(
            name=resource.name,
            hostname=spec.text("hostname", needed=agentless),
            addr=spec.text("addr", needed=agentless),
            public_addrs=spec.texts("public_addrs"),
            peer_addr=spec.text("peer_addr"),
            use_tunnel=spec.flag("use_tunnel"),
            version=spec.text("version"),
            sub_kind=SubKind(sub_kind),
            labels=resource.metadata.labels,
            command_results={name: commands.section(name).text("result") for name in commands.values},
            command_labels=commands.values,
            rotation=spec.section("rotation").values,
            proxy_ids=spec.texts("proxy_ids"),
            expires=resource.metadata.expires,
            revision=resource.revision,
        )
        spec.done(resource)
        return node

    def names(self, cluster: str) -> tuple[str, ...]:
        """
        @param cluster: the cluster's name, a suffix under which its hosts are reached as well.
        @return: what clients may call the server, lower case, its id first: id, host name, and addresses without port.
        """
        addresses = [host_of(each) for each in (self.addr, *self.public_addrs)]
        said = [each.strip().lower().rstrip(".") for each in (self.name, self.hostname, *addresses)]
        listed: dict[str, None] = {}
        for name in filter(None, said):
            listed[name] = None
            if "." not in name and ":" not in name and cluster:
                listed[f"{name}.{cluster.lower()}"] = None
        return tuple(listed)

    def to_resource(self) -> Resource:
        """
        @return: the noun as a heartbeat sends it.
        """
        spec: dict[str, Any] = without_empty(
            (
                ("addr", self.addr),
                ("hostname", self.hostname),
                ("public_addrs", list(self.public_addrs)),
                ("peer_addr", self.peer_addr),
                ("use_tunnel", True if self.use_tunnel else None),
                ("version", self.version),
                ("cmd_labels", dict(self.command_labels)),
                ("rotation", dict(self.rotation)),
                ("proxy_ids", list(self.proxy_ids)),
            )
        )
        metadata = Metadata(name=self.name, labels=self.labels, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, sub_kind=self.sub_kind.value, metadata=metadata, spec=spec)


def all_labels(resource: Resource) -> Mapping[str, str]:
    """
    What roles, queries and names match on, for every kind that has labels; a stored one need not be well formed.

    @return: static labels and the results of commands, the latter winning.
    """
    commands = resource.spec.get("cmd_labels") or resource.spec.get("dynamic_labels")
    if not isinstance(commands, Mapping):
        return resource.metadata.labels
    results = {
        str(name): str(label.get("result") or "") for name, label in commands.items() if isinstance(label, Mapping)
    }
    return {**resource.metadata.labels, **results}
