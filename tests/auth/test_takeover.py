"""
What holders of a join token try: to be a host that others know already.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Api, Certificates, EventQuery, JoinRequest
from teleport_tw.auth.joining.hosts import REMEMBERED
from teleport_tw.auth.joining.token import REFUSAL
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.tokens import handle_of
from teleport_tw.stores.layout import joined_prefix
from tests.auth.cluster import Cluster, Keys

MINUTE = timedelta(minutes=1)


class Takeover(TestCase):
    """
    With a cluster of its own.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup)
        await self.tokens("one", "two")

    async def tokens(self, *names: str) -> None:
        for name in names:
            spec = {"roles": ["Node", "App", "Proxy"]}
            await self.cluster.local().create(Resource("token", "v2", Metadata(f"token-{name}"), spec))

    async def join(self, host_id: str, token: str = "one", role: str = "Node", **more: Any) -> Certificates:
        facts: dict[str, Any] = {"node_name": "n1", "keys": Keys().public, "remote_address": "192.0.2.1", **more}
        api: Api = facts.pop("api", None) or self.cluster.local(SystemRole.PROXY)
        request = JoinRequest(token=Secret(f"token-{token}"), role=SystemRole(role), host_id=host_id, **facts)
        return await api.join(request)

    async def refused(self, work: Any) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            return error
        self.fail("not refused")

    async def test_a_host_that_was_forgotten_joins_again(self) -> None:
        """By somebody's decision, which the audit log has; hosts themselves cannot decide it."""
        host = str(uuid.uuid4())
        await self.join(host)
        other = self.cluster.auth.api_for(
            Identity(username=f"{host}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        )
        self.assertIs((await self.refused(other.delete("instance", host))).kind, Kind.ACCESS_DENIED)
        admin = self.cluster.local()
        await admin.delete("instance", host)
        await self.join(host, "two")
        self.assertIs((await self.refused(self.join(host, "one"))).kind, Kind.ALREADY_EXISTS)
        self.assertIs((await self.refused(admin.delete("instance", str(uuid.uuid4())))).kind, Kind.NOT_FOUND)
        assert self.cluster.auth.core is not None
        await self.cluster.auth.core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        page = await admin.search(EventQuery(types=("instance.forget",)))
        self.assertEqual([event["name"] for event in page.events], [host])

    async def test_who_joined(self) -> None:
        """Whoever may make tokens is told whom one let in, by its handle, for a day; nobody else is."""
        one, two = str(uuid.uuid4()), str(uuid.uuid4())
        await self.join(one)
        await self.join(two, node_name="n2")
        await self.join(two, node_name="n2", role="App")
        await self.refused(self.join(one, "two"))
        admin, handle = self.cluster.local(), handle_of(Secret("token-one"))
        found = {(each.host_id, each.node_name, each.role.value) for each in await admin.who_joined(handle)}
        self.assertEqual(found, {(one, "n1", "Node"), (two, "n2", "Node"), (two, "n2", "App")})
        self.assertEqual(await admin.who_joined(handle_of(Secret("token-two"))), ())
        self.assertNotIn("token", handle)
        for role in (SystemRole.NODE, SystemRole.PROXY):
            error = await self.refused(self.cluster.local(role).who_joined(handle))
            self.assertIs(error.kind, Kind.ACCESS_DENIED)
        self.assertIs((await self.refused(admin.who_joined(""))).kind, Kind.BAD_PARAMETER)
        assert self.cluster.auth.core is not None
        for item in (await self.cluster.auth.core.backend.range(joined_prefix(handle))).items:
            assert item.expires is not None
            self.assertLessEqual(item.expires, self.cluster.auth.core.now() + REMEMBERED)

    async def test_a_host_that_is_away_stays_itself(self) -> None:
        """Nobody joins under the id of a host that is offline; not even with its own token, nor after a restart."""
        host = str(uuid.uuid4())
        await self.join(host)
        for token in ("one", "two"):
            error = await self.refused(self.join(host, token))
            self.assertIs(error.kind, Kind.ALREADY_EXISTS)
            self.assertNotIn("n1", error.message)
        await self.cluster.auth.stopService()
        self.cluster = self.cluster.again(self.addCleanup)
        await self.cluster.auth.ready()
        self.assertIs((await self.refused(self.join(host, "two"))).kind, Kind.ALREADY_EXISTS)
        assert self.cluster.auth.core is not None
        await self.cluster.auth.core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        page = await self.cluster.local().search(EventQuery(types=("instance.join",)))
        self.assertEqual([bool(event["success"]) for event in page.events].count(False), 3)

    async def test_who_has_no_good_token_learns_nothing(self) -> None:
        """Only the holder of a good token is told that an id is known."""
        host = str(uuid.uuid4())
        await self.join(host)
        self.assertEqual((await self.refused(self.join(host, "guessed"))).message, REFUSAL)

    async def test_services_of_one_host(self) -> None:
        """They join one after another by the same token; another token makes no further service of the id."""
        host = str(uuid.uuid4())
        await self.join(host)
        self.assertIs((await self.refused(self.join(host, "two", "App"))).kind, Kind.ALREADY_EXISTS)
        self.assertEqual((await self.join(host, "one", "App")).host_id, host)

    async def test_two_at_once(self) -> None:
        """Of two that claim one id at the same time, one gets it."""
        host = str(uuid.uuid4())
        work = [Deferred.fromCoroutine(self.join(host)) for _ in range(4)]
        for each in work:
            each.addCallbacks(lambda _: True, lambda failure: failure.trap(TeleportError) and False)
        self.assertEqual(sum([await each for each in work]), 1)  # type: ignore[misc]

    async def test_auth_s_own_id(self) -> None:
        """Auth's own host is nobody else's, while services in its process take the id as often as they need."""
        own = self.cluster.auth.local_identity(SystemRole.NODE).host_id
        self.assertIs((await self.refused(self.join(own))).kind, Kind.ALREADY_EXISTS)
        node = self.cluster.local(SystemRole.NODE)
        for token in ("one", "two"):
            self.assertEqual((await self.join(own, token, api=node)).host_id, own)
        for role in ("Node", "Proxy"):
            self.assertIs((await self.refused(self.join(own, role=role))).kind, Kind.ALREADY_EXISTS)

    async def test_an_id_that_is_alive(self) -> None:
        """As before, a host that announces itself is nobody else."""
        host = str(uuid.uuid4())
        node = Resource("node", "v2", Metadata(host), {"hostname": "x"}, "teleport")
        await self.cluster.local().heartbeat(node, MINUTE)
        self.assertIs((await self.refused(self.join(host))).kind, Kind.ALREADY_EXISTS)
