"""
The index of what was on the screens, asked by several threads.
"""

from __future__ import annotations

import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.recordings.screen import Line
from teleport_tw.recordings.search import ContentIndex, Found


class ThreadTests(SynchronousTestCase):
    """
    A thread goes on with what it looks for when nobody waits for it any more.
    """

    def setUp(self) -> None:
        """
        One line, and a search for it that takes as long as the test wants.
        """
        self.index = ContentIndex(Path(self.mktemp()) / "index.sqlite")
        self.index.open()
        self.addCleanup(self.index.close)
        self.index.add("one", [Line(7, "ab")])
        self.began, self.go_on = threading.Event(), threading.Event()
        self.addCleanup(self.go_on.set)
        assert self.index._finding is not None
        self.index._finding.create_function("lower", 1, self._lower)
        self.found: list[list[Found]] = []

    def _lower(self, text: str) -> str:
        self.began.set()
        self.go_on.wait(60)
        return text.lower()

    def _look(self) -> None:
        self.found.append(self.index.find("ab"))

    def test_closed_meanwhile(self) -> None:
        """The file is let go of when nobody reads it any more; before, SQLite could end the process."""
        looking, closing = threading.Thread(target=self._look), threading.Thread(target=self.index.close)
        looking.start()
        self.began.wait(60)
        closing.start()
        closing.join(0.1)
        self.assertTrue(closing.is_alive(), "it did not wait for its turn")
        self.go_on.set()
        for thread in (looking, closing):
            thread.join(60)
        self.assertEqual(self.found, [[Found("one", 7, "ab")]])

    def test_two_searches(self) -> None:
        """They share a connection, and take turns."""
        threads = [threading.Thread(target=self._look) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.began.wait(60)
        self.go_on.set()
        for thread in threads:
            thread.join(60)
        self.assertEqual(self.found, [[Found("one", 7, "ab")]] * 2)
