"""
The lines that open an SSH connection.

@see: RFC 4253 section 4.2
"""

from __future__ import annotations

from attrs import define, field

from teleport_tw.base.errors import RemoteProtocolError

MAX_VERSION_BYTES = 255
"""The line with its line end."""

MAX_GREETING_BYTES = 8192
"""What a server may say before its version, all lines together; OpenSSH's client takes 1,024 lines."""

DISCONNECT_VERSION = 8


@define
class VersionReader:
    """
    Finds the peer's version in the first bytes that come.

    A server may send other lines first; a client may not.

    @ivar _client: whether we are the client.
    """

    _client: bool
    _buffer: bytes = field(default=b"", init=False)
    _greeting_bytes: int = field(default=0, init=False)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """
        @return: the version without its line end, and what came after it; C{None} while more is needed.
        @raise RemoteProtocolError: this is not SSH 2.0, or the line does not end.
        """
        self._buffer += data
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if not end:
                self._bound(len(line))
                return None
            self._buffer = rest
            if line.startswith(b"SSH-"):
                return self._checked(line), rest
            self._greeting_bytes += len(line) + 1
            self._bound(0)

    def _bound(self, pending: int) -> None:
        if not self._client and (pending or self._greeting_bytes):
            known = b"SSH-"[:pending]
            if self._greeting_bytes or not self._buffer.startswith(known) or pending > MAX_VERSION_BYTES:
                raise RemoteProtocolError("this is not an SSH client", code=DISCONNECT_VERSION)
        if self._greeting_bytes + pending > MAX_GREETING_BYTES:
            raise RemoteProtocolError("no SSH version within reach", code=DISCONNECT_VERSION)

    @staticmethod
    def _checked(line: bytes) -> bytes:
        version = line.removesuffix(b"\r")
        if len(line) + 1 > MAX_VERSION_BYTES or b"\0" in line:
            raise RemoteProtocolError("SSH version is too long", code=DISCONNECT_VERSION)
        if not version.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise RemoteProtocolError("SSH version is not 2.0", code=DISCONNECT_VERSION)
        return version
