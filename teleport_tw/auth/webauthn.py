"""
WebAuthn as the relying party sees it: challenges for security keys and passkeys, and whether an answer is good.

What is to be kept, and what an answer is worth, others decide; L{teleport_tw.auth.factors} asks here about one answer
at a time. The work is C{fido2}'s; what it leaves to its caller is checked here: that the credential belongs to who it
is asked of, its algorithm, the signature counter, the user's handle, and that no foreign page framed ours.

@see: W3C Web Authentication Level 3, sections 7.1 (registration) and 7.2 (assertion)
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from fido2.cose import ES256, RS256, EdDSA
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from teleport_tw.auth.attestation import Makers, Untrusted
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.metadata import Json
from teleport_tw.stores.devices import KeyDevice

TIMEOUT_MS = 300_000
"""What browsers are told; the challenge is good for as long."""

MAX_CREDENTIAL_ID = 1023
"""Bytes, WebAuthn section 7.1 step 26."""

MAX_ANSWER = 32 * 1024
"""Characters of an answer as JSON; with an attestation some keys send 6,000."""

_ALGORITHMS = (ES256.ALGORITHM, EdDSA.ALGORITHM, RS256.ALGORITHM)
"""What keys and platforms have; the last is Windows Hello's."""

_TRANSPORTS = frozenset(transport.value for transport in AuthenticatorTransport)

REQUIRED, DISCOURAGED = UserVerificationRequirement.REQUIRED.value, UserVerificationRequirement.DISCOURAGED.value


class BadAnswer(Exception):
    """
    An answer that proves nothing; the text is for the log.
    """


@frozen(kw_only=True)
class Registered:
    """
    A new credential.

    @ivar data: attested credential data, as kept.
    @ivar verified: the key checked a PIN or finger.
    """

    data: bytes
    credential_id: bytes
    count: int
    verified: bool
    transports: tuple[str, ...]


@frozen(kw_only=True)
class Assertion:
    """
    A signature that was checked.
    """

    count: int
    verified: bool


@frozen(kw_only=True)
class Named:
    """
    Whose an answer says it is; nothing in it is proved.
    """

    credential_id: bytes
    user_handle: bytes


@frozen(kw_only=True)
class Origins:
    """
    Which pages may ask: those of the proxies.

    @ivar rp_id: the domain that keys are registered for.
    @ivar known: host and port of each proxy's public addresses.
    """

    rp_id: str
    known: frozenset[tuple[str, int]] = frozenset()

    def allowed(self, origin: str) -> bool:
        """
        A page below the domain that is no proxy's (an application's, say) is not trusted with sign-ins; nor is another
        port of a proxy's host. Before any proxy has told its addresses, the domain itself is believed.
        """
        try:
            parts = urlsplit(origin)
            host, port = (parts.hostname or "").lower(), parts.port or 443
        except ValueError:
            return False
        if parts.scheme != "https" or parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        if host != self.rp_id and not host.endswith(f".{self.rp_id}"):
            return False
        if any(known == host for known, _ in self.known):
            return (host, port) in self.known
        return host == self.rp_id


def public_hosts(addresses: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """
    @param addresses: as proxies announce them.
    @return: host, in lower case, and port of those that can be read.
    """
    found = []
    for address in addresses:
        try:
            host, port = split_address(address, 443)
        except TeleportError:
            continue
        found.append((host.lower(), port))
    return tuple(found)


@frozen(kw_only=True)
class RelyingParty:
    """
    The cluster, for keys.

    @ivar name: shown by browsers.
    @ivar makers: of new keys, which are asked to attest only where it matters: it tells what key a user has.
    """

    name: str
    origins: Origins
    makers: Makers = field(factory=Makers)

    def _server(self) -> Fido2Server:
        entity = PublicKeyCredentialRpEntity(id=self.origins.rp_id, name=self.name)
        wanted = AttestationConveyancePreference
        server = Fido2Server(entity, wanted.DIRECT if self.makers.asked else wanted.NONE, self.origins.allowed)
        server.timeout = TIMEOUT_MS  # type: ignore[assignment]  # fido2 says None
        server.allowed_algorithms = [
            PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=alg) for alg in _ALGORITHMS
        ]
        return server

    def begin_registration(
        self, *, handle: bytes, username: str, existing: Sequence[KeyDevice], passwordless: bool
    ) -> tuple[Json, str]:
        """
        @param existing: the user's, which are not to be registered twice.
        @return: C{PublicKeyCredentialCreationOptions} as JSON, and the challenge, base64url.
        """
        options, state = self._server().register_begin(
            PublicKeyCredentialUserEntity(id=handle, name=username, display_name=username),
            [_descriptor(device.credential_id, device.transports) for device in existing],
            ResidentKeyRequirement.REQUIRED if passwordless else ResidentKeyRequirement.DISCOURAGED,
            UserVerificationRequirement.REQUIRED if passwordless else UserVerificationRequirement.DISCOURAGED,
        )
        return _plain(options), str(state["challenge"])

    def finish_registration(self, challenge: str, answer: Json, now: datetime, *, passwordless: bool) -> Registered:
        """
        @raise BadAnswer: it does not fit, or the key is of a maker that is not accepted.
        """
        response = _parsed(RegistrationResponse, answer)
        _check_page(response.response.client_data)
        state = {"challenge": challenge, "user_verification": REQUIRED if passwordless else DISCOURAGED}
        try:
            data = self._server().register_complete(state, response)
        except (ValueError, AssertionError) as error:
            raise BadAnswer(str(error) or "no credential") from error
        credential = data.credential_data
        if credential is None or not 0 < len(credential.credential_id) <= MAX_CREDENTIAL_ID:
            raise BadAnswer("the credential's id is empty or too long")
        if credential.credential_id != response.raw_id:
            raise BadAnswer("the credential is another one than it says")
        if credential.public_key.get(3) not in _ALGORITHMS:
            raise BadAnswer("the key's algorithm is not one of those asked for")
        try:
            self.makers.check(response.response.attestation_object, response.response.client_data.hash, now)
        except Untrusted as error:
            raise BadAnswer(f"this cluster takes certain security keys only, not this one: {error}") from error
        said = answer.get("response")
        transports = said.get("transports") if isinstance(said, Mapping) else None
        return Registered(
            data=bytes(credential),
            credential_id=credential.credential_id,
            count=data.counter,
            verified=data.is_user_verified(),
            transports=tuple(
                each for each in (transports if isinstance(transports, list) else ()) if each in _TRANSPORTS
            ),
        )

    def begin_assertion(self, allowed: Sequence[tuple[bytes, Sequence[str]]], *, verified: bool) -> tuple[Json, str]:
        """
        @param allowed: credential ids with their transports; none for keys that know their user.
        @param verified: the key must check a PIN or finger.
        @return: C{PublicKeyCredentialRequestOptions} as JSON, and the challenge, base64url.
        """
        options, state = self._server().authenticate_begin(
            [_descriptor(id, transports) for id, transports in allowed],
            UserVerificationRequirement.REQUIRED if verified else UserVerificationRequirement.DISCOURAGED,
        )
        return _plain(options), str(state["challenge"])

    def check_assertion(self, challenge: str, answer: Json, device: KeyDevice, *, verified: bool) -> Assertion:
        """
        @raise BadAnswer: it does not fit.
        """
        response = _parsed(AuthenticationResponse, answer)
        _check_page(response.response.client_data)
        state = {"challenge": challenge, "user_verification": REQUIRED if verified else DISCOURAGED}
        try:
            self._server().authenticate_complete(state, [AttestedCredentialData(device.credential)], response)
        except (ValueError, NotImplementedError) as error:
            raise BadAnswer(str(error)) from error
        data = response.response.authenticator_data
        return Assertion(count=data.counter, verified=data.is_user_verified())


def named(answer: Json) -> Named:
    """
    @raise BadAnswer: it is not an assertion.
    """
    response = _parsed(AuthenticationResponse, answer)
    return Named(credential_id=response.raw_id, user_handle=response.response.user_handle or b"")


def decoy(secret: bytes, username: str) -> tuple[bytes, tuple[str, ...]]:
    """
    The credential of a user who has none: always the same for a name, and like any other from outside.
    """
    return hmac.digest(secret, b"credential of " + username.encode("utf-8", "surrogateescape"), sha256), ("usb",)


def _descriptor(id: bytes, transports: Sequence[str]) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(
        type=PublicKeyCredentialType.PUBLIC_KEY,
        id=id,
        transports=[AuthenticatorTransport(each) for each in transports] or None,
    )


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))["publicKey"]
    return plain


def _parsed(kind: Any, answer: Json) -> Any:
    """
    What a stranger sent, as C{fido2}'s own type.
    """
    try:
        plain = json.loads(json.dumps(answer))
        if len(json.dumps(plain)) > MAX_ANSWER:
            raise BadAnswer("the answer is too long")
        plain.pop("clientExtensionResults", None)
        return kind.from_dict(plain)
    except BadAnswer:
        raise
    except Exception as error:  # whatever CBOR, JSON, base64 and struct raise at garbage
        raise BadAnswer(f"the answer cannot be read: {type(error).__name__}") from error


def _check_page(client_data: Any) -> None:
    """
    @raise BadAnswer: it was asked for within a frame of another page.
    """
    if client_data.cross_origin is not False:
        raise BadAnswer("the answer was given within another site's page")


def check_rp_id(rp_id: str) -> str:
    """
    @raise TeleportError: BAD_PARAMETER, browsers take no such domain.
    """
    host = rp_id.lower().rstrip(".")
    if not is_domain(host):
        raise bad_parameter(
            "keys need a domain: set webauthn.rp_id in cluster_auth_preference to the proxy's public host name, "
            "which can never change afterwards"
        )
    return host


def is_domain(host: str) -> bool:
    """
    @return: whether it is a name, and no address.
    """
    return bool(host) and ":" not in host and not host.replace(".", "").isdigit()
