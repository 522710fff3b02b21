"""
The user's X11 display, for programs of a session (C{ssh -X}).

Each session listens on a display number of the loopback interface; what connects reaches the user's display by a
channel. The cookie that programs need is the one the client sent, a stand-in for the real one, which the client puts
back in its place; C{xauth}, run as the login, leaves it where programs look.

@see: RFC 4254 section 6.3
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory

from teleport_tw.agents.ssh import usersockets
from teleport_tw.agents.ssh.accounts import ROOT_PATH
from teleport_tw.agents.ssh.forward import Arrived, ForwardChannel, Held, abort
from teleport_tw.agents.ssh.realm import Registry
from teleport_tw.agents.ssh.spawn import Launch
from teleport_tw.agents.ssh.transfer import open_pipe
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.base.secret import Secret
from teleport_tw.events.ssh import X11Forward
from teleport_tw.protocols.ssh.wire import Reader, put_text, put_uint32

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

FIRST_PORT = 6000
"""Of display 0."""

MAX_TRIES = 1000
MAX_CONNECTIONS = 256
_LOOPBACK = "127.0.0.1"
_PROTOCOL = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_COOKIE = re.compile(r"(?:[0-9a-fA-F]{2}){1,256}\Z")
_SOCKETS = "/tmp/.X11-unix/X"  # noqa: S108 looked at, never opened


@frozen
class Request:
    """
    C{x11-req}: C{boolean} whether for one connection alone; C{string} protocol and cookie, in hex; C{uint32} screen.
    """

    single: bool
    protocol: str
    cookie: Secret[str]
    screen: int

    @classmethod
    def parse(cls, payload: bytes) -> Request:
        """
        @raise RemoteProtocolError: protocol or cookie are not what C{xauth} takes; they go on its input.
        """
        reader = Reader(payload)
        single, protocol, cookie, screen = reader.boolean(), reader.text(), reader.text(), reader.uint32()
        if not _PROTOCOL.match(protocol) or not _COOKIE.match(cookie):
            raise RemoteProtocolError("no such X11 authorization")
        return cls(single, protocol, Secret(cookie), screen)


def install(registry: Registry) -> None:
    """
    Add X11 forwarding to what may be asked for.
    """
    registry.session_requests["x11-req"] = request


def _emit(session: SessionChannel, error: str = "") -> None:
    session.user.realm.sink.emit(X11Forward(**session.facts.common, success=not error, error=error))


async def request(session: SessionChannel, payload: bytes) -> bool:
    """
    See L{Request}.
    """
    wanted, user = Request.parse(payload), session.user
    try:
        if not user.realm.section.x11.enabled:
            raise TeleportError(Kind.ACCESS_DENIED, "X11 forwarding is switched off on this host")
        if not (user.target.options.permit_x11_forwarding and user.target.identity.permit_x11_forwarding):
            raise TeleportError(Kind.ACCESS_DENIED, "X11 forwarding is not permitted by the user's roles")
        if "DISPLAY" in session.session_variables:
            raise TeleportError(Kind.ALREADY_EXISTS, "the session forwards X11 already")
        session.session_variables["DISPLAY"] = await _serve(session, wanted)
    except TeleportError as error:
        _emit(session, error.message)
        return False
    _emit(session)
    return True


async def _serve(session: SessionChannel, wanted: Request) -> str:
    factory = _Connections(session, wanted.single)
    display, port = await _listen(session, factory)
    factory.port = port
    try:
        await _authorize(session, wanted, display)
    except TeleportError:
        port.stopListening()
        raise
    if session.localClosed:
        port.stopListening()
        raise TeleportError(Kind.CONNECTION_PROBLEM, "the session is over")
    session.cleanups.append(port.stopListening)
    return f"localhost:{display}.{wanted.screen}"


async def _listen(session: SessionChannel, factory: Factory) -> tuple[int, IListeningPort]:
    reactor, section = session.user.realm.reactor, session.user.realm.section.x11
    for display in range(section.display_offset, min(section.max_display, section.display_offset + MAX_TRIES) + 1):
        if _taken(display):
            continue
        try:
            return display, await TCPServer(reactor, _LOOPBACK, FIRST_PORT + display).listen(factory)
        except CannotListenError:
            continue
    raise TeleportError(Kind.LIMIT_EXCEEDED, "there is no display number left on this host")


def _taken(display: int) -> bool:
    """
    Whether a server of this host's own has the number.
    """
    return os.path.lexists(f"{_SOCKETS}{display}")


async def _authorize(session: SessionChannel, wanted: Request, display: int) -> None:
    program = shutil.which("xauth", path=ROOT_PATH)
    if program is None:
        raise TeleportError(Kind.NOT_FOUND, "X11 forwarding needs xauth on this host")
    account = await session.user.account()
    name = f"unix:{display}.{wanted.screen}"
    script = f"remove {name}\nadd {name} {wanted.protocol} {wanted.cookie.reveal()}\n".encode("ascii")
    launch = Launch(
        program=program,
        argv=["xauth", "-q", "-"],
        environment=account.environment,
        folder=account.home,
        uid=account.uid,
        gid=account.gid,
        groups=account.groups,
    )
    reading, writing = open_pipe()
    try:
        os.write(writing, script)  # a pipe takes 4096 bytes at once, of which this is a part
    finally:
        os.close(writing)
    try:
        told = await usersockets.run(session.user, launch, reading)
    finally:
        os.close(reading)
    if told["status"] != 0:
        raise TeleportError(Kind.INTERNAL, "xauth failed on this host")


class _Connections(Factory):
    noisy = False

    def __init__(self, session: SessionChannel, single: bool) -> None:
        self._session = session
        self._single = single
        self._open = 0
        self.port: IListeningPort | None = None

    def buildProtocol(self, addr: IAddress | None) -> Arrived:
        """
        A program wants the display.
        """
        tasks = self._session.user.realm.tasks
        return Arrived(lambda held: tasks.spawn("forwarded X11", self._forward(held, addr)))

    async def _forward(self, held: Held, address: IAddress | None) -> None:
        """
        C{string} originator's address; C{uint32} its port.
        """
        connection = self._session.user.connection
        if connection is None or connection.stopped or self._session.localClosed or self._open >= MAX_CONNECTIONS:
            abort(held)
            return
        if self._single and self.port is not None:
            self.port.stopListening()
        self._open += 1
        origin = put_text(getattr(address, "host", _LOOPBACK)) + put_uint32(getattr(address, "port", 0))
        try:
            await connection.open(ForwardChannel(b"x11", held, self._ended), origin)
        except TeleportError:
            abort(held)
            self._ended()

    def _ended(self) -> None:
        self._open -= 1
