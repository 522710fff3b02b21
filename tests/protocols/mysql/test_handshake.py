"""
Packets of a login: captures, round trips, garbage.
"""

from __future__ import annotations

import contextlib

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql import handshake
from teleport_tw.protocols.mysql.capabilities import GENERAL, Capability
from teleport_tw.protocols.mysql.messages import (
    AuthMore,
    AuthSwitch,
    Err,
    Greeting,
    HandshakeResponse,
    Ok,
    SslRequest,
)
from teleport_tw.protocols.mysql.wire import Packets

C = Capability

# MariaDB 10.11.19, over TCP.
MARIADB = bytes.fromhex(
    "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275310004000000327d426d24644f3e00feff080200ff8115000000"
    "0000001d0000002748732c7c4f553f7862603c006d7973716c5f6e61746976655f70617373776f726400"
)
# Laid out as MySQL 5.5.2 greets: without plugins, so that nothing follows the scramble.
OLD = bytes.fromhex(
    "0a352e352e322d6d32000b00000064764840492d434a00fff7080200000000000000000000000000002a34647c635a776b345e5d3a00"
)
WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)


class GreetingTests(SynchronousTestCase):
    """
    The server speaks first.
    """

    def test_of_mariadb(self) -> None:
        """
        Its prefix is its own affair, and its capabilities go beyond 32 bits.
        """
        greeting = handshake.parse_greeting(MARIADB)
        assert isinstance(greeting, Greeting)
        self.assertEqual(greeting.version, "10.11.19-MariaDB-0+deb12u1")
        self.assertEqual((greeting.is_mariadb, greeting.connection_id), (True, 4))
        self.assertEqual(greeting.scramble, b"2}Bm$dO>'Hs,|OU?xb`<")
        self.assertTrue(greeting.capabilities & C.MARIADB_CACHE_METADATA)
        self.assertEqual(handshake.encode_greeting(greeting), MARIADB)

    def test_of_an_old_server(self) -> None:
        """
        Which names no plugin.
        """
        greeting = handshake.parse_greeting(OLD)
        assert isinstance(greeting, Greeting)
        self.assertEqual((greeting.version, greeting.plugin), ("5.5.2-m2", "mysql_native_password"))
        self.assertEqual(greeting.scramble, b"dvH@I-CJ*4d|cZwk4^]:")

    def test_short(self) -> None:
        """
        Of before 4.1; and without what its capabilities do not promise.
        """
        greeting = handshake.parse_greeting(b"\x0a3.23\0\x01\0\0\0abcdefgh\0\x2c\0")
        assert isinstance(greeting, Greeting)
        self.assertEqual((greeting.capabilities, greeting.scramble), (C(0x2C), b"abcdefgh"))
        greeting = handshake.parse_greeting(b"\x0a4.1\0\x01\0\0\0abcdefgh\0\x01\x02" + b"\x08\x02\0\0\0\0" + bytes(10))
        assert isinstance(greeting, Greeting)
        self.assertEqual((greeting.capabilities, greeting.scramble), (C(0x201), b"abcdefgh"))

    def test_refusal(self) -> None:
        """
        A server may refuse before it greets, without a state.
        """
        self.assertEqual(
            handshake.parse_greeting(b"\xff\x10\x04Too many connections"),
            Err(errno=1040, message="Too many connections"),
        )

    def test_other_versions(self) -> None:
        """
        Nothing else greets.
        """
        for octets in (b"", b"\x09", b"SSH-2.0"):
            self.assertRaises(RemoteProtocolError, handshake.parse_greeting, octets)

    def test_of_a_proxy(self) -> None:
        """
        It offers TLS, and what every server behind it can do.
        """
        for version, is_mariadb in (("8.0.0-Teleport", False), ("10.6.1-MariaDB", True)):
            packet = handshake.proxy_greeting(7, b"x" * 20, version)
            [payload] = Packets().feed(packet)
            greeting = handshake.parse_greeting(payload)
            assert isinstance(greeting, Greeting)
            self.assertEqual((greeting.version, greeting.is_mariadb), (version, is_mariadb))
            self.assertEqual(greeting.capabilities, GENERAL | C.SSL)
            self.assertEqual(greeting.connection_id, 0x80000007)

    @given(st.binary(max_size=120))
    def test_garbage(self, octets: bytes) -> None:
        """
        Ends in one kind of error only.
        """
        for parse in (
            handshake.parse_greeting,
            handshake.parse_response,
            lambda data: handshake.parse_answer(data, C.SESSION_TRACK),
        ):
            for data in (
                octets,
                MARIADB[: len(octets)] + octets,
                b"\x0a5\0" + octets,
                b"\0\x02\0\0" + octets,
                b"\xff\xff\xff\xff" + octets,
            ):
                with contextlib.suppress(RemoteProtocolError):
                    parse(data)


class ResponseTests(SynchronousTestCase):
    """
    Who the client is.
    """

    # PyMySQL 1.2.4 to MariaDB, user alice, no password, database app.
    PYMYSQL = bytes.fromhex(
        "0da23a00ffffff002d0000000000000000000000000000000000000000000000616c6963650000617070006d7973716c5f6e61746976655f70"
        "617373776f726400350c5f636c69656e745f6e616d650770796d7973716c0f5f636c69656e745f76657273696f6e05312e322e34045f706964"
        "0434393436"
    )

    def test_a_driver(self) -> None:
        """
        As it comes.
        """
        response = handshake.parse_response(self.PYMYSQL)
        assert isinstance(response, HandshakeResponse)
        self.assertEqual((response.username, response.database), ("alice", "app"))
        self.assertEqual((response.plugin, response.auth.reveal()), ("mysql_native_password", b""))
        self.assertEqual(response.attributes, {"_client_name": "pymysql", "_client_version": "1.2.4", "_pid": "4946"})
        self.assertEqual(handshake.encode_response(response), self.PYMYSQL)

    @given(
        st.sampled_from([C.SECURE_CONNECTION, C.SECURE_CONNECTION | C.PLUGIN_AUTH_LENENC_CLIENT_DATA, C(0)]),
        st.sampled_from([C.CONNECT_WITH_DB, C.PLUGIN_AUTH, C.CONNECT_ATTRS, C.ZSTD_COMPRESSION_ALGORITHM, C(0)]),
        st.sampled_from([C.LONG_PASSWORD, C.MARIADB_PROGRESS]),
        WORDS,
        st.binary(max_size=40).map(lambda octets: octets.replace(b"\0", b"")),
        st.dictionaries(WORDS, WORDS, max_size=3),
        st.integers(0, 255),
    )
    def test_round_trip(
        self,
        auth: Capability,
        more: Capability,
        which: Capability,
        word: str,
        proof: bytes,
        attributes: dict[str, str],
        number: int,
    ) -> None:
        """
        Whatever the capabilities say is there is there.
        """
        taken = C.PROTOCOL_41 | auth | more | which
        sent = HandshakeResponse(
            capabilities=taken,
            username=word,
            auth=Secret(proof),
            database=word if more & C.CONNECT_WITH_DB else "",
            plugin=word if more & C.PLUGIN_AUTH else "",
            attributes=attributes if more & C.CONNECT_ATTRS else {},
            charset=number,
            zstd_level=number if more & C.ZSTD_COMPRESSION_ALGORITHM else 3,
        )
        self.assertEqual(handshake.parse_response(handshake.encode_response(sent)), sent)

    def test_left_out(self) -> None:
        """
        Clients leave out what their flags promise, at the end.
        """
        everything = (
            C.PROTOCOL_41
            | C.SECURE_CONNECTION
            | C.CONNECT_WITH_DB
            | C.PLUGIN_AUTH
            | C.CONNECT_ATTRS
            | C.ZSTD_COMPRESSION_ALGORITHM
        )
        bare = HandshakeResponse(capabilities=C.PROTOCOL_41 | C.SECURE_CONNECTION, username="a")
        octets = int(everything).to_bytes(4, "little") + handshake.encode_response(bare)[4:]
        self.assertEqual(handshake.parse_response(octets), evolve(bare, capabilities=everything))

    def test_request_for_tls(self) -> None:
        """
        Its first half.
        """
        request = SslRequest(capabilities=C.PROTOCOL_41 | C.SSL | C.MARIADB_PROGRESS, charset=8)
        octets = handshake.encode_ssl_request(request)
        self.assertEqual(len(octets), handshake.SSL_REQUEST_BYTES)
        self.assertEqual(handshake.parse_response(octets), request)

    def test_before_4_1(self) -> None:
        """
        Nobody speaks that any more.
        """
        self.assertRaises(RemoteProtocolError, handshake.parse_response, bytes(40))


class AnswerTests(SynchronousTestCase):
    """
    What a server says to it.
    """

    # MariaDB 10.11.19: COM_INIT_DB with SESSION_TRACK.
    TRACKED = bytes.fromhex("000000024000000006010403617070")

    def test_ok(self) -> None:
        """
        With the schema that the session is in, where it is told.
        """
        ok = handshake.parse_ok(self.TRACKED, True)
        self.assertEqual((ok.schema, ok.status), ("app", 0x4002))
        for ok in (Ok(affected=3, last_insert_id=300, status=2, warnings=1, info="fine"), Ok()):
            self.assertEqual(handshake.parse_ok(handshake.encode_ok(ok)), ok)
        self.assertEqual(handshake.parse_ok(handshake.encode_ok(Ok()), True), Ok())
        self.assertEqual(handshake.parse_ok(b"\0\0\0\2\0\0\0\2hi", True), Ok(status=2, info="hi"))
        # a variable changed and no schema
        other = bytes.fromhex("000000024000000006000403617070")
        self.assertIsNone(handshake.parse_ok(other, True).schema)
        self.assertIsNone(handshake.parse_ok(bytes.fromhex("0000000240000000"), True).schema)

    def test_errors(self) -> None:
        """
        With the state that belongs to the number.
        """
        self.assertEqual(handshake.error(1045, "no"), b"\xff\x15\x04#28000no")
        self.assertEqual(handshake.parse_error(handshake.error(1, "no")), Err(errno=1, message="no"))
        self.assertEqual(str(Err(errno=1045, message="no", state="28000")), "1045 (28000): no")

    def test_each_kind(self) -> None:
        """
        By its first byte.
        """
        for octets, answer in [
            (handshake.encode_ok(Ok()), Ok()),
            (handshake.error(1, "x"), Err(errno=1, message="x")),
            (handshake.encode_more(AuthMore(b"\3")), AuthMore(b"\3")),
            (handshake.encode_switch(AuthSwitch("p", b"data")), AuthSwitch("p", b"data")),
            (b"\xfe", AuthSwitch("mysql_old_password", b"")),
        ]:
            self.assertEqual(handshake.parse_answer(octets, C(0)), answer)
        for octets in (b"", b"\x05", b"\xfep"):
            self.assertRaises(RemoteProtocolError, handshake.parse_answer, octets, C(0))
