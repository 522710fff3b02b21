"""
What makes a terminal outlive its WebSocket: bytes are counted, told of and kept until the other side has them. Pure.

Each direction has its positions: bytes since the session began. The proxy's side of the page's output is L{Outgoing},
of the page's input L{Incoming}.

@see: C{docs/protocols/terminal.rst}
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from teleport_tw.base.errors import RemoteProtocolError

WINDOW_BYTES = 512 * 1024
"""On their way to a page at most: what it shows in some milliseconds, and what is kept for a page that is gone."""

INPUT_WINDOW_BYTES = 64 * 1024
"""On their way to the server at most: more than anybody types, and a paste goes through it in pieces."""

PIECE_BYTES = 64 * 1024
"""Most that one message carries."""


@define(eq=False)
class Outgoing:
    """
    What the page is to show.

    @ivar told: position up to which the page has told that it has shown it.
    @ivar sent: position up to which it is on its way.
    @ivar end: position of what comes next.
    """

    window: int = WINDOW_BYTES
    told: int = field(default=0, init=False)
    sent: int = field(default=0, init=False)
    end: int = field(default=0, init=False)
    _underway: deque[bytes] = field(factory=deque, init=False)
    _waiting: deque[bytes] = field(factory=deque, init=False)

    @property
    def full(self) -> bool:
        """
        Whether the writer should wait.
        """
        return self.end - self.told >= self.window

    @property
    def empty(self) -> bool:
        """
        Whether everything was sent.
        """
        return self.sent == self.end

    def push(self, data: bytes) -> None:
        """
        Something more to show.
        """
        if data:
            self._waiting.append(data)
            self.end += len(data)

    def take(self) -> tuple[int, bytes] | None:
        """
        @return: what may be sent now, in one piece, with its position; None when nothing may.
        """
        room = min(self.told + self.window - self.sent, PIECE_BYTES)
        if room <= 0 or not self._waiting:
            return None
        parts: list[bytes] = []
        while room and self._waiting:
            part = self._waiting.popleft()
            if len(part) > room:
                self._waiting.appendleft(part[room:])
                part = part[:room]
            parts.append(part)
            room -= len(part)
        position, piece = self.sent, parts[0] if len(parts) == 1 else b"".join(parts)
        self._underway.append(piece)
        self.sent += len(piece)
        return position, piece

    def acknowledged(self, received: int) -> None:
        """
        @param received: the page has shown so much.
        @raise RemoteProtocolError: so much was never sent.
        """
        if received > self.sent:
            raise RemoteProtocolError("more was shown than was sent")
        while self.told < received:
            piece = self._underway.popleft()
            if self.told + len(piece) > received:
                self._underway.appendleft(piece[received - self.told :])
                self.told = received
            else:
                self.told += len(piece)

    def again(self) -> None:
        """
        Another WebSocket: what was on its way is to be sent anew.
        """
        self._waiting.extendleft(reversed(self._underway))
        self._underway.clear()
        self.sent = self.told


@define(eq=False)
class Incoming:
    """
    What the page has typed.

    @ivar received: position up to which it has come.
    @ivar passed: position up to which the server's connection has taken it.
    """

    window: int = INPUT_WINDOW_BYTES
    received: int = field(default=0, init=False)
    passed: int = field(default=0, init=False)

    def take(self, offset: int, data: bytes) -> bytes:
        """
        @param offset: position of C{data}.
        @return: what of it is new.
        @raise RemoteProtocolError: something before it is missing, or it is more than the window.
        """
        if offset > self.received:
            raise RemoteProtocolError("something typed is missing")
        fresh = data[self.received - offset :]
        self.received += len(fresh)
        if self.received - self.passed > self.window:
            raise RemoteProtocolError("more was typed than the window allows")
        return fresh
