"""
What a player in a page is sent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.recordings.container import Encoder, End, Note, Output, Resized, Start, Timed, unpack
from teleport_tw.web import playback as playback_module
from teleport_tw.web.envelope import Envelope
from teleport_tw.web.playback import AHEAD_BYTES, SWEEP_SECONDS, TELL_SECONDS, Playback, Player
from teleport_tw.web.refusal import Refusal
from tests.doubles.threads import InPlace

START = Timed(0, Start({"user": "alice", "sid": "s1", "size": "100:30"}))


def recording(*groups: list[Timed], complete: bool = True) -> list[bytes]:
    """
    @return: frames.
    """
    encoder = Encoder()
    return [encoder.frame(group, last=complete and group is groups[-1]) for group in groups]


class Recordings:
    """
    The one call of auth that a player makes; what comes is the test's to say.
    """

    def __init__(self, chunks: list[bytes], error: TeleportError | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.more: Deferred[bytes | None] | None = None
        self.closed = False

    async def get_recording(self, session: str, follow: bool = False) -> AsyncIterator[bytes]:
        try:
            for chunk in self.chunks:
                yield chunk
            while self.more is not None:
                chunk = await self.more
                if chunk is None:
                    return
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


class Socket:
    """
    A page at the other end.
    """

    def __init__(self) -> None:
        self.congested = False
        self.got: list[Envelope] = []
        self.code: int | None = None

    def send(self, data: bytes) -> None:
        self.got.append(Envelope.decode(data))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.code = code


async def signed_in(id: Secret[str], active: bool) -> None:
    """Everybody is."""


class PlayerTests(SynchronousTestCase):
    """
    One page, one recording.
    """

    def player(self, api: Any) -> tuple[Player, Socket]:
        """Open."""
        self.clock, self.gone = Clock(), []
        threads: Any = InPlace()
        player = Player(Secret("o"), api, "s1", self.clock, threads, self.gone.append)
        socket: Any = Socket()
        player.opened(socket)
        return player, socket

    def say(self, player: Player, type: str, value: Any) -> None:
        """As the page."""
        player.binary(Envelope.of(type, value).encode())

    def of(self, socket: Socket, type: str) -> list[Any]:
        """All of a type."""
        return [json.loads(message.payload) for message in socket.got if message.type == type]

    def raw(self, socket: Socket) -> list[tuple[int, int, bytes]]:
        """Time, position and bytes."""
        return [(each.ms, each.offset, each.payload) for each in socket.got if each.type == "r"]

    def test_facts(self) -> None:
        """Start, length, events, sizes and silences are told without playing."""
        player, socket = self.player(
            Recordings(
                recording(
                    [START, Timed(100, Output(b"one"))],
                    [Timed(200, Resized(90, 20)), Timed(5000, Note({"event": "session.join", "user": "bob", "x": 1}))],
                    [Timed(9000, Output(b"two")), Timed(9500, End({}))],
                )
            )
        )
        (session,) = self.of(socket, "s")
        self.assertEqual((session["size"], session["session"]["user"]), ("100:30", "alice"))
        (facts,) = self.of(socket, "m")
        self.assertEqual(
            facts,
            {
                "length": 9500,
                "complete": True,
                "bytes": 6,
                "events": [{"ms": 5000, "event": "session.join", "user": "bob"}],
                "idle": [[100, 9000]],
                "sizes": [[200, 90, 20]],
            },
        )
        self.assertEqual(self.raw(socket), [])
        player.lost(1006)
        self.assertEqual(self.gone, [player])

    def test_played_from_a_time(self) -> None:
        """What was before comes together and first; what comes after has its time; the end is told."""
        player, socket = self.player(
            Recordings(
                recording(
                    [START, Timed(100, Output(b"a")), Timed(2000, Output(b"b")), Timed(3000, Resized(80, 24))],
                    [Timed(4000, Output(b"c")), Timed(4005, Output(b"d")), Timed(6000, Output(b"e"))],
                )
            )
        )
        self.say(player, "p", {"at": 3500, "generation": 1})
        self.assertEqual(self.raw(socket), [(100, 0, b"ab"), (4000, 2, b"cd"), (6000, 4, b"e")])
        self.assertEqual([each.ms for each in socket.got if each.type == "w"], [3000])
        self.assertEqual(
            self.of(socket, "p"),
            [{"at": 3500, "generation": 1}, {"end": True, "generation": 1, "length": 6000}],
        )

    def test_behind_what_the_page_has(self) -> None:
        """Wherever it begins, nothing is sent twice, nothing is missing, and asides stand where they did."""
        whole = b"abcdefgh"
        frames = recording(
            [START, Timed(1, Output(b"abc")), Timed(2, Resized(90, 20)), Timed(3, Output(b"d"))],
            [Timed(4, Resized(91, 20))],
            [Timed(500, Output(b"efg")), Timed(600, Resized(92, 20)), Timed(700, Output(b"h")), Timed(800, End({}))],
        )
        places = {90: 3, 91: 4, 92: 7}
        for have in range(len(whole) + 3):
            player, socket = self.player(Recordings(frames))
            self.say(player, "p", {"at": 0, "generation": 1, "from": have})
            self.assertEqual(b"".join(data for _, _, data in self.raw(socket)), whole[have:])
            sizes = [int(each.payload.split(b":")[0]) for each in socket.got if each.type == "w"]
            self.assertEqual(sizes, [size for size, place in places.items() if place >= have])
            self.assertTrue(self.of(socket, "p")[-1]["end"])
        for wrong in (-1, 1.5, "1", True, None):
            with self.assertRaises(RemoteProtocolError):
                self.say(player, "p", {"at": 0, "generation": 2, "from": wrong})

    def test_no_more_than_the_page_wants(self) -> None:
        """A page that shows nothing is sent no more than the window; what it shows makes room."""
        piece = bytes(60_000)
        groups = [[START]] + [[Timed(1000 * n, Output(piece))] for n in range(1, 40)]
        player, socket = self.player(Recordings(recording(*groups)))
        self.say(player, "p", {"at": 0, "generation": 1})
        sent = sum(len(data) for _, _, data in self.raw(socket))
        self.assertTrue(AHEAD_BYTES <= sent < AHEAD_BYTES + len(piece))
        player.binary(Envelope("r", offset=1, received=2 * len(piece)).encode())
        more = sum(len(data) for _, _, data in self.raw(socket))
        self.assertTrue(0 < more - sent <= 2 * len(piece))
        player.binary(Envelope("r", offset=7, received=10**9).encode())
        self.assertEqual(sum(len(data) for _, _, data in self.raw(socket)), more)
        socket.congested = True
        player.binary(Envelope("r", offset=1, received=4 * len(piece)).encode())
        self.assertEqual(sum(len(data) for _, _, data in self.raw(socket)), more)
        socket.congested = False
        player.flow()
        self.assertGreater(sum(len(data) for _, _, data in self.raw(socket)), more)

    def test_seek_ends_what_was_played(self) -> None:
        """After another C{p} nothing of the one before comes, and positions begin anew."""
        piece = bytes(60_000)
        groups = [[START]] + [[Timed(1000 * n, Output(piece))] for n in range(1, 40)]
        player, socket = self.player(Recordings(recording(*groups)))
        self.say(player, "p", {"at": 0, "generation": 1})
        socket.got.clear()
        self.say(player, "p", {"at": 2000, "generation": 2})
        self.assertEqual(json.loads(socket.got[0].payload)["generation"], 2)
        self.assertEqual(self.raw(socket)[0][1], 0)
        player.binary(Envelope("r", offset=1, received=10**9).encode())
        self.assertEqual(player._shown, 0)

    def test_live(self) -> None:
        """A session that goes on is followed; the page learns how long it is by now."""
        first, second, third = recording(
            [START, Timed(10, Output(b"a"))],
            [Timed(2000, Output(b"b"))],
            [Timed(3000, Output(b"c")), Timed(3001, End({}))],
        )
        api = Recordings([first[:20], first[20:]])
        api.more = wait = Deferred()
        player, socket = self.player(api)
        self.say(player, "p", {"at": 0, "generation": 1})
        self.assertEqual([data for _, _, data in self.raw(socket)], [b"a"])
        self.clock.advance(TELL_SECONDS)
        self.assertEqual([(each["length"], each["complete"]) for each in self.of(socket, "m")], [(10, False)])
        api.more = Deferred()
        wait.callback(second)
        self.assertEqual([data for _, _, data in self.raw(socket)], [b"a", b"b"])
        wait, api.more = api.more, Deferred()
        api.more.callback(None)
        wait.callback(third)
        self.assertEqual([data for _, _, data in self.raw(socket)], [b"a", b"b", b"c"])
        self.assertEqual(self.of(socket, "m")[-1]["complete"], True)
        self.assertEqual(self.of(socket, "p")[-1]["end"], True)

    def test_gone_meanwhile(self) -> None:
        """When the page goes, auth is not asked any longer."""
        api = Recordings(recording([START], complete=False))
        api.more = Deferred()
        player, _ = self.player(api)
        player.lost(1001)
        self.assertTrue(api.closed)
        self.assertIsNone(player._telling)

    def test_not_to_be_had(self) -> None:
        """A recording that is missing, or not this user's, is refused in words."""
        player, socket = self.player(Recordings([], not_found("there is no recording of s1")))
        (closing,) = self.of(socket, "c")
        self.assertEqual((closing["code"], closing["reason"]), ("refused", "there is no recording of s1"))
        self.assertEqual(socket.code, 1000)
        self.assertEqual(self.gone, [player])

    def test_damaged(self) -> None:
        """What is whole is shown, and that the rest is not."""
        frames = recording([START, Timed(10, Output(b"a"))], [Timed(20, Output(b"b"))])
        frames[1] = frames[1][:-1] + bytes([frames[1][-1] ^ 1])
        player, socket = self.player(Recordings(frames))
        self.say(player, "p", {"at": 0, "generation": 1})
        self.assertEqual([data for _, _, data in self.raw(socket)], [b"a"])
        self.assertIn("changed or cut", self.of(socket, "e")[0]["message"])

    def test_search(self) -> None:
        """Any case, control sequences left out, with the time of the line."""
        player, socket = self.player(
            Recordings(
                recording([START, Timed(10, Output(b"Hel\x1b[31mlo\x1b[0m world\r\n")), Timed(20, Output(b"x"))])
            )
        )
        self.say(player, "q", {"id": 4, "text": "HELLO"})
        self.assertEqual(self.of(socket, "q"), [{"id": 4, "hits": [{"ms": 10, "line": "Hello world"}], "more": False}])
        for wrong in ({}, {"id": 1, "text": ""}, {"id": 1, "text": "x" * 257}, {"id": "1", "text": "x"}):
            self.say(player, "q", wrong)
        self.assertEqual(len(self.of(socket, "e")), 4)


class ExportTests(SynchronousTestCase):
    """
    The file.
    """

    def test_asciicast(self) -> None:
        """It comes in pieces, whole."""
        threads: Any = InPlace()
        playback = Playback(clock=Clock(), threads=threads, still=signed_in)
        api: Any = Recordings(recording([START, Timed(10, Output(b"hello"))]))

        async def collect() -> bytes:
            return b"".join([piece async for piece in playback._exported(api, "s1", "cast")])

        lines = self.successResultOf(Deferred.fromCoroutine(collect())).splitlines()
        self.assertEqual(json.loads(lines[0])["version"], 2)
        self.assertEqual(json.loads(lines[1]), [0.01, "o", "hello"])

    def test_a_frame_at_a_time(self) -> None:
        """
        A recording of a few kilobytes that unpacks to gigabytes is no more in memory than one frame of it.
        """
        threads: Any = InPlace()
        playback = Playback(clock=Clock(), threads=threads, still=signed_in)
        groups = [[START], *([Timed(number, Output(b"0" * 100_000))] for number in range(1, 40))]
        api: Any = Recordings(recording(*groups))
        unpacked: list[int] = []

        def counted(header: Any, body: bytes) -> list[Timed]:
            unpacked.append(header.number)
            return unpack(header, body)

        async def first() -> bytes:
            pieces = playback._exported(api, "s1", "json")
            self.patch(playback_module, "unpack", counted)
            await anext(pieces)
            second = await anext(pieces)
            await pieces.aclose()  # type: ignore[attr-defined]
            return second

        second = self.successResultOf(Deferred.fromCoroutine(first()))
        self.assertIn(b"print", second)
        self.assertLess(len(unpacked), 5)


class EndedTests(SynchronousTestCase):
    """
    A sign-in that was ended elsewhere: by its user at another browser, or by a lock.
    """

    def test_who_watches_sees_no_more(self) -> None:
        """
        A player of a session that goes on is closed, and that of another sign-in stays; watching keeps nobody in.
        """
        clock, threads, over, asked = Clock(), InPlace(), [False], []

        async def still(id: Secret[str], active: bool) -> None:
            asked.append(active)
            if over[0] and id == Secret("stolen"):
                raise Refusal(401, "the session has ended; sign in again")

        playback = Playback(clock=clock, threads=threads, still=still)  # type: ignore[arg-type]
        playback.startService()
        self.addCleanup(playback.stopService)
        sockets = []
        for owner in ("stolen", "own"):
            api = Recordings(recording([START], complete=False))
            api.more = Deferred()
            player = Player(Secret(owner), api, "s1", clock, threads, playback._players.discard)  # type: ignore[arg-type]
            playback._players.add(player)
            sockets.append(Socket())
            player.opened(sockets[-1])  # type: ignore[arg-type]
        clock.advance(SWEEP_SECONDS)
        self.assertEqual([socket.code for socket in sockets], [None, None])
        over[0] = True
        clock.advance(SWEEP_SECONDS)
        self.assertEqual([socket.code for socket in sockets], [1000, None])
        self.assertEqual({*asked}, {False})
