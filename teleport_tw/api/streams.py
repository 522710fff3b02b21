"""
What is said at the start of a stream: who wants what, and the answer.

Both are protobuf messages of C{tunnel.proto}, each behind its length. They go from a client to the proxy when it dials,
and from the proxy to an agent down the tunnel. Twisted's addresses are loaded where they are used only: a client that
starts for one connection has no reactor.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen
from google.protobuf.message import DecodeError, Message

from teleport_tw.api.proto import tunnel_pb2 as pb
from teleport_tw.base.addresses import join_address, split_address
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address

MAX_BYTES = 64 * 1024
"""The longest header or answer: a chain of several certificates with room to spare."""

_LENGTH_BYTES = 4

M = TypeVar("M", pb.StreamHeader, pb.StreamAnswer)


@frozen(kw_only=True)
class StreamHeader:
    """
    Who wants what.

    @ivar target_kind: C{node}, C{db}, C{app} and so on.
    @ivar target_name: a name or the host's UUID; may carry C{:port}.
    @ivar login: the login at the target where the opener knows it; a hint, not a permission.
    @ivar client_address: C{host:port} of the user's connection; an IPv6 host in brackets.
    @ivar user_certificates: X.509 in DER or OpenSSH certificate blobs, the holder's own first.
    @ivar session_id: UUID of the session in audit events and recordings.
    @ivar trace: W3C traceparent; may be empty.
    @ivar opening: what the opener has sent to the client already, in a protocol whose server speaks first; the agent
        goes on from there.
    """

    target_kind: str
    target_name: str = ""
    login: str = ""
    client_address: str = ""
    user_certificates: tuple[bytes, ...] = ()
    session_id: str = ""
    trace: str = ""
    opening: bytes = b""

    def address(self) -> IPv4Address | IPv6Address | None:
        """
        @return: the client's address as Twisted has it; None where the header tells none or no numeric one.
        """
        from twisted.internet.address import IPv4Address, IPv6Address

        try:
            host, number = split_address(self.client_address)
            ip = ip_address(host)
        except (TeleportError, ValueError):
            return None
        return IPv4Address("TCP", str(ip), number) if ip.version == 4 else IPv6Address("TCP", str(ip), number)


def address_text(address: object) -> str:
    """
    @return: C{host:port} for L{StreamHeader.client_address}; empty for what is no TCP address.
    """
    from twisted.internet.address import IPv4Address, IPv6Address

    match address:
        case IPv4Address() | IPv6Address():
            return join_address(address.host, address.port)
    return ""


def encode_header(header: StreamHeader) -> bytes:
    """
    @return: the header behind its length.
    @raise TeleportError: LIMIT_EXCEEDED, it is longer than 64 KiB.
    """
    return _framed(
        pb.StreamHeader(
            target_kind=header.target_kind,
            target_name=header.target_name,
            login=header.login,
            client_address=header.client_address,
            user_certificates=header.user_certificates,
            session_id=header.session_id,
            trace=header.trace,
            opening=header.opening,
        )
    )


def decode_header(body: bytes) -> StreamHeader:
    """
    @param body: without the length.
    @raise RemoteProtocolError: no such message.
    """
    message = _parsed(pb.StreamHeader(), body)
    return StreamHeader(
        target_kind=message.target_kind,
        target_name=message.target_name,
        login=message.login,
        client_address=message.client_address,
        user_certificates=tuple(message.user_certificates),
        session_id=message.session_id,
        trace=message.trace,
        opening=message.opening,
    )


def encode_answer(error: TeleportError | None = None) -> bytes:
    """
    @param error: None to accept.
    @return: the answer behind its length. An error's details stay here.
    """
    if error is None:
        return _framed(pb.StreamAnswer(accepted=pb.StreamAccepted()))
    kind = pb.StreamError.Kind.Value(error.kind.name)
    return _framed(pb.StreamAnswer(error=pb.StreamError(kind=kind, message=error.message[: MAX_BYTES // 8])))


def decode_answer(body: bytes) -> TeleportError | None:
    """
    @param body: without the length.
    @return: why not, or None.
    @raise RemoteProtocolError: no such message.
    """
    message = _parsed(pb.StreamAnswer(), body)
    match message.WhichOneof("outcome"):
        case "accepted":
            return None
        case "error":
            name = pb.StreamError.Kind.Name(message.error.kind) if message.error.kind in _KINDS else ""
            return TeleportError(Kind.__members__.get(name, Kind.CONNECTION_PROBLEM), message.error.message)
    raise RemoteProtocolError("the peer sent an answer that says neither yes nor no")


_KINDS = frozenset(pb.StreamError.Kind.values())


class Prefixed:
    """
    Collects one length-prefixed message: C{uint32} big-endian length, not counting itself; then the message.

    @ivar rest: what came behind it.
    """

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        """
        @return: the message once it is complete, and None before.
        @raise RemoteProtocolError: its length is above 64 KiB.
        """
        buffer = self._buffer
        buffer += data
        if len(buffer) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "big")
        if end > _LENGTH_BYTES + MAX_BYTES:
            raise RemoteProtocolError(f"the peer announced a message of {end - _LENGTH_BYTES} bytes")
        if len(buffer) < end:
            return None
        self.rest = bytes(buffer[end:])
        return bytes(buffer[_LENGTH_BYTES:end])


def _framed(message: Message) -> bytes:
    body = message.SerializeToString()
    if len(body) > MAX_BYTES:
        raise TeleportError(Kind.LIMIT_EXCEEDED, "the certificates are too large to be sent to an agent")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def _parsed(message: M, body: bytes) -> M:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise RemoteProtocolError("the peer sent a message that is no protobuf") from error
    return message
