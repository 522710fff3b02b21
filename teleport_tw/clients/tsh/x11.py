"""
Windows of programs on a server, on the user's display: C{-X} and C{-Y}.

The server gets a made-up cookie; a connection that shows it is let through with the display's own in its place, so
the real one never leaves this machine.

@see: RFC 4254 section 6.3; X Window System Protocol, appendix B, I{Connection Setup}
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IStreamClientEndpoint

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.net.endpoints import TCPClient, UnixClient
from teleport_tw.clients.tsh.features import Features
from teleport_tw.clients.tsh.way import say
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen
from teleport_tw.conch.streams import StreamChannel
from teleport_tw.dial.session import ClientSession, x11_request

PROTOCOL = "MIT-MAGIC-COOKIE-1"
COOKIE_BYTES = 16
UNTRUSTED_SECONDS = 600


@frozen
class Display:
    """
    C{[host]:number[.screen]}, as C{DISPLAY} has it.
    """

    host: str
    number: int
    screen: int

    @classmethod
    def parse(cls, text: str) -> Display:
        """
        @raise TeleportError: BAD_PARAMETER.
        """
        host, colon, rest = text.rpartition(":")
        number, _, screen = rest.partition(".")
        if not colon or not number.isdecimal() or not (screen or "0").isdecimal():
            raise bad_parameter(f"DISPLAY={text!r} is not a display")
        return cls("" if host in ("", "unix") or host.startswith("/") else host, int(number), int(screen or 0))

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """
        Of the X server.
        """
        if self.host:
            return TCPClient(reactor, self.host, 6000 + self.number)
        return UnixClient(reactor, f"/tmp/.X11-unix/X{self.number}")  # noqa: S108  # where X servers listen


def cookie(display: str, *, trusted: bool) -> bytes:
    """
    @return: the display's cookie, or one made for programs that are not trusted; empty when the display asks for none.
    """
    program = shutil.which("xauth")
    if program is None:
        return b""
    with tempfile.TemporaryDirectory(prefix="tsh-") as folder:
        where: list[str] = []
        if not trusted:
            where = ["-f", str(Path(folder) / "xauth")]
            made = ["generate", display, PROTOCOL, "untrusted", "timeout", str(UNTRUSTED_SECONDS)]
            if subprocess.run([program, *where, *made], capture_output=True, timeout=10, check=False).returncode:
                raise TeleportError(
                    Kind.ACCESS_DENIED, "the display gives no cookie for untrusted programs; -Y trusts them"
                )
        listed = subprocess.run([program, *where, "list", display], capture_output=True, timeout=10, check=False)
    words = listed.stdout.split()
    try:
        return bytes.fromhex(words[2].decode("ascii")) if len(words) > 2 else b""
    except ValueError:
        return b""


def exchange(setup: bytes, made_up: bytes, real: bytes) -> bytes | None:
    """
    Put the real cookie in the place of the made-up one.

    C{byte} order, C{B} or C{l}; C{byte} unused; C{uint16} major, minor, length of name, length of data; two bytes
    unused; name and data, each padded to four bytes.

    @param setup: what a program sent first.
    @return: the same for the display; C{None} while more is needed.
    @raise TeleportError: ACCESS_DENIED, it does not show the made-up cookie.
    """
    if len(setup) < 12:
        return None
    order = {b"B": "big", b"l": "little"}.get(setup[:1])
    if order is None:
        raise TeleportError(Kind.ACCESS_DENIED, "no X11 program")
    name_size = int.from_bytes(setup[6:8], order)  # type: ignore[arg-type]  # one of the two
    data_size = int.from_bytes(setup[8:10], order)  # type: ignore[arg-type]
    start = 12 + _padded(name_size)
    end = start + _padded(data_size)
    if len(setup) < end:
        return None
    shown = setup[start : start + data_size]
    if setup[12 : 12 + name_size] != PROTOCOL.encode() or not secrets.compare_digest(shown, made_up):
        raise TeleportError(Kind.ACCESS_DENIED, "an X11 program showed no cookie of this session")
    if not real:
        return setup[:6] + b"\0\0\0\0" + setup[10:12] + setup[end:]
    return setup[:start] + real.ljust(_padded(data_size), b"\0") + setup[end:]


def _padded(size: int) -> int:
    return (size + 3) & ~3


async def offer(features: Features, session: ClientSession) -> None:
    """
    Ask the server for C{DISPLAY}; without a display here, only say so.
    """
    name = os.environ.get("DISPLAY", "")
    if not name:
        say("WARNING: DISPLAY is not set here, so there are no windows")
        return
    display = Display.parse(name)
    real = cookie(name, trusted=bool(features.trusted_x11))
    if real and len(real) != COOKIE_BYTES:
        raise bad_parameter("the display's cookie is of another kind than MIT-MAGIC-COOKIE-1")
    made_up = secrets.token_bytes(COOKIE_BYTES)

    async def opened(request: ChannelOpen) -> Channel:
        channel = await features.answering.onward(display.endpoint(features.reactor))
        assert isinstance(channel, StreamChannel)
        _watch(channel, made_up, real)
        return channel

    features.answering.others["x11"] = opened
    fields = x11_request(display.screen, PROTOCOL, made_up.hex())
    if not await session.conn.request(session, "x11-req", fields):
        say("WARNING: the server does not forward windows")


def _watch(channel: StreamChannel, made_up: bytes, real: bytes) -> None:
    """
    Hold back what comes first until its cookie was exchanged.
    """
    kept = b""
    take = channel.took

    def took(data: bytes) -> None:
        nonlocal kept
        kept += data
        try:
            ready = exchange(kept, made_up, real)
        except TeleportError as error:
            say(f"WARNING: {error.message}")
            channel.abortConnection()
            return
        if ready is not None:
            channel.took = take  # type: ignore[method-assign]
            take(ready)
        elif len(kept) > 4096:
            channel.abortConnection()

    channel.took = took  # type: ignore[method-assign]
