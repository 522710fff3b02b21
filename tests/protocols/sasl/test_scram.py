"""
SCRAM by the vectors of its RFCs, face to face, and against peers that cheat.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.sasl import scram
from teleport_tw.protocols.sasl.scram import Binding, Client, Keys, Mechanism, Server, prepared

VECTORS: list[dict[str, Any]] = [
    {  # RFC 5802 section 5
        "mechanism": Mechanism.SHA_1,
        "nonce": "fyko+d2lbbFgONRv9qkxdawL",
        "server_nonce": "3rfcNHYJY1ZVvWVs7j",
        "salt": "QSXCR+Q6sek8bf92",
        "first": b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "challenge": b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "final": b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "outcome": b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    {  # RFC 7677 section 3
        "mechanism": Mechanism.SHA_256,
        "nonce": "rOprNGfwEbeRWgbNEkqO",
        "server_nonce": "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "salt": "W22ZaJ0SNY7soEsUEjb6gQ==",
        "first": b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "challenge": b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "final": (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        ),
        "outcome": b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
]
CHANNEL = hashlib.sha256(b"a certificate").digest()
PENCIL = Secret(b"pencil")


def keys(mechanism: Mechanism = Mechanism.SHA_256, password: bytes = b"pencil", count: int = 16) -> Keys:
    """Of a password, cheap."""
    return Keys.of(mechanism, Secret(password), b"salt of the server", count)


def meet(client: Client, server: Server) -> None:
    """All four messages."""
    client.finish(server.outcome(client.final(server.challenge(client.first()))))


class VectorTests(SynchronousTestCase):
    """
    The RFCs' own exchanges.
    """

    def test_both_ends_say_what_the_rfcs_say(self) -> None:
        """
        Byte for byte.
        """
        for vector in VECTORS:
            client = Client(vector["mechanism"], PENCIL, "user", nonce=vector["nonce"])
            made = Keys.of(vector["mechanism"], PENCIL, base64.b64decode(vector["salt"]), 4096)
            server = Server(vector["mechanism"], made, nonce=vector["server_nonce"])
            self.assertEqual(client.first(), vector["first"])
            self.assertEqual(server.challenge(vector["first"]), vector["challenge"])
            self.assertEqual(client.final(vector["challenge"]), vector["final"])
            self.assertEqual(server.outcome(vector["final"]), vector["outcome"])
            self.assertFalse(client.verified)
            client.finish(vector["outcome"])
            self.assertTrue(client.verified)
            self.assertEqual(server.username, "user")

    def test_passwords_are_prepared(self) -> None:
        """
        RFC 4013 section 3; what it forbids goes as it is.
        """
        for password, wanted in [
            ("pencil", b"pencil"),
            ("I\u00adX", b"IX"),
            ("\u00aa", b"a"),
            ("\u2168", b"IX"),
            ("a\u00a0b", b"a b"),
            ("\u0627\u0031", "\u0627\u0031".encode()),
            ("\u0627\u0628", "\u0627\u0628".encode()),
            ("\u0627a\u0628", "\u0627a\u0628".encode()),
            ("\u00ad", "\u00ad".encode()),
            ("\u0080", "\u0080".encode()),
        ]:
            self.assertEqual(prepared(password), wanted)


class MeetingTests(SynchronousTestCase):
    """
    Client and server face to face.
    """

    @given(
        st.sampled_from(list(Mechanism)),
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20),
        st.binary(min_size=1, max_size=20),
        st.sampled_from(list(Binding)),
    )
    def test_the_right_password_is_proved(
        self, mechanism: Mechanism, name: str, password: bytes, binding: Binding
    ) -> None:
        """
        Whatever the names, with binding and without.
        """
        channel = b"" if binding is Binding.NOT_OFFERED else CHANNEL
        client = Client(mechanism, Secret(password), name, binding, CHANNEL)
        server = Server(mechanism, keys(mechanism, password), channel)
        meet(client, server)
        self.assertEqual(server.username, name)

    def test_a_wrong_password_is_refused(self) -> None:
        """
        By the server.
        """
        client, server = Client(Mechanism.SHA_256, Secret(b"pen")), Server(Mechanism.SHA_256, keys())
        self.assertRaisesRegex(RemoteProtocolError, "wrong", meet, client, server)

    def test_a_server_that_does_not_know_the_password_is_found_out(self) -> None:
        """
        It can take any proof, and not make its own.
        """
        client, server = Client(Mechanism.SHA_256, PENCIL), Server(Mechanism.SHA_256, keys())
        client.final(server.challenge(client.first()))
        self.assertRaises(RemoteProtocolError, client.finish, b"v=" + base64.b64encode(bytes(32)))
        self.assertFalse(client.verified)

    def test_somebody_in_between_is_found_out(self) -> None:
        """
        Another channel; and a client that was told that binding is not offered.
        """
        client = Client(Mechanism.SHA_256, PENCIL, binding=Binding.BOUND, channel=b"theirs")
        self.assertRaisesRegex(RemoteProtocolError, "channel", meet, client, Server(Mechanism.SHA_256, keys(), CHANNEL))
        client = Client(Mechanism.SHA_256, PENCIL, binding=Binding.NOT_OFFERED)
        self.assertRaisesRegex(
            RemoteProtocolError, "did not hear", meet, client, Server(Mechanism.SHA_256, keys(), CHANNEL)
        )
        client = Client(Mechanism.SHA_256, PENCIL, binding=Binding.BOUND, channel=CHANNEL)
        self.assertRaisesRegex(RemoteProtocolError, "not offered", meet, client, Server(Mechanism.SHA_256, keys()))


class CheatingTests(SynchronousTestCase):
    """
    Messages that are none.
    """

    def test_challenges_that_are_none(self) -> None:
        """
        Other nonces, no work, too much work, broken base64.
        """
        for challenge in [
            b"",
            b"\xff",
            b"r=abc,s=AA==,i=4096",
            b"r=NONCE,s=AA==,i=4096",
            b"m=x,r=NONCEx,s=AA==,i=4096",
            b"r=NONCEx,s=AA==",
            b"r=NONCEx,s=AA==,i=0",
            b"r=NONCEx,s=AA==,i=-1",
            b"r=NONCEx,s=AA==,i=1000001",
            b"r=NONCEx,s=AA==,i=" + b"9" * 5000,
            b"r=NONCEx,s=A,i=4096",
            b"r=NONCEx,s=AA==,i=4096," + b"x" * 20000,
        ]:
            client = Client(Mechanism.SHA_256, PENCIL, nonce="NONCE")
            client.first()
            self.assertRaises(RemoteProtocolError, client.final, challenge)

    def test_outcomes_that_are_none(self) -> None:
        """
        A refusal is told in the server's words.
        """
        client, server = Client(Mechanism.SHA_256, PENCIL), Server(Mechanism.SHA_256, keys())
        client.final(server.challenge(client.first()))
        self.assertRaisesRegex(RemoteProtocolError, "invalid-proof", client.finish, b"e=invalid-proof")
        for outcome in (b"", b"v", b"v=!", b"x=AA=="):
            self.assertRaises(RemoteProtocolError, client.finish, outcome)

    def test_openings_that_are_none(self) -> None:
        """
        To the server.
        """
        for first in [
            b"",
            b"n,,",
            b"\xff,,n=a,r=b",
            b"x,,n=a,r=b",
            b"n,a=other,n=a,r=b",
            b"n,,n=a,r=",
            b"n,,m=x,n=a,r=b",
            b"n,,n=a=2x,r=b",
            b"n,,n=" + b"a" * 20000,
        ]:
            self.assertRaises(RemoteProtocolError, Server(Mechanism.SHA_256, keys()).challenge, first)

    def test_finals_that_are_none(self) -> None:
        """
        To the server.
        """
        for final in [
            b"",
            b"c=biws",
            b"c=biws,r=other,p=AAAA",
            b"c=!,r=abcSERVER,p=AAAA",
            b"c=biws,r=abcSERVER",
            b"c=eSws,r=abcSERVER,p=AAAA",
            b"c=biws,r=abcSERVER,p=AAAA",
            b"c=biws,r=abcSERVER,p=\xff",
            b"c=biws,r=abcSERVER,p=" + base64.b64encode(bytes(32)),
        ]:
            server = Server(Mechanism.SHA_256, keys(), nonce="SERVER")
            server.challenge(b"n,,n=a,r=abc")
            self.assertRaises(RemoteProtocolError, server.outcome, final)

    def test_our_own_mistakes(self) -> None:
        """
        Steps out of order are ours.
        """
        client, server = Client(Mechanism.SHA_256, PENCIL), Server(Mechanism.SHA_256, keys())
        self.assertRaises(LocalProtocolError, client.final, b"")
        self.assertRaises(LocalProtocolError, client.finish, b"")
        self.assertRaises(LocalProtocolError, server.outcome, b"")
        challenge = server.challenge(client.first())
        self.assertRaises(LocalProtocolError, server.challenge, b"")
        client.final(challenge)
        self.assertRaises(LocalProtocolError, client.final, challenge)

    @given(st.binary(max_size=200))
    def test_garbage_ends_in_one_error(self, data: bytes) -> None:
        """
        In every place.
        """
        client, server = Client(Mechanism.SHA_256, PENCIL), Server(Mechanism.SHA_256, keys())
        client.first()
        self.assertRaises(RemoteProtocolError, client.final, data)
        self.assertRaises(RemoteProtocolError, server.challenge, data)
        client.final(server.challenge(client.first()))
        self.assertRaises(RemoteProtocolError, server.outcome, data)
        self.assertRaises(RemoteProtocolError, client.finish, data)

    def test_nothing_secret_shows(self) -> None:
        """
        In representations.
        """
        self.assertNotIn("pencil", repr(Client(Mechanism.SHA_256, PENCIL)))
        self.assertNotIn(repr(keys().stored), repr(keys()))
        self.assertEqual(len(base64.b64decode(Client(Mechanism.SHA_256, PENCIL).nonce)), scram.NONCE_BYTES)
