"""
An SFTP session read in passing.
"""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp import codes, observer
from teleport_tw.protocols.sftp.attributes import Attributes
from teleport_tw.protocols.sftp.observer import Observer, Operation, Transferred
from teleport_tw.protocols.ssh.wire import put_string, put_uint32, put_uint64


def message(kind: int, number: int, *fields: bytes) -> bytes:
    """
    @return: behind its length.
    """
    body = bytes((kind,)) + put_uint32(number) + b"".join(fields)
    return put_uint32(len(body)) + body


INIT = put_uint32(5) + bytes((codes.INIT,)) + put_uint32(3)
VERSION = put_uint32(5) + bytes((codes.VERSION_ANSWER,)) + put_uint32(3)
NONE = Attributes().encode()
MODE = Attributes(size=3, owner=(1, 2), permissions=0o100644, times=(5, 6)).encode()
TOLD = {"file_size": 3, "uid": 1, "gid": 2, "permissions": "0644", "access_time": 5, "modification_time": 6}
S = put_string


def status(number: int, code: int, words: str | None = "") -> bytes:
    """
    @param words: C{None} for servers that say none.
    """
    fields = () if words is None else (S(words.encode()), S(b""))
    return message(codes.STATUS, number, put_uint32(code), *fields)


class ObserverTests(SynchronousTestCase):
    """
    What an observer tells.
    """

    def setUp(self) -> None:
        """A session that has begun."""
        self.observer = Observer()
        self.observer.asked(INIT)
        self.assertEqual(self.observer.answered(VERSION), [])

    def exchange(self, asked: bytes, answered: bytes, piece: int = 1 << 20) -> list[observer.Seen]:
        """
        @param piece: bytes at a time.
        """
        for start in range(0, len(asked), piece):
            self.observer.asked(asked[start : start + piece])
        seen: list[observer.Seen] = []
        for start in range(0, len(answered), piece):
            seen += self.observer.answered(memoryview(answered)[start : start + piece])
        return seen

    def open(self, handle: bytes, path: bytes = b"/a", kind: int = codes.OPEN) -> list[observer.Seen]:
        """
        Open a file or directory.
        """
        fields = (put_uint32(26), MODE) if kind == codes.OPEN else ()
        return self.exchange(message(kind, 1, S(path), *fields), message(codes.HANDLE, 1, S(handle)))

    def test_a_file_that_is_written_and_read(self) -> None:
        """Its contents are counted, not collected, however they are cut."""
        for piece in (1, 7, 1 << 20):
            opened = self.open(b"h")
            self.assertEqual(opened, [Operation(name="open", path="/a", flags=26, attributes=TOLD)])
            data = S(b"x" * 1000)
            written = message(codes.WRITE, 2, S(b"h"), put_uint64(0), data)
            self.assertEqual(self.exchange(written, status(2, codes.OK), piece), [])
            read = message(codes.READ, 3, S(b"h"), put_uint64(0), put_uint32(300))
            self.assertEqual(self.exchange(read, message(codes.DATA, 3, S(b"y" * 300)), piece), [])
            last = message(codes.READ, 4, S(b"h"), put_uint64(300), put_uint32(300))
            self.assertEqual(self.exchange(last, status(4, codes.EOF), piece), [])
            closed = self.exchange(message(codes.CLOSE, 5, S(b"h")), status(5, codes.OK), piece)
            self.assertEqual(closed, [Transferred("/a", 300, 1000)])

    def test_what_is_done_to_paths(self) -> None:
        """Each request, in the words of events."""
        extended = codes.EXTENDED
        for kind, fields, expected in (
            (codes.REMOVE, (S(b"/a"),), Operation(name="remove", path="/a")),
            (codes.MKDIR, (S(b"/d"), MODE), Operation(name="mkdir", path="/d", attributes=TOLD)),
            (codes.RMDIR, (S(b"/d"),), Operation(name="rmdir", path="/d")),
            (codes.RENAME, (S(b"/a"), S(b"/b")), Operation(name="rename", path="/a", target="/b")),
            (codes.SYMLINK, (S(b"/a"), S(b"/l")), Operation(name="symlink", path="/a", target="/l")),
            (codes.SETSTAT, (S(b"/a"), MODE), Operation(name="setstat", path="/a", attributes=TOLD)),
            (extended, (S(codes.POSIX_RENAME), S(b"/a"), S(b"/b")), Operation(name="rename", path="/a", target="/b")),
            (extended, (S(codes.HARDLINK), S(b"/a"), S(b"/b")), Operation(name="link", path="/a", target="/b")),
            (extended, (S(codes.LSETSTAT), S(b"/a"), NONE), Operation(name="setstat", path="/a")),
        ):
            self.assertEqual(self.exchange(message(kind, 9, *fields), status(9, codes.OK)), [expected])

    def test_what_changes_nothing_is_not_told(self) -> None:
        """Looking at names, and extensions of no file's."""
        for kind, fields in (
            (codes.STAT, (S(b"/a"),)),
            (codes.REALPATH, (S(b"."),)),
            (codes.EXTENDED, (S(codes.LIMITS),)),
        ):
            self.assertEqual(self.exchange(message(kind, 2, *fields), status(2, codes.FAILURE)), [])

    def test_a_directory_is_listed_once(self) -> None:
        """However many requests it takes; an empty one is no failure; closing it transfers nothing."""
        opened = self.open(b"d", b"/dir", codes.OPENDIR)
        self.assertEqual(opened, [Operation(name="opendir", path="/dir")])
        listed = self.exchange(message(codes.READDIR, 2, S(b"d")), status(2, codes.EOF))
        self.assertEqual(listed, [Operation(name="readdir", path="/dir")])
        for handle in (b"d", b"unknown"):
            self.assertEqual(self.exchange(message(codes.READDIR, 3, S(handle)), status(3, codes.EOF)), [])
        self.assertEqual(self.exchange(message(codes.CLOSE, 4, S(b"d")), status(4, codes.OK)), [])

    def test_handles(self) -> None:
        """Attributes of an open file; a copy at the server; unknown ones; what is open at the end."""
        self.open(b"h")
        self.open(b"g", b"/b")
        changed = self.exchange(message(codes.FSETSTAT, 2, S(b"h"), NONE), status(2, codes.OK))
        self.assertEqual(changed, [Operation(name="setstat", path="/a")])
        unknown = self.exchange(message(codes.FSETSTAT, 2, S(b"?"), NONE), status(2, codes.FAILURE, "No Handle"))
        self.assertEqual(unknown, [Operation(name="setstat", path="", error="no handle")])
        copy = (S(codes.COPY_DATA), S(b"h"), put_uint64(0), put_uint64(10), S(b"g"), put_uint64(0))
        self.exchange(message(codes.EXTENDED, 3, *copy), status(3, codes.OK))
        copy = (S(codes.COPY_DATA), S(b"?"), put_uint64(0), put_uint64(10), S(b"?"), put_uint64(0))
        self.exchange(message(codes.EXTENDED, 3, *copy), status(3, codes.OK))
        self.exchange(message(codes.WRITE, 4, S(b"?"), put_uint64(0), S(b"x")), status(4, codes.FAILURE))
        self.assertEqual(self.exchange(message(codes.CLOSE, 5, S(b"?")), status(5, codes.FAILURE)), [])
        self.assertEqual(self.observer.ended(), [Transferred("/a", 10, 0), Transferred("/b", 0, 10)])
        self.assertEqual(self.observer.ended(), [])

    def test_errors_have_words(self) -> None:
        """The server's own, or what the number means."""
        remove = message(codes.REMOVE, 1, S(b"/a"))
        for code, words, expected in (
            (codes.NO_SUCH_FILE, "No such file", "no such file"),
            (codes.PERMISSION_DENIED, None, "permission denied"),
            (codes.FAILURE, "", "failure"),
            (77, None, "status 77"),
        ):
            seen = self.exchange(remove, status(1, code, words))
            self.assertEqual(seen, [Operation(name="remove", path="/a", error=expected)])

    def test_answers_to_nothing(self) -> None:
        """Are passed over, as answers of a kind that was not due are taken for success."""
        odd = self.exchange(message(codes.REMOVE, 1, S(b"/a")), message(codes.ATTRS, 1, NONE))
        self.assertEqual(odd, [Operation(name="remove", path="/a")])
        self.assertEqual(self.observer.answered(status(7, codes.OK)), [])

    def test_what_cannot_be_followed(self) -> None:
        """Sizes that no message has, too much at once, two of one number, long handles and paths."""
        one = message(codes.REMOVE, 1, S(b"/a"))
        many = b"".join(message(codes.REMOVE, number, S(b"/a")) for number in range(observer.MAX_PENDING + 1))
        for data in (
            put_uint32(0) + b"x",
            put_uint32(codes.MAX_MESSAGE_BYTES + 1) + b"x",
            one + one,
            many,
            message(codes.READ, 1, S(b"h" * 257)),
            message(codes.REMOVE, 1, S(b"p" * (codes.MAX_PATH_BYTES + 1))),
            message(codes.REMOVE, 1),
        ):
            watching = Observer()
            watching.asked(INIT)
            with self.assertRaises(RemoteProtocolError):
                watching.asked(data)
        with self.assertRaises(RemoteProtocolError):
            Observer().asked(one)

    def test_too_many_open_files(self) -> None:
        """More than a process may have."""
        self.patch(observer, "MAX_OPEN", 2)
        self.open(b"1")
        self.open(b"2")
        with self.assertRaises(RemoteProtocolError):
            self.open(b"3")

    @given(some.lists(some.tuples(some.booleans(), some.binary(max_size=60)), max_size=8))
    def test_garbage(self, pieces: list[tuple[bool, bytes]]) -> None:
        """Ends in one kind of error only."""
        watching = Observer()
        with contextlib.suppress(RemoteProtocolError):
            watching.asked(INIT)
            for asked, data in pieces:
                (watching.asked if asked else watching.answered)(data)
