"""
Reports of file processes.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh.fileserver import MAX_REPORT_BYTES
from teleport_tw.agents.ssh.transfer import ReportReader


class ReportTests(SynchronousTestCase):
    """
    Lines of JSON.
    """

    def read(self, *pieces: bytes) -> list[Any]:
        """
        What is made of them.
        """
        found: list[Any] = []
        reader = ReportReader(found.append)
        for piece in pieces:
            reader.feed(piece)
        return found

    def test_every_split(self) -> None:
        """
        Two lines are two reports, however they come.
        """
        data = b'{"op": "open", "path": "a\\nb\\u0000"}\n{"op": "done"}\n'
        wanted = [{"op": "open", "path": "a\nb\0"}, {"op": "done"}]
        for at in range(len(data) + 1):
            self.assertEqual(self.read(data[:at], data[at:]), wanted)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=40)))
    def test_garbage(self, pieces: list[bytes]) -> None:
        """
        Is dropped; what follows it is read.
        """
        self.assertIn({"op": "x"}, self.read(*pieces, b'\n{"op": "x"}\n'))

    def test_what_is_no_report(self) -> None:
        """
        Other JSON, and what nests deeper than anybody reads.
        """
        self.assertEqual(self.read(b"[]\n1\nnull\n{}\n" + b'{"op": 3}\n' + b"[" * 50_000 + b"\n"), [])

    def test_a_line_without_end_is_not_kept(self) -> None:
        """
        Nor does it grow.
        """
        self.assertEqual(self.read(*[b"x" * MAX_REPORT_BYTES] * 5, b'\n{"op": "x"}\n'), [{"op": "x"}])
