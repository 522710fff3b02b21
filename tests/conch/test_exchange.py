"""
Key exchange: what is agreed on, and what an attacker in the middle may not do.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch.algorithms import (
    HOST_KEYS,
    STRICT_CLIENT,
    STRICT_SERVER,
    Algorithms,
    KexInit,
    negotiate,
)
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.exchange import HostProof, State
from teleport_tw.conch.kex import KEX_METHODS, KeyMaterial, encode_mpint
from teleport_tw.conch.packets import PacketReader, PacketWriter
from tests.conch.pair import HOST_KEY, Recorder, distrust, lone_server, pair


def kexinit(host_keys: tuple[bytes, ...] = HOST_KEYS, markers: tuple[bytes, ...] = (), **lists: object) -> KexInit:
    """
    One side's lists.
    """
    return KexInit.build(Algorithms(**lists), host_keys, markers)


class NegotiationTests(SynchronousTestCase):
    """
    Two lists make one choice.
    """

    def test_the_clients_order_decides(self) -> None:
        """
        Its first name that the server has as well.
        """
        client = kexinit(ciphers=(b"aes256-ctr", b"aes128-gcm@openssh.com"), macs=(b"hmac-sha2-512", b"hmac-sha2-256"))
        choice = negotiate(client, kexinit())
        self.assertEqual((choice.to_server.cipher, choice.to_server.mac), (b"aes256-ctr", b"hmac-sha2-512"))
        self.assertEqual(choice.kex, next(iter(KEX_METHODS)))

    def test_an_authenticating_cipher_needs_no_mac_in_common(self) -> None:
        """
        As in OpenSSH.
        """
        choice = negotiate(kexinit(macs=(b"hmac-sha2-512",)), kexinit(macs=(b"hmac-sha2-256",)))
        self.assertEqual(choice.to_client.mac, b"")

    def test_nothing_in_common_is_an_error(self) -> None:
        """
        For every list; a marker is never a method.
        """
        server = kexinit(markers=(STRICT_SERVER, b"ext-info-s"))
        for client in (
            kexinit(kex=(b"diffie-hellman-group1-sha1",)),
            kexinit(kex=(STRICT_SERVER,)),
            kexinit(ciphers=(b"3des-cbc",)),
            kexinit(ciphers=(b"aes128-ctr",), macs=(b"hmac-sha1",)),
            kexinit(host_keys=(b"ssh-dss",)),
        ):
            with self.assertRaises(RemoteProtocolError):
                negotiate(client, server)

    def test_lists_come_back_from_the_wire(self) -> None:
        """
        Build and parse.
        """
        built = kexinit(markers=(STRICT_CLIENT,))
        self.assertEqual(KexInit.parse(built.payload), built)

    @given(st.binary(max_size=300))
    def test_garbage_ends_in_one_error(self, data: bytes) -> None:
        """
        A KEXINIT that is cut short.
        """
        with self.assertRaises(RemoteProtocolError):
            KexInit.parse(data)

    def test_names_from_the_configuration_are_checked(self) -> None:
        """
        Unknown ones are named; SHA-1 is unknown.
        """
        self.assertEqual(Algorithms.of(), Algorithms())
        chosen = Algorithms.of(ciphers=["aes256-ctr"], macs=["hmac-sha2-512"], kex=["ecdh-sha2-nistp384"])
        self.assertEqual((chosen.ciphers, chosen.kex), ((b"aes256-ctr",), (b"ecdh-sha2-nistp384",)))
        for setting in ({"macs": ["hmac-sha1"]}, {"kex": ["diffie-hellman-group14-sha1"]}, {"ciphers": ["é"]}):
            with self.assertRaises(TeleportError) as caught:
                Algorithms.of(**setting)
            self.assertEqual(caught.exception.kind, Kind.BAD_PARAMETER)

    def test_no_default_uses_sha1_or_cbc(self) -> None:
        """
        Nowhere.
        """
        for name in (*Algorithms().kex, *Algorithms().ciphers, *Algorithms().macs, *HOST_KEYS):
            self.assertNotRegex(name, b"sha1$|cbc|md5|ssh-rsa$|dss")


class MethodTests(SynchronousTestCase):
    """
    Both sides come to the same secret, and bad values are refused.
    """

    def test_every_method_agrees(self) -> None:
        """
        Offer, answer, finish.
        """
        for name, method in KEX_METHODS.items():
            client, server = method.begin(), method.begin()
            answer, secret = server.answer(client.offer())
            self.assertEqual(client.finish(answer), secret, name)

    def test_bad_values_are_refused_by_every_method(self) -> None:
        """
        Empty, zero, one, too long, the identity of Curve25519.
        """
        for name, method in KEX_METHODS.items():
            for bad in (b"", b"\0", b"\1", b"\x7f" + b"\xff" * 1200, bytes(32), bytes(1184 + 32), b"\4" + bytes(64)):
                if bad[:1] == b"\4" and name.startswith(b"diffie"):
                    continue  # a number like any other
                with self.assertRaises(RemoteProtocolError, msg=f"{name} {bad[:4]!r}"):
                    method.begin().answer(bad)
                client = method.begin()
                client.offer()
                with self.assertRaises(RemoteProtocolError, msg=f"{name} {bad[:4]!r}"):
                    client.finish(bad)

    def test_diffie_hellman_refuses_the_edges_of_its_group(self) -> None:
        """
        p - 1 and p.
        """
        method = KEX_METHODS[b"diffie-hellman-group14-sha256"]
        prime = method.begin()._group.p
        for value in (prime - 1, prime, prime + 5):
            with self.assertRaises(RemoteProtocolError):
                method.begin().answer(b"\0" + value.to_bytes(256, "big"))

    def test_keys_longer_than_the_hash_are_drawn_on(self) -> None:
        """
        RFC 4253 section 7.2: K2 = HASH(K || H || K1).
        """
        material = KeyMaterial(KEX_METHODS[b"curve25519-sha256"], b"K", b"H", b"S")
        first = hashlib.sha256(b"KHCS").digest()
        second = hashlib.sha256(b"KH" + first).digest()
        self.assertEqual(material.derive(b"C", 64), first + second)
        self.assertNotIn("K'", repr(material))

    def test_mpints_are_never_negative(self) -> None:
        """
        RFC 4251 section 5.
        """
        self.assertEqual(encode_mpint(b"\0\0"), b"\0\0\0\0")
        self.assertEqual(encode_mpint(b"\0\x80"), b"\0\0\0\2\0\x80")
        self.assertEqual(encode_mpint(b"\x7f"), b"\0\0\0\1\x7f")


class FaceToFaceTests(SynchronousTestCase):
    """
    Our client and our server.
    """

    def test_every_method_signs_in(self) -> None:
        """
        And both sides have the same session id.
        """
        for name in KEX_METHODS:
            both = pair(algorithms=Algorithms(kex=(name,)))
            self.assertTrue(both.client.ready.called, name)
            self.assertEqual(both.client.sessionID, both.server.sessionID)
            self.assertTrue(both.client.exchange.strict)

    def test_every_protection_carries_data(self) -> None:
        """
        Either direction may have its own.
        """
        for cipher in CIPHERS:
            for mac in MACS:
                both = pair(algorithms=Algorithms(ciphers=(cipher,), macs=(mac,)))
                ours, theirs = both.open()
                ours.write(b"x" * 70_000)
                both.flush()
                self.assertEqual(len(theirs.received), 70_000)

    def test_the_client_is_asked_about_the_host(self) -> None:
        """
        With the key that signed; nothing goes on before the answer.
        """
        asked: list[HostProof] = []
        answer: Deferred[None] = Deferred()

        async def later(proof: HostProof) -> None:
            asked.append(proof)
            await answer

        both = pair(client_verify_host=later)
        self.assertFalse(both.client.ready.called)
        self.assertEqual(both.client.exchange.state, State.JUDGING)
        self.assertEqual(asked[0].blob[-32:], HOST_KEY.public_key().public_bytes_raw())
        self.assertFalse(asked[0].certified)
        answer.callback(None)
        both.flush()
        self.assertTrue(both.client.ready.called)

    def test_a_host_that_is_not_accepted_is_left(self) -> None:
        """
        No login is tried there.
        """
        both = pair(client_verify_host=distrust)
        error = self.failureResultOf(both.client.ready, TeleportError).value
        self.assertIn("not known", str(error))
        self.assertIsNone(both.server.service)
        self.assertTrue(both.server.ended)

    def test_a_failing_host_check_is_a_no(self) -> None:
        """
        When a check cannot be made the answer is no.
        """

        async def broken(proof: HostProof) -> None:
            raise ZeroDivisionError

        both = pair(client_verify_host=broken)
        self.failureResultOf(both.client.ready, TeleportError)
        self.assertIsNone(both.server.service)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_renewing_keys_loses_nothing(self) -> None:
        """
        Both sides, in the middle of data, often.
        """
        both = pair()
        ours, theirs = both.open()
        expected = b""
        for number in range(30):
            piece = bytes([number]) * 70_000
            expected += piece
            ours.write(piece)
            (both.client if number % 3 else both.server).rekey()
            theirs.write(piece)
            if number % 4 == 0:
                both.client.rekey()
                both.server.rekey()
            both.pump.pump()
        both.flush()
        self.assertEqual(bytes(theirs.received), expected)
        self.assertEqual(bytes(ours.received), expected)
        self.assertFalse(both.client.ended)

    def test_keys_are_renewed_after_so_many_bytes(self) -> None:
        """
        And the session id stays.
        """
        both = pair(limits=Limits(rekey_bytes=300_000))
        ours, theirs = both.open()
        session = both.client.sessionID
        for _ in range(20):
            ours.write(b"x" * 100_000)
            both.flush()
        self.assertEqual(both.client.exchange.state, State.IDLE)
        self.assertLess(both.client._writer.sent_bytes, 500_000)
        self.assertEqual(len(theirs.received), 2_000_000)
        self.assertEqual(both.client.exchange.session_id, session)

    def test_keys_are_renewed_after_so_long(self) -> None:
        """
        Not a second early.
        """
        both = pair(limits=Limits(rekey_interval=timedelta(seconds=100)))
        choice = both.client.exchange.choice
        both.clock.advance(99)
        both.flush()
        self.assertIs(both.client.exchange.choice, choice)
        both.clock.advance(1)
        both.flush()
        self.assertIsNot(both.client.exchange.choice, choice)
        self.assertEqual(both.client.exchange.state, State.IDLE)

    def test_login_takes_no_longer_than_its_grace(self) -> None:
        """
        A connection that says nothing is closed, one that signed in is not.
        """
        _, transport, clock = lone_server()
        clock.advance(119)
        self.assertFalse(transport.disconnecting)
        clock.advance(1)
        self.assertTrue(transport.disconnecting)
        both = pair()
        both.clock.advance(200)
        both.flush()
        self.assertFalse(both.server.ended)


class AttackTests(SynchronousTestCase):
    """
    What a peer or somebody in between may not do.
    """

    def ended(self, *payloads: bytes, markers: tuple[bytes, ...] = (STRICT_CLIENT,), before: bytes = b"") -> bool:
        """
        @return: whether a server went away after a client's KEXINIT and these messages.
        """
        server, transport, _ = lone_server()
        writer = PacketWriter()
        server.dataReceived(b"SSH-2.0-test\r\n")
        if before:
            server.dataReceived(bytes(writer.packet(before)))
        server.dataReceived(bytes(writer.packet(kexinit(markers=markers).payload)))
        for payload in payloads:
            server.dataReceived(bytes(writer.packet(payload)))
        return transport.disconnecting

    def test_terrapin_messages_between_kexinit_and_newkeys_end_a_strict_exchange(self) -> None:
        """
        CVE-2023-48795: IGNORE, DEBUG, UNIMPLEMENTED, anything slipped in to shift the numbers.
        """
        self.assertFalse(self.ended())
        for slipped in (b"\2\0\0\0\0", b"\4\0" + bytes(8), b"\3" + bytes(4), b"\7" + bytes(4), b"\x50"):
            self.assertTrue(self.ended(slipped), slipped)

    def test_terrapin_a_message_before_kexinit_ends_a_strict_exchange(self) -> None:
        """
        KEXINIT must be the first.
        """
        self.assertTrue(self.ended(before=b"\2\0\0\0\0"))

    def test_a_lax_exchange_takes_ignore_but_nothing_of_later_layers(self) -> None:
        """
        For peers that do not know strict key exchange.
        """
        self.assertFalse(self.ended(b"\2\0\0\0\0", markers=(), before=b"\2\0\0\0\0"))
        for early in (b"\5\0\0\0\0", b"\x32" + bytes(20), b"\x5e" + bytes(8)):
            self.assertTrue(self.ended(early, markers=()), early)

    def test_terrapin_in_the_middle_between_our_own_two_sides(self) -> None:
        """
        An IGNORE injected towards the client before the server's KEXINIT: the client leaves.
        """
        both = pair(start=False)
        both.client.makeConnection(both.client.transport)
        both.client.dataReceived(b"SSH-2.0-x\r\n")
        writer = PacketWriter()
        both.client.dataReceived(bytes(writer.packet(b"\2\0\0\0\0")))
        self.assertFalse(both.client.ended)
        both.client.dataReceived(bytes(writer.packet(kexinit(markers=(STRICT_SERVER,)).payload)))
        self.assertTrue(both.client.ended)

    def test_messages_out_of_order_end_the_connection(self) -> None:
        """
        NEWKEYS without an exchange, a server's answer from a client, KEXINIT twice.
        """
        for early in (b"\x15", b"\x1f" + bytes(12), kexinit().payload, b"\x1e", b"\x1e\0\0\0\1x"):
            self.assertTrue(self.ended(early), early[:1])

    def test_numbers_start_again_with_the_new_keys(self) -> None:
        """
        Both ways, also when keys are renewed.
        """
        both = pair()
        before = both.client._writer.sequence
        both.client.rekey()
        both.flush()
        self.assertLess(both.client._writer.sequence, before)
        self.assertEqual(both.client._writer.sequence, both.server._reader.sequence)

    def test_garbage_after_the_version_ends_the_connection(self) -> None:
        """
        With a disconnect, not an exception.
        """
        server, transport, _ = lone_server()
        server.dataReceived(b"SSH-2.0-x\r\n" + b"\xff" * 500)
        self.assertTrue(transport.disconnecting)

    def test_what_comes_after_the_end_is_not_looked_at(self) -> None:
        """
        The rest of a bad peer's bytes.
        """
        server, transport, _ = lone_server()
        server.dataReceived(b"GET / HTTP/1.0\r\n")
        sent = len(transport.value())
        server.dataReceived(b"SSH-2.0-x\r\n" + b"\xff" * 500)
        self.assertEqual(len(transport.value()), sent)

    def test_a_tampered_packet_ends_a_live_connection(self) -> None:
        """
        With MAC error, and the application hears nothing of it.
        """
        both = pair()
        ours, theirs = both.open()
        ours.write(b"attack at dawn")
        wire = bytearray(b"".join(both.client.transport.stream))
        wire[20] ^= 1
        both.client.transport.stream[:] = [bytes(wire)]
        both.flush()
        self.assertEqual(bytes(theirs.received), b"")
        self.assertTrue(both.server.ended)
        self.assertEqual(theirs.log, ["open", "closed"])

    def test_what_waits_for_a_decision_is_bounded(self) -> None:
        """
        A server that floods us while its host key is being looked at is not read any further.
        """

        async def never(proof: HostProof) -> None:
            await Deferred()

        both = pair(client_verify_host=never)
        paused = []
        both.client.transport.pauseProducing = lambda: paused.append(1)
        both.client.dataReceived(b"\0" * 2_000_000)
        both.client.dataReceived(b"\0" * 10)
        self.assertEqual(paused, [1])

    def test_reader_keeps_no_second_copy(self) -> None:
        """
        What was handled is let go.
        """
        reader, writer = PacketReader(), PacketWriter()
        for _ in range(50):
            reader.feed(bytes(writer.packet(b"\2" + bytes(1000))))
            self.assertIsNotNone(reader.next())
            self.assertEqual(reader.buffered, 0)

    def test_data_for_no_channel_ends_the_connection(self) -> None:
        """
        Also cut short, and of a wrong length.
        """
        for payload in (b"", b"\0\0\0\7\0\0\0\1x", b"\0\0\0\0\0\0\0\5x", b"\0\0"):
            both = pair()
            both.open(Recorder())
            both.client.sendPacket(94, payload)
            both.flush()
            self.assertTrue(both.server.ended, payload)

    @given(st.integers(80, 100), st.binary(max_size=60))
    def test_garbage_of_the_connection_protocol_never_raises(self, number: int, data: bytes) -> None:
        """
        It is answered or ends the connection.
        """
        both = pair()
        both.open()
        both.client.sendPacket(number, data)
        both.flush()
        self.flushLoggedErrors(TeleportError)
