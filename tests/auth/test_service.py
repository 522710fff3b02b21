"""
The whole of auth: sign-in, joining, issuing, refusing.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from ssl import PEM_cert_to_DER_cert
from typing import Any

import pyotp
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from teleport_tw.api.admin import connect_admin
from teleport_tw.api.contract import (
    EventQuery,
    HostIssueRequest,
    IssueRequest,
    JoinRequest,
    LoginRequest,
    SetupPurpose,
)
from teleport_tw.auth.joining.token import REFUSAL as JOIN_REFUSAL
from teleport_tw.auth.login import REFUSAL
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, utc_now
from teleport_tw.pki.identity import RouteToDatabase, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import PASSWORD, Cluster, Keys


class AuthCase(TestCase):
    """
    With a cluster of its own.
    """

    timeout = 60
    listen = True

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=self.listen)
        self.admin = self.cluster.local()
        self.proxy = self.cluster.local(SystemRole.PROXY)

    async def refused(self, work: Any) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            return error
        self.fail("not refused")

    async def events(self, *types: str) -> list[dict[str, Any]]:
        core = self.cluster.auth.core
        assert core is not None
        await core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        page = await self.admin.search(EventQuery(types=types))
        return [dict(event) for event in page.events]


class SignIn(AuthCase):
    """
    Users and their passwords.
    """

    listen = False

    async def test_invite_and_sign_in(self) -> None:
        """An invited user sets a password, signs in, and gets a pair that says what the roles allow."""
        await self.cluster.user("alice", "access", logins=("root", "alice"))
        totp = await self.cluster.sign_up("alice")
        keys = Keys()
        got = await self.cluster.sign_in("alice", totp.now(), keys)
        core = self.cluster.auth.core
        assert core is not None
        identity = core.signing.identify(PEM_cert_to_DER_cert(got.tls.decode()), utc_now())
        self.assertEqual((identity.username, identity.roles), ("alice", ("access",)))
        self.assertEqual(set(identity.principals), {"root", "alice"})
        self.assertEqual(got.cluster, "example.com")
        self.assertEqual({item.sub_kind for item in got.authorities} >= {"host", "user"}, True)
        assert identity.expires is not None
        left = identity.expires - utc_now()
        self.assertTrue(timedelta(hours=11, minutes=58) < left <= timedelta(hours=12))
        self.assertTrue(got.ssh.startswith(b"ssh-ed25519-cert-v01@openssh.com "))
        logins = await self.events("user.login")
        self.assertEqual([event["code"] for event in logins], ["T1000I"])
        self.assertEqual([event["code"] for event in await self.events("cert.create")], ["TC000I"])

    async def test_code_is_good_once(self) -> None:
        """A used code is refused, and the answer does not say that this was it."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        code = totp.now()
        await self.cluster.sign_in("alice", code, Keys())
        error = await self.refused(self.cluster.sign_in("alice", code, Keys()))
        self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, REFUSAL))

    async def test_code_at_the_same_time(self) -> None:
        """Of two sign-ins with one code at once, one is refused."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        code = totp.now()
        work = [Deferred.fromCoroutine(self.cluster.sign_in("alice", code, Keys())) for _ in range(2)]
        for deferred in work:
            deferred.addErrback(lambda failure: failure.trap(TeleportError) and None)
        results = await gatherResults(work)
        self.assertEqual(sum(result is not None for result in results), 1)

    async def test_same_text_for_every_reason(self) -> None:
        """Unknown user, wrong password, wrong code: one text; the audit log knows which."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        await self.cluster.user("bob", "access", logins=("root",))
        for name, password, code in (
            ("nobody", PASSWORD, "000000"),
            ("bob", PASSWORD, "000000"),
            ("alice", Secret("wrong horse battery"), totp.now()),
            ("alice", PASSWORD, "000000"),
            ("", PASSWORD, "000000"),
            ("x" * 5000, PASSWORD, "000000"),
            ("../alice\x00", PASSWORD, "000000"),
        ):
            error = await self.refused(self.cluster.sign_in(name, code, Keys(), password))
            self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, REFUSAL), name[:20])
        reasons = {event.get("error") for event in await self.events("user.login")}
        self.assertIn("unknown user", reasons)
        self.assertIn("wrong password", reasons)
        self.assertIn("wrong or used one-time code", reasons)

    async def test_wrong_password_spends_no_code(self) -> None:
        """Who does not know the password cannot spend the user's codes."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        code = totp.now()
        await self.refused(self.cluster.sign_in("alice", code, Keys(), Secret("wrong horse battery")))
        await self.cluster.sign_in("alice", code, Keys())

    async def test_lockout(self) -> None:
        """Five failures lock the account, for the right password too, until an administrator opens it."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        for _ in range(5):
            error = await self.refused(self.cluster.sign_in("alice", "000000", Keys()))
            self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        error = await self.refused(self.cluster.sign_in("alice", totp.now(), Keys()))
        self.assertEqual(error.kind, Kind.LIMIT_EXCEEDED)
        user = await self.admin.get("user", "alice")
        self.assertTrue(user.spec["status"]["is_locked"])
        spec = {**user.spec, "status": {"is_locked": False}}
        await self.admin.update(Resource("user", "v2", user.metadata, spec))
        await self.cluster.sign_in("alice", totp.now(), Keys())

    async def test_unknown_names_lock_too(self) -> None:
        """A lockout does not tell whether a user exists."""
        for _ in range(5):
            await self.refused(self.cluster.sign_in("nobody", "000000", Keys()))
        error = await self.refused(self.cluster.sign_in("nobody", "000000", Keys()))
        self.assertEqual(error.kind, Kind.LIMIT_EXCEEDED)

    async def test_links(self) -> None:
        """A link is good once; a wrong code or a short password leaves it good."""
        await self.cluster.user("alice", "access")
        ticket = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        shown = await self.proxy.get_setup(ticket.token)
        self.assertEqual((shown.username, shown.otp_secret), ("alice", ticket.otp_secret))
        for password, code in ((Secret("short"), "000000"), (PASSWORD, "000000")):
            error = await self.refused(self.proxy.complete_setup(ticket.token, password, Secret(code)))
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)
        code = Secret(pyotp.TOTP(ticket.otp_secret.reveal()).now())
        work = [Deferred.fromCoroutine(self.proxy.complete_setup(ticket.token, PASSWORD, code)) for _ in range(2)]
        for deferred in work:
            deferred.addCallbacks(lambda _: True, lambda failure: failure.trap(TeleportError) and False)
        self.assertEqual(sorted(await gatherResults(work)), [False, True])
        self.assertEqual((await self.refused(self.proxy.get_setup(ticket.token))).kind, Kind.NOT_FOUND)
        too_long = self.admin.create_setup("alice", SetupPurpose.RESET, timedelta(hours=25))
        self.assertEqual((await self.refused(too_long)).kind, Kind.BAD_PARAMETER)

    async def test_reset_takes_away(self) -> None:
        """A reset link ends the old password at once."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        await self.admin.create_setup("alice", SetupPurpose.RESET, NEVER)
        error = await self.refused(self.cluster.sign_in("alice", totp.now(), Keys()))
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    async def test_lock(self) -> None:
        """A lock keeps its user out, with its message, and everything else in."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        spec = {"target": {"user": "alice"}, "message": "come and see us"}
        await self.admin.create(Resource("lock", "v2", Metadata(str(uuid.uuid4())), spec))
        error = await self.refused(self.cluster.sign_in("alice", totp.now(), Keys()))
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        self.assertEqual(error.message, 'lock targeting User:"alice" is in force: come and see us')

    async def test_agents_do_not_sign_in_users(self) -> None:
        """Only a proxy may ask."""
        request = LoginRequest(username="alice", password=PASSWORD, otp=Secret("1"), keys=Keys().public)
        error = await self.refused(self.cluster.local(SystemRole.NODE).login(request))
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    async def test_secrets_stay(self) -> None:
        """Nothing that is shown of requests and tickets holds a secret."""
        await self.cluster.user("alice", "access")
        ticket = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        request = LoginRequest(username="alice", password=PASSWORD, otp=Secret("123456"), keys=Keys().public)
        shown = repr(ticket) + repr(request) + str(await self.events())
        for secret in (ticket.token, ticket.otp_secret, PASSWORD):
            self.assertNotIn(secret.reveal(), shown)


class Joining(AuthCase):
    """
    Hosts.
    """

    def request(self, token: str, **more: Any) -> JoinRequest:
        facts: dict[str, Any] = {"host_id": str(uuid.uuid4()), "role": SystemRole.NODE, "node_name": "db1", **more}
        keys = facts.pop("keys", None) or Keys()
        return JoinRequest(token=Secret(token), keys=keys.public, **facts)

    async def token(self, name: str = "s3cr3t-token", **spec: Any) -> str:
        await self.admin.create(Resource("token", "v2", Metadata(name), {"roles": ["Node"], **spec}))
        return name

    async def test_join_and_renew(self) -> None:
        """A host joins, speaks gRPC, announces itself, and renews with the same id."""
        keys, host = Keys(), str(uuid.uuid4())
        got = await self.proxy.join(self.request(await self.token(), keys=keys, host_id=host))
        self.assertEqual((got.host_id, got.cluster), (host, "example.com"))
        api = self.cluster.over_rpc(got, keys)
        node = Resource("node", "v2", Metadata(host, labels={"env": "prod"}), {"hostname": "db1"}, "teleport")
        await api.heartbeat(node, timedelta(minutes=10))
        self.assertEqual([item.name for item in (await api.list("node")).items], [host])
        fresh = Keys()
        renewed = await api.renew_host(fresh.public, ("10.0.0.7",))
        self.assertEqual(renewed.host_id, host)
        again = self.cluster.over_rpc(renewed, fresh)
        await again.heartbeat(node, timedelta(minutes=10))
        other = Resource("node", "v2", Metadata(str(uuid.uuid4())), {"hostname": "x"}, "teleport")
        self.assertEqual((await self.refused(again.heartbeat(other, timedelta(minutes=10)))).kind, Kind.ACCESS_DENIED)
        await again.goodbye("node", host)
        self.assertEqual((await api.list("node")).items, ())
        joins = await self.events("instance.join")
        self.assertEqual([event["code"] for event in joins], ["TJ002I"])
        self.assertNotIn("s3cr3t-token", str(joins))

    async def test_refusals(self) -> None:
        """Whatever is wrong, the host is told one thing."""
        token = await self.token()
        taken = str(uuid.uuid4())
        node = Resource("node", "v2", Metadata(taken), {"hostname": "x"}, "teleport")
        await self.admin.heartbeat(node, timedelta(minutes=1))
        for request in (
            self.request("guessed-token"),
            self.request(""),
            self.request(token, role=SystemRole.PROXY),
            self.request(token, role=SystemRole.ADMIN),
            self.request(token, host_id="not-a-uuid"),
            self.request(token, node_name="auth.teleport.cluster.local"),
            self.request(token, node_name=f"{taken}.example.com"),
            self.request(token, addresses=("*.example.com",)),
        ):
            error = await self.refused(self.proxy.join(request))
            self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, JOIN_REFUSAL))
        self.assertIs(
            (await self.refused(self.proxy.join(self.request(token, host_id=taken)))).kind, Kind.ALREADY_EXISTS
        )

    async def test_one_use(self) -> None:
        """Of many who use a one-use token at once, one joins."""
        token = await self.token(max_uses=1)
        work = [Deferred.fromCoroutine(self.proxy.join(self.request(token))) for _ in range(5)]
        for deferred in work:
            deferred.addCallbacks(lambda _: True, lambda failure: failure.trap(TeleportError) and False)
        self.assertEqual(sum(await gatherResults(work)), 1)


class Issuing(AuthCase):
    """
    Certificates for users and hosts.
    """

    async def test_admin_signs(self) -> None:
        """The administrator has an identity for any user, through the socket and its files alone."""
        api = connect_admin(self.cluster.directory)
        self.cluster.channels.append(api)
        await self.cluster.user("alice", "access", logins=("root",))
        keys = Keys()
        got = await api.issue(IssueRequest(keys=keys.public, username="alice", ttl=timedelta(hours=1)))
        alice = self.cluster.over_rpc(got, keys)
        self.assertEqual((await alice.get("user", "alice")).name, "alice")
        self.assertEqual((await self.refused(alice.list("token"))).kind, Kind.ACCESS_DENIED)
        self.assertEqual((await alice.ping()).cluster, "example.com")

    async def alice(self, *roles: str) -> Any:
        await self.cluster.user("alice", *roles, logins=("root",))
        keys = Keys()
        got = await self.admin.issue(IssueRequest(keys=keys.public, username="alice", ttl=timedelta(hours=1)))
        return self.cluster.over_rpc(got, keys)

    async def test_reissue_is_never_longer(self) -> None:
        """A certificate derived from another ends no later, and may be for one database alone."""
        await self.admin.create(
            Resource("db", "v3", Metadata("orders"), {"protocol": "postgres", "uri": "localhost:5432"})
        )
        alice = await self.alice("access")
        keys = Keys()
        route = RouteToDatabase(service="orders", protocol="postgres")
        got = await alice.issue(IssueRequest(keys=keys.public, ttl=timedelta(hours=20), database=route))
        core = self.cluster.auth.core
        assert core is not None
        identity = core.signing.identify(PEM_cert_to_DER_cert(got.tls.decode()), utc_now())
        assert identity.expires is not None
        self.assertLess(identity.expires, utc_now() + timedelta(hours=1, minutes=1))
        self.assertEqual(identity.database, route)

    async def test_others(self) -> None:
        """A user has no certificates of others without a rule; with one, they say who really asked."""
        await self.cluster.user("bob", "access", logins=("root",))
        alice = await self.alice("access")
        request = IssueRequest(keys=Keys().public, username="bob")
        self.assertEqual((await self.refused(alice.issue(request))).kind, Kind.ACCESS_DENIED)
        role = await self.admin.get("role", "access")
        spec = {**role.spec, "allow": {**role.spec["allow"], "impersonate": {"users": ["bob"], "roles": ["access"]}}}
        await self.admin.update(Resource("role", role.version, role.metadata, spec))
        keys = Keys()
        got = await alice.issue(IssueRequest(keys=keys.public, username="bob"))
        bob = self.cluster.over_rpc(got, keys)
        self.assertEqual((await self.refused(bob.issue(IssueRequest(keys=Keys().public)))).kind, Kind.ACCESS_DENIED)
        self.assertIn("alice", {event.get("impersonator") for event in await self.events("cert.create")})

    async def test_hosts(self) -> None:
        """A database's certificate is for administrators to have."""
        request = HostIssueRequest(principals=("db.example.org",), keys=Keys().public, ttl=timedelta(days=90))
        self.assertTrue((await self.admin.issue_host(request)).tls)
        alice = await self.alice("access")
        self.assertEqual((await self.refused(alice.issue_host(request))).kind, Kind.ACCESS_DENIED)

    async def test_locked_while_signed_in(self) -> None:
        """A lock counts for the certificates that are out already."""
        alice = await self.alice("access")
        await alice.list("node")
        await self.admin.create(Resource("lock", "v2", Metadata(str(uuid.uuid4())), {"target": {"user": "alice"}}))
        self.assertEqual((await self.refused(alice.list("node"))).kind, Kind.ACCESS_DENIED)

    async def test_watch_ends_for_the_locked(self) -> None:
        """An open watch ends soon after its caller was locked out."""
        alice = await self.alice("access")
        watch = alice.watch(["node"])
        await watch.__anext__()
        await self.admin.create(Resource("lock", "v2", Metadata(str(uuid.uuid4())), {"target": {"user": "alice"}}))
        error = await self.refused(watch.__anext__())
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    async def test_a_user_sees_what_it_reaches(self) -> None:
        """Nodes are listed and watched by the roles' labels; a role that loses them loses the nodes."""
        allow = {"logins": ["root"], "node_labels": {"env": "dev"}}
        await self.admin.create(Resource("role", "v7", Metadata("dev"), {"allow": allow}))
        for number, env in ((1, "dev"), (2, "prod")):
            name = str(uuid.UUID(int=number))
            node = Resource("node", "v2", Metadata(name, labels={"env": env}), {"hostname": env}, "teleport")
            await self.admin.heartbeat(node, timedelta(minutes=5))
        alice = await self.alice("dev")
        self.assertEqual([item.spec["hostname"] for item in (await alice.list("node")).items], ["dev"])
        error = await self.refused(alice.get("node", str(uuid.UUID(int=2))))
        self.assertEqual(error.kind, Kind.NOT_FOUND)
        self.assertNotIn("role", error.message)
        await self.refused(alice.create(Resource("role", "v7", Metadata("mine"), {"allow": {}})))
        await self.refused(alice.get("token", "x" * 9))
        await self.refused(alice.watch(["node", "token"]).__anext__())
        role = await self.admin.get("role", "dev")
        spec = {"allow": {"logins": ["root"], "node_labels": {"env": "none"}}}
        await self.admin.update(Resource("role", "v7", role.metadata, spec))
        self.assertEqual((await alice.list("node")).items, ())


class Restart(AuthCase):
    """
    The same data directory again.
    """

    async def test_everything_is_kept(self) -> None:
        """Name, authorities, users and passwords outlive a restart; a second auth on the same files is refused."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        before = await self.admin.ping()
        second = self.cluster.again(self.addCleanup)
        error = await self.refused(second.auth.ready())
        self.assertEqual(error.kind, Kind.ALREADY_EXISTS)
        await self.cluster.auth.stopService()
        third = self.cluster.again(self.addCleanup)
        await third.auth.ready()
        self.assertEqual(await third.local().ping(), before)
        await third.sign_in("alice", totp.now(), Keys())
        self.assertEqual((await third.local().verify()).problems, ())
