"""
Auth, as the users who signed in at the proxy's web page: each call runs with the certificate of its session.
"""

from __future__ import annotations

import ipaddress
import shutil
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from teleport_tw.api.client import RpcApi
from teleport_tw.api.contract import Api, WebSession
from teleport_tw.base.errors import access_denied
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import UnixServer
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks

if TYPE_CHECKING:
    from teleport_tw.auth.service import AuthService

IDLE_SECONDS = 3600.0
"""Of a connection to auth; gRPC's own pings come every half minute."""

MAX_CHANNELS = 200
"""Connections to auth that are kept for users; of more, the one not used for longest is closed."""


def is_ip(address: str) -> bool:
    """
    @return: whether it is one, and no name.
    """
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return True


@define(eq=False)
class InProcessUsers:
    """
    Where auth runs in this very process.
    """

    auth: AuthService

    def api_for(self, session: WebSession, address: str) -> Api:
        """See L{teleport_tw.web.sessions.UserApis}."""
        core = self.auth.core
        if core is None:
            raise access_denied("the cluster is starting or stopping; try again", details="auth does not run")
        pem = session.certificates.tls
        identity = core.signing.recall(pem, core.now())
        if identity is None:
            der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
            identity = core.signing.identify(der, core.now(), pem)
        return self.auth.api_for(identity, address, pem)


@define(eq=False)
class Doorway:
    """
    A UNIX socket of our own, for gRPC: who connects to it is taken to auth, which hears the one client's address.

    gRPC dials by itself and would show auth this host's address as the user's.

    @ivar path: of the socket, in a folder that nobody else may enter.
    @ivar onward: tells auth the address.
    """

    reactor: Any
    path: str
    onward: IStreamClientEndpoint
    tasks: Tasks
    _port: IListeningPort | None = field(default=None, init=False)
    _log = Logger()

    def open(self) -> None:
        """
        Listen; the loop has the socket before this returns.
        """
        listening = UnixServer(self.reactor, self.path).listen(_Callers(self))
        listening.addCallbacks(self._opened, lambda failure: self._log.failure("no doorway to auth", failure))

    def _opened(self, port: IListeningPort) -> None:
        self._port = port

    async def take(self, caller: Held) -> None:
        """
        @param caller: paused.
        """
        here: Any = caller.transport
        try:
            held: Any = await Deferred.fromCoroutine(_connected(self.onward))
        except Exception as error:
            self._log.warn("auth does not answer: {error}", error=str(error))
            here.abortConnection()
            return
        there: Any = held.transport
        if caller.early:
            there.write(caller.early)
        if held.early:
            here.write(held.early)
        await join(here, there, clock=self.reactor, idle_seconds=IDLE_SECONDS)

    async def close(self) -> None:
        """
        Listen no more; connections go on until their ends close.
        """
        if self._port is not None:
            await stopped(self._port)


async def _connected(endpoint: IStreamClientEndpoint) -> object:
    return await endpoint.connect(HoldingFactory())


async def stopped(port: IListeningPort) -> None:
    """
    Stop listening, whichever way the port tells of it.
    """
    done = port.stopListening()
    if isinstance(done, Deferred):
        await done


class _Callers(Factory):
    noisy = False

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway

    def buildProtocol(self, addr: IAddress | None) -> _Caller:
        return _Caller(self._doorway)


class _Caller(Held):
    def __init__(self, doorway: Doorway) -> None:
        super().__init__()
        self._doorway = doorway

    def connectionMade(self) -> None:
        super().connectionMade()
        self._doorway.tasks.spawn("taking a user's calls to auth", self._doorway.take(self))


@frozen(kw_only=True)
class _Open:
    """
    A connection, good for one certificate.
    """

    certificate: bytes
    api: RpcApi
    doorway: Doorway | None


@define(eq=False)
class RemoteUsers:
    """
    Over gRPC, a connection for each session and the address it is used from.

    @ivar connect: opens one with the session's certificate and key, to gRPC's name of a place; empty for auth itself.
    @ivar way: to auth, for a client at an address; answers None where auth cannot be told one.
    """

    connect: Callable[[WebSession, str], RpcApi]
    reactor: Any
    way: Callable[[IAddress], IStreamClientEndpoint | None]
    _open: OrderedDict[tuple[str, str], _Open] = field(factory=OrderedDict, init=False)
    _folder: Path | None = field(default=None, init=False)
    _made: int = field(default=0, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    def api_for(self, session: WebSession, address: str) -> Api:
        """See L{teleport_tw.web.sessions.UserApis}."""
        key = session.sign_in, address
        known = self._open.pop(key, None)
        if known is not None and known.certificate != session.certificates.tls:
            self._close(known)
            known = None
        if known is None:
            doorway = self._doorway(address)
            api = self.connect(session, f"unix:{doorway.path}" if doorway is not None else "")
            known = _Open(certificate=session.certificates.tls, api=api, doorway=doorway)
        self._open[key] = known
        while len(self._open) > MAX_CHANNELS:
            self._close(self._open.popitem(last=False)[1])
        return known.api

    def _doorway(self, address: str) -> Doorway | None:
        onward = self.way(IPv4Address("TCP", address, 0)) if is_ip(address) else None
        if onward is None:
            return None
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="teleport-"))
        self._made += 1
        doorway = Doorway(self.reactor, str(self._folder / str(self._made)), onward, self._tasks)
        doorway.open()
        return doorway

    def _close(self, known: _Open) -> None:
        self._tasks.spawn("closing a user's connection to auth", self._closed(known))

    @staticmethod
    async def _closed(known: _Open) -> None:
        await known.api.close()
        if known.doorway is not None:
            await known.doorway.close()

    async def close(self) -> None:
        """
        End them all.
        """
        kept, self._open = self._open, OrderedDict()
        for known in kept.values():
            await self._closed(known)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
