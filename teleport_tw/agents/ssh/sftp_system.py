"""
SFTP's words for what the system says and takes; L{teleport_tw.agents.ssh.sftp_server} asks.

The standard library is all it needs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Protocol

from teleport_tw.protocols.sftp import attributes, codes
from teleport_tw.protocols.sftp.attributes import Attributes
from teleport_tw.protocols.ssh.wire import put_string, put_uint32

_UINT64_MASK = 2**64 - 1

STATUSES = {
    errno.ENOENT: codes.NO_SUCH_FILE,
    errno.EBADF: codes.NO_SUCH_FILE,
    errno.ELOOP: codes.NO_SUCH_FILE,
    errno.EPERM: codes.PERMISSION_DENIED,
    errno.EACCES: codes.PERMISSION_DENIED,
    errno.EFAULT: codes.PERMISSION_DENIED,
    errno.ENAMETOOLONG: codes.BAD_MESSAGE,
    errno.EINVAL: codes.BAD_MESSAGE,
    errno.ENOSYS: codes.OP_UNSUPPORTED,
    errno.EOPNOTSUPP: codes.OP_UNSUPPORTED,
}


def open_flags(flags: int) -> int:
    """
    @param flags: C{FLAG_*}.
    @return: as of open(2).
    """
    reads, writes = flags & codes.FLAG_READ, flags & codes.FLAG_WRITE
    wanted = (os.O_RDWR if reads else os.O_WRONLY) if writes else os.O_RDONLY
    for flag, ours in (
        (codes.FLAG_APPEND, os.O_APPEND),
        (codes.FLAG_CREAT, os.O_CREAT),
        (codes.FLAG_TRUNC, os.O_TRUNC),
        (codes.FLAG_EXCL, os.O_EXCL),
    ):
        if flags & flag and (writes or flag in (codes.FLAG_APPEND, codes.FLAG_EXCL)):
            wanted |= ours
    return wanted | os.O_CLOEXEC | os.O_NOCTTY


def rename(old: bytes, new: bytes) -> None:
    """
    Replaces nothing, as version 3 has it.
    """
    if stat.S_ISREG(os.lstat(old).st_mode):
        try:
            os.link(old, new, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
        else:
            os.unlink(old)
            return
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new)


def link(old: bytes, new: bytes) -> None:
    """
    A second name of the same file, or of the same symbolic link.
    """
    os.link(old, new, follow_symlinks=False)


def file_attributes(found: os.stat_result) -> bytes:
    """
    @return: an ATTRS answer, its number left out.
    """
    return bytes((codes.ATTRS,)) + attributes.of_file(
        found.st_size, found.st_uid, found.st_gid, found.st_mode, found.st_atime, found.st_mtime
    )


def one_name(name: bytes) -> bytes:
    """
    @return: a NAME answer of one path.
    """
    return bytes((codes.NAME,)) + put_uint32(1) + put_string(name) * 2 + Attributes().encode()


def known_name(name: str, number: int) -> bytes:
    """
    @return: empty where the name is but the number.
    """
    return b"" if name == str(number) else name.encode("utf-8", "surrogateescape")


def file_system(found: os.statvfs_result) -> bytes:
    """
    @return: the answer of C{statvfs@openssh.com}: eleven C{uint64}.
    """
    fields = (
        found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree,
        found.f_favail, found.f_fsid, found.f_flag & 3, found.f_namemax,
    )  # fmt: skip
    return bytes((codes.EXTENDED_REPLY,)) + b"".join((each & _UINT64_MASK).to_bytes(8, "big") for each in fields)


class Opener(Protocol):
    """
    Opens files in the stead of open(2); see L{teleport_tw.agents.ssh.fileserver.Gate}.
    """

    def open(self, path: bytes, flags: int, mode: int) -> int:
        """
        @raise OSError: it may not be.
        """


def writes_only(descriptor: int) -> bool:
    """
    @return: how it was opened.
    """
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY


WATCHED = frozenset(
    {
        codes.OPEN,
        codes.CLOSE,
        codes.LSTAT,
        codes.STAT,
        codes.FSTAT,
        codes.SETSTAT,
        codes.FSETSTAT,
        codes.REALPATH,
        codes.EXTENDED,
    }
)
"""What a session that is watched serves beside reading and writing: nothing that others are not asked about."""
WATCHED_EXTENSIONS = frozenset({codes.FSYNC, codes.LIMITS, codes.EXPAND_PATH})
