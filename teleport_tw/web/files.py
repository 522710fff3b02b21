"""
Files of a server in a page: folders listed, files sent both ways, over SFTP as the user.

Paths go to the server as they are: what may be read or written there is for its own permissions to say, and no shell
sees them. Bytes pass through as they come, no faster than the slower side; nobody keeps a file. The agent tells the
audit log of each, as it does for C{tsh scp}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Factory, define, field, frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_tw.api.factors import Challenge, MfaAnswer
from teleport_tw.api.streams import address_text
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, from_timestamp
from teleport_tw.conch.connection import Connection
from teleport_tw.dial.sftp import Attributes, Sftp
from teleport_tw.web.body import Body
from teleport_tw.web.envelope import parse_object
from teleport_tw.web.places import Places
from teleport_tw.web.reach import Reach, answer_from
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.routes import Answer, Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import Flag, Text
from teleport_tw.web.tickets import Tickets

IDLE_SECONDS = 60.0
"""How long a connection to a server waits for the page's next request."""

MAX_LINKS = 500
"""Connections to servers, in one proxy."""

MAX_OF_ONE = 25
"""Of those, of one sign-in."""

MAX_LISTED = 10_000
"""Names of one folder that a page is shown."""

MAX_PATH = 4096

MFA_HEADER = b"X-Mfa-Answer"

OCTETS = b"application/octet-stream"


@frozen
class _Where:
    """
    Whose connection to which account.
    """

    session: Secret[str]
    server: str
    login: str


@define(eq=False)
class _Link:
    """
    A connection that several requests use.
    """

    connection: Connection
    users: int = 0
    idle: IDelayedCall | None = None


@define(eq=False, kw_only=True, repr=False)
class Files(Service):
    """
    The routes, and the connections behind them.
    """

    reach: Reach
    clock: IReactorTime
    _links: dict[_Where, _Link] = field(factory=dict, init=False)
    _places: Places = field(init=False)
    _tickets: Tickets[tuple[_Where, str]] = field(
        init=False, default=Factory(lambda self: Tickets(self.clock), takes_self=True)
    )
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._places = Places(of_all=MAX_LINKS, of_one=MAX_OF_ONE, what="servers are open for files")

    def routes(self) -> Sequence[Route]:
        """
        @return: its part of the table.
        """
        place = "/sites/<site>/nodes/<server>/<login>"
        path = Text(least=1, most=MAX_PATH, about="on the server; relative ones begin at the home")
        return (
            Route(
                method="GET",
                path=f"{place}/list",
                handler=self.list,
                about="What is in a folder.",
                query={"path": path},
            ),
            Route(
                method="GET",
                path=f"{place}/scp",
                handler=self.download,
                about="A file.",
                query={"location": path, "filename": Text(about="ignored")},
                media="application/octet-stream",
            ),
            Route(
                method="POST",
                path=f"{place}/scp",
                handler=self.upload,
                about="Write a file; the body is what it shall hold.",
                query={
                    "location": path,
                    "filename": Text(most=255, about="the file's name, where location is a folder"),
                    "overwrite": Flag(about="a file that is there already [true]"),
                },
                streams=True,
            ),
            Route(
                method="POST",
                path=f"{place}/scp/ticket",
                handler=self.ticket,
                about="An address from which the browser itself fetches a file, once, within a minute.",
                query={"location": path},
            ),
            Route(
                method="GET",
                path="/downloads/<ticket>",
                handler=self.fetch,
                about="What a ticket is for; for the browser that asked for it.",
                who=Who.BROWSER,
                limit=Limit.CHEAP,
                media="application/octet-stream",
            ),
        )

    def stopService(self) -> None:
        """
        Close what is open.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        for where in tuple(self._links):
            self._close(where)
        self._tickets.clear()

    def signed_out(self, id: Secret[str]) -> None:
        """
        A session on the web is over, and so are its connections.
        """
        self._tickets.signed_out(id)
        for where in tuple(self._links):
            if where.session == id:
                self._close(where)

    # --- handlers ---------------------------------------------------------------------------------------------------

    async def list(self, call: Call) -> Reply:
        """
        C{GET …/list?path=}.
        """
        asked = call.query.get("path", ".")
        async with self._sftp(call) as sftp:
            path = await sftp.real(_from_home(asked))
            try:
                found = await sftp.list(path)
            except TeleportError as error:
                if error.kind is not Kind.NOT_IMPLEMENTED:  # as while others are asked about each file
                    raise
                return {"path": _shown(path), "items": [], "truncated": False, "listed": False}
        items = [_item(name, said) for name, said in found[:MAX_LISTED]]
        return {"path": _shown(path), "items": items, "truncated": len(found) > MAX_LISTED, "listed": True}

    async def download(self, call: Call) -> Reply:
        """
        C{GET …/scp?location=}.
        """
        return await self._send(call, self._where(call), _needed(call.query, "location"))

    async def ticket(self, call: Call) -> Reply:
        """
        C{POST …/scp/ticket?location=}: what is wrong is said here, where the page can show it.
        """
        where, path = self._where(call), _from_home(_needed(call.query, "location"))
        async with self._sftp(call) as sftp:
            said = _a_file(path, await sftp.stat(path))
        word = self._tickets.issue(call.user.id, (where, path))
        return {"url": f"/webapi/downloads/{word}", "size": said.size}

    async def fetch(self, call: Call) -> Reply:
        """
        C{GET /webapi/downloads/:ticket}.
        """
        find = self._tickets.look if call.request.method == b"HEAD" else self._tickets.take
        where, path = find(call.user.id, call.path["ticket"])
        return await self._send(call, where, path)

    async def upload(self, call: Call) -> Reply:
        """
        C{POST …/scp?location=&filename=}.
        """
        body: Body | None = call.request.body
        if body is None:
            raise bad_parameter("there is no body")
        location, name = _needed(call.query, "location"), call.query.get("filename", "")
        if "/" in name or "\0" in name or name in (".", ".."):
            raise bad_parameter("that is no file's name")
        async with self._sftp(call) as sftp:
            path = _from_home(location)
            there = await sftp.stat(path)
            if there is not None and there.is_folder:
                if not name:
                    raise bad_parameter(f"{_shown(path)} is a folder; tell the file's name")
                path = f"{path.rstrip('/') or '/'}/{name}".replace("//", "/")
                there = await sftp.stat(path)
            if there is not None and not S_ISREG(there.mode):
                raise bad_parameter(f"{_shown(path)} is there and is no file")
            if there is not None and not call.query.get("overwrite", True):
                raise TeleportError(Kind.ALREADY_EXISTS, f"{_shown(path)} is there already")
            try:
                size = await sftp.write(path, body, 0o644)
            except TeleportError:
                if there is None:
                    await self._forget_part(sftp, path)
                raise
            return {"path": _shown(await sftp.real(path)), "size": size}

    async def _forget_part(self, sftp: Sftp, path: str) -> None:
        """
        Half a file that was not there before is worse than none.
        """
        try:
            await sftp.remove(path)
        except TeleportError as error:
            self._log.info("part of an upload stays: {error}", error=error.message)

    async def _send(self, call: Call, where: _Where, path: str) -> Answer:
        path = _from_home(path)
        link = await self._link(call, where)
        try:
            sftp = await Sftp.open(link.connection, self.clock)
        except BaseException:
            self._release(where, link)
            raise

        def done() -> None:
            sftp.close()
            self._release(where, link)

        try:
            said = _a_file(path, await sftp.stat(path))
            pieces = sftp.read(path)
            first = await anext(pieces, b"")  # what is denied can still be said
        except BaseException:
            done()
            raise
        headers = {b"Content-Disposition": disposition(path.rpartition("/")[2]), b"Content-Security-Policy": b"sandbox"}
        if said.size:
            headers[b"Content-Length"] = b"%d" % said.size
        body = _exactly(first, pieces, said.size, call.request, done)
        return Answer(body=body, content_type=OCTETS, headers=headers)

    # --- connections ------------------------------------------------------------------------------------------------

    def _where(self, call: Call) -> _Where:
        return _Where(call.user.id, call.path["server"], call.path["login"])

    @asynccontextmanager
    async def _sftp(self, call: Call) -> AsyncIterator[Sftp]:
        where = self._where(call)
        link = await self._link(call, where)
        try:
            sftp = await Sftp.open(link.connection, self.clock)
            try:
                yield sftp
            finally:
                sftp.close()
        finally:
            self._release(where, link)

    async def _link(self, call: Call, where: _Where) -> _Link:
        link = self._found(where)
        if link is None:
            self._places.take(where.session)
            try:
                connection = await self.reach.connect(
                    call.user,
                    call.api,
                    target=where.server,
                    login=where.login,
                    address=address_text(call.request.getClientAddress()) or call.address,
                    ask=_answered(call.request),
                )
            except BaseException:
                self._places.give(where.session)
                raise
            link = self._found(where)
            if link is None:
                link = self._links[where] = _Link(connection)
            else:  # two requests came at once
                self._places.give(where.session)
                connection.transport.loseConnection()
        link.users += 1
        if link.idle is not None:
            link.idle.cancel()
            link.idle = None
        return link

    def _found(self, where: _Where) -> _Link | None:
        link = self._links.get(where)
        if link is not None and link.connection.stopped:
            self._close(where)
            return None
        return link

    def _release(self, where: _Where, link: _Link) -> None:
        link.users -= 1
        if link.users or self._links.get(where) is not link:
            return
        if link.connection.stopped:
            self._close(where)
        else:
            link.idle = self.clock.callLater(IDLE_SECONDS, self._close, where)

    def _close(self, where: _Where) -> None:
        link = self._links.pop(where)
        self._places.give(where.session)
        if link.idle is not None and link.idle.active():
            link.idle.cancel()
        if not link.connection.stopped:
            link.connection.transport.loseConnection()


def _answered(request: Any) -> Callable[[Challenge], Any]:
    """
    @return: gives the answer that came with the request; without one the page has to ask its user.
    """

    async def ask(challenge: Challenge) -> MfaAnswer:
        told = request.getHeader(MFA_HEADER)
        if not told:
            raise Refusal(412, "this server wants a second factor for each session")
        try:
            return answer_from(parse_object(told.decode("utf-8")))
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise bad_parameter("X-Mfa-Answer is no answer") from error

    return ask


async def _exactly(
    first: bytes, rest: AsyncIterator[bytes], size: int, request: Any, done: Callable[[], None]
) -> AsyncIterator[bytes]:
    """
    As many bytes as were announced; a client whose file breaks off sees its connection break, and not a shorter file.

    @param size: announced; zero, nothing was.
    """
    sent = 0
    try:
        async for piece in _joined(first, rest):
            part = piece[: size - sent] if size else piece
            sent += len(part)
            if part:
                yield part
            if size and sent == size:
                return
        if sent < size:
            _break_off(request)
    except TeleportError:
        _break_off(request)
    finally:
        await rest.aclose()  # type: ignore[attr-defined]  # it is a generator
        done()


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _break_off(request: Any) -> None:
    channel = request.channel
    if channel is not None and channel.transport is not None:
        channel.transport.abortConnection()


def disposition(name: str) -> bytes:
    """
    @param name: of a file, whatever it holds.
    @return: C{Content-Disposition} that makes a browser keep it under a harmless name.
    @see: RFC 6266; RFC 8187
    """
    shown = _shown(name).strip(". ") or "download"
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._- ") else "_" for letter in shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}".encode("ascii")


def _needed(query: Any, name: str) -> str:
    if not query.get(name):
        raise bad_parameter(f"{name} is missing")
    return str(query[name])


def _from_home(path: str) -> str:
    if "\0" in path:
        raise bad_parameter("that is no path")
    if path == "~":
        return "."
    return path[2:] or "." if path.startswith("~/") else path


def _a_file(path: str, said: Attributes | None) -> Attributes:
    if said is None:
        raise TeleportError(Kind.NOT_FOUND, f"{_shown(path)}: no such file or folder")
    if S_ISDIR(said.mode):
        raise bad_parameter(f"{_shown(path)} is a folder")
    if not S_ISREG(said.mode):
        raise bad_parameter(f"{_shown(path)} is no file")
    return said


def _item(name: str, said: Attributes) -> dict[str, Any]:
    kinds = ((S_ISDIR, "folder"), (S_ISREG, "file"), (S_ISLNK, "link"))
    shown = _shown(name)
    return {
        "name": shown,
        "kind": next((kind for is_one, kind in kinds if is_one(said.mode)), "other"),
        "size": said.size,
        "modified": format_time(from_timestamp(said.modified)),
        "mode": f"{said.mode & 0o7777:04o}",
        "reachable": shown == name,
    }


def _shown(text: str) -> str:
    """
    @return: for people: what is no text, and what would move a cursor, is replaced.
    """
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in clean)
