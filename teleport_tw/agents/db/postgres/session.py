"""
A user's session with PostgreSQL or CockroachDB: what faces the user, and the relay to the database.

TLS has ended when bytes come here, so a question for it is answered with no. What the user sends is decoded, judged and
told before it goes on; what the database sends goes on at once, and only headers are looked at behind it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.agents.db.flow import Session
from teleport_tw.agents.db.postgres import faults, texts
from teleport_tw.agents.db.postgres.audit import FEW, MANY, Audit
from teleport_tw.agents.db.postgres.cancel import Keys, relay
from teleport_tw.agents.db.postgres.login import Login, Standing
from teleport_tw.agents.db.postgres.startup import Wanted, judged
from teleport_tw.base.errors import RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.dial.lifetime import Ending
from teleport_tw.events.kinds import DatabaseMalformedPacket
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.machine import ServerSide, State
from teleport_tw.protocols.postgres.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupMessage
from teleport_tw.protocols.postgres.wire import Decoder, OpeningDecoder, Walker

OPENING_SECONDS = 30.0
"""How long a client may take for its first packets; it has nothing to wait for."""
PASSWORD_SECONDS = 120.0
"""How long somebody may take to type a password."""


class PostgresEngine:
    """
    An L{teleport_tw.agents.db.flow.Engine}; serves C{postgres} and C{cockroachdb}.

    @ivar keys: of sessions here, for cancel requests.
    """

    def __init__(self) -> None:
        self.keys = Keys()

    def serve(self, session: Session) -> IProtocol:
        """
        @return: faces the user.
        """
        return UserSide(session, self.keys)


class UserSide(Protocol):
    """
    Faces the user.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, session: Session, keys: Keys) -> None:
        self._session = session
        self._keys = keys
        self._machine = ServerSide()
        self._opening: OpeningDecoder | None = OpeningDecoder()
        self._asked: set[type] = set()
        self._decoder = Decoder.of_user()
        self._limit: IDelayedCall | None = None
        self._password: Deferred[Secret[bytes]] | None = None
        self._login: Deferred[None] | None = None
        self._database: DatabaseSide | None = None
        self._standing: Standing | None = None
        self._audit = Audit(session.telling)
        self._held_back = False
        self._gone = False
        session.ending = self._end

    # --- transport -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """
        The client speaks first.
        """
        self._limit = self._session.clock.callLater(OPENING_SECONDS, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        """
        Something from the user.
        """
        self._session.received += len(data)
        if self._machine.state is State.CLOSED:  # it was told so, or has said so itself
            return
        try:
            if self._opening is not None:
                self._open(self._opening, data)
            elif self._database is not None:
                self._relay(data, self._database)
            else:
                self._prove(data)
        except RemoteProtocolError as error:
            self._malformed(error, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user is gone.
        """
        self._gone = True
        self._stop_clock()
        if self._login is not None:
            self._login.cancel()
        if self._database is not None:
            self._database.leave()
        if self._standing is not None and self._standing.key is not None:
            self._keys.forget(self._standing.key)
        self._session.end()

    # --- until a session stands ------------------------------------------------------------------------------------

    def _open(self, decoder: OpeningDecoder, data: bytes) -> None:
        packet = decoder.feed(data)
        while packet is not None:
            self._machine.receive(packet)
            match packet:
                case SSLRequest() | GSSENCRequest():
                    if type(packet) in self._asked:
                        raise RemoteProtocolError("asked for encryption twice", code="08P01")
                    self._asked.add(type(packet))
                    if isinstance(packet, SSLRequest):
                        self._write(self._machine.answer_tls(False))
                    else:
                        self._write(b"N")
                case CancelRequest():
                    self._opening = None
                    self._stop_clock()
                    # not one to be given up when the client leaves, as some do right behind their request
                    self._session.tasks.spawn("relaying a cancel request", self._cancel(packet))
                    return
                case StartupMessage():
                    self._opening = None
                    self._stop_clock()
                    if decoder.rest():
                        raise RemoteProtocolError("data behind the startup packet", code="08P01")
                    self._login = self._session.tasks.spawn("signing in to a database", self._start(packet))
                    return
            packet = decoder.feed(b"")

    async def _start(self, packet: StartupMessage) -> None:
        session = self._session
        try:
            wanted = judged(packet, session.database.protocol)
            self._audit.encoding = texts.encoding_of(packet.get(b"client_encoding"))
            permit = await session.begin(user=wanted.user, name=wanted.database, agent=wanted.application)
            session.startup = wanted.shown
            login = Login(
                session.clock,
                session.commons.threads,
                lambda: session.dial_plain(permit),
                lambda plain: session.secure(permit, plain),
                self._ask,
            )
            standing = await login.run(wanted.packet)
        except CancelledError:
            raise
        except TeleportError as error:
            self._refuse(error)
            return
        except RemoteProtocolError as error:
            self._session.refuse_opening(error)
            self._fail(faults.error_of(error))
            return
        except Exception as error:
            self._log.failure("a PostgreSQL session could not be made")
            session.end(str(error))
            self._fail(faults.fatal("XX000", "the session could not be made"))
            return
        if self._gone:
            standing.conversation.close()
            session.end()
            return
        self._stand(wanted, standing)

    def _stand(self, wanted: Wanted, standing: Standing) -> None:
        """
        Tell the user of everything the server told us, and begin to relay.
        """
        session, machine = self._session, self._machine
        self._standing = standing
        key = standing.key
        if key is not None:
            self._keys.remember(key, session)
        session.started(
            postgres_pid=key.process_id if key is not None else None,
            server_version=standing.setting(b"server_version").decode("utf-8", "replace"),
            startup_parameters=session.startup,
        )
        greeting: list[m.Backend] = []
        if standing.version < wanted.version or wanted.unknown:
            greeting.append(m.NegotiateProtocolVersion(standing.version, wanted.unknown))
        greeting += [m.Authentication(m.Auth.OK), *standing.messages, standing.ready]
        for fact in standing.messages:
            self._audit.database(fact)
        self._write(b"".join(map(machine.send, greeting)))
        conversation = standing.conversation
        self._database = database = DatabaseSide(self, self._audit, session)
        transport: Any = conversation.transport
        early = b"".join(map(encode_late, conversation.pending())) + conversation.unread()
        database.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.protocol = database
        user: Any = self.transport
        user.registerProducer(transport, True)
        transport.registerProducer(Reading(user), True)
        if early:
            database.dataReceived(early)
        if self._decoder.waiting:
            self._relay(self._decoder.rest(), database)

    def _prove(self, data: bytes) -> None:
        """
        Before the session stands, the client may send a password it was asked for, or leave.
        """
        for message in self._decoder.feed(data):
            self._machine.receive(message)
            match message:
                case m.PasswordMessage(secret) if self._password is not None:
                    password, self._password = self._password, None
                    password.callback(Secret(secret.reveal().removesuffix(b"\0")))
                case m.Terminate():
                    self._close()
                    return
                case _:
                    raise RemoteProtocolError("a password that nobody asked for", code="08P01")

    async def _ask(self) -> Secret[bytes]:
        """
        The server wants a password: this host's, else only the user may know it.
        """
        permit = self._session.permit
        ours = await self._session.password(permit) if permit is not None else None
        if ours is not None:
            return ours
        if permit is not None and permit.grants is not None:
            raise access_denied("the database asks for a password of an automatic user; let it accept certificates")
        self._password = Deferred(lambda _: None)
        waiting = self._password.addTimeout(PASSWORD_SECONDS, self._session.clock)
        self._write(self._machine.send(m.Authentication(m.Auth.CLEARTEXT)))
        try:
            return await waiting
        finally:
            self._password = None

    async def _cancel(self, packet: CancelRequest) -> None:
        try:
            await relay(packet, self._session, self._keys)
        except TeleportError as error:
            self._log.info("a cancel request was not passed on: {error}", error=error.details or error.message)
        finally:
            self._close()

    # --- the relay -------------------------------------------------------------------------------------------------

    def _relay(self, data: bytes, database: DatabaseSide) -> None:
        session, machine, audit = self._session, self._machine, self._audit
        leaving = False
        for message in self._decoder.feed(data):
            machine.receive(message)
            if type(message) is m.Terminate:
                leaving = True
                break
            audit.user(message)
        session.touch()
        database.write(data)
        if leaving:
            self._close()
        elif audit.waiting > MANY and not self._held_back:
            self._held_back = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def answered(self) -> None:
        """
        The database has answered something.
        """
        if self._held_back and self._audit.waiting < FEW:
            self._held_back = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def database_lost(self, told: bool) -> None:
        """
        The database has closed the connection, without a word if it could not say one.
        """
        if not told and self._machine.state is State.ACTIVE:
            text = "the database has closed the connection; it may be restarting"
            self._write(self._machine.send(faults.fatal("08006", text)))
        self._close()

    # --- ends ------------------------------------------------------------------------------------------------------

    def _end(self, ending: Ending) -> None:
        """
        A lock, idleness, expiry: say so at the next message's end, and have the server stop what it does.
        """
        if self._machine.state is State.CLOSED:
            self._close()
            return
        farewell = faults.goodbye(ending)
        standing, database = self._standing, self._database
        if standing is None or database is None:
            self._fail(farewell)
            return
        if standing.key is not None and self._audit.waiting:
            cancel = CancelRequest(standing.key.process_id, standing.key.secret)
            self._session.commons.tasks.spawn(
                "stopping a statement whose session ends", relay(cancel, self._session, self._keys)
            )
        database.goodbye(self._machine.send(farewell))

    def _refuse(self, error: TeleportError) -> None:
        from teleport_tw.agents.db.postgres.conversation import ServerError

        self._session.end(error)
        self._fail(error.response if isinstance(error, ServerError) else faults.error_of(error))

    def _malformed(self, error: RemoteProtocolError, data: bytes) -> None:
        if self._session.permit is not None:
            self._session.telling.emit(
                DatabaseMalformedPacket(**self._session.telling.facts, payload=data[:64], error=str(error))
            )
        if self._database is not None:
            self._database.goodbye(self._machine.send(faults.error_of(error)))
        else:
            self._fail(faults.error_of(error))

    def _fail(self, error: m.ErrorResponse) -> None:
        if self._machine.state is not State.CLOSED:
            self._write(self._machine.send(error))
        self._close()

    def _too_slow(self) -> None:
        self._limit = None
        self._fail(faults.fatal("57014", f"no startup packet within {OPENING_SECONDS:.0f} seconds"))

    def _stop_clock(self) -> None:
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._limit = None

    def _write(self, data: bytes) -> None:
        if not self._gone:
            self._session.sent += len(data)
            self.transport.write(data)  # type: ignore[union-attr]

    def _close(self) -> None:
        if self._gone:
            return
        self._stop_clock()
        user: Any = self.transport
        if self._database is not None:
            user.unregisterProducer()
        user.loseConnection()


@implementer(IPushProducer)
class Reading:
    """
    The user's transport as the producer of what the database is sent: when the database is lost, the user is still to
    hear of it, so it does not stop with it.
    """

    def __init__(self, user: Any) -> None:
        self.pauseProducing = user.pauseProducing
        self.resumeProducing = user.resumeProducing

    def stopProducing(self) -> None:
        """
        L{UserSide.database_lost} will do that.
        """


def encode_late(message: Any) -> bytes:
    """
    @return: a message that came behind the server's first ReadyForQuery, as it was.
    """
    from teleport_tw.protocols.postgres.wire import encode

    return encode(message)


class DatabaseSide(Protocol):
    """
    Faces the database while a session stands.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, user: UserSide, audit: Audit, session: Session) -> None:
        self._user = user
        self._audit = audit
        self._session = session
        self._walker = Walker()
        self._farewell = b""
        self._told = False
        self._lost = False
        self.write: Any = None

    def connectionMade(self) -> None:
        """
        What is written goes straight to the transport.
        """
        self.write = self.transport.write  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """
        Something from the database: on to the user, then a look at it.
        """
        session = self._session
        if self._farewell:
            self._finish(data)
            return
        session.sent += len(data)
        self._user.transport.write(data)  # type: ignore[union-attr]
        session.touch()
        try:
            told = self._walker.feed(data)
        except RemoteProtocolError as error:
            self._log.error(
                "the database {name} broke its protocol: {error}", name=session.telling.target.name, error=str(error)
            )
            self._close()
            return
        if told:
            audit = self._audit
            for message in told:
                audit.database(message)
                if type(message) is m.ErrorResponse and message.fatal:
                    self._told = True
            self._user.answered()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The database is gone.
        """
        self._lost = True
        self.write = lambda data: None
        self._user.database_lost(self._told or self._walker.ahead != 0)

    def leave(self) -> None:
        """
        The user is gone.
        """
        if not self._lost:
            self.write(b"X\0\0\0\4")
            self._close()

    def goodbye(self, farewell: bytes) -> None:
        """
        Send this to the user between two messages of the database, then end both.
        """
        if self._farewell:
            return
        self._farewell = farewell
        self._finish(b"")

    def _finish(self, data: bytes) -> None:
        ahead = self._walker.ahead
        if ahead is None or ahead > len(data):
            self._user.transport.write(data)  # type: ignore[union-attr]
            self._walker.feed(data)
            return
        self._user.transport.write(data[:ahead] + self._farewell)  # type: ignore[union-attr]
        self._user.database_lost(told=True)
        self.leave()

    def _close(self) -> None:
        transport: Any = self.transport
        if not self._lost:
            transport.unregisterProducer()
            transport.loseConnection()
