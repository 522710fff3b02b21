"""
A server, reached as the user: SSH with the certificate and key of the session on the web, over the way that every
user's connection takes through the proxy.

Nothing is decided here. The proxy's door and the server's agent look at the certificates as they would look at those of
C{tsh}; the server has to show a certificate of the cluster's host authority.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from teleport_tw.api.certificates import Certificates, IssueRequest, PublicKeys
from teleport_tw.api.contract import Api
from teleport_tw.api.factors import Challenge, MfaAnswer, MfaTarget, Scope
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.connection import Connection, Responder
from teleport_tw.conch.signatures import MemorySigner
from teleport_tw.conch.transport import ClientSettings, connect
from teleport_tw.dial.known import HostTrust
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.trust import known_hosts
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.web.answers import ANSWER, needed
from teleport_tw.web.lending import Lender, Lent
from teleport_tw.web.sessions import Session
from teleport_tw.web.shapes import Table

KEEPALIVE = Duration(seconds=30)
"""Of silence, before a server is asked whether it is there."""

CONNECT_SECONDS = 30.0
"""From dialling to being signed in at the server."""

_ANSWERED = Table(members=ANSWER)

Ask = Callable[[Challenge], Awaitable[MfaAnswer]]
"""Has the user answer a challenge. Raises TeleportError when they do not."""


ToNode = Callable[[str, str, bytes, str], IStreamClientEndpoint]
"""
From this process to a server, given its name or id, the login, the user's certificate (X.509 in DER) and where their
browser is (C{host:port}): L{teleport_tw.proxy.inward.Inward.to_node}, which C{daemon} hands in. Connecting fails with
L{TeleportError}. Once connected, its C{ends_here} says whether this process itself is the SSH server at the other end.
"""


async def nobody(challenge: Challenge) -> MfaAnswer:
    """
    An L{Ask} where nobody can be asked.
    """
    raise TeleportError(Kind.ACCESS_DENIED, "this server wants a second factor: open a terminal on it first")


@define(eq=False, kw_only=True)
class Reach:
    """
    What connections to servers are made with.
    """

    to_node: ToNode
    clock: IReactorTime

    async def connect(
        self,
        session: Session,
        api: Api,
        *,
        target: str,
        login: str,
        address: str,
        names: Sequence[str] = (),
        ask: Ask = nobody,
        responder: Responder | None = None,
    ) -> Connection:
        """
        @param api: auth, as the user.
        @param target: the server's id or name.
        @param address: of the browser, C{host:port} or a host.
        @param names: further ones that the server may prove to have.
        @param ask: for a server that wants a second factor for each session.
        @return: signed in at the server.
        @raise TeleportError: what went wrong, for the user.
        """
        certificates, key = await self._certificates(
            session, api, MfaTarget(kind="node", name=target, login=login), ask
        )
        blob = ssh_keys.parse_line(certificates.ssh.decode()).blob
        trust = _trust(certificates)
        endpoint = self.to_node(target, login, _der(certificates.tls), address)
        lent = Lent(key=key.native, certificate=blob, login=login)
        settings = ClientSettings(
            clock=self.clock,
            username=login,
            verify_host=trust.verifier((target, *names)),
            signers=[MemorySigner(key.native, blob)],
            responder=Lender(lent, lambda: getattr(endpoint, "ends_here", False), responder),
            limits=Limits(keepalive_interval=KEEPALIVE),
        )
        try:
            return await Deferred.fromCoroutine(connect(endpoint, settings)).addTimeout(CONNECT_SECONDS, self.clock)
        except TimeoutError as error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the server took too long to let us in") from error

    async def _certificates(
        self, session: Session, api: Api, target: MfaTarget, ask: Ask
    ) -> tuple[Certificates, PrivateKey]:
        """
        The session's own; or, where one more factor is wanted, such as say that it was shown, for the same keys.
        """
        key = PrivateKey.load(session.ssh_key)
        need = await api.mfa_required(target)
        if not need.required:
            return session.certificates, key
        answer = None if need.covered else await ask(await api.create_challenge(Scope.SESSION, target))
        keys = PublicKeys(
            ssh=ssh_keys.format_line(key.ssh_public).encode(), tls=spki_pem(PrivateKey.load(session.tls_key).public)
        )
        fresh = await api.issue(IssueRequest(keys=keys, target=target, answer=answer))
        return evolve(fresh, authorities=fresh.authorities or session.certificates.authorities), key


def _trust(certificates: Certificates) -> HostTrust:
    authorities = map(Authority.parse, certificates.authorities)
    lines = [known_hosts(each) for each in authorities if each.type is AuthorityType.HOST]
    return HostTrust.of_known_hosts(certificates.cluster, "".join(lines))


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def answer_from(told: Mapping[str, Any]) -> MfaAnswer:
    """
    @param told: by a page, outside of any body.
    @raise TeleportError: BAD_PARAMETER, it is no answer.
    """
    return needed(_ANSWERED.check(dict(told), "the answer"))
