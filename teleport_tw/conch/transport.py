"""
The two roles of an SSH connection, and what each is made with.

A server::

    rules = LoginRules(authenticate=authenticate)  # async (username, blob, peer) -> Responder, or TeleportError
    settings = ServerSettings(clock=reactor, host_keys=HostKeys([(key, certificate)]), rules=rules)
    await endpoint.listen(ServerFactory(settings))

A client::

    signers = [MemorySigner(key, certificate)]
    settings = ClientSettings(clock=reactor, username="alice", verify_host=verify_host, signers=signers)
    connection = await connect(endpoint, settings)
    channel = await connection.open(SessionChannel())

L{teleport_tw.conch.connection} and L{teleport_tw.conch.channel} go on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field, frozen
from twisted.conch.ssh import transport as conch
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.limits import ConnectionLimit
from teleport_tw.conch.algorithms import CERTIFICATE_SIGNATURES, SIGNATURES, Algorithms
from teleport_tw.conch.carrier import DEFAULT_VERSION, Carrier, Limits
from teleport_tw.conch.connection import Connection, Responder
from teleport_tw.conch.exchange import HostProof
from teleport_tw.conch.kex import encode_string
from teleport_tw.conch.signatures import HostKeys, Signer
from teleport_tw.conch.signin import Answer, UserAuthClient
from teleport_tw.conch.userauth import LoginRules, UserAuthServer
from teleport_tw.protocols.ssh.wire import Reader


@frozen(kw_only=True)
class ServerSettings:
    """
    What every connection of a server shares.

    @ivar clock: for all time limits.
    @ivar host_keys: what the server proves itself with.
    @ivar rules: who may come in.
    @ivar version: the line sent first, without its end.
    @ivar max_pending_logins: connections that may be signing in at one time; for one more, the one that has been at it
        longest is closed.
    @ivar max_pending_per_address: of these from one address, or IPv6 network; more are closed at once.
    """

    clock: IReactorTime
    host_keys: HostKeys
    rules: LoginRules
    algorithms: Algorithms = field(factory=Algorithms)
    limits: Limits = field(factory=Limits)
    version: bytes = DEFAULT_VERSION
    max_pending_logins: int = 1024
    max_pending_per_address: int = 128


def _nothing() -> None:
    pass


class ServerTransport(Carrier, conch.SSHServerTransport):
    """
    The server's side of one connection.

    @ivar connection: once the user is in.
    """

    isClient = False

    def __init__(
        self,
        settings: ServerSettings,
        pending: dict[ServerTransport, str] | None = None,
        when_closed: Callable[[], object] = _nothing,
    ) -> None:
        """
        @param pending: where it is listed until the user is in, with the network it came from.
        @param when_closed: called once when the connection is over.
        """
        super().__init__(
            clock=settings.clock,
            limits=settings.limits,
            algorithms=settings.algorithms,
            version=settings.version,
            host_keys=settings.host_keys,
        )
        self._rules = settings.rules
        self._pending = {} if pending is None else pending
        self._pending[self] = ""
        self._when_closed = when_closed
        self.connection: Connection | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Until the user is in, what came is acknowledged at once: OpenSSH's client sends NEWKEYS, which nobody answers,
        and its next message only when the first is acknowledged.
        """
        super().dataReceived(data)
        acknowledge = getattr(self.transport, "acknowledge", None)  # which streams of a tunnel do not have, nor need
        if self.connection is None and acknowledge is not None:
            acknowledge()

    def first_keys_sent(self) -> None:
        """
        Tell at once which signatures are taken, so that clients use SHA-2 with RSA keys.

        @see: RFC 8308 section 3.1
        """
        if self.exchange.peer_takes_ext_info:
            names = b",".join(SIGNATURES + CERTIFICATE_SIGNATURES)
            body = (1).to_bytes(4, "big") + encode_string(b"server-sig-algs") + encode_string(names)
            self.send_now(bytes((conch.MSG_EXT_INFO,)) + body)

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """
        C{string} name: C{ssh-userauth}, once.
        """
        name = Reader(packet).string()
        if name != UserAuthServer.name or self.service is not None:
            self.sendDisconnect(conch.DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        self.sendPacket(conch.MSG_SERVICE_ACCEPT, encode_string(name))
        self.setService(UserAuthServer(self._rules))

    def logged_in(self, responder: Responder) -> None:
        """
        The user is in.
        """
        self.authenticated()
        self._pending.pop(self, None)
        self.connection = Connection(responder)
        self.setService(self.connection)

    def closed(self, reason: Failure) -> None:
        """
        One less.
        """
        self._pending.pop(self, None)
        self._when_closed()


@define(eq=False)
class ServerFactory(Factory):
    """
    Makes a L{ServerTransport} for each connection.

    @ivar connections: bounds how many one address may have at once, signed in or not; C{None} where others see to it.
    """

    settings: ServerSettings
    connections: ConnectionLimit | None = None
    noisy: bool = field(default=False, init=False)
    _pending: dict[ServerTransport, str] = field(factory=dict, init=False)

    def buildProtocol(self, addr: IAddress | None) -> ServerTransport | None:
        """
        One more client, unless too many of the same address are on the doorstep. Where many addresses are, whoever has
        stood there longest makes room: a login takes seconds.
        """
        settings, pending = self.settings, self._pending
        network = network_of(str(getattr(addr, "host", "")))
        if network and sum(each == network for each in pending.values()) >= settings.max_pending_per_address:
            return None
        limit = self.connections
        if limit is not None and not limit.acquire(network):
            return None
        while len(pending) >= settings.max_pending_logins:
            oldest = next(iter(pending))
            del pending[oldest]
            if oldest.transport is not None:
                oldest.transport.abortConnection()
        transport = ServerTransport(
            settings, pending, (lambda: limit.release(network)) if limit is not None else _nothing
        )
        pending[transport] = network
        return transport


VerifyHost = Callable[[HostProof], Awaitable[None]]
"""Returns for the server that was meant; raises TeleportError for any other. There is no default."""


@frozen(kw_only=True)
class ClientSettings:
    """
    What one connection of a client is made with.

    @ivar clock: for all time limits.
    @ivar username: the login.
    @ivar verify_host: decides about the server.
    @ivar signers: keys and certificates to try, in this order; an agent's as well.
    @ivar answer: answers questions of the server; without it none are.
    @ivar show: shows the server's banner.
    @ivar responder: answers what the server asks: forwarded ports, the agent. Without it everything is refused.
    """

    clock: IReactorTime
    username: str
    verify_host: VerifyHost
    signers: Sequence[Signer] = ()
    answer: Answer | None = None
    show: Callable[[str], None] = lambda text: None
    responder: Responder | None = None
    algorithms: Algorithms = field(factory=Algorithms)
    limits: Limits = field(factory=Limits)
    version: bytes = DEFAULT_VERSION


class ClientTransport(Carrier, conch.SSHClientTransport):
    """
    The client's side of one connection.

    @ivar ready: fires with the L{Connection} once signed in; fails with TeleportError.
    @ivar said: why the server went, in its words; empty while it did not say.
    """

    isClient = True

    def __init__(self, settings: ClientSettings) -> None:
        super().__init__(
            clock=settings.clock,
            limits=settings.limits,
            algorithms=settings.algorithms,
            version=settings.version,
            host_keys=None,
        )
        self._settings = settings
        self._why: TeleportError | None = None
        self.said = ""
        self.connection: Connection | None = None
        self.ready: Deferred[Connection] = Deferred(lambda _: self.abortConnection())

    def judge(self, proof: HostProof) -> None:
        """
        Ask about the server; nothing it sends is looked at before the answer.
        """
        self.hold()
        self.tasks.spawn("SSH host check", self._judge(proof))

    async def _judge(self, proof: HostProof) -> None:
        try:
            await self._settings.verify_host(proof)
        except TeleportError as error:
            self._why = error
            self.sendDisconnect(conch.DISCONNECT_HOST_KEY_NOT_VERIFIABLE, b"host key not accepted")
        except BaseException:
            self._why = TeleportError(Kind.INTERNAL, "the host key could not be checked")
            self.sendDisconnect(conch.DISCONNECT_HOST_KEY_NOT_VERIFIABLE, b"host key not checked")
            raise
        else:
            if not self.ended:
                self.exchange.host_accepted()
        finally:
            self.release()

    def secured(self) -> None:
        """
        Ask for the service that signs us in.
        """
        self.sendPacket(conch.MSG_SERVICE_REQUEST, encode_string(UserAuthClient.name))

    def ssh_SERVICE_ACCEPT(self, packet: bytes) -> None:
        """
        C{string} name.
        """
        if Reader(packet).string() != UserAuthClient.name or self.service is not None:
            raise RemoteProtocolError("a service was accepted that was not asked for")
        settings = self._settings
        self.setService(UserAuthClient(settings.username, settings.signers, settings.answer, settings.show))

    def logged_in(self) -> None:
        """
        The server let us in.
        """
        self.authenticated()
        self.connection = Connection(self._settings.responder)
        self.setService(self.connection)
        self.ready.callback(self.connection)

    def login_failed(self, error: TeleportError) -> None:
        """
        No key was good enough.
        """
        self._why = error
        self.sendDisconnect(conch.DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"no more authentication methods")

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """
        The server says why it goes.
        """
        super().receiveError(reasonCode, description)
        text = description[:256].decode("utf-8", "replace")
        printable = "".join(letter for letter in text if letter.isprintable())
        self.said = printable
        kind = Kind.ACCESS_DENIED if reasonCode == 14 else Kind.CONNECTION_PROBLEM
        self._why = self._why or TeleportError(kind, f"the SSH server closed the connection: {printable}")

    def _fault(self, error: RemoteProtocolError) -> None:
        self._why = self._why or TeleportError(Kind.CONNECTION_PROBLEM, f"SSH connection failed: {error}")
        super()._fault(error)

    def closed(self, reason: Failure) -> None:
        """
        Whoever waits for L{ready} is told.
        """
        if not self.ready.called:
            why = self._why or TeleportError(
                Kind.CONNECTION_PROBLEM,
                "the SSH server closed the connection before the login was through",
                details="" if reason.check(ConnectionDone) else reason.getErrorMessage(),
            )
            self.ready.errback(why)


@define(eq=False)
class _ClientFactory(Factory):
    settings: ClientSettings
    noisy: bool = field(default=False, init=False)

    def buildProtocol(self, addr: IAddress | None) -> ClientTransport:
        return ClientTransport(self.settings)


async def connect(endpoint: IStreamClientEndpoint, settings: ClientSettings) -> Connection:
    """
    @return: a connection that is signed in.
    @raise TeleportError: the server is not reached, not the right one, or does not let us in.
    """
    try:
        protocol = await endpoint.connect(_ClientFactory(settings))
    except OSError as error:
        raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot reach the SSH server: {error}") from error
    assert isinstance(protocol, ClientTransport)
    return await protocol.ready
