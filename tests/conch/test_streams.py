"""
Forwarded connections and SSH inside SSH, without a network.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from teleport_tw.base.errors import RemoteProtocolError, TeleportError
from teleport_tw.base.relay import join
from teleport_tw.conch.signatures import HostKeys, MemorySigner
from teleport_tw.conch.streams import ChannelEndpoint, Forward, StreamChannel
from teleport_tw.conch.transport import ClientSettings, ServerSettings, ServerTransport, connect
from teleport_tw.conch.userauth import LoginRules
from tests.conch.pair import HOST_KEY, USER_KEY, Host, Recorder, pair, trust
from tests.conch.test_login import Door


class Ears(Protocol):
    """
    Notes what it hears.
    """

    def __init__(self) -> None:
        self.heard: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - as Twisted's own
        self.heard.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfEars(Ears):
    """
    Knows halves.
    """

    def readConnectionLost(self) -> None:
        self.heard.append("eof")

    def writeConnectionLost(self) -> None:
        self.heard.append("write over")


class Far(StringTransport):
    """
    A transport as lenient about producers as real ones are.
    """

    connected = True

    def unregisterProducer(self) -> None:
        self.producer = None


class StreamTests(SynchronousTestCase):
    """
    A channel as a transport.
    """

    def test_nothing_is_lost_before_a_protocol_listens(self) -> None:
        """
        Data and end come first, the protocol later.
        """
        both = pair(host=Host(make=lambda request: StreamChannel()))
        ours, theirs = both.open(payload=Forward("db", 5432).encode())
        ours.write(b"early ")
        ours.write(b"bird")
        ours.loseWriteConnection()
        both.flush()
        ears = HalfEars()
        theirs.attach(ears)
        self.assertEqual(ears.heard, [b"early bird", "eof"])
        ears.transport.write(b"worm")
        ears.transport.loseConnection()
        both.flush()
        self.assertEqual(bytes(ours.received), b"worm")
        self.assertEqual(ears.heard[-1], ConnectionDone)
        self.assertEqual(ours.log, ["open", "eof", "closed"])

    def test_a_protocol_without_halves_ends_with_the_first(self) -> None:
        """
        As Twisted's TCP has it.
        """
        both = pair(host=Host(make=lambda request: StreamChannel()))
        ours, theirs = both.open()
        ears = Ears()
        theirs.attach(ears)
        ours.loseWriteConnection()
        both.flush()
        self.assertEqual(ears.heard, [ConnectionDone])

    def test_a_lost_connection_is_told_as_such(self) -> None:
        """
        Not as an orderly end.
        """
        both = pair(host=Host(make=lambda request: StreamChannel()))
        _, theirs = both.open()
        ears = Ears()
        theirs.attach(ears)
        both.client.abortConnection()
        both.flush()
        self.assertEqual(ears.heard, [ConnectionLost])

    def test_a_relay_joins_a_channel_and_a_transport(self) -> None:
        """
        Bytes both ways, and the end of either half.
        """
        far = Far()
        host = Host(make=lambda request: StreamChannel())
        both = pair(host=host)
        ours, theirs = both.open()
        done = join(theirs, far)
        ours.write(b"to the far side")
        both.flush()
        self.assertEqual(far.value(), b"to the far side")
        far.protocol.dataReceived(b"and back")
        both.flush()
        self.assertEqual(bytes(ours.received), b"and back")
        self.assertIs(far.producer, theirs)
        far.producer.pauseProducing()
        ours.write(b"x" * 5_000_000)
        both.flush()
        self.assertEqual(far.value(), b"to the far side")
        self.assertEqual(ours.remoteWindowLeft, 0)
        far.producer.resumeProducing()
        both.flush()
        self.assertEqual(len(far.value()), 15 + 5_000_000)
        ours.loseConnection()
        both.flush()
        self.assertTrue(far.disconnecting)
        far.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(done.called)

    def test_ssh_runs_inside_a_channel(self) -> None:
        """
        As C{ssh -J} does it: the jump host sees bytes.
        """
        door = Door()
        inner: list[ServerTransport] = []

        def opened(request: object) -> StreamChannel:
            channel = StreamChannel()
            rules = LoginRules(authenticate=door)
            settings = ServerSettings(clock=both.clock, host_keys=HostKeys([(HOST_KEY, None)]), rules=rules)
            inner.append(ServerTransport(settings))
            channel.when_open = lambda: channel.attach(inner[0])
            return channel

        both = pair(host=Host(make=opened))
        endpoint = ChannelEndpoint(both.connection, Forward("node-1", 0))
        settings = ClientSettings(
            clock=both.clock, username="root", verify_host=trust, signers=[MemorySigner(USER_KEY)]
        )
        connected = Deferred.fromCoroutine(connect(endpoint, settings))
        both.flush()
        connection = self.successResultOf(connected)
        ours = Recorder()
        Deferred.fromCoroutine(connection.open(ours))
        both.flush()
        ours.write(b"deep" * 300_000)
        both.flush()
        self.assertEqual(len(door.host.opened[0].received), 1_200_000)
        both.client.abortConnection()
        both.flush()
        self.assertEqual(ours.log, ["open", "closed"])
        self.assertEqual(door.host.lost, 1)

    def test_an_endpoint_whose_factory_wants_nobody_closes_the_channel(self) -> None:
        """
        Twisted allows that.
        """
        both = pair(host=Host(make=lambda request: StreamChannel()))
        factory = Factory.forProtocol(Ears)
        factory.buildProtocol = lambda address: None
        failed = ChannelEndpoint(both.connection, Forward("x", 1)).connect(factory)
        both.flush()
        self.failureResultOf(failed, TeleportError)
        self.assertEqual(both.connection.channels, {})


class ForwardTests(SynchronousTestCase):
    """
    Where to.
    """

    def test_fields_come_back_from_the_wire(self) -> None:
        """
        RFC 4254 section 7.2.
        """
        forward = Forward("db.example.com", 5432, "192.0.2.1", 40000)
        self.assertEqual(Forward.parse(forward.encode()), forward)

    def test_nonsense_is_refused(self) -> None:
        """
        Ports out of range, no host, cut short, too long.
        """
        for payload in (Forward("x", 70_000).encode(), Forward("", 1).encode()):
            with self.assertRaises(TeleportError):
                Forward.parse(payload)
        for payload in (b"", Forward("x", 1).encode()[:-1], Forward("x", 1).encode() + b"x"):
            with self.assertRaises(RemoteProtocolError):
                Forward.parse(payload)
