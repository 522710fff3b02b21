"""
Every kind of caller against every call of the contract: a table, so that a new call or role has to be thought about.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import (
    Api,
    DatabaseCertRequest,
    DeviceType,
    EventQuery,
    HostIssueRequest,
    IssueRequest,
    JoinRequest,
    LoginRequest,
    MfaAnswer,
    MfaTarget,
    OpenSSHIssueRequest,
    Scope,
    SemaphoreRequest,
    SetupPurpose,
)
from teleport_tw.auth.service import STRANGER
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import PASSWORD, Cluster, Keys

KEYS = Keys().public
SESSION = "9b4f6d1e-8e3f-4b59-a3b1-0c1d2e3f4a5b"
ROLE = Resource("role", "v7", Metadata("mine"), {"allow": {"logins": ["root"]}})
TOKEN = Resource("token", "v2", Metadata("a-token-of-tests"), {"roles": ["Node"]})
USER = Resource("user", "v2", Metadata("carol"), {"roles": ["access"]})
LOCK = Resource("lock", "v2", Metadata(str(uuid.uuid4())), {"target": {"user": "carol"}})


def event(name: str, **more: Any) -> dict[str, Any]:
    facts = {"uid": str(uuid.uuid4()), "event": name, "code": "T0", "time": "2026-01-31T15:04:05Z", "ei": 0}
    return {**facts, **more}


def announcement(kind: str, name: str, sub_kind: str = "") -> Resource:
    return Resource(kind, "v2", Metadata(name), {"hostname": "x"} if kind == "node" else {}, sub_kind)


async def drain(chunks: Any) -> None:
    async for _ in chunks:
        pass


async def first(watch: Any) -> None:
    try:
        await watch.__anext__()
    finally:
        await watch.aclose()


LEASE = SemaphoreRequest(kind="connection", name="alice", limit=3, ttl=timedelta(minutes=1), holder="h")

HOSTS = ("Proxy", "Node", "App", "Db", "Kube", "WindowsDesktop", "Discovery", "Instance", "Bot")
SERVICES = ("Proxy", "Node", "App", "Db", "Kube", "WindowsDesktop")
PEOPLE = ("editor", "auditor", "alice")
EVERY = ("Admin", *HOSTS, "editor", "auditor", "alice")

CALLS: Mapping[str, tuple[Callable[[Api], Any], tuple[str, ...]]] = {
    "ping": (lambda api: api.ping(), (*EVERY, "nobody")),
    "login": (
        lambda api: api.login(LoginRequest(username="x", password=PASSWORD, otp=Secret("1"), keys=KEYS)),
        (),  # refused for the proxy too: there is no such user; see test_proxies_sign_in
    ),
    "issue for others": (lambda api: api.issue(IssueRequest(keys=KEYS, username="bob")), ("Admin",)),
    "issue for itself": (
        lambda api: api.issue(IssueRequest(keys=KEYS)),
        (*EVERY, "nobody"),  # hosts and strangers are told to name a user
    ),
    "issue_host": (
        lambda api: api.issue_host(HostIssueRequest(principals=("x.example.org",), keys=KEYS)),
        ("Admin", "editor"),
    ),
    "issue_openssh": (
        lambda api: api.issue_openssh(OpenSSHIssueRequest(user_certificate=b"", login="r", node="n", ssh_key=b"")),
        ("Admin", "Proxy"),
    ),
    "issue_database": (
        lambda api: api.issue_database(DatabaseCertRequest(key=KEYS.tls, username="orders")),
        ("Db",),
    ),
    "who_joined": (lambda api: api.who_joined("0" * 32), ("Admin", "editor")),
    "create_setup": (lambda api: api.create_setup("bob", SetupPurpose.INVITE, NEVER), ("Admin", "editor")),
    "get_setup": (lambda api: api.get_setup(Secret("x")), ("Admin", "Proxy")),
    "complete_setup": (
        lambda api: api.complete_setup(Secret("x"), PASSWORD, Secret("1")),
        ("Admin", "Proxy"),
    ),
    "begin_login": (lambda api: api.begin_login("x"), ("Admin", "Proxy")),
    "begin_setup_device": (
        lambda api: api.begin_setup_device(Secret("x"), DeviceType.TOTP),
        ("Admin", "Proxy"),
    ),
    "create_web_session": (
        lambda api: api.create_web_session(LoginRequest(username="x", password=PASSWORD)),
        (),  # Admin and Proxy pass, and are told that the password is wrong, in the same words
    ),
    "get_web_session": (lambda api: api.get_web_session(Secret("x")), ()),
    "delete_web_session": (lambda api: api.delete_web_session(Secret("x")), ("Admin", "Proxy")),
    "create_challenge": (lambda api: api.create_challenge(Scope.SESSION), PEOPLE),
    "mfa_required": (lambda api: api.mfa_required(MfaTarget(kind="node", name="x")), PEOPLE),
    "prove_presence": (lambda api: api.prove_presence(SESSION, MfaAnswer(recovery=Secret("1"))), PEOPLE),
    "seen_present": (lambda api: api.seen_present(SESSION, ("x",)), ("Admin",)),  # and the host where it runs
    "list_devices": (lambda api: api.list_devices(), PEOPLE),
    "account_state": (lambda api: api.account_state(), PEOPLE),
    "add_device": (lambda api: api.add_device("x", MfaAnswer(otp=Secret("1"))), PEOPLE),
    "list_sign_ins": (lambda api: api.list_sign_ins(), PEOPLE),
    "delete_sign_in": (lambda api: api.delete_sign_in("x"), PEOPLE),
    "get_headless": (lambda api: api.get_headless("x"), PEOPLE),
    "create_headless": (lambda api: api.create_headless("x", KEYS), ()),
    "acquire": (lambda api: api.acquire(LEASE), ("Admin", *SERVICES)),
    "keep": (lambda api: api.keep(LEASE, "x"), ("Admin", *SERVICES)),
    "release": (lambda api: api.release(LEASE, "x"), ("Admin", *SERVICES)),
    "search": (lambda api: api.search(EventQuery()), ("Admin", *PEOPLE)),
    "verify": (lambda api: api.verify(), ("Admin", *PEOPLE)),
    "get_recording": (lambda api: drain(api.get_recording(SESSION)), ("Admin", "auditor", "editor")),
    "search_recordings": (
        lambda api: api.search_recordings("x", EventQuery()),
        ("Admin", *PEOPLE),  # each hit is asked about by itself
    ),
    "emit session.start": (
        lambda api: api.emit([event("session.start", sid=SESSION)]),
        ("Admin", "Proxy", "Node", "Kube"),
    ),
    "emit nothing": (lambda api: api.emit([]), ("Admin", *SERVICES)),
    "put_recording": (
        lambda api: api.put_recording(str(uuid.uuid4()), 1, b"x"),
        ("Admin", *SERVICES),
    ),
    "complete_recording": (lambda api: api.complete_recording(str(uuid.uuid4()), 1), ("Admin", *SERVICES)),
    "create role": (lambda api: api.create(ROLE), ("Admin", "editor")),
    "upsert role": (lambda api: api.upsert(ROLE), ("Admin", "editor")),
    "update role": (lambda api: api.update(ROLE), ("Admin", "editor")),
    "delete role": (lambda api: api.delete("role", "mine"), ("Admin", "editor")),
    "create user": (lambda api: api.create(USER), ("Admin", "editor")),
    "create token": (lambda api: api.create(TOKEN), ("Admin", "editor")),
    "create lock": (lambda api: api.create(LOCK), ("Admin", "editor")),
    "delete node": (lambda api: api.delete("node", "x"), ("Admin", "editor")),
    "list tokens": (lambda api: api.list("token"), ("Admin", "editor")),
    "list users": (lambda api: api.list("user"), ("Admin", "Proxy", "editor")),
    "list roles": (lambda api: api.list("role"), ("Admin", *(set(HOSTS) - {"Bot"}), "editor")),
    "list locks": (lambda api: api.list("lock"), ("Admin", *(set(HOSTS) - {"Bot"}), "editor")),
    "list authorities": (
        lambda api: api.list("cert_authority"),
        ("Admin", *(set(HOSTS) - {"Bot"}), "editor", "alice", "auditor"),
    ),
    "authority with keys": (
        lambda api: api.get("cert_authority", "example.com", sub_kind="user", with_secrets=True),
        ("Admin",),
    ),
    "watch roles": (lambda api: first(api.watch(["role"])), ("Admin", *(set(HOSTS) - {"Bot"}), "editor")),
    "watch users": (lambda api: first(api.watch(["user"])), ("Admin", "Proxy", "editor")),
}


class Permissions(TestCase):
    """
    With one cluster of its own.
    """

    timeout = 120

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        await self.cluster.user("bob", "access")

    def api(self, who: str) -> Api:
        if who == "nobody":
            return self.cluster.auth.api_for(STRANGER)
        if who in ("alice", "editor", "auditor"):
            roles = {"alice": "access"}.get(who, who)
            return self.cluster.auth.api_for(Identity(username=who, cluster="example.com", roles=(roles,)))
        return self.host(SystemRole(who))[0]

    def host(self, role: SystemRole) -> tuple[Api, str]:
        name = str(uuid.uuid4())
        identity = Identity(username=f"{name}.example.com", cluster="example.com", system_roles=(role,))
        return self.cluster.auth.api_for(identity), name

    async def outcome(self, work: Callable[[Api], Any], api: Api) -> Kind | None:
        try:
            await work(api)
        except TeleportError as error:
            return error.kind
        return None

    async def test_table(self) -> None:
        """Each caller may do just what the table says."""
        wrong = []
        for call, (work, allowed) in CALLS.items():
            for who in ("Admin", *HOSTS, "editor", "auditor", "alice", "nobody"):
                kind = await self.outcome(work, self.api(who))
                refused = kind is Kind.ACCESS_DENIED or (call.startswith("emit") and kind is Kind.BAD_PARAMETER)
                if refused != (who not in allowed):
                    wrong.append((call, who, kind))
        self.assertEqual(wrong, [])

    async def test_announcements(self) -> None:
        """A host announces itself, as what it is, and nobody else."""
        own = {
            SystemRole.PROXY: {"proxy"},
            SystemRole.NODE: {"node"},
            SystemRole.APP: {"app_server"},
            SystemRole.DB: {"db_server", "db_service"},
            SystemRole.KUBE: {"kube_server"},
            SystemRole.WINDOWS_DESKTOP: {"windows_desktop", "windows_desktop_service"},
            SystemRole.DISCOVERY: set(),
            SystemRole.BOT: set(),
        }
        every = {kind for kinds in own.values() for kind in kinds} | {"auth_server", "user", "role"}
        wrong = []
        for role, kinds in own.items():
            for kind in sorted(every):
                api, name = self.host(role)
                for said, fits in ((name, kind in kinds), (str(uuid.uuid4()), False)):
                    told = announcement(kind, said)
                    refusal = await self.outcome(lambda api, t=told: api.heartbeat(t, timedelta(minutes=1)), api)
                    left = await self.outcome(lambda api, t=told: api.goodbye(t.kind, t.name), api)
                    for outcome in (refusal, left):
                        if (outcome is Kind.ACCESS_DENIED) == fits:
                            wrong.append((role, kind, fits, outcome))
        self.assertEqual(wrong, [])

    async def test_inventory(self) -> None:
        """Auth, and every host that announces a service, is in the inventory with all that runs there."""
        proxy, name = self.host(SystemRole.PROXY)
        spec = {"hostname": "p1", "version": "1.2.3"}
        await proxy.heartbeat(Resource("proxy", "v2", Metadata(name), spec), timedelta(minutes=1))
        identity = Identity(username=f"{name}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        node = self.cluster.auth.api_for(identity)
        told = Resource("instance", "v1", Metadata(name), {"services": ["Node"], "hostname": "p1"})
        await node.heartbeat(told, timedelta(minutes=1))
        listed = {item.name: item.spec for item in (await self.cluster.local().list("instance")).items}
        self.assertEqual(listed.pop(name), {"services": ["Node", "Proxy"], **spec})
        self.assertEqual([spec["services"] for spec in listed.values()], [["Auth"]])

    async def test_no_agentless_node_by_itself(self) -> None:
        """A node cannot announce itself as a stock server, to which proxies would connect for users."""
        api, name = self.host(SystemRole.NODE)
        told = announcement("node", name, "openssh")
        kind = await self.outcome(lambda api: api.heartbeat(told, timedelta(minutes=1)), api)
        self.assertIs(kind, Kind.ACCESS_DENIED)

    async def test_proxies_sign_in(self) -> None:
        """A proxy may ask for a sign-in, and join for others; where they came from is for it to say."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        await self.cluster.sign_in("alice", totp.now(), Keys())
        await self.cluster.local().create(TOKEN)
        for role, shown in ((SystemRole.PROXY, "192.0.2.9"), (SystemRole.NODE, None)):
            request = JoinRequest(
                token=Secret("a-token-of-tests"),
                role=SystemRole.NODE,
                host_id=str(uuid.uuid4()),
                node_name="n",
                keys=KEYS,
                remote_address="192.0.2.9",
            )
            await self.host(role)[0].join(request)
            core = self.cluster.auth.core
            assert core is not None
            await core.events.flush()  # type: ignore[attr-defined]  # the emitter's
            page = await self.cluster.local().search(EventQuery(types=("instance.join",)))
            mine = [each for each in page.events if each["host_id"] == request.host_id]
            self.assertEqual([each.get("addr.remote") or None for each in mine], [shown])


class Claims(Permissions):
    """
    What hosts say of themselves.
    """

    test_table = test_announcements = test_inventory = test_no_agentless_node_by_itself = test_proxies_sign_in = None  # type: ignore[assignment]

    async def stored(self, uid: str) -> dict[str, Any] | None:
        page = await self.cluster.local().search(EventQuery(text=uid))
        return dict(page.events[0]) if page.events else None

    async def say(self, api: Api, told: dict[str, Any]) -> dict[str, Any] | None:
        try:
            await api.emit([told])
        except TeleportError as error:
            self.assertIs(error.kind, Kind.BAD_PARAMETER)
            self.assertIsNone(await self.stored(told["uid"]))
            return None
        return await self.stored(told["uid"])

    async def test_only_auth_says(self) -> None:
        """What only auth can know is refused from every host."""
        names = (
            "user.login user.create user.update user.delete user.password_change reset_password_token.create "
            "cert.create role.created role.updated role.deleted lock.created lock.deleted instance.join bot.join "
            "join_token.create auth_preference.update session.recording.access access_request.review mfa.add"
        )
        for role in SystemRole:
            if role in (SystemRole.AUTH, SystemRole.ADMIN, SystemRole.DISCOVERY, SystemRole.INSTANCE, SystemRole.BOT):
                continue
            api, _ = self.host(role)
            for name in names.split():
                self.assertIsNone(await self.say(api, event(name)), (role, name))

    async def test_own_server_alone(self) -> None:
        """A node speaks of its own server; a proxy for others says that it forwarded them."""
        node, node_id = self.host(SystemRole.NODE)
        proxy, proxy_id = self.host(SystemRole.PROXY)
        self.assertIsNone(await self.say(node, event("exec", server_id=proxy_id)))
        self.assertIsNone(await self.say(node, event("exec", server_id=node_id, cluster_name="other.example.com")))
        self.assertIsNone(await self.say(node, event("app.session.start")))
        said = await self.say(node, event("exec", delivered_by="somebody"))
        assert said is not None
        self.assertEqual(
            (said["server_id"], said["delivered_by"], said["cluster_name"]), (node_id, node_id, "example.com")
        )
        for claimed in ({}, {"forwarded_by": node_id}, {"forwarded_by": proxy_id}):
            said = await self.say(proxy, event("exec", server_id=node_id, **claimed))
            assert said is not None
            self.assertEqual(
                (said["server_id"], said["forwarded_by"], said["delivered_by"]), (node_id, proxy_id, proxy_id)
            )

    async def test_one_bad_event_stores_none(self) -> None:
        """A batch with a forged event is refused whole; its sender sends the others again without it."""
        node, _ = self.host(SystemRole.NODE)
        good = event("exec")
        self.assertIs(await self.outcome(lambda api: api.emit([good, event("user.login")]), node), Kind.BAD_PARAMETER)
        self.assertIsNone(await self.stored(good["uid"]))

    async def test_recordings_have_one_owner(self) -> None:
        """No other host adds to, replaces or completes a recording; the start of a session settles whose it is."""
        first_host, first_id = self.host(SystemRole.NODE)
        other, _ = self.host(SystemRole.NODE)
        session = str(uuid.uuid4())
        await first_host.put_recording(session, 1, b"mine")
        for forged in (
            lambda api: api.put_recording(session, 1, b"forged"),
            lambda api: api.put_recording(session, 2, b"forged"),
            lambda api: api.complete_recording(session, 1),
        ):
            self.assertIs(await self.outcome(forged, other), Kind.ACCESS_DENIED)
        await first_host.put_recording(session, 2, b" too")
        got = b"".join([chunk async for chunk in self.cluster.local().get_recording(session)])
        self.assertEqual(got, b"mine too")
        early = str(uuid.uuid4())
        await first_host.emit([event("session.start", sid=early, session_recording="node", server_id=first_id)])
        self.assertIs(await self.outcome(lambda api: api.put_recording(early, 1, b"x"), other), Kind.ACCESS_DENIED)
        for wrong in ("", "..", "a/b", session.upper(), "x" * 36):
            kind = await self.outcome(lambda api, s=wrong: api.put_recording(s, 1, b"x"), first_host)
            self.assertIs(kind, Kind.BAD_PARAMETER)

    async def test_the_side_that_records_owns(self) -> None:
        """Where proxies record, the node that tells of the same session does not take the recording from them."""
        node, _ = self.host(SystemRole.NODE)
        proxy, _ = self.host(SystemRole.PROXY)
        session = str(uuid.uuid4())
        await node.emit([event("session.start", sid=session, session_recording="proxy")])
        await proxy.emit([event("session.start", sid=session, session_recording="proxy")])
        await proxy.put_recording(session, 1, b"x")
        self.assertIs(await self.outcome(lambda api: api.put_recording(session, 1, b"x"), node), Kind.ACCESS_DENIED)

    async def test_no_playing_by_a_forged_join(self) -> None:
        """Another host's claim that somebody took part in a session opens its recording to nobody."""
        where = "contains(session.participants, user.metadata.name)"
        rule = {"resources": ["session"], "verbs": ["list", "read"], "where": where}
        await self.cluster.local().create(Resource("role", "v7", Metadata("own"), {"allow": {"rules": [rule]}}))
        node, _ = self.host(SystemRole.NODE)
        other, _ = self.host(SystemRole.NODE)
        session = str(uuid.uuid4())
        await node.emit([event("session.start", sid=session, user="alice", session_recording="node")])
        await node.put_recording(session, 1, b"x")
        await other.emit([event("session.join", sid=session, user="mallory")])
        for name, wanted in (("alice", None), ("mallory", Kind.ACCESS_DENIED)):
            api = self.cluster.auth.api_for(Identity(username=name, cluster="example.com", roles=("own",)))
            self.assertIs(await self.outcome(lambda api: drain(api.get_recording(session)), api), wanted, name)
