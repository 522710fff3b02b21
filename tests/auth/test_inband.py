"""
Second factors in the middle of an SSH login.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from teleport_tw.api.contract import Api, MfaAnswer, MfaTarget, OpenSSHIssueRequest, Scope, Tap, TapRequest
from teleport_tw.api.taps import TARGET_KIND
from teleport_tw.auth.inband import target_of
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.ssh import keys as ssh_keys
from tests.auth.cluster import Keys
from tests.auth.keys import Person
from tests.auth.test_taps import NODE_IDS, SessionCase

NODE = NODE_IDS["db1"]


class TapTests(SessionCase):
    """
    Asked by a host, answered by a code or on the web.
    """

    async def start(self) -> None:
        await super().start()
        self.phone = await self.add_app(self.alice, self.api)
        self.host = self.agent(NODE)

    def agent(self, id: str) -> Api:
        identity = Identity(username=f"{id}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        return self.cluster.auth.api_for(identity)

    def asks(self, node: str = NODE, person: Person | None = None) -> TapRequest:
        line = (person or self.alice).certificates.ssh.decode()
        return TapRequest(certificate=ssh_keys.parse_line(line).blob, node=node, login="root", address="198.51.100.9")

    async def approval(self, tap: Tap) -> MfaAnswer:
        return await self.proof(self.alice, self.api, Scope.SESSION, MfaTarget(kind=TARGET_KIND, name=tap.id))

    def typed(self, steps: int = 0) -> Secret[str]:
        return self.code(self.phone, steps).otp

    async def test_a_code(self) -> None:
        """Typed at one host, it covers the next for a while, with this certificate alone; and is spent."""
        self.assertEqual(await self.host.tap_covered(self.asks()), "")
        tap = await self.host.begin_tap(self.asks())
        self.assertTrue(tap.otp)
        self.assertEqual((tap.username, tap.hostname, tap.login), ("alice", "db1", "root"))
        self.assertEqual(tap.link, f"https://proxy.example.com/web/tap/{tap.id}")
        code = self.typed()
        device = await self.host.answer_tap(tap.id, code)
        self.assertIn(device, [each.id for each in await self.api.list_devices()])
        other = self.agent(NODE_IDS["web"])
        self.assertEqual(await other.tap_covered(self.asks(NODE_IDS["web"])), device)
        again = await other.begin_tap(self.asks(NODE_IDS["web"]))
        await self.refused(other.answer_tap(again.id, code))
        await self.sign_in(self.alice)
        self.assertEqual(await self.host.tap_covered(self.asks()), "", "another certificate proves itself")
        self.clock.ahead = 301
        self.assertEqual(await other.tap_covered(self.asks(NODE_IDS["web"])), "")

    async def test_a_key(self) -> None:
        """Approved on the web by its user, with an answer made for this very login."""
        tap = await self.host.begin_tap(self.asks())
        other = await self.host.begin_tap(self.asks())
        seen = await self.api.get_tap(tap.id)
        self.assertEqual((seen.hostname, seen.address, seen.device), ("db1", "198.51.100.9", ""))
        await self.refused(self.api.approve_tap(tap.id, await self.approval(other)))
        plain = await self.proof(self.alice, self.api, Scope.SESSION)
        await self.refused(self.api.approve_tap(tap.id, plain))
        await self.refused(self.api.approve_tap(tap.id, MfaAnswer(otp=self.typed())))
        good = await self.approval(tap)
        await self.api.approve_tap(tap.id, good)
        self.assertTrue(await self.host.wait_tap(tap.id))
        await self.refused(self.api.approve_tap(tap.id, good), Kind.COMPARE_FAILED)
        self.assertEqual((await self.api.get_tap(other.id)).device, "")
        self.assertEqual(target_of("x"), "ssh/x")

    async def test_who_may_ask(self) -> None:
        """A host for itself, a proxy for all; users for nobody, and nobody with a certificate that is no good."""
        stranger = self.agent(NODE_IDS["web"])
        for api in (stranger, self.api):
            await self.refused(api.tap_covered(self.asks()))
            await self.refused(api.begin_tap(self.asks()))
        tap = await self.proxy.begin_tap(self.asks())
        for api in (stranger, self.host, self.api):
            await self.refused(api.answer_tap(tap.id, self.typed()))
            await self.refused(api.wait_tap(tap.id))
        for id in (tap.id + "0", "../x", ""):
            await self.refused(self.proxy.answer_tap(id, self.typed()))
        await self.refused(self.host.begin_tap(evolve(self.asks(), certificate=b"x")), Kind.BAD_PARAMETER)
        mallory = await self.signed_up("mallory", "dev")
        theirs = await self.sign_in(mallory)
        await self.refused(theirs.get_tap(tap.id), Kind.NOT_FOUND)
        await self.refused(theirs.approve_tap(tap.id, await self.approval(tap)), Kind.NOT_FOUND)
        await self.refused(self.host.get_tap(tap.id))
        self.assertTrue(await self.proxy.answer_tap(tap.id, self.typed()))

    async def test_guesses_lock_the_account(self) -> None:
        """A host that tries codes is a guesser like any other."""
        tap = await self.host.begin_tap(self.asks())
        kinds = [
            (await self.refused(self.host.answer_tap(tap.id, Secret("000000")), kind)).kind
            for kind in [Kind.ACCESS_DENIED] * 5
        ]
        self.assertEqual(len(kinds), 5)
        await self.refused(self.host.answer_tap(tap.id, self.typed()), Kind.LIMIT_EXCEEDED)

    async def test_too_late(self) -> None:
        """A login waits so long and no longer."""
        tap = await self.host.begin_tap(self.asks())
        self.clock.ahead = timedelta(minutes=4).total_seconds()
        await self.refused(self.host.answer_tap(tap.id, self.typed()))
        await self.refused(self.api.get_tap(tap.id), Kind.NOT_FOUND)

    async def test_a_server_without_an_agent(self) -> None:
        """What was proven at the proxy lets it in there, though no answer covers a second session."""
        await self.set_policy(second_factors=["otp", "webauthn"], mfa_grace="0s")
        request = OpenSSHIssueRequest(
            user_certificate=self.alice.certificates.ssh, login="root", node=NODE, ssh_key=Keys().public.ssh
        )
        await self.refused(self.proxy.issue_openssh(request))
        tap = await self.proxy.begin_tap(self.asks())
        await self.proxy.answer_tap(tap.id, self.typed())
        self.assertTrue(await self.proxy.issue_openssh(request))
        self.assertEqual(await self.proxy.tap_covered(self.asks()), "")
        self.clock.ahead = 121
        await self.refused(self.proxy.issue_openssh(request))
