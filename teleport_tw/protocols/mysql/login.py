"""
Both sides of a login: what may come next, and what we say to it.

Theory of operation. L{SERVER_TRANSITIONS} and L{CLIENT_TRANSITIONS} say which packet may come in which state; a step
that is not there is the peer's mistake. L{ServerLogin} faces a user. It asks for no password, the certificate of the
connection having proved who they are, and so must only bring the client's plugin to its own end: a client says at
once what it would answer, and takes an OK then; but one whose plugin has not heard a scramble of its own kind waits
for a switch to its plugin, and C{caching_sha2_password} waits to hear that its answer was known. L{ClientLogin} faces
a target: TLS before anything else is said, then whatever plugin the server wants, one answer each.

@see: MySQL 8.4 source documentation, I{Connection Phase}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import define, evolve, field, frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql import scramble
from teleport_tw.protocols.mysql.capabilities import ESSENTIAL, Capability
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.handshake import (
    encode_greeting,
    encode_more,
    encode_response,
    encode_ssl_request,
    encode_switch,
    parse_answer,
    parse_greeting,
    parse_response,
)
from teleport_tw.protocols.mysql.messages import (
    AuthMore,
    AuthSwitch,
    Err,
    Greeting,
    HandshakeResponse,
    Ok,
    SslRequest,
)
from teleport_tw.protocols.mysql.wire import Packets, malformed

MAX_ROUNDS = 8
"""Switches and answers of one login: more is a server that keeps us busy."""


class State(Enum):
    """
    Where a login stands, on either side.
    """

    NEW = "nothing was said"
    GREETED = "the server has greeted"
    SECURING = "the client has asked for TLS"
    PROVING = "the plugins talk"
    DONE = "it is decided, one way or the other"


class Input(Enum):
    """
    What moves a login.
    """

    GREETING = "greeting"
    SSL_REQUEST = "request for TLS"
    RESPONSE = "handshake response"
    SWITCH = "switch of plugin"
    MORE = "data of a plugin"
    ANSWER = "answer of the client's plugin"
    OK = "OK"
    ERR = "error"


_BOTH: Mapping[tuple[State, Input], State] = {
    (State.NEW, Input.GREETING): State.GREETED,
    (State.NEW, Input.ERR): State.DONE,
    (State.PROVING, Input.SWITCH): State.PROVING,
    (State.PROVING, Input.MORE): State.PROVING,
    (State.PROVING, Input.ANSWER): State.PROVING,
    (State.PROVING, Input.OK): State.DONE,
    (State.PROVING, Input.ERR): State.DONE,
}

SERVER_TRANSITIONS: Mapping[tuple[State, Input], State] = {
    **_BOTH,
    (State.GREETED, Input.RESPONSE): State.PROVING,
    (State.GREETED, Input.ERR): State.DONE,
}
"""Facing a user: TLS, where there is any, was the proxy's."""

CLIENT_TRANSITIONS: Mapping[tuple[State, Input], State] = {
    **_BOTH,
    (State.GREETED, Input.SSL_REQUEST): State.SECURING,
    (State.SECURING, Input.RESPONSE): State.PROVING,
}
"""Facing a target: never without TLS."""


@frozen
class Say:
    """
    Bytes for the peer.
    """

    data: bytes


@frozen
class Introduced:
    """
    The user's client has said who it is; go on with L{ServerLogin.welcome} or L{ServerLogin.refuse}.
    """

    response: HandshakeResponse


@frozen
class Greeted:
    """
    The target has greeted; go on with L{ClientLogin.secure}.
    """

    greeting: Greeting


@frozen
class Welcome:
    """
    The target has taken us.

    @ivar rest: bytes that came behind.
    """

    ok: Ok
    rest: bytes


@frozen
class Refused:
    """
    The target has not.
    """

    error: Err


@define(eq=False)
class ServerLogin:
    """
    Facing a user.

    @ivar greeting: ours, or what a proxy has said in our name.
    """

    greeting: Greeting
    state: State = field(default=State.NEW, init=False)
    response: HandshakeResponse | None = field(default=None, init=False)
    _packets: Packets = field(factory=Packets, init=False)
    _plugin: str = field(default="", init=False)
    _scrambles: bool = field(default=False, init=False)

    @classmethod
    def opened(cls, packet: bytes) -> ServerLogin:
        """
        Go on where a proxy has begun.

        @param packet: the greeting that it has sent, whole. The client's request for TLS came after it.
        @raise RemoteProtocolError: it is none.
        """
        packets = Packets()
        payload = next(packets.feed(packet), None)
        greeting = parse_greeting(payload) if payload is not None else None
        if not isinstance(greeting, Greeting) or packets.rest:
            raise malformed("an opening that is no greeting")
        login = cls(greeting)
        login.state = State.GREETED
        login._packets.sequence = 2
        return login

    def start(self) -> bytes:
        """
        @return: the greeting, where nobody has sent it; empty where a proxy has.
        """
        if self.state is not State.NEW:
            return b""
        self._step(Input.GREETING)
        return self._packets.encode(encode_greeting(self.greeting))

    def feed(self, data: bytes) -> list[Say | Introduced]:
        """
        @return: what to do, in order. After L{Introduced} the client is silent until it hears of us.
        @raise RemoteProtocolError: a packet that is not due.
        """
        done: list[Say | Introduced] = []
        for payload in self._packets.feed(data):
            if self.state is State.GREETED:
                self._respond(payload, done)
            else:
                self._step(Input.ANSWER)
                self._proved(payload, done)
            if self._packets.rest and self.state is not State.DONE:
                raise RemoteProtocolError("the client did not wait for its turn", code=Errno.PACKETS_OUT_OF_ORDER)
        return done

    def welcome(self, payload: bytes) -> bytes:
        """
        @param payload: of the OK.
        @return: its packet; commands follow.
        """
        self._step(Input.OK)
        return self._packets.encode(payload)

    def refuse(self, payload: bytes) -> bytes:
        """
        @param payload: of the error.
        @return: its packet; the connection is to be closed.
        """
        if self.state is State.DONE:
            return b""
        self._step(Input.ERR)
        return self._packets.encode(payload)

    def _respond(self, payload: bytes, done: list[Say | Introduced]) -> None:
        response = parse_response(payload)
        if isinstance(response, SslRequest):
            raise RemoteProtocolError("TLS was not offered", code=Errno.NOT_SUPPORTED_YET)
        lacking = ESSENTIAL & ~response.capabilities
        if lacking:
            raise RemoteProtocolError(f"the client lacks {lacking!r}", code=Errno.NOT_SUPPORTED_YET)
        self._step(Input.RESPONSE)
        # a client that takes what was not offered would read us wrongly later
        taken = response.capabilities & (self.greeting.capabilities | Capability.SSL)
        self.response = evolve(response, capabilities=taken)
        plugin = response.plugin
        if plugin in ("", self.greeting.plugin):
            done.append(Introduced(self.response))
            return
        known = plugin in (scramble.CACHING_SHA2, scramble.CLEAR)
        self._plugin = plugin if known else scramble.NATIVE
        self._step(Input.SWITCH)
        data = b"" if self._plugin == scramble.CLEAR else self.greeting.scramble + b"\0"
        done.append(Say(self._packets.encode(encode_switch(AuthSwitch(self._plugin, data)))))

    def _proved(self, payload: bytes, done: list[Say | Introduced]) -> None:
        if self.response is None or not self._plugin:
            raise RemoteProtocolError("the client did not wait for its turn", code=Errno.PACKETS_OUT_OF_ORDER)
        if self._plugin == scramble.CACHING_SHA2 and payload not in (b"", b"\0"):
            self._step(Input.MORE)
            done.append(Say(self._packets.encode(encode_more(AuthMore(scramble.FAST_AUTH_OK)))))
        self._plugin = ""
        done.append(Introduced(self.response))

    def _step(self, what: Input) -> None:
        self.state = _after(SERVER_TRANSITIONS, self.state, what)


@define(eq=False)
class ClientLogin:
    """
    Facing a target.

    @ivar password: mostly none: the certificate proves the user.
    @ivar nonce: 32 random bytes, for C{parsec}.
    @ivar greeting: the target's, once it is there.
    """

    password: Secret[bytes]
    nonce: bytes
    state: State = field(default=State.NEW, init=False)
    greeting: Greeting | None = field(default=None, init=False)
    _packets: Packets = field(factory=Packets, init=False)
    _capabilities: Capability = field(default=Capability(0), init=False)
    _response: HandshakeResponse | None = field(default=None, init=False)
    _plugin: str = field(default="", init=False)
    _scramble: bytes = field(default=b"", init=False)
    _rounds: int = field(default=0, init=False)

    @property
    def rest(self) -> bytes:
        """
        What came behind the last packet. Before TLS there must be nothing.
        """
        return self._packets.rest

    @property
    def decided(self) -> bool:
        """
        Whether the target has said yes or no.
        """
        return self.state is State.DONE

    def feed(self, data: bytes) -> list[Say | Greeted | Welcome | Refused]:
        """
        @return: what to do, in order.
        @raise RemoteProtocolError: a packet that is not due, or a wish that cannot be met.
        """
        done: list[Say | Greeted | Welcome | Refused] = []
        if self.state in (State.GREETED, State.SECURING, State.DONE):
            raise RemoteProtocolError("the server did not wait for its turn", code=Errno.PACKETS_OUT_OF_ORDER)
        for payload in self._packets.feed(data):
            if self.state is State.NEW:
                self._greeted(payload, done)
                break
            self._answered(payload, done)
            if self.decided:
                break
        return done

    def secure(self, response: HandshakeResponse) -> bytes:
        """
        Ask for TLS.

        @param response: what to say inside of it, without authentication.
        @return: the packet; start TLS behind it, then say what L{secured} gives.
        @raise RemoteProtocolError: the server has no TLS.
        """
        greeting = self.greeting
        if greeting is None or not greeting.capabilities & Capability.SSL:
            raise RemoteProtocolError("the server offers no TLS", code=Errno.NOT_SUPPORTED_YET)
        self._step(Input.SSL_REQUEST)
        self._response, self._capabilities = response, response.capabilities
        return self._packets.encode(
            encode_ssl_request(
                SslRequest(capabilities=response.capabilities, charset=response.charset, max_packet=response.max_packet)
            )
        )

    def secured(self) -> bytes:
        """
        @return: the handshake response, to go over TLS.
        """
        self._step(Input.RESPONSE)
        assert self.greeting is not None  # the states before have both
        assert self._response is not None
        self._plugin = self.greeting.plugin if self.greeting.plugin in scramble.PLUGINS else scramble.NATIVE
        self._scramble = self.greeting.scramble
        auth = scramble.first_answer(self._plugin, self.password, self._scramble)
        return self._packets.encode(encode_response(evolve(self._response, auth=Secret(auth), plugin=self._plugin)))

    def _greeted(self, payload: bytes, done: list[Say | Greeted | Welcome | Refused]) -> None:
        greeting = parse_greeting(payload)
        if isinstance(greeting, Err):
            self._step(Input.ERR)
            done.append(Refused(greeting))
            return
        self._step(Input.GREETING)
        lacking = ESSENTIAL & ~greeting.capabilities
        if lacking:
            raise RemoteProtocolError(f"the server lacks {lacking!r}", code=Errno.NOT_SUPPORTED_YET)
        self.greeting = greeting
        done.append(Greeted(greeting))

    def _answered(self, payload: bytes, done: list[Say | Greeted | Welcome | Refused]) -> None:
        match parse_answer(payload, self._capabilities):
            case Ok() as ok:
                self._step(Input.OK)
                done.append(Welcome(ok, self._packets.rest))
            case Err() as error:
                self._step(Input.ERR)
                done.append(Refused(error))
            case AuthSwitch(plugin, data):
                self._step(Input.SWITCH)
                # 20 or 32 bytes, which most plugins end with a NUL
                self._plugin, self._scramble = plugin, data.removesuffix(b"\0") if len(data) % 4 else data
                self._prove(scramble.first_answer(plugin, self.password, self._scramble), done)
            case more:
                self._step(Input.MORE)
                self._more(more.data, done)

    def _more(self, data: bytes, done: list[Say | Greeted | Welcome | Refused]) -> None:
        if self._plugin == scramble.CACHING_SHA2 and data == scramble.FAST_AUTH_OK:
            return
        if self._plugin == scramble.CACHING_SHA2 and data == scramble.FULL_AUTH:
            self._prove(self.password.reveal() + b"\0", done)
        elif self._plugin == scramble.PARSEC:
            self._prove(scramble.parsec(self.password, self._scramble, self.nonce, data), done)
        else:
            raise malformed(f"data that plugin {self._plugin!r} does not know")

    def _prove(self, answer: bytes, done: list[Say | Greeted | Welcome | Refused]) -> None:
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise RemoteProtocolError("the server asks without end", code=Errno.ACCESS_DENIED_ERROR)
        self._step(Input.ANSWER)
        done.append(Say(self._packets.encode(answer)))

    def _step(self, what: Input) -> None:
        self.state = _after(CLIENT_TRANSITIONS, self.state, what)


def _after(table: Mapping[tuple[State, Input], State], state: State, what: Input) -> State:
    """
    @raise RemoteProtocolError: that may not come now.
    """
    after = table.get((state, what))
    if after is None:
        raise RemoteProtocolError(f"{what.value} does not belong where {state.value}", code=Errno.PACKETS_OUT_OF_ORDER)
    return after
