"""
Unix users made for sessions, on the real system: root alone can test it.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_tw.access.hostusers import HostUser
from teleport_tw.agents.ssh.hostusers import DROP_GROUP, KEEP_GROUP, HostUsers
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Threads, in_thread
from teleport_tw.resources.roles_options import HostUserMode
from tests.conch.openssh import scratch

pytestmark = pytest.mark.servers


class HostUserTests(TestCase):
    """
    With names no other test uses.
    """

    timeout = 60

    def setUp(self) -> None:
        if os.getuid() != 0 or shutil.which("useradd", path="/usr/sbin") is None:
            raise SkipTest("needs root and useradd")
        self.login = f"tth{os.getpid()}"
        self.group = f"ttg{os.getpid()}"
        self.sudoers = scratch(self)
        self.users = HostUsers(Threads(reactor, reactor.getThreadPool()), "host-1", self.sudoers)
        self.addCleanup(self.quietly, "groupdel", self.group)
        self.addCleanup(self.quietly, "userdel", "-r", self.login)

    def quietly(self, *command: str) -> None:
        subprocess.run(command, capture_output=True, check=False)

    def groups(self) -> set[str]:
        return {each.gr_name for each in grp.getgrall() if self.login in each.gr_mem}

    def wanted(self, mode: HostUserMode = HostUserMode.INSECURE_DROP, **more: object) -> HostUser:
        return HostUser(mode=mode, groups=(self.group,), **more)

    async def test_a_dropped_user_lives_as_long_as_its_last_session(self) -> None:
        """
        With the ids of its traits.
        """
        traits = {"host_user_uid": ("54321",), "host_user_gid": ("54322",)}
        await self.users.hold(self.login, self.wanted(shell="/bin/sh"), traits)
        await self.users.hold(self.login, self.wanted(shell="/bin/sh"), traits)
        entry = pwd.getpwnam(self.login)
        self.assertEqual((entry.pw_uid, entry.pw_gid, entry.pw_shell), (54321, 54322, "/bin/sh"))
        self.assertEqual(self.groups(), {self.group, DROP_GROUP})
        await self.users.release(self.login)
        pwd.getpwnam(self.login)
        await self.users.release(self.login)
        self.assertRaises(KeyError, pwd.getpwnam, self.login)

    async def test_a_kept_user_stays(self) -> None:
        """
        And is not dropped by a later session.
        """
        await self.users.hold(self.login, self.wanted(HostUserMode.KEEP), {})
        await self.users.release(self.login)
        self.assertEqual(self.groups(), {self.group, KEEP_GROUP})
        await self.users.hold(self.login, self.wanted(), {})
        await self.users.release(self.login)
        self.assertEqual(self.groups(), {self.group, KEEP_GROUP})
        self.assertTrue(await in_thread(Path(pwd.getpwnam(self.login).pw_dir).is_dir))

    async def test_a_user_of_somebody_else_is_left_alone(self) -> None:
        """
        Neither changed nor removed.
        """
        self.quietly("useradd", "-M", self.login)
        await self.users.hold(self.login, self.wanted(), {})
        await self.users.release(self.login)
        await self.users.clean_up()
        pwd.getpwnam(self.login)
        self.assertEqual(self.groups(), set())

    async def test_a_crash_is_cleaned_up_at_the_next_start(self) -> None:
        """
        Users and sudoers files.
        """
        await self.users.hold(self.login, self.wanted(), {})
        (self.sudoers / f"teleport-host-1-{self.login}").write_text("x")
        (self.sudoers / "somebody").write_text("x")
        again = HostUsers(self.users.threads, "host-1", self.sudoers)
        await again.clean_up()
        self.assertRaises(KeyError, pwd.getpwnam, self.login)
        self.assertEqual([path.name for path in self.sudoers.iterdir()], ["somebody"])

    async def test_names_and_ids_that_are_none_are_refused(self) -> None:
        """
        Options in disguise among them; nothing is left.
        """
        bad = HostUser(mode=HostUserMode.KEEP, groups=("-o",))
        for login, wanted, traits in (
            ("-r", self.wanted(), {}),
            ("a b", self.wanted(), {}),
            (self.login, bad, {}),
            (self.login, self.wanted(), {"host_user_uid": ("0",)}),
            (self.login, self.wanted(), {"host_user_gid": ("x",)}),
            (self.login, self.wanted(shell="/no/such/shell"), {}),
        ):
            try:
                await self.users.hold(login, wanted, traits)
            except TeleportError:
                pass
            else:
                self.fail(f"{login} {wanted} {traits}")
        self.assertRaises(KeyError, pwd.getpwnam, self.login)
        self.assertEqual(self.users._sessions, {})

    async def test_sudoers_lines_are_checked_before_they_count(self) -> None:
        """
        A wrong line refuses the session; a right one is there for its time.
        """
        if shutil.which("visudo", path="/usr/sbin") is None:
            raise SkipTest("needs visudo")
        path = self.sudoers / f"teleport-host-1-{self.login}"
        await self.users.hold(self.login, self.wanted(sudoers=("ALL=(root) NOPASSWD: /bin/true",)), {})
        self.assertEqual(path.read_text(), f"{self.login} ALL=(root) NOPASSWD: /bin/true\n")
        self.assertEqual(path.stat().st_mode & 0o777, 0o440)
        await self.users.release(self.login)
        self.assertFalse(path.exists())
        with self.assertRaises(TeleportError):
            await self.users.hold(self.login, self.wanted(sudoers=("this is no line of sudoers",)), {})
        self.assertEqual(list(self.sudoers.iterdir()), [])

    async def test_sudo_believes_it(self) -> None:
        """
        The real sudo grants what the role says and no more, to this login and to none that is written alike, for as
        long as the session lasts.
        """
        sudoers = Path("/etc/sudoers.d")
        if shutil.which("sudo") is None or not os.access(sudoers, os.W_OK):
            raise SkipTest("needs sudo")
        users = HostUsers(self.users.threads, f"test{os.getpid()}")
        dotted, alike = f"{self.login}.x", f"{self.login}_x"
        true, false = shutil.which("true"), shutil.which("false")
        self.addCleanup(self.quietly, "userdel", "-r", dotted)
        self.addCleanup(self.quietly, "userdel", "-r", alike)
        self.addCleanup(self.quietly, "sh", "-c", f"rm -f /etc/sudoers.d/teleport-test{os.getpid()}-*")

        def sudo(login: str, *words: str | None) -> bool:
            whole = ("runuser", "-u", login, "--", "sudo", "-n", *map(str, words))
            return subprocess.run(whole, capture_output=True, check=False, timeout=20).returncode == 0

        def may(login: str, program: str | None) -> bool:
            return sudo(login, "-l", program)

        await users.hold(dotted, self.wanted(sudoers=(f"ALL=(root) NOPASSWD: {true}",)), {})
        await users.hold(alike, self.wanted(sudoers=(f"ALL=(root) NOPASSWD: {false}",)), {})
        seen = [(may(login, true), may(login, false)) for login in (dotted, alike)]
        self.assertEqual(seen, [(True, False), (False, True)])
        self.assertTrue(sudo(dotted, true))
        await users.release(alike)
        self.assertTrue(may(dotted, true))
        await users.release(dotted)
        self.assertEqual([name for name in os.listdir(sudoers) if f"test{os.getpid()}-" in name], [])
