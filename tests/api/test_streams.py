"""
The first words of a stream, and what is not taken for them.
"""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.proto import tunnel_pb2 as pb
from teleport_tw.api.streams import (
    MAX_BYTES,
    Prefixed,
    StreamHeader,
    address_text,
    decode_answer,
    decode_header,
    encode_answer,
    encode_header,
)
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError

headers = st.builds(
    StreamHeader,
    target_kind=st.text(max_size=10),
    target_name=st.text(max_size=10),
    login=st.text(max_size=10),
    client_address=st.text(max_size=10),
    user_certificates=st.lists(st.binary(max_size=50), max_size=3).map(tuple),
    session_id=st.text(max_size=10),
    trace=st.text(max_size=10),
    opening=st.binary(max_size=50),
)


class HeaderTests(SynchronousTestCase):
    """
    Headers and answers, both ways.
    """

    @given(headers, st.binary(max_size=5), st.integers(1, 40))
    def test_round_trip_in_pieces(self, header: StreamHeader, rest: bytes, size: int) -> None:
        whole, prefixed, body = encode_header(header) + rest, Prefixed(), None
        position = 0
        while body is None:
            body = prefixed.feed(whole[position : position + size])
            position += size
        self.assertEqual(decode_header(body), header)
        self.assertTrue(rest.startswith(prefixed.rest))

    def test_layout(self) -> None:
        self.assertEqual(encode_header(StreamHeader(target_kind="node")), b"\0\0\0\x06\x0a\x04node")
        self.assertEqual(encode_answer(), b"\0\0\0\x02\x0a\x00")

    def test_every_kind_of_error_arrives(self) -> None:
        for kind in Kind:
            error = decode_answer(encode_answer(TeleportError(kind, "so it is", details="secret"))[4:])
            assert error is not None
            self.assertEqual((error.kind, error.message, error.details), (kind, "so it is", ""))

    def test_an_error_of_a_newer_peer(self) -> None:
        message = pb.StreamAnswer(error=pb.StreamError(kind=99, message="new"))  # type: ignore[arg-type]
        error = decode_answer(message.SerializeToString())
        assert error is not None
        self.assertEqual((error.kind, error.message), (Kind.CONNECTION_PROBLEM, "new"))

    def test_no_answer_at_all(self) -> None:
        with self.assertRaises(RemoteProtocolError):
            decode_answer(b"")

    def test_a_header_that_is_too_long_is_not_sent(self) -> None:
        with self.assertRaises(TeleportError) as caught:
            encode_header(StreamHeader(target_kind="node", user_certificates=(bytes(MAX_BYTES),)))
        self.assertIs(caught.exception.kind, Kind.LIMIT_EXCEEDED)

    def test_a_message_that_is_too_long_is_refused_at_its_length(self) -> None:
        with self.assertRaises(RemoteProtocolError):
            Prefixed().feed((MAX_BYTES + 1).to_bytes(4, "big"))
        self.assertIsNone(Prefixed().feed(MAX_BYTES.to_bytes(4, "big")))

    @given(st.binary(max_size=60))
    def test_garbage(self, data: bytes) -> None:
        for decode in (decode_header, decode_answer):
            with contextlib.suppress(RemoteProtocolError):
                decode(data)


class AddressTests(SynchronousTestCase):
    """
    The client's address, as text and as Twisted has it.
    """

    def test_both_ways(self) -> None:
        for address, text in (
            (IPv4Address("TCP", "192.0.2.7", 50000), "192.0.2.7:50000"),
            (IPv6Address("TCP", "2001:db8::1", 22), "[2001:db8::1]:22"),
        ):
            self.assertEqual(address_text(address), text)
            self.assertEqual(StreamHeader(target_kind="node", client_address=text).address(), address)

    def test_no_address(self) -> None:
        self.assertEqual(address_text(UNIXAddress(b"/run/x")), "")
        for text in ("", "somewhere", "host.example.com:22", "192.0.2.7:ssh", "1.2.3.4"):
            self.assertIsNone(StreamHeader(target_kind="node", client_address=text).address())
