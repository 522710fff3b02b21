"""
A cluster whose users have security keys, and what tests of them share.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyotp
from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import (
    Api,
    Certificates,
    Challenge,
    DeviceType,
    LoginRequest,
    MfaAnswer,
    MfaTarget,
    PublicKeys,
    Scope,
    SetupPurpose,
)
from teleport_tw.api.factors import NOTHING
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.servers import Server
from tests.auth.cluster import PASSWORD, Cluster, Keys
from tests.doubles.authenticator import Authenticator

ORIGIN = "https://proxy.example.com"
BOTH = ("otp", "webauthn")
_CLOCK: Any = reactor


class Skewed:
    """
    The reactor's time, moved on by hand; everything else is the reactor's.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        return float(_CLOCK.seconds()) + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(_CLOCK, name)


@define(eq=False)
class Person:
    """
    A user, with what it carries.
    """

    name: str
    key: Authenticator
    codes: tuple[Secret[str], ...] = ()
    keys: Keys = field(factory=Keys)
    certificates: Certificates = field(factory=Certificates)


class KeyCase(TestCase):
    """
    One auth with a proxy at L{ORIGIN}, and a policy of both factors.
    """

    timeout = 60
    listen = False
    policy: Mapping[str, Any] = {"second_factors": list(BOTH)}

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=self.listen)
        assert self.cluster.auth.core is not None
        self.core = self.cluster.auth.core
        self.clock = Skewed()
        self.core.clock = self.clock  # type: ignore[assignment]  # as much of one as is asked
        self.admin, self.proxy = self.cluster.local(), self.cluster.local(SystemRole.PROXY)
        own = self.cluster.auth.api_for(
            evolve(
                self.cluster.auth.local_identity(SystemRole.PROXY), username="11111111-0000-4000-8000-000000000001.x"
            )
        )
        server = Server(
            kind="proxy", name="11111111-0000-4000-8000-000000000001", public_addrs=("proxy.example.com:443",)
        )
        await own.heartbeat(server.to_resource(), timedelta(hours=1))
        await self.set_policy(**self.policy)

    async def set_policy(self, **spec: Any) -> None:
        await self.admin.upsert(Resource("cluster_auth_preference", "v2", Metadata("cluster-auth-preference"), spec))

    async def refused(self, work: Any, kind: Kind = Kind.ACCESS_DENIED) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            self.assertEqual(error.kind, kind, f"{error.message} ({error.details})")
            return error
        self.fail("not refused")

    async def events(self, name: str) -> list[Mapping[str, Any]]:
        from teleport_tw.api.contract import EventQuery

        await self.core.events.flush()  # type: ignore[attr-defined]  # the journal's
        return [dict(event) for event in (await self.admin.search(EventQuery(types=(name,)))).events]

    # --- people

    async def signed_up(
        self, name: str, *roles: str, passwordless: bool = False, password: Secret[str] = PASSWORD
    ) -> Person:
        """
        By invite, with a security key.
        """
        await self.cluster.user(name, *(roles or ("access",)), logins=("root",))
        ticket = await self.admin.create_setup(name, SetupPurpose.INVITE, NEVER)
        key = Authenticator(ORIGIN)
        offer = await self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN, passwordless=passwordless)
        assert offer.webauthn is not None
        answer = MfaAnswer(webauthn=key.register(offer.webauthn), challenge=offer.id)
        codes = await self.proxy.complete_setup(ticket.token, password, answer=answer, device_name="blue key")
        return Person(name, key, codes)

    def request(self, person: Person, answer: MfaAnswer | None, password: Secret[str] = PASSWORD) -> LoginRequest:
        return LoginRequest(
            username=person.name,
            password=password,
            answer=answer,
            keys=person.keys.public,
            remote_address="203.0.113.7",
        )

    async def login_answer(self, person: Person, **lies: Any) -> MfaAnswer:
        challenge = await self.proxy.begin_login(person.name)
        return self.answer(person, challenge, **lies)

    def answer(self, person: Person, challenge: Challenge, /, **lies: Any) -> MfaAnswer:
        assert challenge.webauthn is not None
        return MfaAnswer(webauthn=person.key.sign(challenge.webauthn, **lies), challenge=challenge.id)

    async def sign_in(self, person: Person) -> Api:
        """
        @return: the user's own API.
        """
        person.certificates = await self.proxy.login(self.request(person, await self.login_answer(person)))
        return self.api_of(person)

    def api_of(self, person: Person) -> Api:
        import ssl

        certificate = person.certificates.tls
        identity = self.core.signing.identify(ssl.PEM_cert_to_DER_cert(certificate.decode()), self.core.now())
        return self.cluster.auth.api_for(identity, "203.0.113.7", certificate)

    async def proof(
        self, person: Person, api: Api, scope: Scope, target: MfaTarget | None = None, **lies: Any
    ) -> MfaAnswer:
        return self.answer(person, await api.create_challenge(scope, target), **lies)

    async def add_app(self, person: Person, api: Api, name: str = "phone") -> pyotp.TOTP:
        """
        Another device: an authenticator app.
        """
        ticket = await api.begin_device(DeviceType.TOTP, name, await self.proof(person, api, Scope.MANAGE_DEVICES))
        totp = pyotp.TOTP(ticket.otp_secret.reveal())
        code = totp.at(int(self.clock.seconds()) - 30)
        await api.add_device(ticket.id, MfaAnswer(otp=Secret(code)))
        return totp

    def code(self, totp: pyotp.TOTP, steps: int = 0) -> MfaAnswer:
        return MfaAnswer(otp=Secret(totp.at(int(self.clock.seconds()) + 30 * steps)))


NO_KEYS = PublicKeys()
NOTHING_SAID = MfaAnswer(otp=NOTHING)
