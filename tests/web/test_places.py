"""
No sign-in takes the places of the others, nor of strangers who name a user.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from teleport_tw.api.contract import EventPage
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.web import tickets as tickets_module
from teleport_tw.web.api.events import MAX_TAILS_OF_ONE, Events
from teleport_tw.web.files import IDLE_SECONDS, Files
from teleport_tw.web.files import MAX_OF_ONE as MAX_LINKS_OF_ONE
from teleport_tw.web.places import Places
from teleport_tw.web.playback import MAX_OF_ONE as MAX_PLAYERS_OF_ONE
from teleport_tw.web.playback import Playback
from teleport_tw.web.tickets import TICKET_SECONDS, Tickets
from tests.doubles.threads import InPlace
from tests.web.test_playback import START, Recordings, Socket, recording, signed_in

GREEDY, OTHER = Secret("greedy"), Secret("other")


class PlacesTests(SynchronousTestCase):
    """
    The count itself.
    """

    def refused(self, places: Places, owner: Secret[str]) -> str:
        error = self.assertRaises(TeleportError, places.take, owner)
        self.assertIs(error.kind, Kind.LIMIT_EXCEEDED)
        return str(error.message)

    def test_a_part_each(self) -> None:
        """One has its part and no more; a place that is given back can be taken again."""
        places = Places(of_all=3, of_one=2, what="tables are taken")
        places.take(GREEDY)
        places.take(GREEDY)
        self.assertEqual(self.refused(places, GREEDY), "2 tables are taken by you already; end one first")
        places.take(OTHER)
        self.assertEqual(self.refused(places, OTHER), "too many tables are taken here; try again in a minute")
        places.give(GREEDY)
        places.take(OTHER)
        self.assertEqual(len(places), 3)

    def test_given_back_whatever_happens(self) -> None:
        """A failure keeps none."""
        places = Places(of_all=1, of_one=1, what="tables are taken")
        with self.assertRaises(ValueError), places.taken(GREEDY):
            raise ValueError
        self.assertEqual(len(places), 0)
        places.take(OTHER)


class TicketTests(SynchronousTestCase):
    """
    Downloads that wait to begin.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.tickets: Tickets[str] = Tickets(self.clock)

    def test_one_takes_not_all(self) -> None:
        """Who asks for too many is refused, and nobody else; time and use make room."""
        words = [self.tickets.issue(GREEDY, "x") for _ in range(tickets_module.MAX_OF_ONE)]
        error = self.assertRaises(TeleportError, self.tickets.issue, GREEDY, "x")
        self.assertIs(error.kind, Kind.LIMIT_EXCEEDED)
        self.tickets.issue(OTHER, "y")
        self.tickets.take(GREEDY, words[0])
        self.tickets.issue(GREEDY, "x")
        self.clock.advance(TICKET_SECONDS + 1)
        for _ in range(tickets_module.MAX_OF_ONE):
            self.tickets.issue(GREEDY, "x")

    def test_anothers_is_not_used_up(self) -> None:
        """Who has somebody's address gets nothing, and takes nothing away."""
        word = self.tickets.issue(OTHER, "y")
        for find in (self.tickets.take, self.tickets.look):
            self.assertIs(self.assertRaises(TeleportError, find, GREEDY, word).kind, Kind.NOT_FOUND)
        self.assertEqual(self.tickets.look(OTHER, word), "y")
        self.assertEqual(self.tickets.take(OTHER, word), "y")
        self.assertRaises(TeleportError, self.tickets.take, OTHER, word)

    def test_signed_out(self) -> None:
        """What was asked for before cannot be had after, and takes no place."""
        word, others = self.tickets.issue(GREEDY, "x"), self.tickets.issue(OTHER, "y")
        self.tickets.signed_out(GREEDY)
        self.assertRaises(TeleportError, self.tickets.take, GREEDY, word)
        self.assertEqual(self.tickets.take(OTHER, others), "y")


class PlayerPlacesTests(SynchronousTestCase):
    """
    Recordings that are being watched.
    """

    def test_one_takes_not_all(self) -> None:
        """The page of who watches too many reads why; another's plays, and a closed one makes room."""
        clock, threads = Clock(), InPlace()
        playback = Playback(clock=clock, threads=threads, still=signed_in)  # type: ignore[arg-type]
        playback.startService()
        self.addCleanup(playback.stopService)

        def watch(owner: Secret[str]) -> tuple[Any, Any]:
            api = Recordings(recording([START], complete=False))
            api.more = Deferred()
            socket = Socket()
            said: list[dict[str, Any]] = []
            socket.send_text = lambda text: said.append(json.loads(text))  # type: ignore[attr-defined]
            socket.conversation = None  # type: ignore[attr-defined]
            user: Any = SimpleNamespace(id=owner, bearer=Secret("b"))
            request = SimpleNamespace(method=b"GET", requestHeaders=Headers({b"Upgrade": [b"websocket"]}))
            call: Any = SimpleNamespace(user=user, api=api, path={"session": "s1"}, request=request)
            upgrade: Any = self.successResultOf(Deferred.fromCoroutine(playback.play(call)))
            upgrade._conversation.opened(socket)
            upgrade._conversation.text(json.dumps({"token": "b"}))
            return socket, said[-1]

        sockets = [watch(GREEDY) for _ in range(MAX_PLAYERS_OF_ONE)]
        self.assertEqual({told["status"] for _, told in sockets}, {"ok"})
        _, told = watch(GREEDY)
        self.assertEqual(told["message"], "10 recordings are being watched by you already; end one first")
        _, told = watch(OTHER)
        self.assertEqual(told["status"], "ok")
        sockets[0][0].conversation.lost(1000)
        _, told = watch(GREEDY)
        self.assertEqual(told["status"], "ok")


class TailPlacesTests(SynchronousTestCase):
    """
    Pages that follow the log.
    """

    def test_one_takes_not_all(self) -> None:
        """One sign-in waits with a few pages; the next of it is refused, and that of another is not."""
        events = Events(Clock())

        def follow(owner: Secret[str]) -> Deferred[Any]:
            async def search(query: Any) -> EventPage:
                return EventPage(events=())

            user: Any = SimpleNamespace(id=owner)
            query = {"startKey": "2026-01-01T00:00:00Z"}
            call: Any = SimpleNamespace(user=user, query=query, api=SimpleNamespace(search=search))
            return Deferred.fromCoroutine(events.tail(call))

        waiting = [follow(GREEDY) for _ in range(MAX_TAILS_OF_ONE)]
        error = self.failureResultOf(follow(GREEDY), TeleportError).value
        self.assertIs(error.kind, Kind.LIMIT_EXCEEDED)
        self.assertNoResult(follow(OTHER))
        waiting[0].addErrback(lambda failure: None).cancel()  # that browser went away
        self.assertNoResult(follow(GREEDY))


class Connection:
    """
    To a server.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.transport = self

    def loseConnection(self) -> None:
        self.stopped = True


class LinkPlacesTests(SynchronousTestCase):
    """
    Connections for files.
    """

    def test_one_takes_not_all(self) -> None:
        """A failed one takes no place; one that idled out gives it back."""
        clock, broken = Clock(), [False]

        async def connect(*args: Any, **more: Any) -> Connection:
            if broken[0]:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "no")
            return Connection()

        reach: Any = SimpleNamespace(connect=connect)
        files = Files(reach=reach, clock=clock)
        request: Any = SimpleNamespace(getClientAddress=lambda: None, getHeader=lambda name: None)

        def link(owner: Secret[str], server: int) -> Deferred[Any]:
            user: Any = SimpleNamespace(id=owner)
            path = {"server": f"node-{server}", "login": "root"}
            call: Any = SimpleNamespace(user=user, path=path, request=request, api=None, address="192.0.2.1")
            return Deferred.fromCoroutine(files._link(call, files._where(call)))

        broken[0] = True
        for number in range(MAX_LINKS_OF_ONE):
            self.failureResultOf(link(GREEDY, number), TeleportError)
        broken[0] = False
        links = [self.successResultOf(link(GREEDY, number)) for number in range(MAX_LINKS_OF_ONE)]
        error = self.failureResultOf(link(GREEDY, 1000), TeleportError).value
        self.assertIs(error.kind, Kind.LIMIT_EXCEEDED)
        self.successResultOf(link(GREEDY, 1))  # the same connection
        self.successResultOf(link(OTHER, 1))
        files._release(next(iter(files._links)), links[0])
        clock.advance(IDLE_SECONDS)
        self.successResultOf(link(GREEDY, 1000))
        files.signed_out(GREEDY)
        self.assertTrue(links[1].connection.stopped)
        self.assertEqual(len(files._places), 1)
