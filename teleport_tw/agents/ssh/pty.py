"""
Terminals: opened, sized, set to the modes the client has, and given to their user.

@see: RFC 4254 sections 6.2, 6.7 and 8
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import struct
import termios
from collections.abc import Mapping

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.ssh.wire import Reader

_CONTROL: Mapping[int, str] = {
    1: "VINTR", 2: "VQUIT", 3: "VERASE", 4: "VKILL", 5: "VEOF", 6: "VEOL", 7: "VEOL2", 8: "VSTART", 9: "VSTOP",
    10: "VSUSP", 12: "VREPRINT", 13: "VWERASE", 14: "VLNEXT", 18: "VDISCARD",
}  # fmt: skip
_FLAGS: Mapping[int, tuple[int, str]] = {
    30: (0, "IGNPAR"), 31: (0, "PARMRK"), 32: (0, "INPCK"), 33: (0, "ISTRIP"), 34: (0, "INLCR"), 35: (0, "IGNCR"),
    36: (0, "ICRNL"), 37: (0, "IUCLC"), 38: (0, "IXON"), 39: (0, "IXANY"), 40: (0, "IXOFF"), 41: (0, "IMAXBEL"),
    42: (0, "IUTF8"),
    50: (3, "ISIG"), 51: (3, "ICANON"), 52: (3, "XCASE"), 53: (3, "ECHO"), 54: (3, "ECHOE"), 55: (3, "ECHOK"),
    56: (3, "ECHONL"), 57: (3, "NOFLSH"), 58: (3, "TOSTOP"), 59: (3, "IEXTEN"), 60: (3, "ECHOCTL"), 61: (3, "ECHOKE"),
    62: (3, "PENDIN"),
    70: (1, "OPOST"), 71: (1, "OLCUC"), 72: (1, "ONLCR"), 73: (1, "OCRNL"), 74: (1, "ONOCR"), 75: (1, "ONLRET"),
    90: (2, "CS7"), 91: (2, "CS8"), 92: (2, "PARENB"), 93: (2, "PARODD"),
}  # fmt: skip
"""Opcode to the index in what tcgetattr(3) gives, and the flag's name."""

_VALUES: Mapping[str, int] = {"IUTF8": 0o40000, "IUCLC": 0o1000, "XCASE": 0o4, "ECHOCTL": 0o1000, "ECHOKE": 0o4000,
                              "PENDIN": 0o40000, "OLCUC": 0o2}  # fmt: skip
"""Linux's own, where Python's C{termios} has no name for it."""

_FIRST_UNKNOWN_OPCODE = 160
_DISABLED = 255
_MAX_SIDE = 0xFFFF


@frozen(kw_only=True)
class Size:
    """
    Of a terminal, in characters and in pixels; zero where it is not known.
    """

    columns: int
    rows: int
    width: int = 0
    height: int = 0

    @classmethod
    def read(cls, reader: Reader) -> Size:
        """
        C{uint32} columns, rows, width, height.
        """
        columns, rows, width, height = (min(reader.uint32(), _MAX_SIDE) for _ in range(4))
        return cls(columns=columns, rows=rows, width=width, height=height)


@frozen(kw_only=True)
class Request:
    """
    What a client wants of its terminal.

    @ivar modes: opcode to argument.
    """

    term: str
    size: Size
    modes: Mapping[int, int]

    @classmethod
    def parse(cls, payload: bytes) -> Request:
        """
        C{string} TERM; C{uint32} columns, rows, width, height; C{string} modes.

        @raise RemoteProtocolError: it is cut short, or no TERM.
        """
        reader = Reader(payload)
        term, size, modes = reader.text(), Size.read(reader), reader.string()
        if len(term) > 64 or not all(letter.isascii() and letter.isprintable() for letter in term):
            raise RemoteProtocolError("TERM is no name of a terminal")
        return cls(term=term, size=size, modes=parse_modes(modes))


def parse_modes(encoded: bytes) -> dict[int, int]:
    """
    Pairs of C{byte} opcode and C{uint32} argument, ended by opcode 0; 160 and above end it as well.

    @raise RemoteProtocolError: it is cut short.
    """
    reader, modes = Reader(encoded), dict[int, int]()
    left = len(encoded)
    while left:
        opcode = reader.byte()
        if opcode == 0 or opcode >= _FIRST_UNKNOWN_OPCODE:
            break
        modes[opcode] = reader.uint32()
        left -= 5
    return modes


@frozen
class Terminal:
    """
    An open pair.

    @ivar master: ours.
    @ivar slave: the program's; to be closed once it was started.
    @ivar name: C{/dev/pts/N}.
    """

    master: int
    slave: int
    name: str

    @classmethod
    def open(cls, request: Request, uid: int, gid: int) -> Terminal:
        """
        @param uid: whose it will be.
        @param gid: of that user; the group C{tty} is taken where there is one.
        @raise OSError: there are no more terminals.
        """
        master, slave = os.openpty()
        try:
            name = os.ttyname(slave)
            if os.geteuid() == 0:
                with contextlib.suppress(KeyError):
                    gid = grp.getgrnam("tty").gr_gid
                os.fchown(slave, uid, gid)
                os.fchmod(slave, 0o620)
            resize(master, request.size)
            _set_modes(slave, request.modes)
        except BaseException:
            os.close(master)
            os.close(slave)
            raise
        return cls(master, slave, name)


def resize(descriptor: int, size: Size) -> None:
    """
    Set a terminal's size; its programs hear of it by SIGWINCH.
    """
    packed = struct.pack("HHHH", size.rows, size.columns, size.width, size.height)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, packed)


def _set_modes(descriptor: int, modes: Mapping[int, int]) -> None:
    attributes = termios.tcgetattr(descriptor)
    controls = attributes[6]
    for opcode, argument in modes.items():
        if opcode in _CONTROL:
            value = 0 if argument >= _DISABLED else argument
            controls[getattr(termios, _CONTROL[opcode])] = bytes((value,))
        elif opcode in _FLAGS:
            index, name = _FLAGS[opcode]
            flag = getattr(termios, name, _VALUES.get(name, 0))
            if name in ("CS7", "CS8"):
                if argument:
                    attributes[2] = attributes[2] & ~termios.CSIZE | flag
            elif argument:
                attributes[index] |= flag
            else:
                attributes[index] &= ~flag
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
