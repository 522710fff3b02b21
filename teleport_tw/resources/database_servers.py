"""
The agents that serve databases (C{db_server}).

One database may be served by several agents: each announces a L{DatabaseServer} of its own, which carries the whole
database as this agent has it, with the results of its dynamic labels and what its health check found.

@see: reference for protocols, section 1.11
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from attrs import frozen

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import format_time
from teleport_tw.resources.databases import KIND, VERSION, Database
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

SERVER_KIND = "db_server"


class Health(Enum):
    """
    What an agent's checks of a target say.
    """

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@frozen(kw_only=True)
class TargetHealth:
    """
    @ivar address: what was dialled.
    @ivar reason: why the status is what it is, one word of C{initialized}, C{threshold_reached}, C{disabled}.
    @ivar error: what the last failed check met.
    @ivar since: when the status became this.
    """

    status: Health = Health.UNKNOWN
    address: str = ""
    protocol: str = "TCP"
    reason: str = ""
    error: str = ""
    message: str = ""
    since: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """
        @return: C{status.target_health}.
        """
        return without_empty(
            (
                ("address", self.address),
                ("protocol", self.protocol),
                ("status", self.status.value),
                ("transition_reason", self.reason),
                ("transition_error", self.error),
                ("message", self.message),
                ("transition_timestamp", format_time(self.since) if self.since is not None else ""),
            )
        )


@frozen(kw_only=True)
class DatabaseServer:
    """
    An agent that serves a database.

    @ivar proxy_ids: the proxies its tunnel links end at.
    """

    host_id: str
    hostname: str
    database: Database
    version: str = ""
    health: TargetHealth = TargetHealth()
    proxy_ids: tuple[str, ...] = ()
    expires: datetime | None = None

    @property
    def name(self) -> str:
        """
        As stored: unique, and beginning with the id of the host that may write it.
        """
        return server_name(self.host_id, self.database.name)

    @classmethod
    def parse(cls, resource: Resource) -> DatabaseServer:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, SERVER_KIND)
        host_id = spec.text("host_id", needed=True)
        inner = spec.section("database")
        health = Fields(resource.status, "status.", spec.wrong).section("target_health")
        database: Database | None = None
        try:
            database = Database.parse(Resource.from_json({"kind": KIND, "version": VERSION, **inner.values}))
        except TeleportError as error:
            spec.wrong.append(f"spec.database: {error}")
        if database is not None and resource.name != server_name(host_id, database.name):
            spec.wrong.append("metadata.name must be the host's id, a dot and the database's name")
        spec.done(resource)
        assert database is not None  # else done() has raised
        server = cls(
            host_id=host_id,
            hostname=spec.text("hostname"),
            database=database,
            version=spec.text("version"),
            health=TargetHealth(
                status=health.member("status", Health, Health.UNKNOWN),
                address=health.text("address"),
                protocol=health.text("protocol", "TCP"),
                reason=health.text("transition_reason"),
                error=health.text("transition_error"),
                message=health.text("message"),
                since=health.time("transition_timestamp"),
            ),
            proxy_ids=spec.texts("proxy_ids"),
            expires=resource.metadata.expires,
        )
        spec.done(resource)
        return server

    def to_resource(self) -> Resource:
        """
        @return: the noun as a heartbeat sends it; its labels are the database's, which roles match on.
        """
        spec = without_empty(
            (
                ("host_id", self.host_id),
                ("hostname", self.hostname),
                ("version", self.version),
                ("proxy_ids", list(self.proxy_ids)),
                ("database", self.database.to_resource().to_json()),
            )
        )
        metadata = Metadata(name=self.name, labels=self.database.all_labels, expires=self.expires)
        return Resource(
            kind=SERVER_KIND,
            version=VERSION,
            metadata=metadata,
            spec=spec,
            status={"target_health": self.health.to_json()},
        )


def server_name(host_id: str, database: str) -> str:
    """
    @return: the name of a C{db_server}.
    """
    return f"{host_id}.{database}"


def database_name(resource: Resource) -> str:
    """
    @param resource: a C{db_server}; need not be well formed.
    @return: the name of the database it serves; empty where it says none.
    """
    database = resource.spec.get("database")
    metadata = database.get("metadata") if isinstance(database, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""
