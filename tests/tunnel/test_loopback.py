"""
A tunnel by TLS on loopback: real connections, real back-pressure.
"""

from __future__ import annotations

import datetime
import random
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import access_denied
from teleport_tw.base.net.endpoints import TLSClient, TLSServer
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.tunnel.dialer import Dialer
from teleport_tw.tunnel.endpoints import Receptionist
from teleport_tw.tunnel.registry import Registry


def certificate(folder: Path) -> str:
    """
    @return: a file with a key and its own certificate for C{localhost}.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    issued = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    file.write_bytes(
        issued.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return str(file)


class Echo(Protocol):
    """
    Sends back what it hears; reads no faster than that goes.
    """

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class Sends(Protocol):
    """
    Sends some bytes and waits until as many have come back.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.came = bytearray()
        self.done: Deferred[bool] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.content)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.came += data
        if len(self.came) >= len(self.content):
            self.done.callback(self.came == self.content)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class LoopbackTests(TestCase):
    """
    One proxy, one agent.
    """

    timeout = 20

    async def start(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = certificate(Path(folder.name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        identity = Identity(username="a.example", system_roles=(SystemRole.NODE,))
        self.registry = Registry(reactor, lambda transport: identity)  # type: ignore[arg-type]
        port = await TLSServer(reactor, "127.0.0.1", 0, context).listen(self.registry)  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        self.endpoint = TLSClient(
            reactor,  # type: ignore[arg-type]
            "127.0.0.1",
            port.getHost().port,  # type: ignore[attr-defined]
            ssl.create_default_context(cafile=file),
            server_hostname="localhost",
            alpn=["teleport-reversetunnel"],
        )

        async def accept(header: StreamHeader, stream: object) -> IProtocol:
            if header.login == "nobody":
                raise access_denied()
            return Echo()

        self.linked: Deferred[None] = Deferred()
        unwatch = self.registry.watch(self.changed)
        self.addCleanup(unwatch)
        self.dialer = Dialer(
            "proxy",
            self.endpoint,
            reactor,  # type: ignore[arg-type]
            Receptionist(accept, reactor),  # type: ignore[arg-type]
            backoff=Backoff(first=Duration(seconds=0.01)),
        )
        self.dialer.start()
        self.addCleanup(self.dialer.stop)
        await self.linked

    def changed(self, host: str, links: int) -> None:
        if links and not self.linked.called:
            self.linked.callback(None)

    def connect(self, content: bytes, login: str = "root") -> Deferred[IProtocol]:
        sends, factory = Sends(content), Factory()
        factory.buildProtocol = lambda addr: sends  # type: ignore[method-assign]
        self.addCleanup(lambda: sends.transport and sends.transport.loseConnection())
        return self.registry.endpoint("a", StreamHeader(target_kind="node", login=login)).connect(factory)

    async def test_fifty_streams_at_once(self) -> None:
        await self.start()
        chance = random.Random(2)
        streams = await gatherResults([self.connect(chance.randbytes(chance.randrange(400_000))) for _ in range(50)])
        self.assertEqual(set(await gatherResults([stream.done for stream in streams])), {True})
        for stream in streams:
            stream.transport.loseConnection()
        await gatherResults([stream.gone for stream in streams])

    async def test_a_keystroke_beside_bulk(self) -> None:
        await self.start()
        bulk = await self.connect(bytes(20_000_000))
        keys = await self.connect(b"k")
        assert isinstance(keys, Sends)
        assert isinstance(bulk, Sends)
        self.assertTrue(await keys.done)
        self.assertFalse(bulk.done.called)
        self.assertTrue(await bulk.done)

    async def test_a_refusal(self) -> None:
        await self.start()
        error = await self.assertFailure(self.connect(b"", "nobody"), Exception)
        self.assertEqual(str(error), "access denied")

    async def test_a_link_that_is_cut_comes_back(self) -> None:
        await self.start()
        stream = await self.connect(b"x")
        assert isinstance(stream, Sends)
        self.linked = Deferred()
        self.registry.links("a")[0].abort()
        await stream.gone
        await self.linked
        again = await self.connect(b"y")
        assert isinstance(again, Sends)
        self.assertTrue(await again.done)
