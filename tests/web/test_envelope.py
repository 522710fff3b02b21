"""
Envelopes, and what is none.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import teleport_tw.web
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.web.envelope import Envelope, bounded, parse_object, size
from teleport_tw.web.greeting import Greeting

ENVELOPES = st.builds(
    Envelope,
    st.sampled_from("rwaceslnmpq"),
    st.binary(max_size=300),
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    st.integers(0, 2**40),
)

DECODER = Path(next(iter(teleport_tw.web.__path__))) / "static" / "app" / "terminal" / "envelope.js"

_SCRIPT = """
import { decode, encode } from %s;
const lines = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify(lines.map((hex) => {
  const { type, payload, offset, received, ms } = decode(Buffer.from(hex, "hex"));
  return [type, Buffer.from(payload).toString("hex"), offset, received, ms,
    Buffer.from(encode(type, payload, { offset, received })).toString("hex")];
})));
"""


class EnvelopeTests(SynchronousTestCase):
    """
    Both ways.
    """

    def test_vector(self) -> None:
        """The bytes that the documentation has."""
        message = Envelope("r", b"hi", offset=300, received=5)
        self.assertEqual(message.encode().hex(), "0a01311201721a026869" + "20ac02" + "2805")
        self.assertEqual(Envelope.decode(message.encode()), message)

    @given(ENVELOPES)
    def test_round_trip(self, message: Envelope) -> None:
        """What was encoded is what is decoded."""
        self.assertEqual(Envelope.decode(message.encode()), message)

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """It is an envelope, or refused as none; so is its payload."""
        for read in (lambda: Envelope.decode(data).json(), lambda: size(Envelope.decode(data).text())):
            with contextlib.suppress(RemoteProtocolError):
                read()

    def test_another_version(self) -> None:
        """Is not understood."""
        self.assertRaises(RemoteProtocolError, Envelope.decode, bytes.fromhex("0a0132120172"))

    def test_size(self) -> None:
        """Of a terminal, within what one has."""
        self.assertEqual(size("80:24"), (80, 24))
        self.assertEqual(size("0:99999"), (1, 1000))
        for wrong in ("", "80", "80:", ":24", "-1:5", "a:b", "80:24:1", "٣:٣", "9" * 30 + ":1"):
            self.assertRaises(RemoteProtocolError, size, wrong)
        self.assertEqual(bounded(-5), 1)

    def test_objects(self) -> None:
        """Anything but a JSON object is refused, nested however deep."""
        for wrong in ("[]", "1", "", "{", "null", "[" * 100_000):
            self.assertRaises(RemoteProtocolError, parse_object, wrong)

    def test_greeting(self) -> None:
        """Members of another sort are refused."""
        self.assertEqual(Greeting.parse({"resume": "x", "received": 5}), Greeting(resume="x", received=5))
        for wrong in ({"resume": 1}, {"received": -1}, {"received": True}, {"received": 1.5}, {"received": "1"}):
            self.assertRaises(RemoteProtocolError, Greeting.parse, wrong)


class PageTests(SynchronousTestCase):
    """
    The page's own decoder, in node.
    """

    def test_the_page_reads_the_same(self) -> None:
        """Every field, and back."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("node is not installed")
        messages = [
            Envelope("r", b"", 0, 0),
            Envelope("r", bytes(range(256)) * 300, 2**40 + 3, 2**53 - 1, 2**33),
            Envelope.of("c", {"code": "größe", "status": None}),
            Envelope("w", b"80:24", ms=127),
            Envelope("a", b"{}", ms=128),
        ]
        script = _SCRIPT % json.dumps(str(DECODER))
        done = subprocess.run(
            [node, "--input-type=module", "-e", script],
            input=json.dumps([each.encode().hex() for each in messages]),
            capture_output=True,
            text=True,
            check=True,
        )
        for message, (type, payload, offset, received, ms, again) in zip(
            messages, json.loads(done.stdout), strict=True
        ):
            self.assertEqual(Envelope(type, bytes.fromhex(payload), offset, received, ms), message)
            told = Envelope.decode(bytes.fromhex(again))
            self.assertEqual((told.payload, told.offset, told.received), (message.payload, offset, received))
