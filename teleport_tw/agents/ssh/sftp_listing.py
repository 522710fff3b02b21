"""
Lines of a directory as SFTP shows them: name, C{ls -l}, attributes.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import time

from teleport_tw.protocols.sftp import attributes
from teleport_tw.protocols.ssh.wire import put_string

_HALF_YEAR_SECONDS = 182 * 86400

MAX_NAMES = 4096
"""Kept at most; asking the system for one takes a while."""


class Names:
    """
    Of users and groups; the number where there is none.
    """

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def user(self, uid: int) -> str:
        """
        Of a uid.
        """
        name = self._users.get(uid)
        if name is None:
            try:
                name = pwd.getpwuid(uid).pw_name
            except (KeyError, OverflowError):
                name = str(uid)
            if len(self._users) < MAX_NAMES:
                self._users[uid] = name
        return name

    def group(self, gid: int) -> str:
        """
        Of a gid.
        """
        name = self._groups.get(gid)
        if name is None:
            try:
                name = grp.getgrgid(gid).gr_name
            except (KeyError, OverflowError):
                name = str(gid)
            if len(self._groups) < MAX_NAMES:
                self._groups[gid] = name
        return name


def entry(name: bytes, found: os.stat_result, names: Names) -> bytes:
    """
    C{string} name; C{string} line as of C{ls -l}; attributes.
    """
    when = time.localtime(found.st_mtime)
    old = not 0 <= time.time() - found.st_mtime < _HALF_YEAR_SECONDS
    date = time.strftime("%b %e  %Y" if old else "%b %e %H:%M", when)
    line = (
        f"{stat.filemode(found.st_mode)} {found.st_nlink:4d} {names.user(found.st_uid):<8} "
        f"{names.group(found.st_gid):<8} {found.st_size:8d} {date} "
    ).encode("utf-8", "surrogateescape")
    fields = attributes.of_file(
        found.st_size, found.st_uid, found.st_gid, found.st_mode, found.st_atime, found.st_mtime
    )
    return put_string(name) + put_string(line + name) + fields
