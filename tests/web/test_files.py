"""
Files of a real server, by way of a page.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.web.body import WAITING_BYTES
from teleport_tw.web.channel import MAX_BODY_BYTES
from teleport_tw.web.files import disposition
from tests.proxy.world import until
from tests.web.world import Pages


class FilesTests(TestCase):
    """
    One user, one folder.
    """

    async def pages(self, **options: Any) -> tuple[Pages, Path]:
        """
        @return: with a folder on the server.
        """
        folder = Path(tempfile.mkdtemp(prefix="tw-files-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return await Pages.start(self, **options), folder

    async def test_list(self) -> None:
        """A folder's names with what they are; nothing in a name is more than a name."""
        pages, folder = await self.pages()
        (folder / "b <b>.txt").write_bytes(b"12345")
        (folder / "a\x1b[2J").mkdir()
        os.symlink("nowhere", folder / "link")
        (folder / os.fsdecode(b"\xff")).write_bytes(b"")
        status, found = await pages.json("GET", pages.place("list", path=str(folder)))
        self.assertEqual(status, 200)
        self.assertEqual(found["path"], str(folder))
        told = {each["name"]: (each["kind"], each["size"], each["reachable"]) for each in found["items"]}
        self.assertEqual(told["b <b>.txt"], ("file", 5, True))
        self.assertEqual(told["link"][0], "link")
        self.assertEqual(told["a\N{REPLACEMENT CHARACTER}[2J"][0], "folder")
        self.assertEqual(told["\N{REPLACEMENT CHARACTER}"][2], False)
        status, found = await pages.json("GET", pages.place("list", path=str(folder / "gone")))
        self.assertEqual(status, 404)
        self.assertIn("no such file", found["error"]["message"])

    async def test_there_and_back(self) -> None:
        """What is far larger than any body that is kept goes up and comes down as it is, and the log knows."""
        pages, folder = await self.pages()
        data = os.urandom(3 * 1024 * 1024 + 17)
        self.assertGreater(len(data), MAX_BODY_BYTES + WAITING_BYTES)
        path = pages.place("scp", location=str(folder), filename="big one")
        status, told = await pages.json("POST", path, data)
        self.assertEqual((status, told), (200, {"path": str(folder / "big one"), "size": len(data)}))
        self.assertEqual((folder / "big one").read_bytes(), data)
        status, headers, body = await pages.ask("GET", pages.place("scp", location=str(folder / "big one")))
        self.assertEqual((status, body == data), (200, True))
        self.assertEqual(headers.getRawHeaders("Content-Length"), [str(len(data))])
        self.assertEqual(headers.getRawHeaders("Content-Type"), ["application/octet-stream"])
        self.assertIn("sandbox", headers.getRawHeaders("Content-Security-Policy")[0])
        await until(lambda: len(pages.world.agent_sink.named("sftp")) >= 2)

    async def test_refused_before_the_body(self) -> None:
        """Without cookie, bearer, or from another page, nothing is written, and the answer is read."""
        pages, folder = await self.pages()
        path = pages.place("scp", location=str(folder / "x"))
        for headers, expected in (
            ({"Cookie": ""}, 401),
            ({"Authorization": ""}, 401),
            ({"Authorization": "Bearer " + "z" * 27}, 401),
            ({"Origin": "https://evil.example"}, 403),
        ):
            status, _ = await pages.json("POST", path, bytes(2 * MAX_BODY_BYTES), **headers)
            self.assertEqual(status, expected, headers)
        self.assertEqual(list(folder.iterdir()), [])

    async def test_names_that_lead_elsewhere(self) -> None:
        """A file's name is a name; a path with dots is the server's affair, and stays a path."""
        pages, folder = await self.pages()
        for name in ("../x", "..", ".", "a/b", "a\0b"):
            path = pages.place("scp", location=str(folder), filename=name)
            status, _ = await pages.json("POST", path, b"x")
            self.assertEqual(status, 400, name)
        self.assertEqual(list(folder.iterdir()), [])
        marker = folder / "$(touch pwned); x"
        status, _ = await pages.json("POST", pages.place("scp", location=str(marker)), b"x")
        self.assertEqual(status, 200)
        self.assertEqual([each.name for each in folder.iterdir()], [marker.name])

    async def test_there_already(self) -> None:
        """Who says so overwrites nothing."""
        pages, folder = await self.pages()
        (folder / "x").write_bytes(b"old")
        path = pages.place("scp", location=str(folder / "x"), overwrite="false")
        status, _ = await pages.json("POST", path, b"new")
        self.assertEqual((status, (folder / "x").read_bytes()), (409, b"old"))

    async def test_no_file(self) -> None:
        """Folders, devices and what is not there are no downloads."""
        pages, folder = await self.pages()
        for location, expected in ((str(folder), 400), ("/dev/zero", 400), (str(folder / "gone"), 404)):
            status, _ = await pages.json("GET", pages.place("scp", location=location))
            self.assertEqual(status, expected, location)

    async def test_without_a_size(self) -> None:
        """A file of the kernel's, which has none before it is read, comes whole."""
        pages, _ = await self.pages()
        status, headers, body = await pages.ask("GET", pages.place("scp", location="/proc/self/status"))
        self.assertEqual((status, headers.getRawHeaders("Content-Length")), (200, None))
        self.assertIn(b"Name:", body)

    async def test_ticket(self) -> None:
        """The browser itself fetches a file once, by its cookie alone; nobody else can."""
        pages, folder = await self.pages()
        (folder / "x").write_bytes(b"content")
        status, told = await pages.json("POST", pages.place("scp/ticket", location=str(folder / "x")))
        self.assertEqual((status, told["size"]), (200, 7))
        status, _, _ = await pages.ask("GET", told["url"], Cookie="", Authorization="")
        self.assertEqual(status, 401)
        status, headers, body = await pages.ask("GET", told["url"], Authorization="")
        self.assertEqual((status, body), (200, b"content"))
        self.assertIn("attachment", headers.getRawHeaders("Content-Disposition")[0])
        status, _, _ = await pages.ask("GET", told["url"], Authorization="")
        self.assertEqual(status, 404)

    async def test_copying_is_not_allowed(self) -> None:
        """The role says so; the page is told in words."""
        pages, folder = await self.pages(ssh_file_copy=False)
        status, told = await pages.json("GET", pages.place("list", path=str(folder)))
        self.assertEqual(status, 403, told)


class DispositionTests(SynchronousTestCase):
    """
    Names of downloads.
    """

    def test_harmless(self) -> None:
        """No name breaks out of the header, hides the file or moves it elsewhere."""
        for name, expected in (
            ("a.txt", b"attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
            ('a"; x=\r\nSet-Cookie: y', None),
            ("..", b"attachment; filename=\"download\"; filename*=UTF-8''download"),
            (".bashrc", b"attachment; filename=\"bashrc\"; filename*=UTF-8''bashrc"),
            ("\u202etxt.exe", None),
            ("\udcff", None),
            ("naïve", b"attachment; filename=\"na_ve\"; filename*=UTF-8''na%C3%AFve"),
        ):
            told = disposition(name)
            self.assertTrue(told.isascii() and told.startswith(b"attachment; "))
            self.assertEqual(told.count(b'"'), 2)
            self.assertFalse(set(b"\r\n/\\") & set(told))
            if expected:
                self.assertEqual(told, expected)
