"""
File attributes, which most SFTP messages carry::

    uint32 flags
    uint64 size             if SIZE
    uint32 uid, gid         if OWNER
    uint32 permissions      if PERMISSIONS; the type of the file included
    uint32 atime, mtime     if TIMES; seconds since 1970
    uint32 count            if EXTENDED; then that many pairs of strings

@see: draft-ietf-secsh-filexfer-02 section 5
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.ssh.wire import Reader

SIZE, OWNER, PERMISSIONS, TIMES, EXTENDED = 1, 2, 4, 8, 0x8000_0000

_FULL = Struct(">IQIIIII")
_MAX_TIME = 2**32 - 1
_MAX_PAIRS = 64

PERMISSION_BITS = 0o7777


class Attributes(NamedTuple):
    """
    What is known, or wanted, of a file; C{None} where nothing is said.

    @ivar permissions: mode bits, maybe with the file's type.
    """

    size: int | None = None
    owner: tuple[int, int] | None = None
    permissions: int | None = None
    times: tuple[int, int] | None = None

    def encode(self) -> bytes:
        """
        The fields above, without extensions.
        """
        flags, fields = 0, b""
        if self.size is not None:
            flags |= SIZE
            fields += self.size.to_bytes(8, "big")
        if self.owner is not None:
            flags |= OWNER
            fields += b"".join(each.to_bytes(4, "big") for each in self.owner)
        if self.permissions is not None:
            flags |= PERMISSIONS
            fields += self.permissions.to_bytes(4, "big")
        if self.times is not None:
            flags |= TIMES
            fields += b"".join(each.to_bytes(4, "big") for each in self.times)
        return flags.to_bytes(4, "big") + fields


def read(reader: Reader) -> Attributes:
    """
    @raise RemoteProtocolError: cut short, or more extensions than anybody has.
    """
    flags = reader.uint32()
    size = reader.uint64() if flags & SIZE else None
    owner = (reader.uint32(), reader.uint32()) if flags & OWNER else None
    permissions = reader.uint32() if flags & PERMISSIONS else None
    times = (reader.uint32(), reader.uint32()) if flags & TIMES else None
    if flags & EXTENDED:
        count = reader.uint32()
        if count > _MAX_PAIRS:
            raise RemoteProtocolError("too many extended attributes")
        for _ in range(2 * count):
            reader.string()
    return Attributes(size, owner, permissions, times)


def told(wanted: Attributes) -> Mapping[str, int | str]:
    """
    @return: what events say of attributes.
    """
    facts: dict[str, int | str] = {}
    if wanted.size is not None:
        facts["file_size"] = wanted.size
    if wanted.owner is not None:
        facts["uid"], facts["gid"] = wanted.owner
    if wanted.permissions is not None:
        facts["permissions"] = f"{wanted.permissions & PERMISSION_BITS:04o}"
    if wanted.times is not None:
        facts["access_time"], facts["modification_time"] = wanted.times
    return facts


def of_file(size: int, uid: int, gid: int, mode: int, atime: float, mtime: float) -> bytes:
    """
    @param atime: seconds since 1970, as C{mtime}; what does not fit is cut to what does.
    @return: all fields, in one step; directories have thousands of files.
    """
    seen, changed = (min(max(int(each), 0), _MAX_TIME) for each in (atime, mtime))
    return _FULL.pack(SIZE | OWNER | PERMISSIONS | TIMES, max(size, 0), uid, gid, mode, seen, changed)
