"""
Events of database sessions.

Every event of a session carries who, in which session, and which database as which database user; a few have more.

@see: reference, protocols 1.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from attrs import field, frozen

from teleport_tw.events.groups import Actor, Connection, Recorded, Session
from teleport_tw.events.rating import Fact, Group, Judged, Name, Public, Rating, Sensitive


@frozen(kw_only=True)
class DatabaseTarget(Group):
    """
    Which database, as whom.

    @ivar name: of the logical database inside; may change within a session.
    @ivar roles: of an automatic user.
    @ivar type: C{self-hosted}, C{rds} and so on.
    """

    service: Annotated[str, Rating.PUBLIC, Name("db_service")]
    protocol: Annotated[str, Rating.PUBLIC, Name("db_protocol")] = ""
    uri: Annotated[str, Rating.PUBLIC, Name("db_uri")] = ""
    name: Annotated[str, Rating.PUBLIC, Name("db_name")] = ""
    user: Annotated[str, Rating.PUBLIC, Name("db_user")] = ""
    roles: Annotated[tuple[str, ...], Rating.PUBLIC, Name("db_roles")] = ()
    labels: Annotated[Mapping[str, str], Rating.PUBLIC, Name("db_labels")] = field(factory=dict)
    type: Annotated[str, Rating.PUBLIC, Name("db_type")] = ""
    origin: Annotated[str, Rating.PUBLIC, Name("db_origin")] = ""


@frozen(kw_only=True)
class Within(Fact):
    """
    What every event within a session tells.
    """

    actor: Public[Actor]
    session: Public[Session]
    database: Public[DatabaseTarget]


@frozen(kw_only=True)
class JudgedWithin(Judged):
    actor: Public[Actor]
    session: Public[Session]
    database: Public[DatabaseTarget]


@frozen(kw_only=True)
class DatabaseSessionStart(JudgedWithin):
    """
    A client reached a database, or was refused.

    @ivar agent: what the client program calls itself.
    @ivar postgres_pid: of the server's process for the session.
    @ivar startup_parameters: settings that the client asked for when it connected.
    """

    NAME: ClassVar[str] = "db.session.start"
    CODE: ClassVar[str] = "TDB00I"
    FAILED: ClassVar[str] = "TDB00W"
    SAYS: ClassVar[str] = "User [{user}] has connected to database [{db_name}] as [{db_user}] on [{db_service}]"
    SAYS_FAILED: ClassVar[str] = "User [{user}] was refused [{db_name}] as [{db_user}] on [{db_service}]: {error}"

    connection: Public[Connection | None] = None
    server: Annotated[str, Rating.PUBLIC, Name("server_id")] = ""
    namespace: Public[str] = "default"
    agent: Annotated[str, Rating.SENSITIVE, Name("user_agent")] = ""
    server_version: Annotated[str, Rating.PUBLIC, Name("db_server_version")] = ""
    postgres_pid: Public[int | None] = None
    session_recording: Public[str] = ""
    startup_parameters: Sensitive[Mapping[str, str]] = field(factory=dict)


@frozen(kw_only=True)
class DatabaseSessionEnd(Within):
    """
    A session ended.

    @ivar reason: why we ended it; empty where the user or the database did.
    @ivar queries: statements in it.
    """

    NAME: ClassVar[str] = "db.session.end"
    CODE: ClassVar[str] = "TDB01I"
    SAYS: ClassVar[str] = "User [{user}] has disconnected from database [{db_name}] on [{db_service}]"

    connection: Public[Connection | None] = None
    started: Annotated[datetime | None, Rating.PUBLIC, Name("session_start")] = None
    stopped: Annotated[datetime | None, Rating.PUBLIC, Name("session_stop")] = None
    reason: Public[str] = ""
    queries: Public[int] = 0
    sent: Annotated[int, Rating.PUBLIC, Name("tx")] = 0
    received: Annotated[int, Rating.PUBLIC, Name("rx")] = 0
    recorded: Public[Recorded | None] = None


@frozen(kw_only=True)
class DatabaseQuery(JudgedWithin):
    """
    A statement, told when it ended, or after a second when it takes longer.

    @ivar query: its text, cut at a bound.
    @ivar length: characters of the whole text, where it was cut.
    @ivar parameters: as text; binary ones in base64.
    @ivar duration_ms: until its end; none when it is still running or its end cannot be known.
    @ivar affected: rows returned or changed.
    """

    NAME: ClassVar[str] = "db.session.query"
    CODE: ClassVar[str] = "TDB02I"
    FAILED: ClassVar[str] = "TDB02W"
    SAYS: ClassVar[str] = "User [{user}] executed query [{db_query}] in database [{db_name}] on [{db_service}]"
    SAYS_FAILED: ClassVar[str] = "User [{user}] failed to execute [{db_query}] in [{db_name}] on [{db_service}]"

    query: Annotated[str, Rating.SENSITIVE, Name("db_query")]
    parameters: Annotated[tuple[str | None, ...], Rating.SENSITIVE, Name("db_query_parameters")] = ()
    length: Annotated[int | None, Rating.PUBLIC, Name("db_query_length")] = None
    duration_ms: Public[float | None] = None
    affected: Annotated[int | None, Rating.PUBLIC, Name("affected_records")] = None

    @property
    def truncated(self) -> bool:
        """
        Whether the text was cut.
        """
        return self.length is not None


@frozen(kw_only=True)
class DatabaseQueryFailed(DatabaseQuery):
    """
    A statement that we, or the database, refused.
    """

    NAME: ClassVar[str] = "db.session.query.failed"
    CODE: ClassVar[str] = "TDB02W"
    SAYS: ClassVar[str] = DatabaseQuery.SAYS_FAILED

    success: Public[bool] = False


@frozen(kw_only=True)
class DatabaseResult(JudgedWithin):
    """
    The end of a statement that was told of while it ran.

    @ivar message: the error's text, or what the server says of success.
    """

    NAME: ClassVar[str] = "db.session.result"
    CODE: ClassVar[str] = "TDB10I"
    FAILED: ClassVar[str] = "TDB10W"
    SAYS: ClassVar[str] = "A query of user [{user}] in database [{db_name}] on [{db_service}] has ended"
    SAYS_FAILED: ClassVar[str] = "A query of user [{user}] in [{db_name}] on [{db_service}] has failed: {error}"

    affected: Annotated[int | None, Rating.PUBLIC, Name("affected_records")] = None
    user_message: Sensitive[str] = ""
    duration_ms: Public[float | None] = None
    query: Annotated[str, Rating.SENSITIVE, Name("db_query")] = ""


@frozen(kw_only=True)
class DatabaseMalformedPacket(Within):
    """
    A client sent what its protocol does not know.
    """

    NAME: ClassVar[str] = "db.session.malformed_packet"
    CODE: ClassVar[str] = "TDB06I"
    SAYS: ClassVar[str] = "Received malformed packet from [{user}] in [{db_name}] on database [{db_service}]"

    payload: Sensitive[bytes] = b""
    error: Sensitive[str] = ""


@frozen(kw_only=True)
class DatabasePermissionsUpdate(Within):
    """
    An automatic user's rights on objects were set.

    @ivar summary: per permission, how many objects of each kind.
    """

    NAME: ClassVar[str] = "db.session.permissions.update"
    CODE: ClassVar[str] = "TDB07I"
    SAYS: ClassVar[str] = "Database user [{db_user}] permissions updated for database [{db_name}] on [{db_service}]"

    summary: Annotated[tuple[Mapping[str, Any], ...], Rating.PUBLIC, Name("permission_summary")] = ()
    affected: Annotated[Mapping[str, int], Rating.PUBLIC, Name("affected_objects_count")] = field(factory=dict)


@frozen(kw_only=True)
class DatabaseUserCreate(JudgedWithin):
    """
    An automatic user was made, or woken.
    """

    NAME: ClassVar[str] = "db.session.user.create"
    CODE: ClassVar[str] = "TDB08I"
    FAILED: ClassVar[str] = "TDB08W"
    SAYS: ClassVar[str] = "Database user [{username}] was created in database [{db_name}] on [{db_service}]"
    SAYS_FAILED: ClassVar[str] = "Database user [{username}] could not be created on [{db_service}]: {error}"

    username: Public[str]
    roles: Public[tuple[str, ...]] = ()


@frozen(kw_only=True)
class DatabaseUserDeactivate(JudgedWithin):
    """
    An automatic user was locked or dropped.

    @ivar delete: whether it was to be dropped.
    """

    NAME: ClassVar[str] = "db.session.user.deactivate"
    CODE: ClassVar[str] = "TDB09I"
    FAILED: ClassVar[str] = "TDB09W"
    SAYS: ClassVar[str] = "Database user [{username}] was disabled in database [{db_name}] on [{db_service}]"
    SAYS_FAILED: ClassVar[str] = "Database user [{username}] could not be disabled on [{db_service}]: {error}"

    username: Public[str]
    delete: Public[bool] = False
