"""
Protocols that write down what happens to them, and certificates for them.
"""

from __future__ import annotations

import datetime
import functools
import ssl
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer


class Recorder(Protocol):
    """
    Keeps what it receives and how it ended.
    """

    def __init__(self) -> None:
        self.data = b""
        self.received = 0
        self.keep = True
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[BaseException] = Deferred()
        self.read_lost: Deferred[None] = Deferred()
        self.write_lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[int, Deferred[bytes]]] = []

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if self.keep:
            self.data += data
        for wanted in tuple(self._waiting):
            if self.received >= wanted[0]:
                self._waiting.remove(wanted)
                wanted[1].callback(self.data)

    def got(self, count: int) -> Deferred[bytes]:
        """
        Fires when C{count} bytes came in all.
        """
        done: Deferred[bytes] = Deferred()
        if self.received >= count:
            done.callback(self.data)
        else:
            self._waiting.append((count, done))
        return done

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008 -- Twisted's signature
        assert reason.value is not None
        self.lost.callback(reason.value)


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """
    Knows of half-closed connections.
    """

    def readConnectionLost(self) -> None:
        self.read_lost.callback(None)

    def writeConnectionLost(self) -> None:
        self.write_lost.callback(None)


class Recorders(Factory):
    """
    Builds recorders and hands them out in order.
    """

    noisy = False

    def __init__(self, build: Callable[[], Protocol | None] = Recorder) -> None:
        self._build = build
        self.built: list[Protocol] = []
        self.addresses: list[IAddress] = []
        self.stopped = 0
        self._first: Deferred[Protocol] = Deferred()

    def doStop(self) -> None:
        self.stopped += 1
        super().doStop()

    def buildProtocol(self, address: IAddress) -> Protocol | None:
        self.addresses.append(address)
        protocol = self._build()
        if protocol is not None:
            protocol.factory = self
            self.built.append(protocol)
            if len(self.built) == 1:
                self._first.callback(protocol)
        return protocol

    async def first(self) -> Protocol:
        """
        The first one, once it is connected.
        """
        if not self.built:
            await self._first
        protocol = self.built[0]
        if isinstance(protocol, Recorder) and not protocol.made.called:
            await protocol.made
        return protocol


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@functools.cache
def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate("authority", key, key, "authority", authority=True)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: str,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(subject), x509.IPAddress(ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(signer, hashes.SHA256())
    )


@functools.cache
def certificate(subject: str) -> tuple[bytes, bytes]:
    """
    Certificate and key of C{subject}, PEM, of one authority for all.
    """
    signer, _ = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    issued = _certificate(subject, key, signer, "authority")
    return issued.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def der(subject: str) -> bytes:
    """
    The certificate of C{subject} as it goes over the wire.
    """
    return ssl.PEM_cert_to_DER_cert(certificate(subject)[0].decode("ascii"))


def context(subject: str | None, *, server_side: bool, alpn: tuple[str, ...] = (), ask: bool = False) -> ssl.SSLContext:
    """
    A context that shows C{subject} and trusts the authority.

    @param ask: the server wants a certificate of the client.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=_authority()[1].public_bytes(Encoding.PEM).decode("ascii"))
    if subject is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chain.pem"
            path.write_bytes(b"".join(certificate(subject)))
            made.load_cert_chain(path)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if ask:
        made.verify_mode = ssl.CERT_REQUIRED
    return made
