"""
Signing in by SCRAM, against a server of the test that may misbehave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import bson
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.mongodb.login import ADMIN, Proof, login, proof_of
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.sasl.scram import Keys, Mechanism, Server
from teleport_tw.resources.databases import Database
from tests.agents.db.test_passwords import Here

HELLO = {"ok": 1, "maxWireVersion": 17}


class Mongo:
    """
    A server with one user, alice, in C{admin}.

    @ivar asked: commands, oldest first.
    """

    def __init__(self, mechanism: Mechanism, password: bytes = b"secret", **hello: Any) -> None:
        self.mechanism = mechanism
        self.hello = {**HELLO, **hello}
        self.asked: list[Mapping[str, Any]] = []
        self.iterations = 1000
        self.needs_empty = False
        self.instead: dict[str, Any] = {}
        made = password
        if mechanism is Mechanism.SHA_1:
            made = hashlib.md5(b"alice:mongo:" + password, usedforsecurity=False).hexdigest().encode()
        self._made = Secret(made)
        self._scram: Server | None = None
        self._empty = 0

    async def ask(self, command: Mapping[str, Any]) -> bytes:
        """
        As L{teleport_tw.agents.db.mongodb.login.Ask}.
        """
        self.asked.append(command)
        return bson.encode({**self._answer(command), **self.instead.get(next(iter(command)), {})})

    def _answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        refused = {"ok": 0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."}
        name = next(iter(command))
        if name == "hello":
            return self.hello
        if name == "saslStart":
            if command["mechanism"] != self.mechanism.value:
                return refused
            self._scram = Server(self.mechanism, Keys.of(self.mechanism, self._made, b"saltsalt", self.iterations))
            said = self._scram.challenge(command["payload"])
            return {"ok": 1, "conversationId": 7, "done": False, "payload": said}
        assert name == "saslContinue"
        assert command["conversationId"] == 7
        if not command["payload"]:
            self._empty += 1
            return {"ok": 1, "conversationId": 7, "done": True, "payload": b""}
        assert self._scram is not None
        try:
            said = self._scram.outcome(command["payload"])
        except RemoteProtocolError:
            return refused
        return {"ok": 1, "conversationId": 7, "done": not self.needs_empty, "payload": said}


class ScramTests(SynchronousTestCase):
    """
    L{login} with a password.
    """

    def signed_in(self, server: Mongo, password: bytes = b"secret", source: str = ADMIN) -> None:
        """
        As alice.
        """
        proof = Proof(password=Secret(password), threads=Here(), source=source)  # type: ignore[arg-type]
        self.successResultOf(Deferred.fromCoroutine(login(server.ask, "alice", proof)))

    def refused(self, server: Mongo, password: bytes = b"secret") -> str:
        """
        @return: the reason.
        """
        proof = Proof(password=Secret(password), threads=Here())  # type: ignore[arg-type]
        signing = Deferred.fromCoroutine(login(server.ask, "alice", proof))
        error = self.failureResultOf(signing, TeleportError).value
        self.assertIs(error.kind, Kind.CONNECTION_PROBLEM)
        self.assertNotIn("secret", str(error))
        return str(error)

    def test_the_best_mechanism_of_the_user(self) -> None:
        """As the server says; SHA-1 where it does not, as servers before 4.0."""
        both = [each.value for each in Mechanism]
        for server in (
            Mongo(Mechanism.SHA_256, saslSupportedMechs=both),
            Mongo(Mechanism.SHA_256, saslSupportedMechs=["SCRAM-SHA-256", 3]),
            Mongo(Mechanism.SHA_1, saslSupportedMechs=["SCRAM-SHA-1"]),
            Mongo(Mechanism.SHA_1, saslSupportedMechs=[]),
            Mongo(Mechanism.SHA_1, saslSupportedMechs="SCRAM-SHA-256"),
            Mongo(Mechanism.SHA_1),
        ):
            self.signed_in(server)
            self.assertEqual(server.asked[0]["saslSupportedMechs"], "admin.alice")
            self.assertEqual([next(iter(each)) for each in server.asked], ["hello", "saslStart", "saslContinue"])
            self.assertNotIn("secret", repr(server.asked))

    def test_an_empty_exchange(self) -> None:
        """Servers before 4.4 want one more word."""
        server = Mongo(Mechanism.SHA_1)
        server.needs_empty = True
        self.signed_in(server)
        self.assertEqual(server.asked[-1]["payload"], b"")
        server.instead = {"saslContinue": {"done": False}}
        self.assertIn("does not end", self.refused(server))

    def test_another_database_of_users(self) -> None:
        """C{authSource} of the address."""
        server = Mongo(Mechanism.SHA_1)
        self.signed_in(server, source="shop")
        self.assertEqual({each["$db"] for each in server.asked[1:]}, {"shop"})
        self.assertEqual(server.asked[0]["saslSupportedMechs"], "shop.alice")
        threads: Any = Here()
        for uri, source in (("mongodb://h:1/?authSource=shop", "shop"), ("mongodb://h:1/", ADMIN), ("h:1", ADMIN)):
            database = Database(name="x", protocol="mongodb", uri=uri)
            proof = proof_of(database, Secret(b"x"), threads)
            assert proof is not None
            self.assertEqual(proof.source, source)
            self.assertIsNone(proof_of(database, None, threads))

    def test_a_wrong_password(self) -> None:
        """The server's words."""
        for mechanism in Mechanism:
            server = Mongo(mechanism, saslSupportedMechs=[mechanism.value])
            self.assertIn("did not take our password of 'alice' in 'admin'", self.refused(server, b"other secret"))

    def test_a_server_that_does_not_know_the_password(self) -> None:
        """Is no server of ours, whatever it says of success; the user does not get through to it."""
        forged = b"v=" + b"AAAA" * 10 + b"AAA="
        for payload in (forged, b"", b"e=no", "v=", None, 3):
            server = Mongo(Mechanism.SHA_256, saslSupportedMechs=["SCRAM-SHA-256"])
            server.instead = {"saslContinue": {"payload": payload, "done": True}}
            self.assertIn("did not take our password", self.refused(server))
        server.instead = {"saslStart": {"payload": b"", "done": True}}
        self.assertIn("did not take our password", self.refused(server))

    def test_a_server_that_wants_our_time(self) -> None:
        """Too many rounds are refused before they are made."""
        server = Mongo(Mechanism.SHA_256, saslSupportedMechs=["SCRAM-SHA-256"])
        server.instead = {"saslStart": {"payload": b"r=x,s=c2FsdA==,i=99999999"}}
        self.assertIn("did not take our password", self.refused(server))

    def test_a_password_that_is_no_text(self) -> None:
        """SHA-1 takes its octets; SHA-256 wants UTF-8."""
        self.signed_in(Mongo(Mechanism.SHA_1, b"secret\xff"), b"secret\xff")
        server = Mongo(Mechanism.SHA_256, b"secret\xff", saslSupportedMechs=["SCRAM-SHA-256"])
        self.assertIn("UTF-8", self.refused(server, b"secret\xff"))

    def test_too_old(self) -> None:
        """Is said before any password is used."""
        server = Mongo(Mechanism.SHA_1, maxWireVersion=5)
        self.assertIn("older than MongoDB 3.6", self.refused(server))
        self.assertEqual(len(server.asked), 1)
