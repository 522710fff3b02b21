"""
Pings of a link, and peers that say nothing.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.protocols.mux.messages import Data
from teleport_tw.protocols.mux.wire import encode
from tests.tunnel.wires import Note, Pair


class HeartbeatTests(SynchronousTestCase):
    """
    Of two links that face each other.
    """

    def test_pings_measure_the_way(self) -> None:
        pair = Pair()
        pair.clock.advance(30)
        pair.clock.advance(0.25)
        pair.pipe.run()
        self.assertEqual((pair.client.rtt, pair.server.rtt), (0.25, 0.25))

    def test_a_silent_peer_is_given_up_on_time(self) -> None:
        pair = Pair()
        pair.clock.advance(30)
        pair.clock.advance(9.9)
        self.assertFalse(pair.pipe.ends[0].aborted)
        pair.clock.advance(0.2)
        self.assertTrue(pair.pipe.ends[0].aborted)

    def test_a_peer_that_says_anything_lives(self) -> None:
        pair = Pair()
        for _ in range(100):
            pair.clock.advance(9)
            pair.pipe.run()
        self.assertFalse(pair.pipe.ends[0].aborted)

    def test_a_peer_busy_with_data_need_not_answer_pings(self) -> None:
        pair = Pair()
        pair.open(Note())
        for _ in range(50):
            pair.clock.advance(5)
            pair.client.dataReceived(encode(Data(1, b"x")))
        self.assertFalse(pair.pipe.ends[0].aborted)
