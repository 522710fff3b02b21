"""
What a lock hits.

@see: reference, sections 4.7 and 10
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import field, fields, frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import parse_time
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles_options import Strictness

STALE_AFTER = timedelta(minutes=5)
"""How old the local view of locks may be in C{strict} mode."""


@frozen(kw_only=True)
class LockTarget:
    """
    Everything that is named must fit; empty names nothing.
    """

    user: str = ""
    role: str = ""
    login: str = ""
    mfa_device: str = ""
    windows_desktop: str = ""
    access_request: str = ""
    device: str = ""
    server_id: str = ""
    bot_instance_id: str = ""
    join_token: str = ""

    def named(self) -> dict[str, str]:
        """
        @return: the members that are set.
        """
        return {each.name: value for each in fields(LockTarget) if (value := getattr(self, each.name))}


@frozen(kw_only=True)
class Lock:
    """
    @ivar expires: aware UTC; none means until it is removed.
    """

    name: str
    target: LockTarget
    message: str = ""
    expires: datetime | None = None

    @classmethod
    def parse(cls, resource: Resource) -> Lock:
        """
        @raise TeleportError: BAD_PARAMETER, it names no target or one that is not known.
        """
        target = resource.spec.get("target")
        if not isinstance(target, dict) or not all(isinstance(value, str) for value in target.values()):
            raise bad_parameter(f"lock {resource.name!r}: spec.target must map names like user or role to strings")
        named = {("server_id" if key == "node" else key): value for key, value in target.items() if value}
        unknown = set(named) - {each.name for each in fields(LockTarget)}
        if unknown or not named:
            raise bad_parameter(
                f"lock {resource.name!r}: spec.target.{sorted(unknown)[0]} is not known"
                if unknown
                else f"lock {resource.name!r}: spec.target is empty"
            )
        expires = resource.spec.get("expires") or resource.metadata.expires
        if isinstance(expires, str):
            expires = parse_time(expires)
        message = resource.spec.get("message", "")
        return cls(name=resource.name, target=LockTarget(**named), message=str(message), expires=expires)

    def in_force(self, now: datetime) -> bool:
        """
        @param now: aware.
        """
        return self.expires is None or now < self.expires

    @property
    def refusal(self) -> str:
        """
        What whoever is hit is told.
        """
        kind, name = next(iter(self.target.named().items()))
        words = "".join(part.capitalize() for part in kind.split("_"))
        tail = f": {self.message}" if self.message else ""
        return f'lock targeting {words}:"{name}" is in force{tail}'


@frozen(kw_only=True)
class Subject:
    """
    What a session or certificate is, as locks see it.
    """

    user: str = ""
    roles: frozenset[str] = field(factory=frozenset, converter=frozenset)
    login: str = ""
    mfa_device: str = ""
    windows_desktop: str = ""
    access_requests: frozenset[str] = field(factory=frozenset, converter=frozenset)
    device: str = ""
    server_id: str = ""
    bot_instance_id: str = ""
    join_token: str = ""


def hits(lock: Lock, subject: Subject) -> bool:
    """
    Whether everything the lock names is the subject's.
    """
    for key, value in lock.target.named().items():
        if key == "role":
            fits = value in subject.roles
        elif key == "access_request":
            fits = value in subject.access_requests
        else:
            fits = getattr(subject, key) == value
        if not fits:
            return False
    return True


def hitting(locks: Iterable[Lock], subject: Subject, now: datetime) -> Lock | None:
    """
    @return: the first lock in force that hits, by name.
    """
    found = (lock for lock in locks if lock.in_force(now) and hits(lock, subject))
    return min(found, key=lambda lock: lock.name, default=None)


def refusal(
    locks: Iterable[Lock], subject: Subject, now: datetime, *, mode: Strictness, fresh_at: datetime | None
) -> str:
    """
    @param mode: C{strict} where the cluster or any role says so.
    @param fresh_at: when the local view of locks was last known to be true; none for never.
    @return: why the subject is refused; empty when it is not.
    """
    lock = hitting(locks, subject, now)
    if lock is not None:
        return lock.refusal
    if mode is Strictness.STRICT and (fresh_at is None or now - fresh_at > STALE_AFTER):
        return "the list of locks is out of date, and locking_mode is strict"
    return ""
