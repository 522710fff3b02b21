"""
Unix users made for a session, where every matching role asks for it.

A user we made is a member of C{teleport-system} (to be removed when its last session ends) or C{teleport-keep} (to
stay). Nobody outside these groups is ever changed or removed. What a crash left behind is cleaned up at the next
start.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from attrs import define, field
from twisted.logger import Logger

from teleport_tw.access.hostusers import HostUser
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.tasks import Threads
from teleport_tw.resources.roles_options import HostUserMode

DROP_GROUP = "teleport-system"
KEEP_GROUP = "teleport-keep"

COMMAND_SECONDS = 30.0
USERDEL_NO_HOME = 12
"""Exit status of userdel(8): all is removed but a home that was not there."""

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")

_MARKS: Mapping[HostUserMode, str] = {HostUserMode.INSECURE_DROP: DROP_GROUP, HostUserMode.KEEP: KEEP_GROUP}


@define(eq=False)
class HostUsers:
    """
    The users of one host, made and removed by the system's own tools.

    @ivar host_id: marks our sudoers files.
    @ivar sudoers: the directory they go to.
    """

    threads: Threads
    host_id: str
    sudoers: Path = Path("/etc/sudoers.d")
    _sessions: dict[str, int] = field(factory=dict, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _log = Logger()

    async def hold(self, login: str, wanted: HostUser, traits: Mapping[str, Sequence[str]]) -> None:
        """
        Have the user there until L{release}.

        @param traits: C{host_user_uid} and C{host_user_gid} are read.
        @raise TeleportError: it cannot be made.
        """
        self._sessions[login] = self._sessions.get(login, 0) + 1
        try:
            await self.threads.run(self._ensure, login, wanted, traits)
        except BaseException:
            await self.release(login)
            raise

    async def release(self, login: str) -> None:
        """
        A session of the user has ended; the last one takes away what was made for it.
        """
        if self._left(login) == 0:
            await self.threads.run(self._remove, login)

    async def clean_up(self) -> None:
        """
        At the start: nobody is signed in, so nothing made for a session need be there.
        """
        await self.threads.run(self._clean_up)

    def _left(self, login: str) -> int:
        left = self._sessions[login] = self._sessions.get(login, 0) - 1
        if left <= 0:
            del self._sessions[login]
        return max(left, 0)

    # In a thread from here on.

    def _ensure(self, login: str, wanted: HostUser, traits: Mapping[str, Sequence[str]]) -> None:
        for name in (login, *wanted.groups):
            if not _NAME.fullmatch(name):
                raise access_denied(f"{name!r} is no name for a Unix user or group")
        with self._lock:
            mark = _MARKS[wanted.mode]
            marks = _marks_of(login)
            known = _exists(login)
            if known and not marks:
                return
            groups = tuple(dict.fromkeys((*wanted.groups, KEEP_GROUP if KEEP_GROUP in marks else mark)))
            for group in groups:
                self._need_group(group)
            if known:
                self._run("usermod", "-G", ",".join(groups), login)
            else:
                self._add(login, wanted, groups, traits)
            self._write_sudoers(login, wanted.sudoers)

    def _add(self, login: str, wanted: HostUser, groups: Sequence[str], traits: Mapping[str, Sequence[str]]) -> None:
        arguments = ["-m" if wanted.mode is HostUserMode.KEEP else "-M", "-G", ",".join(groups)]
        uid, gid = _number(traits, "host_user_uid"), _number(traits, "host_user_gid")
        if uid is not None:
            arguments += ["-u", str(uid)]
        if gid is not None:
            with suppress(TeleportError):  # the group may be there under another name
                self._run("groupadd", "-g", str(gid), login)
            arguments += ["-g", str(gid)]
        if wanted.shell:
            shell = wanted.shell if wanted.shell.startswith("/") else shutil.which(wanted.shell)
            if not shell or not os.access(shell, os.X_OK):
                raise access_denied(f"the shell {wanted.shell!r} is not on this host")
            arguments += ["-s", shell]
        self._run("useradd", *arguments, login)
        self._log.info("made the user {login} in {groups}", login=login, groups=", ".join(groups))

    def _need_group(self, name: str) -> None:
        try:
            grp.getgrnam(name)
        except KeyError:
            self._run("groupadd", name)

    def _sudoers_file(self, login: str) -> Path:
        # A dot in a name makes sudo pass the file over; a colon is in no login, so no two logins have one file.
        return self.sudoers / f"teleport-{self.host_id}-{login.replace('.', ':')}"

    def _write_sudoers(self, login: str, entries: Sequence[str]) -> None:
        path = self._sudoers_file(login)
        if not entries:
            path.unlink(missing_ok=True)
            return
        text = "".join(f"{login} {entry}\n" for entry in entries)
        if any("\n" in entry or "\0" in entry for entry in entries):
            raise access_denied("a sudoers entry of your roles is not one line")
        if shutil.which("visudo", path=_PATH) is None:
            raise TeleportError(Kind.INTERNAL, "your roles give sudo rights, and sudo is not on this host")
        # A file whose name has a dot is not read by sudo before it is checked and renamed.
        handle, temporary = tempfile.mkstemp(dir=self.sudoers, prefix=".teleport.", suffix=".new")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.chmod(temporary, 0o440)
            self._run("visudo", "-c", "-f", temporary)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _remove(self, login: str) -> None:
        with self._lock:
            if login in self._sessions or not _NAME.fullmatch(login):
                return
            self._sudoers_file(login).unlink(missing_ok=True)
            if _exists(login) and DROP_GROUP in _marks_of(login):
                self._delete(login)

    def _delete(self, login: str) -> None:
        try:
            self._run("userdel", "-r", login)
        except TeleportError as error:
            self._log.warn("the user {login} is left for now: {error}", login=login, error=error.details)
        else:
            self._log.info("removed the user {login}", login=login)

    def _clean_up(self) -> None:
        with self._lock:
            for path in self.sudoers.glob(f"teleport-{self.host_id}-*"):
                path.unlink(missing_ok=True)
            try:
                members = grp.getgrnam(DROP_GROUP).gr_mem
            except KeyError:
                return
            for login in members:
                if login not in self._sessions and login != "root":
                    self._delete(login)

    def _run(self, *command: str) -> None:
        program = shutil.which(command[0], path=_PATH)
        if program is None:
            raise TeleportError(Kind.INTERNAL, f"{command[0]} is not on this host, and users cannot be made")
        try:
            done = subprocess.run(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
                env={"PATH": _PATH, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TeleportError(Kind.INTERNAL, f"{command[0]} could not be run", details=str(error)) from error
        if done.returncode not in ((0, USERDEL_NO_HOME) if command[0] == "userdel" else (0,)):
            raise TeleportError(
                Kind.INTERNAL,
                f"your user could not be set up on this host ({command[0]} failed)",
                details=done.stderr.decode("utf-8", "replace").strip()[:512],
            )


_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def _exists(login: str) -> bool:
    try:
        pwd.getpwnam(login)
    except KeyError:
        return False
    return True


def _marks_of(login: str) -> set[str]:
    found = set()
    for name in (DROP_GROUP, KEEP_GROUP):
        with suppress(KeyError):
            if login in grp.getgrnam(name).gr_mem:
                found.add(name)
    return found


def _number(traits: Mapping[str, Sequence[str]], name: str) -> int | None:
    values = [value for value in traits.get(name, ()) if value]
    if not values:
        return None
    if not values[0].isdigit() or not 0 < int(values[0]) < 2**32 - 1:
        raise access_denied(f"your trait {name} is no id of a Unix user or group")
    return int(values[0])
