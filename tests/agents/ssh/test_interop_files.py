"""
OpenSSH's sftp and scp at our agent, which needs none of OpenSSH.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.agents.ssh.rig import ME, AgentTestCase
from tests.conch.openssh import run
from tests.doubles.cluster import role

pytestmark = pytest.mark.servers


class FilesTestCase(AgentTestCase):
    """
    C{copy} runs scp, C{batch} sftp.
    """

    def tool(self, name: str) -> list[str]:
        """
        A program of OpenSSH's with the options of its C{ssh}.
        """
        if shutil.which(name) is None:
            self.skipTest(f"{name} is not installed")
        arguments = self.arguments(self.root / "user" if (self.root / "user").exists() else self.certify())
        arguments[0] = name
        arguments[arguments.index("-p")] = "-P"
        return arguments

    def copy(self, *words: str) -> Deferred[Any]:
        """
        C{scp} with words; C{HOST:} stands for this host.
        """
        named = [word.replace("HOST:", f"{ME}@127.0.0.1:") for word in words]
        return run(*self.tool("scp"), *named)

    def batch(self, *lines: str) -> Deferred[Any]:
        """
        C{sftp} with commands.
        """
        return run(*self.tool("sftp"), "-b", "-", f"{ME}@127.0.0.1", feed="\n".join(lines).encode() + b"\n")

    def tree(self) -> Path:
        """
        A directory with a large file, an empty one, and one further down.
        """
        root = self.root / "tree"
        (root / "inner").mkdir(parents=True)
        (root / "large").write_bytes(os.urandom(3 * 1024 * 1024 + 17))
        (root / "empty").write_bytes(b"")
        (root / "inner" / "a b'c").write_bytes(b"quoted\n")
        (root / "inner" / "a b'c").chmod(0o741)
        os.utime(root / "inner" / "a b'c", (1_000_000_000, 1_100_000_000))
        return root

    def assert_same(self, first: Path, second: Path) -> None:
        """
        The same names and contents.
        """
        names = sorted(each.relative_to(first) for each in first.rglob("*"))
        self.assertEqual(names, sorted(each.relative_to(second) for each in second.rglob("*")))
        for name in names:
            if (first / name).is_file():
                self.assertEqual((first / name).read_bytes(), (second / name).read_bytes(), name)


class SFTPTests(FilesTestCase):
    """
    Subsystem C{sftp}.
    """

    async def test_trees_go_both_ways(self) -> None:
        """
        C{scp -r} as it is today, times and modes kept.
        """
        await self.start()
        tree = self.tree()
        result = await self.copy("-rp", str(tree), f"HOST:{self.root}/up")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "up")
        found = (self.root / "up" / "inner" / "a b'c").stat()
        self.assertEqual((found.st_mode & 0o7777, found.st_mtime), (0o741, 1_100_000_000))
        result = await self.copy("-r", f"HOST:{self.root}/up", f"{self.root}/down")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "down")
        await self.until(lambda: len(self.sink.named("sftp_summary")) == 2)
        opened = self.sink.named("sftp")
        self.assertIn("TS001I", {event["code"] for event in opened})
        stats = {Path(each["path"]).name: each for each in self.sink.named("sftp_summary")[0]["file_transfer_stats"]}
        self.assertEqual(stats["large"]["bytes_written"], 3 * 1024 * 1024 + 17)

    async def test_each_operation_is_an_event(self) -> None:
        """
        Names as the reference has them, failures with their reason.
        """
        await self.start()
        (self.root / "one").write_text("1")
        result = await self.batch(
            f"cd {self.root}", "ls -la", "mkdir d", "rename one two", "ln -s two link", "ln two hard", "chmod 600 two",
            "-rm nothing", "rm hard", "rmdir d", "df -h", "-get nothing", "pwd",
        )  # fmt: skip
        self.assertEqual(result[2], 0, result)
        self.assertIn(str(self.root).encode(), result[0])
        await self.until(lambda: "TS013I" in [event["code"] for event in self.sink.named("sftp")])
        codes = [event["code"] for event in self.sink.named("sftp")]
        for code in (
            "TS009I",
            "TS010I",
            "TS012I",
            "TS016I",
            "TS018I",
            "TS019I",
            "TS007I",
            "TS011E",
            "TS011I",
            "TS013I",
        ):
            self.assertIn(code, codes)
        [failed] = [event for event in self.sink.named("sftp") if event["code"] == "TS011E"]
        self.assertEqual(failed["error"], "No such file or directory")
        self.assertTrue((self.root / "link").is_symlink())
        self.assertEqual(os.readlink(self.root / "link"), "two")

    async def test_names_that_would_forge_lines(self) -> None:
        """
        Newlines and bytes that are no text reach the log as what they are, in one event each.
        """
        await self.start()
        (self.root / "tree").mkdir()
        (self.root / "tree" / "a\nb\udcff").write_bytes(b"odd")
        result = await self.copy("-r", f"{self.root}/tree", f"HOST:{self.root}/up")
        self.assertEqual(result[2], 0, result)
        [event] = [event for event in self.sink.named("sftp") if event["code"] == "TS001I"]
        self.assertEqual(event["path"], f"{self.root}/up/a\nb\\xff")

    async def test_copying_may_be_forbidden_by_role_or_service(self) -> None:
        """
        The user reads why, and so does the log.
        """
        await self.start(ssh_file_copy=False)
        _, err, code = await self.batch("pwd")
        self.assertNotEqual(code, 0)
        self.assertIn(b"file copying is not permitted", err)
        self.assertEqual([event["code"] for event in self.sink.named("sftp")], ["TS020E"])
        _, err, code = await self.copy("-O", f"HOST:{self.root}/known_hosts", f"{self.root}/x")
        self.assertNotEqual(code, 0)
        self.assertIn(b"file copying is not permitted", err)
        self.assertEqual([event["code"] for event in self.sink.named("scp")], ["T3010E"])
        self.assertFalse((self.root / "x").exists())

    async def test_a_role_forbids_copying(self) -> None:
        """
        One role that says no is enough.
        """
        self.cluster.copy.put(role("nocopy", options={"ssh_file_copy": False}))
        await self.start()
        self.certify(roles=("access", "nocopy"))
        _, err, code = await self.batch("pwd")
        self.assertNotEqual(code, 0)
        self.assertIn(b"file copying is not permitted", err)


class SCPTests(FilesTestCase):
    """
    C{scp -O}.
    """

    async def test_trees_go_both_ways(self) -> None:
        """
        C{-r}, C{-p}, names with spaces and quotes.
        """
        await self.start()
        tree = self.tree()
        result = await self.copy("-O", "-rp", str(tree), f"HOST:{self.root}/up")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "up")
        found = (self.root / "up" / "inner" / "a b'c").stat()
        self.assertEqual((found.st_mode & 0o7777, found.st_mtime), (0o741, 1_100_000_000))
        result = await self.copy("-O", "-r", f"HOST:{self.root}/up", f"{self.root}/down")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "down")
        events = self.sink.named("scp")
        self.assertEqual({event["code"] for event in events}, {"T3004I", "T3005I"})
        self.assertEqual({event["len"] for event in events}, {0, 7, 3 * 1024 * 1024 + 17})

    async def test_patterns_and_failures(self) -> None:
        """
        A shell would expand them; what is not there is said, and exits with 1.
        """
        await self.start()
        for name in ("one.txt", "two.txt", "three.bin"):
            (self.root / name).write_text(name)
        (self.root / "got").mkdir()
        result = await self.copy("-O", f"HOST:{self.root}/*.txt", f"{self.root}/got")
        self.assertEqual(result[2], 0, result)
        self.assertEqual(sorted(each.name for each in (self.root / "got").iterdir()), ["one.txt", "two.txt"])
        result = await self.copy("-O", f"HOST:{self.root}/nothing", f"{self.root}/got")
        self.assertEqual(result[2], 1, result)
        self.assertIn(b"No such file or directory", result[1])
        self.assertIn("T3004E", [event["code"] for event in self.sink.named("scp")])


class RsyncTests(FilesTestCase):
    """
    rsync is a command like any other.
    """

    async def test_trees_go_both_ways(self) -> None:
        """
        By the target's own rsync.
        """
        if shutil.which("rsync") is None:
            self.skipTest("rsync is not installed")
        await self.start()
        tree = self.tree()
        shell = " ".join(self.arguments(self.certify()))
        result = await run("rsync", "-a", "-e", shell, f"{tree}/", f"{ME}@127.0.0.1:{self.root}/up/")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "up")
        result = await run("rsync", "-a", "-e", shell, f"{ME}@127.0.0.1:{self.root}/up/", f"{self.root}/down/")
        self.assertEqual(result[2], 0, result)
        self.assert_same(tree, self.root / "down")
