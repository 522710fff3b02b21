"""
TLS connections: the native transport's TLS, with the standard library's contexts, as Twisted's C{ISSLTransport}.

TLS ends both directions at once here: the native transports answer a peer's I{close notify} by closing, so a half-close
becomes a close.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, ClassVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IReactorTime, ISSLTransport
from zope.interface import implementer

from teleport_tw.base.loop import as_deferred, loop_of
from teleport_tw.base.net.adapter import Connection

HANDSHAKE_SECONDS = 15.0
"""Time limit of a handshake; a phone on a bad network needs about five."""

SHUTDOWN_SECONDS = 5.0
"""How long we wait for the peer's I{close notify} after ours."""

_READ_AHEAD_BYTES = 256 * 1024
"""Undecrypted bytes at which the transports stop reading; their own default."""

_decrypted = memoryview(bytearray(_READ_AHEAD_BYTES))
"""Where uvloop decrypts to, for every connection: its contents are copied out before anything else happens."""


class TLSError(ConnectError):
    """
    The handshake failed.

    @ivar reason: OpenSSL's name of the fault, such as C{CERTIFICATE_VERIFY_FAILED}; empty when the peer just left.
    """

    def __init__(self, error: Exception) -> None:
        text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error) or "the peer left"
        super().__init__(osError=error, string=f"the TLS handshake failed: {text}")  # type: ignore[no-untyped-call]
        self.reason: str = getattr(error, "reason", None) or ""


@implementer(ISSLTransport)
class TLSConnection(Connection):
    """
    A connection whose bytes TLS carries.
    """

    __slots__ = ("_resumed", "_ssl")

    _half_closes: ClassVar[bool] = False
    TLS: ClassVar[bool] = True

    _ssl: ssl.SSLObject | None
    _resumed: int

    def connection_made(self, native: asyncio.BaseTransport) -> None:
        """
        The handshake is done.
        """
        self._ssl = native.get_extra_info("ssl_object")
        self._resumed = 0
        super().connection_made(native)

    def eof_received(self) -> bool:
        """
        The peer said I{close notify}; or, on asyncio's own loop, just closed its socket, which is not the same.
        """
        protocol = getattr(self._native, "_ssl_protocol", None)
        if getattr(protocol, "_eof_received", False):
            return False
        return super().eof_received()

    # By these two uvloop knows a buffered protocol. Left to itself it lets OpenSSL read into 256 KiB of fresh memory
    # each time, which costs 17 µs a read; asyncio's own loop calls data_received.

    def get_buffer(self, wanted: int) -> memoryview:
        """
        @param wanted: bytes that would do; a smaller buffer is filled in turns.
        @return: where to decrypt to.
        """
        return _decrypted

    def buffer_updated(self, count: int) -> None:
        """
        @param count: bytes that were decrypted.
        """
        self.data_received(_decrypted[:count].tobytes())

    def getPeerCertificate(self) -> bytes | None:
        """
        @return: DER; None where the peer showed no certificate.
        """
        return self._ssl.getpeercert(binary_form=True) if self._ssl is not None else None

    def peer_names(self) -> dict[str, Any] | None:
        """
        @return: subject and names of the certificate that the peer has shown and the context verified, in the form of
            C{ssl.SSLSocket.getpeercert}; empty where it was not verified, None where there is none.
        """
        return cast(dict[str, Any] | None, self._ssl.getpeercert()) if self._ssl is not None else None

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        What ALPN agreed on; None where the peers agreed on nothing.
        """
        name = self._ssl.selected_alpn_protocol() if self._ssl is not None else None
        return name.encode("ascii") if name is not None else None

    @property
    def version(self) -> str:
        """
        C{TLSv1.3}, for the audit log.
        """
        return (self._ssl.version() if self._ssl is not None else None) or ""

    def _pause_native(self, native: asyncio.Transport) -> None:
        # Nothing may be read below either: a peer's end of file there would drop what was not yet decrypted.
        cast(Any, native).set_read_buffer_limits(1, 0)  # of TLS transports only; asyncio's base class lacks it
        native.pause_reading()

    def _pause_anew(self, native: asyncio.Transport) -> None:
        self._pause_native(native)

    def _resume_native(self, native: asyncio.Transport) -> None:
        # What is there is decrypted in the loop's next turn, and only then may more be read: an end of file read before
        # that would drop it.
        native.resume_reading()
        self._resumed += 1
        self._loop.call_soon(self._read_ahead, native, self._resumed)

    def _read_ahead(self, native: asyncio.Transport, resumed: int) -> None:
        if native is self._native and not self._paused and resumed == self._resumed:
            cast(Any, native).set_read_buffer_limits(_READ_AHEAD_BYTES)  # as above


def start_tls(
    reactor: IReactorTime,
    connection: Connection,
    protocol: IProtocol,
    context: ssl.SSLContext,
    *,
    server_side: bool = True,
    server_hostname: str | None = None,
    pending: bytes = b"",
    timeout: float = HANDSHAKE_SECONDS,
) -> Deferred[TLSConnection]:
    """
    Go on with TLS on a connection that has been in use, as STARTTLS of a database does.

    @param connection: spent by this call, whatever comes of it; its protocol hears no more of it.
    @param protocol: gets the TLS transport by C{makeConnection}, then the decrypted bytes.
    @param server_hostname: the name to verify, on the client side.
    @param pending: bytes of the peer's handshake that were read already.
    @param timeout: seconds the handshake may take.
    @return: the new transport; fails with L{TLSError}.
    """
    loop = loop_of(reactor)
    native, kept, lost = connection.detach()
    pending += kept
    upgraded = TLSConnection(loop, lambda _: protocol, lost=lambda _: lost(connection) if lost is not None else None)
    early: list[bytes] = []
    upgraded.data_received = early.append

    async def upgrade() -> TLSConnection:
        try:
            secured = await loop.start_tls(
                native,
                cast(asyncio.BaseProtocol, upgraded),
                context,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.CertificateError) as error:
            native.abort()
            upgraded.connection_lost(error)
            raise TLSError(error) from error
        if secured is None:
            raise TLSError(ConnectionResetError("the connection was lost"))
        upgraded.connection_made(secured)
        for data in early:
            upgraded.data_received(data)
        return upgraded

    def feed() -> None:
        handshake: Any = native.get_protocol()  # the loop's own TLS protocol; its class is not public
        view = handshake.get_buffer(len(pending))
        view[: len(pending)] = pending
        handshake.buffer_updated(len(pending))

    result = as_deferred(upgrade())
    if pending:
        loop.call_soon(loop.call_soon, feed)  # the first turn puts the loop's TLS protocol in place
    return result
