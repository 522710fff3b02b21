"""
Unix accounts: who a login is on this host, and whether it may be used now.

Everything here may block on the system's name service, so it runs in a thread.
"""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from attrs import frozen

from teleport_tw.base.errors import Kind, TeleportError, access_denied

_DAY_SECONDS = 86400
_EXPIRES_FIELD = 7

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

MAX_ENVIRONMENT_BYTES = 64 * 1024


@frozen(kw_only=True)
class Account:
    """
    One login of this host.

    @ivar groups: all of them, the primary one included.
    """

    login: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    @property
    def environment(self) -> dict[str, str]:
        """
        What every program of the user starts with.
        """
        return {
            "HOME": self.home,
            "SHELL": self.shell,
            "USER": self.login,
            "LOGNAME": self.login,
            "PATH": USER_PATH if self.uid else ROOT_PATH,
            "MAIL": f"/var/mail/{self.login}",
        }


@frozen(kw_only=True)
class Accounts:
    """
    The accounts of this host.

    @ivar etc: where C{nologin} and C{shadow} lie.
    @ivar uid: who we are; only root becomes others.
    """

    etc: Path = Path("/etc")
    uid: int = os.geteuid()

    def find(self, login: str) -> Account:
        """
        @raise TeleportError: NOT_FOUND, there is no such user; ACCESS_DENIED, it may not be used now, or not by us.
        """
        try:
            entry = pwd.getpwnam(login)
        except (KeyError, ValueError) as error:
            raise TeleportError(Kind.NOT_FOUND, f"user {login} does not exist on this host") from error
        if self.uid not in (0, entry.pw_uid):
            ours = _name(self.uid)
            raise access_denied(
                f"this agent runs as {ours} and cannot start sessions as {login}; it must run as root to serve others"
            )
        if entry.pw_uid:
            self._check_nologin()
        if self.uid == 0:
            self._check_expiry(login)
            groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
        else:
            groups = tuple(os.getgroups())
        return Account(
            login=entry.pw_name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            groups=groups,
            home=entry.pw_dir or "/",
            shell=entry.pw_shell or "/bin/sh",
        )

    def _check_nologin(self) -> None:
        try:
            text = (self.etc / "nologin").read_text(errors="replace")
        except OSError:
            return
        raise access_denied(text.strip()[:1024] or "nobody but root may sign in to this host now")

    def _check_expiry(self, login: str) -> None:
        try:
            lines = (self.etc / "shadow").read_text(errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            fields = line.split(":")
            if fields[0] == login and len(fields) > _EXPIRES_FIELD:
                expires = fields[_EXPIRES_FIELD]
                if expires.isdigit() and time.time() >= int(expires) * _DAY_SECONDS:
                    raise access_denied(f"the account {login} of this host has expired")

    def user_environment(self, account: Account) -> dict[str, str]:
        """
        C{~/.tsh/environment}: C{NAME=value} a line, C{#} for comments.

        @return: empty when there is none. A file that is not the user's own, or not a plain one, is not read.
        """
        path = os.path.join(account.home, ".tsh", "environment")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return {}
        try:
            if os.fstat(descriptor).st_uid not in (account.uid, 0):
                return {}
            text = os.read(descriptor, MAX_ENVIRONMENT_BYTES).decode("utf-8", "replace")
        except OSError:
            return {}
        finally:
            os.close(descriptor)
        return parse_environment(text)


def parse_environment(text: str) -> dict[str, str]:
    """
    @param text: of C{~/.tsh/environment}.
    @return: what is well formed; loader variables are left out.
    """
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier() and not name.startswith("LD_") and "\0" not in value:
            found[name] = value
    return found


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
