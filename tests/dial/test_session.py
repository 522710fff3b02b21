"""
Sessions, forwarded ports and files, over a real SSH connection with certificates on both sides.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient, TCPServer
from teleport_tw.base.relay import join
from teleport_tw.conch.channel import STDERR, Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.signatures import HostKeys, MemorySigner
from teleport_tw.conch.streams import Forward, StreamChannel
from teleport_tw.conch.transport import ClientSettings, ServerFactory, ServerSettings, connect
from teleport_tw.conch.userauth import LoginRules
from teleport_tw.dial.forward import Answering, Forwarder, PortForward
from teleport_tw.dial.known import HostTrust
from teleport_tw.dial.session import LOST_STATUS, Terminal, open_session
from teleport_tw.pki.trust import known_hosts
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.protocols.ssh.wire import Reader
from tests.dial.world import CLUSTER, HOST_CA, SSH_KEY, client_identity, host_blob

CLOCK: Any = reactor


class Session(Channel):
    """
    Tells what it was asked, echoes, and ends with status 7; C{die} ends by signal, C{no} is refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def request_env(self, payload: bytes) -> bool:
        reader = Reader(payload)
        self.asked.append(f"{reader.text()}={reader.text()}")
        return True

    def request_pty_req(self, payload: bytes) -> bool:
        reader = Reader(payload)
        self.asked.append(f"{reader.text()} {reader.uint32()}x{reader.uint32()}")
        return True

    def request_exec(self, payload: bytes) -> bool:
        command = Reader(payload).text()
        if command == "no":
            return False
        self.write(" ".join(self.asked).encode())
        self.writeExtended(STDERR, b"err")
        if command == "die":
            self.exit_signal("KILL")
            CLOCK.callLater(0, self.loseConnection)  # after the request was answered
        return True

    def dataReceived(self, data: bytes) -> None:
        self.write(data)

    def eofReceived(self) -> None:
        self.exit_status(7)
        self.loseConnection()


@define(eq=False)
class Server:
    """
    Answers for a user who is in.
    """

    connections: list[Connection] = field(factory=list)

    def connected(self, connection: Connection) -> None:
        self.connections.append(connection)

    def connection_lost(self) -> None:
        pass

    async def open_channel(self, request: ChannelOpen) -> Channel:
        if request.kind == "session":
            return Session()
        target = Forward.parse(request.payload)
        if target.host == "nowhere":
            raise access_denied()
        held = await TCPClient(CLOCK, target.host, target.port).connect(HoldingFactory())
        assert isinstance(held, Held)
        channel = StreamChannel()
        channel.when_open = lambda: join(held.transport, channel)  # type: ignore[arg-type]
        return channel

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        return (4022).to_bytes(4, "big") if name == "tcpip-forward" else None


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)


class Asks(Protocol):
    """
    Sends bytes and collects until it has as many as it wants.
    """

    def __init__(self, send: bytes, wanted: int) -> None:
        self.send, self.wanted, self.came = send, wanted, b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self.send)

    def dataReceived(self, data: bytes) -> None:
        self.came += data
        if len(self.came) >= self.wanted and not self.done.called:
            self.done.callback(self.came)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.done.called:
            self.done.callback(self.came)


class SessionTests(TestCase):
    """
    One server, one user.
    """

    timeout = 30

    async def signed_in(self) -> Connection:
        self.server = Server()

        async def authenticate(username: str, blob: bytes, peer: Any) -> Server:
            return self.server

        settings = ServerSettings(
            clock=CLOCK,
            host_keys=HostKeys([(SSH_KEY.native, host_blob("node-1"))]),
            rules=LoginRules(authenticate=authenticate),
        )
        port: Any = await TCPServer(CLOCK, "127.0.0.1", 0).listen(ServerFactory(settings))
        self.addCleanup(port.stopListening)
        identity = client_identity()
        blob = ssh_keys.parse_line(identity.ssh_certificate).blob
        self.answering = Answering(CLOCK)
        client = ClientSettings(
            clock=CLOCK,
            username="root",
            verify_host=HostTrust.of_known_hosts(CLUSTER, known_hosts(HOST_CA)).verifier(["node-1"]),
            signers=[MemorySigner(SSH_KEY.native, blob)],
            responder=self.answering,
        )
        connection = await connect(TCPClient(CLOCK, "127.0.0.1", port.getHost().port), client)
        self.addCleanup(self.hang_up, connection)
        return connection

    async def hang_up(self, connection: Connection) -> None:
        connection.transport.loseConnection()
        if not self.answering.over.called:
            await self.answering.over

    async def test_command(self) -> None:
        """Terminal and environment are asked for first; output, errors and status come back."""
        output, errors = bytearray(), bytearray()
        session = await open_session(await self.signed_in(), output.extend, errors.extend)
        await session.begin(command="run", terminal=Terminal(kind="vt", columns=80, rows=24), variables={"LANG": "C"})
        session.write(b" typed")
        session.loseWriteConnection()
        self.assertEqual(await session.ended, 7)
        self.assertEqual((bytes(output), bytes(errors)), (b"LANG=C vt 80x24 typed", b"err"))

    async def test_signal(self) -> None:
        """A command that was killed has no status."""
        session = await open_session(await self.signed_in(), lambda data: None, lambda data: None)
        await session.begin(command="die")
        self.assertEqual(await session.ended, LOST_STATUS)
        self.assertEqual(session.signal, "KILL")

    async def test_refused(self) -> None:
        """The user is told."""
        session = await open_session(await self.signed_in(), lambda data: None, lambda data: None)
        error: Any = await self.assertFailure(Deferred.fromCoroutine(session.begin(command="no")), TeleportError)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    async def echo(self) -> int:
        port: Any = await TCPServer(CLOCK, "127.0.0.1", 0).listen(Factory.forProtocol(Echo))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def ask(self, port: int, send: bytes, wanted: int) -> bytes:
        asks = Asks(send, wanted)
        await TCPClient(CLOCK, "127.0.0.1", port).connect(Factory.forProtocol(lambda: asks))  # type: ignore[arg-type]
        came = await asks.done
        transport: Any = asks.transport
        transport.loseConnection()
        return came

    async def test_local_forward(self) -> None:
        """-L: what is sent comes back from the far side; a target that is refused closes the connection."""
        complaints: list[str] = []
        forwarder = Forwarder(CLOCK, await self.signed_in(), complain=complaints.append)
        port = await forwarder.listen(PortForward("127.0.0.1", 0, "127.0.0.1", await self.echo()))
        self.assertEqual(await self.ask(port, b"x" * 100_000, 100_000), b"x" * 100_000)
        nowhere = await forwarder.listen(PortForward("127.0.0.1", 0, "nowhere", 1))
        self.assertEqual(await self.ask(nowhere, b"x", 1), b"")
        self.assertIn("nowhere:1", complaints[0])
        await forwarder.close()

    async def test_socks(self) -> None:
        """-D: greeting and request, in one piece with what follows; what is no SOCKS is dropped."""
        echo = await self.echo()
        forwarder = Forwarder(CLOCK, await self.signed_in())
        port = await forwarder.listen(PortForward.parse_dynamic("127.0.0.1:0"))
        request = b"\x05\x01\x00" + b"\x05\x01\x00\x01\x7f\0\0\x01" + echo.to_bytes(2, "big")
        answer = await self.ask(port, request + b"hello", 17)
        self.assertEqual(answer, b"\x05\x00" + b"\x05\0\0\x01\0\0\0\0\0\0" + b"hello")
        self.assertEqual(await self.ask(port, b"GET / HTTP/1.1\r\n\r\n", 1), b"")
        await forwarder.close()

    async def test_remote_forward(self) -> None:
        """-R: the server opens channels for the port that was asked for, and for no other."""
        connection = await self.signed_in()
        echo = await self.echo()
        port = await self.answering.ask(connection, PortForward("127.0.0.1", 0, "127.0.0.1", echo))
        self.assertEqual(port, 4022)
        theirs = self.server.connections[0]
        channel = StreamChannel()
        channel.name = b"forwarded-tcpip"
        asks = Asks(b"hello", 5)
        await theirs.open(channel, Forward("localhost", port).encode())
        channel.attach(asks)
        self.assertEqual(await asks.done, b"hello")
        channel.loseConnection()
        for kind, payload in ((b"forwarded-tcpip", Forward("localhost", 1).encode()), (b"auth-agent@openssh.com", b"")):
            other = StreamChannel()
            other.name = kind
            error: Any = await self.assertFailure(Deferred.fromCoroutine(theirs.open(other, payload)), TeleportError)
            self.assertEqual(error.kind, Kind.ACCESS_DENIED)
