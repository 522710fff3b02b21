"""
The log's files: clean JSON lines for people and C{jq}, and a chain file beside each that vouches for every line.

::

    2026-01-31.00:00:00.log     one event a line, exactly as it came
    2026-01-31.00:00:00.chain   begin <events before this file> <chain value before this file>
                                <SHA-256 of line 1, hex>
                                <SHA-256 of line 2, hex>
                                checkpoint <events so far> <chain value> <time> <Ed25519 signature, base64>
    events.log                  symbolic link to the newest .log
    truncation                  where the log begins, its oldest days deleted (L{teleport_tw.audit.truncation})

The chain value starts as 64 zeros; each line's is SHA-256 over the value before and the line's digest, as raw bytes.
Lines go to disk before their digests, and only then is anybody told that they are kept. So a crash leaves lines without
digests, which are cut off since their sender still has them; digests without lines are never a crash.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teleport_tw.audit import truncation
from teleport_tw.audit.spool import write_all
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import format_time, utc_now

T = TypeVar("T")

START = bytes(32)
CHECKPOINT_EVENTS = 1000
CHECKPOINT_SECONDS = 60.0


@frozen
class Place:
    """
    Where a line stands.

    @ivar number: its number in the whole log, from 1.
    @ivar file: the file's name.
    @ivar offset: bytes into it.
    @ivar length: bytes, with the newline.
    """

    number: int
    file: str
    offset: int
    length: int


def link(before: bytes, line: bytes) -> bytes:
    """
    @param before: the chain value so far, 32 bytes.
    @param line: the event's line with its newline.
    @return: the next chain value.
    """
    return hashlib.sha256(before + hashlib.sha256(line).digest()).digest()


def signed_text(count: int, chain: str, time: str) -> bytes:
    """
    @return: what a checkpoint's signature is over.
    """
    return f"teleport_tw audit checkpoint 1\n{count}\n{chain}\n{time}\n".encode()


def files_of(directory: Path) -> list[Path]:
    """
    @return: the log's files, oldest first.
    """
    return sorted(path for path in directory.glob("????-??-??.*.log") if not path.is_symlink())


@define(eq=False)
class Ledger:
    """
    Appends to the files. Everything blocks; one thread at a time.

    @ivar key: signs checkpoints.
    """

    directory: Path
    key: Ed25519PrivateKey
    now: Callable[[], datetime] = utc_now
    count: int = field(default=0, init=False)
    cut_lines: int = field(default=0, init=False)
    _chain: bytes = field(default=START, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)
    _lock: int = field(default=-1, init=False)
    _log_file: int = field(default=-1, init=False)
    _chain_file: int = field(default=-1, init=False)
    _name: str = field(default="", init=False)
    _size: int = field(default=0, init=False)
    _chain_size: int = field(default=0, init=False)
    _signed_count: int = field(default=0, init=False)
    _signed_at: float = field(default=0.0, init=False)

    def open(self) -> None:
        """
        Continue where the files end.

        @raise TeleportError: ALREADY_EXISTS, another process has the log open.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            message = f"the audit log in {self.directory} is used by another process"
            raise TeleportError(Kind.ALREADY_EXISTS, message) from error
        said = truncation.read(self.directory)
        if said is not None and said.holds(self.key.public_key()):
            self._drop_before(said.first)
        files = files_of(self.directory)
        if files:
            self._resume(files[-1])

    def append(self, lines: Sequence[bytes]) -> None:
        """
        Store lines, each with its newline; on return they are on disk and chained.

        @raise OSError: nothing was stored.
        """
        with self._turn:
            self._rotate()
            chain, sha256 = self._chain, hashlib.sha256
            digests = []
            for line in lines:
                digest = sha256(line).digest()
                chain = sha256(chain + digest).digest()
                digests.append(digest.hex())
            data = b"".join(lines)
            write_all(self._log_file, data, self._size)
            try:
                os.fdatasync(self._log_file)
                self._write_chain("\n".join([*digests, ""]).encode("ascii"))
            except OSError:
                os.ftruncate(self._log_file, self._size)
                raise
            self._size, self._chain, self.count = self._size + len(data), chain, self.count + len(lines)
            if (
                self.count - self._signed_count >= CHECKPOINT_EVENTS
                or self.now().timestamp() - self._signed_at >= CHECKPOINT_SECONDS
            ):
                self._checkpoint()

    def head(self) -> tuple[int, str]:
        """
        @return: number of events and the chain value: kept elsewhere, it proves later that nothing was cut off.
        """
        return self.count, self._chain.hex()

    def truncate(self, before: datetime, forget: Callable[[Path], object]) -> int:
        """
        Delete the files of days that were over before a moment; never the one that is written.

        @param forget: called with each file before it goes.
        @return: how many events stand before the log's beginning now; zero where nothing was deleted.
        """
        with self._turn:
            files = files_of(self.directory)
            kept = [path for path in files if path.name >= self._name or _end_of(path) > before]
            if not kept or kept[0] == files[0]:
                return 0
            chain = ChainFile.read(kept[0].with_suffix(".chain"))
            if chain is None:
                return 0  # nobody could tell what comes before it
            truncation.write(
                self.directory,
                self.key,
                count=chain.start_count,
                chain=chain.start.hex(),
                first=kept[0].name,
                time=format_time(self.now()),
            )
            for path in files[: files.index(kept[0])]:
                forget(path)
            self._drop_before(kept[0].name)
            return chain.start_count

    def _drop_before(self, first: str) -> None:
        for path in self.directory.glob("????-??-??.*"):
            if path.name[:10] < first[:10]:
                path.unlink(missing_ok=True)

    def undisturbed(self, look: Callable[[], T]) -> T:
        """
        @return: what C{look} returned, while nothing was appended.
        """
        with self._turn:
            return look()

    def close(self) -> None:
        """
        Sign the end and let go.
        """
        with self._turn:
            if self._log_file >= 0:
                self._checkpoint()
                os.close(self._log_file)
                os.close(self._chain_file)
                self._log_file = -1
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _rotate(self) -> None:
        name = self.now().strftime("%Y-%m-%d.00:00:00.log")
        if name <= self._name:
            return
        if self._log_file >= 0:
            self._checkpoint()
            os.close(self._log_file)
            os.close(self._chain_file)
        self._name = name
        self._open_files()
        self._size = self._chain_size = 0
        self._write_chain(f"begin {self.count} {self._chain.hex()}\n".encode())
        current = self.directory / "events.log.new"
        current.unlink(missing_ok=True)
        current.symlink_to(name)
        current.replace(self.directory / "events.log")
        folder = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)

    def _open_files(self) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        path = self.directory / self._name
        self._log_file = os.open(path, flags, 0o600)
        self._chain_file = os.open(path.with_suffix(".chain"), flags, 0o600)

    def _write_chain(self, data: bytes) -> None:
        write_all(self._chain_file, data, self._chain_size)
        os.fdatasync(self._chain_file)
        self._chain_size += len(data)

    def _checkpoint(self) -> None:
        if self._signed_count == self.count:
            return
        time, chain = format_time(self.now()), self._chain.hex()
        signature = base64.b64encode(self.key.sign(signed_text(self.count, chain, time))).decode()
        self._write_chain(f"checkpoint {self.count} {chain} {time} {signature}\n".encode())
        self._signed_count, self._signed_at = self.count, self.now().timestamp()

    def _resume(self, path: Path) -> None:
        chain = ChainFile.read(path.with_suffix(".chain"))
        if chain is None and path.stat().st_size:
            path.rename(path.with_suffix(".unchained"))
        self._name = path.name
        self._open_files()
        if chain is None:
            before = [ChainFile.read(other.with_suffix(".chain")) for other in files_of(self.directory)[:-1]]
            count = before[-1].start_count + len(before[-1].digests) if before and before[-1] else 0
            value = before[-1].value() if before and before[-1] else START
            self.count, self._chain = count, value
            os.ftruncate(self._chain_file, 0)
            self._write_chain(f"begin {count} {value.hex()}\n".encode())
            kept = 0
        else:
            self._chain_size = chain.size
            os.ftruncate(self._chain_file, chain.size)
            self._chain, kept = chain.value(), len(chain.digests)
            self.count = chain.start_count + kept
            self._signed_count = chain.checkpoints[-1].count if chain.checkpoints else chain.start_count
        size = lines = 0
        cut = []
        with open(path, "rb") as source:
            for line in source:
                lines += 1
                if lines <= kept and line.endswith(b"\n"):
                    size += len(line)
                else:
                    cut.append(line)
        if cut:
            with open(path.with_suffix(".unconfirmed"), "ab") as aside:
                aside.writelines(cut)
            os.ftruncate(self._log_file, size)
        self._size, self.cut_lines = size, len(cut)


@frozen
class Checkpoint:
    """
    A signed statement: after C{count} events the chain stood at C{chain}.
    """

    count: int
    chain: str
    time: str
    signature: str


@frozen
class ChainFile:
    """
    A chain file as read.

    @ivar digests: of each line, hex.
    @ivar bad: numbers of lines that are no part of the format.
    @ivar size: bytes up to the last whole line.
    """

    start_count: int
    start: bytes
    digests: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    bad: tuple[int, ...]
    size: int

    def value(self) -> bytes:
        """
        @return: the chain value after the last line.
        """
        chain = self.start
        for digest in self.digests:
            chain = hashlib.sha256(chain + bytes.fromhex(digest)).digest()
        return chain

    @classmethod
    def read(cls, path: Path) -> ChainFile | None:
        """
        @return: what the file says; None when it is not there or has no beginning.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        data = data[: data.rfind(b"\n") + 1]
        lines = data.decode("ascii", "replace").splitlines()
        first = lines[0].split() if lines else []
        if len(first) != 3 or first[0] != "begin" or not first[1].isdigit() or not _is_digest(first[2]):
            return None
        digests, checkpoints, bad = [], [], []
        for number, line in enumerate(lines[1:], 2):
            parts = line.split()
            if len(parts) == 1 and _is_digest(parts[0]):
                digests.append(parts[0])
            elif len(parts) == 5 and parts[0] == "checkpoint" and parts[1].isdigit():
                checkpoints.append(Checkpoint(int(parts[1]), *parts[2:]))
            else:
                bad.append(number)
        return cls(int(first[1]), bytes.fromhex(first[2]), tuple(digests), tuple(checkpoints), tuple(bad), len(data))


def _end_of(path: Path) -> datetime:
    """
    @return: when the day of a file of the log is over.
    """
    return datetime.strptime(path.name[:10], "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


def read_lines(directory: Path, places: Iterable[Place]) -> Iterator[bytes]:
    """
    @return: the lines at these places, in their order.
    """
    opened: dict[str, int] = {}
    try:
        for place in places:
            file = opened.get(place.file)
            if file is None:
                file = opened[place.file] = os.open(directory / place.file, os.O_RDONLY | os.O_CLOEXEC)
            yield os.pread(file, place.length, place.offset)
    finally:
        for file in opened.values():
            os.close(file)
