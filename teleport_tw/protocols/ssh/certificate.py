"""
OpenSSH certificates as values, to and from their blobs.

A L{Certificate} is what the blob says; whether to believe it is for L{teleport_tw.pki.sshcert}. The signature covers
the blob up to and including the signature key, L{Certificate.tbs}; it is kept as read, so that verifying never
depends on writing the same bytes again.

@see: OpenSSH's C{PROTOCOL.certkeys}, version 9.2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from attrs import evolve, field, frozen

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.ssh import keys
from teleport_tw.protocols.ssh.keys import PublicKey
from teleport_tw.protocols.ssh.wire import MAX_UINT64, Reader, put_string, put_text, put_uint32, put_uint64

MAX_CERTIFICATE_BYTES = 65536
"""Ours carry roles and traits in extensions; OpenSSH accepts packets of 256 KiB at most."""

MAX_PRINCIPALS = 256
"""OpenSSH's own limit (C{SSHKEY_CERT_MAX_PRINCIPALS})."""

MAX_OPTIONS = 256

FOREVER = MAX_UINT64
"""C{valid_before} of a certificate without an end."""


class CertificateType(IntEnum):
    """
    Whom the certificate speaks for.
    """

    USER = 1
    HOST = 2


_SUFFIX = "-cert-v01@openssh.com"
CERTIFICATE_ALGORITHMS: Mapping[str, str] = {
    name.removesuffix("@openssh.com") + _SUFFIX: name for name in keys.KEY_ALGORITHMS
}
"""Certificate type to the type of the key it certifies."""

_TYPE_OF_KEY: Mapping[str, str] = {key: certificate for certificate, key in CERTIFICATE_ALGORITHMS.items()}

SIGNATURE_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    keys.RSA: ("rsa-sha2-512", "rsa-sha2-256"),
    **{name: (name,) for name in keys.KEY_ALGORITHMS if name != keys.RSA},
}
"""Key type to the signatures accepted from it, best first. C{ssh-rsa}, RSA with SHA-1, is not among them."""


@frozen(kw_only=True)
class Certificate:
    """
    One certificate, every field of C{PROTOCOL.certkeys}.

    @ivar key: the certified key.
    @ivar serial: chosen by the authority; 64 bits.
    @ivar valid_after: seconds since the epoch, inclusive.
    @ivar valid_before: seconds since the epoch, exclusive; L{FOREVER} for no end.
    @ivar critical_options: name to value, already freed of its inner string; sorted by name.
    @ivar extensions: as critical options; empty value for a flag.
    @ivar signature_key: blob of the authority's public key.
    @ivar signature: C{string} algorithm and C{string} blob; empty before signing.
    @ivar tbs: the bytes that are signed; empty for a certificate that was put together and not read.
    """

    key: PublicKey
    nonce: bytes = field(repr=False)
    serial: int = 0
    type: CertificateType
    key_id: str
    principals: tuple[str, ...] = ()
    valid_after: int = 0
    valid_before: int = FOREVER
    critical_options: Mapping[str, str] = field(factory=dict)
    extensions: Mapping[str, str] = field(factory=dict)
    reserved: bytes = b""
    signature_key: bytes = field(repr=False)
    signature: bytes = field(default=b"", repr=False)
    tbs: bytes = field(default=b"", repr=False, eq=False)

    @property
    def algorithm(self) -> str:
        """
        The certificate's type name, such as C{ssh-ed25519-cert-v01@openssh.com}.
        """
        return _TYPE_OF_KEY[self.key.algorithm]

    @property
    def authority(self) -> PublicKey:
        """
        The key that signed.
        """
        return keys.parse(self.signature_key)

    def signed(self, signature: bytes) -> Certificate:
        """
        @param signature: C{string} algorithm and C{string} blob over L{tbs}.
        @return: the same with its signature and the bytes it covers.
        """
        return evolve(self, signature=signature, tbs=tbs(self))


def tbs(certificate: Certificate) -> bytes:
    """
    The bytes to be signed.

    C{string} type; C{string} nonce; the key's fields; C{uint64} serial; C{uint32} user or host; C{string} key id;
    C{string} of C{string} principals; C{uint64} valid after; C{uint64} valid before; C{string} critical options;
    C{string} extensions; C{string} reserved; C{string} signature key.

    @raise LocalProtocolError: an option's or a principal's count is over its bound.
    """
    return assemble(
        certificate,
        put_principals(certificate.principals),
        put_options(certificate.critical_options.items()),
        put_options(certificate.extensions.items()),
    )


def assemble(certificate: Certificate, principals: bytes, critical_options: bytes, extensions: bytes) -> bytes:
    """
    As L{tbs}, with the lists written beforehand for whoever makes many certificates that share them.

    @param certificate: whose own lists are not looked at.
    @param principals: by L{put_principals}.
    @param critical_options: by L{put_options}.
    @param extensions: by L{put_options}.
    """
    return b"".join(
        (
            put_string(certificate.algorithm.encode("ascii")),
            put_string(certificate.nonce),
            certificate.key.fields(),
            put_uint64(certificate.serial),
            put_uint32(certificate.type),
            put_text(certificate.key_id),
            put_string(principals),
            put_uint64(certificate.valid_after),
            put_uint64(certificate.valid_before),
            put_string(critical_options),
            put_string(extensions),
            put_string(certificate.reserved),
            put_string(certificate.signature_key),
        )
    )


def put_principals(principals: tuple[str, ...]) -> bytes:
    """
    @return: C{string} for each.
    @raise LocalProtocolError: there are too many.
    """
    if len(principals) > MAX_PRINCIPALS:
        raise LocalProtocolError(f"an SSH certificate has at most {MAX_PRINCIPALS} principals")
    return b"".join(map(put_text, principals))


def put_options(options: Iterable[tuple[str, str]]) -> bytes:
    """
    @param options: names and values, in any order, each name once.
    @return: C{string} name and C{string} value for each, sorted by name; a value that is not empty is a C{string}
        again.
    @raise LocalProtocolError: there are too many.
    """
    listed = sorted((name.encode("utf-8"), value) for name, value in options)
    if len(listed) > MAX_OPTIONS:
        raise LocalProtocolError(f"an SSH certificate has at most {MAX_OPTIONS} options of a kind")
    return b"".join(put_string(name) + put_string(put_text(value) if value else b"") for name, value in listed)


def serialize(certificate: Certificate) -> bytes:
    """
    @return: the blob that L{parse} reads.
    @raise LocalProtocolError: it was not signed yet.
    """
    if not certificate.signature:
        raise LocalProtocolError("SSH certificate is not signed yet")
    return (certificate.tbs or tbs(certificate)) + put_string(certificate.signature)


def parse(blob: bytes) -> Certificate:
    """
    Read a certificate; says nothing about its signature.

    @raise RemoteProtocolError: it is not a certificate, is too long, has options that are unsorted or stand twice,
        goes on after its end, or its signature's algorithm is not one that its signature key may use.
    """
    if len(blob) > MAX_CERTIFICATE_BYTES:
        raise RemoteProtocolError(f"SSH certificate is longer than {MAX_CERTIFICATE_BYTES} bytes")
    reader = Reader(blob)
    algorithm = reader.text()
    key_algorithm = CERTIFICATE_ALGORITHMS.get(algorithm)
    if key_algorithm is None:
        raise RemoteProtocolError(f"{algorithm[:64]!r} is not a certificate type that is accepted here")
    nonce = reader.string()
    key = keys.read_fields(key_algorithm, reader)
    serial = reader.uint64()
    number = reader.uint32()
    if number not in (CertificateType.USER, CertificateType.HOST):
        raise RemoteProtocolError(f"SSH certificate is of type {number}, neither user nor host")
    key_id = reader.text()
    principals = _principals(Reader(reader.string()))
    valid_after, valid_before = reader.uint64(), reader.uint64()
    critical_options = _options(Reader(reader.string()), "critical options")
    extensions = _options(Reader(reader.string()), "extensions")
    reserved = reader.string()
    signature_key = reader.string()
    covered = blob[: reader.offset]
    signature = reader.string()
    reader.end()
    authority = keys.parse(signature_key)
    signature_algorithm = Reader(signature).text()
    if signature_algorithm not in SIGNATURE_ALGORITHMS[authority.algorithm]:
        raise RemoteProtocolError(
            f"SSH certificate is signed with {signature_algorithm[:64]!r}, "
            f"not accepted from a key of type {authority.algorithm}"
        )
    return Certificate(
        key=key,
        nonce=nonce,
        serial=serial,
        type=CertificateType(number),
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        critical_options=critical_options,
        extensions=extensions,
        reserved=reserved,
        signature_key=signature_key,
        signature=signature,
        tbs=covered,
    )


def _principals(reader: Reader) -> tuple[str, ...]:
    found: list[str] = []
    while reader.remaining:
        if len(found) == MAX_PRINCIPALS:
            raise RemoteProtocolError(f"SSH certificate has more than {MAX_PRINCIPALS} principals")
        found.append(reader.text())
    return tuple(found)


def _options(reader: Reader, what: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    last = b""
    while reader.remaining:
        if len(found) == MAX_OPTIONS:
            raise RemoteProtocolError(f"SSH certificate has more than {MAX_OPTIONS} {what}")
        name, wrapped = reader.string(), reader.string()
        if name <= last:
            raise RemoteProtocolError(f"SSH certificate's {what} are empty, unsorted or stand twice")
        last = name
        value = ""
        if wrapped:
            inner = Reader(wrapped)
            value = inner.text()
            inner.end()
        try:
            found[name.decode("utf-8")] = value
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(f"SSH certificate's {what} are not named in UTF-8") from error
    return found
