"""
What a peer says last, before it breaks off without a word of TLS, is delivered however late it is read.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient
from teleport_tw.base.net.tls import start_tls
from tests.peers.certificates import authorities

LAST = b"access denied: no such database\n"


class Reading(Protocol):
    """
    Goes on with what was held.
    """

    def __init__(self, held: Held) -> None:
        self.data = held.early
        self.over: Deferred[bytes] = Deferred()
        transport: Any = held.transport
        self.makeConnection(transport)
        transport.protocol = self
        transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.over.callback(self.data)


class LastWordsTests(TestCase):
    """
    A server that greets, begins TLS, answers one byte with its last words, and is gone.
    """

    timeout = 60

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        certificate, key, _ = authorities().server().written(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.gone = threading.Event()

    def serve(self) -> None:
        """
        One connection.
        """
        plain, _ = self.listener.accept()
        plain.sendall(b"hello")
        plain.recv(4)
        secured = self.context.wrap_socket(plain, server_side=True)
        secured.recv(1)
        secured.sendall(LAST)
        socket.socket(fileno=secured.detach()).close()
        self.gone.set()

    async def talk(self, *, turns: int, early: bool) -> bytes:
        """
        @param turns: of the loop between TLS and reading.
        @param early: the byte is sent before anybody reads.
        @return: what came.
        """
        self.gone.clear()
        thread = threading.Thread(target=self.serve)
        thread.start()
        self.addCleanup(thread.join)
        port = self.listener.getsockname()[1]
        held = await TCPClient(reactor, "127.0.0.1", port).connect(HoldingFactory())
        greeted: Any = held.transport
        greeted.write(b"TLS!")
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        while not held.early:
            greeted.resumeProducing()
            await deferLater(reactor, 0)
        greeted.pauseProducing()
        secured = Held()
        await start_tls(reactor, greeted, secured, client, server_side=False)
        for _ in range(turns):
            await deferLater(reactor, 0)
        transport: Any = secured.transport
        if early:
            transport.write(b"x")
            await deferLater(reactor, 0)
        reading = Reading(secured)
        if not early:
            transport.write(b"x")
            await deferLater(reactor, 0)
        self.gone.wait(10)  # the loop stands still: all of it has come before it goes on
        return await reading.over

    async def test_nothing_is_lost(self) -> None:
        """However the pauses, the bytes and the end come together."""
        case: Any = self
        for turns in range(4):
            for early in (False, True):
                for _ in range(5):
                    case.assertEqual(await self.talk(turns=turns, early=early), LAST, (turns, early))
