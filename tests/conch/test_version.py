"""
The lines that open a connection.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.conch.version import MAX_GREETING_BYTES, VersionReader


class VersionTests(SynchronousTestCase):
    """
    What counts as an SSH version, and how long we listen for one.
    """

    def test_every_split_finds_the_version_and_what_follows(self) -> None:
        """
        With either line end.
        """
        for end in (b"\r\n", b"\n"):
            whole = b"SSH-2.0-OpenSSH_9.2 comment" + end + b"packet"
            for position in range(len(whole)):
                reader = VersionReader(client=False)
                first = reader.feed(whole[:position])
                version, rest = first or reader.feed(whole[position:])
                self.assertEqual(version, b"SSH-2.0-OpenSSH_9.2 comment")
                self.assertTrue(b"packet".startswith(rest))

    def test_a_server_may_say_something_first(self) -> None:
        """
        A client skips it, and what is far too long ends in an error.
        """
        reader = VersionReader(client=True)
        self.assertEqual(reader.feed(b"hello\nthere\r\nSSH-1.99-x\r\n"), (b"SSH-1.99-x", b""))
        reader = VersionReader(client=True)
        with self.assertRaises(RemoteProtocolError):
            for _ in range(MAX_GREETING_BYTES):
                reader.feed(b"no\n")

    def test_a_client_may_not(self) -> None:
        """
        A browser at the SSH port is told at its first bytes.
        """
        for data in (b"GET / HTTP/1.1\r\n", b"G", b"\nSSH-2.0-x\n", b"SSH-2.0-" + b"x" * 300, b"\0"):
            with self.assertRaises(RemoteProtocolError):
                VersionReader(client=False).feed(data)

    def test_other_versions_are_refused(self) -> None:
        """
        SSH 1, no version, too long, a zero byte.
        """
        for line in (b"SSH-1.5-old", b"SSH-", b"SSH-2.0", b"SSH-2.0-" + b"x" * 260, b"SSH-2.0-a\0b"):
            with self.assertRaises(RemoteProtocolError):
                VersionReader(client=True).feed(line + b"\r\n")

    @given(st.binary(max_size=400), st.booleans())
    def test_garbage_ends_in_one_error(self, data: bytes, client: bool) -> None:
        """
        Or waits for more.
        """
        try:
            VersionReader(client=client).feed(data)
        except RemoteProtocolError:
            return
