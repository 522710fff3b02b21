"""
A proxy that is alive says so, and says goodbye.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.daemon.announcing import HEARTBEAT, ServerAnnouncer
from teleport_tw.dial.heartbeats import AGAIN_SECONDS, SPREAD
from teleport_tw.resources import kinds
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.servers import PROXY, Server

SERVER = Server(kind=PROXY, name="id-1", hostname="edge", addr="0.0.0.0:3080", public_addrs=("t.example:443",))


class Auth:
    """
    Notes what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Resource] = []
        self.left: list[tuple[str, str]] = []
        self.away = False

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")
        self.told.append(resource)

    async def goodbye(self, kind: str, name: str) -> None:
        self.left.append((kind, name))


class AnnouncerTests(SynchronousTestCase):
    """
    By a clock of the test's own.
    """

    def setUp(self) -> None:
        self.clock, self.auth = Clock(), Auth()
        api: Any = self.auth
        self.announcer = ServerAnnouncer(api, self.clock, SERVER)

    def test_life(self) -> None:
        """At once, then every now and then, and off the list at the end."""
        self.announcer.startService()
        self.assertEqual(len(self.auth.told), 1)
        self.clock.advance(HEARTBEAT.total_seconds() * (1 - SPREAD) - 1)
        self.assertEqual(len(self.auth.told), 1)
        self.clock.advance(HEARTBEAT.total_seconds() * 2 * SPREAD + 2)
        self.assertEqual(len(self.auth.told), 2)
        self.successResultOf(self.announcer.stopService())
        self.assertEqual(self.auth.left, [(PROXY, "id-1")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_auth_is_away(self) -> None:
        """It is told soon after it is back."""
        self.auth.away = True
        self.announcer.startService()
        self.auth.away = False
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.auth.told), 1)
        self.successResultOf(self.announcer.stopService())

    def test_as_listed(self) -> None:
        """C{tctl get proxies} knows the kind by its plural, and what is announced stands its check."""
        self.announcer.startService()
        (told,) = self.auth.told
        kinds.validate(told)
        self.assertEqual(Server.parse(told), SERVER)
        self.assertEqual(kinds.lookup("proxies").row(told), ("edge", "id-1", "t.example:443", ""))
        with self.assertRaises(TeleportError):
            kinds.validate(Resource(PROXY, "v2", told.metadata, {"public_addrs": 7}))
        self.successResultOf(self.announcer.stopService())
