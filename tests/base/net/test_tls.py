"""
TLS: who the peers are, what they agreed on, and what happens when one of them misbehaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSClient, TLSServer
from teleport_tw.base.net.tls import TLSError, start_tls
from tests.base.net.peers import Recorder, Recorders, context, der

reactor: Any = installed


class TLSCase(TestCase):
    """
    A TLS server, and asyncio's log, which must stay silent.
    """

    timeout = 10

    def setUp(self) -> None:
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("asyncio").addHandler(handler)
        self.addCleanup(logging.getLogger("asyncio").removeHandler, handler)
        self.addCleanup(lambda: self.assertEqual(said, []))
        self.accepted = Recorders()

    async def serve(self, *, ask: bool = True, alpn: tuple[str, ...] = (), **options: Any) -> int:
        server_context = context("server", server_side=True, ask=ask, alpn=alpn)
        port: Any = await TLSServer(reactor, "127.0.0.1", 0, server_context, **options).listen(self.accepted)
        self.addCleanup(port.stopListening)
        self.port = port
        number: int = port.getHost().port
        return number

    def client(self, port: int, subject: str | None = "client", **options: Any) -> TLSClient:
        options.setdefault("server_hostname", "server")
        return TLSClient(reactor, "127.0.0.1", port, context(subject, server_side=False), **options)

    async def end(self, *peers: Any) -> None:
        for peer in peers:
            peer.transport.abortConnection()
            await peer.lost


class HandshakeTest(TLSCase):
    """
    Handshakes that work and those that do not.
    """

    async def test_each_sees_the_others_certificate(self) -> None:
        client: Any = await self.client(await self.serve()).connect(Recorders())
        server: Any = await self.accepted.first()
        self.assertEqual(client.transport.getPeerCertificate(), der("server"))
        self.assertEqual(server.transport.getPeerCertificate(), der("client"))
        self.assertEqual(server.transport.version, "TLSv1.3")
        await self.end(client, server)

    async def test_a_client_without_certificate_shows_none(self) -> None:
        client: Any = await self.client(await self.serve(ask=False), None).connect(Recorders())
        server: Any = await self.accepted.first()
        self.assertIsNone(server.transport.getPeerCertificate())
        self.assertIsNone(server.transport.negotiatedProtocol)
        await self.end(client, server)

    async def test_alpn_takes_the_servers_first_choice(self) -> None:
        port = await self.serve(alpn=("two", "one"))
        client: Any = await self.client(port, alpn=("one", "two")).connect(Recorders())
        server: Any = await self.accepted.first()
        self.assertEqual(server.transport.negotiatedProtocol, b"two")
        self.assertEqual(client.transport.negotiatedProtocol, b"two")
        await self.end(client, server)

    async def test_a_wrong_name_is_refused(self) -> None:
        factory = Recorders()
        with self.assertRaises(TLSError) as caught:
            await self.client(await self.serve(), server_hostname="other").connect(factory)
        self.assertIn("Hostname mismatch", str(caught.exception))
        self.assertEqual(factory.built, [])
        self.assertEqual(factory.stopped, 1)

    async def test_an_unknown_authority_is_refused(self) -> None:
        stranger = ssl.create_default_context()
        endpoint = TLSClient(reactor, "127.0.0.1", await self.serve(), stranger, server_hostname="server")
        with self.assertRaises(TLSError) as caught:
            await endpoint.connect(Recorders())
        self.assertEqual(caught.exception.reason, "CERTIFICATE_VERIFY_FAILED")
        self.assertEqual(self.accepted.built, [])

    async def test_a_server_that_wants_a_certificate_builds_no_protocol_without_one(self) -> None:
        try:
            client: Any = await self.client(await self.serve(), None).connect(Recorders())
        except TLSError:
            pass
        else:  # in TLS 1.3 the client is done before the server has looked
            self.assertIsInstance(await client.lost, ConnectionLost)
        self.assertEqual(self.accepted.built, [])

    async def test_garbage_ends_the_connection_in_silence(self) -> None:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 512, b"\xff" * 4096):
            number = await self.serve()
            client: Any = await TCPClient(reactor, "127.0.0.1", number).connect(Recorders())
            client.transport.write(garbage)
            await client.lost
        self.assertEqual(self.accepted.built, [])
        self.assertEqual(self.port.connections, set())

    async def test_a_peer_that_leaves_in_the_handshake_is_forgotten(self) -> None:
        client: Any = await TCPClient(reactor, "127.0.0.1", await self.serve()).connect(Recorders())
        client.transport.loseConnection()
        await client.lost
        await deferLater(reactor, 0.02, lambda: None)
        self.assertEqual(self.accepted.built, [])

    async def test_a_handshake_has_a_time_limit(self) -> None:
        number = await self.serve(handshake_timeout=0.05)
        client: Any = await TCPClient(reactor, "127.0.0.1", number).connect(Recorders())
        await client.lost
        self.assertEqual(self.accepted.built, [])

    async def test_a_server_that_speaks_no_tls_is_a_tls_error(self) -> None:
        class Greeter(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.write(b"220 hello\r\n")

        plain: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(Recorders(Greeter))
        with self.assertRaises(TLSError):
            await self.client(plain.getHost().port).connect(Recorders())
        await plain.stopListening()


class EndTest(TLSCase):
    """
    How TLS connections end.
    """

    async def _raw(self) -> tuple[asyncio.Transport, ssl.SSLObject, Any, Recorder]:
        """
        A TLS client made by hand, so that it can misbehave.
        """
        raw: Any = await TCPClient(reactor, "127.0.0.1", await self.serve()).connect(Recorders())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context("client", server_side=False).wrap_bio(incoming, outgoing, server_hostname="server")
        seen = 0
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.transport.write(outgoing.read())
                seen = raw.received
                await raw.got(seen + 1)
                incoming.write(raw.data)
                raw.data = b""
        raw.transport.write(outgoing.read())
        server: Any = await self.accepted.first()
        return raw, tls, outgoing, server

    async def test_an_end_without_close_notify_is_a_lost_connection(self) -> None:
        raw, tls, outgoing, server = await self._raw()
        tls.write(b"half a story")
        raw.transport.write(outgoing.read())  # type: ignore[attr-defined]
        raw.transport.loseConnection()  # type: ignore[attr-defined]
        self.assertIsInstance(await server.lost, ConnectionLost)
        self.assertEqual(server.data, b"half a story")

    async def test_an_end_with_close_notify_is_clean(self) -> None:
        raw, tls, outgoing, server = await self._raw()
        tls.write(b"the whole story")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        raw.transport.write(outgoing.read())  # type: ignore[attr-defined]
        self.assertIsInstance(await server.lost, ConnectionDone)
        self.assertEqual(server.data, b"the whole story")

    async def test_garbage_inside_the_stream_is_a_lost_connection(self) -> None:
        raw, _, _, server = await self._raw()
        raw.transport.write(b"\x17\x03\x03\x00\x20" + b"\xee" * 32)  # type: ignore[attr-defined]
        self.assertIsInstance(await server.lost, ConnectionLost)


class StartTLSTest(TLSCase):
    """
    TLS begun on a connection in use.
    """

    async def _start(self, pending: bool, subject: str = "client") -> tuple[Any, Any, Any, Recorder]:
        accepted = Recorders()
        port: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(accepted)
        self.addCleanup(port.stopListening)
        client: Any = await TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        server: Any = await accepted.first()
        inner, outer = Recorder(), Recorder()
        starting = start_tls(
            reactor,
            client.transport,
            outer,
            context("client", server_side=False),
            server_side=False,
            server_hostname="server",
        )
        first = b""
        if pending:
            await server.got(1)
            server.transport.pauseProducing()
            first = server.data
        upgrade = start_tls(
            reactor,
            server.transport,
            inner,
            context("server", server_side=True, ask=True),
            pending=first,
        )
        await upgrade
        await starting
        self.assertFalse(server.lost.called)
        self.port = port
        return outer, inner, server, client

    async def test_bytes_read_before_are_part_of_the_handshake(self) -> None:
        for pending in (False, True):
            outer, inner, _, _ = await self._start(pending)
            outer.transport.write(b"secret")
            self.assertEqual(await inner.got(6), b"secret")
            self.assertEqual(inner.transport.getPeerCertificate(), der("client"))
            inner.transport.write(b"answer")
            self.assertEqual(await outer.got(6), b"answer")
            outer.transport.loseConnection()
            self.assertIsInstance(await inner.lost, ConnectionDone)
            await outer.lost
            self.assertEqual(self.port.connections, set())

    async def test_a_failed_upgrade_is_a_tls_error_and_closes(self) -> None:
        accepted = Recorders()
        port: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(accepted)
        client: Any = await TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        server: Any = await accepted.first()
        upgrade = start_tls(reactor, server.transport, Recorder(), context("server", server_side=True))
        client.transport.write(b"no TLS at all")
        with self.assertRaises(TLSError):
            await upgrade
        await client.lost
        self.assertEqual(port.connections, set())
        await port.stopListening()

    async def test_a_connection_that_is_gone_cannot_be_upgraded(self) -> None:
        accepted = Recorders()
        port: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(accepted)
        client: Any = await TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        server: Any = await accepted.first()
        client.transport.loseConnection()
        await client.lost
        await server.lost
        with self.assertRaises(ConnectionLost):
            start_tls(reactor, client.transport, Recorder(), context("client", server_side=False))
        await port.stopListening()
