"""
One user's connection to a MongoDB server.

A user's messages are taken whole and judged one by one: which databases they name, and whether that is for users to
say at all. The server's stream passes by chunk; only how answers begin is looked at. Answers of ours go out between
two of the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.agents.db.flow import Permit, Session
from teleport_tw.agents.db.mongodb import faults
from teleport_tw.agents.db.mongodb.login import login, proof_of
from teleport_tw.agents.db.mongodb.talk import Talk
from teleport_tw.agents.db.policy import MAX_QUERY
from teleport_tw.agents.db.telling import Running
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.dial.lifetime import Ending
from teleport_tw.events.kinds import DatabaseMalformedPacket
from teleport_tw.protocols.mongodb import commands, documents, wire
from teleport_tw.protocols.mongodb.commands import Command
from teleport_tw.protocols.mongodb.messages import Flag, Message, Query, Request

FIRST_SECONDS = 30.0
"""A client that has connected says hello at once."""

LOGIN_SECONDS = 20.0

MAX_WAITING = 1024
"""Requests without an answer; drivers have one, or a few."""

_SIGNS_IN = ("speculativeAuthenticate", "saslSupportedMechs")


class MongoDBEngine:
    """
    See L{teleport_tw.agents.db.flow.Engine}.
    """

    def serve(self, session: Session) -> IProtocol:
        """
        One connection.
        """
        return UserSide(session)


@define(eq=False)
class _Waiting:
    """
    A request that the server has.

    @ivar running: what is told at its end; C{None} for what is not told.
    """

    request: Request
    running: Running | None


class UserSide(Protocol):
    """
    Faces the user.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.target: TargetSide | None = None
        self.waiting: dict[int, _Waiting] = {}
        self._decoder = wire.Decoder()
        self._permit: Permit | None = None
        self._refusal: TeleportError | None = None
        self._deadline: IDelayedCall | None = None
        self._opening: list[wire.Incoming] = []
        self._begun = False
        self._number = 0
        self._over = False
        session.ending = self._goodbye

    # From the user.

    def connectionMade(self) -> None:
        """
        Wait for the first message.
        """
        self._deadline = self.session.clock.callLater(FIRST_SECONDS, self._close)

    def dataReceived(self, data: bytes) -> None:
        """
        Messages, or parts of them.
        """
        self.session.received += len(data)
        try:
            for each in self._decoder.feed(data):
                self._take(each)
        except RemoteProtocolError as error:
            self.session.telling.emit(DatabaseMalformedPacket(**self.session.telling.facts, error=str(error)))
            self._log.info("{user}: {error}", user=self.session.identity.username, error=str(error))
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user is gone.
        """
        self._stop_waiting()
        self._over = True
        if self.target is not None:
            self.target.abort()
        self.session.end("the client left")

    def _take(self, incoming: wire.Incoming) -> None:
        if self._refusal is not None:
            self._refuse(incoming.request, commands.command(incoming.request), self._refusal)
        elif self.target is not None and self._permit is not None:
            self._judge(incoming, self._permit)
        elif len(self._opening) < MAX_WAITING:
            self._opening.append(incoming)
            if not self._begun:
                self._begun = True
                self._stop_waiting()
                transport: Any = self.transport
                transport.pauseProducing()
                self.session.tasks.spawn("opening a MongoDB session", self._open())

    async def _open(self) -> None:
        session = self.session
        try:
            agent = _agent(self._opening[0].request)
            permit = await session.begin(user=session.route.username, agent=agent)
            proof = proof_of(session.database, await session.password(permit), session.commons.threads)
            talk = Talk(await session.dial(permit))
            try:
                await Deferred.fromCoroutine(login(talk.ask, permit.user, proof)).addTimeout(
                    LOGIN_SECONDS, session.clock
                )
            except BaseException:
                talk.close()
                raise
        except CancelledError:
            raise
        except TeleportError as error:
            self._refused(error)
        except RemoteProtocolError as error:
            self._refused(TeleportError(Kind.CONNECTION_PROBLEM, f"the database cannot be understood: {error}"))
        except TimeoutError:
            self._refused(TeleportError(Kind.CONNECTION_PROBLEM, "the database did not answer in time"))
        except Exception:
            self._log.failure("a MongoDB session could not be opened")
            self._refused(TeleportError(Kind.INTERNAL, "the session could not be opened"))
        else:
            self._opened(permit, talk)

    def _opened(self, permit: Permit, talk: Talk) -> None:
        if self._over or talk.lost:
            talk.close()
            self._close()
            return
        target = TargetSide(self, talk.transport)
        self._permit, self.target = permit, target
        self.session.started()
        transport: Any = self.transport
        transport.registerProducer(target.transport, True)
        target.relay(transport)
        self._go_on()

    def _refused(self, error: TeleportError) -> None:
        self.session.end(error)
        self._refusal = error
        if not self._over:
            self._deadline = self.session.clock.callLater(FIRST_SECONDS, self._close)
            self._go_on()

    def _go_on(self) -> None:
        opening, self._opening = self._opening, []
        try:
            for each in opening:
                self._take(each)
        except RemoteProtocolError as error:
            self.session.telling.emit(DatabaseMalformedPacket(**self.session.telling.facts, error=str(error)))
            self._close()
            return
        transport: Any = self.transport
        transport.resumeProducing()

    # Judging.

    def _judge(self, incoming: wire.Incoming, permit: Permit) -> None:
        request, session = incoming.request, self.session
        asked = commands.command(request)
        if asked.key in commands.HELLO:
            if len(asked.body) > wire.MAX_FIRST_BYTES:
                raise RemoteProtocolError(f"a hello of {len(asked.body)} bytes")
            self._forward(incoming, None, _without_sign_in(incoming))
            return
        if asked.key in commands.LIVENESS:
            self._forward(incoming, None, incoming.raw)
            return
        session.touch()
        if asked.databases and asked.databases[0] != session.telling.target.name:
            session.telling.know(name=asked.databases[0])
        text, length = commands.render(request, asked, MAX_QUERY)
        try:
            if asked.key in commands.AUTHENTICATION:
                raise access_denied(f"{asked.name} is not for clients here: your certificate has signed you in already")
            for name in () if asked.key in commands.TRANSACTIONS else asked.databases:
                session.commons.admission.decision(
                    permit.caller, permit.user, name, automatic=permit.grants is not None
                )
            if len(self.waiting) >= MAX_WAITING:
                raise TeleportError(Kind.LIMIT_EXCEEDED, "too many requests without an answer")
        except TeleportError as error:
            session.telling.refused(text, error)
            self._answer(faults.reply(request, faults.document(error), self._next()))
            return
        self._forward(incoming, session.telling.query(text, length=length), incoming.raw)

    def _forward(self, incoming: wire.Incoming, running: Running | None, raw: bytes) -> None:
        assert self.target is not None
        request = incoming.request
        if request.expects_reply:
            if len(self.waiting) >= 2 * MAX_WAITING:
                raise RemoteProtocolError("too many requests without an answer")
            displaced = self.waiting.get(request.header.request_id)
            if displaced is not None and displaced.running is not None:
                # two of one number: which of them an answer is for cannot be known
                self.session.telling.result(displaced.running, ended=False)
            self.waiting[request.header.request_id] = _Waiting(request, running)
        elif running is not None:
            self.session.telling.result(running, ended=False)
        self.target.write(raw)

    def _refuse(self, request: Request, asked: Command, error: TeleportError) -> None:
        self._answer(faults.refused(request, asked, error, self._next()))

    def _next(self) -> int:
        """
        Numbers of our answers; servers' own are small or negative too, and nobody looks at them.
        """
        self._number = (self._number + 1) & 0x7FFF_FFFF
        return self._number

    def _answer(self, data: bytes) -> None:
        if not data:
            return
        if self.target is None:
            transport: Any = self.transport
            transport.write(data)
        else:
            self.target.between(data)

    # From the server.

    def answered(self, answer: wire.Answer) -> None:
        """
        A request has its answer.
        """
        waiting = self.waiting.pop(answer.header.response_to, None)
        if waiting is None:
            return
        exhausts = isinstance(waiting.request, Message) and bool(waiting.request.flags & Flag.EXHAUST_ALLOWED)
        if answer.more or (exhausts and not answer.document):
            # The next answer names this one. Where its flags were not to be seen there may be none; it waits till then.
            self.waiting[answer.header.request_id] = _Waiting(waiting.request, None)
        if waiting.running is not None:
            verdict = commands.verdict(answer.document)
            error = f"{verdict.code_name or verdict.code}: {verdict.error}" if verdict.error else ""
            self.session.telling.result(waiting.running, affected=verdict.rows, error=error)

    def target_lost(self) -> None:
        """
        The server has closed the connection.
        """
        if self._over:
            return
        if self.waiting:
            self._last_words(TeleportError(Kind.CONNECTION_PROBLEM, "the connection to the database was lost"), None)
        self._close()

    # The end.

    def _goodbye(self, ending: Ending) -> None:
        self._last_words(TeleportError(Kind.ACCESS_DENIED, ending.message), faults.INTERRUPTED)
        self._close()

    def _last_words(self, error: TeleportError, code: tuple[int, str] | None) -> None:
        """
        Each request that waits is answered, unless the server is in the middle of an answer.
        """
        waiting, self.waiting = self.waiting, {}
        if self.target is not None and self.target.in_answer:
            return
        transport: Any = self.transport
        for each in waiting.values():
            transport.write(faults.reply(each.request, faults.document(error, code), self._next()))

    def _close(self) -> None:
        self._stop_waiting()
        if self.target is not None:
            self.target.abort()
        transport: Any = self.transport
        if transport is not None:
            transport.unregisterProducer()  # it may be paused, and nobody would let the last words go
            transport.loseConnection()

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


@implementer(IPushProducer)
@define(eq=False)
class _Reads:
    """
    Reading from the user, held back while the server is slow.
    """

    _transport: Any

    def pauseProducing(self) -> None:
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """The server is gone, which the user is told; then we close."""


class TargetSide(Protocol):
    """
    Faces the server.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, user: UserSide, transport: Any) -> None:
        """
        @param transport: signed in, between two answers.
        """
        self._user = user
        self._answers = wire.Answers()
        self._to: Any = None
        self._held_back: list[bytes] = []
        self._lost = False
        self.transport = transport
        transport.protocol = self

    def relay(self, to: Any) -> None:
        """
        From here on bytes go to the user.
        """
        self._to = to
        transport: Any = self.transport
        transport.registerProducer(_Reads(to), True)

    @property
    def in_answer(self) -> bool:
        """
        Whether the user has part of an answer.
        """
        return self._answers.inside

    def write(self, data: bytes) -> None:
        """
        To the server.
        """
        transport: Any = self.transport
        transport.write(data)

    def between(self, data: bytes) -> None:
        """
        An answer of ours, which goes out when the server is at the end of one of its own.
        """
        if self._answers.inside:
            self._held_back.append(data)
        else:
            self._to.write(data)

    def dataReceived(self, data: bytes) -> None:
        """
        Answers, or parts of them.
        """
        try:
            found = self._answers.feed(data)
        except RemoteProtocolError as error:
            self._log.warn("the database speaks no MongoDB: {error}", error=str(error))
            self.abort()
            self._user.target_lost()
            return
        self._user.session.sent += len(data)
        self._to.write(data)
        for answer in found:
            self._user.answered(answer)
        if self._held_back and not self._answers.inside:
            held_back, self._held_back = self._held_back, []
            self._to.write(b"".join(held_back))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The server is gone.
        """
        self._lost = True
        self._user.target_lost()

    def abort(self) -> None:
        """
        Close at once.
        """
        transport: Any = self.transport
        if not self._lost and transport is not None:
            self._lost = True
            transport.abortConnection()


def _agent(request: Request) -> str:
    """
    @return: what a driver calls itself in its hello.
    """
    body = request.body if isinstance(request, Message) else request.query if isinstance(request, Query) else b""
    if not body:
        return ""
    try:
        client = documents.deep(body).get("client")
    except RemoteProtocolError:
        return ""
    if not isinstance(client, dict):
        return ""
    application, driver = client.get("application"), client.get("driver")
    words = [application.get("name")] if isinstance(application, dict) else []
    words += [driver.get("name"), driver.get("version")] if isinstance(driver, dict) else []
    return " ".join(each for each in words if isinstance(each, str))[:128]


def _without_sign_in(incoming: wire.Incoming) -> bytes:
    """
    @return: a hello that offers no signing in, which is ours.
    """
    request = incoming.request
    if isinstance(request, Message):
        read = documents.deep(request.body)
        if not any(name in read for name in _SIGNS_IN):
            return incoming.raw
        return wire.encode_message(_cleared(read), request.header.request_id, 0, request.flags & ~Flag.CHECKSUM_PRESENT)
    if isinstance(request, Query):
        read = documents.deep(request.query)
        if any(name in read for name in _SIGNS_IN):
            return wire.encode_query(request.collection, _cleared(read), request.header.request_id)
    return incoming.raw


def _cleared(read: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in read.items() if name not in _SIGNS_IN}
