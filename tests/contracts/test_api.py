"""
What both planes agree on, asked of each implementation: in the same process and over gRPC.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.admin import connect_admin
from teleport_tw.api.contract import (
    Api,
    Change,
    DatabaseCertRequest,
    DeviceType,
    EventQuery,
    MfaAnswer,
    MfaTarget,
    Query,
    Scope,
    SemaphoreRequest,
    every,
)
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Cluster, Keys


def role(name: str, **allow: Any) -> Resource:
    return Resource("role", "v7", Metadata(name), {"allow": allow or {"logins": ["root"]}})


def node(name: str, hostname: str, **labels: str) -> Resource:
    return Resource("node", "v2", Metadata(name, labels=labels), {"hostname": hostname}, "teleport")


class ApiContract:
    """
    The suite; a subclass says how the API is had.
    """

    timeout = 60

    def api_of(self, cluster: Cluster) -> Api:
        raise NotImplementedError

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup)  # type: ignore[attr-defined]
        self.api = self.api_of(self.cluster)

    async def refused(self: Any, work: Any, kind: Kind) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            self.assertEqual(error.kind, kind)
            return error
        self.fail("not refused")

    async def test_write_and_read(self: Any) -> None:
        """What is created is read back as it was written, key order included."""
        made = await self.api.create(role("dev", logins=["root"], node_labels={"env": ["b", "a"]}))
        self.assertTrue(made.revision)
        self.assertEqual(await self.api.get("role", "dev"), made)
        self.assertEqual(list(made.spec["allow"]), ["logins", "node_labels"])
        await self.refused(self.api.create(role("dev")), Kind.ALREADY_EXISTS)
        await self.refused(self.api.get("role", "none"), Kind.NOT_FOUND)

    async def test_lost_update(self: Any) -> None:
        """Of two who read the same, the second to write is told; overwriting is for who says so."""
        made = await self.api.create(role("dev"))
        changed = await self.api.update(made)
        self.assertNotEqual(changed.revision, made.revision)
        await self.refused(self.api.update(made), Kind.COMPARE_FAILED)
        await self.refused(self.api.update(role("dev")), Kind.BAD_PARAMETER)
        await self.refused(self.api.update(role("none").with_revision("1")), Kind.NOT_FOUND)
        await self.api.upsert(role("dev"))

    async def test_misspelt(self: Any) -> None:
        """Who asks for what is not there is told what lists the rest."""
        for kind, command in (("user", "tctl users ls"), ("role", "tctl get roles")):
            self.assertIn(command, (await self.refused(self.api.get(kind, "nobody"), Kind.NOT_FOUND)).message)
        missing = Resource("user", "v2", Metadata("bob"), {"roles": ["nosuch"]})
        self.assertIn("tctl get roles", (await self.refused(self.api.create(missing), Kind.BAD_PARAMETER)).message)

    async def test_devices(self: Any) -> None:
        """Accounts, challenges and devices are for people, who are no administrators on auth's host."""
        answer = MfaAnswer(otp=Secret("123456"))
        for work in (
            self.api.create_challenge(Scope.SESSION),
            self.api.mfa_required(MfaTarget(kind="node", name="web")),
            self.api.list_devices(),
            self.api.account_state(),
            self.api.begin_device(DeviceType.TOTP, "phone"),
            self.api.add_device("x", answer),
            self.api.rename_device("x", "phone"),
            self.api.delete_device("x", answer),
            self.api.recovery_codes(answer),
            self.api.change_password(Secret("x"), Secret("a good password")),
            self.api.list_sign_ins(),
            self.api.delete_sign_in("x"),
            self.api.get_headless("x"),
            self.api.answer_headless("x", True, answer),
        ):
            await self.refused(work, Kind.ACCESS_DENIED)
        self.assertTrue((await self.api.begin_login("nobody")).otp)
        await self.refused(self.api.get_web_session(Secret("x")), Kind.ACCESS_DENIED)
        await self.api.delete_web_session(Secret("x"))
        await self.refused(self.api.wait_headless("x"), Kind.ACCESS_DENIED)
        await self.refused(self.api.begin_setup_device(Secret("x"), DeviceType.TOTP), Kind.NOT_FOUND)
        self.assertEqual((await self.api.with_mfa(answer).ping()).cluster, "example.com")

    async def test_delete(self: Any) -> None:
        """What is deleted is gone; what is in use stays."""
        await self.api.create(role("dev"))
        await self.api.create(Resource("user", "v2", Metadata("alice"), {"roles": ["dev"]}))
        error = await self.refused(self.api.delete("role", "dev"), Kind.BAD_PARAMETER)
        self.assertIn("alice", error.message)
        await self.api.delete("user", "alice")
        await self.api.delete("role", "dev")
        await self.refused(self.api.delete("role", "dev"), Kind.NOT_FOUND)

    async def test_databases(self: Any) -> None:
        """Certificates for databases are for agents; what users get names the database."""
        await self.refused(
            self.api.issue_database(DatabaseCertRequest(key=Keys().public.tls, username="app")), Kind.ACCESS_DENIED
        )
        spec = {"protocol": "postgres", "uri": "localhost:5432"}
        made = await self.api.create(Resource("db", "v3", Metadata("orders", labels={"env": "prod"}), spec))
        self.assertEqual(await self.api.get("db", "orders"), made)
        error = await self.refused(
            self.api.create(Resource("db", "v3", Metadata("shop"), {**spec, "protocol": "oracle"})), Kind.BAD_PARAMETER
        )
        self.assertIn("spec.protocol", error.message)

    async def test_wrong(self: Any) -> None:
        """A wrong resource is refused with every wrong key named."""
        error = await self.refused(self.api.create(role("dev", logis=["root"])), Kind.BAD_PARAMETER)
        self.assertIn("logis", error.message)
        await self.refused(self.api.create(Resource("nonsense", "v1", Metadata("x"))), Kind.BAD_PARAMETER)
        missing = Resource("user", "v2", Metadata("bob"), {"roles": ["nosuch"]})
        await self.refused(self.api.create(missing), Kind.BAD_PARAMETER)
        await self.refused(self.api.delete("cluster_name", "cluster-name"), Kind.BAD_PARAMETER)

    async def test_pages_and_filters(self: Any) -> None:
        """Lists are paged, filtered and sorted by the server."""
        ids = [str(uuid.UUID(int=number)) for number in range(1, 8)]
        for number, name in enumerate(ids):
            env = "prod" if number % 2 else "dev"
            await self.api.heartbeat(node(name, f"host{number}", env=env), timedelta(minutes=5))
        first = await self.api.list("node", Query(limit=3))
        self.assertEqual([item.name for item in first.items], ids[:3])
        second = await self.api.list("node", Query(limit=3, start=first.next_start))
        self.assertEqual([item.name for item in second.items], ids[3:6])
        whole = [item.name async for item in every(self.api, "node", Query(limit=2))]
        self.assertEqual(whole, ids)
        for query, wanted in (
            (Query(labels={"env": "prod"}), [1, 3, 5]),
            (Query(labels={"env": "p*"}), [1, 3, 5]),
            (Query(search=("HOST5",)), [5]),
            (Query(search=("prod", "host3")), [3]),
            (Query(expression='labels["env"] == "dev" && name != "host0"'), [2, 4, 6]),
            (Query(sort="-hostname", limit=2), [6, 5]),
            (Query(sub_kind="openssh"), []),
        ):
            page = await self.api.list("node", query)
            self.assertEqual([item.name for item in page.items], [ids[number] for number in wanted], query)
        await self.refused(self.api.list("node", Query(expression="labels[")), Kind.BAD_PARAMETER)
        await self.refused(self.api.list("node", Query(start="nonsense")), Kind.BAD_PARAMETER)

    async def test_watch(self: Any) -> None:
        """What is there, INIT, then news in order; closing ends it."""
        await self.api.create(role("before"))
        watch = self.api.watch(["role"])
        names = set()
        async for news in watch:
            if news.change is Change.INIT:
                break
            names.add(news.resource.name)
        self.assertLessEqual({"before", "access", "editor", "auditor"}, names)
        made = await self.api.create(role("after"))
        await self.api.delete("role", "after")
        put, gone = await watch.__anext__(), await watch.__anext__()
        self.assertEqual((put.change, put.resource), (Change.PUT, made))
        self.assertEqual((gone.change, gone.resource.name), (Change.DELETE, "after"))
        await watch.aclose()

    async def test_authorities_without_private_halves(self: Any) -> None:
        """Private keys are shown to who asks for secrets and may, and to nobody by accident."""
        shown = await self.api.get("cert_authority", "example.com", sub_kind="user")
        self.assertNotIn("PRIVATE", str(shown))
        page = await self.api.list("cert_authority")
        self.assertEqual(len(page.items), 6)
        self.assertNotIn("PRIVATE", str(page))
        secret = await self.api.get("cert_authority", "example.com", sub_kind="user", with_secrets=True)
        self.assertIn("PRIVATE", str(secret.spec))

    async def test_tokens_masked(self: Any) -> None:
        """A token's secret shows only to who asks for secrets."""
        await self.api.create(Resource("token", "v2", Metadata("very-secret-token"), {"roles": ["Node"]}))
        page = await self.api.list("token")
        self.assertNotIn("very-secret", page.items[0].name)
        page = await self.api.list("token", Query(with_secrets=True))
        self.assertEqual(page.items[0].name, "very-secret-token")

    async def test_semaphores(self: Any) -> None:
        """Leases are counted, kept, and given back."""
        request = SemaphoreRequest(kind="connection", name="alice", limit=2, ttl=timedelta(minutes=2), holder="proxy-1")
        first = await self.api.acquire(request)
        await self.api.acquire(request)
        await self.refused(self.api.acquire(request), Kind.LIMIT_EXCEEDED)
        await self.api.keep(request, first)
        await self.api.release(request, first)
        await self.api.release(request, first)
        await self.refused(self.api.keep(request, first), Kind.NOT_FOUND)
        await self.api.acquire(request)

    async def test_settings(self: Any) -> None:
        """A setting is changed, and deleting it brings its default back."""
        config = await self.api.get("session_recording_config", "session-recording-config")
        changed = Resource(config.kind, "v2", config.metadata, {"mode": "off"})
        await self.api.update(changed)
        self.assertEqual((await self.api.get(config.kind, config.name)).spec["mode"], "off")
        await self.api.delete(config.kind, config.name)
        self.assertNotEqual((await self.api.get(config.kind, config.name)).spec.get("mode"), "off")

    async def test_audit(self: Any) -> None:
        """Events are kept once, found again, and the log verifies; each change says who made it."""
        event = {"uid": str(uuid.uuid4()), "event": "exec", "code": "T3002I", "time": "2026-01-31T15:04:05Z", "ei": 0}
        await self.api.emit([event])
        await self.api.emit([event])
        found = await self.api.search(EventQuery(types=("exec",)))
        self.assertEqual([each["uid"] for each in found.events], [event["uid"]])
        await self.api.create(role("dev"))
        await self.cluster.auth.core.events.flush()
        made = await self.api.search(EventQuery(types=("role.created",), until=utc_now() + timedelta(hours=1)))
        self.assertEqual([(each["name"], each["code"]) for each in made.events], [("dev", "T9000I")])
        self.assertTrue(made.events[0]["user"].endswith(".example.com"))
        verified = await self.api.verify()
        self.assertEqual(verified.problems, ())
        self.assertGreaterEqual(verified.checked, 2)

    async def test_recordings(self: Any) -> None:
        """Bytes come back as they went in."""
        session = str(uuid.uuid4())
        await self.api.put_recording(session, 1, b"a" * 700_000)
        await self.api.put_recording(session, 2, b"b" * 10)
        got = b"".join([chunk async for chunk in self.api.get_recording(session)])
        self.assertEqual(got, b"a" * 700_000 + b"b" * 10)

    async def test_a_recording_is_followed(self: Any) -> None:
        """What is there, what comes, and the end when it is complete."""
        session = str(uuid.uuid4())
        await self.api.put_recording(session, 1, b"a" * 700_000)
        following, got = self.api.get_recording(session, follow=True), b""
        while len(got) < 700_000:
            got += await anext(following)
        await self.api.put_recording(session, 2, b"b")
        got += await anext(following)
        await self.api.put_recording(session, 3, b"c")
        await self.api.complete_recording(session, 3)
        got += b"".join([chunk async for chunk in following])
        self.assertEqual(got, b"a" * 700_000 + b"bc")

    async def test_ping(self: Any) -> None:
        """Anybody learns the cluster's name and pins."""
        info = await self.api.ping()
        self.assertEqual(info.cluster, "example.com")
        self.assertTrue(info.ca_pins[0].startswith("sha256:"))
        self.assertEqual(info.auth_preference["second_factors"], ["otp"])


class LocalContract(ApiContract, TestCase):
    """
    In the same process.
    """

    def api_of(self, cluster: Cluster) -> Api:
        return cluster.local(SystemRole.ADMIN)


class RpcContract(ApiContract, TestCase):
    """
    Over gRPC and mutual TLS.
    """

    def api_of(self, cluster: Cluster) -> Api:
        api = connect_admin(cluster.directory)
        cluster.channels.append(api)
        return api
