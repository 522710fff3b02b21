"""
The relay between two transports of memory: servers that do not keep to it, and ends in every state.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.mysql import faults
from teleport_tw.agents.db.mysql.login import Connected
from teleport_tw.agents.db.mysql.relay import MAX_EARLY_BYTES, Relay
from teleport_tw.events.kinds import Actor, DatabaseTarget, Session
from teleport_tw.protocols.mysql import handshake
from teleport_tw.protocols.mysql.capabilities import Capability
from teleport_tw.protocols.mysql.compression import Unwrapper, Wrapper
from teleport_tw.protocols.mysql.messages import Greeting, HandshakeResponse, Ok
from teleport_tw.protocols.mysql.wire import packets

C = Capability
PLAIN = C.PROTOCOL_41 | C.LOCAL_FILES
OK = handshake.encode_ok(Ok(status=2))
LOAD = b"\x03load data local infile '/tmp/x' into table t"


class Pipe(StringTransport):
    """
    Notes what becomes of it.
    """

    aborted = False

    def abortConnection(self) -> None:
        """
        At once.
        """
        self.aborted = True


class SessionDouble:
    """
    What a relay asks of a session, and of what it tells, noted.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.results: list[tuple[str, str]] = []
        self.sent = 0
        self.name = ""
        self.telling = self
        self.facts = {"actor": Actor(user="alice"), "session": Session(id="s"), "database": DatabaseTarget(service="d")}
        self.commons = SimpleNamespace(policy=SimpleNamespace(kept=lambda values: values))
        self.database = SimpleNamespace(name="d")
        self.transcript = SimpleNamespace(note=self.told.append)

    def touch(self) -> None:
        """
        Somebody is there.
        """

    def emit(self, event: Any) -> None:
        """
        An event.
        """
        self.told.append(event.NAME)

    def query(self, text: str, *rest: Any, **more: Any) -> str:
        """
        A statement.
        """
        self.told.append(text)
        return text

    def result(self, running: str, *, error: str = "", **more: Any) -> None:
        """
        Its end.
        """
        self.results.append((running, error))

    def know(self, name: str) -> None:
        """
        The logical database.
        """
        self.name = name

    def refused(self, text: str, error: Any) -> None:
        """
        It does not pass.
        """
        self.told.append(f"refused {text}")


class RelayTestCase(SynchronousTestCase):
    """
    C{user} and C{target} are the transports.
    """

    def relay(self, capabilities: Capability = PLAIN, compression: str = "", rest: bytes = b"") -> Relay:
        """
        One that has begun.
        """
        self.session, self.user, self.target = SessionDouble(), Pipe(), Pipe()
        greeting = Greeting(version="8", connection_id=1, scramble=b"s" * 20, capabilities=capabilities)
        connected = Connected(
            transport=self.target,
            greeting=greeting,
            capabilities=capabilities,
            compression=compression,
            ok=Ok(),
            rest=rest,
        )
        response = HandshakeResponse(capabilities=capabilities, username="alice")
        session: Any = self.session
        relay = Relay(session, self.user, connected, response, lambda number: number + 100)
        relay.begin()
        return relay

    def said(self, transport: Pipe) -> bytes:
        """
        @return: what was written since the last time.
        """
        data: bytes = transport.value()
        transport.clear()
        return data


class ServerTests(RelayTestCase):
    """
    Targets that do not keep to it.
    """

    def test_a_file_that_nobody_offered(self) -> None:
        """
        The user never hears of the wish, nor the target of a file.
        """
        relay = self.relay()
        relay.from_user(packets(b"\x03select 1", 0))
        self.said(self.target)
        relay.from_target(packets(b"\xfb/etc/passwd", 1))
        said = self.said(self.user)
        self.assertEqual(
            handshake.parse_error(said[4:]).message, "Teleport: the server wants a file that nobody offered"
        )
        self.assertTrue(self.target.aborted)
        self.assertTrue(self.user.disconnecting)
        self.assertEqual(self.said(self.target), b"")

    def test_speaking_unasked(self) -> None:
        """
        Ends the session; a farewell passes.
        """
        relay = self.relay()
        relay.from_target(packets(OK, 0))
        self.assertIn(b"out of turn", self.said(self.user))
        relay = self.relay()
        farewell = packets(handshake.error(1053, "going down"), 0)
        relay.from_target(farewell)
        self.assertEqual(self.said(self.user), farewell)
        relay = self.relay(rest=farewell)
        self.assertEqual(self.said(self.user), farewell)

    def test_a_file_that_the_server_gives_up(self) -> None:
        """
        Servers read it to its end first; the rest of it must not be a command to one that does not.
        """
        relay = self.relay()
        relay.from_user(packets(LOAD, 0))
        relay.from_target(packets(b"\xfb/tmp/x", 1))
        relay.from_user(packets(b"row", 2))
        relay.from_target(packets(handshake.error(1, "no"), 3))
        self.assertIn(("-- the client's file '/tmp/x' is sent", "the database did not want it"), self.session.results)
        self.said(self.target)
        relay.from_user(packets(b"\x03drop table t", 0))
        self.assertEqual(self.said(self.target), b"")
        self.assertTrue(self.user.disconnecting and self.target.aborted)


class EndTests(RelayTestCase):
    """
    Whoever ends it.
    """

    def test_goodbye_between_packets(self) -> None:
        """
        At once; as the answer to what comes next where nothing is asked.
        """
        for before, number in ((b"", 1), (packets(b"\x03select 1", 0), 1)):
            relay = self.relay()
            relay.from_user(before)
            relay.goodbye(faults.goodbye("locked"))
            self.assertEqual(self.said(self.user), packets(faults.goodbye("locked"), number))
            self.assertTrue(self.user.disconnecting)
            relay.goodbye(faults.goodbye("again"))
            relay.from_target(packets(OK, 1))
            self.assertEqual(self.said(self.user), b"")

    def test_goodbye_within_a_packet(self) -> None:
        """
        Behind it, and what comes then does not pass.
        """
        relay = self.relay()
        relay.from_user(packets(b"\x03select 1", 0))
        answer = packets(OK, 1)
        relay.from_target(answer[:5])
        relay.goodbye(faults.goodbye("locked"))
        self.assertEqual(self.said(self.user), answer[:5])
        relay.from_target(answer[5:] + packets(b"more", 0))
        # the answer is whole, so that the next number is that of an answer to come
        self.assertEqual(self.said(self.user), answer[5:] + packets(faults.goodbye("locked"), 1))

    def test_the_target_goes(self) -> None:
        """
        Within a packet nothing can be said.
        """
        relay = self.relay()
        relay.from_user(packets(b"\x03select 1", 0))
        relay.target_lost()
        self.assertEqual(self.said(self.user), packets(faults.target_gone(), 1))
        relay = self.relay()
        relay.from_user(packets(b"\x03select 1", 0))
        relay.from_target(packets(OK, 1)[:6])
        self.said(self.user)
        relay.target_lost()
        self.assertEqual(self.said(self.user), b"")
        self.assertTrue(self.user.disconnecting)
        relay.target_lost()

    def test_the_user_goes(self) -> None:
        """
        The target is told where it is idle, and left at once where it is not.
        """
        relay = self.relay()
        relay.user_lost()
        self.assertEqual(self.said(self.target), packets(b"\x01", 0))
        self.assertTrue(self.target.disconnecting)
        relay.user_lost()
        self.assertEqual(self.said(self.target), b"")
        relay = self.relay()
        relay.from_user(packets(b"\x03select sleep(9)", 0))
        relay.user_lost()
        self.assertTrue(self.target.aborted)
        relay = self.relay()
        relay.from_user(packets(b"\x01", 0))
        self.assertTrue(self.user.disconnecting and self.target.disconnecting)


class CommandTests(RelayTestCase):
    """
    What passes on.
    """

    def test_malformed(self) -> None:
        """
        Is answered by us where an answer is expected; else the session ends.
        """
        relay = self.relay(PLAIN | C.QUERY_ATTRIBUTES)
        relay.from_user(packets(b"\x03\x05", 0) + packets(b"\x0e", 0))
        self.assertEqual(handshake.parse_error(self.said(self.user)[4:]).errno, 1835)
        self.assertEqual(self.said(self.target), packets(b"\x0e", 0))
        relay = self.relay()
        relay.from_user(packets(b"\x19\x05", 0))
        self.assertTrue(self.user.disconnecting)
        self.assertEqual(self.said(self.target), b"")

    def test_a_long_one_whose_attributes_hide_its_text(self) -> None:
        """
        Its end never reaches the target, which so executes nothing.
        """
        relay = self.relay(PLAIN | C.QUERY_ATTRIBUTES)
        body = b"\x03\x01\x01\0\1\xfd\0\0" + b"\xfd" + (70_000).to_bytes(3, "little") + bytes(70_000) + b"drop table t"
        octets = packets(body, 0)
        relay.from_user(octets[:68_000])
        relay.from_user(octets[68_000:])
        self.assertNotIn(b"drop table", self.said(self.target))
        self.assertTrue(self.user.disconnecting)
        self.assertTrue(self.target.aborted)

    def test_kills_are_renumbered(self) -> None:
        """
        In each way that a client has to kill.
        """
        for said, sent in [
            (b"\x03KILL QUERY 7", b"\x03KILL QUERY 107"),
            (b"\x03 kill 7 ;", b"\x03 kill 107 ;"),
            (b"\x03kill hard connection 7", b"\x03kill hard connection 107"),
            (b"\x03select 7", b"\x03select 7"),
            (b"\x03kill query id 7", b"\x03kill query id 7"),
            (b"\x0c\x07\0\0\0", b"\x0c\x6b\0\0\0"),
            (b"\x0c\x07\0\0\0\0", b"\x0c\x07\0\0\0\0"),
        ]:
            relay = self.relay()
            relay.from_user(packets(said, 0))
            self.assertEqual(self.said(self.target), packets(sent, 0))

    def test_early_commands_stop_the_reading(self) -> None:
        """
        Beyond a bound, until it is their turn.
        """
        relay = self.relay()
        relay.from_user(packets(b"\x03select 1", 0))
        relay.from_user(packets(b"\x03" + b"x" * MAX_EARLY_BYTES, 0))
        self.assertEqual(self.user.producerState, "paused")
        relay.from_target(packets(OK, 1))
        self.assertEqual(self.user.producerState, "producing")

    def test_a_slow_target(self) -> None:
        """
        Is sent no more until it has caught up.
        """
        relay = self.relay()
        self.target.producer.pauseProducing()
        self.assertEqual(self.user.producerState, "paused")
        relay.from_user(packets(b"\x0e", 0))
        self.assertEqual(self.said(self.target), b"")
        self.target.producer.resumeProducing()
        self.assertEqual(self.said(self.target), packets(b"\x0e", 0))
        self.target.producer.stopProducing()

    def test_compressed_files(self) -> None:
        """
        Both legs count their packets on.
        """
        relay = self.relay(PLAIN | C.COMPRESS, "zlib")
        client, server, seen = Wrapper("zlib"), Wrapper("zlib"), Unwrapper("zlib")
        relay.from_user(client.wrap(packets(LOAD, 0)))
        seen.feed(self.said(self.target))
        self.assertEqual((seen.read(), seen.sequence), (packets(LOAD, 0), 0))
        server.sequence = 1
        relay.from_target(server.wrap(packets(b"\xfb/tmp/x", 1)))
        self.assertEqual(self.said(self.user)[3], 1)
        client.sequence = 2
        relay.from_user(client.wrap(packets(b"row", 2) + packets(b"", 3)))
        sent = self.said(self.target)
        self.assertEqual(sent[3], 2)
        seen = Unwrapper("zlib", sent)
        self.assertEqual(seen.read() + seen.read(), packets(b"row", 2) + packets(b"", 3))
        relay.from_target(server.wrap(packets(OK, 4)))
        self.assertEqual(self.said(self.user)[3], 3)
        self.assertEqual(self.session.results[-1][1], "")

    def test_wrong_compression(self) -> None:
        """
        Of either side ends the session.
        """
        wrong = b"\x03\0\0\0\x09\0\0abc"
        relay = self.relay(PLAIN | C.COMPRESS, "zlib")
        relay.from_user(wrong)
        self.assertTrue(self.user.disconnecting)
        relay = self.relay(PLAIN | C.COMPRESS, "zlib")
        relay.from_target(wrong)
        self.assertTrue(self.user.disconnecting)
        self.assertTrue(self.target.aborted)
