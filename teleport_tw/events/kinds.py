"""
Typed audit events.

One frozen class per event name, named after it in CamelCase (C{session.start} is L{SessionStart}, C{user.login} is
L{UserLogin}). Facts that many events share are groups, flattened into the JSON under the reference's field names. The
classes live in a module per family and are all found here. How to add one: C{docs/how-to/add-an-audit-event.rst}.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from teleport_tw.events.changes import (
    AccessRequestCreate,
    AccessRequestDelete,
    AccessRequestReview,
    AccessRequestUpdate,
    AuthPreferenceUpdate,
    BotCreate,
    BotDelete,
    BotJoin,
    BotUpdate,
    Change,
    ClusterNetworkingConfigUpdate,
    DatabaseCreate,
    DatabaseDelete,
    DatabaseUpdate,
    InstanceForget,
    InstanceJoin,
    JoinTokenCreate,
    JoinTokenDelete,
    LockCreated,
    LockDeleted,
    RoleCreated,
    RoleDeleted,
    RoleUpdated,
    SessionRecordingConfigUpdate,
    TrustedClusterCreate,
    TrustedClusterDelete,
    Unknown,
)
from teleport_tw.events.database_statements import (
    MySQLCreateDB,
    MySQLDebug,
    MySQLDropDB,
    MySQLInitDB,
    MySQLProcessKill,
    MySQLRefresh,
    MySQLShutDown,
    MySQLStatementBulkExecute,
    MySQLStatementClose,
    MySQLStatementExecute,
    MySQLStatementFetch,
    MySQLStatementPrepare,
    MySQLStatementReset,
    MySQLStatementSendLongData,
    PostgresBind,
    PostgresClose,
    PostgresExecute,
    PostgresFunctionCall,
    PostgresParse,
)
from teleport_tw.events.databases import (
    DatabaseMalformedPacket,
    DatabasePermissionsUpdate,
    DatabaseQuery,
    DatabaseQueryFailed,
    DatabaseResult,
    DatabaseSessionEnd,
    DatabaseSessionStart,
    DatabaseTarget,
    DatabaseUserCreate,
    DatabaseUserDeactivate,
)
from teleport_tw.events.files import (
    SCP,
    SFTP,
    SCPAction,
    SFTPAction,
    SFTPSummary,
)
from teleport_tw.events.groups import (
    Actor,
    Connection,
    Recorded,
    Server,
    Session,
)
from teleport_tw.events.rating import Fact, Judged, Name, Public, Rating, Sensitive
from teleport_tw.events.ssh import (
    AgentForward,
    ClientDisconnect,
    Exec,
    Phase,
    Port,
    PortLocal,
    PortRemote,
    PortRemoteConnection,
    Print,
    Resize,
    SessionCommand,
    SessionConnect,
    SessionData,
    SessionDisk,
    SessionEnd,
    SessionJoin,
    SessionLeave,
    SessionNetwork,
    SessionRecordingAccess,
    SessionRejected,
    SessionStart,
    SessionUpload,
    Subsystem,
    X11Forward,
)
from teleport_tw.events.users import (
    Auth,
    CertCreate,
    CertGenerationMismatch,
    MFAAdd,
    MFAAuthChallengeCreate,
    MFAAuthChallengeValidate,
    MFADelete,
    MFARename,
    PrivilegeTokenCreate,
    RecoveryCodeGenerated,
    RecoveryCodeUsed,
    RecoveryTokenCreate,
    ResetPasswordTokenCreate,
    UserCreate,
    UserDelete,
    UserLogin,
    UserPasswordChange,
    UserUpdate,
)


class Event(Protocol):
    """
    What every audit event class has. Those of this room extend L{Fact}, which also rates each field; an event that
    cannot tell its ratings is redacted whole.
    """

    NAME: ClassVar[str]
    """The reference's event name: C{session.start}."""

    @property
    def code(self) -> str:
        """
        The reference's code, which says success or failure: C{T2000I}.
        """
        ...

    def fields(self) -> dict[str, Any]:
        """
        @return: the event's own JSON fields; C{event}, C{code}, C{time}, C{uid}, C{ei} and C{cluster_name} are
            added by the emitter.
        """
        ...


__all__ = [
    "SCP",
    "SFTP",
    "AccessRequestCreate",
    "AccessRequestDelete",
    "AccessRequestReview",
    "AccessRequestUpdate",
    "Actor",
    "AgentForward",
    "Auth",
    "AuthPreferenceUpdate",
    "BotCreate",
    "BotDelete",
    "BotJoin",
    "BotUpdate",
    "CertCreate",
    "CertGenerationMismatch",
    "Change",
    "ClientDisconnect",
    "ClusterNetworkingConfigUpdate",
    "Connection",
    "DatabaseCreate",
    "DatabaseDelete",
    "DatabaseMalformedPacket",
    "DatabasePermissionsUpdate",
    "DatabaseQuery",
    "DatabaseQueryFailed",
    "DatabaseResult",
    "DatabaseSessionEnd",
    "DatabaseSessionStart",
    "DatabaseTarget",
    "DatabaseUpdate",
    "DatabaseUserCreate",
    "DatabaseUserDeactivate",
    "Event",
    "Exec",
    "Fact",
    "InstanceForget",
    "InstanceJoin",
    "JoinTokenCreate",
    "JoinTokenDelete",
    "Judged",
    "LockCreated",
    "LockDeleted",
    "MFAAdd",
    "MFAAuthChallengeCreate",
    "MFAAuthChallengeValidate",
    "MFADelete",
    "MFARename",
    "MySQLCreateDB",
    "MySQLDebug",
    "MySQLDropDB",
    "MySQLInitDB",
    "MySQLProcessKill",
    "MySQLRefresh",
    "MySQLShutDown",
    "MySQLStatementBulkExecute",
    "MySQLStatementClose",
    "MySQLStatementExecute",
    "MySQLStatementFetch",
    "MySQLStatementPrepare",
    "MySQLStatementReset",
    "MySQLStatementSendLongData",
    "Name",
    "Phase",
    "Port",
    "PortLocal",
    "PortRemote",
    "PortRemoteConnection",
    "PostgresBind",
    "PostgresClose",
    "PostgresExecute",
    "PostgresFunctionCall",
    "PostgresParse",
    "Print",
    "PrivilegeTokenCreate",
    "Public",
    "Rating",
    "Recorded",
    "RecoveryCodeGenerated",
    "RecoveryCodeUsed",
    "RecoveryTokenCreate",
    "ResetPasswordTokenCreate",
    "Resize",
    "RoleCreated",
    "RoleDeleted",
    "RoleUpdated",
    "SCPAction",
    "SFTPAction",
    "SFTPSummary",
    "Sensitive",
    "Server",
    "Session",
    "SessionCommand",
    "SessionConnect",
    "SessionData",
    "SessionDisk",
    "SessionEnd",
    "SessionJoin",
    "SessionLeave",
    "SessionNetwork",
    "SessionRecordingAccess",
    "SessionRecordingConfigUpdate",
    "SessionRejected",
    "SessionStart",
    "SessionUpload",
    "Subsystem",
    "TrustedClusterCreate",
    "TrustedClusterDelete",
    "Unknown",
    "UserCreate",
    "UserDelete",
    "UserLogin",
    "UserPasswordChange",
    "UserUpdate",
    "X11Forward",
]
