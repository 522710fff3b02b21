"""
One user at one server by way of the proxy: what they may ask for, and what ends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.logger import Logger

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.tasks import Tasks
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.streams import Forward
from teleport_tw.dial.lifetime import Ending, Lease, Life
from teleport_tw.events.kinds import Actor, ClientDisconnect, Event, Phase, PortLocal, PortRemote, SessionRejected
from teleport_tw.events.kinds import Connection as Over
from teleport_tw.events.kinds import Server as Where
from teleport_tw.pki.identity import Identity
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.proxy.forward_channels import Pipe, through
from teleport_tw.proxy.forward_session import ForwardedSession
from teleport_tw.proxy.onward import Onward
from teleport_tw.proxy.targets import AGENTLESS
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import Node

if TYPE_CHECKING:
    from teleport_tw.proxy.forward import Authorized, Forwarder

DISCONNECT_BY_APPLICATION = 11

LAST_WORDS_SECONDS = 1.0
"""How long a client may take to read why it is disconnected."""

PRINT_SECONDS = 0.2
"""Between last words and the end: OpenSSH's client forgets what it has not printed when it is disconnected."""

MAX_REMOTE = 64
"""Addresses one connection may have the server listen on."""

_DIRECT = ("direct-tcpip", "direct-streamlocal@openssh.com")


def actor_of(identity: Identity, login: str) -> Actor:
    """
    @return: the user in an event.
    """
    return Actor(
        user=identity.username,
        login=login,
        impersonator=identity.impersonator,
        roles=identity.roles,
        traits=identity.traits,
        kind="bot" if identity.bot_name else "human",
        access_requests=identity.active_requests,
        bot_name=identity.bot_name,
        bot_instance=identity.bot_instance,
        cluster=identity.cluster,
    )


def server_of(node: Node, labels: Mapping[str, str], forwarded_by: str) -> Where:
    """
    @return: the server in an event.
    """
    return Where(
        id=node.name,
        hostname=node.hostname,
        address=node.addr,
        labels=dict(labels),
        version=node.version,
        forwarded_by=forwarded_by,
        sub_kind=node.sub_kind.value,
    )


@define(eq=False, kw_only=True)
class Visit:
    """
    Answers one signed-in user.

    @ivar agent_offered: the client forwards an agent; the proxy may sign in with it.
    @ivar agent_allowed: and the server may use it.
    @ivar remote_ports: addresses and ports the server listens on for the user.
    @ivar remote_paths: the same for sockets in the file system.
    @ivar gone: the user's connection is over.
    """

    shared: Forwarder
    resource: Resource
    node: Node
    header: StreamHeader
    target: Authorized
    over: Over
    server: Where
    connection: Connection | None = field(default=None, init=False)
    sessions: set[ForwardedSession] = field(factory=set, init=False)
    agent_offered: bool = field(default=False, init=False)
    agent_allowed: bool = field(default=False, init=False)
    x11_allowed: bool = field(default=False, init=False)
    remote_ports: set[tuple[str, int]] = field(factory=set, init=False)
    remote_paths: set[str] = field(factory=set, init=False)
    gone: bool = field(default=False, init=False)
    _ending: bool = field(default=False, init=False)
    _onward: Onward = field(init=False)
    _life: Life | None = field(default=None, init=False)
    _lease: Lease | None = field(default=None, init=False)
    _abort: Any = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._onward = Onward(self)

    @property
    def agentless(self) -> bool:
        """
        Whether a stock sshd is at the end.
        """
        return self.node.sub_kind.value in AGENTLESS

    @property
    def actor(self) -> Actor:
        """
        The user in an event.
        """
        return actor_of(self.target.identity, self.target.login)

    @property
    def common(self) -> dict[str, Any]:
        """
        What events of the connection tell.
        """
        return {"actor": self.actor, "connection": self.over, "server": self.server}

    @property
    def tasks(self) -> Tasks:
        """
        Work beside the channels.
        """
        return self.shared.tasks

    def emit(self, event: Event) -> None:
        """
        Into the audit log.
        """
        self.shared.sink.emit(event)

    def touch(self) -> None:
        """
        The connection is in use.
        """
        if self._life is not None:
            self._life.touch()

    async def onward(self) -> Connection:
        """
        @return: the connection to the server.
        @raise TeleportError: there is none to be had.
        """
        return await self._onward.get()

    # Limits.

    async def count(self) -> None:
        """
        Take one of the connections the user may have at a time.

        @raise TeleportError: there are as many already, or nobody can tell.
        """
        limit, user = self.target.options.max_connections, self.target.identity.username

        def refused(reason: str) -> None:
            self.emit(SessionRejected(**self.common, reason=reason, maximum=limit))

        self._lease = await self.shared.lifetimes.count(user, limit, refused)

    def _check_sessions(self) -> None:
        limit = self.target.options.max_sessions
        if limit and len(self.sessions) >= limit:
            self.emit(SessionRejected(**self.common, reason="max_sessions limit reached", maximum=limit))
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"too many sessions: {limit} allowed on one connection")

    # What conch asks.

    def connected(self, connection: Connection) -> None:
        """
        From here on locks, idleness and expiry count.
        """
        self.connection = connection
        self.shared.arrived(self)
        lifetimes = self.shared.lifetimes
        self._life = lifetimes.begin(self.target.terms, self.end)
        if self._lease is not None:
            self._lease.on_lost = self._life.finish
        refusal = lifetimes.refusal(self.target.terms)
        if refusal:  # a lock that came while the login was decided
            self._life.finish(Ending(refusal, refusal))

    def connection_lost(self) -> None:
        """
        The way onwards ends too.
        """
        if self.gone:
            return
        self.gone = True
        self.shared.left(self)
        if self._life is not None:
            self._life.close()
        if self._lease is not None:
            self._lease.release()
        if self._abort is not None:
            with suppress(AlreadyCalled, AlreadyCancelled):
                self._abort.cancel()
        for host, port in self.remote_ports:
            self.emit(PortRemote(**self.common, address=f"{host}:{port}", phase=Phase.STOP))
        self._onward.close()

    def onward_lost(self) -> None:
        """
        The server has gone; so does the user.
        """
        self._onward.lost()
        if self.connection is not None and not self.gone:
            # Channels have their last bytes to send first.
            self.shared.reactor.callLater(0, self._disconnect, "the connection to the server was lost")

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """
        Sessions, and connections from the server to somewhere.
        """
        self.touch()
        if self._ending:
            raise access_denied("the connection is being ended")
        if request.kind == "session":
            self._check_sessions()
            return ForwardedSession(self)
        if request.kind in _DIRECT:
            return await self._direct(request)
        raise TeleportError(Kind.NOT_IMPLEMENTED, f"there are no channels of type {request.kind[:64]}")

    async def _direct(self, request: ChannelOpen) -> Pipe:
        if request.kind == "direct-tcpip":
            forward = Forward.parse(request.payload)
            address = f"{forward.host}:{forward.port}"
        else:
            address = Reader(request.payload).text()
        try:
            if not (self.target.options.local_forwarding and self.target.identity.permit_port_forwarding):
                raise access_denied("port forwarding is not allowed", details="local port forwarding is off")
            channel = await through(await self.onward(), request.kind, request.payload, self.touch)
        except TeleportError as error:
            said = error.details or error.message
            self.emit(PortLocal(**self.common, address=address, success=False, error=said))
            raise
        self.emit(PortLocal(**self.common, address=address))
        channel.ended = lambda: self.emit(PortLocal(**self.common, address=address, phase=Phase.STOP))
        return channel

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """
        Ports that the server is to listen on.
        """
        self.touch()
        match name:
            case "tcpip-forward":
                return await self._listen(payload)
            case "cancel-tcpip-forward":
                return await self._unlisten(payload)
            case "streamlocal-forward@openssh.com":
                self._check_remote(path := Reader(payload).text())
                answer = await (await self.onward()).ask(name, payload)
                self.remote_paths.add(path)
                self.emit(PortRemote(**self.common, address=path))
                return answer
            case "cancel-streamlocal-forward@openssh.com":
                self.remote_paths.discard(Reader(payload).text())
                return await (await self.onward()).ask(name, payload)
        return None

    def _check_remote(self, address: str) -> None:
        options, identity = self.target.options, self.target.identity
        if not (options.remote_forwarding and identity.permit_port_forwarding):
            self.emit(PortRemote(**self.common, address=address, success=False, error="remote port forwarding is off"))
            raise access_denied("port forwarding is not allowed", details="remote port forwarding is off")
        if len(self.remote_ports) + len(self.remote_paths) >= MAX_REMOTE:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many forwarded ports")

    async def _listen(self, payload: bytes) -> bytes:
        """
        C{string} address; C{uint32} port, zero for any; answered with the port if it was zero.
        """
        reader = Reader(payload)
        host, port = reader.text(), reader.uint32()
        self._check_remote(f"{host}:{port}")
        try:
            answer = await (await self.onward()).ask("tcpip-forward", payload)
        except TeleportError as error:
            self.emit(PortRemote(**self.common, address=f"{host}:{port}", success=False, error=error.message))
            raise
        if not port:
            try:
                port = Reader(answer).uint32()
            except RemoteProtocolError as error:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "the server did not tell its port") from error
        self.remote_ports.add((host, port))
        self.emit(PortRemote(**self.common, address=f"{host}:{port}"))
        return answer

    async def _unlisten(self, payload: bytes) -> bytes:
        reader = Reader(payload)
        listened = (reader.text(), reader.uint32())
        if listened not in self.remote_ports:
            raise TeleportError(Kind.NOT_FOUND, "that port is not forwarded")
        self.remote_ports.discard(listened)
        self.emit(PortRemote(**self.common, address="{}:{}".format(*listened), phase=Phase.STOP))
        return await (await self.onward()).ask("cancel-tcpip-forward", payload)

    # The end.

    def end(self, ending: Ending) -> None:
        """
        Disconnect the user, who is told why on every terminal.
        """
        if self.connection is None or self.gone or self._ending:
            return
        self._ending = True
        self.emit(ClientDisconnect(**self.common, reason=ending.reason))
        for session in tuple(self.sessions):
            session.last_words(ending.message)
            session.pauseProducing()
        self._abort = self.shared.reactor.callLater(PRINT_SECONDS, self._say_goodbye, ending.message)

    def _say_goodbye(self, text: str) -> None:
        self._abort = None
        self._disconnect(text)

    def _disconnect(self, text: str) -> None:
        connection = self.connection
        if connection is None or self.gone or self._abort is not None:
            return
        connection.transport.sendDisconnect(DISCONNECT_BY_APPLICATION, text.encode())
        if not self.gone:
            self._abort = self.shared.reactor.callLater(LAST_WORDS_SECONDS, connection.transport.abortConnection)

    def abort(self) -> None:
        """
        Now, without words.
        """
        if self.connection is not None and not self.gone:
            self.connection.transport.abortConnection()
