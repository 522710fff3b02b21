"""
Passwords of files: what is taken, what is refused, and that nobody else learns them.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipIf

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.passwords import MAX_BYTES, MAX_NAME_BYTES, Files, Passwords
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.resources.databases import Database

ORDERS = Database(name="orders", protocol="postgres", uri="localhost:5432")


class Here:
    """
    Threads that are none.
    """

    def run(self, call: Any, *arguments: Any) -> Deferred[Any]:
        """
        As L{teleport_tw.base.tasks.Threads.run}.
        """
        try:
            return succeed(call(*arguments))
        except Exception:
            failed: Deferred[Any] = Deferred()
            failed.errback()
            return failed


class FilesTests(SynchronousTestCase):
    """
    L{Files}.
    """

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tw-passwords-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.top = self.root / "top"
        (self.top / "orders").mkdir(parents=True)
        self.top.chmod(0o700)
        (self.top / "orders").chmod(0o700)
        self.passwords = Passwords((Files(self.top, Here()),))  # type: ignore[arg-type]

    def put(self, content: bytes, user: str = "alice", mode: int = 0o600) -> Path:
        """
        A file for somebody.
        """
        path = self.top / "orders" / user
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def got(self, user: str = "alice", database: Database = ORDERS) -> bytes | None:
        """
        @return: the password.
        """
        found = self.successResultOf(Deferred.fromCoroutine(self.passwords.password(database, user)))
        return None if found is None else found.reveal()

    def refused(self, user: str = "alice", kind: Kind = Kind.INTERNAL) -> str:
        """
        @return: the reason that the log has.
        """
        asking = Deferred.fromCoroutine(self.passwords.password(ORDERS, user))
        error = self.failureResultOf(asking, TeleportError).value
        self.assertIs(error.kind, kind)
        self.assertNotIn("chmod", error.message)
        return error.details or error.message

    def test_the_line_of_a_file(self) -> None:
        """With the end of its line or without, of either kind; every byte else is the password's."""
        for content, expected in (
            (b"secret", b"secret"),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b" secret \xff\n", b" secret \xff"),
            (b"x" * MAX_BYTES, b"x" * MAX_BYTES),
        ):
            self.put(content)
            self.assertEqual(self.got(), expected)

    def test_a_change_counts_at_once(self) -> None:
        """Nothing is kept: neither a password that was replaced nor one that was taken away."""
        path = self.put(b"first")
        self.assertEqual(self.got(), b"first")
        self.put(b"other")
        self.assertEqual(self.got(), b"other")
        path.unlink()
        self.assertIsNone(self.got())
        self.assertNotIn("other", repr(self.passwords))

    def test_nobody_has_one(self) -> None:
        """No file, or no directory of the database's: the certificate is to do."""
        self.assertIsNone(self.got())
        self.assertIsNone(self.got(database=Database(name="cache", protocol="redis", uri="localhost:1")))
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(Passwords().password(ORDERS, "alice"))))

    def test_databases_have_their_own(self) -> None:
        """The same user of two databases."""
        other = self.top / "cache"
        other.mkdir(mode=0o700)
        self.put(b"here")
        (other / "alice").write_bytes(b"there")
        (other / "alice").chmod(0o600)
        self.assertEqual(self.got(), b"here")
        self.assertEqual(self.got(database=Database(name="cache", protocol="redis", uri="localhost:1")), b"there")

    def test_others_may_not_use_the_file(self) -> None:
        """Each right of group and others; the log says what to do."""
        for mode in (0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666):
            path = self.put(b"secret", mode=mode)
            self.assertIn(f"chmod 600 {path}", self.refused())
        self.put(b"secret", mode=0o400)
        self.assertEqual(self.got(), b"secret")

    def test_others_may_not_write_the_directories(self) -> None:
        """Who can would put another's password there."""
        self.put(b"secret")
        for folder in (self.top, self.top / "orders"):
            for mode in (0o720, 0o702, 0o777, 0o1777):
                folder.chmod(mode)
                self.assertIn(f"chmod 700 {folder}", self.refused())
            folder.chmod(0o755)
            self.assertEqual(self.got(), b"secret")

    @skipIf(os.geteuid() != 0, "only root gives files away")
    def test_others_may_not_own_them(self) -> None:
        """Neither file nor directories, whatever their modes."""
        path = self.put(b"secret")
        for each in (path, self.top / "orders", self.top):
            os.chown(each, 65534, 0)
            self.assertIn("owned by user id 65534", self.refused())
            os.chown(each, 0, 0)
        self.assertEqual(self.got(), b"secret")

    def test_names_that_lead_elsewhere(self) -> None:
        """Are refused, for roles may allow any user; what they lead to is there, and is not read."""
        self.put(b"secret")
        outside = self.top / "outside"
        outside.write_bytes(b"outside")
        outside.chmod(0o600)
        for user in (
            "",
            ".",
            "..",
            "../outside",
            "../orders/alice",
            "x/../alice",
            str(outside),
            "alice\0",
            "a/b",
            "\udcff",
        ):
            self.assertIn("no name of a file", self.refused(user, Kind.ACCESS_DENIED))
        self.assertIn("no name of a file", self.refused("x" * (MAX_NAME_BYTES + 1), Kind.ACCESS_DENIED))
        for name in ("..", ".", "../top/orders", "", str(self.top / "orders")):
            self.assertIsNone(self.got(database=Database(name=name, protocol="redis", uri="localhost:1")))

    def test_names_that_are_only_odd(self) -> None:
        """Databases have users with spaces, quotes, at signs, dots in front and letters of all kinds."""
        for user in ("alice@example.com", "O'Brien", "a b", "..hidden", "ünïcödé", "IAM:alice", "*", "-rf", "x" * 255):
            self.put(user.encode(), user)
            self.assertEqual(self.got(user), user.encode())

    def test_links_are_not_followed(self) -> None:
        """Neither for a file nor for a database's directory."""
        secret = self.root / "secret"
        secret.write_bytes(b"elsewhere")
        secret.chmod(0o600)
        (self.top / "orders" / "alice").symlink_to(secret)
        self.assertIn("symbolic link", self.refused())
        (self.top / "orders" / "alice").unlink()
        (self.top / "orders").rmdir()
        (self.root / "orders").mkdir(mode=0o700)
        (self.root / "orders" / "alice").write_bytes(b"elsewhere")
        (self.root / "orders" / "alice").chmod(0o600)
        (self.top / "orders").symlink_to(self.root / "orders")
        self.assertIn("symbolic link", self.refused())

    def test_what_is_no_file(self) -> None:
        """A directory, a FIFO that would never end, a socket."""
        (self.top / "orders" / "alice").mkdir(mode=0o700)
        self.assertIn("is no file", self.refused())
        (self.top / "orders" / "alice").rmdir()
        os.mkfifo(self.top / "orders" / "alice", 0o600)
        self.assertIn("is no file", self.refused())
        (self.top / "orders" / "alice").unlink()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.top / "orders" / "alice"))
            self.assertIn("No such device", self.refused())

    def test_what_is_no_password(self) -> None:
        """Nothing, several lines, a NUL that would end it early, or no end; it is not repeated in the reason."""
        for content in (b"", b"\n", b"secret\nsecret\n", b"\nsecret", b"sec\0ret", b"secret" * MAX_BYTES):
            self.put(content)
            self.assertNotIn("secret", self.refused())

    def test_the_directory_is_gone(self) -> None:
        """Then sessions are refused, since it was to be there."""
        shutil.rmtree(self.top)
        self.assertIn("No such file", self.refused())
        self.top.write_text("")
        self.assertIn("Not a directory", self.refused())


@define
class Fixed:
    """
    A source with one password, or none.
    """

    value: bytes | None
    asked: int = 0

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        As L{teleport_tw.agents.db.passwords.Source.password}.
        """
        self.asked += 1
        return None if self.value is None else Secret(self.value)


class PasswordsTests(SynchronousTestCase):
    """
    L{Passwords}.
    """

    def test_the_first_source_that_has_one(self) -> None:
        """And those behind are not asked."""
        sources = (Fixed(None), Fixed(b"one"), Fixed(b"two"))
        passwords = Passwords(sources)
        found = self.successResultOf(Deferred.fromCoroutine(passwords.password(ORDERS, "alice")))
        self.assertEqual(found, Secret(b"one"))
        self.assertEqual([each.asked for each in sources], [1, 1, 0])
