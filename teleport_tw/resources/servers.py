"""
Auth services and proxies, as they announce themselves.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

PROXY = "proxy"
AUTH = "auth_server"
VERSION = "v2"


@frozen(kw_only=True)
class Server:
    """
    @ivar kind: L{PROXY} or L{AUTH}.
    @ivar name: the host id.
    @ivar addr: where it listens.
    @ivar public_addrs: where clients reach it, each C{host:port}.
    """

    kind: str
    name: str
    hostname: str = ""
    addr: str = ""
    public_addrs: tuple[str, ...] = ()
    version: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Server:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, resource.kind)
        server = cls(
            kind=resource.kind,
            name=resource.name,
            hostname=spec.text("hostname"),
            addr=spec.text("addr"),
            public_addrs=spec.texts("public_addrs"),
            version=spec.text("version"),
        )
        spec.done(resource)
        return server

    def to_resource(self) -> Resource:
        """
        @return: the noun as a heartbeat sends it.
        """
        spec = without_empty(
            (
                ("hostname", self.hostname),
                ("addr", self.addr),
                ("public_addrs", list(self.public_addrs)),
                ("version", self.version),
            )
        )
        return Resource(self.kind, VERSION, Metadata(self.name), spec)
