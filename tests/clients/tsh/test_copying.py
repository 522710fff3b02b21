"""
The rules of C{scp}, on this machine's files and on a hostile server's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.tsh.copying import Copier, Here
from teleport_tw.dial.sftp import Attributes


class Tree:
    """
    A place in memory: paths to contents; folders end in a slash.
    """

    def __init__(self, content: dict[str, bytes]) -> None:
        self.content = content

    async def stat(self, path: str) -> Attributes | None:
        if path.rstrip("/") + "/" in self.content or path in (".", ""):
            return Attributes(mode=0o040755)
        found = self.content.get(path)
        return None if found is None else Attributes(size=len(found), mode=0o100640, accessed=7, modified=8)

    async def list(self, path: str) -> list[tuple[str, Attributes]]:
        head = "" if path in (".", "") else path.rstrip("/") + "/"
        names = {key[len(head) :].partition("/")[0] for key in self.content if key.startswith(head) and key != head}
        return [(name, Attributes()) for name in sorted(names)]

    async def make_folder(self, path: str, mode: int) -> None:
        self.content[path + "/"] = b""

    async def set(self, path: str, attributes: Attributes) -> None:
        self.content[path + "!"] = str(attributes.modified).encode()

    async def read(self, path: str) -> AsyncIterator[bytes]:
        yield self.content[path]

    async def write(self, path: str, chunks: AsyncIterator[bytes], mode: int) -> int:
        self.content[path] = b"".join([chunk async for chunk in chunks])
        return len(self.content[path])


class CopierTests(SynchronousTestCase):
    """
    From a server to this machine and back.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.server = Tree({"a.txt": b"A", "b.txt": b"B", ".hidden.txt": b"H", "d/": b"", "d/c": b"C"})

    def done(self, work: Coroutine[Any, Any, None]) -> None:
        self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Any, Any, None]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(work), TeleportError).value)

    def test_file(self) -> None:
        """Into a folder under its own name, or under a new one."""
        self.done(Copier().copy(self.server, "a.txt", Here(), str(self.folder)))
        self.done(Copier().copy(self.server, "a.txt", Here(), str(self.folder / "n")))
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.txt", "n"])
        self.assertEqual((self.folder / "n").read_bytes(), b"A")

    def test_folder(self) -> None:
        """Only when it was asked for."""
        self.assertIn("-r", self.refused(Copier().copy(self.server, "d", Here(), str(self.folder))))
        self.done(Copier(recursive=True).copy(self.server, "d", Here(), str(self.folder)))
        self.assertEqual((self.folder / "d" / "c").read_bytes(), b"C")

    def test_wildcards(self) -> None:
        """Hidden files are matched when the pattern says the dot; several files need a folder."""
        self.done(Copier().copy(self.server, "*.txt", Here(), str(self.folder)))
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.txt", "b.txt"])
        self.assertIn("not a folder", self.refused(Copier().copy(self.server, "*.txt", Here(), str(self.folder / "x"))))
        self.assertIn("nothing matches", self.refused(Copier().copy(self.server, "*.z", Here(), str(self.folder))))

    def test_preserved(self) -> None:
        """Times and permissions as they were, when asked for."""
        self.done(Copier(preserve=True).copy(self.server, "a.txt", Here(), str(self.folder)))
        said = (self.folder / "a.txt").stat()
        self.assertEqual((said.st_mode & 0o777, int(said.st_mtime)), (0o640, 8))

    def test_up(self) -> None:
        """From here to a server, folders too, with progress told."""
        (self.folder / "sub").mkdir()
        (self.folder / "sub" / "f").write_bytes(b"F" * 5)
        told: list[tuple[str, int, int]] = []
        copier = Copier(recursive=True, progress=lambda name, size, more: told.append((name, size, more)))
        self.done(copier.copy(Here(), str(self.folder / "sub"), self.server, "d"))
        self.assertEqual(self.server.content["d/sub/f"], b"FFFFF")
        self.assertEqual(told, [("f", 5, 0), ("f", 5, 5)])

    def test_missing(self) -> None:
        """It is named."""
        self.assertIn("nope", self.refused(Copier().copy(self.server, "nope", Here(), str(self.folder))))
