"""
A log whose oldest days were deleted by the cluster itself, because they were older than is kept, and how that is told
from days that somebody took away.

Before a file goes, the file C{truncation} says where the log begins from now on, signed with the key of the
checkpoints::

    truncation <events before> <chain value before> <first file> <time> <Ed25519 signature, base64>

A log that begins anywhere else was cut by somebody without the key. A crash between the two steps leaves files that
are older than the truncation; the next start deletes them.
"""

from __future__ import annotations

import base64
import os
from binascii import Error as Base64Error
from pathlib import Path

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "truncation"


@frozen
class Truncation:
    """
    @ivar count: events that came before what is kept.
    @ivar chain: the chain value after them, 64 hex digits.
    @ivar first: name of the oldest file that is kept.
    @ivar time: when it was decided.
    @ivar signature: base64.
    """

    count: int
    chain: str
    first: str
    time: str
    signature: str

    def holds(self, key: Ed25519PublicKey) -> bool:
        """
        @return: whether this cluster said so.
        """
        try:
            key.verify(base64.b64decode(self.signature), _text(self.count, self.chain, self.first, self.time))
        except (InvalidSignature, Base64Error):
            return False
        return True


def _text(count: int, chain: str, first: str, time: str) -> bytes:
    return f"teleport_tw audit truncation 1\n{count}\n{chain}\n{first}\n{time}\n".encode()


def read(directory: Path) -> Truncation | None:
    """
    @return: what is said there; C{None} where nothing was ever deleted, or what is said makes no sense.
    """
    try:
        words = (directory / NAME).read_text(encoding="ascii").split()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if len(words) != 6 or words[0] != "truncation" or not words[1].isdigit():
        return None
    return Truncation(int(words[1]), *words[2:])


def write(directory: Path, key: Ed25519PrivateKey, *, count: int, chain: str, first: str, time: str) -> None:
    """
    Say where the log begins; on disk on return.
    """
    signature = base64.b64encode(key.sign(_text(count, chain, first, time))).decode()
    draft = directory / f"{NAME}.new"
    with open(
        draft, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags | os.O_CLOEXEC, 0o600)
    ) as out:
        out.write(f"truncation {count} {chain} {first} {time} {signature}\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(directory / NAME)
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
