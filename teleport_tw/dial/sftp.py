"""
Files on a server, over SFTP version 3; many requests are under way at a time, so that distance costs little.

Conch's C{FileTransferClient} frames and pairs the messages.

@see: draft-ietf-secsh-filexfer-02
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable
from stat import S_ISDIR
from typing import Any, TypeVar

from attrs import define, frozen
from twisted.conch.ssh.filetransfer import (
    FXF_CREAT,
    FXF_READ,
    FXF_TRUNC,
    FXF_WRITE,
    FileTransferClient,
    SFTPError,
)
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.connection import Connection
from teleport_tw.conch.streams import StreamChannel
from teleport_tw.protocols.ssh.wire import put_text

T = TypeVar("T")

CHUNK = 32 * 1024
"""Bytes in one request; every server takes as much."""

UNDER_WAY = 64
"""Requests at a time: 2 MiB, as much as an SSH window."""

MAX_ENTRIES = 1_000_000
"""Names in one folder."""

START_SECONDS = 30.0

MAX_SAID = 1024
"""Bytes of what a server says beside SFTP."""

WATCHERS_DENY = "those who watch the session denied it"
"""What our servers say of a file that was asked about; whatever else says ACCESS_DENIED is worded by us."""

_KINDS = {2: Kind.NOT_FOUND, 3: Kind.ACCESS_DENIED, 8: Kind.NOT_IMPLEMENTED}
_TEXTS = {2: "no such file or folder", 3: "permission denied", 4: "failure", 8: "not supported by the server"}


@frozen(kw_only=True)
class Attributes:
    """
    @ivar mode: type and permissions, as C{st_mode}; zero when the server does not tell.
    @ivar modified: seconds since the epoch.
    """

    size: int = 0
    mode: int = 0
    accessed: int = 0
    modified: int = 0

    @property
    def is_folder(self) -> bool:
        """
        Whether it is one.
        """
        return S_ISDIR(self.mode)

    @classmethod
    def of(cls, said: dict[str, int]) -> Attributes:
        """
        @param said: as Conch has it.
        """
        return cls(
            size=said.get("size", 0),
            mode=said.get("permissions", 0),
            accessed=said.get("atime", 0),
            modified=said.get("mtime", 0),
        )


class _Channel(StreamChannel):
    name = b"session"
    said = b""

    def extReceived(self, dataType: int, data: bytes) -> None:
        if len(self.said) < MAX_SAID:
            self.said += data


class _Quiet(Logger):
    def info(self, format: str | None = None, **fields: Any) -> None:
        self.debug(format, **fields)


class _Client(FileTransferClient):
    _log = _Quiet()  # Conch tells of every message, which is one for each 32 KiB

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ready: Deferred[None] = Deferred()

    def gotServerVersion(self, serverVersion: int, extData: dict[bytes, bytes]) -> None:
        self.ready.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        if not self.ready.called:
            self.ready.errback(ConnectionLost())


@define(eq=False)
class Sftp:
    """
    One SFTP session. Paths are text; relative ones begin at the login's home.
    """

    _client: Any  # Conch's class is untyped
    _channel: _Channel

    @classmethod
    async def open(cls, connection: Connection, clock: IReactorTime) -> Sftp:
        """
        @raise TeleportError: the server offers no SFTP, or not to this login.
        """
        channel, client = _Channel(), _Client()
        await connection.open(channel)
        if not await connection.request(channel, "subsystem", put_text("sftp")):
            channel.loseConnection()
            raise TeleportError(Kind.ACCESS_DENIED, "the server does not let you copy files")
        channel.attach(client)
        try:
            await client.ready.addTimeout(START_SECONDS, clock)
        except (TimeoutError, ConnectionLost) as error:
            channel.loseConnection()
            text = channel.said[:MAX_SAID].decode("utf-8", "replace").strip()
            if text and text.isprintable():  # why the server refuses, once it has taken the subsystem
                raise TeleportError(Kind.ACCESS_DENIED, text) from error
            raise TeleportError(Kind.CONNECTION_PROBLEM, "file copying did not start on the server") from error
        return cls(client, channel)

    def close(self) -> None:
        """
        End the session.
        """
        self._channel.loseConnection()

    async def real(self, path: str) -> str:
        """
        @return: the absolute path, as the server has it.
        """
        try:
            return str(await self._do(path, self._client.realPath(_raw(path))))
        except UnicodeDecodeError:  # Conch takes it for UTF-8
            return path

    async def remove(self, path: str) -> None:
        """
        A file.
        """
        await self._do(path, self._client.removeFile(_raw(path)))

    async def stat(self, path: str) -> Attributes | None:
        """
        @return: what C{path} leads to; none when it is not there.
        """
        try:
            return Attributes.of(await self._do(path, self._client.getAttrs(_raw(path), followLinks=1)))
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise

    async def list(self, path: str) -> list[tuple[str, Attributes]]:
        """
        @return: name and attributes of everything in a folder, by name. Names that could lead out of the folder are
            left out, whatever the server says.
        """
        folder = await self._do(path, self._client.openDirectory(_raw(path)))
        found: list[tuple[str, Attributes]] = []
        try:
            while len(found) < MAX_ENTRIES:
                try:
                    entries = await folder.read()
                except EOFError:
                    break
                found += [(_text(name), Attributes.of(attributes)) for name, _, attributes in entries]
        except (SFTPError, NotImplementedError, ConnectionLost) as error:
            raise _problem(path, error) from error
        finally:
            await folder.close()
        return sorted((name, said) for name, said in found if name not in ("", ".", "..") and "/" not in name)

    async def make_folder(self, path: str, mode: int) -> None:
        """
        @param mode: permissions.
        """
        await self._do(path, self._client.makeDirectory(_raw(path), {"permissions": mode & 0o7777}))

    async def set(self, path: str, attributes: Attributes) -> None:
        """
        Permissions and times.
        """
        said = {
            "permissions": attributes.mode & 0o7777,
            "atime": attributes.accessed,
            "mtime": attributes.modified,
        }
        await self._do(path, self._client.setAttrs(_raw(path), said))

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """
        @return: what is in a file, in order.
        """
        file = await self._do(path, self._client.openFile(_raw(path), FXF_READ, {}))
        asked: deque[tuple[int, int, Deferred[bytes]]] = deque()
        offset, ended = 0, False
        try:
            while asked or not ended:
                while not ended and len(asked) < UNDER_WAY:
                    asked.append((offset, CHUNK, file.readChunk(offset, CHUNK)))
                    offset += CHUNK
                start, wanted, answer = asked.popleft()
                try:
                    data = await answer
                except EOFError:
                    ended = True
                    continue
                yield data
                if 0 < len(data) < wanted and not ended:
                    rest = start + len(data)
                    asked.appendleft((rest, wanted - len(data), file.readChunk(rest, wanted - len(data))))
        except (SFTPError, NotImplementedError, ConnectionLost) as error:
            raise _problem(path, error) from error
        finally:
            for _, _, answer in asked:
                answer.addErrback(lambda _: None)
            file.close().addErrback(lambda _: None)

    async def write(self, path: str, chunks: AsyncIterator[bytes], mode: int) -> int:
        """
        Make a file, or overwrite it.

        @return: bytes written.
        """
        flags = FXF_WRITE | FXF_CREAT | FXF_TRUNC
        file = await self._do(path, self._client.openFile(_raw(path), flags, {"permissions": mode & 0o7777}))
        under_way: deque[Deferred[Any]] = deque()
        offset = 0
        try:
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK):
                    piece = chunk[start : start + CHUNK]
                    under_way.append(file.writeChunk(offset, piece))
                    offset += len(piece)
                    if len(under_way) >= UNDER_WAY:
                        await under_way.popleft()
            while under_way:
                await under_way.popleft()
            await file.close()
        except (SFTPError, NotImplementedError, ConnectionLost) as error:
            raise _problem(path, error) from error
        finally:
            for answer in under_way:
                answer.addErrback(lambda _: None)
        return offset

    async def _do(self, path: str, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except (SFTPError, NotImplementedError, ConnectionLost, EOFError) as error:
            raise _problem(path, error) from error


def _problem(path: str, error: Exception) -> TeleportError:
    if isinstance(error, ConnectionLost):
        return TeleportError(Kind.CONNECTION_PROBLEM, f"{path}: the connection was lost")
    code = error.code if isinstance(error, SFTPError) else 8
    text = _TEXTS.get(code) or "failure"
    said = str(error.message) if isinstance(error, SFTPError) else ""
    if (code not in (2, 3) and said) or (code == 3 and said == WATCHERS_DENY):
        text = "".join(letter for letter in said[:256] if letter.isprintable())
    return TeleportError(_KINDS.get(code, Kind.BAD_PARAMETER), f"{path}: {text}")


def _raw(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
