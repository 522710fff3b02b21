"""
The messages of protocol 3, as frozen classes named as in the manual.

Those that a client sends are L{Frontend}, those that a server sends L{Backend}; what stands before the first typed
message is in L{teleport_tw.protocols.postgres.startup}. Texts stay bytes: their encoding is negotiated above.

@see: PostgreSQL 17 manual, I{Message Formats}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeAlias

from attrs import field, frozen

from teleport_tw.base.secret import Secret

# --- what a client sends -----------------------------------------------------------------------------------------


@frozen
class PasswordMessage:
    """
    A password, or a step of SASL or GSSAPI: all share a type, and only what was asked tells them apart.
    """

    data: Secret[bytes]


@frozen
class Query:
    """
    A simple query: one or more statements.

    @ivar size: bytes of the whole text, where it was cut; else zero.
    """

    text: bytes
    size: int = 0


@frozen
class Parse:
    """
    Make a prepared statement.

    @ivar name: empty for the unnamed one.
    @ivar types: object ids of parameters; zero leaves it to the server.
    @ivar size: as L{Query.size}.
    """

    name: bytes
    text: bytes
    types: tuple[int, ...] = ()
    size: int = 0


@frozen
class Bind:
    """
    Make a portal of a prepared statement.

    @ivar formats: of the parameters: none for all text, one for all, or one each; 0 is text, 1 binary.
    @ivar values: C{None} for NULL.
    @ivar results: formats of the result's columns.
    @ivar size: bytes of the whole message, where it was cut: then values may lack.
    """

    portal: bytes
    statement: bytes
    formats: tuple[int, ...] = ()
    values: tuple[bytes | None, ...] = ()
    results: tuple[int, ...] = ()
    size: int = 0


@frozen
class Describe:
    """
    @ivar kind: C{S} statement or C{P} portal.
    """

    kind: bytes
    name: bytes = b""


@frozen
class Execute:
    """
    @ivar rows: most to return; zero for all.
    """

    portal: bytes = b""
    rows: int = 0


@frozen
class Close:
    """
    @ivar kind: C{S} statement or C{P} portal.
    """

    kind: bytes
    name: bytes = b""


@frozen
class Flush:
    """
    Send what you have.
    """


@frozen
class Sync:
    """
    The end of an extended query; errors are over from here on.
    """


@frozen
class FunctionCall:
    """
    Call a function by its object id, as large objects are used.

    @ivar formats: as L{Bind.formats}.
    @ivar size: as L{Bind.size}.
    """

    function: int
    formats: tuple[int, ...] = ()
    arguments: tuple[bytes | None, ...] = ()
    result: int = 0
    size: int = 0


@frozen
class CopyData:
    """
    Data of a COPY; goes both ways.
    """

    data: bytes


@frozen
class CopyDone:
    """
    The end of a COPY; goes both ways.
    """


@frozen
class CopyFail:
    """
    A client gives a COPY up.
    """

    reason: bytes


@frozen
class Terminate:
    """
    Goodbye.
    """


Frontend: TypeAlias = (
    PasswordMessage
    | Query
    | Parse
    | Bind
    | Describe
    | Execute
    | Close
    | Flush
    | Sync
    | FunctionCall
    | CopyData
    | CopyDone
    | CopyFail
    | Terminate
)

# --- what a server sends -----------------------------------------------------------------------------------------


class Auth(IntEnum):
    """
    The code of an authentication request.
    """

    OK = 0
    KERBEROS_V5 = 2
    CLEARTEXT = 3
    MD5 = 5
    GSS = 7
    GSS_CONTINUE = 8
    SSPI = 9
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


@frozen
class Authentication:
    """
    @ivar code: of L{Auth}, or one that we do not know.
    @ivar data: salt of MD5, mechanisms or step of SASL.
    """

    code: int
    data: bytes = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """
        Of SASL, best first.
        """
        return tuple(name.decode("ascii", "replace") for name in self.data.split(b"\0") if name)


@frozen
class BackendKeyData:
    """
    What a cancel request must know.
    """

    process_id: int
    secret: bytes = field(repr=False)


@frozen
class ParameterStatus:
    """
    A setting that clients care for.
    """

    name: bytes
    value: bytes


@frozen
class NegotiateProtocolVersion:
    """
    The server knows no more than this.

    @ivar version: newest it supports: the minor number, or the whole, as servers differ.
    @ivar unknown: protocol options (C{_pq_.…}) it does not know.
    """

    version: int
    unknown: tuple[bytes, ...] = ()


@frozen
class ReadyForQuery:
    """
    @ivar status: C{I} idle, C{T} in a transaction, C{E} in a failed one.
    """

    status: bytes = b"I"


@frozen
class ErrorResponse:
    """
    @ivar fields: by the manual's letters: C{S} severity, C{V} the same untranslated, C{C} SQLSTATE, C{M} message,
        C{D} detail, C{H} hint and so on.
    """

    fields: Mapping[str, bytes]

    @property
    def sqlstate(self) -> str:
        """
        Five characters.
        """
        return self.fields.get("C", b"XX000").decode("ascii", "replace")

    @property
    def message(self) -> str:
        """
        For people.
        """
        return self.fields.get("M", b"").decode("utf-8", "replace")

    @property
    def fatal(self) -> bool:
        """
        Whether the connection is over.
        """
        return self.fields.get("V", self.fields.get("S")) in (b"FATAL", b"PANIC")


@frozen
class NoticeResponse:
    """
    As L{ErrorResponse}, of no consequence.
    """

    fields: Mapping[str, bytes]


@frozen
class CommandComplete:
    """
    @ivar tag: C{SELECT 5}, C{INSERT 0 1}, C{COPY 7}, C{BEGIN}.
    """

    tag: bytes

    @property
    def rows(self) -> int | None:
        """
        The number in the tag.
        """
        last = self.tag.rpartition(b" ")[2]
        return int(last) if last.isdigit() else None


@frozen
class DataRow:
    """
    @ivar values: C{None} for NULL.
    """

    values: tuple[bytes | None, ...]


@frozen
class EmptyQueryResponse:
    """
    There was no statement in it.
    """


@frozen
class ParseComplete:
    """
    A statement is prepared.
    """


@frozen
class BindComplete:
    """
    A portal is made.
    """


@frozen
class CloseComplete:
    """
    A statement or portal is closed.
    """


@frozen
class PortalSuspended:
    """
    The row limit of an execution was reached.
    """


@frozen
class NoData:
    """
    A statement returns no rows.
    """


@frozen
class CopyInResponse:
    """
    Send your data.
    """

    binary: bool = False
    formats: tuple[int, ...] = ()


@frozen
class CopyOutResponse:
    """
    Data follows.
    """

    binary: bool = False
    formats: tuple[int, ...] = ()


@frozen
class CopyBothResponse:
    """
    Data goes both ways: streaming replication.
    """

    binary: bool = False
    formats: tuple[int, ...] = ()


@frozen
class FunctionCallResponse:
    """
    What a function gave.
    """

    value: bytes | None


@frozen
class NotificationResponse:
    """
    Of LISTEN.
    """

    process_id: int
    channel: bytes
    payload: bytes


@frozen
class RowDescription:
    """
    The columns of the rows that follow.

    @ivar data: as on the wire.
    """

    data: bytes


@frozen
class ParameterDescription:
    """
    Types of a statement's parameters.
    """

    types: tuple[int, ...]


Backend: TypeAlias = (
    Authentication
    | BackendKeyData
    | ParameterStatus
    | NegotiateProtocolVersion
    | ReadyForQuery
    | ErrorResponse
    | NoticeResponse
    | CommandComplete
    | DataRow
    | EmptyQueryResponse
    | ParseComplete
    | BindComplete
    | CloseComplete
    | PortalSuspended
    | NoData
    | CopyInResponse
    | CopyOutResponse
    | CopyBothResponse
    | CopyData
    | CopyDone
    | FunctionCallResponse
    | NotificationResponse
    | RowDescription
    | ParameterDescription
)
