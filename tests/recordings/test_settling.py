"""
A service that stops waits for the last words of its sessions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.recordings.capture import SETTLE_SECONDS, Recordings


class Settling(SynchronousTestCase):
    """
    Without a disk.
    """

    def test_it_waits_for_those_that_end(self) -> None:
        """Until they have, but not for ever."""
        nothing: Any = None
        for late in (False, True):
            clock, ending = Clock(), Deferred[None]()
            recordings = Recordings(Path("/"), nothing, clock, nothing)
            recordings.ends(ending)
            settled = Deferred.fromCoroutine(recordings.settled())
            clock.pump([1.0])
            self.assertNoResult(settled)
            if not late:
                ending.callback(None)
            clock.pump([0.5 if not late else SETTLE_SECONDS])
            self.successResultOf(settled)
