"""
The agent of a session on the web: lent to the proxy where sessions are recorded there, which signs in to the server
with it as it would with the agent that C{ssh -A} brings.

It holds the one certificate that the connection itself was made with, and signs one thing: the proof of a sign-in with
that certificate as the login that the user asked for. It is lent to this process and never to a server.

@see: draft-ietf-sshm-ssh-agent, sections 3.5 and 3.6; RFC 4252 section 7
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.protocol import Protocol

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch import signatures
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen, Connection, Responder
from teleport_tw.conch.numbers import MSG_USERAUTH_REQUEST
from teleport_tw.conch.streams import StreamChannel
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_text, put_uint32

CHANNEL = "auth-agent@openssh.com"

MAX_MESSAGE_BYTES = 64 * 1024
"""A certificate twice, and some words; no honest one comes near."""

_FAILURE = b"\x05"
_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = b"\x0c"
_SIGN_REQUEST = 13
_SIGN_RESPONSE = b"\x0e"


@frozen(kw_only=True)
class Lent:
    """
    What is lent.

    @ivar certificate: blob.
    @ivar login: as whom it may be used.
    """

    key: signatures.PrivateKey
    certificate: bytes
    login: str

    def answer(self, message: bytes) -> bytes:
        """
        @param message: a request, without its length.
        @return: the answer, without its length.
        """
        if message == bytes((_REQUEST_IDENTITIES,)):
            return _IDENTITIES_ANSWER + put_uint32(1) + put_string(self.certificate) + put_text("web")
        if message[:1] != bytes((_SIGN_REQUEST,)):
            return _FAILURE
        try:
            reader = Reader(message[1:])
            blob, signed, _ = reader.string(), reader.string(), reader.uint32()
            algorithm = self._algorithm(signed)
        except RemoteProtocolError:
            return _FAILURE
        if blob != self.certificate or algorithm is None:
            return _FAILURE
        return _SIGN_RESPONSE + put_string(signatures.sign(self.key, algorithm, signed))

    def _algorithm(self, signed: bytes) -> bytes | None:
        """
        C{string} session id; C{byte} 50; C{string} login, C{string} service, C{string} method; C{boolean} true;
        C{string} algorithm; C{string} certificate.

        @return: None for anything else.
        @raise RemoteProtocolError: it is cut short.
        """
        reader = Reader(signed)
        reader.string()
        number, login, service, method = reader.byte(), reader.text(), reader.text(), reader.text()
        there, algorithm, certificate = reader.boolean(), reader.string(), reader.string()
        reader.end()
        expected = (MSG_USERAUTH_REQUEST, self.login, "ssh-connection", "publickey", True, self.certificate)
        if (number, login, service, method, there, certificate) != expected:
            return None
        return algorithm if algorithm in signatures.signature_algorithms(self.certificate) else None


class LentAgent(Protocol):
    """
    Speaks for what is lent, on one channel.
    """

    transport: Any  # a channel

    def __init__(self, lent: Lent) -> None:
        self._lent = lent
        self._buffer = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """
        C{uint32} length, and so many bytes of a message.
        """
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if not 0 < size <= MAX_MESSAGE_BYTES:
                self.transport.loseConnection()
                return
            if len(self._buffer) < 4 + size:
                return
            message = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self.transport.write(put_string(self._lent.answer(message)))


@define(eq=False)
class Lender:
    """
    A L{Responder} that lends; everything else is the other one's affair.

    @ivar wanted: whether the one at the other end is the proxy, in this process.
    """

    lent: Lent
    wanted: Callable[[], bool]
    other: Responder | None

    def connected(self, connection: Connection) -> None:
        """See L{Responder.connected}."""
        if self.other is not None:
            self.other.connected(connection)

    def connection_lost(self) -> None:
        """See L{Responder.connection_lost}."""
        if self.other is not None:
            self.other.connection_lost()

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """See L{Responder.open_channel}."""
        if request.kind == CHANNEL and self.wanted():
            channel = StreamChannel()
            channel.when_open = lambda: channel.attach(LentAgent(self.lent))
            return channel
        if self.other is None:
            raise TeleportError(Kind.ACCESS_DENIED, "a page takes no channels")
        return await self.other.open_channel(request)

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """See L{Responder.global_request}."""
        return None if self.other is None else await self.other.global_request(name, payload)
