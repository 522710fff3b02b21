"""
SSH public keys as values: the blob of each type, its fingerprint, and lines of C{authorized_keys}.

A L{PublicKey} knows its parts and how to write them; checking a signature with it is for L{teleport_tw.pki.keys}.

@see: RFC 4253 section 6.6 (RSA), RFC 5656 section 3.1 (ECDSA), RFC 8709 (Ed25519), OpenSSH's C{PROTOCOL.u2f} (sk-)
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha256

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.ssh.wire import Reader, put_mpint, put_string

ED25519 = "ssh-ed25519"
RSA = "ssh-rsa"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"

CURVE_SIZES: Mapping[str, int] = {"nistp256": 32, "nistp384": 48, "nistp521": 66}
"""Bytes of one coordinate on each curve."""

MAX_KEY_BYTES = 8192
"""An RSA key of 16,384 bits, OpenSSH's largest, takes a quarter of this."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384


@frozen
class Ed25519Key:
    """
    @ivar point: 32 bytes.
    """

    point: bytes

    @property
    def algorithm(self) -> str:
        """The name at the head of the blob."""
        return ED25519

    def fields(self) -> bytes:
        """@return: what follows the algorithm's name: C{string} point."""
        return put_string(self.point)


@frozen
class EcdsaKey:
    """
    @ivar curve: C{nistp256}, C{nistp384} or C{nistp521}.
    @ivar point: uncompressed, with the leading 0x04.
    """

    curve: str
    point: bytes

    @property
    def algorithm(self) -> str:
        """The name at the head of the blob."""
        return f"ecdsa-sha2-{self.curve}"

    def fields(self) -> bytes:
        """@return: what follows the algorithm's name: C{string} curve; C{string} point."""
        return put_string(self.curve.encode("ascii")) + put_string(self.point)


@frozen
class RsaKey:
    """
    @ivar exponent: public exponent.
    @ivar modulus: 2,048 to 16,384 bits.
    """

    exponent: int
    modulus: int

    @property
    def algorithm(self) -> str:
        """The name at the head of the blob."""
        return RSA

    def fields(self) -> bytes:
        """@return: what follows the algorithm's name: C{mpint} exponent; C{mpint} modulus."""
        return put_mpint(self.exponent) + put_mpint(self.modulus)


@frozen
class SkEd25519Key:
    """
    A key held in a security key.

    @ivar point: 32 bytes.
    @ivar application: C{ssh:} and what follows.
    """

    point: bytes
    application: bytes

    @property
    def algorithm(self) -> str:
        """The name at the head of the blob."""
        return SK_ED25519

    def fields(self) -> bytes:
        """@return: what follows the algorithm's name: C{string} point; C{string} application."""
        return put_string(self.point) + put_string(self.application)


@frozen
class SkEcdsaKey:
    """
    A key on P-256 held in a security key.

    @ivar point: uncompressed, with the leading 0x04.
    @ivar application: C{ssh:} and what follows.
    """

    point: bytes
    application: bytes

    @property
    def algorithm(self) -> str:
        """The name at the head of the blob."""
        return SK_ECDSA

    def fields(self) -> bytes:
        """@return: what follows the algorithm's name: C{string} curve; C{string} point; C{string} application."""
        return put_string(b"nistp256") + put_string(self.point) + put_string(self.application)


PublicKey = Ed25519Key | EcdsaKey | RsaKey | SkEd25519Key | SkEcdsaKey

KEY_ALGORITHMS: tuple[str, ...] = (
    ED25519,
    *(f"ecdsa-sha2-{curve}" for curve in CURVE_SIZES),
    RSA,
    SK_ED25519,
    SK_ECDSA,
)
"""Every key type read here."""


def read_fields(algorithm: str, reader: Reader) -> PublicKey:
    """
    Read the parts of a key that follow its algorithm's name, as a blob and a certificate both hold them.

    @param algorithm: one of L{KEY_ALGORITHMS}.
    @raise RemoteProtocolError: unknown algorithm, a wrong length or curve, a key too weak to be accepted.
    """
    if algorithm == ED25519:
        return Ed25519Key(_point32(reader))
    if algorithm == SK_ED25519:
        return SkEd25519Key(_point32(reader), reader.string())
    if algorithm == SK_ECDSA:
        return SkEcdsaKey(_curve_point("nistp256", reader), reader.string())
    if algorithm == RSA:
        exponent, modulus = reader.mpint(), reader.mpint()
        if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS or modulus < 0 or not modulus & 1:
            raise RemoteProtocolError(f"RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
        if exponent < 3 or not exponent & 1 or exponent.bit_length() > 256:
            raise RemoteProtocolError("RSA key has an unusable public exponent")
        return RsaKey(exponent, modulus)
    curve = algorithm.removeprefix("ecdsa-sha2-")
    if curve != algorithm and curve in CURVE_SIZES:
        return EcdsaKey(curve, _curve_point(curve, reader))
    raise RemoteProtocolError(f"{algorithm[:64]!r} is not a key type that is accepted here")


def parse(blob: bytes) -> PublicKey:
    """
    @param blob: C{string} algorithm, then the fields of that algorithm.
    @raise RemoteProtocolError: it is not a public key of a type in L{KEY_ALGORITHMS}, or goes on after its end.
    """
    if len(blob) > MAX_KEY_BYTES:
        raise RemoteProtocolError(f"SSH public key is longer than {MAX_KEY_BYTES} bytes")
    reader = Reader(blob)
    key = read_fields(reader.text(), reader)
    reader.end()
    return key


def serialize(key: PublicKey) -> bytes:
    """
    @return: the blob that L{parse} reads.
    """
    return put_string(key.algorithm.encode("ascii")) + key.fields()


def fingerprint(key: PublicKey | bytes) -> str:
    """
    @param key: a key or its blob.
    @return: C{SHA256:} and unpadded base64, as OpenSSH shows it.
    """
    blob = key if isinstance(key, bytes) else serialize(key)
    return "SHA256:" + b64encode(sha256(blob).digest()).decode("ascii").rstrip("=")


@frozen
class AuthorizedLine:
    """
    One line of C{authorized_keys}, of a C{.pub} file, or of C{known_hosts} after its marker and hosts.

    @ivar algorithm: the type named on the line; equal to the blob's own, also for certificates.
    @ivar blob: key or certificate blob.
    @ivar options: what stands before the type, unparsed; empty for most.
    """

    algorithm: str
    blob: bytes
    comment: str = ""
    options: str = ""

    def __str__(self) -> str:
        """@return: the line, without a line feed."""
        encoded = b64encode(self.blob).decode("ascii")
        return " ".join(part for part in (self.options, self.algorithm, encoded, self.comment) if part)


def parse_line(line: str) -> AuthorizedLine:
    """
    @param line: C{[options] type base64 [comment]}; options may hold blanks within double quotes.
    @raise RemoteProtocolError: there is no key on it, or the named type is not the blob's.
    """
    words = _words(line.strip())
    for position, word in enumerate(words[:2]):
        rest = words[position + 1] if position + 1 < len(words) else ""
        if not rest.startswith("AAAA"):
            continue
        try:
            blob = b64decode(rest, validate=True)
        except (Base64Error, ValueError) as error:
            raise RemoteProtocolError("SSH key line is not base64") from error
        if len(blob) > 4 * MAX_KEY_BYTES:
            raise RemoteProtocolError("SSH key line is too long")
        if Reader(blob).text() != word:
            raise RemoteProtocolError(f"SSH key line names type {word[:64]!r}, its key another")
        return AuthorizedLine(word, blob, " ".join(words[position + 2 :]), " ".join(words[:position]))
    raise RemoteProtocolError("SSH key line holds no key")


def format_line(key: PublicKey, comment: str = "") -> str:
    """
    @return: the key as a C{.pub} file or C{authorized_keys} has it, without a line feed.
    """
    return str(AuthorizedLine(key.algorithm, serialize(key), comment))


def _words(line: str) -> list[str]:
    words: list[str] = []
    word, quoted, escaped = "", False, False
    for letter in line:
        if letter in " \t" and not quoted:
            if word:
                words.append(word)
            word = ""
            continue
        if letter == '"' and not escaped:
            quoted = not quoted
        escaped = letter == "\\" and not escaped
        word += letter
    return [*words, word] if word else words


def _point32(reader: Reader) -> bytes:
    point = reader.string()
    if len(point) != 32:
        raise RemoteProtocolError("Ed25519 key must have 32 bytes")
    return point


def _curve_point(curve: str, reader: Reader) -> bytes:
    if reader.string() != curve.encode("ascii"):
        raise RemoteProtocolError("ECDSA key names another curve than its type")
    point = reader.string()
    if len(point) != 1 + 2 * CURVE_SIZES[curve] or point[0] != 4:
        raise RemoteProtocolError(f"ECDSA key must be an uncompressed point on {curve}")
    return point
