"""
A Twisted Protocol on one of asyncio's native transports.

L{Connection} is both sides of the seam: asyncio (in practice libuv by way of uvloop) calls its snake_case methods, a
Twisted Protocol uses it as its C{transport}. The hot path is left out of it: bytes that arrive go from the loop to
C{protocol.dataReceived}, which is bound once after C{makeConnection}, and C{write} is the native transport's own.
Hence a protocol that swaps its C{dataReceived} after C{connectionMade} sets L{Connection.protocol} again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import ClassVar, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.net.addresses import Address, address_of
from teleport_tw.base.net.options import SocketOptions

HIGH_WATER_BYTES = 64 * 1024
"""Unsent bytes above which a producer is paused: about one window of a connection across a continent."""

LOW_WATER_BYTES = 16 * 1024
"""Unsent bytes at which it goes on, early enough that the kernel's own buffer never runs dry."""

FLUSH_SECONDS = 30.0
"""How long a peer that has closed its side may take over what we still had to send it."""


def _drop(data: bytes) -> None:
    """
    What C{write} is once nothing can be sent any more.
    """


@implementer(ITCPTransport, IPushProducer, IConsumer)
class Connection(SocketOptions):
    """
    One connection: asyncio's protocol below, Twisted's transport above.

    @ivar connected: between C{connectionMade} and C{connectionLost}.
    @ivar disconnecting: C{loseConnection} was called, or the peer is gone.
    @ivar write: sends; after the end it does nothing.
    @ivar data_received: the Protocol's C{dataReceived}.
    """

    __slots__ = (
        "__weakref__",
        "_aborted",
        "_build",
        "_eof",
        "_flush_limit",
        "_host",
        "_kept",
        "_loop",
        "_lost",
        "_native",
        "_paused",
        "_peer",
        "_producer",
        "_protocol",
        "_streaming",
        "_write_ended",
        "_write_paused",
        "connected",
        "data_received",
        "disconnecting",
        "write",
    )

    _log: ClassVar[Logger] = Logger()
    _half_closes: ClassVar[bool] = True
    TLS: ClassVar[bool] = False

    data_received: Callable[[bytes], object]
    write: Callable[[bytes], None]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        build: Callable[[Connection], IProtocol | None],
        *,
        lost: Callable[[Connection], object] | None = None,
    ) -> None:
        """
        @param build: makes the Protocol once the connection stands; None refuses it.
        @param lost: called once, before the Protocol's C{connectionLost}, also when there never was a Protocol.
        """
        self._loop = loop
        self._build = build
        self._lost = lost
        self._native: asyncio.Transport | None = None
        self._protocol: IProtocol | None = None
        self._producer: IPushProducer | IPullProducer | None = None
        self._peer: Address | None = None
        self._host: Address | None = None
        self._streaming = self._write_paused = self._paused = False
        self._eof = self._aborted = self._write_ended = False
        self._flush_limit: asyncio.TimerHandle | None = None
        self._kept: list[bytes] | None = None
        self.connected = self.disconnecting = False
        self.data_received = _drop
        self.write = _drop

    # What asyncio calls.

    def connection_made(self, native: asyncio.BaseTransport) -> None:
        """
        The connection stands, and TLS on it where there is some: make the Protocol and let it begin.
        """
        self._native = transport = cast(asyncio.Transport, native)  # asyncio's base class lacks the writing half
        try:
            self._take_addresses(transport)
            transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
            protocol = self._build(self)
        except OSError:  # the peer was gone before we looked
            protocol = None
        except Exception:
            self._log.failure("no protocol for a connection from {peer}", peer=self._peer)
            protocol = None
        if protocol is None:
            self._aborted = True
            transport.abort()
            return
        self.connected = True
        self.write = transport.write
        self._begin(protocol)

    def _begin(self, protocol: IProtocol) -> None:
        self._protocol = protocol
        try:
            protocol.makeConnection(self)
        except Exception:
            self._log.failure("{protocol} failed on connectionMade", protocol=protocol)
            self.abortConnection()
        if self._protocol is protocol and self._native is not None:
            if self._paused:
                self._keep_early(self._native)
            else:
                self.protocol = protocol

    def _keep_early(self, native: asyncio.Transport) -> None:
        """
        The Protocol paused us in its C{connectionMade}. uvloop starts to read after that whatever we say, and may have
        read by the time it takes a pause, so what comes until then is kept.
        """
        kept: list[bytes] = []
        self._kept = kept

        def keep(data: bytes) -> None:
            kept.append(data)
            self._pause_native(native)

        self.data_received = keep
        native.set_protocol(cast(asyncio.Protocol, self))
        self._loop.call_soon(self._pause_again)

    def _pause_again(self) -> None:
        if self._paused and self._native is not None:
            self._pause_anew(self._native)

    def _deliver_kept(self) -> None:
        kept, protocol = self._kept, self._protocol
        if kept is None or protocol is None or self._paused or self._native is None:
            return
        self._kept = None
        ended, self._eof = self._eof, False
        self.protocol = protocol
        try:
            if kept:
                protocol.dataReceived(b"".join(kept))
        except Exception:
            self._log.failure("{protocol} failed on dataReceived", protocol=protocol)
            self.abortConnection()
        if ended:
            if not self.eof_received():
                self._native.close()
        elif not self._paused:
            self.resumeProducing()

    def _take_addresses(self, transport: asyncio.Transport) -> None:
        raw: socket.socket = transport.get_extra_info("socket")
        self._host = address_of(raw.family, raw.getsockname())
        self._peer = address_of(raw.family, raw.getpeername())

    def eof_received(self) -> bool:
        """
        The peer sends no more. A Protocol that knows of half-closed connections goes on; others end, once what they
        wrote is sent.
        """
        self._eof = True
        if self._kept is not None and not self.disconnecting:
            return True
        if self.disconnecting:
            return self._half_closes and self._producer is not None
        if self._half_closes and self._tell_read_ended():
            return not self.disconnecting or self._producer is not None
        self.disconnecting = True
        self.write = _drop
        self._limit_flush()
        return False

    def _tell_read_ended(self) -> bool:
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is None:
            self.loseConnection()
            return False
        try:
            half.readConnectionLost()
        except Exception:
            self._log.failure("{protocol} failed on readConnectionLost", protocol=self._protocol)
            self.abortConnection()
        return True

    def _limit_flush(self) -> None:
        native = self._native
        if native is not None and self._flush_limit is None and native.get_write_buffer_size():
            self._flush_limit = self._loop.call_later(FLUSH_SECONDS, native.abort)

    def connection_lost(self, error: Exception | None) -> None:
        """
        The connection is gone.
        """
        if self._flush_limit is not None:
            self._flush_limit.cancel()
        ended_well = self._eof or self.disconnecting
        was_connected, self.connected, self.disconnecting = self.connected, False, True
        self.write = self.data_received = _drop
        self._native = None
        producer, self._producer = self._producer, None
        protocol, self._protocol = self._protocol, None
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self)
        try:
            if producer is not None:
                producer.stopProducing()
        except Exception:
            self._log.failure("{producer} failed on stopProducing", producer=producer)
        if protocol is not None and was_connected:
            try:
                protocol.connectionLost(Failure(self._reason(error, ended_well)))
            except Exception:
                self._log.failure("{protocol} failed on connectionLost", protocol=protocol)

    def _reason(self, error: Exception | None, ended_well: bool) -> Exception:
        if self._aborted:
            return ConnectionAborted()
        if error is None and ended_well:
            return ConnectionDone()
        reason = ConnectionLost(str(error) if error is not None else "the peer broke off")
        reason.__cause__ = error
        return reason

    def pause_writing(self) -> None:
        """
        More than L{HIGH_WATER_BYTES} wait to be sent.
        """
        self._write_paused = True
        if self._producer is not None and self._streaming:
            cast(IPushProducer, self._producer).pauseProducing()

    def resume_writing(self) -> None:
        """
        Less than L{LOW_WATER_BYTES} wait to be sent.
        """
        self._write_paused = False
        if self._producer is None:
            return
        if self._streaming:
            self._producer.resumeProducing()
            self._close_if_asked()
        else:
            self._pull()

    def detach(self) -> tuple[asyncio.Transport, bytes, Callable[[Connection], object] | None]:
        """
        Give the native transport away, paused; this connection is spent, and its Protocol hears no more of it.

        @return: the transport, what was read from it and not delivered, and who must be told when it is lost.
        @raise ConnectionLost: there is none any more.
        """
        native, lost = self._native, self._lost
        if native is None or self.disconnecting:
            raise ConnectionLost("the connection has ended")
        self._native = self._protocol = self._producer = self._lost = None
        self.write = self.data_received = _drop
        self.connected, self.disconnecting = False, True
        native.pause_reading()  # what comes next belongs to the new owner
        return native, b"".join(self._kept or ()), lost

    # What a Twisted Protocol calls.

    @property
    def protocol(self) -> IProtocol | None:
        """
        Who receives the bytes. Setting it hands the connection to another Protocol, not told of C{connectionMade}, but
        told that the peer's half is closed where it is.
        """
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._protocol = protocol
        if self._native is not None and self.connected and self._kept is None:
            self.data_received = protocol.dataReceived
            self._native.set_protocol(
                cast(asyncio.Protocol, self)
            )  # a protocol by shape; libuv keeps our data_received

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces by one call to the kernel.
        """
        if self.write is not _drop and self._native is not None:
            self._native.writelines(list(data))

    def loseConnection(self) -> None:
        """
        Close after everything written was sent, and after a producer that still has to go on was unregistered.
        """
        if self.disconnecting or self._native is None:
            return
        self.disconnecting = True
        self._close_if_asked()

    def _close_if_asked(self) -> None:
        waits = self._producer is not None and (not self._streaming or self._write_paused)
        if self.disconnecting and not waits and self._native is not None:
            if self._eof:
                self._limit_flush()
            self._native.close()

    def loseWriteConnection(self) -> None:
        """
        Send what was written, then close our half. The peer may go on sending, except on TLS, where this closes it all.
        """
        if self._native is None or self._write_ended or self.disconnecting:
            return
        if not self._half_closes:
            self.loseConnection()
            return
        self._write_ended = True
        self.write = _drop
        self._native.write_eof()
        self._loop.call_soon(self._told_write_ended)

    def _told_write_ended(self) -> None:
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is None or not self.connected:
            return
        try:
            half.writeConnectionLost()
        except Exception:
            self._log.failure("{protocol} failed on writeConnectionLost", protocol=self._protocol)
            self.abortConnection()

    def abortConnection(self) -> None:
        """
        Drop the connection now, with what is unsent; the peer sees a reset.
        """
        if self._native is None or self._aborted:
            return
        self._aborted = self.disconnecting = True
        self.write = self.data_received = _drop
        self.reset_on_close()
        self._native.abort()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        @param producer: is paused while more than L{HIGH_WATER_BYTES} wait, if C{streaming}, else asked for each piece.
        @raise RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} is registered already")
        if self._native is None:
            producer.stopProducing()
            return
        self._producer = cast(IPushProducer | IPullProducer, producer)  # which of them C{streaming} tells
        self._streaming = streaming
        if not streaming:
            self._pull()
        elif self._write_paused:
            cast(IPushProducer, producer).pauseProducing()

    def unregisterProducer(self) -> None:
        """
        No more will come of the producer.
        """
        self._producer = None
        self._close_if_asked()

    def _pull(self) -> None:
        """
        Ask a pull producer for its next piece, one piece each turn of the loop, so that others have theirs.
        """
        if self._producer is None or self._streaming or self._write_paused or self._aborted:
            return
        self._producer.resumeProducing()
        if self._producer is not None and not self._write_paused:
            self._loop.call_soon(self._pull)

    def pauseProducing(self) -> None:
        """
        Stop reading; the kernel's buffer fills and the peer stops sending.
        """
        self._paused = True
        if self._native is not None:
            self._pause_native(self._native)

    def resumeProducing(self) -> None:
        """
        Read again.
        """
        self._paused = False
        if self._kept is not None:
            self._loop.call_soon(self._deliver_kept)
        elif self._native is not None and not self._eof and not self.disconnecting:
            self._resume_native(self._native)

    def stopProducing(self) -> None:
        """
        Nobody wants what we read.
        """
        self.loseConnection()

    def _pause_native(self, native: asyncio.Transport) -> None:
        native.pause_reading()

    def _pause_anew(self, native: asyncio.Transport) -> None:
        # asyncio of Python 3.11.2 holds it for paused and reads all the same: a second pause alone does nothing.
        native.resume_reading()
        native.pause_reading()

    def _resume_native(self, native: asyncio.Transport) -> None:
        native.resume_reading()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """
        @return: the other end; a C{UNIXAddress} on a UNIX socket, which the interface does not foresee.
        """
        return cast(IPv4Address, self._peer)

    def set_peer(self, address: Address) -> None:
        """
        @param address: what L{getPeer} gives from now on, where somebody who is believed brought the connection.
        """
        self._peer = address

    def getHost(self) -> IPv4Address | IPv6Address:
        """
        @return: our end; a C{UNIXAddress} on a UNIX socket.
        """
        return cast(IPv4Address, self._host)

    def logPrefix(self) -> str:
        """
        @return: what log lines about this connection begin with.
        """
        return type(self._protocol).__name__

    def raw_socket(self) -> socket.socket | None:
        """
        @return: the kernel's; None where it is none of TCP, or there is none any more.
        """
        if self._native is None or (self._host is not None and isinstance(self._host, UNIXAddress)):
            return None
        return cast("socket.socket | None", self._native.get_extra_info("socket"))  # get_extra_info knows no types
