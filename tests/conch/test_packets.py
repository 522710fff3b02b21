"""
Packet protection and the stream of packets.
"""

from __future__ import annotations

import os
from binascii import unhexlify

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.conch.chacha import ChaChaOpener, ChaChaSealer
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.gcm import GcmSealer
from teleport_tw.conch.packets import PacketReader, PacketWriter
from teleport_tw.conch.sealing import DISCONNECT_MAC_ERROR, MAX_PACKET_BYTES, Opener, Sealer

PAYLOADS = [b"\x02", b"\x5e" + bytes(12), *(bytes([94]) + os.urandom(size) for size in (1, 15, 16, 17, 255, 33_000))]


def protections() -> list[tuple[str, Sealer, Opener]]:
    """
    @return: name and both ends of every cipher with every MAC it is used with, freshly keyed.
    """
    made = []
    for name, cipher in CIPHERS.items():
        for mac_name, mac in ((b"", None),) if cipher.authenticates else MACS.items():
            keys = (os.urandom(cipher.key_bytes), os.urandom(cipher.iv_bytes), mac, os.urandom(64))
            made.append((f"{name.decode()} {mac_name.decode()}", cipher.make_sealer(*keys), cipher.make_opener(*keys)))
    return made


def payload_of(packet: bytes) -> bytes:
    """
    Without padding.
    """
    return packet[1 : len(packet) - packet[0]]


def drain(reader: PacketReader) -> list[bytes]:
    """
    @return: payloads of all packets that are complete.
    """
    found = []
    while (packet := reader.next()) is not None:
        found.append(payload_of(packet))
    return found


class ProtectionTests(SynchronousTestCase):
    """
    What one side seals the other opens, and nothing else.
    """

    def test_every_protection_opens_what_it_sealed(self) -> None:
        """
        Whole, and a byte at a time.
        """
        for name, sealer, opener in [("none", None, None), *protections()]:
            writer, reader = PacketWriter(), PacketReader()
            if sealer is not None:
                writer.rekey(sealer, restart=False)
                reader.rekey(opener, restart=False)
            wire = b"".join(writer.packet(payload[:1], payload[1:]) for payload in PAYLOADS)
            reader.feed(wire)
            self.assertEqual(drain(reader), PAYLOADS, name)
            self.assertEqual(reader.sequence, writer.sequence)
            self.assertEqual(reader.buffered, 0)
            self.assertEqual((reader.received_bytes, writer.sent_bytes), (len(wire), len(wire)))

    def test_any_split_of_the_stream_gives_the_same_packets(self) -> None:
        """
        Every position of a short stream; every byte for itself.
        """
        payloads = PAYLOADS[:5]
        for number in range(len(protections())):
            for position in range(0, 200, 7):
                _, sealer, opener = protections()[number]
                writer, reader = PacketWriter(), PacketReader()
                writer.rekey(sealer, restart=True)
                reader.rekey(opener, restart=True)
                wire = b"".join(writer.packet(payload) for payload in payloads)
                found = []
                pieces = [wire[:position], wire[position:]] if position else [wire[i : i + 1] for i in range(len(wire))]
                for piece in pieces:
                    reader.feed(piece)
                    found += drain(reader)
                self.assertEqual(found, payloads)

    @pytest.mark.long
    def test_packets_may_come_in_pieces_of_any_size(self) -> None:
        """
        Some within a piece, some across two, some across many.
        """
        for size in (1, 5, 17, 64, 301, 1000, 40_000):
            for name, sealer, opener in protections():
                writer, reader = PacketWriter(), PacketReader()
                writer.rekey(sealer, restart=True)
                reader.rekey(opener, restart=True)
                wire = b"".join(writer.packet(payload[:1], payload[1:]) for payload in PAYLOADS * 2)
                found, fed = [], 0
                for start in range(0, len(wire), size):
                    reader.feed(wire[start : start + size])
                    fed += len(wire[start : start + size])
                    if start // size % 3 != 1:
                        found += drain(reader)
                    self.assertEqual(reader.buffered, fed - reader.received_bytes)
                found += drain(reader)
                self.assertEqual(found, PAYLOADS * 2, f"{name} by {size}")

    def test_a_changed_bit_anywhere_is_noticed(self) -> None:
        """
        Length, content, padding and tag; a length may also become one that never completes.
        """
        for number in range(len(protections())):
            for position in range(0, 80, 3):
                name, sealer, opener = protections()[number]
                writer, reader = PacketWriter(), PacketReader()
                writer.rekey(sealer, restart=True)
                reader.rekey(opener, restart=True)
                wire = bytearray(writer.packet(b"\x5e" * 40))
                if position >= len(wire):
                    continue
                wire[position] ^= 0x40
                reader.feed(bytes(wire) + bytes(MAX_PACKET_BYTES + 100))
                with self.assertRaises(RemoteProtocolError, msg=f"{name} at {position}"):
                    reader.next()

    def test_a_forged_tag_is_called_a_mac_error(self) -> None:
        """
        The code that the disconnect carries.
        """
        for name, sealer, opener in protections():
            writer, reader = PacketWriter(), PacketReader()
            writer.rekey(sealer, restart=True)
            reader.rekey(opener, restart=True)
            wire = bytearray(writer.packet(b"\x5e" * 40))
            wire[-1] ^= 1
            reader.feed(bytes(wire))
            with self.assertRaises(RemoteProtocolError) as caught:
                reader.next()
            self.assertEqual(caught.exception.code, DISCONNECT_MAC_ERROR, name)

    def test_a_packet_out_of_its_place_is_refused(self) -> None:
        """
        Sent twice, or with one before it left out.
        """
        for name, sealer, opener in protections():
            writer, reader = PacketWriter(), PacketReader()
            writer.rekey(sealer, restart=True)
            reader.rekey(opener, restart=True)
            first = bytes(writer.packet(b"\x5e" * 40))
            reader.feed(first)
            self.assertEqual(len(drain(reader)), 1)
            reader.feed(first + bytes(MAX_PACKET_BYTES))
            with self.assertRaises(RemoteProtocolError, msg=name):
                reader.next()

    @given(st.binary(min_size=1, max_size=600))
    def test_garbage_ends_in_one_error(self, data: bytes) -> None:
        """
        Whatever comes.
        """
        for _, _, opener in [("none", None, None), *protections()]:
            reader = PacketReader()
            if opener is not None:
                reader.rekey(opener, restart=True)
            reader.feed(data)
            try:
                drain(reader)
            except RemoteProtocolError:
                continue

    def test_the_length_is_bounded_before_anything_is_kept(self) -> None:
        """
        Four bytes are enough to refuse.
        """
        for length in (MAX_PACKET_BYTES + 8, 0xFFFF_FFFF, 0, 4, 13):
            reader = PacketReader()
            reader.feed(length.to_bytes(4, "big"))
            with self.assertRaises(RemoteProtocolError):
                reader.next()

    def test_padding_must_lie_within_the_packet(self) -> None:
        """
        Four bytes at least, and leaving a payload.
        """
        for padding in (0, 3, 11, 12, 255):
            reader = PacketReader()
            reader.feed((12).to_bytes(4, "big") + bytes([padding]) + bytes(11))
            with self.assertRaises(RemoteProtocolError):
                reader.next()

    def test_numbers_wrap(self) -> None:
        """
        After 2**32 packets.
        """
        writer = PacketWriter()
        writer.sequence = 0xFFFF_FFFF
        writer.packet(b"\x02")
        self.assertEqual(writer.sequence, 0)


class VectorTests(SynchronousTestCase):
    """
    Bytes that others agree on.
    """

    def test_gcm_is_the_construction_of_rfc_5647(self) -> None:
        """
        Length in clear and authenticated, counter in the last eight bytes of the nonce; by the library itself.
        """
        key, iv = bytes(range(16)), bytes(range(100, 112))
        sealer = GcmSealer(key, iv)
        for count in range(3):
            packet = bytes(sealer.seal(99, b"\x5e", b"hello"))
            nonce = iv[:4] + (int.from_bytes(iv[4:], "big") + count).to_bytes(8, "big")
            plain = AESGCM(key).decrypt(nonce, packet[4:], packet[:4])
            self.assertEqual((plain[1:7], len(plain) % 16, plain[0]), (b"\x5ehello", 0, len(plain) - 7))

    def test_chacha_keystream_is_the_one_of_rfc_8439(self) -> None:
        """
        RFC 8439 appendix A.1, vector 1: key, counter and nonce all zero; OpenSSH's length field uses the second key.
        """
        stream = unhexlify("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
        sealed = ChaChaSealer(bytes(64)).seal(0, b"\x02", b"")
        length = bytes(a ^ b for a, b in zip(sealed[:4], stream, strict=False))
        self.assertEqual(int.from_bytes(length, "big") + 4 + 16, len(sealed))
        self.assertEqual(payload_of(ChaChaOpener(bytes(64)).open(0, memoryview(sealed))), b"\x02")
