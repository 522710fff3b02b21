"""
Commands as they are kept, and what of them is not.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.policy import MAX_QUERY, Keeping
from teleport_tw.agents.db.redis.audit import reason, shown, text
from teleport_tw.protocols.redis.requests import Request
from teleport_tw.protocols.redis.wire import command


def request(*words: str | bytes) -> Request:
    """
    As it was read.
    """
    octets = tuple(word.encode() if isinstance(word, str) else word for word in words)
    return Request(octets, command(*words), len(words))


class TextTests(SynchronousTestCase):
    """
    What is kept.
    """

    def test_as_typed(self) -> None:
        """
        Plain words are plain; others are quoted so that they can be told apart.
        """
        for words, kept in [
            (("GET", "user:1"), "GET user:1"),
            (("SET", "k", "a b"), 'SET k "a b"'),
            (("SET", "k", ""), 'SET k ""'),
            (("SET", "k", 'a"\\\n\x1b'), 'SET k "a\\"\\\\\\n\\x1b"'),
            (("SET", "k", "grüße"), 'SET k "grüße"'),
            (("SET", "k", b"\xff\x00a"), 'SET k "\\xff\\x00a"'),
            (("SET", "k", "a\0b"), 'SET k "a\\x00b"'),
        ]:
            self.assertEqual(text(request(*words)), (kept, None))
        self.assertEqual(shown(b"it's"), '"it\'s"')

    def test_secrets(self) -> None:
        """
        No password is kept, whatever the case of the command, and wherever its option stands.
        """
        for words, kept in [
            (("AUTH", "S3CRET"), "AUTH ****"),
            (("auth", "alice", "S3CRET"), "auth alice ****"),
            (("AUTH", "S3CRET", "S3CRET", "S3CRET"), "AUTH **** **** ****"),
            (("HELLO", "3", "AUTH", "alice", "S3CRET", "SETNAME", "me"), "HELLO 3 AUTH alice **** SETNAME me"),
            (("HELLO", "3", "auth", "a", "S3CRET", "AUTH", "b", "S3CRET"), "HELLO 3 auth a **** AUTH b ****"),
            (("CONFIG", "SET", "requirepass", "S3CRET"), "CONFIG SET requirepass ****"),
            (
                ("CONFIG", "SET", "maxmemory", "1", "MasterAuth", "S3CRET", "tls-key-file-pass", "S3CRET"),
                "CONFIG SET maxmemory 1 MasterAuth **** tls-key-file-pass ****",
            ),
            (("CONFIG", "GET", "requirepass"), "CONFIG GET requirepass"),
            (("SENTINEL", "SET", "m", "auth-pass", "S3CRET"), "SENTINEL SET m auth-pass ****"),
            (
                ("ACL", "SETUSER", "bob", "on", ">S3CRET", "<S3CRET", "#S3CRET", "!S3CRET", "~*"),
                "ACL SETUSER bob on >**** <**** #**** !**** ~*",
            ),
            (("ACL", "LIST"), "ACL LIST"),
            (
                ("MIGRATE", "h", "6379", "", "0", "10", "AUTH", "S3CRET", "KEYS", "a"),
                'MIGRATE h 6379 "" 0 10 AUTH **** KEYS a',
            ),
            (("MIGRATE", "h", "1", "k", "0", "1", "auth2", "bob", "S3CRET"), "MIGRATE h 1 k 0 1 auth2 bob ****"),
        ]:
            for keeping in Keeping:
                self.assertNotIn("S3CRET", text(request(*words), keeping)[0])
            self.assertEqual(text(request(*words))[0], kept)

    def test_errors_do_not_repeat_secrets(self) -> None:
        """
        Servers tell what they did not understand, and that may be a password.
        """
        for kept, said, why in [
            (
                "HELLO 3 AUTH a ****",
                b"-ERR unknown command 'HELLO', with args beginning with: 'AUTH' 'S3CRET'\r\n",
                "ERR",
            ),
            ("ACL SETUSER a <****", b"-ERR Error in ACL SETUSER modifier '<S3CRET': no such password\r\n", "ERR"),
            (
                "auth a ****",
                b"-WRONGPASS invalid username-password pair\r\n",
                "WRONGPASS invalid username-password pair",
            ),
            ("GET a", b"-WRONGTYPE no\r\n", "WRONGTYPE no"),
            ("GET a", b"!7\r\nERR two\r\n", "ERR two"),
        ]:
            self.assertEqual(reason(kept, said), why)

    def test_long(self) -> None:
        """
        It is cut, and its length kept.
        """
        kept, length = text(request("SET", "k", "x" * MAX_QUERY * 2))
        self.assertEqual(length, len(command("SET", "k", "x" * MAX_QUERY * 2)))
        self.assertTrue(kept.startswith("SET k xxx"))
        self.assertLessEqual(len(kept), MAX_QUERY)
        half = Request((b"SET", b"k", b"x"), b"", 5, is_whole=False)
        self.assertEqual(text(half), ("SET k x", 0))

    def test_policy(self) -> None:
        """
        Values are masked, or left out, where they are not to be kept.
        """
        words = request("HSET", "user:1", "email", "a@example.com")
        self.assertEqual(text(words, Keeping.MASKED)[0], "HSET user:1 *** ***")
        self.assertEqual(text(words, Keeping.OFF)[0], "HSET user:1")
