"""
What a host may tell the audit log, and whose recording a session's is.

A host speaks for itself alone: an event names the host that sent it, tells of a kind that its services see happen, and
happened in this cluster. What only auth can know (who signed in, who was given a certificate, who changed a role) no
host may say. A recording belongs to the host that runs, or first delivers, its session; L{Ownership} remembers which.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from teleport_tw.auth.gate import Gate
from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Json
from teleport_tw.stores import layout

DELIVERED_BY = "delivered_by"
"""The field of a stored event that says which host sent it; absent from auth's own."""
REPORTED_TIME = "reported_time"
"""The field that keeps a host's own date where that could not be true."""
MAX_EARLY: Duration = timedelta(minutes=5)
"""How far a host's clock may go before ours."""
MAX_LATE: Duration = timedelta(days=90)
"""How long events may have waited on a host's disk."""
MAX_BATCH = 10_000
"""Events in one call."""
MAX_REMEMBERED = 10_000
"""Owners kept in memory; the others are read from the store again."""

_SSH = frozenset(
    {
        "auth",
        "agent-forward",
        "client.disconnect",
        "exec",
        "file_transfer_request",
        "file_transfer_request_approve",
        "file_transfer_request_deny",
        "port",
        "port.local",
        "port.remote",
        "port.remote_conn",
        "print",
        "resize",
        "scp",
        "session.command",
        "session.connect",
        "session.data",
        "session.disk",
        "session.end",
        "session.join",
        "session.leave",
        "session.network",
        "session.process_exit",
        "session.rejected",
        "session.start",
        "session.upload",
        "sftp",
        "sftp_summary",
        "subsystem",
        "unknown",
        "x11-forward",
    }
)
_SESSION = frozenset({"auth", "client.disconnect", "session.rejected", "session.upload", "unknown"})

SAYS: Mapping[SystemRole, tuple[frozenset[str], tuple[str, ...]]] = {
    SystemRole.PROXY: (_SSH, ()),
    SystemRole.NODE: (_SSH - {"session.connect"}, ("session.recording_",)),
    SystemRole.APP: (_SESSION, ("app.",)),
    SystemRole.DB: (_SESSION, ("db.",)),
    SystemRole.KUBE: (_SSH, ("kube.",)),
    SystemRole.WINDOWS_DESKTOP: (_SESSION, ("windows.desktop.", "desktop.")),
}
"""For each role the names of events it may send, and the beginnings of more."""

RECORDS = frozenset(SAYS)
"""Who may deliver recordings."""


def may_say(roles: Iterable[SystemRole], name: str) -> bool:
    """
    @param name: of an event.
    """
    for role in roles:
        names, beginnings = SAYS.get(role, (frozenset(), ()))
        if name in names or (beginnings and name.startswith(beginnings)):
            return True
    return False


def accepted(gate: Gate, events: Sequence[Json]) -> list[dict[str, Any]]:
    """
    Check what a host sent, and put down who sent it.

    @return: the events to be stored.
    @raise TeleportError: ACCESS_DENIED, the caller is no service that sends events; BAD_PARAMETER, one of them is not
        the caller's to say, after which its sender keeps it aside and sends the others.
    """
    identity, cluster = gate.identity, gate.core.cluster
    if gate.is_a():
        return [dict(event) for event in events]
    if not identity.is_host or not any(role in SAYS for role in identity.system_roles):
        raise gate.refuse("events are sent by services of the cluster")
    if len(events) > MAX_BATCH:
        raise bad_parameter(f"at most {MAX_BATCH} events are taken at once")
    forwards = SystemRole.PROXY in identity.system_roles
    now = gate.core.now()
    late, early = now - MAX_LATE, now + MAX_EARLY
    names: set[str] = set()
    stored = []
    for event in events:
        name = event.get("event")
        if not isinstance(name, str) or (name not in names and not may_say(identity.system_roles, name)):
            roles = "/".join(role.value for role in identity.system_roles)
            raise bad_parameter(f"{roles} may not send the event {str(name)[:80]!r}")
        names.add(name)
        stored.append(_stamped(_dated(event, now, late, early), name, identity.host_id, cluster, forwards))
    return stored


def _dated(event: Json, now: datetime, late: datetime, early: datetime) -> Json:
    """
    A host's clock is not believed without bound: what would be sorted out of everybody's sight is dated now, and keeps
    what the host said.
    """
    said = event.get("time")
    try:
        when = parse_time(str(said))
    except TeleportError:
        when = None
    if when is not None and late <= when <= early:
        return event
    return {**event, "time": format_time(now), REPORTED_TIME: str(said)[:64]}


def _stamped(event: Json, name: str, host: str, cluster: str, forwards: bool) -> dict[str, Any]:
    stored = {**event, DELIVERED_BY: host}
    if stored.setdefault("cluster_name", cluster) != cluster:
        raise bad_parameter(f"the event {name} is of cluster {str(stored['cluster_name'])[:80]!r}, not of this one")
    server = stored.get("server_id") or ""
    if forwards:
        if server not in ("", host) and stored.setdefault("forwarded_by", host) != host:
            stored["forwarded_by"] = host
    elif server not in ("", host):
        raise bad_parameter(f"the event {name} is of server {str(server)[:80]!r}, which did not send it")
    elif name != "auth":
        stored["server_id"] = host
    return stored


def session_id(text: str) -> str:
    """
    @return: the same.
    @raise TeleportError: BAD_PARAMETER, not a UUID in its usual form.
    """
    try:
        if str(uuid.UUID(text)) == text:
            return text
    except ValueError:
        pass
    raise bad_parameter(f"{text[:80]!r} is not the id of a session")


@define(eq=False)
class Ownership:
    """
    Which host records which session; decided once, by the session's start or the first part of its recording.
    """

    backend: Backend
    _known: dict[str, str] = field(factory=dict, init=False)
    _log = Logger()

    async def started(self, gate: Gate, events: Sequence[Json]) -> None:
        """
        Note the recorded sessions whose start a host tells of: the side that records is the owner.
        """
        roles = gate.identity.system_roles
        for event in events:
            if event.get("event") != "session.start":
                continue
            session, mode = event.get("sid"), str(event.get("session_recording") or "")
            records = SystemRole.PROXY in roles if mode.startswith("proxy") else bool({*roles} - {SystemRole.PROXY})
            if not records or mode in ("", "off") or not isinstance(session, str) or not _is_session(session):
                continue
            host = gate.identity.host_id
            owner = await self._claim(session, host)
            if owner != host:
                self._log.warn(
                    "host {host} tells of the start of session {session}, which is host {owner}'s",
                    host=host,
                    session=session,
                    owner=owner,
                )

    async def check(self, gate: Gate, session: str) -> None:
        """
        Asked before a part of a recording is taken, or its end.

        @raise TeleportError: ACCESS_DENIED, the session is another host's; BAD_PARAMETER, not a session's id.
        """
        identity = gate.identity
        if not gate.is_a() and not any(role in RECORDS for role in identity.system_roles):
            raise gate.refuse("recordings are sent by services of the cluster")
        session_id(session)
        if gate.is_a():
            return
        owner = await self._claim(session, identity.host_id)
        if owner != identity.host_id:
            raise gate.refuse(f"the recording of session {session} is host {owner}'s")

    async def owner(self, session: str) -> str:
        """
        @return: the id of the host; empty where none is known.
        """
        found = self._known.get(session)
        if found is None and _is_session(session):
            try:
                found = (await self.backend.get(layout.recording_owner_key(session))).value.decode()
            except TeleportError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
                return ""
            self._remember(session, found)
        return found or ""

    async def _claim(self, session: str, host: str) -> str:
        found = self._known.get(session)
        if found is not None:
            return found
        try:
            await self.backend.create(layout.recording_owner_key(session), host.encode())
        except TeleportError as error:
            if error.kind is not Kind.ALREADY_EXISTS:
                raise
            return await self.owner(session)
        self._remember(session, host)
        return host

    def _remember(self, session: str, host: str) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[session] = host


def _is_session(text: str) -> bool:
    try:
        session_id(text)
    except TeleportError:
        return False
    return True
