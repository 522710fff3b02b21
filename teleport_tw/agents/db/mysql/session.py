"""
One user's connection to a MySQL or MariaDB server.

The server speaks first, so the user is greeted before anything is known of them but their certificate; by us, or by
the proxy in our name. Once the target has taken us, commands pass one at a time, each judged and told of before its
last byte goes on; what a client sends early waits. Answers pass by chunk, with C{Answers} walking along.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.agents.db.flow import Session
from teleport_tw.agents.db.mysql import faults
from teleport_tw.agents.db.mysql.login import Approach, Connected, approach
from teleport_tw.agents.db.mysql.relay import Relay
from teleport_tw.agents.db.mysql.users import account_of
from teleport_tw.base.errors import RemoteProtocolError, TeleportError
from teleport_tw.dial.lifetime import Ending
from teleport_tw.events.kinds import DatabaseMalformedPacket
from teleport_tw.protocols.mysql.capabilities import Status, offered
from teleport_tw.protocols.mysql.handshake import DEFAULT_VERSION, SCRAMBLE_BYTES, encode_ok
from teleport_tw.protocols.mysql.login import Introduced, Say, ServerLogin
from teleport_tw.protocols.mysql.messages import Greeting, HandshakeResponse, Ok
from teleport_tw.resources.databases import Database

GREETING_SECONDS = 5.0
"""For the target to greet; a user is greeted without it then."""
INTRODUCTION_SECONDS = 30.0
"""For a client to say who it is."""
MAX_PAYLOAD = 256
"""Bytes of what was no MySQL that the audit log keeps."""


class MySQLEngine:
    """
    See L{teleport_tw.agents.db.flow.Engine}.
    """

    def __init__(self) -> None:
        self._greetings: dict[tuple[str, str], Greeting] = {}
        self._numbers: dict[tuple[str, str, int], int] = {}

    def serve(self, session: Session) -> IProtocol:
        """
        One connection.
        """
        return UserSide(session, self)

    def greeting(self, database: Database) -> Greeting | None:
        """
        @return: how the target greeted last.
        """
        return self._greetings.get((database.name, database.uri))

    def met(self, database: Database, greeting: Greeting) -> None:
        """
        A target has greeted.
        """
        self._greetings[database.name, database.uri] = greeting

    def stands(self, session: Session, told: int, number: int) -> None:
        """
        A session stands whose user was told another number of their connection than the target's.

        @param told: as the greeting had it, which a proxy may have sent before there was a connection.
        """
        if told != number:
            self._numbers[session.database.name, session.identity.username, told] = number

    def falls(self, session: Session, told: int) -> None:
        """
        It is over.
        """
        self._numbers.pop((session.database.name, session.identity.username, told), None)

    def number(self, session: Session, told: int) -> int:
        """
        @return: the target's number of a connection of the same user, who kills it by the one that they were told.
        """
        return self._numbers.get((session.database.name, session.identity.username, told), told)


def _greeting(database: Database, known: Greeting | None) -> Greeting:
    version = database.mysql_version or (known.version if known is not None else DEFAULT_VERSION)
    return Greeting(
        version=version,
        connection_id=known.connection_id if known is not None else 1,
        # random bytes, none of them NUL, which ends it
        scramble=bytes(1 + octet % 127 for octet in os.urandom(SCRAMBLE_BYTES)),
        capabilities=offered(known.capabilities if known is not None else None),
        charset=known.charset if known is not None else 45,
        is_mariadb=known.is_mariadb if known is not None else False,
    )


class UserSide(Protocol):
    """
    Faces the user.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, session: Session, engine: MySQLEngine) -> None:
        self.session = session
        self._engine = engine
        self._login: ServerLogin | None = None
        self._approach: Approach | None = None
        self._relay: Relay | None = None
        self._introduced = False
        self._early = b""
        self._told = 0  # number of the connection, as the user knows it
        self._deadline: IDelayedCall | None = None
        self._over = False
        session.ending = self._goodbye

    def connectionMade(self) -> None:
        """
        Greet, where the proxy has not.
        """
        self._deadline = self.session.clock.callLater(INTRODUCTION_SECONDS, self._too_late)
        opening = self.session.header.opening
        if not opening:
            self.session.tasks.spawn("greeting a MySQL client", self._greet())
            return
        try:
            self._login = ServerLogin.opened(opening)
        except RemoteProtocolError as fault:
            self._log.warn("a proxy opened a MySQL session wrongly: {fault}", fault=str(fault))
            self._close()

    def dataReceived(self, data: bytes) -> None:
        """
        Parts of a login, or of commands.
        """
        self.session.received += len(data)
        if self._relay is not None:
            self._relay.from_user(data)
            return
        try:
            self._listen(data)
        except RemoteProtocolError as fault:
            self.session.telling.emit(
                DatabaseMalformedPacket(**self.session.telling.facts, payload=data[:MAX_PAYLOAD], error=str(fault))
            )
            self._refuse(fault)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The user is gone.
        """
        self._over = True
        self._stop_waiting()
        if self._relay is not None:
            self._relay.user_lost()
            self._engine.falls(self.session, self._told)
        elif self._approach is not None:
            self._approach.abort()
        self.session.end("the client left")
        if self.session.permit is None:
            self.session.tasks.cancel()

    # --- the way in -----------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        database = self.session.database
        await self._approach_early(database)
        if self._over:
            return
        known = self._approach.greeting if self._approach is not None else self._engine.greeting(database)
        self._login = ServerLogin(_greeting(database, known))
        self._write(self._login.start())
        early, self._early = self._early, b""
        if early:
            self.dataReceived(early)

    async def _approach_early(self, database: Database) -> None:
        """
        Let the target greet before the user is greeted, so that the user sees its version and the number of their
        connection there, by which clients kill what they have asked for. Whoever may not come in reaches no target.
        """
        session = self.session
        try:
            session.commons.admission.admit(session.caller, session.route.username, session.route.database)
            going = Deferred.fromCoroutine(approach(session.commons.targets, database, GREETING_SECONDS))
            self._approach = await going.addTimeout(GREETING_SECONDS, session.clock)
        except (TeleportError, TimeoutError) as fault:
            # they are told when they have said who they are
            self._log.debug("a MySQL client is greeted without its server: {fault}", fault=str(fault))
            return
        self._engine.met(database, self._approach.greeting)
        if self._over:
            self._approach.abort()

    def _listen(self, data: bytes) -> None:
        if self._login is None or self._introduced:
            # a client that speaks before its turn says nothing that counts
            raise RemoteProtocolError("the client did not wait for its turn")
        for outcome in self._login.feed(data):
            match outcome:
                case Say(octets):
                    self._write(octets)
                case Introduced(response):
                    self._introduced = True
                    self._stop_waiting()
                    self.session.tasks.spawn("opening a MySQL session", self._open(response))

    async def _open(self, response: HandshakeResponse) -> None:
        session = self.session
        user = response.username or session.route.username
        name = response.database or session.route.database
        attributes = response.attributes
        agent = attributes.get("program_name") or attributes.get("_client_name", "")
        if attributes.get("_client_name"):
            agent = f"{attributes['_client_name']} {attributes.get('_client_version', '')}".rstrip()
        try:
            permit = await session.begin(user=user, name=name, agent=agent)
            await session.prepare(permit)
            if self._approach is None:
                self._approach = await approach(session.commons.targets, session.database)
                self._engine.met(session.database, self._approach.greeting)
            account = permit.user if permit.grants is None else account_of(permit.user)
            asked = evolve(response, username=account, database=permit.name)
            password = await session.password(permit)
            connected = await self._approach.enter(session.database, permit.user, asked, password)
        except CancelledError:
            raise
        except TeleportError as fault:
            session.end(fault)
            self._refuse(fault)
            return
        if self._over:
            self._approach.abort()
            return
        session.started(server_version=connected.greeting.version)
        self._begin(connected, response)

    def _begin(self, connected: Connected, response: HandshakeResponse) -> None:
        assert self._login is not None  # it has introduced the user
        # nothing that concerns the state of a session which the user did not see begin
        ok = Ok(status=connected.ok.status & ~Status.SESSION_STATE_CHANGED, warnings=connected.ok.warnings)
        self._write(self._login.welcome(encode_ok(ok)))
        self._told = self._login.greeting.connection_id
        self._engine.stands(self.session, self._told, connected.greeting.connection_id)
        renumber = partial(self._engine.number, self.session)
        self._relay = Relay(self.session, self.transport, connected, response, renumber)
        self._relay.begin()

    # --- the way out ----------------------------------------------------------------------------------------------

    def _goodbye(self, ending: Ending) -> None:
        if self._relay is not None:
            self._relay.goodbye(faults.goodbye(ending.message))
            return
        if self._login is not None:
            self._write(self._login.refuse(faults.goodbye(ending.message)))
        self._close()

    def _refuse(self, fault: TeleportError | RemoteProtocolError) -> None:
        if self._approach is not None:
            self._approach.abort()
        if self._login is not None and not self._over:
            self._write(self._login.refuse(faults.refusal(fault)))
        self._close()

    def _too_late(self) -> None:
        self._deadline = None
        self._close()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        transport: Any = self.transport
        if not self._over:
            transport.loseConnection()

    def _write(self, data: bytes) -> None:
        if data and not self._over:
            self.session.sent += len(data)
            self.transport.write(data)  # type: ignore[union-attr]
