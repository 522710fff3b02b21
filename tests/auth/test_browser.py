"""
Programs that are signed in by the browser beside them.
"""

from __future__ import annotations

import ssl
from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256

from twisted.internet.defer import gatherResults

from teleport_tw.api.contract import Api, BrowserLogin, Certificates, MfaAnswer, MfaTarget, PublicKeys, Scope
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import Identity
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Keys
from tests.auth.keys import KeyCase
from tests.auth.test_keys import either

VERIFIER = Secret("a secret of the program, long enough to be one")


def hashed(verifier: Secret[str]) -> str:
    return urlsafe_b64encode(sha256(verifier.reveal().encode()).digest()).decode().rstrip("=")


class BrowserLoginTests(KeyCase):
    """
    C{tsh login --browser}, the part of auth.
    """

    async def start(self) -> None:
        await super().start()
        self.alice = await self.signed_up("alice")
        self.api = await self.sign_in(self.alice)
        self.keys = Keys()

    async def asked(self, ttl: timedelta = timedelta(0)) -> BrowserLogin:
        return await self.proxy.create_browser_login(
            self.keys.public, hashed(VERIFIER), ttl=ttl, remote_address="198.51.100.9", user_agent="tsh"
        )

    async def approval(self, id: str, api: Api | None = None) -> MfaAnswer:
        target = MfaTarget(kind="browser", name=id)
        return await self.proof(self.alice, api or self.api, Scope.BROWSER, target)

    def read(self, certificates: Certificates) -> Identity:
        der = ssl.PEM_cert_to_DER_cert(certificates.tls.decode())
        return self.core.signing.identify(der, self.core.now())

    async def test_approved(self) -> None:
        """The program becomes who approved it, for as long as it asked."""
        request = await self.asked(timedelta(hours=2))
        seen = await self.api.get_browser_login(request.id)
        self.assertEqual((seen.address, seen.user_agent), ("198.51.100.9", "tsh"))
        code = await self.api.approve_browser_login(request.id, await self.approval(request.id))
        identity = self.read(await self.proxy.finish_browser_login(request.id, code, VERIFIER))
        self.assertEqual((identity.username, identity.login_ip), ("alice", "198.51.100.9"))
        assert identity.expires is not None
        self.assertGreater(identity.expires, self.core.now() + timedelta(hours=1))
        self.assertLess(identity.expires, self.core.now() + timedelta(hours=3))

    async def test_stolen(self) -> None:
        """Neither a link, nor a code, nor a secret alone is of use; each request is good for one try."""
        for code, verifier in ((None, Secret("another secret")), (Secret("x"), VERIFIER), (Secret(""), Secret(""))):
            request = await self.asked()
            real = await self.api.approve_browser_login(request.id, await self.approval(request.id))
            await self.refused(self.proxy.finish_browser_login(request.id, code or real, verifier))
            await self.refused(self.proxy.finish_browser_login(request.id, real, VERIFIER))
        request = await self.asked()
        await self.refused(self.proxy.finish_browser_login(request.id, Secret("x"), VERIFIER))
        await self.refused(self.proxy.finish_browser_login("../x", Secret("x"), VERIFIER))
        await self.refused(self.api.finish_browser_login(request.id, Secret("x"), VERIFIER))

    async def test_once(self) -> None:
        """Of several who finish at once, or approve at once, one does."""
        request = await self.asked()
        answers = [await self.approval(request.id) for _ in range(2)]
        work = [either(self.api.approve_browser_login(request.id, each)) for each in answers]
        self.assertEqual(sum(await gatherResults(work)), 1)
        request = await self.asked()
        code = await self.api.approve_browser_login(request.id, await self.approval(request.id))
        work = [either(self.proxy.finish_browser_login(request.id, code, VERIFIER)) for _ in range(3)]
        self.assertEqual(sum(await gatherResults(work)), 1)

    async def test_a_factor_is_needed(self) -> None:
        """For this very request."""
        request, other = await self.asked(), await self.asked()
        await self.refused(self.api.approve_browser_login(request.id))
        await self.refused(self.api.approve_browser_login(request.id, await self.approval(other.id)))
        await self.refused(self.api.create_challenge(Scope.BROWSER), Kind.BAD_PARAMETER)

    async def test_without_factors(self) -> None:
        """Where the cluster wants none, it lasts no longer than the browser's own sign-in."""
        await self.cluster.user("bob", "access")
        await self.set_policy(second_factor="off")
        bob = Identity(
            username="bob", cluster="example.com", roles=("access",), expires=self.core.now() + timedelta(hours=1)
        )
        request = await self.asked(timedelta(hours=9))
        code = await self.cluster.auth.api_for(bob).approve_browser_login(request.id)
        identity = self.read(await self.proxy.finish_browser_login(request.id, code, VERIFIER))
        assert identity.expires is not None
        self.assertLessEqual(identity.expires, self.core.now() + timedelta(hours=1))

    async def test_time_and_locks(self) -> None:
        """After five minutes, or once the user is locked, there is nothing to have."""
        request = await self.asked()
        code = await self.api.approve_browser_login(request.id, await self.approval(request.id))
        await self.admin.create(Resource("lock", "v2", Metadata("l"), {"target": {"user": "alice"}}))
        await self.refused(self.proxy.finish_browser_login(request.id, code, VERIFIER))
        await self.admin.delete("lock", "l")
        request = await self.asked()
        code = await self.api.approve_browser_login(request.id, await self.approval(request.id))
        self.clock.ahead = 301
        await self.refused(self.api.get_browser_login(request.id), Kind.NOT_FOUND)
        await self.refused(self.proxy.finish_browser_login(request.id, code, VERIFIER))

    async def test_bad_beginnings(self) -> None:
        """No keys, no hash, no proxy."""
        for keys, challenge in ((PublicKeys(), hashed(VERIFIER)), (self.keys.public, "plain")):
            await self.refused(self.proxy.create_browser_login(keys, challenge), Kind.BAD_PARAMETER)
        await self.refused(self.api.create_browser_login(self.keys.public, hashed(VERIFIER)))
        await self.refused(self.proxy.get_browser_login("x"))


class OverRpc(KeyCase):
    """
    The same through gRPC.
    """

    listen = True

    async def test_there_and_back(self) -> None:
        """Code and certificates travel."""
        alice = await self.signed_up("alice")
        await self.sign_in(alice)
        own = self.cluster.over_rpc(alice.certificates, alice.keys)
        request = await self.proxy.create_browser_login(Keys().public, hashed(VERIFIER), user_agent="tsh")
        self.assertEqual((await own.get_browser_login(request.id)).user_agent, "tsh")
        challenge = await own.create_challenge(Scope.BROWSER, MfaTarget(kind="browser", name=request.id))
        code = await own.approve_browser_login(request.id, self.answer(alice, challenge))
        self.assertTrue((await self.proxy.finish_browser_login(request.id, code, VERIFIER)).ssh)
        await self.refused(own.create_browser_login(Keys().public, hashed(VERIFIER)))
        await self.refused(own.finish_browser_login(request.id, code, VERIFIER))
