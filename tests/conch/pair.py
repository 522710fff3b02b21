"""
A client and a server facing each other, bytes carried by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.test.iosim import FakeTransport, IOPump, connect

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.exchange import HostProof
from teleport_tw.conch.signatures import HostKeys, MemorySigner
from teleport_tw.conch.transport import ClientSettings, ClientTransport, ServerSettings, ServerTransport
from teleport_tw.conch.userauth import LoginRules, Peer

HOST_KEY = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
USER_KEY = Ed25519PrivateKey.from_private_bytes(b"u" * 32)


class Recorder(Channel):
    """
    Notes what happens to it.
    """

    name = b"session"

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.log: list[Any] = []
        self.received = bytearray()

    def channelOpen(self, specificData: bytes) -> None:
        self.log.append("open")

    def openFailed(self, reason: TeleportError) -> None:
        self.log.append(("failed", reason.kind, reason.message))

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def extReceived(self, dataType: int, data: bytes) -> None:
        self.log.append((dataType, data))

    def eofReceived(self) -> None:
        self.log.append("eof")

    def closed(self) -> None:
        self.log.append("closed")

    def request_exit_status(self, payload: bytes) -> None:
        self.log.append(("status", payload[-1], len(self.received)))

    def request_exit_signal(self, payload: bytes) -> None:
        self.log.append("signal")

    def request_ping(self, payload: bytes) -> bool:
        self.log.append(("ping", payload))
        return payload != b"no"


@define(eq=False)
class Host:
    """
    A responder that opens what it is told to.
    """

    make: Callable[[ChannelOpen], Any] = lambda request: Recorder()
    opened: list[Channel] = field(factory=list)
    requests: list[tuple[str, bytes]] = field(factory=list)
    answer: Callable[[str, bytes], bytes | None] = lambda name, payload: None
    connection: Connection | None = None
    lost: int = 0

    def connected(self, connection: Connection) -> None:
        self.connection = connection

    async def open_channel(self, request: ChannelOpen) -> Channel:
        channel = self.make(request)
        if isinstance(channel, Deferred):
            channel = await channel
        self.opened.append(channel)
        return channel

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        self.requests.append((name, payload))
        return self.answer(name, payload)

    def connection_lost(self) -> None:
        self.lost += 1


@define(eq=False)
class Pair:
    """
    Both ends, what carries bytes between them, and the clock of both.
    """

    server: ServerTransport
    client: ClientTransport
    pump: IOPump
    clock: Clock
    host: Host

    def flush(self) -> None:
        """
        Carry bytes until nobody has any.
        """
        self.pump.flush()

    @property
    def connection(self) -> Connection:
        """
        The client's, signed in.
        """
        assert self.client.connection is not None
        return self.client.connection

    def open(self, channel: Channel | None = None, payload: bytes = b"") -> tuple[Any, Any]:
        """
        @return: an open channel's client side and server side.
        """
        ours = channel or Recorder()
        opened = Deferred.fromCoroutine(self.connection.open(ours, payload))
        self.flush()
        assert opened.called
        return ours, self.host.opened[-1]


async def trust(proof: HostProof) -> None:
    """
    Accept any host.
    """


async def distrust(proof: HostProof) -> None:
    """
    Accept none.
    """
    raise TeleportError(Kind.ACCESS_DENIED, "the host is not known")


def pair(*, host: Host | None = None, limits: Limits | None = None, start: bool = True, **options: Any) -> Pair:
    """
    @param options: for either settings by their names; C{server_} or C{client_} in front limits them to one.
    """
    clock, host, limits = Clock(), host or Host(), limits or Limits()

    async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
        return host

    def chosen(side: str, defaults: dict[str, Any]) -> dict[str, Any]:
        shared = {name: value for name, value in options.items() if not name.startswith(("server_", "client_"))}
        own = {name.removeprefix(side): value for name, value in options.items() if name.startswith(side)}
        return {"clock": clock, "limits": limits, **defaults, **shared, **own}

    rules = LoginRules(authenticate=authenticate)
    server = ServerTransport(
        ServerSettings(**chosen("server_", {"host_keys": HostKeys([(HOST_KEY, None)]), "rules": rules}))
    )
    client_defaults = {"username": "alice", "verify_host": trust, "signers": [MemorySigner(USER_KEY)]}
    client = ClientTransport(ClientSettings(**chosen("client_", client_defaults)))
    pump = connect(
        server, FakeTransport(server, isServer=True), client, FakeTransport(client, isServer=False), greet=start
    )
    made = Pair(server, client, pump, clock, host)
    if start:
        made.flush()
    return made


def lone_server(**options: Any) -> tuple[ServerTransport, StringTransport, Clock]:
    """
    @return: a server whose client is played by the test.
    """
    clock = Clock()

    async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
        return Host()

    settings = {"host_keys": HostKeys([(HOST_KEY, None)]), "rules": LoginRules(authenticate=authenticate), **options}
    server = ServerTransport(ServerSettings(clock=clock, **settings))
    transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4242))
    server.makeConnection(transport)
    return server, transport, clock
