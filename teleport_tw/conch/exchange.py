"""
One connection's key exchanges: the first, and those that renew the keys later.

Theory of operation. Each side sends KEXINIT, then the client makes an offer and the server answers it with its host
key and a signature over everything said so far, then both send NEWKEYS and change keys, each direction at its own
NEWKEYS. From our KEXINIT to our NEWKEYS nothing but key exchange may leave; from the peer's KEXINIT to its NEWKEYS
nothing else may come::

    IDLE     --we send KEXINIT-->  ASKED   --KEXINIT comes-->  AGREEING
    IDLE     --KEXINIT comes, we send ours-->                  AGREEING
    AGREEING --server: offer comes, we answer and send NEWKEYS--> KEYED
    AGREEING --client: answer comes--> JUDGING --host accepted, we send NEWKEYS--> KEYED
    KEYED    --NEWKEYS comes--> IDLE

Where both sides know strict key exchange, the first exchange admits no other message at all, and packets are numbered
from zero after every NEWKEYS (the answer to CVE-2023-48795, I{Terrapin}).

This object knows no transport; what it wants done it asks of its L{Wire}.

@see: RFC 4253 sections 7 to 9; OpenSSH's C{PROTOCOL} section 1.10.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import define, field, frozen

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.conch import signatures
from teleport_tw.conch.algorithms import (
    EXT_INFO_CLIENT,
    EXT_INFO_SERVER,
    MSG_KEXINIT,
    STRICT_CLIENT,
    STRICT_SERVER,
    Algorithms,
    Choice,
    KexInit,
    Protection,
    negotiate,
)
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.kex import (
    DISCONNECT_KEY_EXCHANGE_FAILED,
    KEX_METHODS,
    Agreement,
    KexMethod,
    KeyMaterial,
    Transcript,
    encode_string,
)
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Opener, Sealer
from teleport_tw.conch.signatures import HostKeys
from teleport_tw.protocols.ssh.wire import Reader

MSG_NEWKEYS = 21
MSG_KEX_OFFER = 30
MSG_KEX_ANSWER = 31

_TRANSPORT_GENERIC = range(1, 5)
"""DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG: may come at any time, unless the exchange is strict."""

_MSG_DISCONNECT = 1


class Wire(Protocol):
    """
    What an exchange needs of its connection.
    """

    def send_now(self, payload: bytes) -> None:
        """
        Send although an exchange is under way.
        """

    def use_sealer(self, sealer: Sealer, *, restart: bool) -> None:
        """
        Protect what is sent from now on with these keys.
        """

    def use_opener(self, opener: Opener, *, restart: bool) -> None:
        """
        Open what comes from now on with these keys.
        """

    def judge(self, proof: HostProof) -> None:
        """
        Client: decide about the server, then call L{Exchange.host_accepted}; take no packet in before that.
        """


@frozen(kw_only=True)
class HostProof:
    """
    What a server showed; its signature was verified with the key in it already.

    @ivar blob: of its key or of its certificate.
    @ivar algorithm: it signed with; ends in C{-cert-v01@openssh.com} for a certificate.
    """

    blob: bytes
    algorithm: bytes

    @property
    def certified(self) -> bool:
        """
        Whether L{blob} is a certificate.
        """
        return signatures.is_certificate(self.algorithm)


class State(Enum):
    """
    How far the present exchange has come.
    """

    IDLE = "idle"
    ASKED = "asked"
    AGREEING = "agreeing"
    JUDGING = "judging"
    KEYED = "keyed"


@define(eq=False, kw_only=True)
class Exchange:
    """
    See the module.

    @ivar client: our role.
    @ivar offered_host_keys: names for KEXINIT: what a server has, what a client takes.
    @ivar our_version: without line end.
    @ivar peer_version: without line end; set before the first KEXINIT is taken in.
    @ivar session_id: of the first exchange.
    @ivar strict: whether both sides know strict key exchange.
    @ivar peer_takes_ext_info: it said so in its first KEXINIT.
    @ivar choice: what was agreed on last.
    """

    client: bool
    wire: Wire
    algorithms: Algorithms
    offered_host_keys: tuple[bytes, ...]
    host_keys: HostKeys | None = None
    our_version: bytes
    peer_version: bytes = b""
    session_id: bytes = b""
    strict: bool = False
    peer_takes_ext_info: bool = False
    choice: Choice | None = None
    state: State = field(default=State.IDLE, init=False)
    _ours: KexInit | None = field(default=None, init=False)
    _theirs: KexInit | None = field(default=None, init=False)
    _agreement: Agreement | None = field(default=None, init=False)
    _offer: bytes = field(default=b"", init=False)
    _material: KeyMaterial | None = field(default=None, init=False, repr=False)
    _opener: Opener | None = field(default=None, init=False)
    _drop_guess: bool = field(default=False, init=False)

    @property
    def first(self) -> bool:
        """
        Whether no exchange was finished yet.
        """
        return not self.session_id

    @property
    def may_send(self) -> bool:
        """
        Whether messages other than key exchange may leave now.
        """
        return self.state is State.IDLE or self.state is State.KEYED

    @property
    def may_receive(self) -> bool:
        """
        Whether messages other than key exchange may come now.
        """
        return self._theirs is None and bool(self.session_id)

    def begin(self) -> None:
        """
        Send our KEXINIT, unless an exchange is under way.
        """
        if self.state is State.IDLE:
            self._send_kexinit()
            self.state = State.ASKED

    def _send_kexinit(self) -> None:
        markers: tuple[bytes, ...] = (EXT_INFO_CLIENT,) if self.client else (EXT_INFO_SERVER,)
        if self.first:
            markers += (STRICT_CLIENT,) if self.client else (STRICT_SERVER,)
        self._ours = KexInit.build(self.algorithms, self.offered_host_keys, markers)
        self.wire.send_now(self._ours.payload)

    def admits(self, number: int) -> bool:
        """
        @param number: type of a message that came.
        @return: whether it may come now. KEXINIT and the rest of the key exchange are judged by L{receive}.
        """
        if 20 <= number < 50 or number == _MSG_DISCONNECT:
            return True
        if self._theirs is None:
            return not self.first or number in _TRANSPORT_GENERIC
        return number in _TRANSPORT_GENERIC and not (self.first and self.strict)

    def receive(self, payload: bytes, sequence: int) -> None:
        """
        Take in a message of the key exchange.

        @param payload: with its type byte, 20 to 49.
        @param sequence: its number, counted from zero.
        @raise RemoteProtocolError: it may not come now, or its content is wrong.
        """
        number = payload[0]
        if number == MSG_KEXINIT:
            self._received_kexinit(payload, sequence)
        elif self._drop_guess and 30 <= number < 50:
            self._drop_guess = False
        elif number == MSG_NEWKEYS and self.state is State.KEYED and len(payload) == 1:
            self._received_newkeys()
        elif number == MSG_KEX_OFFER and self.state is State.AGREEING and not self.client:
            self._received_offer(payload)
        elif number == MSG_KEX_ANSWER and self.state is State.AGREEING and self.client:
            self._received_answer(payload)
        else:
            raise RemoteProtocolError(f"message {number} out of order", code=DISCONNECT_PROTOCOL_ERROR)

    def _received_kexinit(self, payload: bytes, sequence: int) -> None:
        if self._theirs is not None:
            raise RemoteProtocolError("KEXINIT during a key exchange", code=DISCONNECT_PROTOCOL_ERROR)
        self._theirs = theirs = KexInit.parse(payload)
        if self.first:
            self.strict = (STRICT_SERVER if self.client else STRICT_CLIENT) in theirs.kex
            self.peer_takes_ext_info = (EXT_INFO_SERVER if self.client else EXT_INFO_CLIENT) in theirs.kex
            if self.strict and sequence:
                raise RemoteProtocolError("KEXINIT was not the first message", code=DISCONNECT_PROTOCOL_ERROR)
        if self.state is State.IDLE:
            self._send_kexinit()
        assert self._ours is not None, "sent just now or when the state became ASKED"
        self.state = State.AGREEING
        self.choice = choice = negotiate(*((self._ours, theirs) if self.client else (theirs, self._ours)))
        self._drop_guess = theirs.guesses and not choice.guess_right
        self._agreement = self._method.begin()
        if self.client:
            self._offer = self._agreement.offer()
            self.wire.send_now(bytes((MSG_KEX_OFFER,)) + encode_string(self._offer))

    @property
    def _method(self) -> KexMethod:
        assert self.choice is not None, "asked for after negotiation only"
        return KEX_METHODS[self.choice.kex]

    def _received_offer(self, payload: bytes) -> None:
        """
        C{string} offer (C{mpint} for Diffie-Hellman); answered by C{string} host key, C{string} answer, C{string}
        signature.
        """
        reader = Reader(payload)
        reader.byte()
        offer = reader.string()
        reader.end()
        assert self._agreement is not None, "begun when KEXINIT came"
        assert self.choice is not None, "chosen when KEXINIT came"
        assert self.host_keys is not None, "a server has some"
        answer, secret = self._agreement.answer(offer)
        blob = self.host_keys.blob(self.choice.host_key)
        digest = self._digest(blob, offer, answer, secret)
        signature = self.host_keys.sign(self.choice.host_key, digest)
        fields = (blob, answer, signature)
        self.wire.send_now(bytes((MSG_KEX_ANSWER,)) + b"".join(encode_string(each) for each in fields))
        self._keyed(secret, digest)

    def _received_answer(self, payload: bytes) -> None:
        reader = Reader(payload)
        reader.byte()
        blob, answer, signature = reader.string(), reader.string(), reader.string()
        reader.end()
        assert self._agreement is not None, "begun when KEXINIT came"
        assert self.choice is not None, "chosen when KEXINIT came"
        secret = self._agreement.finish(answer)
        digest = self._digest(blob, self._offer, answer, secret)
        try:
            signatures.verify(blob, self.choice.host_key, signature, digest)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"host key: {error}", code=DISCONNECT_KEY_EXCHANGE_FAILED) from error
        self._material = KeyMaterial(self._method, secret, digest, self.session_id or digest)
        self.state = State.JUDGING
        self.wire.judge(HostProof(blob=blob, algorithm=self.choice.host_key))

    def host_accepted(self) -> None:
        """
        Client: the server is who it should be; go on.
        """
        if self.state is not State.JUDGING or self._material is None:
            raise LocalProtocolError("no host key is being judged")
        self._use(self._material)

    def _digest(self, blob: bytes, offer: bytes, answer: bytes, secret: bytes) -> bytes:
        assert self._ours is not None, "both KEXINITs have passed"
        assert self._theirs is not None, "both KEXINITs have passed"
        ours, theirs = (self.our_version, self._ours.payload), (self.peer_version, self._theirs.payload)
        client, server = (ours, theirs) if self.client else (theirs, ours)
        transcript = Transcript(
            client_version=client[0], server_version=server[0], client_kexinit=client[1], server_kexinit=server[1]
        )
        return transcript.digest(self._method, host_key=blob, offer=offer, answer=answer, secret=secret)

    def _keyed(self, secret: bytes, digest: bytes) -> None:
        self._use(KeyMaterial(self._method, secret, digest, self.session_id or digest))

    def _use(self, material: KeyMaterial) -> None:
        assert self.choice is not None
        choice = self.choice
        to_server = _Keys(choice.to_server, material, b"A", b"C", b"E")
        to_client = _Keys(choice.to_client, material, b"B", b"D", b"F")
        outbound, inbound = (to_server, to_client) if self.client else (to_client, to_server)
        self._opener = inbound.opener()
        self.wire.send_now(bytes((MSG_NEWKEYS,)))
        self._material = material
        self.state = State.KEYED
        self.wire.use_sealer(outbound.sealer(), restart=self.strict)

    def _received_newkeys(self) -> None:
        assert self._opener is not None, "made with the sealer"
        assert self._material is not None, "the state is KEYED"
        opener = self._opener
        self.session_id = self._material.session_id
        self._ours = self._theirs = self._agreement = self._material = self._opener = None
        self._offer = b""
        self.state = State.IDLE
        self.wire.use_opener(opener, restart=self.strict)


@frozen
class _Keys:
    """
    One direction's keys.
    """

    _protection: Protection
    _material: KeyMaterial = field(repr=False)
    _iv: bytes
    _key: bytes
    _mac: bytes

    def sealer(self) -> Sealer:
        cipher, mac = CIPHERS[self._protection.cipher], MACS.get(self._protection.mac)
        return cipher.make_sealer(*self._drawn(cipher.key_bytes, cipher.iv_bytes), mac, self._mac_key())

    def opener(self) -> Opener:
        cipher, mac = CIPHERS[self._protection.cipher], MACS.get(self._protection.mac)
        return cipher.make_opener(*self._drawn(cipher.key_bytes, cipher.iv_bytes), mac, self._mac_key())

    def _drawn(self, key_bytes: int, iv_bytes: int) -> tuple[bytes, bytes]:
        return self._material.derive(self._key, key_bytes), self._material.derive(self._iv, iv_bytes)

    def _mac_key(self) -> bytes:
        mac = MACS.get(self._protection.mac)
        return self._material.derive(self._mac, mac.key_bytes) if mac is not None else b""
