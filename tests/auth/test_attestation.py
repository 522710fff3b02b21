"""
Security keys of certain makers alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import DeviceType, MfaAnswer, Scope, SetupPurpose
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import NEVER
from teleport_tw.config.load import load_text
from tests.auth.cluster import PASSWORD, Cluster
from tests.auth.keys import ORIGIN, KeyCase
from tests.doubles.authenticator import Authenticator, Maker, certified


class Makers(KeyCase):
    """
    By C{attestation_allowed_cas} and C{attestation_denied_cas}.
    """

    async def start(self) -> None:
        await super().start()
        self.alice = await self.signed_up("alice")
        self.api = await self.sign_in(self.alice)
        self.tries = 0

    async def lists(self, allowed: Sequence[Maker] = (), denied: Sequence[Maker] = ()) -> None:
        webauthn = {
            "attestation_allowed_cas": [each.pem for each in allowed],
            "attestation_denied_cas": [each.pem for each in denied],
        }
        await self.set_policy(second_factors=["otp", "webauthn"], webauthn=webauthn)

    async def added(self, maker: Maker | None, **lies: Any) -> Any:
        """
        Another key of hers.
        """
        self.tries += 1
        proof = await self.proof(self.alice, self.api, Scope.MANAGE_DEVICES)
        offer = await self.api.begin_device(DeviceType.WEBAUTHN, f"key {self.tries}", proof)
        assert offer.webauthn is not None
        self.asked = offer.webauthn["attestation"]
        shown = Authenticator(ORIGIN, maker=maker).register(offer.webauthn, **lies)
        return await self.api.add_device(offer.id, MfaAnswer(webauthn=shown))

    async def turned_away(self, maker: Maker | None) -> None:
        error = await self.refused(self.added(maker), Kind.BAD_PARAMETER)
        self.assertIn("certain security keys", error.message)

    async def test_nobody_is_asked(self) -> None:
        """Without lists: what key somebody has is theirs."""
        await self.added(Maker("Any"))
        self.assertEqual(self.asked, "none")

    async def test_allowed(self) -> None:
        """Those certified by an authority on the list, over others of the same maker too."""
        good, far, other = Maker("Good"), Maker("Far", between=2), Maker("Other")
        await self.lists(allowed=[good, far])
        await self.added(good)
        self.assertEqual(self.asked, "direct")
        await self.added(far)
        for maker in (other, Maker("Good"), None):
            await self.turned_away(maker)
        self.assertEqual(len(await self.api.list_devices()), 3)

    async def test_denied(self) -> None:
        """All but those on the list, as long as they say who made them."""
        bad, inner = Maker("Bad"), Maker("Inner", between=1)
        await self.lists(denied=[bad, inner])
        await self.added(Maker("Other"))
        for maker in (bad, inner, None):
            await self.turned_away(maker)

    async def test_denied_below_allowed(self) -> None:
        """One line of keys of a maker that is good otherwise."""
        maker = Maker("Maker", between=1)
        line = Maker("Line")
        line.authority = maker.chain[1]
        await self.lists(allowed=[maker], denied=[line])
        await self.turned_away(maker)
        await self.lists(allowed=[maker])
        await self.added(maker)

    async def test_lies(self) -> None:
        """Nothing is proved by a key itself, a wrong signature, another's certificates, or a device's as authority."""
        good = Maker("Good")
        await self.lists(allowed=[good])
        stolen, below = Maker("Stolen"), Maker("Below")
        stolen.chain = good.chain
        below.chain = [*below.chain, *good.chain]
        forged = evolve(good, forged=True)
        forged.key, forged.chain = good.key, good.chain
        itself = evolve(good, itself=True)
        for maker in (itself, forged, stolen, below):
            await self.turned_away(maker)
        good.chain = [good.chain[0], *Maker("Endless").chain * 9]
        await self.turned_away(good)

    async def test_a_device_is_no_authority(self) -> None:
        """Whoever gets the private key out of one device of a good maker cannot certify others with it."""
        good, mallory = Maker("Good"), Maker("Mallory")
        until = datetime(2100, 1, 1, tzinfo=UTC)
        mallory.chain = [certified("Good key", mallory.key, good.chain[0], good.key, until), *good.chain]
        await self.lists(allowed=[good])
        await self.turned_away(mallory)

    async def test_dates(self) -> None:
        """Certificates that ended allow nothing, and deny all the same."""
        old = Maker("Old", expires=datetime(2021, 1, 1, tzinfo=UTC))
        await self.lists(allowed=[old])
        await self.turned_away(old)
        await self.lists(denied=[old])
        await self.turned_away(old)

    async def test_the_log(self) -> None:
        """Hears of the key that was turned away, and of whom."""
        await self.lists(allowed=[Maker("Good")])
        await self.turned_away(Maker("Other"))
        event = next(each for each in await self.events("mfa.add") if not each["success"])
        self.assertEqual(event["code"], "T1006E")
        self.assertEqual((event["user"], event["mfa_device_name"]), ("alice", "key 1"))
        self.assertIn("maker", event["error"])

    async def test_invites(self) -> None:
        """The first key of a new user is looked at as well; the link stays good for another."""
        good = Maker("Good")
        await self.lists(allowed=[good])
        await self.cluster.user("bob", "access")
        ticket = await self.admin.create_setup("bob", SetupPurpose.INVITE, NEVER)

        async def complete(maker: Maker) -> None:
            offer = await self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN)
            assert offer.webauthn is not None
            shown = Authenticator(ORIGIN, maker=maker).register(offer.webauthn)
            answer = MfaAnswer(webauthn=shown, challenge=offer.id)
            await self.proxy.complete_setup(ticket.token, PASSWORD, answer=answer)

        await self.refused(complete(Maker("Other")), Kind.BAD_PARAMETER)
        await complete(good)

    async def test_keys_of_before(self) -> None:
        """Go on; lists are for new ones."""
        await self.lists(allowed=[Maker("Good")])
        await self.sign_in(self.alice)

    async def test_the_lists_are_read(self) -> None:
        """A mistake is told when the setting is made."""
        for wrong in ("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            await self.refused(
                self.set_policy(second_factors=["webauthn"], webauthn={"attestation_denied_cas": [wrong]}),
                Kind.BAD_PARAMETER,
            )


class FromTheFile(TestCase):
    """
    C{teleport.yaml}.
    """

    def written(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    async def test_written_out_or_by_path(self) -> None:
        """Both come into effect at the start."""
        one, two = Maker("One"), Maker("Two")
        path = self.written(two.pem)
        webauthn = {
            "attestation_allowed_cas": [one.pem, path],
            "attestation_denied_cas": [path],
        }
        text = json.dumps({"version": "v3", "auth_service": {"authentication": {"webauthn": webauthn}}})
        found = load_text(text).auth.authentication
        self.assertEqual(found.attestation_allowed_cas, (one.pem, two.pem))
        cluster = await Cluster.start(self.addCleanup, listen=False, authentication=found)
        assert cluster.auth.core is not None
        preference = cluster.auth.core.preference()
        self.assertEqual(preference.attestation_allowed, (one.pem, two.pem))
        self.assertEqual(preference.attestation_denied, (two.pem,))

    def test_mistakes(self) -> None:
        """Each told with its key."""
        webauthn = {"attestation_allowed_cas": ["/nowhere/x.pem", "-----BEGIN X-----"]}
        text = json.dumps({"version": "v3", "auth_service": {"authentication": {"webauthn": webauthn}}})
        error = self.assertRaises(TeleportError, load_text, text)
        for index, said in enumerate(("cannot be read", "must be certificates in PEM")):
            self.assertIn(f"attestation_allowed_cas[{index}]", str(error))
            self.assertIn(said, str(error))
