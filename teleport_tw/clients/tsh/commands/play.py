"""
Play a session's recording as it was seen.

Keys: space stops and goes on; left and right go ten seconds back and forth; up and down change the speed; q quits.
With --follow a session that goes on is shown as it happens, some seconds late, until it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients import terminal
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.fetched import followed, records
from teleport_tw.recordings import play
from teleport_tw.recordings.container import Output, Timed
from teleport_tw.recordings.screen import LineReader

SPEEDS = ("0.5x", "1x", "2x", "4x", "8x")
SEEK_MS = 10_000
FORMATS = {"pty": "", "text": "text", "json": "json", "yaml": "yaml", "asciicast": "cast", "cast": "cast"}

EXAMPLES = """\
tsh play SESSION
tsh play session.rec --speed=4x --skip-idle-time
tsh play --follow SESSION
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh play}.
    """
    parser.add_argument("session", help="an id, or a file that `tctl recordings download` wrote")
    parser.add_argument("--speed", choices=SPEEDS, default="1x", help="[1x]")
    parser.add_argument("--skip-idle-time", action="store_true", help="shorten silences to a second")
    parser.add_argument("--follow", action="store_true", help="show what there is and then what comes, until the end")
    parser.add_argument("-f", "--format", choices=FORMATS, default="pty", help="[pty]")
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="of another cluster")
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> int:
    """
    In real time, or exported to standard output.
    """
    if options.follow:
        return await _follow(context, options)
    found = await records(context, options.session)
    if options.format != "pty":
        sys.stdout.writelines(play.export(found, FORMATS[options.format]))
        return 0
    if not any(isinstance(record.fact, Output) for record in found):
        raise bad_parameter("that session has no terminal; use --format=json")
    show = Show(
        play.Player(found, speed=float(options.speed.rstrip("x")), skip_idle=options.skip_idle_time), context.reactor
    )
    with terminal.blocking_again(0, 1), terminal.raw(0):
        await show.run()
    return 0


async def _follow(context: UserContext, options: argparse.Namespace) -> int:
    if options.format not in ("pty", "text"):
        raise bad_parameter(
            "--follow shows a session as it was seen; --format=text leaves out what only a terminal needs"
        )
    if os.path.isfile(options.session):
        raise bad_parameter("--follow is for a session that goes on: give its id")
    lines = LineReader() if options.format == "text" else None
    watching = Watching(context, options.session, lines)
    with terminal.blocking_again(0, 1), terminal.raw(0):
        await watching.run()
    return 0


@define(eq=False)
class Watching:
    """
    A session that goes on, and somebody who may leave.

    @ivar lines: for text.
    """

    context: UserContext
    session: str
    lines: LineReader | None = None
    _left: bool = field(default=False, init=False)

    async def run(self) -> None:
        """
        Until the session's end, or C{q} or an interrupt.

        @raise TeleportError: it cannot be followed, or not any more.
        """
        reactor, source = self.context.reactor, None
        showing = Deferred.fromCoroutine(self._show())

        def leave() -> None:
            self._left = True
            showing.cancel()

        def typed(data: bytes) -> None:
            if data[:1] in (b"q", b"\x03", b"\x04"):
                leave()

        if os.isatty(0):
            source = terminal.source(reactor, os.dup(0), typed, lambda: None)
            source.resumeProducing()
        before = signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(leave))
        try:
            await showing
        except CancelledError:
            if not self._left:
                raise
        finally:
            signal.signal(signal.SIGINT, before)
            if source is not None:
                source.stopProducing()

    async def _show(self) -> None:
        async for record in followed(self.context, self.session):
            if isinstance(record.fact, Output):
                if self.lines is None:
                    _write_all(record.fact.data)
                else:
                    _write_all(
                        "".join(f"{line.text}\n" for line in self.lines.feed(record.fact.data, record.ms)).encode()
                    )
        if self.lines is not None:
            _write_all("".join(f"{line.text}\n" for line in self.lines.end()).encode())


@define(eq=False)
class Show:
    """
    A player, a clock, and somebody at the keys.
    """

    player: play.Player
    reactor: Any
    ended: Deferred[None] = field(factory=Deferred, init=False)
    _call: Any = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)
    _keys: bytes = field(default=b"", init=False)

    async def run(self) -> None:
        """
        Until it has ended, or somebody quits.
        """
        source = None
        if os.isatty(0):
            source = terminal.source(self.reactor, os.dup(0), self.typed, self.stop)
            source.resumeProducing()
        before = signal.signal(signal.SIGINT, lambda *_: self.reactor.callFromThread(self.stop))
        self._since = self.reactor.seconds()
        self._next()
        try:
            await self.ended
        finally:
            signal.signal(signal.SIGINT, before)
            if source is not None:
                source.stopProducing()
            sys.stdout.write("\r\n")
            sys.stdout.flush()

    def _next(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if self.player.ended:
            self.stop()
            return
        seconds = self.player.wait()
        if seconds is not None:
            self._call = self.reactor.callLater(seconds, self._due)

    def _due(self) -> None:
        self._catch_up()
        self._next()

    def _catch_up(self) -> None:
        now = self.reactor.seconds()
        shown = self.player.advance(now - self._since)
        self._since = now
        self.draw(shown)

    def draw(self, shown: list[Timed]) -> None:
        """
        What a screen shows of it.
        """
        data = b"".join(record.fact.data for record in shown if isinstance(record.fact, Output))
        if data:
            sys.stdout.flush()
            _write_all(data)

    def typed(self, data: bytes) -> None:
        """
        Keys; an arrow is three bytes that may come apart.
        """
        self._catch_up()
        self._keys += data
        while self._keys and not self.ended.called:
            if self._keys in (b"\x1b", b"\x1b[", b"\x1bO"):
                break
            size = 3 if self._keys.startswith((b"\x1b[", b"\x1bO")) else 1
            key, self._keys = self._keys[:size], self._keys[size:]
            self.press(key)
        if not self.ended.called:
            self._next()

    def press(self, key: bytes) -> None:
        """
        @param key: its bytes.
        """
        player = self.player
        match key[-1:] if len(key) == 3 else key:
            case b" ":
                player.paused = not player.paused
            case b"q" | b"\x03" | b"\x04":
                self.stop()
            case b"C":
                self.draw(player.seek(int(player.position_ms) + SEEK_MS))
            case b"D":
                self.draw(player.seek(int(player.position_ms) - SEEK_MS))
            case b"A":
                player.faster(2)
            case b"B":
                player.faster(0.5)

    def stop(self) -> None:
        """
        It is over.
        """
        if self._call is not None and self._call.active():
            self._call.cancel()
        if not self.ended.called:
            self.ended.callback(None)


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    os.set_blocking(1, True)
    while view:
        view = view[os.write(1, view) :]
