"""
Sessions that run are announced by the host they run on, and by no other.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.auth.gate import Gate
from teleport_tw.auth.presence import PresenceRegister
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.sessions import KIND, Session
from teleport_tw.stores.presence import Presence
from teleport_tw.stores.semaphores import Semaphores

TTL = timedelta(minutes=5)
OURS, THEIRS = str(uuid.uuid4()), str(uuid.uuid4())


def gate(host: str, role: SystemRole = SystemRole.NODE) -> Gate:
    """A host's; nothing of the core is asked."""
    return Gate(None, Identity(username=f"{host}.example.com", system_roles=(role,)))  # type: ignore[arg-type]


def tracker(name: str, address: str) -> Resource:
    """As an agent announces it."""
    return Session(name=name, address=address, login="root", host_user="alice").to_resource()


class TrackerTests(SynchronousTestCase):
    """
    On a memory backend.
    """

    def setUp(self) -> None:
        clock = Clock()
        backend = MemoryBackend(clock)
        self.presence = Presence(backend, clock)
        self.register = PresenceRegister(self.presence, Semaphores(backend, clock))
        self.session = str(uuid.uuid4())

    def done(self, work: object) -> object:
        """What came of it."""
        return self.successResultOf(Deferred.fromCoroutine(work))  # type: ignore[arg-type]

    def refused(self, work: object) -> None:
        """Access was denied."""
        failure = self.failureResultOf(Deferred.fromCoroutine(work), TeleportError)  # type: ignore[arg-type]
        self.assertIs(failure.value.kind, Kind.ACCESS_DENIED)

    def test_a_host_announces_its_own_sessions(self) -> None:
        """
        And takes them away.
        """
        self.done(self.register.heartbeat(gate(OURS), tracker(self.session, OURS), TTL))
        self.assertIsNotNone(self.done(self.presence.find(KIND, self.session)))
        self.done(self.register.goodbye(gate(OURS), KIND, self.session))
        self.assertIsNone(self.done(self.presence.find(KIND, self.session)))

    def test_nobody_else_s(self) -> None:
        """
        Neither for another host, nor over another's, nor away; nor as something that serves no sessions.
        """
        self.refused(self.register.heartbeat(gate(OURS), tracker(self.session, THEIRS), TTL))
        self.done(self.register.heartbeat(gate(THEIRS), tracker(self.session, THEIRS), TTL))
        self.refused(self.register.heartbeat(gate(OURS), tracker(self.session, OURS), TTL))
        self.refused(self.register.goodbye(gate(OURS), KIND, self.session))
        found = self.done(self.presence.find(KIND, self.session))
        assert isinstance(found, Resource)
        self.assertEqual(found.spec["address"], THEIRS)
        self.refused(self.register.heartbeat(gate(OURS, SystemRole.BOT), tracker(str(uuid.uuid4()), OURS), TTL))
