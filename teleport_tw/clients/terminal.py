"""
The user's own terminal: raw while a session runs, and itself again afterwards, whatever happens.
"""

from __future__ import annotations

import os
import shutil
import stat
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from teleport_tw.base.net.files import READ_BYTES, FileSink, FileSource
from teleport_tw.dial.session import Terminal
from teleport_tw.protocols.ssh.wire import put_byte, put_uint32

_CHARACTERS = {
    1: termios.VINTR, 2: termios.VQUIT, 3: termios.VERASE, 4: termios.VKILL, 5: termios.VEOF, 6: termios.VEOL,
    7: termios.VEOL2, 8: termios.VSTART, 9: termios.VSTOP, 10: termios.VSUSP, 12: termios.VREPRINT,
    13: termios.VWERASE, 14: termios.VLNEXT, 18: termios.VDISCARD,
}  # fmt: skip
_FLAGS = {
    0: {30: "IGNPAR", 31: "PARMRK", 32: "INPCK", 33: "ISTRIP", 34: "INLCR", 35: "IGNCR", 36: "ICRNL", 38: "IXON",
        39: "IXANY", 40: "IXOFF", 41: "IMAXBEL"},
    3: {50: "ISIG", 51: "ICANON", 53: "ECHO", 54: "ECHOE", 55: "ECHOK", 56: "ECHONL", 57: "NOFLSH", 58: "TOSTOP",
        59: "IEXTEN", 60: "ECHOCTL", 61: "ECHOKE"},
    1: {70: "OPOST", 72: "ONLCR", 73: "OCRNL", 74: "ONOCR", 75: "ONLRET"},
    2: {90: "CS7", 91: "CS8", 92: "PARENB", 93: "PARODD"},
}  # fmt: skip
_INPUT_SPEED, _OUTPUT_SPEED = 128, 129


def encode_modes(attributes: Sequence[Any]) -> bytes:
    """
    @param attributes: as C{termios.tcgetattr} tells them.
    @return: C{byte} opcode and C{uint32} value each, then zero.
    @see: RFC 4254 section 8
    """
    said = b""
    for opcode, index in _CHARACTERS.items():
        value = attributes[6][index]
        said += put_byte(opcode) + put_uint32(value[0] if isinstance(value, bytes) else int(value))
    for group, names in _FLAGS.items():
        for opcode, name in names.items():
            mask = getattr(termios, name, 0)
            said += put_byte(opcode) + put_uint32(int(bool(mask) and attributes[group] & mask == mask))
    for opcode in (_INPUT_SPEED, _OUTPUT_SPEED):
        said += put_byte(opcode) + put_uint32(38400)
    return said + b"\0"


def current(descriptor: int = 0) -> Terminal:
    """
    @param descriptor: a terminal, or not, whose size is told then as 80 by 24.
    """
    try:
        modes = encode_modes(termios.tcgetattr(descriptor))
    except termios.error:
        modes = b"\0"
    size = shutil.get_terminal_size()
    with suppress(OSError):
        own = os.get_terminal_size(descriptor)
        size = own if own.columns and own.lines else size
    return Terminal(kind=os.environ.get("TERM", "xterm"), columns=size.columns, rows=size.lines, modes=modes)


@contextmanager
def raw(descriptor: int = 0) -> Iterator[None]:
    """
    Keys go through one by one and unchanged; undone at the end. Nothing where it is no terminal.
    """
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        yield
        return
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Escape(Enum):
    """
    What C{~} and a letter at the start of a line ask for.
    """

    DISCONNECT = "."
    HELP = "?"


HELP = (
    "\r\nSupported escape sequences:\r\n"
    "  ~.  disconnect\r\n"
    "  ~?  this text\r\n"
    "  ~~  send the tilde\r\n"
    "(They count right after a new line.)\r\n"
)


@define
class Escapes:
    """
    Finds escape sequences among what is typed. Pure.
    """

    _fresh: bool = field(default=True, init=False)
    _held: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> tuple[bytes, list[Escape]]:
        """
        @return: what to send on, and what was asked for.
        """
        if not self._held and b"~" not in data:
            self._fresh = data[-1:] in (b"\r", b"\n") if data else self._fresh
            return data, []
        sent, asked = bytearray(), []
        for byte in data:
            letter = bytes((byte,))
            if self._held:
                self._held = False
                if letter in (b".", b"?"):
                    asked.append(Escape(letter.decode()))
                    continue
                sent += b"~" if letter == b"~" else b"~" + letter
            elif letter == b"~" and self._fresh:
                self._held = True
                continue
            else:
                sent += letter
            self._fresh = letter in (b"\r", b"\n")
        return bytes(sent), asked


class PlainSource:
    """
    Reads what cannot be polled, such as a file or C{/dev/null}: it never makes one wait.
    """

    def __init__(
        self, clock: Any, descriptor: int, on_data: Callable[[bytes], object], on_end: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._descriptor = descriptor
        self._on_data = on_data
        self._on_end = on_end
        self._call: IDelayedCall | None = None

    def resumeProducing(self) -> None:
        """
        Begin, or go on.
        """
        if self._call is None and self._descriptor >= 0:
            self._call = self._clock.callLater(0, self._read)

    def _read(self) -> None:
        self._call = None
        data = os.read(self._descriptor, READ_BYTES)
        if data:
            self.resumeProducing()
            self._on_data(data)
        else:
            self.stopProducing()
            self._on_end()

    def pauseProducing(self) -> None:
        """
        Read no more for now.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stopProducing(self) -> None:
        """
        Close.
        """
        self.pauseProducing()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def source(
    reactor: Any, descriptor: int, on_data: Callable[[bytes], object], on_end: Callable[[], object]
) -> FileSource | PlainSource:
    """
    @param descriptor: ours from now on.
    @return: begins when it is resumed.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(descriptor)):
        return PlainSource(reactor, descriptor, on_data, on_end)
    return FileSource(reactor, descriptor, on_data, on_end)


@contextmanager
def blocking_again(*descriptors: int) -> Iterator[None]:
    """
    Put back what our loop has changed about descriptors that other programs share.
    """
    before = {}
    for descriptor in descriptors:
        with suppress(OSError):
            before[descriptor] = os.get_blocking(descriptor)
    try:
        yield
    finally:
        for descriptor, was in before.items():
            with suppress(OSError):
                os.set_blocking(descriptor, was)


async def flushed(sink: FileSink, clock: Any) -> None:
    """
    Wait until everything is written, half a minute at most.
    """
    from twisted.internet.task import deferLater

    for _ in range(3000):
        if not sink.waiting_bytes:
            return
        await deferLater(clock, 0.01)
