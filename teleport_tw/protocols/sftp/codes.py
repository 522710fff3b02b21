"""
The numbers of SFTP version 3.

@see: draft-ietf-secsh-filexfer-02; OpenSSH, C{PROTOCOL} section 4, for the extensions
"""

from __future__ import annotations

VERSION = 3

INIT, VERSION_ANSWER, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = range(1, 11)
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(11, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = range(6)
OP_UNSUPPORTED = 8

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREAT, FLAG_TRUNC, FLAG_EXCL = 1, 2, 4, 8, 16, 32

MAX_MESSAGE_BYTES = 256 * 1024
"""What follows the length, as in OpenSSH."""

MAX_DATA_BYTES = MAX_MESSAGE_BYTES - 1024
"""Most that one READ gives or one WRITE takes."""

MAX_PATH_BYTES = 4096
"""Linux takes no longer path, its closing zero included."""

POSIX_RENAME = b"posix-rename@openssh.com"
STATVFS = b"statvfs@openssh.com"
FSTATVFS = b"fstatvfs@openssh.com"
HARDLINK = b"hardlink@openssh.com"
FSYNC = b"fsync@openssh.com"
LSETSTAT = b"lsetstat@openssh.com"
LIMITS = b"limits@openssh.com"
EXPAND_PATH = b"expand-path@openssh.com"
COPY_DATA = b"copy-data"
USERS_GROUPS = b"users-groups-by-id@openssh.com"

EXTENSIONS = (
    (POSIX_RENAME, b"1"),
    (STATVFS, b"2"),
    (FSTATVFS, b"2"),
    (HARDLINK, b"1"),
    (FSYNC, b"1"),
    (LSETSTAT, b"1"),
    (LIMITS, b"1"),
    (EXPAND_PATH, b"1"),
    (COPY_DATA, b"1"),
    (USERS_GROUPS, b"1"),
)
"""Name and version of each."""
