"""
What was asked, in order, and what each reply therefore answers.

Redis answers commands in the order in which it gets them, and that alone says which reply belongs to which; so a
L{Ledger} notes each command that goes to the server and crosses it off when its reply has passed. What is particular:

  - I{Out of band}: pushes of RESP3, messages of RESP2 on a connection that has subscribed, and lines of C{MONITOR}
    answer nothing and just pass.
  - C{SUBSCRIBE} and its kin are answered once for each channel; C{UNSUBSCRIBE} without channels once for each that
    there was, at least once.
  - C{CLIENT REPLY OFF} and C{SKIP} would make the server fall silent and us lose count. The server is sent
    C{CLIENT REPLY ON} instead, which it grants or refuses to the same users, and we keep the replies to ourselves.
  - A refusal of ours must come in its turn too. The server is sent L{MISTAKE}, which it answers with an error and
    nothing else, also between C{MULTI} and C{EXEC}, where it then refuses C{EXEC} as it should; our words take its
    place.
  - After C{SYNC} and C{PSYNC} comes what is no RESP; it passes unread.

In a transaction, commands that would change how replies are framed are refused, since that takes effect with
C{EXEC} only.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any

from teleport_tw.protocols.redis.messages import Type
from teleport_tw.protocols.redis.requests import Request
from teleport_tw.protocols.redis.wire import command, error

MISTAKE = command("AUTH")
"""An error in every state of a connection: it lacks an argument."""

REPLY_ON = command("CLIENT", "REPLY", "ON")

NO_TRANSACTION = "ERR Teleport: {name} is not supported inside MULTI; EXEC or DISCARD first"

_OOB = re.compile(rb"[*>]\d+\r\n(?:\$\d+\r\n|\+)(p|s|)(message|subscribe|unsubscribe)\r\n", re.IGNORECASE)
_MONITORED = re.compile(rb"\+\d+\.\d+ \[")
_CHANNELS: Mapping[bytes, int] = {b"": 0, b"p": 1, b"s": 2}


class Kind(Enum):
    """
    What is particular about a command's reply.
    """

    PLAIN = "plain"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    HELLO = "hello"
    RESET = "reset"
    MONITOR = "monitor"
    CLIENT = "client"
    COPY = "copy"
    BEGIN = "begin"
    FINISH = "finish"
    REPLY_ON = "reply on"
    REPLY_OFF = "reply off"
    REPLY_SKIP = "reply skip"
    SILENT = "silent"


KINDS: Mapping[bytes, tuple[Kind, int]] = {
    b"SUBSCRIBE": (Kind.SUBSCRIBE, 0),
    b"PSUBSCRIBE": (Kind.SUBSCRIBE, 1),
    b"SSUBSCRIBE": (Kind.SUBSCRIBE, 2),
    b"UNSUBSCRIBE": (Kind.UNSUBSCRIBE, 0),
    b"PUNSUBSCRIBE": (Kind.UNSUBSCRIBE, 1),
    b"SUNSUBSCRIBE": (Kind.UNSUBSCRIBE, 2),
    b"HELLO": (Kind.HELLO, 0),
    b"RESET": (Kind.RESET, 0),
    b"MONITOR": (Kind.MONITOR, 0),
    b"CLIENT": (Kind.CLIENT, 0),
    b"SYNC": (Kind.COPY, 0),
    b"PSYNC": (Kind.COPY, 0),
    b"MULTI": (Kind.BEGIN, 0),
    b"EXEC": (Kind.FINISH, 0),
    b"DISCARD": (Kind.FINISH, 0),
}
"""Commands whose replies are not one each, or change what comes after; and of which sort of channels they are."""

_REPLIES: Mapping[bytes, Kind] = {b"ON": Kind.REPLY_ON, b"OFF": Kind.REPLY_OFF, b"SKIP": Kind.REPLY_SKIP}
_FRAMING = frozenset(
    {Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.HELLO, Kind.MONITOR, Kind.COPY, Kind.REPLY_OFF, Kind.REPLY_SKIP}
)
_KEPT = frozenset({Kind.REPLY_OFF, Kind.REPLY_SKIP})


class Asked:
    """
    A command that the server is to answer.

    @ivar about: whatever the caller wants back with the answer.
    @ivar left: answers to come; -1 if that depends on the channels there are then.
    @ivar channels: which sort of channels it is about.
    @ivar instead: what the user gets in place of the answer.
    @ivar version: of the protocol, that C{HELLO} asks for.
    """

    __slots__ = ("about", "channels", "instead", "kind", "left", "version")

    def __init__(self, kind: Kind, about: Any, instead: bytes = b"") -> None:
        self.kind = kind
        self.about = about
        self.left = 1
        self.channels = 0
        self.instead = instead
        self.version = 0


class Ledger:
    """
    Both directions of one connection to a server, as far as one says something of the other.

    @ivar answered: commands whose answers have passed, with the error's text if it was one; the caller takes them out.
    @ivar version: of the protocol, 2 or 3.
    @ivar in_transaction: C{MULTI} was asked for and neither C{EXEC} nor C{DISCARD} since.
    @ivar copies: a copy of all data was asked for.
    """

    __slots__ = (
        "_asked",
        "_band",
        "_channels",
        "_copying",
        "_monitors",
        "_quiet",
        "_skips",
        "answered",
        "copies",
        "in_transaction",
        "version",
    )

    def __init__(self) -> None:
        self._asked: deque[Asked] = deque()
        self._channels = [0, 0, 0]
        self._monitors = self._quiet = self._skips = self._copying = False
        self._band: re.Match[bytes] | bool | None = None  # of the reply under way: why it answers nothing
        self.answered: list[tuple[Asked, bytes]] = []
        self.version = 2
        self.in_transaction = False
        self.copies = False

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def is_copying(self) -> bool:
        """
        Replies cannot be told apart any more: nothing can be refused in its turn.
        """
        return self._copying

    def waiting(self) -> list[Asked]:
        """
        @return: what has no answer yet, oldest first; it is forgotten.
        """
        asked = list(self._asked)
        self._asked.clear()
        return asked

    def ask(self, request: Request, about: Any) -> bytes:
        """
        Note a command.

        @param about: is handed back in L{answered}.
        @return: what is sent to the server.
        """
        special = KINDS.get(request.name)
        if special is None:
            self._asked.append(Asked(Kind.PLAIN, about))
            return request.octets
        return self._special(request, about, *special)

    def refuse(self, text: str, about: Any) -> bytes:
        """
        Answer a command ourselves, in its turn.

        @param text: begins with an error code.
        @return: what is sent to the server.
        """
        return self.replace(MISTAKE, error(text), about)

    def replace(self, octets: bytes, instead: bytes, about: Any) -> bytes:
        """
        Ask something of our own.

        @param octets: a command with one answer.
        @param instead: what the user gets for it; nothing at all if empty.
        @return: what is sent to the server.
        """
        self._asked.append(Asked(Kind.PLAIN if instead else Kind.SILENT, about, instead))
        return octets

    def _special(self, request: Request, about: Any, kind: Kind, channels: int) -> bytes:
        octets, rest = request.octets, request.arguments[1:]
        if kind is Kind.CLIENT:
            kind = Kind.PLAIN
            if len(rest) == 2 and request.is_whole and rest[0].upper() == b"REPLY":
                kind = _REPLIES.get(rest[1].upper(), Kind.PLAIN)
        if self.in_transaction and kind in _FRAMING:
            return self.refuse(NO_TRANSACTION.format(name=request.name.decode("ascii")), about)
        asked = Asked(kind, about)
        asked.channels = channels
        if kind is Kind.SUBSCRIBE:
            asked.left = request.count - 1
        elif kind is Kind.UNSUBSCRIBE:
            asked.left = request.count - 1 or -1
        elif kind is Kind.HELLO and rest[:1] in ((b"2",), (b"3",)):
            asked.version = int(rest[0])
        elif kind in _KEPT:
            octets = REPLY_ON
        elif kind is Kind.BEGIN:
            self.in_transaction = True
        elif kind in (Kind.FINISH, Kind.RESET):
            self.in_transaction = False
        elif kind is Kind.COPY:
            self.copies = True
        self._asked.append(asked)
        return octets

    def is_raw(self, first: int) -> bool:
        """
        As L{teleport_tw.protocols.redis.replies.Judge}.
        """
        if not self._copying and self._asked and self._asked[0].kind is Kind.COPY and first != Type.ERROR:
            self._copying = True
            self.answered += [(asked, b"") for asked in self.waiting()]
        return self._copying

    def is_plain(self, first: int) -> bool:
        """
        As L{teleport_tw.protocols.redis.replies.Judge}.
        """
        asked = self._asked
        if not asked or self._quiet or self._skips or self._monitors or first == Type.ERROR:
            return False
        foremost = asked[0]
        if foremost.kind is not Kind.PLAIN or foremost.instead:
            return False
        self.answered.append((asked.popleft(), b""))
        return True

    def begins(self, head: bytes) -> bool:
        """
        As L{teleport_tw.protocols.redis.replies.Judge}.
        """
        asked = self._asked[0] if self._asked else None
        self._band = self._out_of_band(head, asked)
        if self._band is not None or asked is None:
            return True
        kind = asked.kind
        if kind in _KEPT and head.startswith(b"+OK"):
            return False
        if kind is Kind.REPLY_ON and head.startswith(b"+OK"):
            self._quiet = False
        return not (asked.instead or self._quiet or self._skips or kind is Kind.SILENT)

    def ended(self, head: bytes, integer: int) -> bytes:
        """
        As L{teleport_tw.protocols.redis.replies.Judge}.
        """
        band = self._band
        if band is True:
            return b""
        if band:
            self._confirmed(_CHANNELS[band[1].lower()], band[2].lower(), integer)
            return b""
        if not self._asked:
            return b""
        asked = self._asked.popleft()
        failed = head[0] in (Type.ERROR, Type.BULK_ERROR)
        self.answered.append((asked, head if failed else b""))
        said = b"" if self._quiet or self._skips else asked.instead
        self._skips = False
        if not failed and asked.kind is not Kind.PLAIN:
            self._granted(asked, head)
        return said

    def _out_of_band(self, head: bytes, asked: Asked | None) -> re.Match[bytes] | bool | None:
        first = head[0]
        if first == Type.PUSH:
            return _OOB.match(head) or True
        if first == Type.ARRAY and self.version == 2:
            if any(self._channels) or (asked and asked.kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE)):
                return _OOB.match(head)
        elif first == Type.SIMPLE_STRING and self._monitors:
            return _MONITORED.match(head) is not None or None
        return None

    def _confirmed(self, channels: int, verb: bytes, total: int) -> None:
        """
        The server tells of one channel that it was subscribed to, or left, or that something was said in it.
        """
        if verb == b"message":
            return
        asked = self._asked[0] if self._asked else None
        if asked and asked.kind.value.encode("ascii") == verb and asked.channels == channels:
            if asked.left < 0:
                asked.left = max(self._channels[channels], 1)
            asked.left -= 1
            if not asked.left:
                self._asked.popleft()
                self._skips = False
                self.answered.append((asked, b""))
        counts = self._channels
        if channels == 2:
            counts[2] = total
        else:  # one total for both
            counts[channels] = max(counts[channels] + total - counts[0] - counts[1], 0)

    def _granted(self, asked: Asked, head: bytes) -> None:
        match asked.kind:
            case Kind.HELLO:
                self.version = asked.version or self.version
            case Kind.MONITOR:
                self._monitors = True
            case Kind.REPLY_OFF if head.startswith(b"+OK"):
                self._quiet = True
            case Kind.REPLY_SKIP if head.startswith(b"+OK"):
                self._skips = not self._quiet
            case Kind.RESET:
                self._channels = [0, 0, 0]
                self._monitors = self._quiet = False
                self.version = 2
            case _:
                pass
