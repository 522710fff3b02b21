"""
Channels between our client and our server.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.channel import HIGH_WATER_BYTES, MAX_WAITING_BYTES, STDERR
from teleport_tw.conch.connection import MAX_CHANNELS
from tests.conch.pair import Host, Recorder, pair


@implementer(IPushProducer)
class Tap:
    """
    A producer that notes what it is told.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class ChannelTests(SynchronousTestCase):
    """
    What is written comes out at the other end, in order, and no faster than it is wanted.
    """

    def test_data_of_every_size_arrives_whole(self) -> None:
        """
        Sizes round the packet size, both ways.
        """
        both = pair()
        ours, theirs = both.open()
        expected = b""
        for size in (1, 2, 65535, 65536, 65537, 200_000):
            piece = bytes([size % 251]) * size
            expected += piece
            ours.write(piece)
            theirs.write(piece)
            both.flush()
        self.assertEqual(bytes(theirs.received), expected)
        self.assertEqual(bytes(ours.received), expected)

    def test_more_than_the_window_waits_and_arrives(self) -> None:
        """
        Five windows at once.
        """
        both = pair()
        ours, theirs = both.open()
        data = bytes(range(256)) * 40960
        ours.write(data)
        ours.loseWriteConnection()
        both.flush()
        self.assertEqual(bytes(theirs.received), data)
        self.assertEqual(theirs.log, ["open", "eof"])

    def test_a_paused_channel_takes_one_window_and_no_more(self) -> None:
        """
        Nothing is delivered while paused; all of it is afterwards.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.pauseProducing()
        ours.write(b"x" * 5_000_000)
        ours.loseConnection()
        both.flush()
        self.assertEqual(len(theirs.received), 0)
        self.assertEqual(ours.remoteWindowLeft, 0)
        self.assertNotIn("eof", theirs.log)
        theirs.resumeProducing()
        both.flush()
        self.assertEqual(len(theirs.received), 5_000_000)
        self.assertEqual(theirs.log, ["open", "eof", "closed"])
        self.assertEqual(ours.log, ["open", "closed"])

    def test_what_comes_together_is_delivered_together(self) -> None:
        """
        Packets on end for one channel are one piece; another channel's, or a request, ends it.
        """
        both = pair()
        ours, theirs = both.open()
        other, others = both.open()
        seen: list[bytes] = []
        theirs.dataReceived = others.dataReceived = seen.append
        for channel, word in ((ours, b"one "), (ours, b"two"), (other, b"three"), (ours, b"four")):
            channel.write(word)
        ours.loseWriteConnection()
        both.flush()
        self.assertEqual(seen, [b"one two", b"three", b"four"])

    def test_pausing_inside_data_received_holds_the_rest(self) -> None:
        """
        A consumer that pauses on the first piece gets the second only after it resumed.
        """
        both = pair()
        ours, theirs = both.open()
        seen: list[bytes] = []

        def take(data: bytes) -> None:
            seen.append(data)
            theirs.pauseProducing()

        theirs.dataReceived = take
        for word in (b"one", b"two", b"three"):
            ours.write(word)
            both.flush()
        self.assertEqual(seen, [b"one"])
        theirs.resumeProducing()
        self.assertEqual(seen, [b"one", b"two"])
        theirs.resumeProducing()
        self.assertEqual(seen, [b"one", b"two", b"three"])

    def test_standard_error_stays_in_order_with_its_own_kind(self) -> None:
        """
        Extended data arrives as such.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.writeExtended(STDERR, b"oh")
        theirs.write(b"out")
        both.flush()
        self.assertEqual(ours.log, ["open", (1, b"oh")])
        self.assertEqual(bytes(ours.received), b"out")

    def test_exit_status_follows_all_data_and_precedes_the_close(self) -> None:
        """
        Even where the data is more than the window.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.write(b"y" * 3_000_000)
        theirs.exit_status(7)
        theirs.loseConnection()
        theirs.write(b"too late")
        both.flush()
        self.assertEqual(ours.log, ["open", "eof", ("status", 7, 3_000_000), "closed"])
        self.assertEqual(theirs.log, ["open", "closed"])
        self.assertEqual(both.connection.channels, {})
        self.assertEqual(both.host.connection.channels, {})

    def test_exit_signal_is_told(self) -> None:
        """
        A killed command.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.exit_signal("KILL", message="out of memory")
        theirs.loseConnection()
        both.flush()
        self.assertEqual(ours.log, ["open", "eof", "signal", "closed"])

    def test_half_close_leaves_the_way_back_open(self) -> None:
        """
        EOF from the client, then data from the server.
        """
        both = pair()
        ours, theirs = both.open()
        ours.loseWriteConnection()
        both.flush()
        theirs.write(b"still here")
        both.flush()
        self.assertEqual(theirs.log, ["open", "eof"])
        self.assertEqual(bytes(ours.received), b"still here")
        self.assertNotIn("closed", ours.log)

    def test_abort_drops_what_waits(self) -> None:
        """
        The close does not wait for the window.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.pauseProducing()
        ours.write(b"z" * 4_000_000)
        ours.abortConnection()
        both.flush()
        self.assertEqual(ours.log, ["open", "closed"])

    def test_a_writer_that_never_waits_is_cut_off(self) -> None:
        """
        The buffer of a channel has an end.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.pauseProducing()
        for _ in range(MAX_WAITING_BYTES // 1_000_000 + 4):
            ours.write(b"w" * 1_000_000)
        both.flush()
        self.assertIn("closed", ours.log)

    def test_a_producer_is_paused_by_the_window_and_resumed_by_it(self) -> None:
        """
        Push producers.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.pauseProducing()
        tap = Tap()
        ours.registerProducer(tap, True)
        ours.write(b"a" * (2 * 1024 * 1024))
        self.assertEqual(tap.calls, [])
        ours.write(b"a" * (HIGH_WATER_BYTES + 1))
        self.assertEqual(tap.calls, ["pause"])
        both.flush()
        theirs.resumeProducing()
        both.flush()
        self.assertEqual(tap.calls, ["pause", "resume"])
        ours.unregisterProducer()

    def test_a_producer_is_paused_while_the_connection_is_congested(self) -> None:
        """
        The transport below says so.
        """
        both = pair()
        ours, _ = both.open()
        tap = Tap()
        ours.registerProducer(tap, True)
        both.client.pauseProducing()
        both.client.resumeProducing()
        self.assertEqual(tap.calls, ["pause", "resume"])
        both.server.loseConnection()
        both.flush()
        self.assertEqual(tap.calls, ["pause", "resume", "stop"])

    def test_too_much_data_ends_the_connection(self) -> None:
        """
        A peer that does not keep to the window.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.pauseProducing()
        ours.remoteWindowLeft = 10**9
        ours.write(b"b" * 3_000_000)
        both.flush()
        self.assertTrue(both.server.ended)
        self.assertEqual(both.host.lost, 1)

    def test_requests_are_answered_in_order_and_data_waits_for_them(self) -> None:
        """
        An answer that takes time holds back the data behind it.
        """
        both = pair()
        ours, theirs = both.open()
        slow: Deferred[bool] = Deferred()
        theirs.request_slow = lambda payload: slow
        first = Deferred.fromCoroutine(both.connection.request(ours, "slow"))
        second = Deferred.fromCoroutine(both.connection.request(ours, "ping", b"no"))
        third = Deferred.fromCoroutine(both.connection.request(ours, "unheard-of@example.com"))
        ours.write(b"after")
        both.flush()
        self.assertNoResult(first)
        self.assertEqual(bytes(theirs.received), b"")
        slow.callback(True)
        both.flush()
        self.assertEqual([self.successResultOf(each) for each in (first, second, third)], [True, False, False])
        self.assertEqual(bytes(theirs.received), b"after")

    def test_closing_gives_up_a_request_that_is_not_answered(self) -> None:
        """
        What was being set up is cancelled, and the channel goes.
        """
        both = pair()
        ours, theirs = both.open()
        cancelled: list[str] = []
        theirs.request_slow = lambda payload: Deferred(lambda _: cancelled.append("yes"))
        request = Deferred.fromCoroutine(both.connection.request(ours, "slow"))
        both.flush()
        ours.loseConnection()
        both.flush()
        self.assertEqual(cancelled, ["yes"])
        self.assertEqual(theirs.log, ["open", "eof", "closed"])
        self.assertIs(self.successResultOf(request), False)

    def test_a_refused_channel_says_why(self) -> None:
        """
        Kind and words cross the wire.
        """

        def refuse(request: object) -> None:
            raise TeleportError(Kind.ACCESS_DENIED, "not for you", details="secret")

        both = pair(host=Host(make=refuse))
        ours = Recorder()
        opened = Deferred.fromCoroutine(both.connection.open(ours))
        both.flush()
        error = self.failureResultOf(opened, TeleportError).value
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        self.assertIn("not for you", str(error))
        self.assertNotIn("secret", str(error))

    def test_a_bug_in_the_responder_refuses_the_channel(self) -> None:
        """
        And is logged.
        """
        both = pair(host=Host(make=lambda request: 1 // 0))
        opened = Deferred.fromCoroutine(both.connection.open(Recorder()))
        both.flush()
        self.failureResultOf(opened, TeleportError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_number_of_channels_is_bounded(self) -> None:
        """
        Those that are still being opened count.
        """
        both = pair(host=Host(make=lambda request: Deferred()))
        waiting = [Deferred.fromCoroutine(both.connection.open(Recorder())) for _ in range(MAX_CHANNELS + 1)]
        both.flush()
        error = self.failureResultOf(waiting[-1], TeleportError).value
        self.assertEqual(error.kind, Kind.LIMIT_EXCEEDED)
        self.assertNoResult(waiting[0])
        both.client.abortConnection()
        both.flush()
        for each in waiting[:-1]:
            self.failureResultOf(each, TeleportError)

    def test_a_client_without_responder_takes_no_channels(self) -> None:
        """
        Servers cannot open what was not asked for.
        """
        both = pair()
        opened = Deferred.fromCoroutine(both.host.connection.open(Recorder()))
        both.flush()
        self.failureResultOf(opened, TeleportError)

    def test_losing_the_connection_tells_everybody_once(self) -> None:
        """
        Channels, openings, requests, the responder.
        """
        both = pair()
        ours, theirs = both.open()
        theirs.request_slow = lambda payload: Deferred()
        request = Deferred.fromCoroutine(both.connection.request(ours, "slow"))
        both.host.make = lambda request: Deferred()
        opening = Deferred.fromCoroutine(both.connection.open(Recorder()))
        both.flush()
        both.server.abortConnection()
        both.flush()
        self.failureResultOf(request, TeleportError)
        self.failureResultOf(opening, TeleportError)
        self.assertEqual(ours.log.count("closed"), 1)
        self.assertEqual(theirs.log.count("closed"), 1)
        self.assertEqual(both.host.lost, 1)
        late = Deferred.fromCoroutine(both.connection.open(Recorder()))
        self.failureResultOf(late, TeleportError)
