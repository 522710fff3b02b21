"""
Signing in: who may, how often, and what everybody is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.limits import ConnectionLimit
from teleport_tw.conch.signatures import (
    USER_PRESENT,
    HostKeys,
    MemorySigner,
    Touch,
    blob_of,
    plain_algorithm,
    sign,
    signature_algorithms,
    signed_data,
    verify,
)
from teleport_tw.conch.transport import ServerFactory, ServerSettings, ServerTransport
from teleport_tw.conch.userauth import Ask, LoginRules, MoreNeeded, Peer, Prompt, UserAuthServer
from teleport_tw.protocols.ssh import keys
from teleport_tw.protocols.ssh.wire import put_boolean, put_mpint, put_string, put_uint32
from tests.conch.pair import HOST_KEY, USER_KEY, Host, Pair, lone_server, pair


class Line(StringTransport):
    """
    Notes that it was cut.
    """

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


OTHER_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"o" * 32)


class Door:
    """
    Lets one key in and notes who knocked.
    """

    def __init__(self, allowed: bytes = blob_of(USER_KEY)) -> None:
        self.knocks: list[tuple[str, bytes, Peer]] = []
        self.allowed = allowed
        self.host = Host()

    async def __call__(self, username: str, blob: bytes, peer: Peer) -> Host:
        self.knocks.append((username, blob, peer))
        if blob != self.allowed:
            raise access_denied(details="the authority is unknown")
        return self.host


def enter(door: object, *signers: object, **options: object) -> Pair:
    """
    Try to sign in.
    """
    rules = {name.removeprefix("rules_"): options.pop(name) for name in list(options) if name.startswith("rules_")}
    return pair(server_rules=LoginRules(authenticate=door, **rules), client_signers=signers, **options)


class LoginTests(SynchronousTestCase):
    """
    Our client and our server.
    """

    def test_the_callback_learns_who_and_from_where(self) -> None:
        """
        Name, key, version, session.
        """
        door = Door()
        both = enter(door, MemorySigner(USER_KEY), client_username="zoë")
        username, blob, peer = door.knocks[0]
        self.assertEqual((username, blob), ("zoë", blob_of(USER_KEY)))
        self.assertEqual((peer.version, peer.session_id), ("SSH-2.0-Teleport", both.client.sessionID))
        self.assertIs(door.host.connection, both.server.connection)

    def test_a_refusal_tells_nothing_of_its_reason(self) -> None:
        """
        The client gives up when its keys are used up.
        """
        seen: list[str] = []
        both = enter(Door(), MemorySigner(OTHER_KEY), client_show=seen.append)
        error = self.failureResultOf(both.client.ready, TeleportError).value
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        self.assertNotIn("authority", str(error))
        self.assertEqual(seen, [])

    def test_the_next_key_is_tried(self) -> None:
        """
        In the order given.
        """
        door = Door()
        both = enter(door, MemorySigner(OTHER_KEY), MemorySigner(USER_KEY))
        self.successResultOf(both.client.ready)
        self.assertEqual(len(door.knocks), 2)

    def test_attempts_are_limited(self) -> None:
        """
        The sixth failure is the last.
        """
        door = Door()
        signers = [MemorySigner(ed25519.Ed25519PrivateKey.generate()) for _ in range(10)]
        both = enter(door, *signers, MemorySigner(USER_KEY))
        error = self.failureResultOf(both.client.ready, TeleportError).value
        self.assertIn("Too many authentication failures", str(error))
        self.assertEqual(len(door.knocks), 6)

    def test_a_key_that_is_not_wanted_is_never_judged(self) -> None:
        """
        The cheap question comes first.
        """
        door = Door()
        both = enter(door, MemorySigner(USER_KEY), rules_acceptable=lambda username, blob: False)
        self.failureResultOf(both.client.ready, TeleportError)
        self.assertEqual(door.knocks, [])

    def test_banners_reach_the_user(self) -> None:
        """
        For everybody, and for the one refused.
        """
        seen: list[str] = []
        both = enter(
            Door(),
            MemorySigner(OTHER_KEY),
            client_show=seen.append,
            rules_banner="Authorised use only",
            rules_refusal=lambda error: "your access is locked",
        )
        self.failureResultOf(both.client.ready, TeleportError)
        self.assertEqual(seen, ["Authorised use only\n", "your access is locked\n"])

    def test_a_bug_in_the_callback_is_a_no(self) -> None:
        """
        And is logged.
        """

        async def broken(username: str, blob: bytes, peer: Peer) -> Host:
            raise ZeroDivisionError

        both = enter(broken, MemorySigner(USER_KEY))
        self.failureResultOf(both.client.ready, TeleportError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_is_done_for_the_client_while_it_is_judged(self) -> None:
        """
        One decision at a time.
        """
        answer: Deferred[Host] = Deferred()
        knocks = []

        async def slow(username: str, blob: bytes, peer: Peer) -> Host:
            knocks.append(username)
            return await answer

        both = enter(slow, MemorySigner(USER_KEY))
        fields = put_string(b"eve") + put_string(b"ssh-connection") + put_string(b"none")
        for _ in range(5):
            both.client.sendPacket(50, fields)
        both.flush()
        self.assertEqual(knocks, ["alice"])
        host = Host()
        answer.callback(host)
        both.flush()
        self.assertIsNotNone(host.connection)

    def test_a_client_that_left_meanwhile_leaves_no_connection(self) -> None:
        """
        The decision comes too late.
        """
        answer: Deferred[Host] = Deferred()

        async def slow(username: str, blob: bytes, peer: Peer) -> Host:
            return await answer

        both = enter(slow, MemorySigner(USER_KEY))
        both.client.abortConnection()
        both.flush()
        self.failureResultOf(both.client.ready, TeleportError)
        self.assertTrue(both.server.ended)
        self.assertIsNone(both.server.connection)

    def test_what_comes_before_the_login_is_acknowledged_at_once(self) -> None:
        """
        A client with Nagle's algorithm waits for that after its NEWKEYS. Afterwards the kernel knows best.
        """
        both = pair(start=False)
        acknowledged: list[bool] = []
        both.server.transport.acknowledge = lambda: acknowledged.append(True)
        both.flush()
        self.assertIsNotNone(both.server.connection)
        self.assertGreater(len(acknowledged), 2)
        acknowledged.clear()
        both.client.sendPacket(2, b"\0\0\0\0")
        both.flush()
        self.assertEqual(acknowledged, [])

    def test_the_doorstep_is_bounded(self) -> None:
        """
        One that signed in, and one that left, make room for others.
        """
        settings = ServerSettings(
            clock=Clock(),
            host_keys=HostKeys([(HOST_KEY, None)]),
            rules=LoginRules(authenticate=Door()),
            max_pending_logins=2,
        )
        factory = ServerFactory(settings)
        doors = [factory.buildProtocol(None) for _ in range(2)]
        for door in doors:
            door.makeConnection(Line())
        first, second = doors
        first.logged_in(Host())
        third = factory.buildProtocol(None)
        third.makeConnection(Line())
        self.assertFalse(any(each.transport.aborted for each in (first, second, third)))
        fourth = factory.buildProtocol(None)
        self.assertEqual([each.transport.aborted for each in (first, second, third)], [False, True, False])
        fourth.makeConnection(Line())
        third.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(factory.buildProtocol(None))
        self.assertFalse(fourth.transport.aborted)

    def test_one_address_does_not_fill_the_doorstep(self) -> None:
        """
        An address has its own bound, an IPv6 network is one address, and others get in all the while.
        """
        settings = ServerSettings(
            clock=Clock(),
            host_keys=HostKeys([(HOST_KEY, None)]),
            rules=LoginRules(authenticate=Door()),
            max_pending_per_address=2,
        )
        factory = ServerFactory(settings)
        for host in ("192.0.2.1", "2001:db8::%d"):
            for number in range(1, 4):
                address = IPv4Address("TCP", host.replace("%d", str(number)), 1)
                self.assertEqual(factory.buildProtocol(address) is None, number == 3, (host, number))

    def test_connections_of_one_address_are_bounded(self) -> None:
        """
        Those that are signed in count too; one that ends makes room, once.
        """
        settings = ServerSettings(
            clock=Clock(), host_keys=HostKeys([(HOST_KEY, None)]), rules=LoginRules(authenticate=Door())
        )
        factory = ServerFactory(settings, ConnectionLimit(2))
        here, there = (IPv4Address("TCP", host, 1) for host in ("192.0.2.1", "192.0.2.2"))
        first, second = factory.buildProtocol(here), factory.buildProtocol(here)
        for each in (first, second):
            each.makeConnection(Line())
            each.logged_in(Host())
        self.assertIsNone(factory.buildProtocol(here))
        self.assertIsNotNone(factory.buildProtocol(there))
        first.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(factory.buildProtocol(here))
        self.assertIsNone(factory.buildProtocol(here))

    def test_a_peer_that_does_not_read_our_last_words_is_cut_off(self) -> None:
        """
        After ten seconds.
        """
        server, transport, clock = lone_server()
        server.loseConnection()
        clock.advance(9)
        self.assertFalse(transport.disconnected)
        clock.advance(1)
        self.assertTrue(transport.disconnected)

    def test_without_a_key_the_user_is_told_so(self) -> None:
        """
        Not "permission denied".
        """
        both = enter(Door())
        error = self.failureResultOf(both.client.ready, TeleportError).value
        self.assertIn("no key", str(error))

    def test_questions_follow_where_the_decision_calls_for_them(self) -> None:
        """
        The key first, then keyboard-interactive, several rounds.
        """
        host = Host()

        async def challenge(ask: Ask) -> Host:
            first = await ask("Second factor", [Prompt("Code: "), Prompt("Name: ", echo=True)])
            if first != ["123456", "x"]:
                raise access_denied()
            await ask("Sure?", [])
            return host

        async def door(username: str, blob: bytes, peer: Peer) -> Host:
            raise MoreNeeded(challenge)

        asked: list[tuple[str, list[Prompt]]] = []

        def answering(*answers: str) -> object:
            async def answer(instruction: str, prompts: Sequence[Prompt]) -> list[str]:
                asked.append((instruction, list(prompts)))
                return list(answers[: len(prompts)])

            return answer

        both = enter(door, MemorySigner(USER_KEY), client_answer=answering("123456", "x"))
        self.successResultOf(both.client.ready)
        self.assertEqual(asked[0], ("Second factor", [Prompt("Code: "), Prompt("Name: ", echo=True)]))
        both = enter(door, MemorySigner(USER_KEY), client_answer=answering("wrong", "x"))
        self.failureResultOf(both.client.ready, TeleportError)
        both = enter(door, MemorySigner(USER_KEY))
        error = self.failureResultOf(both.client.ready, TeleportError).value
        self.assertIn("nobody is here", str(error))

    def test_questions_cannot_be_had_without_a_key(self) -> None:
        """
        keyboard-interactive alone is refused, also for another name than the key's.
        """

        async def challenge(ask: Ask) -> Host:
            raise AssertionError("asked although no key was proved")

        async def door(username: str, blob: bytes, peer: Peer) -> Host:
            raise MoreNeeded(challenge)

        server, _, _ = lone_server()
        service = login_service(server, door)
        service._challenge = (b"alice", challenge)
        fields = put_string(b"root") + put_string(b"ssh-connection") + put_string(b"keyboard-interactive")
        service.packetReceived(50, fields + put_string(b"") * 2)
        self.assertEqual(service._failures, 1)

    @given(st.binary(max_size=120))
    def test_garbage_ends_in_one_error(self, data: bytes) -> None:
        """
        Or in a refusal.
        """
        server, _, _ = lone_server()
        service = login_service(server, Door())
        for number in (50, 61):
            try:
                service.packetReceived(number, data)
            except RemoteProtocolError:
                continue

    def test_a_signature_of_another_session_or_name_is_worth_nothing(self) -> None:
        """
        Replayed, or made for somebody else.
        """
        door = Door()
        server, _, _ = lone_server()
        server.exchange.session_id = b"this session"
        blob = blob_of(USER_KEY)
        for session, name, valid in (
            (b"this session", b"alice", True),
            (b"that session", b"alice", False),
            (b"this session", b"bob", False),
        ):
            signature = sign(USER_KEY, b"ssh-ed25519", signed_data(session, name, b"ssh-ed25519", blob))
            fields = put_boolean(True) + put_string(b"ssh-ed25519") + put_string(blob) + put_string(signature)
            before = len(door.knocks)
            head = put_string(b"alice") + put_string(b"ssh-connection") + put_string(b"publickey")
            login_service(server, door).packetReceived(50, head + fields)
            self.assertEqual(len(door.knocks) - before, int(valid), (session, name))


def login_service(server: ServerTransport, door: object) -> UserAuthServer:
    """
    @return: a login service on a server, fed by hand.
    """
    service = UserAuthServer(LoginRules(authenticate=door))
    service.transport = server
    return service


class SignatureTests(SynchronousTestCase):
    """
    Every type of key.
    """

    def test_every_key_signs_and_is_verified(self) -> None:
        """
        Another key, other data and another algorithm are not.
        """
        for key in (
            USER_KEY,
            rsa.generate_private_key(65537, 2048),
            *(ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())),
        ):
            blob = blob_of(key)
            for algorithm in signature_algorithms(blob):
                signature = sign(key, algorithm, b"data")
                self.assertIsNone(verify(blob, algorithm, signature, b"data"))
                for wrong in (
                    (blob, algorithm, signature, b"date"),
                    (blob, algorithm, signature[:-1], b"data"),
                    (blob, algorithm, signature + b"x", b"data"),
                    (blob, b"ssh-rsa", signature, b"data"),
                    (blob_of(OTHER_KEY), algorithm, signature, b"data"),
                    (b"", algorithm, signature, b"data"),
                ):
                    with self.assertRaises(RemoteProtocolError):
                        verify(*wrong)

    def test_sha1_is_not_a_signature(self) -> None:
        """
        RSA keys sign with SHA-2 alone.
        """
        blob = blob_of(rsa.generate_private_key(65537, 2048))
        self.assertEqual(signature_algorithms(blob), (b"rsa-sha2-512", b"rsa-sha2-256"))

    def test_security_keys_tell_about_the_touch(self) -> None:
        """
        OpenSSH's PROTOCOL.u2f: hash of application, flags, counter, hash of data.
        """
        application, data = b"ssh:", b"challenge"
        flags, counter = USER_PRESENT, 77
        covered = hashlib.sha256(application).digest() + bytes([flags]) + counter.to_bytes(4, "big")
        covered += hashlib.sha256(data).digest()
        point = USER_KEY.public_key().public_bytes_raw()
        blob = keys.serialize(keys.SkEd25519Key(point, application))
        name = b"sk-ssh-ed25519@openssh.com"
        signature = put_string(name) + put_string(USER_KEY.sign(covered)) + bytes([flags]) + put_uint32(counter)
        self.assertEqual(verify(blob, name, signature, data), Touch(flags, counter))
        with self.assertRaises(RemoteProtocolError):
            verify(blob, name, signature[:-1] + b"x", data)
        key = ec.generate_private_key(ec.SECP256R1())
        r, s = decode_dss_signature(key.sign(covered, ec.ECDSA(hashes.SHA256())))
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        blob = keys.serialize(keys.SkEcdsaKey(point, application))
        name = b"sk-ecdsa-sha2-nistp256@openssh.com"
        octets = put_string(put_mpint(r) + put_mpint(s))
        signature = put_string(name) + octets + bytes([flags]) + put_uint32(counter)
        self.assertEqual(verify(blob, name, signature, data), Touch(flags, counter))

    def test_names_of_certificates_and_their_signatures(self) -> None:
        """
        The signature carries the plain name.
        """
        for certified, plain in (
            (b"rsa-sha2-512-cert-v01@openssh.com", b"rsa-sha2-512"),
            (b"sk-ssh-ed25519-cert-v01@openssh.com", b"sk-ssh-ed25519@openssh.com"),
            (b"ssh-ed25519", b"ssh-ed25519"),
        ):
            self.assertEqual(plain_algorithm(certified), plain)

    def test_a_host_certificate_must_be_for_its_key(self) -> None:
        """
        Mixed-up files are noticed at the start.
        """
        with self.assertRaises(TeleportError):
            HostKeys([(HOST_KEY, blob_of(OTHER_KEY))])

    def test_other_kinds_of_keys_are_refused(self) -> None:
        """
        A curve that SSH does not know.
        """
        with self.assertRaises(TeleportError):
            blob_of(ec.generate_private_key(ec.SECP256K1()))
