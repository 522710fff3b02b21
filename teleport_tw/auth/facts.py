"""
Who did what to which resource, as audit events; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from teleport_tw.audit.actor import actor_of
from teleport_tw.events import kinds
from teleport_tw.events.kinds import Actor, Event
from teleport_tw.pki.identity import Identity
from teleport_tw.resources.metadata import Resource

Build = Callable[[Actor, Resource], Event]


def _named(event: Callable[..., Event]) -> Build:
    def build(actor: Actor, resource: Resource) -> Event:
        return event(actor=actor, name=resource.name, expires=resource.metadata.expires, updated_by=actor.user)

    return build


def _user(event: Callable[..., Event]) -> Build:
    def build(actor: Actor, resource: Resource) -> Event:
        roles = _strings(resource.spec.get("roles"))
        return event(actor=actor, name=resource.name, roles=roles, expires=resource.metadata.expires)

    return build


def _token(actor: Actor, resource: Resource) -> Event:
    return kinds.JoinTokenCreate(
        actor=actor,
        name=resource.name,
        roles=_strings(resource.spec.get("roles")),
        join_method=str(resource.spec.get("join_method") or "token"),
        expires=resource.metadata.expires,
    )


def _token_gone(actor: Actor, resource: Resource) -> Event:
    return kinds.JoinTokenDelete(actor=actor, name=resource.name, updated_by=actor.user)


def _lock(event: Callable[..., Event]) -> Build:
    def build(actor: Actor, resource: Resource) -> Event:
        target = resource.spec.get("target")
        shown = {str(key): str(value) for key, value in target.items()} if isinstance(target, Mapping) else {}
        return event(
            actor=actor,
            name=resource.name,
            expires=resource.metadata.expires,
            updated_by=actor.user,
            target=shown,
        )

    return build


def _database(event: Callable[..., Event]) -> Build:
    def build(actor: Actor, resource: Resource) -> Event:
        return event(
            actor=actor,
            name=resource.name,
            expires=resource.metadata.expires,
            updated_by=actor.user,
            protocol=str(resource.spec.get("protocol") or ""),
            uri=str(resource.spec.get("uri") or ""),
            labels=resource.metadata.labels,
        )

    return build


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


_CREATED: Mapping[str, Build] = {
    "user": _user(kinds.UserCreate),
    "role": _named(kinds.RoleCreated),
    "token": _token,
    "lock": _lock(kinds.LockCreated),
    "trusted_cluster": _named(kinds.TrustedClusterCreate),
    "cluster_auth_preference": _named(kinds.AuthPreferenceUpdate),
    "cluster_networking_config": _named(kinds.ClusterNetworkingConfigUpdate),
    "session_recording_config": _named(kinds.SessionRecordingConfigUpdate),
    "bot": _named(kinds.BotCreate),
    "db": _database(kinds.DatabaseCreate),
}
_UPDATED: Mapping[str, Build] = {
    **_CREATED,
    "user": _user(kinds.UserUpdate),
    "role": _named(kinds.RoleUpdated),
    "bot": _named(kinds.BotUpdate),
    "db": _database(kinds.DatabaseUpdate),
}
_DELETED: Mapping[str, Build] = {
    "user": _user(kinds.UserDelete),
    "role": _named(kinds.RoleDeleted),
    "lock": _lock(kinds.LockDeleted),
    "token": _token_gone,
    "trusted_cluster": _named(kinds.TrustedClusterDelete),
    "bot": _named(kinds.BotDelete),
    "instance": _named(kinds.InstanceForget),
    "db": _database(kinds.DatabaseDelete),
}


def created(identity: Identity, resource: Resource) -> Event | None:
    """
    @return: None for kinds whose changes are no audit event.
    """
    build = _CREATED.get(resource.kind)
    return build(actor_of(identity), resource) if build else None


def updated(identity: Identity, resource: Resource) -> Event | None:
    """
    @return: None for kinds whose changes are no audit event.
    """
    build = _UPDATED.get(resource.kind)
    return build(actor_of(identity), resource) if build else None


def deleted(identity: Identity, resource: Resource) -> Event | None:
    """
    @return: None for kinds whose changes are no audit event.
    """
    build = _DELETED.get(resource.kind)
    return build(actor_of(identity), resource) if build else None
