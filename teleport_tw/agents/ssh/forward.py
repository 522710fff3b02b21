"""
Port forwarding: connections from here for C{ssh -L} and C{-D}, listeners here for C{ssh -R}; TCP and UNIX sockets.

Listeners are on the loopback interface whatever address was asked for: who else may reach this host's forwards is not
for its users to say. UNIX sockets are opened with the login's rights.

@see: RFC 4254 section 7; OpenSSH, C{PROTOCOL} section 2.4
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import CannotListenError, ConnectError, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.agents.ssh import usersockets
from teleport_tw.agents.ssh.join import check_unmoderated
from teleport_tw.agents.ssh.realm import Registry, SSHUser
from teleport_tw.base import relay
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.net.endpoints import GivenClient, GivenServer, TCPClient, TCPServer
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen
from teleport_tw.conch.streams import Forward, StreamChannel
from teleport_tw.events.ssh import Phase, PortLocal, PortRemote, PortRemoteConnection
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_text, put_uint32

CONNECT_SECONDS = 20.0
MAX_LISTENERS = 64
"""Of one connection."""

MAX_INCOMING = 512
"""Connections to one user's listeners at a time; more are not taken."""

PRIVILEGED_PORTS = 1024
_IPV6_LOOPBACK = "::1"
_IPV4_LOOPBACK = "127.0.0.1"

_Event = type[PortLocal] | type[PortRemote] | type[PortRemoteConnection]


class Held(Protocol):
    """
    Keeps a connection silent until somebody relays it.

    @ivar lost: it was lost before.
    """

    lost = False

    def connectionMade(self) -> None:
        """
        Nothing shall come before there is somebody to take it.
        """
        transport: Any = self.transport  # a producer as well as a transport
        transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note it.
        """
        self.lost = True


class ForwardChannel(StreamChannel):
    """
    A channel that is relayed to a connection once it is open.
    """

    def __init__(self, name: bytes, held: Held, on_end: Callable[[], object]) -> None:
        super().__init__()
        self.name = name
        self._held = held
        self._on_end = on_end
        self._joined = False
        self.when_open = self._join

    def _join(self) -> None:
        self._joined = True
        transport: Any = self._held.transport  # transports of the relay provide several interfaces
        this: Any = self
        relay.join(this, transport).addBoth(lambda _: self._on_end())

    def closed(self) -> None:
        """
        One that never opened leaves its connection to us.
        """
        super().closed()
        if not self._joined:
            self._joined = True
            abort(self._held)
            self._on_end()


def abort(held: Held) -> None:
    """
    Drop a connection.
    """
    transport: Any = held.transport
    if transport is not None and not held.lost:
        transport.abortConnection()


@define(eq=False)
class _Listening:
    """
    One listener of C{ssh -R}.
    """

    user: SSHUser
    address: str
    port: IListeningPort
    path: str = ""


@define(eq=False)
class Forwards:
    """
    What users of one agent forward.
    """

    _listeners: dict[SSHUser, dict[tuple[str, int], _Listening]] = field(factory=dict, init=False)
    _incoming: dict[SSHUser, int] = field(factory=dict, init=False)
    _log = Logger()

    def install(self, registry: Registry) -> None:
        """
        Add what is forwarded to what may be asked for.
        """
        registry.channels["direct-tcpip"] = self.direct_tcpip
        registry.channels["direct-streamlocal@openssh.com"] = self.direct_streamlocal
        registry.global_requests["tcpip-forward"] = self.tcpip_forward
        registry.global_requests["cancel-tcpip-forward"] = self.cancel_tcpip_forward
        registry.global_requests["streamlocal-forward@openssh.com"] = self.streamlocal_forward
        registry.global_requests["cancel-streamlocal-forward@openssh.com"] = self.cancel_streamlocal_forward

    # ssh -L, ssh -D.

    async def direct_tcpip(self, user: SSHUser, request: ChannelOpen) -> Channel:
        """
        Connect from here; see L{Forward}.
        """
        forward = Forward.parse(request.payload)
        address = f"{forward.host}:{forward.port}"
        self._check(user, PortLocal, address, user.target.options.local_forwarding)
        endpoint = TCPClient(user.realm.reactor, forward.host, forward.port, timeout=CONNECT_SECONDS)
        return await self._direct(user, request, endpoint, address)

    async def direct_streamlocal(self, user: SSHUser, request: ChannelOpen) -> Channel:
        """
        C{string} path; C{string} and C{uint32}, reserved.
        """
        path = Reader(request.payload).text()
        self._check(user, PortLocal, path, user.target.options.local_forwarding)
        try:
            given = await usersockets.open_socket(user, "connect", path)
        except TeleportError as error:
            emit(user, PortLocal, path, error=error.message)
            raise
        return await self._direct(user, request, GivenClient(user.realm.reactor, given.sock), path)

    async def _direct(
        self, user: SSHUser, request: ChannelOpen, endpoint: IStreamClientEndpoint, address: str
    ) -> Channel:
        try:
            held = await endpoint.connect(Factory.forProtocol(Held))
        except (ConnectError, DNSLookupError) as error:
            reason = _reason(error)
            emit(user, PortLocal, address, error=reason)
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot connect to {address}: {reason}") from error
        assert isinstance(held, Held)
        emit(user, PortLocal, address)
        return ForwardChannel(
            request.kind.encode("ascii"), held, lambda: emit(user, PortLocal, address, phase=Phase.STOP)
        )

    # ssh -R.

    async def tcpip_forward(self, user: SSHUser, payload: bytes) -> bytes | None:
        """
        C{string} address; C{uint32} port, 0 for any. The answer has the port if it was 0.
        """
        reader = Reader(payload)
        wanted, port = reader.text(), reader.uint32()
        address = f"{wanted}:{port}"
        self._check(user, PortRemote, address, user.target.options.remote_forwarding)
        account = await user.account()
        if port >= 1 << 16 or (0 < port < PRIVILEGED_PORTS and account.uid):
            raise self._refused(user, PortRemote, address, "only root may listen on this port")
        host = _IPV6_LOOPBACK if wanted == _IPV6_LOOPBACK else _IPV4_LOOPBACK
        listening = await self._listen(
            user, address, TCPServer(user.realm.reactor, host, port), _TCPIncoming(self, user, wanted)
        )
        number = int(getattr(listening.port.getHost(), "port", 0))
        if not self._keep(user, (wanted, number), listening):
            return None
        return b"" if port else put_uint32(number)

    async def cancel_tcpip_forward(self, user: SSHUser, payload: bytes) -> bytes | None:
        """
        C{string} address; C{uint32} port.
        """
        reader = Reader(payload)
        return self._cancel(user, (reader.text(), reader.uint32()))

    async def streamlocal_forward(self, user: SSHUser, payload: bytes) -> bytes | None:
        """
        C{string} path.
        """
        path = Reader(payload).text()
        self._check(user, PortRemote, path, user.target.options.remote_forwarding)
        try:
            given = await usersockets.open_socket(user, "listen", path)
        except TeleportError as error:
            emit(user, PortRemote, path, error=error.message)
            raise
        listening = await self._listen(
            user, path, GivenServer(user.realm.reactor, given.sock), _UnixIncoming(self, user, path)
        )
        listening.path = path
        return b"" if self._keep(user, (path, -1), listening) else None

    async def cancel_streamlocal_forward(self, user: SSHUser, payload: bytes) -> bytes | None:
        """
        C{string} path.
        """
        return self._cancel(user, (Reader(payload).text(), -1))

    async def _listen(
        self, user: SSHUser, address: str, endpoint: IStreamServerEndpoint, factory: _Incoming
    ) -> _Listening:
        if len(self._listeners.get(user, ())) >= MAX_LISTENERS:
            raise self._refused(user, PortRemote, address, f"more than {MAX_LISTENERS} ports")
        try:
            port = await endpoint.listen(factory)
        except CannotListenError as error:
            raise self._refused(user, PortRemote, address, str(error.socketError)) from error
        factory.number = int(getattr(port.getHost(), "port", 0))
        return _Listening(user, address, port)

    def _keep(self, user: SSHUser, key: tuple[str, int], listening: _Listening) -> bool:
        connection = user.connection
        if connection is None or connection.stopped:
            self._close(listening)
            return False
        if user not in self._listeners:
            self._listeners[user] = {}
            user.cleanups.append(lambda: self._close_all(user))
        self._listeners[user][key] = listening
        emit(user, PortRemote, listening.address)
        return True

    def _cancel(self, user: SSHUser, key: tuple[str, int]) -> bytes | None:
        listening = self._listeners.get(user, {}).pop(key, None)
        if listening is None:
            return None
        self._close(listening)
        emit(user, PortRemote, listening.address, phase=Phase.STOP)
        return b""

    def _close_all(self, user: SSHUser) -> None:
        for listening in self._listeners.pop(user, {}).values():
            self._close(listening)
            emit(user, PortRemote, listening.address, phase=Phase.STOP)
        self._incoming.pop(user, None)

    def _close(self, listening: _Listening) -> None:
        listening.port.stopListening()
        if listening.path:
            user = listening.user
            user.realm.tasks.spawn("removing a socket", usersockets.unlink(user, listening.path))

    async def incoming(self, user: SSHUser, held: Held, name: bytes, payload: bytes, address: str) -> None:
        """
        Somebody connected to a listener.
        """
        connection = user.connection
        count = self._incoming.get(user, 0)
        if connection is None or connection.stopped or count >= MAX_INCOMING:
            abort(held)
            return
        self._incoming[user] = count + 1

        def ended() -> None:
            if user in self._incoming:
                self._incoming[user] -= 1
            if opened:
                emit(user, PortRemoteConnection, address, phase=Phase.STOP)

        opened: list[Channel] = []
        channel = ForwardChannel(name, held, ended)
        try:
            opened.append(await connection.open(channel, payload))
        except TeleportError as error:
            abort(held)
            ended()
            emit(user, PortRemoteConnection, address, error=error.message)
        else:
            emit(user, PortRemoteConnection, address)

    # Refusals.

    def _check(self, user: SSHUser, event: _Event, address: str, by_role: bool) -> None:
        if not user.realm.section.port_forwarding:
            raise self._refused(user, event, address, "port forwarding is switched off on this host")
        if not by_role or not user.target.identity.permit_port_forwarding:
            raise self._refused(user, event, address, "port forwarding is not permitted by your roles")
        try:
            check_unmoderated(user, "forwarded ports")
        except TeleportError as error:
            raise self._refused(user, event, address, error.message) from error

    def _refused(self, user: SSHUser, event: _Event, address: str, reason: str) -> TeleportError:
        emit(user, event, address, error=reason)
        return access_denied(reason)


def emit(user: SSHUser, event: _Event, address: str, *, phase: Phase = Phase.START, error: str = "") -> None:
    """
    Tell the audit log.
    """
    user.realm.sink.emit(
        event(
            actor=user.actor,
            connection=user.over,
            server=user.realm.server(),
            address=address,
            phase=phase,
            success=not error,
            error=error,
        )
    )


class _Incoming(Factory):
    noisy = False

    def __init__(self, forwards: Forwards, user: SSHUser, wanted: str) -> None:
        self._forwards = forwards
        self._user = user
        self._wanted = wanted
        self.number = 0

    def buildProtocol(self, addr: IAddress | None) -> Arrived:
        """
        One more connection.
        """
        tasks = self._user.realm.tasks
        return Arrived(lambda held: tasks.spawn("forwarded connection", self._open(held, addr)))

    @abstractmethod
    async def _open(self, held: Held, address: IAddress | None) -> None: ...


class Arrived(Held):
    """
    A connection somebody made to us, which is told once it may be relayed.
    """

    def __init__(self, on_made: Callable[[Held], object]) -> None:
        self._on_made = on_made

    def connectionMade(self) -> None:
        """
        Wait for a channel.
        """
        super().connectionMade()
        self._on_made(self)


class _TCPIncoming(_Incoming):
    async def _open(self, held: Held, address: IAddress | None) -> None:
        """
        C{string} address that was asked for; C{uint32} port; C{string} originator's address; C{uint32} its port.
        """
        host, port = getattr(address, "host", _IPV4_LOOPBACK), getattr(address, "port", 0)
        payload = put_text(self._wanted) + put_uint32(self.number) + put_text(host) + put_uint32(port)
        await self._forwards.incoming(self._user, held, b"forwarded-tcpip", payload, f"{host}:{port}")


class _UnixIncoming(_Incoming):
    async def _open(self, held: Held, address: IAddress | None) -> None:
        """
        C{string} path that was asked for; C{string}, reserved.
        """
        payload = put_text(self._wanted) + put_string(b"")
        name = b"forwarded-streamlocal@openssh.com"
        await self._forwards.incoming(self._user, held, name, payload, self._wanted)


def _reason(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case DNSLookupError():
            return "no such host"
        case ConnectError():
            return str(error.args[0]) if error.args and not error.osError else str(error.osError or "it timed out")
        case _:
            return str(error)
