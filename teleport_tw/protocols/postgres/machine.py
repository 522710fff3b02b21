"""
Who may say what when.

Theory of operation. A connection opens (C{OPENING}: packets without a type), proves who it is (C{PROVING}), is told
of the session (C{STARTING}) and then is C{ACTIVE} until one side leaves. In C{ACTIVE} the protocol is full duplex: a
client may send ahead as much as it likes and a server answers in order, so nothing that a client may send at all is out
of order there; what belongs together is for L{teleport_tw.agents.db.postgres.audit} to find. L{ServerSide} faces a
user, L{ClientSide} a database. Neither knows how a password is checked.

@see: PostgreSQL 17 manual, I{Message Flow}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from attrs import define, field

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.startup import CancelRequest, GSSENCRequest, Opening, SSLRequest, StartupMessage
from teleport_tw.protocols.postgres.wire import encode, encode_opening


class State(Enum):
    """
    What a connection is at.
    """

    OPENING = "has sent no startup packet"
    ASKED_TLS = "has asked for TLS and has no answer"
    PROVING = "is asked who it is"
    STARTING = "is let in and told of the session"
    ACTIVE = "may send statements"
    CLOSED = "is over"


_S = State

_IN_USE: frozenset[type] = frozenset(
    {
        *(m.Query, m.Parse, m.Bind, m.Describe, m.Execute, m.Close, m.Flush, m.Sync),
        *(m.FunctionCall, m.CopyData, m.CopyDone, m.CopyFail),
    }
)
"""What a client says while the session is active, and which leaves it so."""

CLIENT_SAYS: Mapping[tuple[State, type], State] = {
    (_S.OPENING, SSLRequest): _S.ASKED_TLS,
    (_S.OPENING, GSSENCRequest): _S.OPENING,
    (_S.OPENING, CancelRequest): _S.CLOSED,
    (_S.OPENING, StartupMessage): _S.PROVING,
    (_S.PROVING, m.PasswordMessage): _S.PROVING,
    (_S.PROVING, m.Terminate): _S.CLOSED,
    (_S.ACTIVE, m.Terminate): _S.CLOSED,
    **{(_S.ACTIVE, kind): _S.ACTIVE for kind in _IN_USE},
}
"""Messages of a client: the state they may come in, and the one they lead to."""

_ANSWERS: tuple[type, ...] = (
    *(m.CommandComplete, m.DataRow, m.EmptyQueryResponse, m.ParseComplete, m.BindComplete, m.CloseComplete),
    *(m.PortalSuspended, m.NoData, m.CopyInResponse, m.CopyOutResponse, m.CopyBothResponse, m.CopyData, m.CopyDone),
    *(m.FunctionCallResponse, m.NotificationResponse, m.RowDescription, m.ParameterDescription),
    *(m.ReadyForQuery, m.ParameterStatus, m.NoticeResponse, m.ErrorResponse),
)

SERVER_SAYS: Mapping[tuple[State, type], State] = {
    (_S.PROVING, m.Authentication): _S.PROVING,
    (_S.PROVING, m.NegotiateProtocolVersion): _S.PROVING,
    (_S.PROVING, m.NoticeResponse): _S.PROVING,
    (_S.PROVING, m.ErrorResponse): _S.CLOSED,
    (_S.STARTING, m.BackendKeyData): _S.STARTING,
    (_S.STARTING, m.ParameterStatus): _S.STARTING,
    (_S.STARTING, m.NegotiateProtocolVersion): _S.STARTING,
    (_S.STARTING, m.NoticeResponse): _S.STARTING,
    (_S.STARTING, m.ErrorResponse): _S.CLOSED,
    (_S.STARTING, m.ReadyForQuery): _S.ACTIVE,
    **{(_S.ACTIVE, kind): _S.ACTIVE for kind in _ANSWERS},
}
"""Messages of a server, likewise; C{AuthenticationOk} leads on from C{PROVING} to C{STARTING}."""

M = TypeVar("M")


def _after_server(state: State, message: object) -> State | None:
    if isinstance(message, m.Authentication) and message.code == m.Auth.OK and state is State.PROVING:
        return State.STARTING
    return SERVER_SAYS.get((state, type(message)))


@define(eq=False)
class ServerSide:
    """
    Faces a client.
    """

    state: State = field(default=State.OPENING, init=False)

    def receive(self, message: M) -> M:
        """
        @param message: of the client.
        @return: the same, fit to be looked at.
        @raise RemoteProtocolError: it may not say this now.
        """
        if self.state is State.ACTIVE and type(message) in _IN_USE:
            return message
        state = CLIENT_SAYS.get((self.state, type(message)))
        if state is None:
            raise RemoteProtocolError(f"a client that {self.state.value} sent {type(message).__name__}", code="08P01")
        self.state = state
        return message

    def answer_tls(self, agreed: bool) -> bytes:
        """
        @return: the answer to C{SSLRequest}; with TLS or without, the client opens again.
        @raise LocalProtocolError: nobody asked.
        """
        if self.state is not State.ASKED_TLS:
            raise LocalProtocolError("nobody asked for TLS")
        self.state = State.OPENING
        return b"S" if agreed else b"N"

    def send(self, message: m.Backend) -> bytes:
        """
        @raise LocalProtocolError: a server may not say this now.
        """
        state = _after_server(self.state, message)
        if state is None and isinstance(message, m.ErrorResponse) and self.state is not State.CLOSED:
            state = State.CLOSED  # a client that has not said a proper word yet may be refused all the same
        if state is None:
            raise LocalProtocolError(f"to a client that {self.state.value}: {type(message).__name__}")
        self.state = state
        return encode(message)

    def eof(self) -> bool:
        """
        The client sends no more.

        @return: whether it left as it should.
        """
        tidy = self.state in (State.CLOSED, State.OPENING)
        self.state = State.CLOSED
        return tidy


@define(eq=False)
class ClientSide:
    """
    Faces a server.
    """

    state: State = field(default=State.OPENING, init=False)

    def open(self, packet: Opening) -> bytes:
        """
        @raise LocalProtocolError: it is too late for this.
        """
        self._say(packet)
        return encode_opening(packet)

    def tls_answer(self, answer: bytes) -> bool:
        """
        @param answer: the byte that came for C{SSLRequest}.
        @return: whether TLS begins.
        @raise RemoteProtocolError: it is no answer; C{E} begins the error of a server too old to know the question.
        """
        if self.state is not State.ASKED_TLS:
            raise LocalProtocolError("TLS was not asked for")
        if answer not in (b"S", b"N"):
            self.state = State.CLOSED
            raise RemoteProtocolError("the server does not know of TLS", code="08P01")
        self.state = State.OPENING
        return answer == b"S"

    def send(self, message: m.Frontend) -> bytes:
        """
        @raise LocalProtocolError: a client may not say this now.
        """
        self._say(message)
        return encode(message)

    def receive(self, message: M) -> M:
        """
        @param message: of the server.
        @return: the same, fit to be looked at.
        @raise RemoteProtocolError: it may not say this now.
        """
        state = _after_server(self.state, message)
        if state is None:
            raise RemoteProtocolError(
                f"a server whose client {self.state.value} sent {type(message).__name__}", code="08P01"
            )
        self.state = state
        return message

    def eof(self) -> bool:
        """
        The server sends no more.

        @return: whether that was to be expected.
        """
        tidy = self.state is State.CLOSED
        self.state = State.CLOSED
        return tidy

    def _say(self, message: object) -> None:
        state = CLIENT_SAYS.get((self.state, type(message)))
        if state is None:
            raise LocalProtocolError(f"a client that {self.state.value} would send {type(message).__name__}")
        self.state = state
