"""
Second factors for one session, and for an administrator's change.
"""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import Any

from attrs import evolve
from twisted.internet.defer import gatherResults

from teleport_tw.agents.admit import MFA_NEEDED
from teleport_tw.api.contract import (
    Api,
    Certificates,
    HostIssueRequest,
    IssueRequest,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    OpenSSHIssueRequest,
    PublicKeys,
    Scope,
    SetupPurpose,
)
from teleport_tw.api.factors import ADMIN_MFA_NEEDED
from teleport_tw.auth.core import Core
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.sshcert import JOIN_PRINCIPAL
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.keys import KeyCase, Person
from tests.auth.test_keys import either

WEB, DB = MfaTarget(kind="node", name="web", login="root"), MfaTarget(kind="node", name="db1", login="root")
NODE_IDS = {"web": "00000000-0000-4000-8000-000000000001", "db1": "00000000-0000-4000-8000-000000000002"}


def read(core: Core, certificates: Certificates) -> Identity:
    return core.signing.identify(ssl.PEM_cert_to_DER_cert(certificates.tls.decode()), core.now())


class SessionCase(KeyCase):
    """
    Two servers, one of which takes a second factor; and Alice, who has one.
    """

    async def start(self) -> None:
        await super().start()
        for name, env in (("web", "dev"), ("db1", "prod")):
            metadata = Metadata(NODE_IDS[name], labels={"env": env})
            node = Resource("node", "v2", metadata, {"hostname": name, "addr": "10.0.0.1:22"}, "openssh")
            await self.admin.upsert(node)
        for name, env, asked in (("dev", "dev", False), ("prod", "prod", True)):
            spec = {
                "options": {"require_session_mfa": asked},
                "allow": {"logins": ["root"], "node_labels": {"env": env}},
            }
            await self.admin.create(Resource("role", "v7", Metadata(name), spec))
        self.alice = await self.signed_up("alice", "dev", "prod")
        self.api = await self.sign_in(self.alice)

    async def issue(self, api: Api, target: MfaTarget = DB, answer: MfaAnswer | None = None) -> Identity:
        keys = self.alice.keys.public
        return self.read(await api.issue(IssueRequest(keys=keys, target=target, answer=answer)))

    def read(self, certificates: Certificates) -> Identity:
        return read(self.core, certificates)


class Sessions(SessionCase):
    """
    Certificates of a minute.
    """

    async def test_which_need_one(self) -> None:
        """The roles that open the target say; what is not known needs what any might; the cluster's word is for all."""
        for target, wanted in (
            (WEB, False),
            (DB, True),
            (evolve(DB, name=NODE_IDS["db1"]), True),
            (evolve(WEB, name=NODE_IDS["web"], login=""), False),
            (evolve(DB, name="db1.example.com"), True),
            (evolve(WEB, name="nowhere"), True),
            (evolve(WEB, login=JOIN_PRINCIPAL), True),
            (MfaTarget(kind="toaster", name="x"), True),
            (MfaTarget(kind="db", name="orders"), True),
        ):
            self.assertEqual(await self.api.mfa_required(target), MfaNeed(required=wanted), target)
        await self.set_policy(second_factors=["otp", "webauthn"], require_session_mfa=True)
        self.assertTrue((await self.api.mfa_required(WEB)).required)

    async def test_joining(self) -> None:
        """A role that gives no servers asks for a factor of who joins, as the agent does; an answer counts for both."""
        options = {"require_session_mfa": True}
        await self.admin.create(Resource("role", "v7", Metadata("joins"), {"options": options}))
        bob = await self.signed_up("bob", "dev", "joins")
        api, joined = await self.sign_in(bob), evolve(WEB, name=NODE_IDS["web"], login=JOIN_PRINCIPAL)
        self.assertFalse((await api.mfa_required(WEB)).required)
        self.assertEqual(await api.mfa_required(joined), MfaNeed(required=True))
        await self.refused(api.issue(IssueRequest(keys=bob.keys.public, target=joined)))
        proof = await self.proof(bob, api, Scope.SESSION)
        issued = self.read(await api.issue(IssueRequest(keys=bob.keys.public, target=joined, answer=proof)))
        self.assertTrue(issued.mfa_device)
        self.assertEqual(await api.mfa_required(joined), MfaNeed(required=True, covered=True))

    async def test_a_certificate_of_a_minute(self) -> None:
        """It says which device, and when what it came from ends; it begets no other."""
        login = self.read(self.alice.certificates)
        self.assertEqual(login.mfa_device, "")
        identity = await self.issue(self.api, DB, await self.proof(self.alice, self.api, Scope.SESSION))
        (device,) = await self.api.list_devices()
        self.assertEqual(identity.mfa_device, device.id)
        self.assertEqual(identity.previous_identity_expires, login.expires)
        assert identity.expires is not None
        self.assertLessEqual(identity.expires, self.core.now() + timedelta(minutes=1))
        await self.refused(self.cluster.auth.api_for(identity).issue(IssueRequest(keys=self.alice.keys.public)))

    async def test_one_tap_for_several(self) -> None:
        """For the same certificate and five minutes; for no other sign-in of the user, nor a copied name."""
        await self.refused(self.issue(self.api))
        await self.issue(self.api, DB, await self.proof(self.alice, self.api, Scope.SESSION))
        self.assertEqual(await self.api.mfa_required(DB), MfaNeed(required=True, covered=True))
        self.assertTrue((await self.issue(self.api)).mfa_device)
        unknown = self.cluster.auth.api_for(self.read(self.alice.certificates))
        self.assertEqual(await unknown.mfa_required(DB), MfaNeed(required=True))
        await self.refused(self.issue(unknown))
        elsewhere = await self.sign_in(self.alice)
        await self.refused(self.issue(elsewhere))
        self.clock.ahead = 301
        self.assertEqual(await self.api.mfa_required(DB), MfaNeed(required=True))
        await self.refused(self.issue(self.api))

    async def test_no_grace(self) -> None:
        """Where the cluster wants each session its own, each has."""
        await self.set_policy(second_factors=["webauthn"], mfa_grace="0s")
        await self.issue(self.api, DB, await self.proof(self.alice, self.api, Scope.SESSION))
        await self.refused(self.issue(self.api))

    async def test_a_device_taken_away(self) -> None:
        """An answer of a device that is gone covers nothing."""
        await self.add_app(self.alice, self.api)
        await self.issue(self.api, DB, await self.proof(self.alice, self.api, Scope.SESSION))
        key = (await self.api.list_devices())[0]
        await self.api.delete_device(key.id, await self.proof(self.alice, self.api, Scope.MANAGE_DEVICES))
        await self.refused(self.issue(self.api))

    async def test_lies(self) -> None:
        """Replays, answers to other challenges, recovery codes."""
        proof = await self.proof(self.alice, self.api, Scope.SESSION)
        done = await gatherResults([either(self.issue(self.api, DB, proof)) for _ in range(3)])
        self.assertEqual(sum(done), 1)
        for answer in (
            proof,
            await self.proof(self.alice, self.api, Scope.ADMIN_ACTION),
            await self.login_answer(self.alice),
            MfaAnswer(recovery=self.alice.codes[0]),
            MfaAnswer(),
        ):
            await self.refused(self.issue(self.api, DB, answer))
            await self.core.credentials.clear_attempts("alice")

    async def test_locked_device(self) -> None:
        """A lock on the device refuses what it was shown for."""
        (device,) = await self.api.list_devices()
        lock = Resource("lock", "v2", Metadata("lost"), {"target": {"mfa_device": device.id}, "message": "lost"})
        await self.admin.create(lock)
        error = await self.refused(self.issue(self.api, DB, await self.proof(self.alice, self.api, Scope.SESSION)))
        self.assertIn("lost", error.message)

    async def test_servers_without_an_agent(self) -> None:
        """Nobody there can look for the factor, so auth does before it certifies a proxy."""
        request = OpenSSHIssueRequest(
            user_certificate=self.alice.certificates.ssh,
            login="root",
            node=NODE_IDS["db1"],
            ssh_key=self.alice.keys.public.ssh,
        )
        self.assertIn("second factor", (await self.refused(self.proxy.issue_openssh(request))).message)
        await self.proxy.issue_openssh(evolve(request, node=NODE_IDS["web"]))
        answer = await self.proof(self.alice, self.api, Scope.SESSION)
        tapped = await self.api.issue(IssueRequest(keys=self.alice.keys.public, target=DB, answer=answer))
        await self.proxy.issue_openssh(evolve(request, user_certificate=tapped.ssh))
        await self.set_policy(second_factors=["webauthn"], require_session_mfa=True)
        await self.refused(self.proxy.issue_openssh(evolve(request, node=NODE_IDS["web"])))

    def test_the_agent_says_what_to_do(self) -> None:
        """Who comes without reads how to come."""
        self.assertIn("tsh", MFA_NEEDED)


class Administrators(KeyCase):
    """
    Changes, where keys are the only second factor.
    """

    policy = {"second_factors": ["webauthn"]}

    async def start(self) -> None:
        await super().start()
        self.boss = await self.signed_up("boss", "editor")
        self.api = await self.sign_in(self.boss)

    def role(self, name: str = "dev") -> Resource:
        return Resource("role", "v7", Metadata(name), {"allow": {"logins": ["root"]}})

    async def shown(self, person: Person | None = None, api: Api | None = None, **lies: Any) -> MfaAnswer:
        return await self.proof(person or self.boss, api or self.api, Scope.ADMIN_ACTION, **lies)

    async def test_each_change_asks(self) -> None:
        """And says so in words that a client knows."""
        user = Resource("user", "v2", Metadata("bob"), {"roles": ["access"]})
        for work in (
            self.api.create(self.role()),
            self.api.upsert(self.role()),
            self.api.upsert(user),
            self.api.update(self.role().with_revision("1")),
            self.api.delete("role", "access"),
            self.api.create_setup("boss", SetupPurpose.RESET, NEVER),
        ):
            self.assertEqual((await self.refused(work)).message, ADMIN_MFA_NEEDED)
        await self.api.list("role")

    async def test_an_answer_is_good_for_one_act(self) -> None:
        """Of several changes within a minute, by who showed it first."""
        answer = await self.shown()
        proven = self.api.with_mfa(answer)
        await proven.create(self.role("one"))
        await proven.create(self.role("two"))
        await proven.create_setup("boss", SetupPurpose.INVITE, NEVER)
        mallory = await self.signed_up("mallory", "editor")
        hers = await self.sign_in(mallory)
        await self.refused(hers.with_mfa(answer).create(self.role("three")))
        again = await self.sign_in(self.boss)
        await self.refused(again.with_mfa(answer).create(self.role("three")))
        self.clock.ahead = 61
        await self.refused(proven.create(self.role("three")))

    async def test_lies(self) -> None:
        """Other scopes, other pages, codes."""
        for answer in (
            await self.proof(self.boss, self.api, Scope.SESSION),
            await self.shown(origin="https://evil.example.net"),
            MfaAnswer(recovery=self.boss.codes[0]),
            MfaAnswer(otp=Secret("123456")),
            MfaAnswer(webauthn={"id": "x"}, challenge="../x"),
        ):
            await self.refused(self.api.with_mfa(answer).create(self.role()))
            await self.core.credentials.clear_attempts("boss")

    async def test_who_has_no_keys(self) -> None:
        """The administrator on auth's host, services and bots are not asked."""
        await self.admin.create(self.role())
        bot = Identity(username="bot-x", cluster="example.com", roles=("editor",), bot_name="x")
        await self.cluster.auth.api_for(bot).create(self.role("by-bot"))

    async def test_not_with_codes(self) -> None:
        """Where codes are accepted, nobody is asked, as in the reference."""
        await self.set_policy(second_factors=["otp", "webauthn"])
        await self.api.create(self.role())

    async def test_certificates_of_others(self) -> None:
        """Signing them takes a key, or a stolen certificate begets one of somebody with more rights."""
        spec = {
            "allow": {
                "impersonate": {"users": ["ci"], "roles": ["*"]},
                "rules": [{"resources": ["host_cert"], "verbs": ["create"]}],
            }
        }
        await self.admin.create(Resource("role", "v7", Metadata("signer"), spec))
        await self.admin.create(Resource("user", "v2", Metadata("ci"), {"roles": ["access"]}))
        await self.admin.create(Resource("user", "v2", Metadata("root"), {"roles": ["editor"]}))
        signer = await self.signed_up("signer", "signer")
        api = await self.sign_in(signer)
        keys = signer.keys.public
        user, host = IssueRequest(username="ci", keys=keys), HostIssueRequest(principals=("db.local",), keys=keys)
        self.assertEqual((await self.refused(api.issue(user))).message, ADMIN_MFA_NEEDED)
        self.assertEqual((await self.refused(api.issue_host(host))).message, ADMIN_MFA_NEEDED)
        wrong = await self.proof(signer, api, Scope.SESSION)
        await self.refused(api.with_mfa(wrong).issue(user))
        await self.refused(api.with_mfa(await self.shown()).issue(user))
        proven = api.with_mfa(await self.shown(signer, api))
        identity = read(self.core, await proven.issue(user))
        self.assertEqual((identity.username, identity.impersonator), ("ci", "signer"))
        self.assertTrue((await proven.issue_host(host)).tls)
        denied = await self.refused(proven.issue(evolve(user, username="root")))
        self.assertNotEqual(denied.message, ADMIN_MFA_NEEDED)
        await api.issue(IssueRequest(keys=keys))
        await self.admin.issue(user)
        await self.admin.issue_host(host)
        bot = Identity(username="bot-x", cluster="example.com", roles=("signer",), bot_name="x")
        self.assertTrue((await self.cluster.auth.api_for(bot).issue(user)).ssh)

    async def test_impersonated(self) -> None:
        """Who acts as an administrator has not the administrator's key."""
        someone = Identity(username="boss", cluster="example.com", roles=("editor",), impersonator="mallory")
        api = self.cluster.auth.api_for(someone)
        await self.refused(api.create(self.role()))
        await self.refused(api.with_mfa(await self.shown()).create(self.role()))


class OverRpc(KeyCase):
    """
    The answer travels in a header.
    """

    policy = {"second_factors": ["webauthn"]}
    listen = True

    async def test_header(self) -> None:
        """It counts for the calls made with it, and for no others."""
        boss = await self.signed_up("boss", "editor")
        await self.sign_in(boss)
        api = self.cluster.over_rpc(boss.certificates, boss.keys)
        role = Resource("role", "v7", Metadata("dev"), {"allow": {"logins": ["root"]}})
        self.assertEqual((await self.refused(api.create(role))).message, ADMIN_MFA_NEEDED)
        answer = self.answer(boss, await api.create_challenge(Scope.ADMIN_ACTION))
        self.assertEqual((await api.with_mfa(answer).create(role)).name, "dev")
        await self.refused(api.delete("role", "dev"))
        await api.with_mfa(answer).delete("role", "dev")

    async def test_session(self) -> None:
        """A tap over gRPC covers the next session of the same certificate."""
        boss = await self.signed_up("boss", "editor", "access")
        await self.sign_in(boss)
        await self.set_policy(second_factors=["webauthn"], require_session_mfa=True)
        api = self.cluster.over_rpc(boss.certificates, boss.keys)
        target = MfaTarget(kind="node", name="web", login="root")
        self.assertEqual(await api.mfa_required(target), MfaNeed(required=True))
        answer = self.answer(boss, await api.create_challenge(Scope.SESSION, target))
        request = IssueRequest(keys=PublicKeys(ssh=boss.keys.public.ssh), target=target)
        await self.refused(api.issue(request))
        self.assertTrue((await api.issue(evolve(request, answer=answer))).ssh)
        self.assertTrue((await api.issue(request)).ssh)
        self.assertEqual(await api.mfa_required(target), MfaNeed(required=True, covered=True))

    async def test_bad_header(self) -> None:
        """What cannot be read is the caller's mistake."""
        from teleport_tw.api.client import RpcApi
        from teleport_tw.api.proofs import HEADER

        boss = await self.signed_up("boss", "editor")
        await self.sign_in(boss)
        api = self.cluster.over_rpc(boss.certificates, boss.keys)
        spoiled = RpcApi(api.channel.saying(((HEADER, b"\xff\xff"),)))
        await self.refused(spoiled.ping(), Kind.BAD_PARAMETER)
