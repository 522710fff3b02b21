"""
The HTTP that auth's own port answers: a host without a certificate joins.

Before that the host may ask which cluster this is and for its authority, to compare it with the pin it was given. One
request for each connection, small, over TLS that asks for no client certificate; everything else about HTTP is the
proxy's business.

@see: L{teleport_tw.api.joining} for the bodies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import h11
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.api.contract import Certificates, JoinRequest
from teleport_tw.api.joining import MAX_REQUEST, PATH, STATUS, answer_to_json, error_to_json, request_from_json
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.tasks import Tasks

REQUEST_SECONDS = 15.0
"""For the whole request to arrive."""
ANSWER_SECONDS = 30.0
"""For the answer to be made and taken."""

Join = Callable[[JoinRequest], Awaitable[Certificates]]
Tell = Callable[[str], tuple[str, bytes]]
"""What a GET of a path and query answers: its content type and body; raises NOT_FOUND."""


@define(eq=False)
class JoinProtocol(Protocol):
    """
    Server side of one connection.
    """

    join: Join
    tell: Tell
    clock: IReactorTime
    tasks: Tasks
    address: str
    _http: h11.Connection = field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024), init=False
    )
    _request: h11.Request | None = field(default=None, init=False)
    _body: bytearray = field(factory=bytearray, init=False)
    _limit: IDelayedCall | None = field(default=None, init=False)
    _work: Deferred[Any] | None = field(default=None, init=False)
    _log = Logger()

    def connectionMade(self) -> None:
        """
        Wait for the request.
        """
        self._limit = self.clock.callLater(REQUEST_SECONDS, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        """
        Take in a piece of the request.
        """
        if self._work is not None:
            return
        try:
            self._http.receive_data(data)
            self._feed()
        except h11.RemoteProtocolError as error:
            self._answer_error(bad_parameter(f"not HTTP: {error}"))
        except TeleportError as error:
            self._answer_error(error)

    def _feed(self) -> None:
        while True:
            match self._http.next_event():
                case h11.Request() as request:
                    self._request = request
                    if request.method != b"GET" and (request.method, request.target) != (b"POST", PATH.encode()):
                        raise not_found(f"only GET and POST {PATH} are answered here")
                case h11.Data(data=data):
                    self._body += data
                    if len(self._body) > MAX_REQUEST:
                        raise bad_parameter(f"the request is longer than {MAX_REQUEST} bytes")
                case h11.EndOfMessage():
                    assert self._request is not None
                    if self._request.method == b"GET":
                        kind, body = self.tell(self._request.target.decode("ascii", "replace"))
                        self._answer(200, body, kind)
                    else:
                        self._work = self.tasks.spawn("join", self._serve(bytes(self._body)))
                    return
                case _:
                    return

    async def _serve(self, body: bytes) -> None:
        self._set_limit(ANSWER_SECONDS)
        try:
            certificates = await self.join(request_from_json(body, self.address))
        except TeleportError as error:
            self._answer_error(error)
        except Exception:
            self._log.failure("a join failed")
            self._answer_error(TeleportError(Kind.INTERNAL, "internal error; the server's log says more"))
        else:
            self._answer(200, answer_to_json(certificates))

    def _answer_error(self, error: TeleportError) -> None:
        self._answer(STATUS[error.kind], error_to_json(error))

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        if self.transport is None:
            return
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            out = [self._http.send(h11.Response(status_code=status, headers=headers))]
            out.append(self._http.send(h11.Data(data=body)))
            out.append(self._http.send(h11.EndOfMessage()))
            self.transport.write(b"".join(piece for piece in out if piece))
        self._set_limit(ANSWER_SECONDS)
        self.transport.loseConnection()

    def _set_limit(self, seconds: float) -> None:
        if self._limit is not None and self._limit.active():
            self._limit.reset(seconds)

    def _too_slow(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # all of ours have it

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client went; what was under way is finished, so that a used token and its certificate stay a pair.
        """
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self.transport = None


@define(eq=False)
class JoinFactory(Factory):
    """
    @ivar join: the ceremony, for a caller who is nobody yet.
    @ivar tell: the facts that anybody may have.
    """

    join: Join
    tell: Tell
    clock: IReactorTime
    tasks: Tasks

    def buildProtocol(self, addr: IAddress | None) -> JoinProtocol:
        """
        @param addr: the peer's, recorded as where the host joined from.
        """
        return JoinProtocol(self.join, self.tell, self.clock, self.tasks, str(getattr(addr, "host", "")))
