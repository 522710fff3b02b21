"""
One command on one SSH connection, the client's side, without Twisted: bytes in, bytes out.

It is what C{tsh ssh HOST COMMAND} needs when nothing is forwarded and no terminal is wanted. Packets, key exchange and
signatures are those of every other connection; here is only the little of the upper two protocols that one command
takes. Loading Twisted takes a program longer than all of this takes to run, which is the one reason for this module.

Order: version and KEXINIT at once; key exchange; service and login in one go, when there is one way to sign; a session
channel; variables and C{exec}; then data until the channel is closed.

@see: RFC 4252 section 7, RFC 4254 sections 5 and 6
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.conch.algorithms import HOST_KEYS, Algorithms
from teleport_tw.conch.exchange import Exchange, HostProof
from teleport_tw.conch.numbers import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
)
from teleport_tw.conch.packets import PacketReader, PacketWriter
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Octets, Opener, Sealer
from teleport_tw.conch.signatures import PrivateKey, sign, signature_algorithms, signed_data
from teleport_tw.conch.version import VersionReader
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text, put_uint32

VERSION = b"SSH-2.0-Teleport"
WINDOW_BYTES = 2 * 1024 * 1024
"""What the server may send ahead of us; as much is held at most."""

PACKET_BYTES = 64 * 1024
REKEY_BYTES = 4 * 1024**3
"""Either way under one set of keys; RFC 4253 section 9 would have it sooner, for ciphers of its time."""

STDOUT, STDERR = 1, 2
_EXTENDED_STDERR = 1
_HOST_KEY_NOT_VERIFIABLE = 9
_BY_APPLICATION = 11
_NO_MORE_METHODS = 14
_MAX_BANNER_BYTES = 64 * 1024
_REPLY_WANTED = frozenset(["keepalive@openssh.com"])


class PersonNeededError(Exception):
    """
    The server asks for more than a key; a connection that can ask a person is needed. Nothing was run.
    """


class SingleCommand:
    """
    See the module.

    @ivar outgoing: bytes for the server; the caller takes them out.
    @ivar arrived: what the command wrote: L{STDOUT} or L{STDERR}, and the bytes; the caller takes them out and calls
        L{taken} once they are written.
    @ivar status: of the command; C{None} while it runs, or when it was not told.
    @ivar signal: that ended it, without C{SIG}.
    @ivar started: the server runs the command.
    @ivar over: nothing more will come.
    """

    def __init__(
        self,
        *,
        username: str,
        key: PrivateKey,
        blob: bytes,
        verify: Callable[[HostProof], None],
        command: bytes,
        variables: Mapping[str, str],
        show: Callable[[str], None],
        algorithms: Algorithms | None = None,
    ) -> None:
        """
        @param blob: the certificate of C{key}, or its public half.
        @param verify: raises L{TeleportError} where the server is not the one that was meant.
        @param show: shows a banner.
        """
        self._user = username.encode()
        self._key, self._blob = key, blob
        self._verify = verify
        self._command = command
        self._variables = variables
        self._show = show
        self._exchange = Exchange(
            client=True,
            wire=self,
            algorithms=algorithms or Algorithms(),
            offered_host_keys=HOST_KEYS,
            our_version=VERSION,
        )
        self._version: VersionReader | None = VersionReader(client=True)
        self._reader, self._writer = PacketReader(), PacketWriter()
        self._blocked: list[tuple[bytes, Octets]] = []
        self._banner_bytes = 0
        self._tried = self._logged_in = False
        self._peer: bytes | None = None  # its number of our channel
        self._window = self._packet_bytes = 0
        self._receivable = WINDOW_BYTES
        self._untold = 0
        self.started = self._ended_input = False
        self.outgoing = bytearray()
        self.arrived: list[tuple[int, bytes]] = []
        self.status: int | None = None
        self.signal = ""
        self.over = False

    # For the caller.

    def begin(self) -> None:
        """
        Speak first.
        """
        self.outgoing += VERSION + b"\r\n"
        self._exchange.begin()

    def feed(self, data: bytes) -> None:
        """
        Take in bytes from the server.

        @raise TeleportError: what went wrong, in words for the user; there may be last words in L{outgoing}.
        @raise PersonNeededError: see there.
        """
        try:
            if self._version is not None:
                found = self._version.feed(data)
                if found is None:
                    return
                self._version = None
                self._exchange.peer_version, data = found
            self._reader.feed(data)
            while not self.over and (packet := self._reader.next()) is not None:
                self._receive(packet[1], packet[1 : len(packet) - packet[0]], (self._reader.sequence - 1) & 0xFFFF_FFFF)
            if max(self._reader.received_bytes, self._writer.sent_bytes) > REKEY_BYTES:
                self._exchange.begin()
        except RemoteProtocolError as error:
            code = error.code if isinstance(error.code, int) else DISCONNECT_PROTOCOL_ERROR
            self.disconnect(code)
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"SSH connection failed: {error}") from error

    def ended(self) -> None:
        """
        The connection is gone.

        @raise TeleportError: CONNECTION_PROBLEM, before the command was started.
        """
        if not self.started:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, "the SSH server closed the connection before the login was through"
            )
        self.over = True

    @property
    def room(self) -> int:
        """
        How many bytes of input may be sent now.
        """
        if not self.started or self._ended_input or not self._exchange.may_send:
            return 0
        return min(self._window, self._packet_bytes)

    def send(self, data: bytes) -> None:
        """
        @param data: input for the command, L{room} bytes at most; empty for its end.
        """
        if self.over or self._ended_input or self._peer is None:
            return
        if not data:
            self._ended_input = True
            self._send(MSG_CHANNEL_EOF, self._peer)
            return
        self._window -= len(data)
        self._send(MSG_CHANNEL_DATA, self._peer + put_uint32(len(data)), data)

    def taken(self, count: int) -> None:
        """
        The caller is through with that many bytes of what arrived.
        """
        self._untold += count
        if self._untold > WINDOW_BYTES // 2 and not self.over and self._peer is not None:
            self._send(MSG_CHANNEL_WINDOW_ADJUST, self._peer + put_uint32(self._untold))
            self._receivable += self._untold
            self._untold = 0

    def send_signal(self, name: str) -> None:
        """
        @param name: without C{SIG}.
        """
        self._request("signal", put_text(name))

    def keep_alive(self) -> None:
        """
        Ask the server whether it is there; anything it sends is an answer.
        """
        if not self._exchange.first:
            self._send(MSG_GLOBAL_REQUEST, put_text("keepalive@openssh.com") + put_boolean(True))

    def disconnect(self, code: int = _BY_APPLICATION) -> None:
        """
        Say goodbye.
        """
        if not self.over:
            self._send(MSG_DISCONNECT, put_uint32(code) + put_string(b"") + put_string(b""))
            self.over = True

    # For the exchange; see L{teleport_tw.conch.exchange.Wire}.

    def send_now(self, payload: bytes) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.send_now}.
        """
        self.outgoing += self._writer.packet(payload)

    def use_sealer(self, sealer: Sealer, *, restart: bool) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.use_sealer}.
        """
        self._writer.rekey(sealer, restart=restart)
        blocked, self._blocked = self._blocked, []
        for head, body in blocked:
            self.outgoing += self._writer.packet(head, body)

    def use_opener(self, opener: Opener, *, restart: bool) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.use_opener}.
        """
        self._reader.rekey(opener, restart=restart)
        if not self._tried:
            self._tried = True
            self._sign_in()

    def judge(self, proof: HostProof) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.judge}.
        """
        try:
            self._verify(proof)
        except TeleportError:
            self.disconnect(_HOST_KEY_NOT_VERIFIABLE)
            raise
        self._exchange.host_accepted()

    # Messages out.

    def _send(self, number: int, head: bytes, body: Octets = b"") -> None:
        if self._exchange.may_send or number < MSG_SERVICE_REQUEST:
            self.outgoing += self._writer.packet(bytes((number,)) + head, body)
        else:
            self._blocked.append((bytes((number,)) + head, body))  # little: room is none meanwhile

    def _sign_in(self) -> None:
        self._send(MSG_SERVICE_REQUEST, put_string(b"ssh-userauth"))
        blob = self._blob
        algorithm = signature_algorithms(blob)[0]
        data = signed_data(self._exchange.session_id, self._user, algorithm, blob)
        fields = (self._user, b"ssh-connection", b"publickey")
        signature = sign(self._key, algorithm, data)
        shown = put_boolean(True) + b"".join(map(put_string, (algorithm, blob, signature)))
        self._send(MSG_USERAUTH_REQUEST, b"".join(map(put_string, fields)) + shown)

    def _request(self, kind: str, fields: bytes, *, reply: bool = False) -> None:
        if self._peer is not None and not self.over:
            self._send(MSG_CHANNEL_REQUEST, self._peer + put_text(kind) + put_boolean(reply) + fields)

    # Messages in.

    def _receive(self, number: int, payload: bytes, sequence: int) -> None:
        if not self._exchange.admits(number):
            raise RemoteProtocolError(f"message {number} during key exchange", code=DISCONNECT_PROTOCOL_ERROR)
        if 20 <= number < 50:
            self._exchange.receive(payload, sequence)
            return
        reader = Reader(payload)
        reader.byte()
        if number in (MSG_IGNORE, MSG_DEBUG, MSG_UNIMPLEMENTED, MSG_EXT_INFO, MSG_SERVICE_ACCEPT):
            return
        if number == MSG_DISCONNECT:
            self._disconnected(reader)
        elif self._peer is not None:
            self._in_session(number, reader)
        elif number == MSG_GLOBAL_REQUEST:
            self._global_request(reader)
        elif self._logged_in:
            self._opening(number, reader)
        elif number == MSG_USERAUTH_BANNER:
            text = reader.string()
            self._banner_bytes += len(text)
            if self._banner_bytes <= _MAX_BANNER_BYTES:
                self._show(text.decode("utf-8", "replace"))
        elif number == MSG_USERAUTH_SUCCESS:
            self._logged_in = True
            fields = (0, WINDOW_BYTES, PACKET_BYTES)
            self._send(MSG_CHANNEL_OPEN, put_text("session") + b"".join(map(put_uint32, fields)))
        elif number == MSG_USERAUTH_FAILURE:
            methods, partial = reader.namelist(), reader.boolean()
            self.disconnect(_NO_MORE_METHODS)
            if partial and "keyboard-interactive" in methods:
                raise PersonNeededError
            raise access_denied("the SSH server does not accept this login")
        else:
            raise RemoteProtocolError(f"message {number} out of order", code=DISCONNECT_PROTOCOL_ERROR)

    def _opening(self, number: int, reader: Reader) -> None:
        if number == MSG_CHANNEL_OPEN_FAILURE:
            reader.uint32()
            reader.uint32()
            reason = reader.text()
            self.disconnect()
            raise access_denied(reason or "the server opens no session")
        if number in (MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE):
            return  # of a keepalive
        if number != MSG_CHANNEL_OPEN_CONFIRMATION:
            raise RemoteProtocolError(f"message {number} out of order", code=DISCONNECT_PROTOCOL_ERROR)
        reader.uint32()
        self._peer = put_uint32(reader.uint32())
        self._window = reader.uint32()
        self._packet_bytes = min(reader.uint32(), PACKET_BYTES)
        for name, value in self._variables.items():
            self._request("env", put_text(name) + put_text(value))
        self._request("exec", put_string(self._command), reply=True)

    def _in_session(self, number: int, reader: Reader) -> None:
        assert self._peer is not None, "the channel is open"
        if number == MSG_GLOBAL_REQUEST:
            self._global_request(reader)
            return
        if number in (MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE):
            return  # of a keepalive
        if number == MSG_CHANNEL_OPEN:
            reader.string()
            self._send(MSG_CHANNEL_OPEN_FAILURE, put_uint32(reader.uint32()) + put_uint32(1) + 2 * put_string(b""))
            return
        if reader.uint32() != 0:
            raise RemoteProtocolError("there is no such channel", code=DISCONNECT_PROTOCOL_ERROR)
        if number == MSG_CHANNEL_DATA:
            self._took(STDOUT, reader.string())
        elif number == MSG_CHANNEL_EXTENDED_DATA:
            kind, data = reader.uint32(), reader.string()
            self._took(STDERR if kind == _EXTENDED_STDERR else 0, data)
        elif number == MSG_CHANNEL_WINDOW_ADJUST:
            self._window += reader.uint32()
            if self._window > 0xFFFF_FFFF:
                raise RemoteProtocolError("the window is larger than there is", code=DISCONNECT_PROTOCOL_ERROR)
        elif number == MSG_CHANNEL_REQUEST:
            self._channel_request(reader)
        elif number == MSG_CHANNEL_SUCCESS:
            self.started = True
        elif number == MSG_CHANNEL_FAILURE:
            self.disconnect()
            raise access_denied("the server refused to start it")
        elif number == MSG_CHANNEL_CLOSE:
            self.started = True
            self._send(MSG_CHANNEL_CLOSE, self._peer)
            self.disconnect()
        elif number != MSG_CHANNEL_EOF:
            raise RemoteProtocolError(f"message {number} out of order", code=DISCONNECT_PROTOCOL_ERROR)

    def _took(self, descriptor: int, data: bytes) -> None:
        self._receivable -= len(data)
        if self._receivable < 0:
            raise RemoteProtocolError("more data than the window allows", code=DISCONNECT_PROTOCOL_ERROR)
        if descriptor:
            self.arrived.append((descriptor, data))
        else:
            self.taken(len(data))

    def _channel_request(self, reader: Reader) -> None:
        assert self._peer is not None, "the channel is open"
        kind, reply = reader.text(), reader.boolean()
        if kind == "exit-status":
            self.status = reader.uint32() & 0xFF
        elif kind == "exit-signal":
            self.signal = reader.text()
        if reply:
            known = kind in _REPLY_WANTED
            self._send(MSG_CHANNEL_SUCCESS if known else MSG_CHANNEL_FAILURE, self._peer)

    def _global_request(self, reader: Reader) -> None:
        kind, reply = reader.text(), reader.boolean()
        if reply:
            self._send(MSG_REQUEST_SUCCESS if kind in _REPLY_WANTED else MSG_REQUEST_FAILURE, b"")

    def _disconnected(self, reader: Reader) -> None:
        code, text = reader.uint32(), reader.string()[:256].decode("utf-8", "replace")
        self.over = True
        kind = Kind.ACCESS_DENIED if code == _NO_MORE_METHODS else Kind.CONNECTION_PROBLEM
        printable = "".join(letter for letter in text if letter.isprintable())
        raise TeleportError(kind, f"the SSH server closed the connection: {printable}")
