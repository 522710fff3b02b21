"""
One user's connection to a Redis server.

A user's commands are judged and told of one by one and sent on together, one write a read; a long one passes in pieces
as it arrives. The server's replies pass by chunk; L{Ledger} knows what each answers, so that ours come in their turn.
Until the server knows the connection as the session's user nothing but signing in gets through, whatever the
server's C{default} user could do; and while it makes up its mind everything behind waits.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.agents.db.flow import Permit, Session
from teleport_tw.agents.db.redis import audit, faults, signing
from teleport_tw.agents.db.redis.login import DEFAULT, login, sign_in
from teleport_tw.agents.db.telling import Running
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.held import Held
from teleport_tw.base.secret import Secret
from teleport_tw.dial.lifetime import Ending
from teleport_tw.events.kinds import DatabaseMalformedPacket
from teleport_tw.protocols.redis.machine import Ledger
from teleport_tw.protocols.redis.messages import Value
from teleport_tw.protocols.redis.replies import Walker
from teleport_tw.protocols.redis.requests import Reader, Request, Rest
from teleport_tw.protocols.redis.wire import Decoder, error

LOGIN_SECONDS = 20.0

REFUSAL_SECONDS = 5.0
"""How long somebody who was refused may take to ask something and hear it."""

MAX_WAITING = 10_000
"""Commands without a reply; a client that has sent so many is not read from until some are answered."""

MAX_PAYLOAD = 256
"""Bytes of what was no Redis that the audit log keeps."""

_SIGNS = {b"AUTH": signing.auth, b"HELLO": signing.hello}
_UNSIGNED = frozenset({b"AUTH", b"HELLO", b"QUIT", b"RESET"})


class RedisEngine:
    """
    See L{teleport_tw.agents.db.flow.Engine}.
    """

    def serve(self, session: Session) -> IProtocol:
        """
        One connection.
        """
        return UserSide(session)


@define(eq=False)
class _Pending:
    """
    A command that may sign the connection in.
    """

    running: Running | None


@implementer(IPushProducer)
class _Reads:
    """
    The user's transport, held back for several reasons at once.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._reasons: set[str] = set()

    def hold(self, reason: str) -> None:
        if not self._reasons:
            self._transport.pauseProducing()
        self._reasons.add(reason)

    def release(self, reason: str) -> None:
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons:
                self._transport.resumeProducing()

    def pauseProducing(self) -> None:
        self.hold("the server is slow")

    def resumeProducing(self) -> None:
        self.release("the server is slow")

    def stopProducing(self) -> None:
        """The server is gone, which the user is told."""


class UserSide(Protocol):
    """
    Faces the user.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.target: TargetSide | None = None
        self._reader = Reader()
        self._refusal: TeleportError | None = None
        self._items: deque[Request | Rest] = deque()
        self._user = session.route.username or DEFAULT
        self._password: Secret[bytes] | None = None
        self._signed_in = False
        self._gate: _Pending | None = None
        self._dropping = False
        self._deadline: IDelayedCall | None = None
        self._over = False
        session.ending = self._goodbye

    # From the user.

    def connectionMade(self) -> None:
        """
        Reach the server first: users of Redis speak first, and wait until they are answered.
        """
        self.reads = _Reads(self.transport)
        self.reads.hold("not connected")
        self.session.tasks.spawn("opening a Redis session", self._open())

    def dataReceived(self, data: bytes) -> None:
        """
        Commands, or parts of them.
        """
        self.session.received += len(data)
        self.session.touch()
        try:
            items = self._reader.feed(data)
        except RemoteProtocolError as fault:
            self.session.telling.emit(
                DatabaseMalformedPacket(**self.session.telling.facts, payload=data[:MAX_PAYLOAD], error=str(fault))
            )
            self.close(f"{faults.CODE} {fault}")
            return
        if self._refusal is not None:
            if any(isinstance(item, Request) for item in items):
                self.close(faults.words(self._refusal))
        elif self._items:
            self._items.extend(items)
        else:
            self._send(deque(items))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user is gone.
        """
        self._over = True
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if self.target is not None:
            self.target.abort()
        self.session.end("the client left")

    async def _open(self) -> None:
        session = self.session
        try:
            permit = await session.begin(user=self._user)
            self._password = await session.password(permit)
            held = await session.dial(permit)
            if self._over:
                held.transport.abortConnection()  # type: ignore[union-attr]
                return
            self.target = TargetSide(self)
            self.target.attach(held)
            await self._sign_in(permit, self.target)
        except CancelledError:
            raise
        except (TeleportError, RemoteProtocolError, TimeoutError) as fault:
            problem = fault if isinstance(fault, TeleportError) else _unclear(fault)
            session.end(problem)
            self._refuse(problem)
            return
        if not self._over:
            session.started()
            self.target.begin()
            self.target.transport.registerProducer(self.reads, True)  # type: ignore[union-attr]
            transport: Any = self.transport
            transport.registerProducer(self.target.transport, True)
            self.reads.release("not connected")

    async def _sign_in(self, permit: Permit, target: TargetSide) -> None:
        asking = Deferred.fromCoroutine(login(target.ask, permit.user, self._password))
        self._signed_in = await asking.addTimeout(LOGIN_SECONDS, self.session.clock)

    def _refuse(self, problem: TeleportError) -> None:
        """
        Tell it to the first command, so that the user's program shows it.
        """
        self._refusal = problem
        if not self._over:
            if self.target is not None:
                self.target.abort()
            self._deadline = self.session.clock.callLater(REFUSAL_SECONDS, self.close)
            self.reads.release("not connected")

    # To the server.

    def _send(self, items: deque[Request | Rest]) -> None:
        """
        Judge commands and send on what may pass, up to one that everything behind must wait for.
        """
        target = self.target
        if target is None or self._over:
            return
        out: list[bytes] = []
        while items and self._gate is None:
            item = items.popleft()
            if isinstance(item, Rest):
                if not self._dropping:
                    out.append(item.octets)
                self._dropping = self._dropping and not item.is_last
            else:
                out += self._judged(item, target.ledger)
        self._items = items
        if items:
            self.reads.hold("signing in")
        elif len(target.ledger) > MAX_WAITING:
            self.reads.hold("too many commands")
        if out:
            target.transport.write(b"".join(out))  # type: ignore[union-attr]

    def _judged(self, request: Request, ledger: Ledger) -> list[bytes]:
        """
        @return: what goes to the server for it.
        """
        name = request.name
        if not self._signed_in and name not in _UNSIGNED:
            return self._denied(request, ledger, faults.SIGN_IN, access_denied(faults.SIGN_IN))
        rule = _SIGNS.get(name)
        if rule is None:
            octets = ledger.ask(request, self._told(request))
            return [octets, *self._again(ledger)] if name == b"RESET" else [octets]
        try:
            sign = rule(request, self._user, self._password)
        except TeleportError as problem:
            return self._denied(request, ledger, faults.words(problem), problem)
        pending = _Pending(self._told(request))
        if sign.signs_in and not self._signed_in:
            self._gate = pending
        request.octets = sign.octets
        return [ledger.ask(request, pending)]

    def _again(self, ledger: Ledger) -> list[bytes]:
        """
        C{RESET} made the connection the default user's: make it the session's again, or wait until the user does.
        """
        if self._user == DEFAULT and self._password is None:
            return []
        self._signed_in = False
        if self._password is None:
            return []
        self._gate = _Pending(None)
        return [ledger.replace(sign_in(self._user, self._password), b"", self._gate)]

    def _told(self, request: Request) -> Running | None:
        policy = self.session.commons.policy
        if not policy.audit:
            return None
        text, length = audit.text(request, policy.parameters)
        return self.session.telling.query(text, length=length)

    def _denied(self, request: Request, ledger: Ledger, line: str, problem: TeleportError) -> list[bytes]:
        text, _ = audit.text(request, self.session.commons.policy.parameters)
        self.session.telling.refused(text, problem)
        self._dropping = not request.is_whole
        if ledger.is_copying:
            self.close()
            return []
        return [ledger.refuse(line, None)]

    # From the server.

    def answered(self, ledger: Ledger) -> None:
        """
        Replies have passed: tell of the ends of their commands, and go on with what waited for them.
        """
        answered, ledger.answered = ledger.answered, []
        result = self.session.telling.result
        for asked, fault in answered:
            about = asked.about
            if type(about) is _Pending:
                self._decided(about, not fault)
                about = about.running
            if about is not None:
                result(about, error=audit.reason(about.text, fault) if fault else "")
        if self._items and self._gate is None:
            self._send(self._items)
            if not self._items:
                self.reads.release("signing in")
        if len(ledger) < MAX_WAITING // 2:
            self.reads.release("too many commands")

    def _decided(self, pending: _Pending, granted: bool) -> None:
        if pending is not self._gate:
            return
        self._gate = None
        self._signed_in = granted
        if not granted and pending.running is None:
            self.close(faults.words("the database does not take the session's user any more"))

    def gone(self) -> None:
        """
        The server is gone.
        """
        target = self.target
        waits = target is not None and target.is_idle and len(target.ledger) > 0
        self.close(faults.words("the database has closed the connection") if waits and not self._refusal else "")

    # Endings.

    def _goodbye(self, ending: Ending) -> None:
        idle = self.target is None or self.target.is_idle
        self.close(faults.words(ending.message) if idle else "")

    def close(self, line: str = "") -> None:
        """
        @param line: the last that the user hears.
        """
        if self._over:
            return
        self._over = True
        transport: Any = self.transport
        if line:
            transport.write(error(line))
        transport.unregisterProducer()
        transport.loseConnection()
        if self.target is not None:
            self.target.abort()


class TargetSide(Protocol):
    """
    Faces the server.

    @ivar ledger: what it was asked.
    """

    def __init__(self, user: UserSide) -> None:
        self._user = user
        self._decoder = Decoder()
        self._asked: Deferred[Value] | None = None
        self._begun = self._lost = False
        self.ledger = Ledger()
        self._walker = Walker(self.ledger)

    @property
    def is_idle(self) -> bool:
        """
        No reply has passed in part.
        """
        return self._walker.is_idle

    def attach(self, held: Held) -> None:
        """
        Take over a connection.
        """
        transport: Any = held.transport
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.protocol = self
        if held.early:
            self.dataReceived(held.early)
        transport.resumeProducing()

    async def ask(self, octets: bytes) -> Value:
        """
        @param octets: a command.
        @return: its answer.
        """
        self._asked = Deferred()
        self.transport.write(octets)  # type: ignore[union-attr]
        return await self._asked

    def begin(self) -> None:
        """
        From now on it is the user whom it answers.
        """
        self._begun = True
        if self._decoder.rest:
            self.dataReceived(self._decoder.rest)

    def dataReceived(self, data: bytes) -> None:
        """
        Replies, or parts of them.
        """
        if not self._begun:
            self._learn(data)
            return
        user, session = self._user, self._user.session
        try:
            pieces = self._walker.feed(data)
        except RemoteProtocolError as fault:
            user.close(faults.words(f"the database does not speak Redis: {fault}"))
            return
        session.touch()
        if pieces:
            passed = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            session.sent += len(passed)
            user.transport.write(passed)  # type: ignore[union-attr]
        if self.ledger.answered:
            user.answered(self.ledger)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It is gone, or we left.
        """
        self._lost = True
        if self._asked is not None and not self._asked.called:
            self._asked.errback(TeleportError(Kind.CONNECTION_PROBLEM, "the Redis server has closed the connection"))
        elif self._begun:
            self._user.gone()

    def abort(self) -> None:
        """
        Leave.
        """
        transport: Any = self.transport
        if not self._lost and transport is not None:
            transport.unregisterProducer()
            transport.loseConnection()

    def _learn(self, data: bytes) -> None:
        try:
            values = self._decoder.feed(data)
        except RemoteProtocolError as fault:
            values = []
            if self._asked is not None and not self._asked.called:
                self._asked.errback(fault)
        for value in values:
            if self._asked is not None and not self._asked.called:
                self._asked.callback(value)


def _unclear(fault: Exception) -> TeleportError:
    text = "it takes too long to answer" if isinstance(fault, TimeoutError) else str(fault)
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the Redis server cannot be signed in to: {text}")
