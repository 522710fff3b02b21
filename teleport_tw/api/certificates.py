"""
What the ceremonies ask and answer: joining, signing in, and certificates of all sorts.

Everybody imports these from L{teleport_tw.api.contract}, which they are a part of.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Protocol

from attrs import field, frozen

from teleport_tw.api.factors import NOTHING, Challenge, DeviceTicket, DeviceType, MfaAnswer, MfaTarget
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki.identity import RouteToDatabase, SystemRole
from teleport_tw.resources.metadata import Json, Resource


@frozen(kw_only=True)
class PublicKeys:
    """
    What a certificate is asked for; an absent key yields no certificate of that sort.

    @ivar ssh: one authorized_keys line without options, bytes.
    @ivar tls: SubjectPublicKeyInfo as PEM.
    """

    ssh: bytes = b""
    tls: bytes = b""


@frozen(kw_only=True)
class Certificates:
    """
    @ivar ssh: an OpenSSH certificate line (C{…-cert-v01@openssh.com AAAA…}); empty when no SSH key was given.
    @ivar tls: PEM; empty when no TLS key was given.
    @ivar authorities: the C{cert_authority} resources (public halves) the holder trusts.
    @ivar host_id: for hosts, the UUID in the certificates.
    @ivar cluster: the cluster's name.
    """

    ssh: bytes = b""
    tls: bytes = b""
    authorities: tuple[Resource, ...] = ()
    host_id: str = ""
    cluster: str = ""


@frozen(kw_only=True)
class JoinRequest:
    """
    @ivar token: the secret of method C{token}.
    @ivar role: what the host wants to be, one certificate each.
    @ivar host_id: a UUID; made by the host on its first start and kept in C{host_uuid}.
    @ivar addresses: further names and IPs the host is reached by.
    """

    token: Secret[str]
    role: SystemRole
    host_id: str
    node_name: str
    keys: PublicKeys
    addresses: tuple[str, ...] = ()
    remote_address: str = ""


@frozen(kw_only=True)
class Joined:
    """
    A host that a token let in.

    @ivar at: aware UTC, the last time.
    """

    host_id: str
    node_name: str
    role: SystemRole
    at: datetime


@frozen(kw_only=True)
class LoginRequest:
    """
    Password and second factor; or, with neither user name nor password, a passkey alone.

    @ivar otp: the same as an answer with this code.
    @ivar answer: to a challenge of C{begin_login}.
    @ivar keys: none for a session on the web, which auth makes keys for itself.
    @ivar ttl: zero means the longest allowed.
    @ivar remote_address: the client's address without port; set by the proxy, not by the client.
    """

    username: str
    password: Secret[str] = NOTHING
    otp: Secret[str] = NOTHING
    answer: MfaAnswer | None = None
    keys: PublicKeys = PublicKeys()
    ttl: Duration = NEVER
    route_to_cluster: str = ""
    remote_address: str = ""
    user_agent: str = ""


@frozen(kw_only=True)
class IssueRequest:
    """
    Certificates for a user without a password: C{tctl auth sign --user}, or one's own narrowed further.

    @ivar username: empty for the caller itself.
    @ivar database: narrows the X.509 certificate to one database.
    @ivar target: what a session is wanted of that needs a second factor: the certificates last a minute, and say
        which device was used.
    @ivar answer: to a challenge of scope C{session}; None where C{mfa_required} says that an earlier one covers it.
    """

    keys: PublicKeys
    username: str = ""
    ttl: Duration = NEVER
    route_to_cluster: str = ""
    database: RouteToDatabase | None = None
    remote_address: str = ""
    target: MfaTarget | None = None
    answer: MfaAnswer | None = None


@frozen(kw_only=True)
class HostIssueRequest:
    """
    Certificates for a host by an administrator: C{tctl auth sign --host}, C{teleport join openssh}.

    @ivar principals: names and addresses; the first is the key id and the X.509 common name.
    @ivar authority: C{host} or C{db}, whose key signs the X.509 certificate.
    """

    principals: tuple[str, ...]
    keys: PublicKeys
    ttl: Duration = NEVER
    authority: str = "host"


@frozen(kw_only=True)
class OpenSSHIssueRequest:
    """
    A certificate of the C{openssh} authority for a user on the way to an agentless node; asked by a proxy.

    @ivar user_certificate: the user's own SSH certificate line, which auth verifies again.
    @ivar ssh_key: the proxy's ephemeral public key, an authorized_keys line.
    """

    user_certificate: bytes
    login: str
    node: str
    ssh_key: bytes


@frozen(kw_only=True)
class DatabaseCertRequest:
    """
    A certificate of the C{db_client} authority, with which an agent proves itself to a database as one of its users.

    @ivar key: SubjectPublicKeyInfo as PEM: RSA or EC, which every database understands.
    @ivar username: the database user, which becomes the common name.
    @ivar ttl: zero means the longest there is, a day.
    """

    key: bytes
    username: str
    ttl: Duration = NEVER


@frozen(kw_only=True)
class DatabaseCertificate:
    """
    @ivar certificate: PEM.
    @ivar roots: of the C{db} authority, PEM one after the other: whose servers are believed where a database names no
        authority of its own.
    """

    certificate: bytes
    roots: bytes


class SetupPurpose(Enum):
    """
    What a link sent to a user lets them do.
    """

    INVITE = "invite"
    RESET = "reset"


@frozen(kw_only=True)
class SetupTicket:
    """
    @ivar token: the secret in the link.
    @ivar otp_secret: base32, for the authenticator; empty where the cluster wants no TOTP.
    @ivar otp_uri: C{otpauth://…} for the QR code.
    """

    token: Secret[str]
    username: str
    purpose: SetupPurpose
    expires: datetime
    otp_secret: Secret[str]
    otp_uri: Secret[str]


class Ceremonies(Protocol):
    """
    Everything that hands out certificates or proves who somebody is.
    """

    async def ping(self) -> ClusterInfo:
        """
        Anybody may ask.
        """
        ...

    async def join(self, request: JoinRequest) -> Certificates:
        """
        Anybody with a good token.

        @raise TeleportError: ACCESS_DENIED, the same text for every reason.
        """
        ...

    async def who_joined(self, handle: str) -> tuple[Joined, ...]:
        """
        For whoever may create tokens, or read them.

        @param handle: of the token, see L{teleport_tw.resources.tokens.handle_of}.
        @return: who joined by it within the last day, oldest first, at most a thousand.
        """
        ...

    async def renew_host(self, keys: PublicKeys, addresses: Sequence[str] = ()) -> Certificates:
        """
        The calling host's own certificates again, same host id and roles, its node name kept.
        """
        ...

    async def begin_login(self, username: str, *, passwordless: bool = False, remote_address: str = "") -> Challenge:
        """
        Asked by a proxy for whoever types a name; the answer looks the same for names that nobody has.

        @param username: empty for a passkey, which knows its user.
        @raise TeleportError: BAD_PARAMETER, the cluster does not allow that kind of sign-in.
        """
        ...

    async def login(self, request: LoginRequest) -> Certificates:
        """
        Asked by a proxy on behalf of a user.

        @raise TeleportError: ACCESS_DENIED (C{invalid username, password or second factor}); LIMIT_EXCEEDED when the
            account is locked after repeated failures.
        """
        ...

    async def issue(self, request: IssueRequest) -> Certificates:
        """
        For the caller, or for another user where the caller may impersonate or is the local administrator.
        """
        ...

    async def issue_host(self, request: HostIssueRequest) -> Certificates:
        """
        For an administrator (verb C{create} on C{host_cert}).
        """
        ...

    async def issue_openssh(self, request: OpenSSHIssueRequest) -> bytes:
        """
        @return: the certificate line.
        """
        ...

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """
        Asked by agents that serve databases, and by nobody else.
        """
        ...

    async def create_setup(self, username: str, purpose: SetupPurpose, ttl: Duration) -> SetupTicket:
        """
        For an administrator; a reset also takes away the old password and devices.

        @return: with the token, which is not to be had again.
        """
        ...

    async def get_setup(self, token: Secret[str]) -> SetupTicket:
        """
        Asked by a proxy for whoever has the link.

        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        ...

    async def begin_setup_device(
        self, token: Secret[str], type: DeviceType, *, passwordless: bool = False
    ) -> DeviceTicket:
        """
        The device that an invited user sets up; what it registers goes to C{complete_setup}.

        @raise TeleportError: NOT_FOUND, the link is unknown, used or expired.
        """
        ...

    async def complete_setup(
        self,
        token: Secret[str],
        password: Secret[str],
        otp: Secret[str] = NOTHING,
        *,
        answer: MfaAnswer | None = None,
        device_name: str = "",
    ) -> tuple[Secret[str], ...]:
        """
        @param password: may be empty with a passkey that signs in by itself.
        @param otp: the authenticator app's first code, for the ticket's own secret.
        @param answer: what the device of C{begin_setup_device} registered, with its ticket's id as C{challenge}.
        @return: recovery codes; none where no device was set up.
        @raise TeleportError: BAD_PARAMETER, the password is too short, or code or key are wrong; the token stays good.
        """
        ...


@frozen(kw_only=True)
class ClusterInfo:
    """
    @ivar ca_pins: C{sha256:<hex>} of the host authority's TLS keys.
    @ivar auth_preference: the spec of C{cluster_auth_preference}.
    """

    cluster: str
    version: str
    ca_pins: tuple[str, ...] = ()
    auth_preference: Json = field(factory=dict)
