"""
Counted leases: how many connections or sessions somebody has open.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from teleport_tw.base.timing import format_time
from teleport_tw.resources.fields import Fields
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "semaphore"
VERSION = "v3"


@frozen(kw_only=True)
class Lease:
    """
    @ivar expires: aware UTC; from then on the lease counts no more.
    """

    id: str
    holder: str
    expires: datetime


@frozen(kw_only=True)
class Semaphore:
    """
    @ivar semaphore_kind: C{connection} and the like; the resource's sub_kind.
    @ivar name: what is counted, mostly a user's name.
    """

    semaphore_kind: str
    name: str
    leases: tuple[Lease, ...] = ()
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Semaphore:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        leases = []
        for each in spec.sections("leases"):
            lease, holder, expires = each.text("lease_id", needed=True), each.text("holder"), each.time("expires")
            if expires is None:
                each.wrong.append(f"{each.path}expires is missing")
            else:
                leases.append(Lease(id=lease, holder=holder, expires=expires))
        semaphore = cls(
            semaphore_kind=resource.sub_kind, name=resource.name, leases=tuple(leases), revision=resource.revision
        )
        spec.done(resource)
        return semaphore

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored; gone with its last lease.
        """
        leases = [
            {"lease_id": each.id, "holder": each.holder, "expires": format_time(each.expires)} for each in self.leases
        ]
        expires = max((each.expires for each in self.leases), default=None)
        metadata = Metadata(name=self.name, expires=expires, revision=self.revision)
        return Resource(
            kind=KIND, version=VERSION, sub_kind=self.semaphore_kind, metadata=metadata, spec={"leases": leases}
        )
