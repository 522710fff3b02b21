"""
Second factors: how a user proves more than a password, and keeps the devices for it.

Whoever wants something that needs a factor asks for a L{Challenge}, has the user answer it, and sends the
L{MfaAnswer} along with the call. A challenge is good for one answer, for a few minutes, for one user and one purpose.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Protocol

from attrs import field, frozen

from teleport_tw.base.secret import Secret
from teleport_tw.resources.metadata import Json

NOTHING: Secret[str] = Secret("")

ADMIN_MFA_NEEDED = "MFA is required for administrative actions"
"""What an ACCESS_DENIED says where the same call with an answer of L{Scope.ADMIN_ACTION} would do."""


class Scope(Enum):
    """
    What a challenge is for; an answer to it is good for nothing else.
    """

    LOGIN = "login"
    PASSWORDLESS = "passwordless"
    SESSION = "session"
    ADMIN_ACTION = "admin_action"
    MANAGE_DEVICES = "manage_devices"
    HEADLESS = "headless"
    BROWSER = "browser"
    SESSION_PRESENCE = "session_presence"


class DeviceType(Enum):
    """
    What devices there are.
    """

    TOTP = "totp"
    WEBAUTHN = "webauthn"


@frozen(kw_only=True)
class MfaTarget:
    """
    What a session is wanted of.

    @ivar kind: C{node}, C{db}; for L{Scope.HEADLESS}, C{headless}; for L{Scope.BROWSER}, C{browser}; for
        L{Scope.SESSION_PRESENCE}, C{session}.
    @ivar name: of a node its host id or host name; of a database its name; of a request its id.
    @ivar login: the account there, where it is known.
    """

    kind: str
    name: str
    login: str = ""


@frozen(kw_only=True)
class MfaAnswer:
    """
    Proof of a second factor; exactly one of C{otp}, C{webauthn} and C{recovery} is set.

    @ivar otp: the code that an authenticator app shows.
    @ivar webauthn: the C{PublicKeyCredential} as JSON, as browsers' C{toJSON()} makes it: C{id}, C{rawId}, C{type},
        C{response} with base64url members.
    @ivar recovery: one of the codes for who lost everything else.
    @ivar challenge: id of the challenge that C{webauthn} answers; codes need none. Alone, the link by which a device
        was set up a moment ago: the proxy signs in with it whoever has just shown that device.
    """

    otp: Secret[str] = NOTHING
    webauthn: Json = field(factory=dict)
    recovery: Secret[str] = NOTHING
    challenge: str = ""


@frozen(kw_only=True)
class Challenge:
    """
    What may be answered.

    @ivar otp: whether a code of an authenticator app is accepted.
    @ivar webauthn: C{PublicKeyCredentialRequestOptions} as JSON (base64url members); None where no key is accepted.
    @ivar expires: aware UTC.
    """

    id: str
    otp: bool = False
    webauthn: Json | None = None
    expires: datetime


@frozen(kw_only=True)
class Device:
    """
    One of the caller's second factors.

    @ivar id: a UUID, as certificates and events name it.
    @ivar added: aware UTC; None where it was not noted.
    @ivar last_used: aware UTC; None where it never was.
    @ivar passwordless: whether it signs its user in by itself.
    @ivar suspect: there seems to be a copy of it; it is not accepted any more.
    """

    id: str
    name: str
    type: DeviceType
    added: datetime | None = None
    last_used: datetime | None = None
    passwordless: bool = False
    suspect: bool = False


@frozen(kw_only=True)
class DeviceTicket:
    """
    A device on the way; it counts once C{add_device} has seen it work.

    @ivar otp_secret: base32, for the authenticator app; empty for keys.
    @ivar otp_uri: C{otpauth://…} for the QR code.
    @ivar webauthn: C{PublicKeyCredentialCreationOptions} as JSON; None for apps.
    """

    id: str
    otp_secret: Secret[str] = NOTHING
    otp_uri: Secret[str] = NOTHING
    webauthn: Json | None = None
    expires: datetime


@frozen(kw_only=True)
class MfaNeed:
    """
    What a session with a target asks for.

    @ivar required: only a certificate of C{issue} with that target is let in.
    @ivar covered: the user answered moments ago, and C{issue} wants no further answer.
    """

    required: bool
    covered: bool = False


@frozen(kw_only=True)
class AccountState:
    """
    @ivar password: whether the caller has one.
    @ivar recovery_codes: how many are left.
    """

    password: bool
    recovery_codes: int


class Factors(Protocol):
    """
    The caller's own devices and challenges. The caller is a user with a certificate of its own.
    """

    async def create_challenge(self, scope: Scope, target: MfaTarget | None = None) -> Challenge:
        """
        @param target: for L{Scope.HEADLESS} and L{Scope.BROWSER}, the request; for L{Scope.SESSION_PRESENCE}, the
            session; else it only tells the log.
        @raise TeleportError: BAD_PARAMETER, the caller has no device that could answer, or the scope is for strangers.
        """
        ...

    async def mfa_required(self, target: MfaTarget) -> MfaNeed:
        """
        By the cluster's setting, and by the roles that open the target; a target that is not known needs what any
        target might.
        """
        ...

    async def account_state(self) -> AccountState:
        """
        What a page about the account shows beside its devices.
        """
        ...

    async def list_devices(self) -> tuple[Device, ...]:
        """
        @return: oldest first.
        """
        ...

    async def begin_device(
        self, type: DeviceType, name: str, answer: MfaAnswer | None = None, *, passwordless: bool = False
    ) -> DeviceTicket:
        """
        @param name: chosen by the user, not that of another of its devices.
        @param answer: of a challenge with L{Scope.MANAGE_DEVICES}; None for the very first device.
        @param passwordless: the key shall know its user and check a PIN or finger.
        @raise TeleportError: ACCESS_DENIED, an answer is needed or it is wrong; ALREADY_EXISTS, the name.
        """
        ...

    async def add_device(self, ticket: str, answer: MfaAnswer) -> Device:
        """
        @param answer: C{otp}, the new app's first code; or C{webauthn}, what the new key registered.
        @raise TeleportError: BAD_PARAMETER, it does not fit; NOT_FOUND, the ticket expired.
        """
        ...

    async def rename_device(self, id: str, name: str) -> Device:
        """
        What it proves stays as it is, so no second factor is asked for.

        @return: with its new name.
        @raise TeleportError: NOT_FOUND; ALREADY_EXISTS, another of the caller's devices has the name.
        """
        ...

    async def delete_device(self, id: str, answer: MfaAnswer) -> None:
        """
        @raise TeleportError: NOT_FOUND; BAD_PARAMETER, it is the last and the cluster demands one.
        """
        ...

    async def recovery_codes(self, answer: MfaAnswer) -> tuple[Secret[str], ...]:
        """
        New ones; the old are worth nothing from now on.
        """
        ...

    async def change_password(
        self, old: Secret[str], new: Secret[str], answer: MfaAnswer | None = None, *, sign_in: str = ""
    ) -> None:
        """
        The caller's sign-ins on the web end.

        @param old: empty for a user who has none.
        @param answer: of a challenge with L{Scope.MANAGE_DEVICES}; None for a user without devices.
        @param sign_in: public id of the one that stays.
        @raise TeleportError: ACCESS_DENIED, old password or answer is wrong; BAD_PARAMETER, the new one is too short.
        """
        ...
