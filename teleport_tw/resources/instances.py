"""
The inventory: every process of the cluster, whatever services it runs.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from teleport_tw.base.timing import format_time
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "instance"
VERSION = "v1"


@frozen(kw_only=True)
class Instance:
    """
    @ivar name: the host id.
    @ivar services: C{Node}, C{Proxy} and so on.
    """

    name: str
    hostname: str = ""
    version: str = ""
    services: tuple[str, ...] = ()
    last_seen: datetime | None = None
    upgrader: str = ""
    upgrader_version: str = ""
    expires: datetime | None = None
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Instance:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        instance = cls(
            name=resource.name,
            hostname=spec.text("hostname"),
            version=spec.text("version"),
            services=spec.texts("services"),
            last_seen=spec.time("last_seen"),
            upgrader=spec.text("external_upgrader"),
            upgrader_version=spec.text("external_upgrader_version"),
            expires=resource.metadata.expires,
            revision=resource.revision,
        )
        spec.done(resource)
        return instance

    def to_resource(self) -> Resource:
        """
        @return: the noun as a heartbeat sends it.
        """
        spec = without_empty(
            (
                ("hostname", self.hostname),
                ("version", self.version),
                ("services", list(self.services)),
                ("last_seen", None if self.last_seen is None else format_time(self.last_seen)),
                ("external_upgrader", self.upgrader),
                ("external_upgrader_version", self.upgrader_version),
            )
        )
        metadata = Metadata(name=self.name, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)
