"""
Global requests between our client and our server.
"""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.conch.carrier import Limits
from tests.conch.pair import Host, pair


class AnswerTests(SynchronousTestCase):
    """
    What becomes of a question.
    """

    def test_global_requests_are_answered_or_refused(self) -> None:
        """
        In order.
        """
        host = Host(answer=lambda name, payload: b"\0\0\x1f\x90" if name == "tcpip-forward" else None)
        both = pair(host=host)
        granted = Deferred.fromCoroutine(both.connection.ask("tcpip-forward", b"fields"))
        refused = Deferred.fromCoroutine(both.connection.ask("something-else"))
        both.flush()
        self.assertEqual(self.successResultOf(granted), b"\0\0\x1f\x90")
        self.failureResultOf(refused, TeleportError)
        self.assertEqual(host.requests, [("tcpip-forward", b"fields"), ("something-else", b"")])


class KeepaliveTests(SynchronousTestCase):
    """
    A silent peer is asked, and given up in the end.
    """

    limits = Limits(keepalive_interval=timedelta(seconds=10), keepalive_count_max=2)

    def test_a_peer_that_answers_stays(self) -> None:
        """
        However long nothing else is said.
        """
        both = pair(limits=self.limits)
        for _ in range(20):
            both.clock.advance(10)
            both.flush()
        self.assertFalse(both.server.ended)
        self.assertFalse(both.client.ended)

    def test_a_peer_that_does_not_answer_is_given_up(self) -> None:
        """
        After two questions, and not before.
        """
        both = pair(limits=self.limits)
        for _ in range(2):
            both.clock.advance(10)
        self.assertFalse(both.server.ended)
        both.clock.advance(10)
        self.assertTrue(both.server.ended)
