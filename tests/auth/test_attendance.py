"""
Moderators who prove that they are there.
"""

from __future__ import annotations

from datetime import timedelta

from teleport_tw.api.attendance import TARGET_KIND
from teleport_tw.api.contract import Api, MfaAnswer, MfaTarget, Scope
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.test_taps import NODE_IDS, SessionCase

ONE, OTHER = "5d1f6d6e-0000-4000-8000-000000000001", "5d1f6d6e-0000-4000-8000-000000000002"
NODE = NODE_IDS["db1"]


class AttendanceTests(SessionCase):
    """
    Alice moderates, on a node.
    """

    async def start(self) -> None:
        await super().start()
        self.host = self.agent(NODE)
        for name in (ONE, OTHER):
            spec = {"kind": "ssh", "state": "running", "address": NODE, "hostname": "db1", "login": "root"}
            await self.host.heartbeat(Resource("session_tracker", "v1", Metadata(name), spec), timedelta(minutes=5))

    def agent(self, id: str) -> Api:
        identity = Identity(username=f"{id}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        return self.cluster.auth.api_for(identity)

    async def shown(self, session: str = ONE) -> MfaAnswer:
        target = MfaTarget(kind=TARGET_KIND, name=session)
        return await self.proof(self.alice, self.api, Scope.SESSION_PRESENCE, target)

    async def test_proven(self) -> None:
        """The host hears how long ago, of this session and this user; and nothing after five minutes."""
        self.assertEqual(await self.host.seen_present(ONE, ("alice",)), {})
        await self.api.prove_presence(ONE, await self.shown())
        self.clock.ahead = 20
        ages = await self.host.seen_present(ONE, ("alice", "bob"))
        self.assertEqual(list(ages), ["alice"])
        self.assertTrue(20 <= ages["alice"] < 25, ages)
        self.assertEqual(await self.host.seen_present(OTHER, ("alice",)), {})
        self.clock.ahead = 301
        self.assertEqual(await self.host.seen_present(ONE, ("alice",)), {})

    async def test_a_code(self) -> None:
        """Counts once."""
        phone = await self.add_app(self.alice, self.api)
        self.clock.ahead = 60
        code = self.code(phone)
        await self.api.prove_presence(ONE, code)
        self.assertIn("alice", await self.host.seen_present(ONE, ("alice",)))
        await self.refused(self.api.prove_presence(OTHER, code))

    async def test_lies(self) -> None:
        """Replayed, for another session, for something else, of a recovery code, for what is no session."""
        answer = await self.shown()
        await self.refused(self.api.prove_presence(OTHER, answer))
        await self.refused(self.api.prove_presence(ONE, answer))
        answer = await self.shown()
        await self.api.prove_presence(ONE, answer)
        await self.refused(self.api.prove_presence(ONE, answer))
        for scope in (Scope.SESSION, Scope.MANAGE_DEVICES):
            await self.refused(self.api.prove_presence(OTHER, await self.proof(self.alice, self.api, scope)))
        spare = MfaAnswer(recovery=Secret("abcd-efgh-ijkl-mnop"))
        await self.refused(self.api.prove_presence(OTHER, spare), Kind.BAD_PARAMETER)
        await self.refused(self.api.prove_presence("../../users", await self.shown()), Kind.BAD_PARAMETER)
        await self.refused(self.api.create_challenge(Scope.SESSION_PRESENCE), Kind.BAD_PARAMETER)
        self.assertEqual(await self.host.seen_present(OTHER, ("alice",)), {})

    async def test_who_may_look(self) -> None:
        """Only the host where the session runs."""
        for stranger in (self.agent(NODE_IDS["web"]), self.api):
            await self.refused(stranger.seen_present(ONE, ("alice",)))
        await self.refused(self.host.seen_present("5d1f6d6e-0000-4000-8000-00000000000f", ("alice",)))
        await self.refused(self.host.seen_present(ONE, ("alice",) * 65), Kind.BAD_PARAMETER)
