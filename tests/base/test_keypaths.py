"""
Tests for L{teleport_tw.base.keypaths}.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.keypaths import Mistake, Reader, refuse, suggestion

WORDS = {"a": 1, "b": 2, 7: 3, False: 4}

READS: list[tuple[Callable[[Reader], Any], Any, Any, str]] = [
    (lambda r: r.text("k", "d"), None, "d", ""),
    (lambda r: r.text("k", "d"), "x", "x", ""),
    (lambda r: r.text("k", "d"), 7, "7", ""),
    (lambda r: r.text("k", "d"), 1.5, "1.5", ""),
    (lambda r: r.text("k", "d"), True, "d", "quote yes, no, on and off"),
    (lambda r: r.text("k", "d"), [], "d", "must be a string"),
    (lambda r: r.texts("k"), None, (), ""),
    (lambda r: r.texts("k"), "x", ("x",), ""),
    (lambda r: r.texts("k"), ["x", 7], ("x", "7"), ""),
    (lambda r: r.texts("k"), ["x", True], (), "list of strings"),
    (lambda r: r.texts("k"), {"x": 1}, (), "list of strings"),
    (lambda r: r.flag("k", None), None, None, ""),
    (lambda r: r.flag("k", None), True, True, ""),
    (lambda r: r.flag("k", None), " Yes ", True, ""),
    (lambda r: r.flag("k", None), "off", False, ""),
    (lambda r: r.flag("k", None), "maybe", None, "must be yes or no"),
    (lambda r: r.flag("k", None), 1, None, "must be yes or no"),
    (lambda r: r.yes("k"), None, False, ""),
    (lambda r: r.yes("k"), "on", True, ""),
    (lambda r: r.number("k", 5), None, 5, ""),
    (lambda r: r.number("k", 5), 0, 0, ""),
    (lambda r: r.number("k", 5), " 7 ", 7, ""),
    (lambda r: r.number("k", 5), True, 5, "whole number"),
    (lambda r: r.number("k", 5), 1.5, 5, "whole number"),
    (lambda r: r.number("k", 5), -1, 5, "must be at least 0"),
    (lambda r: r.number("k", 5, least=1, most=9), 9, 9, ""),
    (lambda r: r.number("k", 5, least=1, most=9), 10, 5, "must be from 1 to 9"),
    (lambda r: r.duration("k", None), None, None, ""),
    (lambda r: r.duration("k", None), "1h30m", timedelta(minutes=90), ""),
    (lambda r: r.duration("k", None), "never", timedelta(0), ""),
    (lambda r: r.duration("k", None), 60, timedelta(minutes=1), ""),
    (lambda r: r.duration("k", None), "-1h", None, "must not be negative"),
    (lambda r: r.duration("k", None), "soon", None, "duration"),
    (lambda r: r.duration("k", None), 1e300, None, "k: "),
    (lambda r: r.duration("k", None), [], None, "must be a duration"),
    (lambda r: r.choice("k", WORDS, 0), None, 0, ""),
    (lambda r: r.choice("k", WORDS, 0), "a", 1, ""),
    (lambda r: r.choice("k", WORDS, 0), 7, 3, ""),
    (lambda r: r.choice("k", WORDS, 0), False, 4, ""),
    (lambda r: r.choice("k", WORDS, 0), 0, 0, "must be one of a, b"),
    (lambda r: r.choice("k", WORDS, 0), "c", 0, "must be one of a, b"),
    (lambda r: r.choice("k", WORDS, 0), [], 0, "must be one of"),
    (lambda r: r.pairs("k"), {"x": "y", "n": 1}, {"x": "y", "n": "1"}, ""),
    (lambda r: r.pairs("k"), {"x": []}, {"x": ""}, "k.x: must be a string"),
    (lambda r: r.pairs("k"), "x", {}, "must be a mapping"),
    (lambda r: r.lists("k"), {"x": "y", "z": ["a"]}, {"x": ("y",), "z": ("a",)}, ""),
    (lambda r: r.lists("k"), {"x": 7}, {"x": ()}, "k.x: must be a string or a list"),
    (lambda r: r.each("k", lambda inner: inner.text("n")), [{"n": "a"}, {"n": "b"}], ("a", "b"), ""),
    (lambda r: r.each("k", lambda inner: inner.text("n")), None, (), ""),
    (lambda r: r.each("k", lambda inner: inner.text("n")), "x", (), "must be a list"),
    (lambda r: r.each("k", lambda inner: inner.text("n")), [7], (), "k[0]: must be a mapping"),
    (lambda r: r.each("k", lambda inner: inner.text("n")), [{"n": []}], ("",), "k[0].n: must be a string"),
    (lambda r: r.each("k", lambda inner: inner.text("name")), [{"nam": 1}], ("",), "did you mean name?"),
    (lambda r: r.inside("k", lambda inner: inner.text("n")), {"n": "a"}, "a", ""),
    (lambda r: r.inside("k", lambda inner: inner.text("n")), {"other": "a"}, "", "k.other: is not a key known here"),
    (lambda r: r.has("k"), None, False, ""),
    (lambda r: r.has("k"), 0, True, ""),
]


class ReaderTests(SynchronousTestCase):
    """
    One key, read in each way.
    """

    def test_reads(self) -> None:
        """
        A wrong value is written down with its path, and the default answered.
        """
        for read, value, expected, mistake in READS:
            reader = Reader({"k": value})
            self.assertEqual(read(reader), expected, (value, mistake))
            reader.finish()
            told = "; ".join(map(str, reader.mistakes))
            self.assertEqual(bool(told), bool(mistake), (value, told))
            self.assertIn(mistake, told)

    def test_unknown_keys(self) -> None:
        """
        What nobody asked for is a mistake, unless it is ignored.
        """
        reader = Reader({"name": 1, "nmae": 2, "old": 3, 5: 6}, "spec")
        reader.text("name")
        reader.ignore("old")
        reader.finish()
        self.assertEqual(
            list(map(str, reader.mistakes)),
            ["spec.nmae: is not a key known here; did you mean name?", "spec.5: is not a key known here"],
        )

    def test_all_mistakes_come_at_once(self) -> None:
        """
        In one error; none where there are none.
        """
        refuse("file", [])
        error = self.assertRaises(TeleportError, refuse, "file", [Mistake("a.b", "x"), Mistake("", "y")])
        self.assertIs(error.kind, Kind.BAD_PARAMETER)
        self.assertEqual(str(error), "file: a.b: x; y")

    def test_suggestions(self) -> None:
        """
        Only near words are suggested.
        """
        self.assertEqual(suggestion("logns", ["logins"]), "; did you mean logins?")
        self.assertEqual(suggestion("zzz", ["logins"]), "")
