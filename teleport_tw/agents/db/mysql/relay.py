"""
The two connections of a session that stands, and what goes from one to the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.agents.db.flow import Session
from teleport_tw.agents.db.mysql import faults
from teleport_tw.agents.db.mysql.audit import Audit, Told, name_of, refusal, refusal_packet
from teleport_tw.agents.db.mysql.login import Connected
from teleport_tw.agents.db.telling import Running
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.events.kinds import DatabaseMalformedPacket
from teleport_tw.protocols.mysql.capabilities import Capability, Status, compression
from teleport_tw.protocols.mysql.commands import FILE, Commands, Piece
from teleport_tw.protocols.mysql.compression import Unwrapper, Wrapper
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.handshake import error
from teleport_tw.protocols.mysql.messages import Command, HandshakeResponse
from teleport_tw.protocols.mysql.results import ANSWERS, Answers, Expect, Farewell, FileWanted, Finished, Outcome
from teleport_tw.protocols.mysql.wire import packets

MAX_EARLY_BYTES = 256 * 1024
"""Of commands that came before their turn; then the user is not read from until it is theirs."""
MAX_PAYLOAD = 256

MAX_KILL_BYTES = 64
_KILL = re.compile(rb"(?i)(\s*kill\s+(?:(?:hard|soft)\s+)?(?:(?:connection|query)\s+)?)([0-9]{1,10})(\s*;?\s*)")

_QUIT = packets(bytes((Command.COM_QUIT,)), 0)


@implementer(IPushProducer)
class Valve:
    """
    A transport that is held back for several reasons at once, one of which is that the other side is slow.

    @ivar slow: whether it is.
    """

    def __init__(self, transport: Any, on_room: Callable[[], object]) -> None:
        self._transport = transport
        self._on_room = on_room
        self._reasons: set[str] = set()

    @property
    def slow(self) -> bool:
        """
        Whether the other side takes no more.
        """
        return "slow" in self._reasons

    def hold(self, reason: str) -> None:
        """
        Read no more.
        """
        if not self._reasons:
            self._transport.pauseProducing()
        self._reasons.add(reason)

    def release(self, reason: str) -> None:
        """
        As far as that goes, read again.
        """
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons:
                self._transport.resumeProducing()

    def pauseProducing(self) -> None:
        """
        The other side is slow.
        """
        self.hold("slow")

    def resumeProducing(self) -> None:
        """
        It has caught up.
        """
        self.release("slow")
        self._on_room()

    def stopProducing(self) -> None:
        """
        The other side is gone, which is told elsewhere.
        """


class TargetSide(Protocol):
    """
    Faces the target; hands all on.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def dataReceived(self, data: bytes) -> None:
        """
        Answers.
        """
        self._relay.from_target(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The target is gone.
        """
        self._relay.target_lost()


class Relay:
    """
    See the module.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        session: Session,
        user: Any,
        connected: Connected,
        response: HandshakeResponse,
        renumber: Callable[[int], int],
    ) -> None:
        """
        @param user: the transport.
        @param response: what the user's client can do.
        @param renumber: the target's number of a connection, for the one that a user was told.
        """
        self._renumber = renumber
        self._session = session
        self._user = user
        self._target: Any = connected.transport
        self._rest = connected.rest
        self._commands = Commands()
        self._answers = Answers(connected.capabilities)
        named = bool(connected.capabilities & Capability.QUERY_ATTRIBUTES)
        self._audit = Audit(named, lambda: session.telling.facts, session.commons.policy.kept)
        self._audit.escapes = not connected.ok.status & Status.NO_BACKSLASH_ESCAPES
        self._told: Told | None = None
        self._running: Running | None = None
        self._content: Running | None = None  # of a file, on its way to the target
        self._content_bytes = 0
        self._begun = False  # a command of several pieces is under way
        self._refusing = ""  # why the command that is under way does not pass
        self._file = False  # it is the client's turn to send one
        self._farewell = b""
        self._over = False
        self._pumping = False
        kind = compression(response.capabilities, response.capabilities)
        self._from_user = Unwrapper(kind) if kind else None
        self._to_user = Wrapper(kind, response.zstd_level) if kind else None
        kind = connected.compression
        self._from_target = Unwrapper(kind) if kind else None
        self._to_target = Wrapper(kind, response.zstd_level) if kind else None
        self._reads = Valve(user, self._pump)
        self._answers_in = Valve(self._target, self._unwrap)

    def begin(self) -> None:
        """
        Let it flow.
        """
        side = TargetSide(self)
        side.makeConnection(self._target)  # type: ignore[no-untyped-call]
        self._target.protocol = side
        self._target.registerProducer(self._reads, True)
        self._user.registerProducer(self._answers_in, True)
        if self._rest:
            self.from_target(self._rest)
        self._target.resumeProducing()

    # --- from the user --------------------------------------------------------------------------------------------

    def from_user(self, data: bytes) -> None:
        """
        Commands, or parts of them.
        """
        self._session.touch()
        if self._from_user is not None:
            self._from_user.feed(data)
        else:
            self._commands.feed(data)
        self._pump()

    def _pump(self) -> None:
        """
        Pass on what may pass now.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self._over and not self._farewell and not self._reads.slow:
                if not self._answers.idle and not self._file:
                    break
                piece = self._commands.next()
                if piece is not None:
                    self._pass(piece)
                elif self._from_user is None:
                    break
                else:
                    data = self._from_user.read()
                    if not data:
                        break
                    self._commands.feed(data)
        except RemoteProtocolError as fault:
            self._fault(fault)
        finally:
            self._pumping = False
        early = self._commands.waiting + (self._from_user.waiting if self._from_user is not None else 0)
        if early > MAX_EARLY_BYTES and not self._answers.idle and not self._file:
            self._reads.hold("early")
        else:
            self._reads.release("early")

    def _pass(self, piece: Piece) -> None:
        if self._to_user is not None and self._from_user is not None:
            self._to_user.sequence = self._from_user.sequence + 1 & 0xFF
        if piece.code == FILE:
            self._content_bytes += len(piece.raw)
            if piece.last:
                self._file = False
                self._answers.sequence = piece.sequence
                self._content_ended("")
            self._to(piece.raw, first=False)
            return
        first = not self._begun
        if first:
            self._refusing = refusal(piece.code)
            if piece.code == Command.COM_STMT_PREPARE and self._audit.full:
                self._refusing = "too many prepared statements"
        self._begun = not piece.last
        if self._refusing:
            if piece.last:
                self._refused(piece)
            return
        if not piece.last:
            self._to(piece.raw, first=first)
            return
        if piece.code == Command.COM_QUIT:
            self._over = True
            self._target.write(self._wrapped(piece.raw, first=True))
            self._close(self._target)
            self._close(self._user)
            return
        piece = self._renumbered(piece)
        try:
            told = self._audit.tell(piece)
        except RemoteProtocolError as fault:
            if not first or ANSWERS[piece.code] is Expect.NOTHING:
                raise  # part of it is at the target, or the client expects no answer
            self._malformed(piece, fault)
            return
        if told.fact is not None:
            self._session.telling.emit(told.fact)
        if told.text is not None:
            self._running = self._session.telling.query(
                told.text, told.parameters, event=told.event, length=told.length
            )
        self._told = told
        if not self._answers.expect(piece.code):
            self._told = None
        self._answers.sequence = piece.sequence
        self._to(piece.raw, first=first)

    def _renumbered(self, piece: Piece) -> Piece:
        """
        Ctrl-C of a client is a connection of its own that kills the other one by its number.
        """
        if piece.size > MAX_KILL_BYTES or piece.code not in (Command.COM_QUERY, Command.COM_PROCESS_KILL):
            return piece
        if piece.code == Command.COM_PROCESS_KILL:
            if piece.size != 4:
                return piece
            body = self._renumber(int.from_bytes(piece.body, "little")).to_bytes(4, "little")
        else:
            found = _KILL.fullmatch(piece.body)
            if found is None:
                return piece
            body = b"%s%d%s" % (found[1], self._renumber(int(found[2])), found[3])
        return evolve(piece, raw=packets(bytes((piece.code,)) + body, 0), body=body, size=len(body))

    def _refused(self, piece: Piece) -> None:
        why, self._refusing = self._refusing, ""
        self._session.telling.refused(name_of(piece.code), TeleportError(Kind.NOT_IMPLEMENTED, why))
        if piece.code == Command.COM_STMT_PREPARE:
            payload = error(Errno.MAX_PREPARED_STMT_COUNT_REACHED, f"Teleport: {why}")
        else:
            payload = refusal_packet(piece.code)
        self._reply(packets(payload, piece.sequence + 1))

    def _malformed(self, piece: Piece, fault: RemoteProtocolError) -> None:
        self._session.telling.emit(
            DatabaseMalformedPacket(**self._session.telling.facts, payload=piece.raw[:MAX_PAYLOAD], error=str(fault))
        )
        self._reply(packets(faults.refusal(fault), piece.sequence + 1))

    def _to(self, data: bytes, first: bool) -> None:
        self._target.write(self._wrapped(data, first))

    def _wrapped(self, data: bytes, first: bool) -> bytes:
        if self._to_target is None:
            return data
        if first:
            self._to_target.sequence = 0
        return self._to_target.wrap(data)

    # --- from the target ------------------------------------------------------------------------------------------

    def from_target(self, data: bytes) -> None:
        """
        Answers, or parts of them.
        """
        if self._from_target is None:
            self._answered(data)
        else:
            self._from_target.feed(data)
            self._unwrap()

    def _unwrap(self) -> None:
        if self._from_target is None:
            return
        try:
            while not self._over and not self._answers_in.slow:
                data = self._from_target.read()
                if not data:
                    break
                self._answered(data)
        except RemoteProtocolError as fault:
            self._target_fault(fault)

    def _answered(self, data: bytes) -> None:
        if self._over:
            return
        self._session.touch()
        if self._farewell:
            data = self._up_to_farewell(data)
        try:
            outcomes = self._answers.feed(data)
        except RemoteProtocolError as fault:
            self._target_fault(fault)
            return
        offered = self._told is not None and self._told.offers_file
        if not offered and any(isinstance(outcome, FileWanted) for outcome in outcomes):
            self._target_fault(RemoteProtocolError("the server wants a file that nobody offered"))
            return
        self._reply(data)
        for outcome in outcomes:
            self._done(outcome)
        if self._farewell and self._answers.missing == 0:
            self._say_farewell()
        elif outcomes:
            self._pump()

    def _done(self, outcome: Outcome) -> None:
        match outcome:
            case Finished():
                early = self._file
                self._finished(outcome)
                if early:
                    # servers read a file to its end whatever they think of it; the rest would be commands to this one
                    self._target_fault(RemoteProtocolError("the server answered before the file's end"))
            case FileWanted(name, sequence):
                self._commands.file(sequence)
                self._file = True
                self._content_bytes = 0
                self._content = self._session.telling.query(f"-- the client's file {name!r} is sent")
                if self._to_target is not None and self._from_target is not None:
                    self._to_target.sequence = self._from_target.sequence + 1 & 0xFF
            case Farewell(error):
                self._session.transcript.note(f"the database ended the connection: {error}")

    def _finished(self, done: Finished) -> None:
        told, self._told = self._told, None
        running, self._running = self._running, None
        early, self._file = self._file, False
        if early:
            self._content_ended("the database did not want it")
        self._audit.answered(done)
        text = "" if done.error is None else str(done.error)
        if done.error is not None and told is not None and told.secret:
            text = f"{done.error.errno} ({done.error.state}): what it says is left out, as it may repeat a password"
        if running is not None:
            rows = done.affected if done.rows is None else done.rows + done.affected
            message = f"{rows} rows" if done.rows is not None else f"OK, {rows} rows affected"
            self._session.telling.result(running, affected=rows, error=text, message=message)
        if done.error is None:
            schema = done.schema if done.schema is not None else self._audit.schema
            if schema is not None:
                self._session.telling.know(name=schema)

    def _content_ended(self, error: str) -> None:
        content, self._content = self._content, None
        if content is not None:
            message = f"{self._content_bytes} bytes sent"
            self._session.telling.result(content, error=error, message=message)

    def _reply(self, data: bytes) -> None:
        """
        To the user.
        """
        if not data:
            return
        if self._to_user is not None:
            data = self._to_user.wrap(data)
        self._session.sent += len(data)
        self._user.write(data)

    # --- ends -----------------------------------------------------------------------------------------------------

    def goodbye(self, payload: bytes) -> None:
        """
        We end the session.

        @param payload: of an error packet: goes to the user as soon as no other packet is under way.
        """
        if self._over:
            return
        self._farewell = payload
        if self._answers.missing == 0:
            self._say_farewell()

    def user_lost(self) -> None:
        """
        The user is gone.
        """
        over, self._over = self._over, True
        if over:
            return
        if self._answers.idle and self._commands.between:
            self._target.write(self._wrapped(_QUIT, first=True))
            self._close(self._target)
        else:
            self._target.abortConnection()

    def target_lost(self) -> None:
        """
        The target is gone.
        """
        if not self._over:
            self._farewell = self._farewell or faults.target_gone()
            self._say_farewell(told=self._answers.missing == 0)

    def _up_to_farewell(self, data: bytes) -> bytes:
        missing = self._answers.missing
        return data if missing is None else data[:missing]

    def _say_farewell(self, told: bool = True) -> None:
        if self._over:
            return
        self._over = True
        if told:
            # a client that asks nothing now reads this as the answer to what it asks next
            idle = self._answers.idle
            if idle and self._to_user is not None:
                self._to_user.sequence = 1
            self._reply(packets(self._farewell, 1 if idle else self._answers.sequence + 1))
        self._close(self._user)
        self._target.abortConnection()

    @staticmethod
    def _close(transport: Any) -> None:
        transport.unregisterProducer()
        transport.loseConnection()

    def _fault(self, fault: RemoteProtocolError) -> None:
        """
        The user does not keep to the protocol.
        """
        self._session.telling.emit(
            DatabaseMalformedPacket(**self._session.telling.facts, payload=b"", error=str(fault))
        )
        self._farewell = faults.refusal(fault)
        self._say_farewell(told=self._answers.missing == 0)

    def _target_fault(self, fault: RemoteProtocolError) -> None:
        self._log.warn(
            "database {database} does not keep to its protocol: {fault}",
            database=self._session.database.name,
            fault=str(fault),
        )
        if not self._over:
            self._farewell = faults.refusal(fault)
            self._say_farewell(told=self._answers.missing == 0)
