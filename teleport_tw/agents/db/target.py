"""
The way to a database: dialling it, TLS as its entry wants it, and the certificate that says as whom.

A certificate is had from auth once for each database and user and kept for most of its life, so that a new session
signs nothing and asks nobody.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.agents.db.passwords import Passwords
from teleport_tw.api.contract import DatabaseCertificate, DatabaseCertRequest
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient, TLSClient
from teleport_tw.base.net.tls import TLSError, start_tls
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.dial.view import View
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.trust import CIPHERS
from teleport_tw.resources.databases import Database, TLSMode

CERTIFICATE_TTL = Duration(hours=8)
RENEW_AT = 0.75
"""How far into a certificate's life the next is asked for."""
MAX_CONTEXTS = 1000
"""Of databases times their users; of more, the one not used for longest is forgotten."""
DIAL_SECONDS = 15.0
"""For address, connection and handshake together."""


class Certifier(Protocol):
    """
    The part of L{teleport_tw.api.contract.Ceremonies} that is asked for certificates.
    """

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """
        Of C{db_client}, and whom it makes believe.
        """
        ...


@frozen
class _Kept:
    """
    @ivar basis: what the context was made of; another one makes another.
    """

    context: ssl.SSLContext
    until: float
    basis: object


@define(eq=False)
class Targets:
    """
    All databases of one agent.

    @ivar api: gives certificates.
    @ivar passwords: for who is not signed in by those.
    """

    reactor: IReactorTime
    threads: Threads
    view: View
    api: Certifier
    timeout: float = DIAL_SECONDS
    passwords: Passwords = field(factory=Passwords)
    _kept: OrderedDict[tuple[str, str], _Kept] = field(factory=OrderedDict, init=False)
    _making: dict[tuple[str, str], list[Deferred[ssl.SSLContext]]] = field(factory=dict, init=False)
    _log = Logger()

    async def context(self, database: Database, user: str) -> ssl.SSLContext:
        """
        @return: for TLS to the database, with the user's certificate.
        @raise TeleportError: CONNECTION_PROBLEM, there is none and auth cannot be asked.
        """
        key, basis = (database.name, user), self._basis(database)
        kept = self._kept.get(key)
        if kept is not None and kept.basis == basis and kept.until > self.reactor.seconds():
            self._kept.move_to_end(key)
            return kept.context
        waiting = self._making.get(key)
        if waiting is not None:
            shared: Deferred[ssl.SSLContext] = Deferred()
            waiting.append(shared)
            return await shared
        self._making[key] = waiting = []
        try:
            context = await self._make(key, basis, database, user)
        except BaseException as error:
            for one in self._making.pop(key):
                one.errback(error if isinstance(error, TeleportError) else _problem(database, "interrupted"))
            raise
        for one in self._making.pop(key):
            one.callback(context)
        return context

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        @return: what proves the user beside the certificate, or in its place; C{None} where this host has nothing.
        @raise TeleportError: it should have something, and that cannot be used.
        """
        return await self.passwords.password(database, user)

    def forget(self, database: str) -> None:
        """
        The database has changed or is gone.
        """
        for key in [key for key in self._kept if key[0] == database]:
            del self._kept[key]

    async def connect(self, database: Database, user: str) -> Held:
        """
        TCP and TLS.

        @raise TeleportError: CONNECTION_PROBLEM; the text says what failed.
        """
        context = await self.context(database, user)
        host, port = database.host, database.port
        endpoint = TLSClient(
            self.reactor, host, port, context, server_hostname=database.server_name, timeout=self.timeout
        )
        return await self._connected(database, endpoint)

    async def connect_plain(self, database: Database) -> Held:
        """
        TCP alone, for protocols that begin TLS later; see L{secure}.

        @raise TeleportError: CONNECTION_PROBLEM.
        """
        return await self._connected(
            database, TCPClient(self.reactor, database.host, database.port, timeout=self.timeout)
        )

    async def secure(self, database: Database, user: str, plain: Any, pending: bytes = b"") -> Held:
        """
        Go on with TLS.

        @param plain: the transport; spent by this.
        @param pending: bytes of the server's that were read behind its agreement; there must be none.
        @return: holds the transport of TLS.
        @raise TeleportError: CONNECTION_PROBLEM.
        """
        if pending:
            # what came unencrypted must not pass for what comes encrypted (CVE-2021-23222)
            plain.abortConnection()
            raise _problem(database, "it sent data before TLS was set up")
        context = await self.context(database, user)
        held = Held()
        try:
            await start_tls(
                self.reactor,
                plain,
                held,
                context,
                server_side=False,
                server_hostname=database.server_name,
                timeout=self.timeout,
            )
        except CancelledError:
            raise  # nobody asks any more
        except Exception as error:
            raise _problem(database, _words(error)) from error
        return held

    async def _connected(self, database: Database, endpoint: TCPClient | TLSClient) -> Held:
        try:
            held = await endpoint.connect(HoldingFactory())
        except CancelledError:
            raise  # nobody asks any more
        except Exception as error:
            raise _problem(database, _words(error)) from error
        assert isinstance(held, Held)  # the factory makes no other
        return held

    def _basis(self, database: Database) -> object:
        """
        What a context is made of beside the certificate.
        """
        return database.tls, None if database.tls.ca_cert else tuple(self.view.authorities(AuthorityType.DB))

    async def _make(self, key: tuple[str, str], basis: object, database: Database, user: str) -> ssl.SSLContext:
        private = PrivateKey.generate_tls()
        request = DatabaseCertRequest(key=spki_pem(private.public), username=user, ttl=CERTIFICATE_TTL)
        issued = await self.api.issue_database(request)
        context = await self.threads.run(self._context, database, issued, private)
        end = x509.load_pem_x509_certificate(issued.certificate).not_valid_after_utc
        now = self.reactor.seconds()
        life = (end - from_timestamp(now)).total_seconds()
        self._kept[key] = _Kept(context, now + life * RENEW_AT, basis)
        if len(self._kept) > MAX_CONTEXTS:
            self._kept.popitem(last=False)
        return context

    def _context(self, database: Database, issued: DatabaseCertificate, private: PrivateKey) -> ssl.SSLContext:
        context = target_context(database, issued.roots)
        with TemporaryDirectory(prefix="teleport-db-") as folder:
            path = Path(folder) / "client.pem"
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(issued.certificate + private.pem().reveal())
            context.load_cert_chain(path)
        return context


def target_context(database: Database, authorities: bytes) -> ssl.SSLContext:
    """
    @param authorities: PEM of the cluster's C{db} authority, believed where the entry names no other.
    @return: a context that checks the target as its entry wants, and shows no certificate yet.
    @raise TeleportError: BAD_PARAMETER, the entry's authority cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    match database.tls.mode:
        case TLSMode.VERIFY_CA:
            context.check_hostname = False
        case TLSMode.INSECURE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    pem = database.tls.ca_cert.encode() or authorities
    try:
        if pem:
            context.load_verify_locations(cadata=pem.decode())
    except ssl.SSLError as error:
        raise TeleportError(Kind.BAD_PARAMETER, f"tls.ca_cert of database {database.name!r} cannot be read") from error
    if database.tls.trust_system_cert_pool:
        context.load_default_certs()
    return context


def server_end_point(transport: Any) -> bytes:
    """
    @param transport: of TLS to a database.
    @return: channel binding C{tls-server-end-point}: a hash of the target's certificate by its signature's own hash,
        SHA-256 in place of MD5 and SHA-1; empty where there is none.
    @see: RFC 5929 section 4.1
    """
    shown = transport.getPeerCertificate()
    if not shown:
        return b""
    certificate = x509.load_der_x509_certificate(shown)
    used = certificate.signature_hash_algorithm
    if used is None:
        return b""
    name = "sha256" if used.name in ("md5", "sha1") else used.name
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


def _words(error: Exception) -> str:
    match error:
        case TLSError():
            return f"its TLS certificate or handshake is not as wanted: {error}"
        case DNSLookupError():
            return "its host name is not known"
        case ConnectError():
            return str(error)
    return str(error) or type(error).__name__


def _problem(database: Database, text: str) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM, f"database {database.name!r} at {database.uri} cannot be reached: {text}"
    )
