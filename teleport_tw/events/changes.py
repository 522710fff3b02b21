"""
Events of roles, tokens, locks, access requests and the cluster's settings.

@see: reference 7.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from attrs import field, frozen

from teleport_tw.base.timing import Duration
from teleport_tw.events.groups import Actor, Connection
from teleport_tw.events.rating import Fact, Judged, Name, Public, Rating, Sensitive, masked


@frozen(kw_only=True)
class Change(Fact):
    """
    Somebody changed a resource.

    @ivar name: of the resource.
    @ivar updated_by: who, where that is not the actor.
    """

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    name: Public[str] = ""
    expires: Public[datetime | None] = None
    updated_by: Public[str] = ""
    ttl: Public[Duration | None] = None


@frozen(kw_only=True)
class RoleCreated(Change):
    """
    A role was made.
    """

    NAME: ClassVar[str] = "role.created"
    CODE: ClassVar[str] = "T9000I"
    SAYS: ClassVar[str] = "Role [{name}] was created by [{user}]"


@frozen(kw_only=True)
class RoleUpdated(Change):
    """
    A role was changed.
    """

    NAME: ClassVar[str] = "role.updated"
    CODE: ClassVar[str] = "T9002I"
    SAYS: ClassVar[str] = "Role [{name}] was updated by [{user}]"


@frozen(kw_only=True)
class RoleDeleted(Change):
    """
    A role was removed.
    """

    NAME: ClassVar[str] = "role.deleted"
    CODE: ClassVar[str] = "T9001I"
    SAYS: ClassVar[str] = "Role [{name}] was deleted by [{user}]"


@frozen(kw_only=True)
class JoinTokenCreate(Fact):
    """
    A join token was made.

    @ivar name: the token, masked on the way in since it is a secret.
    @ivar roles: what it lets a host be.
    """

    NAME: ClassVar[str] = "join_token.create"
    CODE: ClassVar[str] = "TJT00I"
    SAYS: ClassVar[str] = "A join token for {roles} was created by [{user}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    name: Public[str] = field(default="", converter=masked)
    roles: Public[tuple[str, ...]] = ()
    join_method: Public[str] = "token"
    expires: Public[datetime | None] = None


@frozen(kw_only=True)
class JoinTokenDelete(Fact):
    """
    A join token was removed; name and code are ours, the reference has none.

    @ivar name: the token, masked on the way in since it may live on in a backup.
    """

    NAME: ClassVar[str] = "join_token.delete"
    CODE: ClassVar[str] = "TJT01I"
    SAYS: ClassVar[str] = "A join token was deleted by [{user}]"

    actor: Public[Actor]
    name: Public[str] = field(default="", converter=masked)
    updated_by: Public[str] = ""


@frozen(kw_only=True)
class TrustedClusterCreate(Change):
    """
    Trust in another cluster was set up.
    """

    NAME: ClassVar[str] = "trusted_cluster.create"
    CODE: ClassVar[str] = "T7000I"
    SAYS: ClassVar[str] = "Trusted cluster [{name}] was created by [{user}]"


@frozen(kw_only=True)
class TrustedClusterDelete(Change):
    """
    Trust in another cluster was taken away.
    """

    NAME: ClassVar[str] = "trusted_cluster.delete"
    CODE: ClassVar[str] = "T7001I"
    SAYS: ClassVar[str] = "Trusted cluster [{name}] was deleted by [{user}]"


@frozen(kw_only=True)
class LockCreated(Change):
    """
    A lock was set.

    @ivar target: what it hits: C{user}, C{role}, C{login}, C{server_id}, C{mfa_device} and so on.
    """

    NAME: ClassVar[str] = "lock.created"
    CODE: ClassVar[str] = "TLK00I"
    SAYS: ClassVar[str] = "Lock [{name}] was created by [{user}]"

    target: Public[Mapping[str, str]] = field(factory=dict)


@frozen(kw_only=True)
class InstanceForget(Change):
    """
    A host's id may join again; the event is this project's own.
    """

    NAME: ClassVar[str] = "instance.forget"
    CODE: ClassVar[str] = "TJ003I"
    SAYS: ClassVar[str] = "Host [{name}] was forgotten by [{user}] and may join again"


@frozen(kw_only=True)
class LockDeleted(Change):
    """
    A lock was taken away.
    """

    NAME: ClassVar[str] = "lock.deleted"
    CODE: ClassVar[str] = "TLK01I"
    SAYS: ClassVar[str] = "Lock [{name}] was deleted by [{user}]"

    target: Public[Mapping[str, str]] = field(factory=dict)


@frozen(kw_only=True)
class AuthPreferenceUpdate(Change):
    """
    The sign-in settings of the cluster were changed.
    """

    NAME: ClassVar[str] = "auth_preference.update"
    CODE: ClassVar[str] = "TCAUTH001I"
    SAYS: ClassVar[str] = "User [{user}] updated the cluster authentication preferences"

    admin_actions_mfa: Public[str] = ""


@frozen(kw_only=True)
class ClusterNetworkingConfigUpdate(Change):
    """
    The network settings of the cluster were changed.
    """

    NAME: ClassVar[str] = "cluster_networking_config.update"
    CODE: ClassVar[str] = "TCNET002I"
    SAYS: ClassVar[str] = "User [{user}] updated the cluster networking configuration"


@frozen(kw_only=True)
class SessionRecordingConfigUpdate(Change):
    """
    How sessions are recorded was changed.
    """

    NAME: ClassVar[str] = "session_recording_config.update"
    CODE: ClassVar[str] = "TCREC003I"
    SAYS: ClassVar[str] = "User [{user}] updated the session recording configuration"


@frozen(kw_only=True)
class _Request(Fact):
    actor: Public[Actor]
    id: Public[str]
    state: Public[str] = ""
    roles: Public[tuple[str, ...]] = ()
    resource_ids: Public[tuple[Mapping[str, str], ...]] = ()
    reason: Sensitive[str] = ""
    delegator: Public[str] = ""
    max_duration: Public[datetime | None] = None
    annotations: Sensitive[Mapping[str, Any]] = field(factory=dict)


@frozen(kw_only=True)
class AccessRequestCreate(_Request):
    """
    Somebody asked for more access.
    """

    NAME: ClassVar[str] = "access_request.create"
    CODE: ClassVar[str] = "T5000I"
    SAYS: ClassVar[str] = "User [{user}] requested access to {roles}"


@frozen(kw_only=True)
class AccessRequestUpdate(_Request):
    """
    An access request changed its state.
    """

    NAME: ClassVar[str] = "access_request.update"
    CODE: ClassVar[str] = "T5001I"
    SAYS: ClassVar[str] = "Access request [{id}] is now {state}"


@frozen(kw_only=True)
class AccessRequestReview(_Request):
    """
    Somebody reviewed an access request.
    """

    NAME: ClassVar[str] = "access_request.review"
    CODE: ClassVar[str] = "T5002I"
    SAYS: ClassVar[str] = "[{reviewer}] reviewed access request [{id}]: {proposed_state}"

    reviewer: Public[str] = ""
    proposed_state: Public[str] = ""


@frozen(kw_only=True)
class AccessRequestDelete(_Request):
    """
    An access request was removed.
    """

    NAME: ClassVar[str] = "access_request.delete"
    CODE: ClassVar[str] = "T5003I"
    SAYS: ClassVar[str] = "Access request [{id}] was deleted"


@frozen(kw_only=True)
class InstanceJoin(Judged):
    """
    A host joined the cluster, or tried to.

    @ivar limited: the token's limit was reached.
    @ivar token_name: masked on the way in.
    @see: reference 7.5.
    """

    NAME: ClassVar[str] = "instance.join"
    CODE: ClassVar[str] = "TJ002I"
    FAILED: ClassVar[str] = "TJ002E"
    SAYS: ClassVar[str] = "Instance [{node_name|host_id}] joined as {role} by method {method}"
    SAYS_FAILED: ClassVar[str] = "Instance [{node_name|host_id}] failed to join as {role}: {error}"

    connection: Public[Connection | None] = None
    host_id: Public[str] = ""
    node_name: Public[str] = ""
    role: Public[str] = ""
    roles: Public[tuple[str, ...]] = ()
    method: Public[str] = "token"
    token_name: Public[str] = field(default="", converter=masked)
    attributes: Sensitive[Mapping[str, Any]] = field(factory=dict)
    limited: Public[bool] = False

    @property
    def code(self) -> str:
        """
        TJ002 with I, E, or L at the token's limit.
        """
        return "TJ002L" if self.limited else super().code

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: joined, failed, limit.
        """
        return ("TJ002I", "TJ002E", "TJ002L")


@frozen(kw_only=True)
class BotJoin(Judged):
    """
    A machine's bot joined the cluster, or tried to.
    """

    NAME: ClassVar[str] = "bot.join"
    CODE: ClassVar[str] = "TJ001I"
    FAILED: ClassVar[str] = "TJ001E"
    SAYS: ClassVar[str] = "Bot [{bot_name}] joined by method {method}"
    SAYS_FAILED: ClassVar[str] = "Bot [{bot_name}] failed to join: {error}"

    connection: Public[Connection | None] = None
    bot_name: Public[str] = ""
    method: Public[str] = "token"
    token_name: Public[str] = field(default="", converter=masked)
    attributes: Sensitive[Mapping[str, Any]] = field(factory=dict)


@frozen(kw_only=True)
class BotCreate(Change):
    """
    A bot was made.
    """

    NAME: ClassVar[str] = "bot.create"
    CODE: ClassVar[str] = "TB001I"
    SAYS: ClassVar[str] = "Bot [{name}] was created by [{user}]"


@frozen(kw_only=True)
class BotUpdate(Change):
    """
    A bot was changed.
    """

    NAME: ClassVar[str] = "bot.update"
    CODE: ClassVar[str] = "TB002I"
    SAYS: ClassVar[str] = "Bot [{name}] was updated by [{user}]"


@frozen(kw_only=True)
class BotDelete(Change):
    """
    A bot was removed.
    """

    NAME: ClassVar[str] = "bot.delete"
    CODE: ClassVar[str] = "TB003I"
    SAYS: ClassVar[str] = "Bot [{name}] was deleted by [{user}]"


@frozen(kw_only=True)
class Unknown(Fact):
    """
    An event that this version does not know, kept as it came.
    """

    NAME: ClassVar[str] = "unknown"
    CODE: ClassVar[str] = "TCC00E"
    SAYS: ClassVar[str] = "An event of unknown type [{unknown_type}] was received"

    unknown_type: Public[str] = ""
    unknown_code: Public[str] = ""
    data: Sensitive[str] = ""


@frozen(kw_only=True)
class DatabaseChange(Change):
    """
    Somebody changed a dynamic database.
    """

    protocol: Annotated[str, Rating.PUBLIC, Name("db_protocol")] = ""
    uri: Annotated[str, Rating.PUBLIC, Name("db_uri")] = ""
    labels: Annotated[Mapping[str, str], Rating.PUBLIC, Name("db_labels")] = field(factory=dict)


@frozen(kw_only=True)
class DatabaseCreate(DatabaseChange):
    """
    A database was made known.
    """

    NAME: ClassVar[str] = "db.create"
    CODE: ClassVar[str] = "TDB03I"
    SAYS: ClassVar[str] = "Database [{name}] was created by [{user}]"


@frozen(kw_only=True)
class DatabaseUpdate(DatabaseChange):
    """
    A database was changed.
    """

    NAME: ClassVar[str] = "db.update"
    CODE: ClassVar[str] = "TDB04I"
    SAYS: ClassVar[str] = "Database [{name}] was updated by [{user}]"


@frozen(kw_only=True)
class DatabaseDelete(DatabaseChange):
    """
    A database was removed.
    """

    NAME: ClassVar[str] = "db.delete"
    CODE: ClassVar[str] = "TDB05I"
    SAYS: ClassVar[str] = "Database [{name}] was deleted by [{user}]"
