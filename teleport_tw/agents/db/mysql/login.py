"""
Reaching a target and proving ourselves to it.
"""

from __future__ import annotations

import os
from typing import Any

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from teleport_tw.agents.db.target import Targets
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql.capabilities import Capability, compression, missing, wanted
from teleport_tw.protocols.mysql.login import ClientLogin, Greeted, Refused, Say, Welcome
from teleport_tw.protocols.mysql.messages import UTF8MB4_GENERAL_CI, Err, Greeting, HandshakeResponse, Ok
from teleport_tw.protocols.mysql.scramble import PARSEC_NONCE_BYTES
from teleport_tw.resources.databases import Database

LOGIN_SECONDS = 20.0
"""For the target to greet and to take us, each."""

_UTF8MB4_0900_AI_CI = 255
"""The default of MySQL 8, which MariaDB does not know and would answer with its own default, which may be Latin-1."""

_COMPRESSION = Capability.COMPRESS | Capability.ZSTD_COMPRESSION_ALGORITHM


@frozen(kw_only=True)
class Connected:
    """
    A target that has taken us.

    @ivar transport: paused.
    @ivar capabilities: agreed with it.
    @ivar compression: C{zlib}, C{zstd} or nothing.
    @ivar rest: bytes that came behind its OK.
    """

    transport: Any
    greeting: Greeting
    capabilities: Capability
    compression: str
    ok: Ok
    rest: bytes


class Listener(Protocol):
    """
    Bytes of a target, as they are asked for.
    """

    def __init__(self, transport: Any, early: bytes = b"") -> None:
        """
        @param transport: paused.
        @param early: bytes that were read from it.
        """
        self._bytes = early
        self._waiting: Deferred[bytes] | None = None
        self._lost: BaseException | None = None
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.protocol = self
        transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Kept until somebody asks, and then not read on.
        """
        self._bytes += data
        self._answer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Nobody is asked any more.
        """
        self._lost = reason.value or ConnectionDone()
        self._answer()

    def _answer(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        if self._bytes:
            self._waiting = None
            data, self._bytes = self._bytes, b""
            waiting.callback(data)
        elif self._lost is not None:
            self._waiting = None
            waiting.errback(self._lost)

    def read(self) -> Deferred[bytes]:
        """
        @return: fires with what has come, or what comes next.
        """
        asked: Deferred[bytes] = Deferred()
        self._waiting = asked
        self._answer()
        return asked

    def hold(self) -> bytes:
        """
        Pause the transport for whoever goes on with it.

        @return: what nobody has asked for.
        """
        transport: Any = self.transport
        transport.pauseProducing()
        data, self._bytes = self._bytes, b""
        return data


@define(eq=False)
class Approach:
    """
    A connection to a target that has greeted and waits to hear who we are; made by L{approach}.
    """

    greeting: Greeting
    _targets: Targets
    _login: ClientLogin
    _listener: Listener
    _transport: Any

    def abort(self) -> None:
        """
        It is not needed.
        """
        self._transport.abortConnection()

    async def enter(
        self, database: Database, user: str, response: HandshakeResponse, password: Secret[bytes] | None
    ) -> Connected:
        """
        Begin TLS and prove ourselves.

        @param user: whom the certificate is of.
        @param response: what the user's client said; the target hears the same, but for authentication, and as far as
            it can do that.
        @raise TeleportError: CONNECTION_PROBLEM, the target does not take us, or not as we are.
        """
        try:
            return await self._enter(database, user, response, password)
        except RemoteProtocolError as error:
            self.abort()
            raise _problem(database, str(error)) from error
        except BaseException:
            self.abort()
            raise

    async def _enter(
        self, database: Database, user: str, response: HandshakeResponse, password: Secret[bytes] | None
    ) -> Connected:
        login = self._login
        login.password = password or Secret(b"")
        response = _response(database, response, self.greeting)
        self._transport.write(login.secure(response))
        pending = login.rest + self._listener.hold()
        held = await self._targets.secure(database, user, self._transport, pending)
        self._transport = held.transport
        listener = Listener(held.transport, held.early)
        self._transport.write(login.secured())
        while True:
            for outcome in await _heard(login, listener, self._targets, database, LOGIN_SECONDS):
                match outcome:
                    case Say(data):
                        self._transport.write(data)
                    case Welcome(ok, rest):
                        rest += listener.hold()
                        return Connected(
                            transport=self._transport,
                            greeting=self.greeting,
                            capabilities=response.capabilities,
                            compression=compression(response.capabilities, response.capabilities),
                            ok=ok,
                            rest=rest,
                        )


async def approach(targets: Targets, database: Database, seconds: float = LOGIN_SECONDS) -> Approach:
    """
    @param seconds: for the target to greet, once it is connected.
    @raise TeleportError: CONNECTION_PROBLEM, it cannot be reached or does not want us.
    """
    held = await targets.connect_plain(database)
    transport: Any = held.transport
    listener, login = Listener(held.transport, held.early), ClientLogin(Secret(b""), os.urandom(PARSEC_NONCE_BYTES))
    try:
        for outcome in await _heard(login, listener, targets, database, seconds):
            if isinstance(outcome, Greeted):
                return Approach(outcome.greeting, targets, login, listener, transport)
    except RemoteProtocolError as error:
        transport.abortConnection()
        raise _problem(database, str(error)) from error
    except BaseException:
        transport.abortConnection()
        raise
    raise AssertionError("a target that greets is heard to greet")


def _response(database: Database, user: HandshakeResponse, greeting: Greeting) -> HandshakeResponse:
    lacking = missing(user.capabilities, greeting.capabilities)
    if lacking:
        raise _problem(database, f"it is too old for this client: it lacks {lacking!r}")
    both = user.capabilities & greeting.capabilities
    capabilities = wanted(user.capabilities, greeting.capabilities) | both & _COMPRESSION
    if user.database:
        capabilities |= Capability.CONNECT_WITH_DB
    unknown = greeting.is_mariadb and user.charset == _UTF8MB4_0900_AI_CI
    return evolve(
        user,
        capabilities=capabilities,
        auth=Secret(b""),
        plugin="",
        charset=UTF8MB4_GENERAL_CI if unknown else user.charset,
    )


async def _heard(
    login: ClientLogin, listener: Listener, targets: Targets, database: Database, seconds: float
) -> list[Any]:
    """
    @return: outcomes of a login, at least one of them; C{Any} since callers want different ones.
    """
    while True:
        try:
            data = await listener.read().addTimeout(seconds, targets.reactor)
        except TimeoutError as error:
            raise _problem(database, "it is silent") from error
        except ConnectionDone as error:
            raise _problem(database, "it closed the connection") from error
        except CancelledError:
            raise  # nobody asks any more
        except Exception as error:
            raise _problem(database, str(error) or type(error).__name__) from error
        outcomes = login.feed(data)
        for outcome in outcomes:
            if isinstance(outcome, Refused):
                raise _refused(database, outcome.error)
        if outcomes:
            return list(outcomes)


def _refused(database: Database, error: Err) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM, f"database {database.name!r} does not take us: {error}", details=str(error)
    )


def _problem(database: Database, text: str) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM, f"database {database.name!r} at {database.uri} cannot be used: {text}"
    )
