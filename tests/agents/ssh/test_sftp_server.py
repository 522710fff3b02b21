"""
The SFTP server by itself: requests in a file, answers in another.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh.sftp_server import MAX_HANDLES, SFTPServer
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp import codes
from teleport_tw.protocols.sftp.attributes import Attributes
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_uint32, put_uint64

NOTHING = Attributes().encode()
FIRST = put_string(put_uint32(0))
"""The first handle there is."""


def message(kind: int, fields: bytes, number: int = 7) -> bytes:
    """
    One request.
    """
    return struct.pack(">IBI", 5 + len(fields), kind, number) + fields


INIT = struct.pack(">IBI", 5, codes.INIT, 3)


class ServerTestCase(SynchronousTestCase):
    """
    C{serve} gives the answers.
    """

    def setUp(self) -> None:
        directory = TemporaryDirectory(prefix="sftp")
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.reports: list[dict[str, Any]] = []

    def report(self, operation: str, **facts: Any) -> None:
        """
        Keep it.
        """
        self.reports.append({"op": operation, **facts})

    def path(self, name: str) -> bytes:
        """
        Of a file, as a field.
        """
        return put_string(os.fsencode(self.root / name))

    def serve(self, *requests: bytes, init: bytes = INIT) -> list[tuple[int, bytes]]:
        """
        @return: type and fields of each answer, the version left out.
        """
        asked, answered = self.root / "asked", self.root / "answered"
        asked.write_bytes(init + b"".join(requests))
        reading = os.open(asked, os.O_RDONLY)
        writing = os.open(answered, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            SFTPServer(reading, writing, self.report).run()
        finally:
            os.close(reading)
            os.close(writing)
        data, found = answered.read_bytes(), []
        while data:
            size, kind, _ = struct.unpack_from(">IBI", data)
            found.append((kind, data[9 : 4 + size]))
            data = data[4 + size :]
        self.assertEqual(found[0][0], codes.VERSION_ANSWER)
        return found[1:]

    def status(self, answer: tuple[int, bytes]) -> int:
        """
        @return: the code of a STATUS.
        """
        self.assertEqual(answer[0], codes.STATUS)
        return Reader(answer[1]).uint32()


class FileTests(ServerTestCase):
    """
    Reading and writing.
    """

    def test_what_is_written_is_read(self) -> None:
        """
        At offsets, and counted.
        """
        flags = put_uint32(codes.FLAG_READ | codes.FLAG_WRITE | codes.FLAG_CREAT)
        answers = self.serve(
            message(codes.OPEN, self.path("f") + flags + NOTHING),
            message(codes.WRITE, FIRST + put_uint64(3) + put_string(b"abc")),
            message(codes.READ, FIRST + put_uint64(1) + put_uint32(100)),
            message(codes.READ, FIRST + put_uint64(6) + put_uint32(100)),
            message(codes.CLOSE, FIRST),
            message(codes.READ, FIRST + put_uint64(0) + put_uint32(1)),
        )
        self.assertEqual(answers[0], (codes.HANDLE, FIRST))
        self.assertEqual(self.status(answers[1]), codes.OK)
        self.assertEqual(answers[2], (codes.DATA, put_string(b"\0\0abc")))
        self.assertEqual(self.status(answers[3]), codes.EOF)
        self.assertEqual(self.status(answers[4]), codes.OK)
        self.assertEqual(self.status(answers[5]), codes.BAD_MESSAGE)
        [done] = [each for each in self.reports if each["op"] == "done"]
        self.assertEqual((done["read"], done["written"]), (5, 3))

    def test_a_file_left_open_is_counted(self) -> None:
        """
        When the client goes.
        """
        self.serve(message(codes.OPEN, self.path("f") + put_uint32(codes.FLAG_WRITE | codes.FLAG_CREAT) + NOTHING))
        self.assertEqual(self.reports[-1]["op"], "done")

    def test_messages_that_cross_the_buffers_end(self) -> None:
        """
        Longest messages, one after the other, of a length that fits no buffer.
        """
        data = os.urandom(codes.MAX_DATA_BYTES)
        writes = [message(codes.WRITE, FIRST + put_uint64(at * len(data)) + put_string(data)) for at in range(24)]
        flags = put_uint32(codes.FLAG_WRITE | codes.FLAG_CREAT)
        answers = self.serve(message(codes.OPEN, self.path("f") + flags + NOTHING), *writes)
        self.assertEqual({self.status(each) for each in answers[1:]}, {codes.OK})
        self.assertEqual((self.root / "f").read_bytes(), data * 24)

    def test_copies_are_made_here(self) -> None:
        """
        C{copy-data}.
        """
        (self.root / "from").write_bytes(b"0123456789")
        second = put_string(put_uint32(1))
        answers = self.serve(
            message(codes.OPEN, self.path("from") + put_uint32(codes.FLAG_READ) + NOTHING),
            message(codes.OPEN, self.path("to") + put_uint32(codes.FLAG_WRITE | codes.FLAG_CREAT) + NOTHING),
            message(
                codes.EXTENDED,
                put_string(codes.COPY_DATA) + FIRST + put_uint64(2) + put_uint64(5) + second + put_uint64(1),
            ),
        )
        self.assertEqual(self.status(answers[2]), codes.OK)
        self.assertEqual((self.root / "to").read_bytes(), b"\00023456")

    def test_rename_replaces_nothing(self) -> None:
        """
        POSIX's does.
        """
        (self.root / "a").write_text("a")
        (self.root / "b").write_text("b")
        names = self.path("a") + self.path("b")
        [plain] = self.serve(message(codes.RENAME, names))
        self.assertEqual(self.status(plain), codes.FAILURE)
        self.assertEqual((self.root / "b").read_text(), "b")
        [posix] = self.serve(message(codes.EXTENDED, put_string(codes.POSIX_RENAME) + names))
        self.assertEqual(self.status(posix), codes.OK)
        self.assertEqual((self.root / "b").read_text(), "a")


class AttackTests(ServerTestCase):
    """
    Clients that mean harm.
    """

    def test_lengths_beyond_reason(self) -> None:
        """
        End the process before anything is kept.
        """
        for size in (0, 4, codes.MAX_MESSAGE_BYTES + 1, 2**32 - 1):
            with self.assertRaises(RemoteProtocolError):
                self.serve(struct.pack(">I", size) + b"x" * 100)

    def test_it_begins_with_init(self) -> None:
        """
        Or ends.
        """
        with self.assertRaises(RemoteProtocolError):
            self.serve(message(codes.STAT, self.path("f")), init=b"")

    def test_offsets_that_overflow(self) -> None:
        """
        Are refused, and the file stays as it is.
        """
        flags = put_uint32(codes.FLAG_READ | codes.FLAG_WRITE | codes.FLAG_CREAT)
        answers = self.serve(
            message(codes.OPEN, self.path("f") + flags + NOTHING),
            *(message(codes.READ, FIRST + put_uint64(at) + put_uint32(9)) for at in (2**64 - 1, 2**63 - 1)),
            message(codes.WRITE, FIRST + put_uint64(2**63 - 1) + put_string(b"x")),
            message(codes.WRITE, FIRST + put_uint64(0) + put_uint32(1000) + b"x"),
            message(codes.SETSTAT, self.path("f") + Attributes(size=2**64 - 1).encode()),
        )
        self.assertEqual({self.status(each) for each in answers[1:]}, {codes.BAD_MESSAGE})
        self.assertEqual((self.root / "f").stat().st_size, 0)

    def test_handles_run_out(self) -> None:
        """
        At a bound of ours, and closing gives one back.
        """
        (self.root / "f").touch()
        opening = message(codes.OPEN, self.path("f") + put_uint32(codes.FLAG_READ) + NOTHING)
        try:
            answers = self.serve(*[opening] * (MAX_HANDLES + 5), message(codes.CLOSE, FIRST), opening)
        except OSError as error:  # a lower bound of this machine
            self.skipTest(str(error))
        refused = [each for each in answers if each[0] == codes.STATUS]
        self.assertGreaterEqual(len(refused), 6)
        self.assertEqual(answers[-1][0], codes.HANDLE)

    def test_paths_that_no_file_can_have(self) -> None:
        """
        NULs and endless names are refused before the kernel is asked.
        """
        for path in (b"a\0b", b"a" * 5000):
            field = put_string(path)
            answers = self.serve(
                message(codes.OPEN, field + put_uint32(1) + NOTHING),
                message(codes.REMOVE, field),
                message(codes.RENAME, field + field),
                message(codes.SYMLINK, field + field),
                message(codes.REALPATH, put_string(b"a\0b")),
            )
            self.assertEqual({self.status(each) for each in answers}, {codes.BAD_MESSAGE})

    def test_directory_handles_are_no_files(self) -> None:
        """
        Nor files directories, and made-up handles nothing.
        """
        reading = FIRST + put_uint64(0) + put_uint32(9)
        answers = self.serve(message(codes.OPENDIR, self.path("")), message(codes.READ, reading))
        self.assertEqual(self.status(answers[1]), codes.BAD_MESSAGE)
        (self.root / "f").touch()
        opening = message(codes.OPEN, self.path("f") + put_uint32(codes.FLAG_READ) + NOTHING)
        answers = self.serve(
            opening,
            message(codes.READDIR, FIRST),
            *(message(codes.CLOSE, put_string(handle)) for handle in (b"", b"\0\0\0\0\0", b"\0" * 200, b"\1\0\0\0")),
            message(codes.FSTAT, put_string(b"abcdefgh")),
        )
        self.assertEqual({self.status(each) for each in answers[1:]}, {codes.BAD_MESSAGE})

    def test_unknown_requests(self) -> None:
        """
        Have an answer.
        """
        answers = self.serve(message(99, b""), message(codes.EXTENDED, put_string(b"nobody@knows")))
        self.assertEqual({self.status(each) for each in answers}, {codes.OP_UNSUPPORTED})

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((3, 4, 5, 6, 7, 8, 10, 12, 17, 19, 200, 0, 255)),
                st.one_of(st.binary(max_size=40), st.builds(lambda tail: FIRST + tail, st.binary(max_size=30))),
            ),
            max_size=8,
        )
    )
    def test_garbage_is_answered(self, requests: list[tuple[int, bytes]]) -> None:
        """
        Each request with one answer, in order.
        """
        here = os.getcwd()
        folder = self.root / "empty"
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        try:
            answers = self.serve(*(message(kind, fields) for kind, fields in requests))
        finally:
            os.chdir(here)
        self.assertEqual(len(answers), len(requests))
