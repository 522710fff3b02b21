"""
Which way leads to a server, and that none leads round the one who decides.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki.identity import Identity
from teleport_tw.proxy.forward import Forwarder
from teleport_tw.proxy.targets import Targets
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import SubKind
from teleport_tw.tunnel.registry import Registry

HEADER = StreamHeader(target_kind="node", target_name="n")


def nobody(transport: object) -> Identity:
    raise AssertionError("no links here")


class TargetTests(SynchronousTestCase):
    """
    Without links.
    """

    def node(self, sub_kind: str, **spec: Any) -> Resource:
        return Resource("node", "v2", Metadata("n"), {"hostname": "h", **spec}, sub_kind)

    def test_every_server_without_agent_is_decided_about_here(self) -> None:
        """Of the kinds of node, each but our own agent's ends at the proxy: a plain relay would let anybody in."""
        side: Any = SimpleNamespace(view=SimpleNamespace(recording=lambda: SimpleNamespace(mode="node")))
        for sub_kind in SubKind:
            ends_here = Forwarder.wanted(side, self.node(sub_kind.value))
            self.assertEqual(ends_here, sub_kind is not SubKind.TELEPORT, sub_kind)

    def test_no_way(self) -> None:
        """A node that is offline, or whose address is none, is a refusal in words."""
        copy: Any = None
        clock: Any = Clock()
        targets = Targets("example.com", copy, Registry(clock, nobody), clock)
        for node, kind in (
            (self.node("teleport"), Kind.CONNECTION_PROBLEM),
            (self.node("teleport", use_tunnel=True, addr="10.0.0.1:22"), Kind.CONNECTION_PROBLEM),
            (self.node("openssh", addr="10.0.0.1"), Kind.BAD_PARAMETER),
            (self.node("openssh", addr="10.0.0.1:ssh"), Kind.BAD_PARAMETER),
        ):
            refusal = self.assertRaises(TeleportError, targets.endpoint, node, HEADER)
            self.assertEqual(refusal.kind, kind)
