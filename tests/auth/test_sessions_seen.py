"""
Whose running sessions a user sees.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Api
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki.identity import Identity
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.sessions import KIND, Participant, Session
from tests.auth.cluster import Cluster


class Seen(TestCase):
    """
    C{tsh sessions ls}.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        admin = self.cluster.local()
        policy = {"name": "help", "roles": ["access"], "kinds": ["ssh"], "modes": ["observer"]}
        spec: dict[str, Any] = {"allow": {"join_sessions": [policy]}}
        await admin.create(Resource("role", "v7", Metadata("helper"), spec))
        await admin.create(Resource("role", "v7", Metadata("plain"), {"allow": {"logins": ["x"]}}))
        await self.cluster.user("alice", "access")
        for name, role in (("bob", "plain"), ("carol", "plain"), ("helen", "helper")):
            await self.cluster.user(name, role)
        self.of_alice = await self.session("alice", "bob")
        self.of_carol = await self.session("carol")

    async def session(self, owner: str, *others: str) -> str:
        name = str(uuid.uuid4())
        people = tuple(Participant(id=each, user=each) for each in (owner, *others))
        session = Session(name=name, address=str(uuid.uuid4()), login="root", host_user=owner, participants=people)
        await self.cluster.local().heartbeat(session.to_resource(), timedelta(minutes=5))
        return name

    def api(self, name: str, role: str) -> Api:
        return self.cluster.auth.api_for(Identity(username=name, cluster="example.com", roles=(role,)))

    async def test_who_sees_which(self) -> None:
        """Their own, those they take part in, and those they may join; nobody else's, by list or by name."""
        for name, role, seen in (
            ("alice", "access", {self.of_alice}),
            ("bob", "plain", {self.of_alice}),
            ("carol", "plain", {self.of_carol}),
            ("helen", "helper", {self.of_alice}),
            ("dave", "plain", set()),
        ):
            api = self.api(name, role)
            self.assertEqual({each.name for each in (await api.list(KIND)).items}, seen, name)
            for session in (self.of_alice, self.of_carol):
                try:
                    self.assertEqual((await api.get(KIND, session)).name, session)
                    self.assertIn(session, seen)
                except TeleportError as error:
                    self.assertIs(error.kind, Kind.NOT_FOUND)
                    self.assertNotIn(session, seen)
