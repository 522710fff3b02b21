"""
Users: who may log in, with which roles and traits.

What proves a user's identity (password hash, second factors) is no part of this noun; L{teleport_tw.stores.credentials}
keeps it apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from teleport_tw.base.timing import format_time
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "user"
VERSION = "v2"

MAX_NAME = 255
"""Characters of a user's name; it becomes an X.509 common name's C{UTF8String} and a file name of profiles."""

_NAME = re.compile(r"[A-Za-z0-9_.@+=:,-]+\Z")


@frozen(kw_only=True)
class Lockout:
    """
    Why and until when a user cannot log in after failed attempts.
    """

    locked: bool = False
    message: str = ""
    since: datetime | None = None
    until: datetime | None = None


@frozen(kw_only=True)
class User:
    """
    @ivar expires: when the user is deleted; C{spec.expires} or the metadata's, whichever is sooner.
    @ivar created_by: the creator's user name; empty when unknown.
    @ivar connector: C{type/id} of the single sign-on connector the user came by; empty for local users.
    """

    name: str
    roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    expires: datetime | None = None
    created_at: datetime | None = None
    created_by: str = ""
    connector: str = ""
    lockout: Lockout = Lockout()
    labels: Mapping[str, str] = field(factory=dict)
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> User:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        spec.only(
            "roles", "traits", "status", "expires", "created_by", "local_auth", "trusted_device_ids",
            "oidc_identities", "saml_identities", "github_identities",
        )  # fmt: skip
        if resource.name and not (len(resource.name) <= MAX_NAME and _NAME.match(resource.name)):
            spec.wrong.append(
                "a user's name (metadata.name) may have letters, digits and _.@+=:,- only, at most 255 of them"
            )
        status, origin = spec.section("status"), spec.section("created_by")
        connector = origin.section("connector")
        ends = [moment for moment in (spec.time("expires"), resource.metadata.expires) if moment is not None]
        user = cls(
            name=resource.name,
            roles=tuple(dict.fromkeys(spec.texts("roles"))),
            traits=spec.texts_map("traits"),
            expires=min(ends, default=None),
            created_at=origin.time("time"),
            created_by=origin.section("user").text("name"),
            connector="/".join(filter(None, (connector.text("type"), connector.text("id")))),
            lockout=Lockout(
                locked=status.flag("is_locked"),
                message=status.text("locked_message"),
                since=status.time("locked_time"),
                until=status.time("lock_expires"),
            ),
            labels=resource.metadata.labels,
            revision=resource.revision,
        )
        spec.done(resource)
        return user

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored.
        """
        kind_of_connector, _, connector = self.connector.partition("/")
        created_by = without_empty(
            (
                ("time", None if self.created_at is None else format_time(self.created_at)),
                ("user", without_empty((("name", self.created_by),))),
                ("connector", without_empty((("type", kind_of_connector), ("id", connector)))),
            )
        )
        status = without_empty(
            (
                ("is_locked", True if self.lockout.locked else None),
                ("locked_message", self.lockout.message),
                ("locked_time", None if self.lockout.since is None else format_time(self.lockout.since)),
                ("lock_expires", None if self.lockout.until is None else format_time(self.lockout.until)),
            )
        )
        spec = without_empty(
            (
                ("roles", list(self.roles)),
                ("traits", {name: list(values) for name, values in self.traits.items()}),
                ("created_by", created_by),
                ("status", status),
            )
        )
        metadata = Metadata(name=self.name, labels=self.labels, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)
