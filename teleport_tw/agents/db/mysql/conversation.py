"""
Asking a server something ourselves: statements one after the other, rows as text.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, TimeoutError

from teleport_tw.agents.db.mysql.login import Connected, Listener, approach
from teleport_tw.agents.db.target import Targets
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.protocols.mysql.capabilities import Capability
from teleport_tw.protocols.mysql.handshake import EOF, ERR, OK, parse_error
from teleport_tw.protocols.mysql.messages import Command, Err, HandshakeResponse
from teleport_tw.protocols.mysql.wire import Fields, Packets, packets
from teleport_tw.resources.databases import Database

ANSWER_SECONDS = 10.0
MAX_ROWS = 10_000
_MAX_EOF = 9
_NULL = 0xFB

_CAN = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.TRANSACTIONS
    | Capability.LONG_PASSWORD
)

Row = tuple[str | None, ...]


class ServerError(Exception):
    """
    The server did not do it.

    @ivar error: why.
    """

    def __init__(self, error: Err) -> None:
        super().__init__(str(error))
        self.error = error


@define(eq=False)
class Conversation:
    """
    With one server, made by L{converse}.

    @ivar is_mariadb: whether it is that.
    """

    is_mariadb: bool
    _targets: Targets
    _connected: Connected
    _listener: Listener

    async def ask(self, statement: str) -> list[Row]:
        """
        @return: rows; none where the statement has none.
        @raise ServerError: the server did not do it.
        @raise TeleportError: CONNECTION_PROBLEM.
        """
        transport: Any = self._connected.transport
        transport.write(packets(bytes((Command.COM_QUERY,)) + statement.encode(), 0))
        reader = Packets(1)
        columns, ends = 0, 0
        rows: list[Row] = []
        while True:
            data = await self._read()
            for payload in reader.feed(data):
                first = payload[0] if payload else -1
                if first == ERR:
                    raise ServerError(parse_error(payload))
                if not columns:
                    if first == OK:
                        return rows
                    columns = Fields(payload).length()
                elif first == EOF and len(payload) < _MAX_EOF:
                    ends += 1
                    if ends == 2:
                        return rows
                elif ends:
                    rows.append(_row(payload, columns))
                    if len(rows) > MAX_ROWS:
                        raise _problem("it answers more than was asked for")

    def close(self) -> None:
        """
        Say goodbye.
        """
        transport: Any = self._connected.transport
        transport.write(packets(bytes((Command.COM_QUIT,)), 0))
        transport.loseConnection()

    async def _read(self) -> bytes:
        try:
            return await self._listener.read().addTimeout(ANSWER_SECONDS, self._targets.reactor)
        except TimeoutError as error:
            raise _problem("it is silent") from error
        except CancelledError:
            raise  # nobody asks any more
        except Exception as error:
            raise _problem(str(error) or type(error).__name__) from error


async def converse(targets: Targets, database: Database, user: str) -> Conversation:
    """
    @param user: of the database, whose certificate and password we have.
    @raise TeleportError: CONNECTION_PROBLEM, the server does not take us.
    """
    coming = await approach(targets, database)
    response = HandshakeResponse(capabilities=_CAN, username=user)
    try:
        password = await targets.password(database, user)
    except BaseException:
        coming.abort()
        raise
    connected = await coming.enter(database, user, response, password)
    listener = Listener(connected.transport, connected.rest)
    return Conversation(coming.greeting.is_mariadb, targets, connected, listener)


def _row(payload: bytes, columns: int) -> Row:
    fields = Fields(payload)
    found: list[str | None] = []
    for _ in range(columns):
        if fields.peek() == _NULL:
            fields.take(1)
            found.append(None)
        else:
            found.append(fields.string().decode("utf-8", "replace"))
    return tuple(found)


def _problem(text: str) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the database's administrator cannot work: {text}")
