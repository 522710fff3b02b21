"""
Whoever follows a recording waits where one may come, and is told where none will.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from teleport_tw.auth import local
from teleport_tw.base.errors import Kind
from teleport_tw.pki.identity import Identity, SystemRole
from tests.auth.test_service import AuthCase


class FollowingTests(AuthCase):
    """
    Of recordings of which nothing is there.
    """

    listen = False

    async def follow(self, session: str) -> str:
        """
        @return: why there is nothing.
        """
        error = await self.refused(anext(self.cluster.local().get_recording(session, follow=True)))
        self.assertIs(error.kind, Kind.NOT_FOUND)
        return error.message

    async def begun(self, mode: str) -> str:
        """
        @return: a session that its host told of.
        """
        name, session = str(uuid.uuid4()), str(uuid.uuid4())
        identity = Identity(username=f"{name}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        start = {
            "event": "session.start",
            "code": "T2000I",
            "uid": str(uuid.uuid4()),
            "time": "2026-01-31T15:04:05Z",
            "ei": 0,
            "sid": session,
            "session_recording": mode,
        }
        await self.cluster.auth.api_for(identity).emit([start])
        return session

    async def test_never_recorded(self) -> None:
        """Where it was off nobody waits at all."""
        session = await self.begun("off")
        self.patch(local, "FOLLOW_SECONDS", 3600.0)
        self.assertEqual(await self.follow(session), f"session {session} was not recorded")

    async def test_unknown(self) -> None:
        """Of a session that nobody told of, a look or two more are taken: it may have begun just now."""
        looks = await self._looks(str(uuid.uuid4()))
        self.assertEqual(looks, local.LOOKS_UNKNOWN)

    async def test_on_its_way(self) -> None:
        """A session that is recorded sends its recording at some time."""
        looks = await self._looks(await self.begun("node"))
        self.assertEqual(looks, local.LOOKS)

    async def _looks(self, session: str) -> int:
        self.patch(local, "FOLLOW_SECONDS", 0.0)
        core = self.cluster.auth.core
        assert core is not None
        storage, looks = type(core.recordings.storage), 0
        stream = storage.stream

        def counted(*words: Any) -> AsyncIterator[bytes]:
            nonlocal looks
            looks += 1
            return stream(*words)

        self.patch(storage, "stream", counted)
        self.assertEqual(await self.follow(session), f"there is no recording of session {session}")
        return looks
