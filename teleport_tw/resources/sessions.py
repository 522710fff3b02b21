"""
Sessions that run right now, as C{tsh sessions ls} shows them.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from attrs import frozen

from teleport_tw.base.timing import format_time
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "session_tracker"
VERSION = "v1"


class State(Enum):
    """
    Where a session is in its life.
    """

    PENDING = "pending"
    RUNNING = "running"
    TERMINATED = "terminated"


@frozen(kw_only=True)
class Participant:
    """
    @ivar mode: C{peer}, C{observer} or C{moderator}.
    """

    id: str
    user: str
    mode: str = "peer"
    last_active: datetime | None = None


@frozen(kw_only=True)
class Session:
    """
    @ivar name: the session id, a UUID.
    @ivar session_kind: C{ssh}, C{k8s}, C{db}, C{app} or C{desktop}.
    @ivar address: the host id of the server it runs on.
    @ivar login: the account on the target.
    @ivar host_user: who started it.
    """

    name: str
    session_kind: str = "ssh"
    state: State = State.RUNNING
    hostname: str = ""
    address: str = ""
    cluster: str = ""
    login: str = ""
    host_user: str = ""
    reason: str = ""
    invited: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    participants: tuple[Participant, ...] = ()
    created: datetime | None = None
    expires: datetime | None = None
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Session:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        session = cls(
            name=resource.name,
            session_kind=spec.text("kind", "ssh", among=("ssh", "k8s", "db", "app", "desktop")),
            state=spec.member("state", State, State.RUNNING),
            hostname=spec.text("hostname"),
            address=spec.text("address"),
            cluster=spec.text("cluster_name"),
            login=spec.text("login"),
            host_user=spec.text("host_user"),
            reason=spec.text("reason"),
            invited=spec.texts("invited"),
            command=spec.texts("initial_command"),
            participants=tuple(
                Participant(
                    id=each.text("id", needed=True),
                    user=each.text("user", needed=True),
                    mode=each.text("mode", "peer", among=("peer", "observer", "moderator")),
                    last_active=each.time("last_active"),
                )
                for each in spec.sections("participants")
            ),
            created=spec.time("created"),
            expires=resource.metadata.expires,
            revision=resource.revision,
        )
        spec.done(resource)
        return session

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored.
        """
        participants = [
            without_empty(
                (
                    ("id", each.id),
                    ("user", each.user),
                    ("mode", each.mode),
                    ("last_active", None if each.last_active is None else format_time(each.last_active)),
                )
            )
            for each in self.participants
        ]
        spec = without_empty(
            (
                ("kind", self.session_kind),
                ("state", self.state.value),
                ("hostname", self.hostname),
                ("address", self.address),
                ("cluster_name", self.cluster),
                ("login", self.login),
                ("host_user", self.host_user),
                ("reason", self.reason),
                ("invited", list(self.invited)),
                ("initial_command", list(self.command)),
                ("participants", participants),
                ("created", None if self.created is None else format_time(self.created)),
            )
        )
        metadata = Metadata(name=self.name, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)
