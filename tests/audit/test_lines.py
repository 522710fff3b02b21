"""
Lines of the audit log are what Python's own JSON writes, whoever writes them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.audit.lines import line, read
from teleport_tw.base.errors import TeleportError

_text = st.text() | st.just("null") | st.just("\ud800")
_whole = st.integers(-(2**63), 2**63)
_values = st.recursive(
    st.none() | st.booleans() | _whole | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


class LineTests(SynchronousTestCase):
    """
    Both ways.
    """

    @given(st.dictionaries(_text, _values, max_size=5))
    def test_written_as_python_writes_it(self, event: dict[str, Any]) -> None:
        """
        In ASCII, with half a surrogate pair and large numbers too; and read again as it was.
        """
        written = line(event)
        self.assertEqual(written, json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n")
        self.assertEqual(read(written), event)

    def test_no_numbers(self) -> None:
        """
        What JSON has no word for is refused, wherever it stands.
        """
        for bad in (float("nan"), float("inf")):
            for event in ({"a": bad}, {"a": [bad]}, {"a": {"b": [1, bad]}}):
                self.assertRaises(ValueError, line, event)
        self.assertRaises(TypeError, line, {"a": object()})

    def test_no_objects(self) -> None:
        """
        What is not an object is no event.
        """
        for bad in ("", "[]", "1", "{", '{"a":1}x', '"x"', b"\xff", "[" * 5000):
            self.assertRaises(TeleportError, read, bad)
