"""
What a certificate or a host is good for, and what is told of it.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Api, EventQuery, HostIssueRequest
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import format_time, utc_now
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Cluster, Keys


class Bounds(TestCase):
    """
    With a cluster of its own.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        self.admin = self.cluster.local()

    def api(self, **facts: Any) -> Api:
        return self.cluster.auth.api_for(Identity(cluster="example.com", **facts))

    async def refused(self, work: Any) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            return error
        self.fail("not refused")

    async def events(self, *types: str) -> list[dict[str, Any]]:
        assert self.cluster.auth.core is not None
        await self.cluster.auth.core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        return [dict(event) for event in (await self.admin.search(EventQuery(types=types))).events]

    async def test_a_certificate_for_one_use_is_no_key_to_the_rest(self) -> None:
        """Who has one restricted to applications asks auth for nothing."""
        await self.cluster.user("alice", "access")
        whole = self.api(username="alice", roles=("access",))
        part = self.api(username="alice", roles=("access",), usage=("usage:apps",))
        self.assertEqual((await whole.get("user", "alice")).name, "alice")
        self.assertIs((await self.refused(part.get("user", "alice"))).kind, Kind.ACCESS_DENIED)

    async def test_dates_of_hosts(self) -> None:
        """An event is dated as its host says only where that could be true, and keeps what was said."""
        host = str(uuid.uuid4())
        node = self.api(username=f"{host}.example.com", system_roles=(SystemRole.NODE,))
        now = utc_now()
        dates = {
            "good": format_time(now - timedelta(hours=1)),
            "far": format_time(now + timedelta(days=3650)),
            "old": "1970-01-01T00:00:00Z",
            "none": "never",
        }
        for uid, time in dates.items():
            await node.emit([{"event": "exec", "uid": uid, "time": time, "code": "T3002I"}])
        stored = {event["uid"]: event for event in await self.events("exec")}
        self.assertEqual((stored["good"]["time"], stored["good"].get("reported_time")), (dates["good"], None))
        for uid in ("far", "old", "none"):
            self.assertEqual(stored[uid]["reported_time"], dates[uid])
            self.assertEqual(stored[uid]["time"][:10], format_time(utc_now())[:10])

    async def test_what_is_issued_and_removed_is_told(self) -> None:
        """Certificates of hosts and removed tokens are in the audit log; the token's name is not."""
        await self.admin.issue_host(HostIssueRequest(principals=("db.example.org",), keys=Keys().public))
        host = str(uuid.uuid4())
        await self.api(username=f"{host}.example.com", system_roles=(SystemRole.NODE,)).renew_host(Keys().public)
        made = await self.events("cert.create")
        self.assertEqual([event["cert_type"] for event in made], ["host", "host"])
        self.assertEqual({event["identity"]["user"] for event in made}, {"db.example.org", f"{host}.example.com"})
        await self.admin.create(Resource("token", "v2", Metadata("secret-token"), {"roles": ["Node"]}))
        await self.admin.delete("token", "secret-token")
        (gone,) = await self.events("join_token.delete")
        self.assertNotIn("secret-token", str(gone))

    async def test_a_lock_that_nobody_can_read(self) -> None:
        """It may be for anybody, so nobody but the administrator gets on until it is mended."""
        await self.cluster.user("alice", "access")
        core = self.cluster.auth.core
        assert core is not None
        lock = Resource("lock", "v2", Metadata("odd"), {"target": {"planet": "mars"}})
        core.known.learn(lock)
        alice = self.api(username="alice", roles=("access",))
        self.assertIs((await self.refused(alice.get("user", "alice"))).kind, Kind.ACCESS_DENIED)
        self.assertEqual((await self.admin.get("user", "alice")).name, "alice")
        core.known.unlearn(lock)
        self.assertEqual((await alice.get("user", "alice")).name, "alice")
