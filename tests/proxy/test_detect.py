"""
Tests for L{teleport_tw.proxy.detect}, on ClientHellos of OpenSSL.
"""

from __future__ import annotations

import contextlib
import ssl

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.proxy.detect import NO_TLS, PLAIN_HTTP, PLAIN_SSH, TLS_ALERT, Port, Refused, Step, Want, detect

CLUSTER = "example.com"
HEX = CLUSTER.encode().hex()


def hello(*alpn: str, sni: str = "proxy.example.com") -> bytes:
    """
    The first flight of a client.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=sni)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


WANTED: list[tuple[bytes, Want]] = [
    (hello(), Want.UNNAMED),
    (hello("http/1.1"), Want.WEB),
    (hello("h2"), Want.WEB),
    (hello("h2", "http/1.1"), Want.WEB),
    (hello("acme", "h2"), Want.WEB),
    (hello("teleport-reversetunnel"), Want.TUNNEL),
    (hello("teleport-proxy-ssh"), Want.SSH),
    (hello("teleport-proxy-ssh-dial"), Want.DIAL),
    (hello("h2", "teleport-proxy-ssh-dial"), Want.DIAL),
    (hello("teleport-postgres"), Want.POSTGRES),
    (hello("postgresql"), Want.POSTGRES),
    (hello("teleport-cockroachdb"), Want.COCKROACHDB),
    (hello("teleport-mysql"), Want.MYSQL),
    (hello("teleport-mysql-OC4wLjM1"), Want.MYSQL),
    (hello("teleport-mongodb"), Want.MONGODB),
    (hello("teleport-redis"), Want.REDIS),
    (hello("teleport-auth@"), Want.AUTH),
    (hello(f"teleport-auth@{CLUSTER}"), Want.AUTH),
    (hello("h2", sni=f"{HEX}.teleport.cluster.local"), Want.AUTH),
    (hello(sni=f"{HEX}.teleport.cluster.local"), Want.AUTH),
]
REFUSED: list[tuple[bytes, bytes, str]] = [
    (hello("teleport-auth@other"), b"\x70", "no cluster is known as teleport-auth@other"),
    (hello("h2", sni="00.teleport.cluster.local"), b"\x70", "no cluster is known as 00.teleport"),
    (hello("teleport-oracle"), b"\x78", "no service for ALPN teleport-oracle"),
    (hello("teleport-mysql-ping"[:8]), b"\x78", "no service for ALPN teleport"),
    (hello("acme-tls/1", "x"), b"\x78", "no service for ALPN acme-tls/1, x"),
    (b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03ab", b"\x32", ""),
]


class DetectTests(SynchronousTestCase):
    """
    First bytes and what they want.
    """

    def test_wanted(self) -> None:
        """
        Known at the last byte of the ClientHello, and not one earlier; what follows does not matter.
        """
        for data, want in WANTED:
            self.assertIs(detect(data, CLUSTER), want)
            self.assertIs(detect(data + b"more", CLUSTER), want)
        first = WANTED[0][0]
        self.assertEqual({detect(first[:size], CLUSTER) for size in range(1, len(first))}, {None})

    def test_refused(self) -> None:
        """
        A fatal alert says why, in TLS's own form.
        """
        for data, alert, reason in REFUSED:
            found = detect(data, CLUSTER)
            assert isinstance(found, Refused), data
            self.assertEqual(found.farewell, TLS_ALERT + alert)
            self.assertIn(reason, found.reason)

    def test_other_protocols(self) -> None:
        """
        Somebody who speaks something else is told in its words, or not at all.
        """
        for data, farewell in (
            (b"GET / HTTP/1.1\r\n", PLAIN_HTTP),
            (b"SSH-2.0-OpenSSH_9.2\r\n", PLAIN_SSH),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", b""),
        ):
            found = detect(data, CLUSTER)
            assert isinstance(found, Refused), data
            self.assertEqual(found.farewell, farewell)
        self.assertIsNone(detect(b"S", CLUSTER))

    def test_the_answer_to_http_is_whole(self) -> None:
        """
        Its length is the one it says.
        """
        head, _, body = PLAIN_HTTP.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)


SSL_REQUEST = bytes.fromhex("0000000804d2162f")
GSSENC_REQUEST = bytes.fromhex("0000000804d21630")
CANCEL_REQUEST = bytes.fromhex("0000001004d2162e0000000100000002")
STARTUP = bytes.fromhex("0000001300030000") + b"user\0bob\0\0"
STARTUP_32 = bytes.fromhex("0000001300030002") + b"user\0bob\0\0"
MYSQL_SSL = bytes.fromhex("20000001 85aeff19 00000001 2d") + bytes(23)
MYSQL_PLAIN = bytes.fromhex("54000001 85a6ff19 00000001 2d") + bytes(23)


class DatabaseTests(SynchronousTestCase):
    """
    What database clients begin with.
    """

    def test_postgres_asks_for_tls(self) -> None:
        """
        On the one port and on its own, in every split; nothing behind the request is taken for part of it.
        """
        for port in (Port.WEB, Port.POSTGRES):
            for size in range(1, 8):
                self.assertIsNone(detect(SSL_REQUEST[:size], CLUSTER, port))
            for tail in (b"", hello()):
                self.assertEqual(detect(SSL_REQUEST + tail, CLUSTER, port), Step(8, b"S", Want.POSTGRES))

    def test_postgres_asks_for_kerberos_first(self) -> None:
        """
        It is told no, once, and goes on to TLS.
        """
        self.assertEqual(detect(GSSENC_REQUEST, CLUSTER), Step(8, b"N", None))
        self.assertIsInstance(detect(GSSENC_REQUEST, CLUSTER, again=True), Refused)
        self.assertEqual(detect(SSL_REQUEST, CLUSTER, again=True), Step(8, b"S", Want.POSTGRES))

    def test_postgres_without_tls(self) -> None:
        """
        Told so in its own words; a request to cancel gets no answer from any server.
        """
        for packet in (STARTUP, STARTUP_32):
            for again in (False, True):
                self.assertEqual(detect(packet, CLUSTER, again=again), Refused(b"", NO_TLS, "postgres"))
        for packet in (CANCEL_REQUEST, b"\0" * 8, SSL_REQUEST[:3] + b"\x09" + SSL_REQUEST[4:]):
            found = detect(packet, CLUSTER)
            assert isinstance(found, Refused)
            self.assertEqual((found.farewell, found.protocol), (b"", ""))
        found = detect(b"\x16\x03\x01\x00", CLUSTER, again=True)
        self.assertIsNone(found)
        self.assertIsInstance(detect(hello(), CLUSTER, again=True), Refused)

    def test_own_ports(self) -> None:
        """
        TLS for the port's own database, with its ALPN or none.
        """
        for port, want, alpn in (
            (Port.POSTGRES, Want.POSTGRES, "postgresql"),
            (Port.MONGODB, Want.MONGODB, "teleport-mongodb"),
            (Port.REDIS, Want.REDIS, "teleport-redis"),
        ):
            for data in (hello(), hello(alpn), hello("h2", alpn)):
                self.assertIs(detect(data, CLUSTER, port), want)
            for wrong in ("h2", "teleport-reversetunnel", "teleport-auth@"):
                found = detect(hello(wrong), CLUSTER, port)
                assert isinstance(found, Refused)
                self.assertEqual(found.farewell, TLS_ALERT + b"\x78")

    def test_own_ports_without_tls(self) -> None:
        """
        Told so in the port's own words.
        """
        for port, data, protocol in (
            (Port.REDIS, b"*1\r\n$4\r\nPING\r\n", "redis"),
            (Port.MONGODB, b"\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\x07\0\0", "mongodb"),
            (Port.MONGODB, b"\0", "mongodb"),
            (Port.POSTGRES, b"GET / HTTP/1.1\r\n", "postgres"),
        ):
            self.assertEqual(detect(data, CLUSTER, port), Refused(b"", NO_TLS, protocol))

    def test_mysql(self) -> None:
        """
        After the greeting: a request of TLS, whole, or it is told.
        """
        for size in range(1, len(MYSQL_SSL)):
            self.assertIsNone(detect(MYSQL_SSL[:size], CLUSTER, Port.MYSQL))
        self.assertEqual(detect(MYSQL_SSL + hello(), CLUSTER, Port.MYSQL), Step(36, b"", Want.MYSQL))
        for plain in (MYSQL_PLAIN, b"\x20" + MYSQL_PLAIN[1:]):
            self.assertEqual(detect(plain, CLUSTER, Port.MYSQL), Refused(b"", NO_TLS, "mysql"))
        found = detect(hello(), CLUSTER, Port.MYSQL)
        assert isinstance(found, Refused)
        self.assertEqual(found.protocol, "")
