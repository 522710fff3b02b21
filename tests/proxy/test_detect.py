"""
Tests for L{teleport_tw.proxy.detect}, on ClientHellos of OpenSSL.
"""

from __future__ import annotations

import contextlib
import ssl

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.proxy.detect import PLAIN_HTTP, PLAIN_SSH, TLS_ALERT, Refused, Want, detect

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
    (hello(), Want.WEB),
    (hello("http/1.1"), Want.WEB),
    (hello("h2"), Want.WEB),
    (hello("h2", "http/1.1"), Want.WEB),
    (hello("acme", "h2"), Want.WEB),
    (hello("teleport-reversetunnel"), Want.TUNNEL),
    (hello("teleport-proxy-ssh"), Want.SSH),
    (hello("teleport-proxy-ssh-dial"), Want.DIAL),
    (hello("h2", "teleport-proxy-ssh-dial"), Want.DIAL),
    (hello("teleport-auth@"), Want.AUTH),
    (hello(f"teleport-auth@{CLUSTER}"), Want.AUTH),
    (hello("h2", sni=f"{HEX}.teleport.cluster.local"), Want.AUTH),
    (hello(sni=f"{HEX}.teleport.cluster.local"), Want.AUTH),
]
REFUSED: list[tuple[bytes, bytes, str]] = [
    (hello("teleport-auth@other"), b"\x70", "no cluster is known as teleport-auth@other"),
    (hello("h2", sni="00.teleport.cluster.local"), b"\x70", "no cluster is known as 00.teleport"),
    (hello("teleport-postgres"), b"\x78", "no service for ALPN teleport-postgres"),
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
