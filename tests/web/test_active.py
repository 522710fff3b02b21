"""
Sessions that go on, for those who watch over others.
"""

from __future__ import annotations

from typing import Any

from teleport_tw.resources.metadata import Metadata, Resource
from tests.proxy.world import until
from tests.web.live import SITE, LiveCase


class ActiveTests(LiveCase):
    """
    Who must be watched, and by whom.
    """

    async def test_moderated(self) -> None:
        """One whose owner must be watched says so, and how it may be joined; one that is over is not listed."""
        policy = {"name": "p", "filter": "true", "kinds": ["ssh"], "count": 1, "modes": ["moderator"]}
        await self.role("watched", allow={"require_session_join": [policy], "logins": ["root"]})
        joining = {"name": "a", "roles": ["watched"], "kinds": ["ssh"], "modes": ["moderator", "observer"]}
        await self.role("watch", allow={"join_sessions": [joining]})
        rule = {"resources": ["session_tracker"], "verbs": ["list", "read"]}
        await self.role("look", allow={"rules": [rule]})
        await self.cluster.user("bob", "watched")
        for number, (owner, state) in enumerate((("bob", "pending"), ("bob", "terminated"), ("gone", "running"))):
            spec: dict[str, Any] = {"kind": "ssh", "state": state, "host_user": owner}
            name = f"5d1f6d6e-0000-4000-8000-00000000000{number}"
            await self.admin.upsert(Resource("session_tracker", "v1", Metadata(name), spec))
        await until(lambda: any(each.name == "look" for each in self.copy.list("role")))
        alice, _ = await self.person("alice", "watch")
        (session,) = (await alice.ask("GET", f"{SITE}/sessions")).json["sessions"]
        self.assertEqual((session["moderated"], session["state"]), (True, "pending"))
        self.assertEqual(session["modes"], ["observer", "moderator"])
        carol, _ = await self.person("carol", "look")
        found = (await carol.ask("GET", f"{SITE}/sessions")).json["sessions"]
        self.assertEqual([(each["owner"], each["modes"]) for each in found], [("bob", []), ("gone", [])])
