"""
Writing X.509 certificates, and only writing: reading them is the cryptography library's.

That library's builder costs three times the signature itself and refuses common names of more than 64 characters,
which C{<uuid>.<cluster>} can have; so the few DER forms a certificate needs are put together here, the parts that never
change once. Tests compare the bytes with what the library's builder makes.

@see: RFC 5280 section 4.1, ITU-T X.690
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from teleport_tw.pki.keys import NativePublic

CRITICAL = b"\x01\x01\xff"
"""BOOLEAN TRUE, in front of an extension's value."""


def tlv(tag: int, content: bytes) -> bytes:
    """
    @param tag: one byte.
    @return: tag, length in the shortest form, content.
    """
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """
    @return: SEQUENCE of parts that are DER already.
    """
    return tlv(0x30, b"".join(parts))


def integer(value: int) -> bytes:
    """
    @param value: zero or more.
    """
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """
    @param dotted: such as C{2.5.4.3}.
    """
    first, second, *rest = map(int, dotted.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        octets += bytes(reversed(septets))
    return tlv(0x06, bytes(octets))


def octet_string(content: bytes) -> bytes:
    """
    @return: OCTET STRING.
    """
    return tlv(0x04, content)


def bit_string(content: bytes, unused: int = 0) -> bytes:
    """
    @param unused: bits at the end of the last byte that do not count.
    """
    return tlv(0x03, bytes((unused,)) + content)


def time(moment: datetime) -> bytes:
    """
    @param moment: aware; fractions of a second are dropped.
    @return: UTCTime before 2050, GeneralizedTime from then on.
    """
    utc = moment.astimezone(UTC)
    if utc.year < 2050:
        return tlv(0x17, utc.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return tlv(0x18, utc.strftime("%Y%m%d%H%M%SZ").encode("ascii"))


def name(attributes: Iterable[tuple[str, str]]) -> bytes:
    """
    @param attributes: dotted OID and value, in order; each becomes a relative name of its own, in UTF-8.
    """
    return sequence(
        *(tlv(0x31, sequence(oid(dotted), tlv(0x0C, value.encode("utf-8")))) for dotted, value in attributes)
    )


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """
    @param value: DER of the extension's own structure.
    """
    return sequence(oid(dotted), CRITICAL if critical else b"", octet_string(value))


def signature_algorithm(public: NativePublic) -> bytes:
    """
    @return: AlgorithmIdentifier of what L{teleport_tw.pki.keys.Signer.sign} makes with this key.
    """
    if isinstance(public, ed25519.Ed25519PublicKey):
        return sequence(oid("1.3.101.112"))
    if isinstance(public, ec.EllipticCurvePublicKey):
        number = {256: 2, 384: 3, 521: 4}[public.curve.key_size]
        return sequence(oid(f"1.2.840.10045.4.3.{number}"))
    return sequence(oid("1.2.840.113549.1.1.11"), b"\x05\x00")


def to_be_signed(
    *,
    serial: int,
    algorithm: bytes,
    issuer: bytes,
    valid_after: datetime,
    valid_before: datetime,
    subject: bytes,
    spki: bytes,
    extensions: bytes,
) -> bytes:
    """
    TBSCertificate, version 3.

    @param serial: positive.
    @param extensions: L{extension}s, one after the other.
    """
    return sequence(
        b"\xa0\x03\x02\x01\x02",
        integer(serial),
        algorithm,
        issuer,
        sequence(time(valid_after), time(valid_before)),
        subject,
        spki,
        tlv(0xA3, sequence(extensions)),
    )
