"""
SCRAM, both ends: proof of a password that neither shows it nor lets it be replayed.

The client's end is L{Client}, the server's L{Server}; each takes and gives the messages' texts as bytes. SHA-1 is for
MongoDB's older users, SHA-256 for its newer ones and PostgreSQL. With C{-PLUS}, C{tls-server-end-point} ties the proof
to the TLS connection it is given on.

@see: RFC 5802, RFC 7677, RFC 5929 section 4.1
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections.abc import Callable
from enum import Enum

from attrs import define, field, frozen

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.base.secret import Secret

MAX_MESSAGE = 16 << 10
MAX_ITERATIONS = 1_000_000
"""A server that asks for more costs its client seconds; PostgreSQL's default is 4,096, MongoDB's 15,000."""
MIN_ITERATIONS = 1
NONCE_BYTES = 18


class Mechanism(Enum):
    """
    The value is the name in SASL, without C{-PLUS}.
    """

    SHA_1 = "SCRAM-SHA-1"
    SHA_256 = "SCRAM-SHA-256"

    @property
    def hash_name(self) -> str:
        """
        As hashlib has it.
        """
        return "sha1" if self is Mechanism.SHA_1 else "sha256"


class Binding(Enum):
    """
    What a client says of channel binding: the first letter of its first message.
    """

    UNSUPPORTED = "n"
    NOT_OFFERED = "y"
    """It could, and the server did not offer it; a server that did knows that somebody was in between."""
    BOUND = "p"


def _nonce() -> str:
    return base64.b64encode(secrets.token_bytes(NONCE_BYTES)).decode("ascii")


def prepared(password: str) -> bytes:
    """
    @return: the password as SASLprep has it; as it is where SASLprep cannot, which is what PostgreSQL does.
    @see: RFC 4013
    """
    if password.isascii():
        return password.encode("ascii")
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in password if not stringprep.in_table_b1(letter)
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not text or any(table(letter) for letter in text for table in _PROHIBITED) or not _direction_is_clear(text):
        return password.encode("utf-8")
    return text.encode("utf-8")


_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    *(stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3),
    *(stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7),
    *(stringprep.in_table_c8, stringprep.in_table_c9),
)


def _direction_is_clear(text: str) -> bool:
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(map(stringprep.in_table_d2, text))


@frozen
class Keys:
    """
    What a server keeps of a password.
    """

    salt: bytes
    iterations: int
    stored: bytes = field(repr=False)
    server: bytes = field(repr=False)

    @classmethod
    def of(cls, mechanism: Mechanism, password: Secret[bytes], salt: bytes, iterations: int) -> Keys:
        """
        @param password: prepared.
        """
        salted = hashlib.pbkdf2_hmac(mechanism.hash_name, password.reveal(), salt, iterations)
        client = _mac(mechanism, salted, b"Client Key")
        return cls(salt, iterations, _hash(mechanism, client), _mac(mechanism, salted, b"Server Key"))


def _mac(mechanism: Mechanism, key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, mechanism.hash_name)


def _hash(mechanism: Mechanism, data: bytes) -> bytes:
    return hashlib.new(mechanism.hash_name, data).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(one, other, strict=True))


def _attributes(message: bytes, names: str) -> list[str]:
    """
    @param names: the letters that must stand first, in this order; C{m}, an extension that must be known, is refused.
    @return: their values.
    """
    if len(message) > MAX_MESSAGE:
        raise RemoteProtocolError("a SCRAM message that is too long")
    try:
        parts = message.decode("utf-8").split(",")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("a SCRAM message that is no UTF-8") from error
    if parts[0][:2] == "m=":
        raise RemoteProtocolError("a SCRAM message with an extension that is not known")
    if len(parts) < len(names) or any(part[:2] != f"{name}=" for part, name in zip(parts, names, strict=False)):
        raise RemoteProtocolError("a SCRAM message without what it must have")
    return [part[2:] for part in parts[: len(names)]]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RemoteProtocolError("a SCRAM message with wrong base64") from error


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


def _unescaped(name: str) -> str:
    plain = name.replace("=2C", ",").replace("=3D", "=")
    if _escaped(plain) != name:
        raise RemoteProtocolError("a SCRAM name with a wrong escape")
    return plain


@define(eq=False)
class Client:
    """
    Proves a password.

    @ivar password: prepared; for MongoDB's SHA-1 the hex MD5 digest it makes of user and password.
    @ivar username: empty for PostgreSQL, which knows it already.
    @ivar channel: data of C{tls-server-end-point}, where the mechanism is a C{-PLUS}.
    @ivar verified: the server has proved that it knows the password.
    """

    mechanism: Mechanism
    password: Secret[bytes]
    username: str = ""
    binding: Binding = Binding.UNSUPPORTED
    channel: bytes = b""
    nonce: str = field(factory=_nonce)
    verified: bool = field(default=False, init=False)
    _bare: str = field(default="", init=False)
    _signature: bytes = field(default=b"", init=False)

    @property
    def _header(self) -> str:
        return "p=tls-server-end-point,," if self.binding is Binding.BOUND else f"{self.binding.value},,"

    def first(self) -> bytes:
        """
        @return: C{client-first-message}.
        """
        self._bare = f"n={_escaped(self.username)},r={self.nonce}"
        return (self._header + self._bare).encode("utf-8")

    def final(self, challenge: bytes) -> bytes:
        """
        @param challenge: C{server-first-message}.
        @return: C{client-final-message}.
        @raise RemoteProtocolError: it is none, or not for us.
        """
        if not self._bare or self._signature:
            raise LocalProtocolError("SCRAM out of order")
        nonce, salt, count = _attributes(challenge, "rsi")
        if not nonce.startswith(self.nonce) or nonce == self.nonce:
            raise RemoteProtocolError("a SCRAM challenge that is not for us")
        if not (count.isdecimal() and len(count) < 9 and MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS):
            raise RemoteProtocolError("a SCRAM challenge with an impossible iteration count")
        salted = hashlib.pbkdf2_hmac(self.mechanism.hash_name, self.password.reveal(), _decoded(salt), int(count))
        data = self._header.encode("ascii") + (self.channel if self.binding is Binding.BOUND else b"")
        without_proof = f"c={base64.b64encode(data).decode('ascii')},r={nonce}"
        signed = b",".join((self._bare.encode("utf-8"), challenge, without_proof.encode("utf-8")))
        key = _mac(self.mechanism, salted, b"Client Key")
        proof = _xor(key, _mac(self.mechanism, _hash(self.mechanism, key), signed))
        self._signature = _mac(self.mechanism, _mac(self.mechanism, salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode('ascii')}".encode()

    def finish(self, outcome: bytes) -> None:
        """
        @param outcome: C{server-final-message}.
        @raise RemoteProtocolError: the server refuses, or does not know the password itself.
        """
        if not self._signature:
            raise LocalProtocolError("SCRAM out of order")
        if outcome.startswith(b"e="):
            raise RemoteProtocolError(f"the server refused: {outcome[2:100].decode('utf-8', 'replace')}")
        (verifier,) = _attributes(outcome, "v")
        if not hmac.compare_digest(_decoded(verifier), self._signature):
            raise RemoteProtocolError("the server does not know the password")
        self.verified = True


@define(eq=False)
class Server:
    """
    Has a password proved to it.

    @ivar channel: data of C{tls-server-end-point}; empty where binding was not offered.
    @ivar username: whom the client claims to be, after L{challenge}.
    """

    mechanism: Mechanism
    keys: Keys
    channel: bytes = b""
    nonce: str = field(factory=_nonce)
    username: str = field(default="", init=False)
    _header: str = field(default="", init=False)
    _bare: str = field(default="", init=False)
    _challenge: bytes = field(default=b"", init=False)
    _whole: str = field(default="", init=False)

    def challenge(self, first: bytes) -> bytes:
        """
        @param first: C{client-first-message}.
        @return: C{server-first-message}.
        @raise RemoteProtocolError: it is none.
        """
        if self._challenge:
            raise LocalProtocolError("SCRAM out of order")
        if len(first) > MAX_MESSAGE:
            raise RemoteProtocolError("a SCRAM message that is too long")
        try:
            flag, authority, bare = first.decode("utf-8").split(",", 2)
        except ValueError as error:
            raise RemoteProtocolError("a SCRAM message without what it must have") from error
        if flag == "p=tls-server-end-point":
            if not self.channel:
                raise RemoteProtocolError("channel binding was not offered")
        elif flag not in ("n", "y") or (flag == "y" and self.channel):
            raise RemoteProtocolError("channel binding was offered, and the client did not hear of it")
        if authority:
            raise RemoteProtocolError("an authorization identity is not served")
        name, nonce = _attributes(bare.encode("utf-8"), "nr")
        if not nonce:
            raise RemoteProtocolError("a SCRAM message without a nonce")
        self.username = _unescaped(name)
        self._header, self._bare, self._whole = f"{flag},,", bare, nonce + self.nonce
        salt = base64.b64encode(self.keys.salt).decode("ascii")
        self._challenge = f"r={self._whole},s={salt},i={self.keys.iterations}".encode()
        return self._challenge

    def outcome(self, final: bytes) -> bytes:
        """
        @param final: C{client-final-message}.
        @return: C{server-final-message}: the password was right.
        @raise RemoteProtocolError: it was not, or this is no such message.
        """
        if not self._challenge:
            raise LocalProtocolError("SCRAM out of order")
        data, nonce = _attributes(final, "cr")
        wanted = self._header.encode("ascii") + (self.channel if self._header[0] == "p" else b"")
        without_proof, separator, proof = final.rpartition(b",p=")
        if not separator or not hmac.compare_digest(_decoded(data), wanted):
            raise RemoteProtocolError("channel binding does not match")
        if not hmac.compare_digest(nonce.encode(), self._whole.encode()):
            raise RemoteProtocolError("a SCRAM message that is not for us")
        signed = b",".join((self._bare.encode("utf-8"), self._challenge, without_proof))
        shown = _decoded(proof.decode("ascii", "replace"))
        signature = _mac(self.mechanism, self.keys.stored, signed)
        if len(shown) != len(signature):
            raise RemoteProtocolError("the password is wrong")
        if not hmac.compare_digest(_hash(self.mechanism, _xor(shown, signature)), self.keys.stored):
            raise RemoteProtocolError("the password is wrong")
        return b"v=" + base64.b64encode(_mac(self.mechanism, self.keys.server, signed))
