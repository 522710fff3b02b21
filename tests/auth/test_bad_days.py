"""
Auth killed, refused its disk, started twice, and with a clock that jumps.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from teleport_tw.api.admin import connect_admin
from teleport_tw.api.contract import EventQuery, every
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Cluster

ROOT = Path(__file__).parents[2]

_SERVER = """
import sys
from teleport_tw.base.loop import install
reactor = install()
from twisted.internet import reactor as clock
from teleport_tw.auth.service import make_auth_service
from teleport_tw.base.tasks import Threads
from teleport_tw.config import sections
auth = make_auth_service(
    sections.Teleport(data_dir=sys.argv[1]),
    sections.AuthService(cluster_name="example.com", listen_addr="127.0.0.1:0"),
    reactor=clock, threads=Threads(clock, clock.getThreadPool()),
)
def failed(failure):
    print("failed", failure.value, flush=True)
    clock.stop()
def start():
    auth.startService()
    auth.ready().addCallbacks(lambda _: print("ready", flush=True), failed)
clock.callWhenRunning(start)
clock.addSystemEventTrigger("before", "shutdown", auth.stopService)
clock.run()
"""


@contextmanager
def auth_on(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """
    @return: a process, and the line by which it said how starting went.
    """
    running = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert running.stdout is not None
    try:
        yield running, running.stdout.readline().strip()
    finally:
        running.kill()
        running.wait(30)
        running.stdout.close()


def role(name: str) -> Resource:
    return Resource("role", "v7", Metadata(name), {"allow": {"logins": ["root"]}})


def closed(directory: Path) -> Path:
    directory.chmod(0o500)
    return directory


def fill(ballast: Path) -> None:
    """
    Write until the disk takes no more.
    """
    with open(ballast, "wb", buffering=0) as full:
        try:
            while True:
                full.write(bytes(64 * 1024))
        except OSError:
            pass


@pytest.mark.servers
class Killed(TestCase):
    """
    As processes, which may be killed.
    """

    timeout = 120

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tw-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    async def started(self) -> tuple[subprocess.Popen[str], str]:
        context = auth_on(self.directory)
        running: tuple[subprocess.Popen[str], str] = await deferToThread(context.__enter__)
        self.addCleanup(deferToThread, context.__exit__, None, None, None)
        return running

    async def test_what_was_acknowledged_is_there(self) -> None:
        """Killed in the middle of writes, auth starts again with each one that it said was done, in the log as well."""
        first, said = await self.started()
        self.assertEqual(said, "ready")
        api = connect_admin(self.directory)
        done: list[str] = []

        async def write(lane: int) -> None:
            for number in range(10_000):
                name = f"r{lane}-{number}"
                try:
                    await api.create(role(name))
                except TeleportError:
                    return
                done.append(name)
                if len(done) == 100:
                    first.send_signal(signal.SIGKILL)

        await gatherResults([Deferred.fromCoroutine(write(lane)) for lane in range(8)])
        await api.close()
        self.assertGreaterEqual(len(done), 100)
        await deferToThread(first.wait, 30)
        _, said = await self.started()
        self.assertEqual(said, "ready")
        again = connect_admin(self.directory)
        try:
            there = {item.name async for item in every(again, "role")}
            self.assertEqual(set(done) - there, set())
            self.assertEqual((await again.verify()).problems, ())
            page = await again.search(EventQuery(types=("role.created",), limit=10))
            self.assertTrue(page.events)
        finally:
            await again.close()

    async def test_two_on_one_directory(self) -> None:
        """A second auth on the same directory is refused, and says why; the first goes on."""
        await self.started()
        _, said = await self.started()
        self.assertTrue(said.startswith("failed"), said)
        self.assertRegex(said, "(?i)(another|already|in use|locked|open)")
        api = connect_admin(self.directory)
        try:
            self.assertEqual((await api.ping()).cluster, "example.com")
        finally:
            await api.close()


class Disk(TestCase):
    """
    That does not take what is written.
    """

    timeout = 120

    async def refused(self, directory: Path) -> str:
        cluster = Cluster.on(directory, self.addCleanup, False)
        with self.assertRaises((OSError, TeleportError)) as caught:
            await cluster.auth.ready()
        return str(caught.exception)

    async def test_read_only(self) -> None:
        """A directory that may not be written to is named in the error."""
        place = Path(tempfile.mkdtemp(prefix="tw-"))
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        directory = self.mounted(place, "ro") if os.geteuid() == 0 else closed(place)
        self.assertIn(str(directory), await self.refused(directory))

    async def test_full(self) -> None:
        """Writes to a full disk are refused and what was there stays; once there is room they go on."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")  # type: ignore[no-untyped-call]
        place = Path(tempfile.mkdtemp(prefix="tw-"))
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        directory = self.mounted(place, "size=24m")
        cluster = Cluster.on(directory, self.addCleanup, False)
        await cluster.auth.ready()
        api = cluster.local()
        await api.create(role("before"))
        ballast = directory / "ballast"
        fill(ballast)
        kind = None
        for number in range(2000):
            text = {"description": "x" * 20_000}
            try:
                await api.create(Resource("role", "v7", Metadata(f"r{number}", **text), {"allow": {}}))
            except TeleportError as error:
                kind = error.kind
                break
        self.assertIsNotNone(kind)
        self.assertNotEqual(kind, Kind.ALREADY_EXISTS)
        self.assertEqual((await api.get("role", "before")).name, "before")
        ballast.unlink()
        await api.create(role("after"))

    def mounted(self, place: Path, options: str) -> Path:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True, check=False
        )
        if made.returncode:
            self.skipTest(f"tmpfs cannot be mounted: {made.stderr.decode().strip()}")  # type: ignore[no-untyped-call]
        self.addCleanup(subprocess.run, ["umount", "-l", str(place)], check=False, capture_output=True)
        return place
