"""
Tests for L{teleport_tw.proxy.route}.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.proxy.route import Strategy, find_node, split_target
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import all_labels

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def node(
    name: str, hostname: Any, *, minutes: int | None = None, labels: dict[str, str] | None = None, **spec: Any
) -> Resource:
    """
    A server's heartbeat.
    """
    expires = None if minutes is None else NOW + timedelta(minutes=minutes)
    return Resource("node", "v2", Metadata(name, labels=labels or {}, expires=expires), {"hostname": hostname, **spec})


NODES = [
    node("id-1", "web", labels={"env": "prod", "n": "1"}, cmd_labels={"env": {"result": "stage"}, "bad": "x"}),
    node(
        "id-2",
        "db",
        labels={"env": "prod", "n": "2"},
        addr="10.0.0.2:3022",
        public_addrs=["db.corp:22", "[fd00::2]:22"],
    ),
    node("id-3", "id-1", labels={"env": "dev"}),
    node("id-4", "twin", minutes=5),
    node("id-5", "twin", minutes=9),
    node("id-6", "10.0.0.2"),
    node("id-7", "a.example.com"),
    node("id-8", None, addr=None),
]
FOUND: list[tuple[str, str]] = [
    ("web", "id-1"),
    ("db", "id-2"),
    ("id-1", "id-1"),
    ("id-3", "id-3"),
    ("web.example.com", "id-1"),
    ("id-2.example.com", "id-2"),
    ("a.example.com", "id-7"),
    ("a", ""),
    ("db.corp", "id-2"),
    ("fd00::2", "id-2"),
    ("10.0.0.2", "id-6"),
    ("env=stage", "id-1"),
    ("env=prod", "id-2"),
    ("env=prod,n=2", "id-2"),
    ("env=prod,n=1", ""),
    ("env=", ""),
    ("=", ""),
    ("WEB", ""),
    ("web.other.com", ""),
]
SPLIT: list[tuple[str, tuple[str, str]]] = [
    ("host", ("host", "")),
    ("host:22", ("host", "")),
    ("host:22@leaf", ("host", "leaf")),
    ("host@leaf", ("host", "leaf")),
    ("[fd00::1]:22", ("fd00::1", "")),
    ("[fd00::1]:22@leaf", ("fd00::1", "leaf")),
    ("fd00::1", ("fd00::1", "")),
    ("[fd00::1", ("fd00::1", "")),
    ("", ("", "")),
]


class RouteTests(SynchronousTestCase):
    """
    Names to servers.
    """

    def test_found(self) -> None:
        """
        A UUID before host names before addresses; a server cannot take another's UUID for its name.
        """
        for host, expected in FOUND:
            if expected:
                self.assertEqual(find_node(NODES, host, "example.com").name, expected, host)
            else:
                error = self.assertRaises(TeleportError, find_node, NODES, host, "example.com")
                self.assertIs(error.kind, Kind.NOT_FOUND)

    def test_no_name_is_nobody(self) -> None:
        """
        A server without a host name is not found by none.
        """
        for host in ("", ".example.com"):
            self.assertRaises(TeleportError, find_node, NODES, host, "example.com")

    def test_case(self) -> None:
        """
        Only where the cluster says so.
        """
        self.assertEqual(find_node(NODES, "WEB", "example.com", ignore_case=True).name, "id-1")
        self.assertEqual(find_node(NODES, "DB.corp", "example.com", ignore_case=True).name, "id-2")

    def test_several(self) -> None:
        """
        Refused with their UUIDs, or the one whose heartbeat lasts longest.
        """
        error = self.assertRaises(TeleportError, find_node, NODES, "twin", "example.com")
        self.assertIs(error.kind, Kind.BAD_PARAMETER)
        self.assertIn("twin (id-4), twin (id-5)", error.message)
        nodes = [*NODES, node("id-9", "twin")]
        self.assertEqual(find_node(nodes, "twin", "example.com", strategy=Strategy.MOST_RECENT).name, "id-5")

    def test_split(self) -> None:
        """
        Ports are not looked at.
        """
        for target, expected in SPLIT:
            self.assertEqual(split_target(target), expected, target)

    def test_labels(self) -> None:
        """
        Results of commands win.
        """
        self.assertEqual(all_labels(NODES[0]), {"env": "stage", "n": "1"})
