"""
Signing in: ours, answered by hand, and what users say of who they are.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.redis import signing
from teleport_tw.agents.db.redis.login import login
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.redis.messages import Bulk, Error, SimpleString, Value
from teleport_tw.protocols.redis.requests import Request
from teleport_tw.protocols.redis.wire import command
from tests.agents.db.redis.test_audit import request

OURS = Secret(b"kept")


class LoginTests(SynchronousTestCase):
    """
    The agent's.
    """

    def _log_in(self, user: str, answer: Value, password: Secret[bytes] | None = None) -> tuple[Any, list[bytes]]:
        asked: list[bytes] = []

        async def ask(octets: bytes) -> Value:
            asked.append(octets)
            return answer

        return self.successResultOf(Deferred.fromCoroutine(login(ask, user, password))), asked

    def _refused(self, user: str, answer: Value, password: Secret[bytes] | None = None) -> str:
        async def ask(_: bytes) -> Value:
            return answer

        failure = self.failureResultOf(Deferred.fromCoroutine(login(ask, user, password)), TeleportError)
        self.assertIs(failure.value.kind, Kind.CONNECTION_PROBLEM)
        return str(failure.value)

    def test_by_password(self) -> None:
        """
        With the name, but for the default user, which servers before Redis 6 know no name of.
        """
        said = SimpleString(b"OK")
        self.assertEqual(self._log_in("alice", said, OURS), (True, [command("AUTH", "alice", "kept")]))
        self.assertEqual(self._log_in("default", said, OURS), (True, [command("AUTH", "kept")]))
        self.assertIn("did not take our password", self._refused("alice", Error(b"WRONGPASS no"), OURS))

    def test_no_error_repeats_the_password(self) -> None:
        """
        Servers that do not know a command repeat its arguments.
        """
        for words in (b"ERR unknown command `AUTH`, with args beginning with: `kept`", b"ERRkept"):
            self.assertNotIn("`kept`", self._refused("alice", Error(words), OURS))

    def test_by_certificate(self) -> None:
        """
        The server says who we are; if it is somebody else, or it does not say, the user has to sign in.
        """
        self.assertEqual(self._log_in("alice", Bulk(b"alice")), (True, [command("ACL", "WHOAMI")]))
        for answer in (Bulk(b"default"), Error(b"NOAUTH Authentication required."), Error(b"NOPERM no")):
            self.assertIs(self._log_in("alice", answer)[0], False)
        self.assertEqual(self._log_in("default", Bulk(b"")), (True, []))

    def test_older_servers(self) -> None:
        """
        They know no users, and are not used as if they did.
        """
        self.assertIn("older than Redis 6", self._refused("alice", Error(b"ERR unknown command 'ACL'")))


class SigningTests(SynchronousTestCase):
    """
    The user's.
    """

    def _refused(self, asked: Request, user: str = "alice") -> Kind:
        rule = signing.auth if asked.name == b"AUTH" else signing.hello
        with self.assertRaises(TeleportError) as caught:
            rule(asked, user, None)
        return caught.exception.kind

    def test_own_user_only(self) -> None:
        """
        In every form, and whichever of several C{AUTH} the server would take.
        """
        for words in (
            ("AUTH", "bob", "x"),
            ("AUTH", "x"),
            ("HELLO", "3", "AUTH", "bob", "x"),
            ("hello", "3", "setname", "n", "auth", "bob", "x"),
            ("HELLO", "3", "AUTH", "alice", "x", "AUTH", "bob", "x"),
            ("AUTH", "Alice", "x"),
        ):
            self.assertIs(self._refused(request(*words)), Kind.ACCESS_DENIED, words)
        self.assertIs(self._refused(request("AUTH", "alice", "x"), "default"), Kind.ACCESS_DENIED)

    def test_forms_that_nobody_knows(self) -> None:
        """
        They are not handed on, since a server might.
        """
        long = Request((b"AUTH", b"alice"), b"", 3, is_whole=False)
        for asked in (
            request("AUTH", "alice", "x", "y"),
            request("HELLO", "3", "AUTH", "alice"),
            request("HELLO", "3", "SETNAME"),
            request("HELLO", "3", "FOO", "AUTH", "alice", "x"),
            long,
            Request((b"HELLO", b"3"), b"", 5, is_whole=False),
        ):
            self.assertIs(self._refused(asked), Kind.BAD_PARAMETER)

    def test_what_is_handed_on(self) -> None:
        """
        As it came, and whether it signs in.
        """
        for words, user, signs_in in (
            (("AUTH",), "alice", False),
            (("AUTH", "alice", "x"), "alice", True),
            (("AUTH", "x"), "default", True),
            (("AUTH", "default", "x"), "default", True),
            (("HELLO",), "alice", False),
            (("HELLO", "3"), "alice", False),
            (("HELLO", "3", "SETNAME", "AUTH"), "alice", False),
            (("HELLO", "3", "AUTH", "alice", "x", "SETNAME", "n"), "alice", True),
        ):
            rule = signing.auth if words[0] == "AUTH" else signing.hello
            self.assertEqual(rule(request(*words), user, None), signing.Signing(command(*words), signs_in))

    def test_what_was_typed_is_not_sent(self) -> None:
        """
        Where the agent has the password.
        """
        self.assertEqual(
            signing.auth(request("AUTH", "alice", "x"), "alice", OURS).octets, command("AUTH", "alice", "kept")
        )
        octets = signing.hello(request("HELLO", "3", "AUTH", "alice", "typed", "SETNAME", "n"), "alice", OURS).octets
        self.assertNotIn(b"typed", octets)
        self.assertIn(b"SETNAME", octets)
