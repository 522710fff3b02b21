"""
The jump host: C{ssh -J proxy:3023 root@node}, and the C{proxy:host:port@cluster} subsystem.

A user proves themselves with their certificate, then opens channels to servers. What runs inside a channel is SSH
between client and server; this end only carries it. Nobody gets a shell here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.api.streams import StreamHeader, address_text
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import from_timestamp
from teleport_tw.conch.channel import STDERR, Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.signatures import is_certificate
from teleport_tw.conch.streams import Forward, StreamChannel
from teleport_tw.conch.transport import ServerFactory, ServerSettings
from teleport_tw.conch.userauth import LoginRules, Peer
from teleport_tw.events.kinds import Actor, Auth, SessionConnect
from teleport_tw.events.kinds import Connection as Over
from teleport_tw.events.kinds import Server as Where
from teleport_tw.events.sink import EventSink
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.sshcert import verify_user
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.proxy.dialin import DialIn, Way

NO_SHELL = (
    "This is the proxy of a cluster; it gives no shells. Reach a server through it:\r\n"
    "  ssh -J {user}@<this proxy> <login>@<server>\r\n"
)


@define(eq=False)
class JumpHost:
    """
    What all connections to the jump host share.

    @ivar authorities: those whose users are believed, at the time of asking.
    @ivar admit: refuses by lock; raises L{TeleportError}.
    """

    dial: DialIn
    clock: IReactorTime
    authorities: Callable[[], Iterable[Authority]]
    admit: Callable[[Identity, str], None]
    sink: EventSink
    tasks: Tasks = field(factory=Tasks)
    _log: ClassVar[Logger] = Logger()

    def factory(self, settings: Callable[[LoginRules], ServerSettings]) -> ServerFactory:
        """
        @param settings: fills in host keys and algorithms.
        """
        return ServerFactory(settings(LoginRules(authenticate=self.authenticate, acceptable=_certificate_only)))

    async def authenticate(self, username: str, blob: bytes, peer: Peer) -> JumpUser:
        """
        Let in whoever holds a certificate of this cluster; which server they may reach is decided there.
        """
        over = Over(remote=address_text(peer.address))
        try:
            identity = verify_user(
                blob,
                self.authorities(),
                from_timestamp(self.clock.seconds()),
                source_ip=getattr(peer.address, "host", None),
            )
            self.admit(identity, username)
        except TeleportError as error:
            self.sink.emit(
                Auth(
                    actor=Actor(user=username, login=username),
                    connection=over,
                    success=False,
                    error=error.details or error.message,
                    message=error.message,
                )
            )
            raise
        return JumpUser(self, identity, blob, over)


def _certificate_only(username: str, blob: bytes) -> bool:
    try:
        return is_certificate(Reader(blob).string())
    except RemoteProtocolError:
        return False


@define(eq=False)
class JumpUser:
    """
    Answers one signed-in user.
    """

    host: JumpHost
    identity: Identity
    certificate: bytes
    over: Over
    _log: ClassVar[Logger] = Logger()

    def connected(self, connection: Connection) -> None:
        """
        Nothing is offered before it is asked for.
        """

    def connection_lost(self) -> None:
        """
        Its channels have ended, and with them the relays.
        """

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """
        Keep-alives are answered below; ports are forwarded at the server, not here.
        """
        return None

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """
        C{direct-tcpip} to a server; C{session} for the subsystem.
        """
        if request.kind == "session":
            return JumpSession(self)
        if request.kind != "direct-tcpip":
            raise TeleportError(Kind.NOT_IMPLEMENTED, f"the proxy has no channels of type {request.kind}")
        forward = Forward.parse(request.payload)
        way = await self.open(f"[{forward.host}]:{forward.port}" if ":" in forward.host else forward.host)
        channel = StreamChannel()
        channel.when_open = lambda: self.carry(channel, way)
        return channel

    async def open(self, target: str) -> Way:
        """
        @param target: as L{teleport_tw.proxy.route.split_target} has it.
        """
        header = StreamHeader(
            target_kind="node",
            target_name=target,
            client_address=self.over.remote,
            user_certificates=(self.certificate,),
        )
        try:
            way = await self.host.dial.open(header, self.identity)
        except TeleportError:
            raise
        except Exception as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, "the connection to the server was lost", details=repr(error)
            ) from error
        actor = Actor(user=self.identity.username, roles=self.identity.roles)
        self.host.sink.emit(SessionConnect(actor=actor, connection=self.over, server=Where(id="", address=target)))
        return way

    def carry(self, channel: Channel, way: Way) -> None:
        """
        The channel is the way's from now on.
        """
        self.host.tasks.spawn("relaying for a jump", way.take(channel, b""))


class JumpSession(StreamChannel):
    """
    A session that may only become a connection to a server.
    """

    name = b"session"

    def __init__(self, user: JumpUser) -> None:
        super().__init__()
        self._user = user
        self._used = False

    async def request_subsystem(self, payload: bytes) -> bool:
        """
        C{string} name: C{proxy:host:port@cluster}.
        """
        kind, _, target = Reader(payload).text().partition(":")
        if kind != "proxy" or not target or self._used:
            return False
        self._used = True
        try:
            way = await self._user.open(target)
        except TeleportError as error:
            self._say(f"ERROR: {error.message}\r\n", 1)
            return True
        self._user.host.clock.callLater(0, self._user.carry, self, way)
        return True

    def request_shell(self, payload: bytes) -> bool:
        """
        There is none.
        """
        self._say(NO_SHELL.format(user=self._user.identity.username), 1)
        return True

    def request_exec(self, payload: bytes) -> bool:
        """
        Nothing is run here.
        """
        return self.request_shell(payload)

    def request_pty_req(self, payload: bytes) -> bool:
        """
        Clients ask before they ask for a shell.
        """
        return True

    def request_env(self, payload: bytes) -> bool:
        """
        Of no use here.
        """
        return True

    def _say(self, text: str, status: int) -> None:
        def speak() -> None:
            self.writeExtended(STDERR, text.encode())
            self.exit_status(status)
            self.loseConnection()

        self._user.host.clock.callLater(0, speak)
