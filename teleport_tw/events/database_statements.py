"""
Events of single commands of a database protocol.

@see: reference, protocols 1.10.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from attrs import frozen

from teleport_tw.events.databases import Within
from teleport_tw.events.rating import Name, Public, Rating, Sensitive

# --- PostgreSQL ------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class PostgresParse(Within):
    """
    A prepared statement was made.

    @ivar statement_name: empty for the unnamed one.
    """

    NAME: ClassVar[str] = "db.session.postgres.statements.parse"
    CODE: ClassVar[str] = "TPG00I"
    SAYS: ClassVar[str] = "User [{user}] has prepared [{query}] in database [{db_name}] on [{db_service}]"

    statement_name: Public[str] = ""
    query: Sensitive[str] = ""
    length: Annotated[int | None, Rating.PUBLIC, Name("query_length")] = None


@frozen(kw_only=True)
class PostgresBind(Within):
    """
    Parameters were bound to a prepared statement.
    """

    NAME: ClassVar[str] = "db.session.postgres.statements.bind"
    CODE: ClassVar[str] = "TPG01I"
    SAYS: ClassVar[str] = "User [{user}] has bound parameters in database [{db_name}] on [{db_service}]"

    statement_name: Public[str] = ""
    portal_name: Public[str] = ""
    parameters: Sensitive[tuple[str | None, ...]] = ()


@frozen(kw_only=True)
class PostgresExecute(Within):
    """
    A bound statement was executed.

    @ivar query: of the statement behind the portal.
    """

    NAME: ClassVar[str] = "db.session.postgres.statements.execute"
    CODE: ClassVar[str] = "TPG02I"
    SAYS: ClassVar[str] = "User [{user}] executed [{query}] in database [{db_name}] on [{db_service}]"

    portal_name: Public[str] = ""
    query: Sensitive[str] = ""
    parameters: Sensitive[tuple[str | None, ...]] = ()
    success: Public[bool] = True
    error: Sensitive[str] = ""
    duration_ms: Public[float | None] = None
    affected: Annotated[int | None, Rating.PUBLIC, Name("affected_records")] = None


@frozen(kw_only=True)
class PostgresClose(Within):
    """
    A prepared statement or portal was closed.
    """

    NAME: ClassVar[str] = "db.session.postgres.statements.close"
    CODE: ClassVar[str] = "TPG03I"
    SAYS: ClassVar[str] = "User [{user}] closed a statement in database [{db_name}] on [{db_service}]"

    statement_name: Public[str] = ""
    portal_name: Public[str] = ""


@frozen(kw_only=True)
class PostgresFunctionCall(Within):
    """
    A function was called by its number, as large objects are.
    """

    NAME: ClassVar[str] = "db.session.postgres.function"
    CODE: ClassVar[str] = "TPG04I"
    SAYS: ClassVar[str] = "User [{user}] called function [{function_oid}] in database [{db_name}] on [{db_service}]"

    function_oid: Public[int]
    arguments: Annotated[tuple[str | None, ...], Rating.SENSITIVE, Name("function_args")] = ()


# --- MySQL -----------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _MySQLStatement(Within):
    statement_id: Public[int] = 0


@frozen(kw_only=True)
class MySQLStatementPrepare(Within):
    """
    COM_STMT_PREPARE.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.prepare"
    CODE: ClassVar[str] = "TMY00I"
    SAYS: ClassVar[str] = "User [{user}] has prepared [{query}] in database [{db_name}] on [{db_service}]"

    query: Sensitive[str] = ""
    length: Annotated[int | None, Rating.PUBLIC, Name("query_length")] = None
    success: Public[bool] = True
    error: Sensitive[str] = ""


@frozen(kw_only=True)
class MySQLStatementExecute(_MySQLStatement):
    """
    COM_STMT_EXECUTE.

    @ivar query: of the statement.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.execute"
    CODE: ClassVar[str] = "TMY01I"
    SAYS: ClassVar[str] = "User [{user}] has executed statement [{statement_id}] in [{db_name}] on [{db_service}]"

    query: Sensitive[str] = ""
    parameters: Sensitive[tuple[str | None, ...]] = ()
    success: Public[bool] = True
    error: Sensitive[str] = ""
    duration_ms: Public[float | None] = None
    affected: Annotated[int | None, Rating.PUBLIC, Name("affected_records")] = None


@frozen(kw_only=True)
class MySQLStatementSendLongData(_MySQLStatement):
    """
    COM_STMT_SEND_LONG_DATA.

    @ivar size: of the data, which is not kept.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.send_long_data"
    CODE: ClassVar[str] = "TMY02I"
    SAYS: ClassVar[str] = "User [{user}] has sent {data_size} bytes to statement [{statement_id}] on [{db_service}]"

    parameter_id: Public[int] = 0
    size: Annotated[int, Rating.PUBLIC, Name("data_size")] = 0


@frozen(kw_only=True)
class MySQLStatementClose(_MySQLStatement):
    """
    COM_STMT_CLOSE.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.close"
    CODE: ClassVar[str] = "TMY03I"
    SAYS: ClassVar[str] = "User [{user}] has closed statement [{statement_id}] in [{db_name}] on [{db_service}]"


@frozen(kw_only=True)
class MySQLStatementReset(_MySQLStatement):
    """
    COM_STMT_RESET.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.reset"
    CODE: ClassVar[str] = "TMY04I"
    SAYS: ClassVar[str] = "User [{user}] has reset statement [{statement_id}] in database [{db_name}] on [{db_service}]"


@frozen(kw_only=True)
class MySQLStatementFetch(_MySQLStatement):
    """
    COM_STMT_FETCH.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.fetch"
    CODE: ClassVar[str] = "TMY05I"
    SAYS: ClassVar[str] = "User [{user}] has fetched {rows_count} rows of statement [{statement_id}] on [{db_service}]"

    rows: Annotated[int, Rating.PUBLIC, Name("rows_count")] = 0


@frozen(kw_only=True)
class MySQLStatementBulkExecute(_MySQLStatement):
    """
    COM_STMT_BULK_EXECUTE of MariaDB.
    """

    NAME: ClassVar[str] = "db.session.mysql.statements.bulk_execute"
    CODE: ClassVar[str] = "TMY06I"
    SAYS: ClassVar[str] = "User [{user}] has executed bulk statement [{statement_id}] on [{db_service}]"

    query: Sensitive[str] = ""
    parameters: Sensitive[tuple[str | None, ...]] = ()
    success: Public[bool] = True
    error: Sensitive[str] = ""
    duration_ms: Public[float | None] = None
    affected: Annotated[int | None, Rating.PUBLIC, Name("affected_records")] = None


@frozen(kw_only=True)
class _MySQLSchema(Within):
    schema_name: Public[str]


@frozen(kw_only=True)
class MySQLInitDB(_MySQLSchema):
    """
    COM_INIT_DB.
    """

    NAME: ClassVar[str] = "db.session.mysql.init_db"
    CODE: ClassVar[str] = "TMY07I"
    SAYS: ClassVar[str] = "User [{user}] has changed to database [{schema_name}] on [{db_service}]"


@frozen(kw_only=True)
class MySQLCreateDB(_MySQLSchema):
    """
    COM_CREATE_DB.
    """

    NAME: ClassVar[str] = "db.session.mysql.create_db"
    CODE: ClassVar[str] = "TMY08I"
    SAYS: ClassVar[str] = "User [{user}] has created database [{schema_name}] on [{db_service}]"


@frozen(kw_only=True)
class MySQLDropDB(_MySQLSchema):
    """
    COM_DROP_DB.
    """

    NAME: ClassVar[str] = "db.session.mysql.drop_db"
    CODE: ClassVar[str] = "TMY09I"
    SAYS: ClassVar[str] = "User [{user}] has dropped database [{schema_name}] on [{db_service}]"


@frozen(kw_only=True)
class MySQLShutDown(Within):
    """
    COM_SHUTDOWN.
    """

    NAME: ClassVar[str] = "db.session.mysql.shut_down"
    CODE: ClassVar[str] = "TMY10I"
    SAYS: ClassVar[str] = "User [{user}] attempted to shut down [{db_service}]"


@frozen(kw_only=True)
class MySQLProcessKill(Within):
    """
    COM_PROCESS_KILL.
    """

    NAME: ClassVar[str] = "db.session.mysql.process_kill"
    CODE: ClassVar[str] = "TMY11I"
    SAYS: ClassVar[str] = "User [{user}] attempted to kill process [{process_id}] on [{db_service}]"

    process_id: Public[int]


@frozen(kw_only=True)
class MySQLDebug(Within):
    """
    COM_DEBUG.
    """

    NAME: ClassVar[str] = "db.session.mysql.debug"
    CODE: ClassVar[str] = "TMY12I"
    SAYS: ClassVar[str] = "User [{user}] asked [{db_service}] to dump debug information"


@frozen(kw_only=True)
class MySQLRefresh(Within):
    """
    COM_REFRESH.
    """

    NAME: ClassVar[str] = "db.session.mysql.refresh"
    CODE: ClassVar[str] = "TMY13I"
    SAYS: ClassVar[str] = "User [{user}] asked [{db_service}] to refresh [{subcommand}]"

    subcommand: Public[str] = ""
