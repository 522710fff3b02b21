"""
What a request may say.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.web.shapes import FREE, Flag, Many, Shape, Table, Text, Whole, query_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

SHAPES: tuple[Shape, ...] = (
    Text(least=1, most=5),
    Text(choices=("a", "b")),
    Text(pattern="[0-9]+"),
    Whole(least=-3, most=3),
    Flag(),
    Many(of=Text(), most=2),
    Table(members={"a": Text(), "b": Whole()}, needs=("a",)),
    FREE,
)

GOOD: tuple[tuple[Shape, Any], ...] = (
    (Text(least=1, most=5), "héllo"),
    (Text(choices=("a", "b")), "b"),
    (Text(pattern="[0-9]+"), "12"),
    (Whole(least=-3, most=3), -3),
    (Whole(), 5.0),
    (Flag(), False),
    (Table(members={"a": Text(), "b": Whole()}, needs=("a",)), {"a": "", "b": 1}),
    (FREE, {"x": [1, {"y": None}]}),
)

BAD: tuple[tuple[Shape, Any], ...] = (
    (Text(), None),
    (Text(), 5),
    (Text(), ["a"]),
    (Text(least=1), ""),
    (Text(most=2), "abc"),
    (Text(choices=("a",)), "b"),
    (Text(pattern="[0-9]+"), "12\n"),
    (Text(pattern="[0-9]+"), "1a"),
    (Text(), "\ud800"),
    (Whole(), True),
    (Whole(), "5"),
    (Whole(), 5.5),
    (Whole(), float("inf")),
    (Whole(most=5), 6),
    (Whole(), 10**400),
    (Flag(), 1),
    (Flag(), "true"),
    (Many(of=Text(), most=1), ["a", "b"]),
    (Many(of=Text()), "ab"),
    (Many(of=Text()), [1]),
    (Table(), {"a": 1}),
    (Table(), []),
    (Table(members={"a": Text()}, needs=("a",)), {}),
    (Table(members={"a": Text()}), {"a": None}),
)


class ShapesTests(SynchronousTestCase):
    """
    Good values come through, all others are the sender's mistake.
    """

    def test_good(self) -> None:
        """A value as described is taken as it is."""
        for shape, value in GOOD:
            self.assertEqual(shape.check(value, "it"), value)
        self.assertEqual(Many(of=Text()).check(["a", "b"], "it"), ("a", "b"))

    def test_bad(self) -> None:
        """Any other is told by its name."""
        for shape, value in BAD:
            error = self.assertRaises(TeleportError, shape.check, value, "the_member")
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)
            self.assertLess(len(error.message), 300)
        nested = Table(members={"list": Many(of=Table(members={"a": Flag()}))})
        error = self.assertRaises(TeleportError, nested.check, {"list": [{"a": True}, {"a": 1}]}, "the body")
        self.assertIn("list[1].a", error.message)

    @given(JSON, st.sampled_from(SHAPES))
    def test_anything(self, value: Any, shape: Shape) -> None:
        """Nothing that JSON can say ends in anything else."""
        try:
            shape.check(value, "it")
        except TeleportError as error:
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)

    @given(st.dictionaries(st.binary(max_size=8), st.lists(st.binary(max_size=8), max_size=3), max_size=3))
    def test_any_query(self, args: dict[bytes, list[bytes]]) -> None:
        """Nor anything that an address can say."""
        shapes = {"n": Whole(), "f": Flag(), "t": Text(), "m": Many(of=Whole())}
        for each in (args, {b"n": [next(iter(args), b"")]}, {b"m": [next(iter(args), b"")]}):
            try:
                query_of(shapes, each)
            except TeleportError as error:
                self.assertEqual(error.kind, Kind.BAD_PARAMETER)

    def test_queries(self) -> None:
        """Texts become what they are described as."""
        shapes: dict[str, Shape] = {
            "n": Whole(least=-9),
            "f": Flag(),
            "t": Text(),
            "m": Many(of=Text(choices=("a", "b"))),
        }
        told = {b"n": [b"-5"], b"f": [b"true"], b"t": ["é".encode()], b"m": [b"a;b;"]}
        self.assertEqual(query_of(shapes, told), {"n": -5, "f": True, "t": "é", "m": ("a", "b")})
        for wrong in ({b"x": [b"1"]}, {b"n": [b"1", b"2"]}, {b"n": ["²".encode()]}, {b"n": [b"1e3"]}, {b"f": [b"yes"]}):
            self.assertRaises(TeleportError, query_of, shapes, wrong)
        self.assertRaises(TeleportError, Table().read, "{}", "it")

    def test_described(self) -> None:
        """Each shape tells JSON Schema of itself; secrets say so."""
        for shape in SHAPES:
            self.assertIn(shape.describe()["type"], ("string", "integer", "boolean", "array", "object"))
        self.assertEqual(Text(secret=True, about="x").describe()["format"], "password")
        self.assertEqual(Text(pattern="a|b").describe()["pattern"], "^(?:a|b)$")
        self.assertFalse(Table().describe()["additionalProperties"])
