"""
What somebody would try who holds some certificate of the cluster, or none, and wants more.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from ssl import PEM_cert_to_DER_cert
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import (
    Api,
    HostIssueRequest,
    IssueRequest,
    JoinRequest,
    OpenSSHIssueRequest,
    SetupPurpose,
)
from teleport_tw.api.proto import audit_pb2
from teleport_tw.auth import bootstrap
from teleport_tw.auth.grpc import AuditCalls
from teleport_tw.auth.guard import MAX_WAITING
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.x509 import Wanted, verify
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.stores.resources import ResourceStore
from tests.auth.cluster import PASSWORD, Cluster, Keys

MINUTE = timedelta(minutes=1)


class Attacks(TestCase):
    """
    With a cluster of its own.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup)
        self.admin = self.cluster.local()
        core = self.cluster.auth.core
        assert core is not None
        self.core = core

    def host(self, role: SystemRole) -> Api:
        name = f"{uuid.uuid4()}.example.com"
        return self.cluster.auth.api_for(Identity(username=name, cluster="example.com", system_roles=(role,)))

    def person(self, name: str, *roles: str) -> Api:
        return self.cluster.auth.api_for(Identity(username=name, cluster="example.com", roles=roles))

    async def refused(self, work: Any) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            return error
        self.fail("not refused")

    async def test_looking_around(self) -> None:
        """Whether a server is there that one may not reach, no answer tells; by what name or sub_kind one ever asks."""
        await self.cluster.user("alice", "access")
        await self.admin.create(Resource("role", "v7", Metadata("dev"), {"allow": {"node_labels": {"env": "dev"}}}))
        await self.admin.create(
            Resource(
                "role",
                "v7",
                Metadata("some"),
                {
                    "allow": {
                        "rules": [
                            {"resources": ["node"], "verbs": ["read", "list"], "where": 'resource.metadata.name == "x"'}
                        ]
                    }
                },
            )
        )
        there, nowhere = str(uuid.uuid4()), str(uuid.uuid4())
        await self.admin.heartbeat(Resource("node", "v2", Metadata(there), {"hostname": "x"}, "teleport"), MINUTE)
        for roles in (("dev",), ("some",), ("dev", "some")):
            alice = self.person("alice", *roles)
            for sub_kind in ("", "teleport", "openssh"):
                seen = []
                for name in (there, nowhere):
                    error = await self.refused(alice.get("node", name, sub_kind=sub_kind))
                    seen.append((error.kind, error.message.replace(name, "")))
                self.assertEqual(seen[0], seen[1], (roles, sub_kind))

    async def test_a_recording_of_four_billion_parts(self) -> None:
        """A node that ends a recording says a number of parts; one that cannot be is refused before it is counted."""
        node = self.host(SystemRole.NODE)
        for parts in (0, 100_001, 2**32 - 1):
            error = await self.refused(node.complete_recording(str(uuid.uuid4()), parts))
            self.assertIs(error.kind, Kind.BAD_PARAMETER)

    async def test_guessing_at_once(self) -> None:
        """Of many guesses at once five are looked at; the right one behind them finds the account locked."""
        await self.cluster.user("alice", "access")
        totp = await self.cluster.sign_up("alice")
        clock: Any = self.core.clock
        code = totp.at(int(clock.seconds()))
        guesses = [*(Secret(f"wrong password {n}") for n in range(12)), PASSWORD]
        work = [Deferred.fromCoroutine(self.cluster.sign_in("alice", code, Keys(), guess)) for guess in guesses]
        for deferred in work:
            deferred.addErrback(lambda failure: failure.value)
        answers = await gatherResults(work)
        self.assertEqual([answer.kind for answer in answers], [Kind.ACCESS_DENIED] * 5 + [Kind.LIMIT_EXCEEDED] * 8)

    async def test_a_flood_for_one_name(self) -> None:
        """No more wait than are reasonable, and nothing is kept of those that came."""
        work = [Deferred.fromCoroutine(self.cluster.sign_in("nobody", "1", Keys())) for _ in range(MAX_WAITING + 5)]
        for deferred in work:
            deferred.addErrback(lambda failure: failure.value)
        answers = await gatherResults(work)
        self.assertEqual(sum("at once" in answer.message for answer in answers), 4)
        self.assertEqual(self.core.guard._turns, {})

    async def test_old_invite(self) -> None:
        """An invite that lies in somebody's mail is worth nothing once the account was set up or made anew."""
        await self.cluster.user("alice", "access")
        proxy = self.cluster.local(SystemRole.PROXY)
        first = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        await self.cluster.sign_up("alice")
        self.assertEqual((await self.refused(proxy.get_setup(first.token))).kind, Kind.NOT_FOUND)
        second = await self.admin.create_setup("alice", SetupPurpose.RESET, NEVER)
        await self.admin.delete("user", "alice")
        await self.cluster.user("alice", "access")
        self.assertEqual((await self.refused(proxy.get_setup(second.token))).kind, Kind.NOT_FOUND)

    async def test_a_token_written_anew_counts_anew(self) -> None:
        """Uses are those of the token that is there now."""
        token = Resource("token", "v2", Metadata("one-use-token"), {"roles": ["Node"], "max_uses": 1})
        await self.admin.create(token)
        await self.join("Node")
        self.assertEqual((await self.refused(self.join("Node"))).kind, Kind.ACCESS_DENIED)
        await self.admin.delete("token", "one-use-token")
        await self.admin.create(token)
        await self.join("Node")

    async def join(self, role: str) -> Any:
        request = JoinRequest(
            token=Secret("one-use-token"),
            role=SystemRole(role),
            host_id=str(uuid.uuid4()),
            node_name="n1",
            keys=Keys().public,
        )
        return await self.cluster.local(SystemRole.PROXY).join(request)

    async def test_nobody_becomes_auth(self) -> None:
        """Who may make tokens may not become the cluster itself."""
        await self.admin.create(Resource("token", "v2", Metadata("one-use-token"), {"roles": ["Auth", "Node"]}))
        self.assertEqual((await self.refused(self.join("Auth"))).kind, Kind.ACCESS_DENIED)
        await self.join("Node")

    async def test_where_cannot_be_walked_round(self) -> None:
        """A rule about a resource's labels holds for the one there is, not just for the one it would become."""
        rules = [
            {
                "resources": ["node"],
                "verbs": ["create", "update"],
                "where": 'equals(resource.metadata.labels.team, "a")',
            }
        ]
        await self.admin.create(Resource("role", "v7", Metadata("of-a"), {"allow": {"rules": rules}}))
        name, spec = str(uuid.uuid4()), {"hostname": "b1", "addr": "10.0.0.1:22"}
        theirs = Resource("node", "v2", Metadata(name, labels={"team": "b"}), spec, "openssh")
        await self.admin.create(theirs)
        mallory = self.person("mallory", "of-a")
        for sub_kind in ("openssh", "openssh-ec2-ice"):
            mine = evolve(theirs, metadata=Metadata(name, labels={"team": "a"}), sub_kind=sub_kind)
            self.assertEqual((await self.refused(mallory.upsert(mine))).kind, Kind.ACCESS_DENIED)
            known = await self.admin.get("node", name)
            self.assertEqual(
                (await self.refused(mallory.update(mine.with_revision(known.revision)))).kind, Kind.ACCESS_DENIED
            )
        self.assertEqual((await self.admin.get("node", name)).metadata.labels, {"team": "b"})

    async def test_hosts_see_their_own_kind(self) -> None:
        """A bot, or an agent for databases, has no list of the servers."""
        name = str(uuid.uuid4())
        await self.admin.heartbeat(Resource("node", "v2", Metadata(name), {"hostname": "x"}, "teleport"), MINUTE)
        for role in (SystemRole.BOT, SystemRole.DB, SystemRole.INSTANCE):
            api = self.host(role)
            self.assertEqual((await api.list("node")).items, ())
            self.assertEqual((await self.refused(api.get("node", name))).kind, Kind.ACCESS_DENIED)
        self.assertEqual(len((await self.host(SystemRole.PROXY).list("node")).items), 1)

    async def test_agentless_certificates_do_not_breed(self) -> None:
        """What a proxy got for one stock server is no user certificate with which to get others."""
        await self.cluster.user("alice", "access", logins=("root",))
        keys = Keys()
        issued = await self.admin.issue(IssueRequest(username="alice", keys=keys.public))
        node = Resource("node", "v2", Metadata("stock"), {"hostname": "s", "addr": "10.0.0.1:22"}, "openssh")
        await self.admin.create(node)
        proxy = self.host(SystemRole.PROXY)
        ask = OpenSSHIssueRequest(user_certificate=issued.ssh, login="root", node="stock", ssh_key=keys.public.ssh)
        bred = await proxy.issue_openssh(ask)
        error = await self.refused(proxy.issue_openssh(evolve(ask, user_certificate=bred)))
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        self.assertIn("wrong authority", error.details)

    async def test_a_stolen_proxy_stands_in_for_nobody(self) -> None:
        """Where servers record their sessions themselves, a proxy gets no certificate in a server's name."""
        name = str(uuid.uuid4())
        await self.admin.heartbeat(Resource("node", "v2", Metadata(name), {"hostname": "x"}, "teleport"), MINUTE)
        proxy = self.host(SystemRole.PROXY)
        line = Keys().public
        ask = HostIssueRequest(principals=(name,), keys=evolve(line, tls=b""))
        self.assertEqual((await self.refused(proxy.issue_host(ask))).kind, Kind.ACCESS_DENIED)

    async def test_users_fill_no_memory(self) -> None:
        """Who may not deliver recordings is told so at the first message, not after many of them."""
        read = []

        async def messages() -> Any:
            for number in range(10):
                read.append(number)
                yield audit_pb2.RecordingPart(session=str(uuid.uuid4()), part=1, data=b"x")

        incoming: Any = messages()
        alice: Any = self.person("alice", "access")
        error = await self.refused(AuditCalls().PutRecording(incoming, alice))
        self.assertEqual((error.kind, read), (Kind.ACCESS_DENIED, [0]))
        await incoming.aclose()

    async def test_a_server_outside_is_no_member(self) -> None:
        """A certificate for a database or a web server is not one of the cluster's hosts."""
        keys = Keys()
        ask = HostIssueRequest(principals=("db.example.org",), keys=keys.public)
        issued = await self.admin.issue_host(ask)
        der = PEM_cert_to_DER_cert(issued.tls.decode())
        for wanted in Wanted:
            error = self.assertRaises(
                TeleportError, verify, [der], self.core.signing.authorities, self.core.now(), wanted=wanted
            )
            self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    async def test_names_of_clusters(self) -> None:
        """A cluster is not called as a role is, which its certificates would then seem to grant, nor as a path."""
        store = ResourceStore(MemoryBackend(self.core.clock))  # type: ignore[arg-type]  # the reactor is one
        for name in ("Admin", "Proxy", "../x", "a/b", "a b", "-x", "x" * 254, "a\n"):
            error = await self.refused(bootstrap.cluster_name(store, name))
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)
        self.assertEqual(await bootstrap.cluster_name(store, "admin.example.com"), "admin.example.com")
