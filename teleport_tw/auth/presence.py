"""
Who may announce a host, and who may hold a counted lease; L{teleport_tw.stores} keeps them.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import define, evolve

from teleport_tw.api.contract import SemaphoreRequest
from teleport_tw.auth import builtin
from teleport_tw.auth.gate import Gate
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources import kinds
from teleport_tw.resources.instances import Instance
from teleport_tw.resources.metadata import Resource
from teleport_tw.stores.presence import Presence
from teleport_tw.stores.semaphores import Semaphores

MAX_TTL: Duration = timedelta(hours=1)
"""Of a heartbeat or a lease."""
MAX_LIMIT = 100_000

SERVICE_OF = {
    kind: role.value for role, listed in builtin.PRESENCE.items() for kind in listed if role is not SystemRole.NODE
}
"""Whose announcements put the host into the inventory; nodes say more of themselves there than auth could."""
TRACKER = "session_tracker"


@define(eq=False)
class PresenceRegister:
    """
    Shared by all callers.
    """

    presence: Presence
    semaphores: Semaphores

    async def heartbeat(self, gate: Gate, resource: Resource, ttl: Duration) -> None:
        """
        @raise TeleportError: ACCESS_DENIED, not the caller's own; BAD_PARAMETER, the time is out of bounds.
        """
        await self._check_announced(gate, resource)
        if not NEVER < ttl <= MAX_TTL:
            raise bad_parameter("a heartbeat lasts more than nothing and an hour at most")
        if resource.kind == "node" and not gate.is_a() and resource.sub_kind not in ("", "teleport"):
            raise gate.refuse(f"announced itself as a node of sub_kind {resource.sub_kind!r}")
        if resource.kind in builtin.DESCRIBED:
            kinds.validate(resource)
        if resource.kind == "instance":
            resource = await self._with_services(resource)
        await self.presence.heartbeat(resource, ttl)
        service = SERVICE_OF.get(resource.kind)
        if service is not None:
            spec = resource.spec
            seen = Instance(
                name=resource.name.partition(".")[0] if resource.kind in builtin.PER_TARGET else resource.name,
                hostname=str(spec.get("hostname") or ""),
                version=str(spec.get("version") or ""),
                services=(service,),
            )
            await self.presence.heartbeat(await self._with_services(seen.to_resource()), ttl)

    async def _with_services(self, resource: Resource) -> Resource:
        """
        A host may run several services, each of which announces itself alone.
        """
        known = await self.presence.find("instance", resource.name)
        if known is None:
            return resource
        said, before = resource.spec.get("services") or (), known.spec.get("services") or ()
        return evolve(resource, spec={**known.spec, **resource.spec, "services": sorted({*said, *before})})

    async def goodbye(self, gate: Gate, kind: str, name: str) -> None:
        """
        @raise TeleportError: ACCESS_DENIED, not the caller's own.
        """
        if kind == TRACKER:
            await self._check_tracker(gate, name)
        else:
            self._check_own(gate, kind, name)
        await self.presence.goodbye(kind, name)

    async def acquire(self, gate: Gate, request: SemaphoreRequest) -> str:
        """
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        self._check_lease(gate, request)
        if not 0 < request.limit <= MAX_LIMIT:
            raise bad_parameter(f"the limit of a semaphore is 1 to {MAX_LIMIT}")
        return await self.semaphores.acquire(request)

    async def keep(self, gate: Gate, request: SemaphoreRequest, lease: str) -> None:
        """
        @raise TeleportError: NOT_FOUND, the lease ended.
        """
        self._check_lease(gate, request)
        await self.semaphores.keep(request, lease)

    async def release(self, gate: Gate, request: SemaphoreRequest, lease: str) -> None:
        """
        Harmless when said twice.
        """
        self._check_lease(gate, request)
        await self.semaphores.release(request, lease)

    async def _check_announced(self, gate: Gate, resource: Resource) -> None:
        if resource.kind != TRACKER:
            self._check_own(gate, resource.kind, resource.name)
            return
        if not gate.is_a() and resource.spec.get("address") != gate.identity.host_id:
            raise gate.refuse("announced a session that runs on another host")
        kinds.validate(resource)
        await self._check_tracker(gate, resource.name)

    async def check_runs_session(self, gate: Gate, name: str) -> None:
        """
        @raise TeleportError: ACCESS_DENIED, the session is not known to run on the caller.
        """
        if gate.is_a():
            return
        known = await self.presence.find(TRACKER, name)
        if not gate.identity.is_host or known is None or known.spec.get("address") != gate.identity.host_id:
            raise gate.refuse(f"session {name!r} does not run here")

    async def _check_tracker(self, gate: Gate, name: str) -> None:
        """
        A session is announced by the host it runs on, and by no other from then on.
        """
        if gate.is_a():
            return
        if not gate.is_a(SystemRole.NODE, SystemRole.PROXY, SystemRole.DB):
            raise gate.refuse(f"may not announce a {TRACKER}")
        known = await self.presence.find(TRACKER, name)
        if known is not None and known.spec.get("address") != gate.identity.host_id:
            raise gate.refuse(f"session {name!r} runs on another host")

    def _check_own(self, gate: Gate, kind: str, name: str) -> None:
        identity = gate.identity
        if gate.is_a():
            return
        if not identity.is_host or not builtin.may_announce(identity.system_roles, kind):
            raise gate.refuse(f"may not announce a {kind}")
        own = name.partition(".")[0] if kind in builtin.PER_TARGET else name
        if own != identity.host_id:
            raise gate.refuse(f"announced {kind} {name!r}, which is not its own id {identity.host_id!r}")

    def _check_lease(self, gate: Gate, request: SemaphoreRequest) -> None:
        if not gate.is_a(*builtin.COUNTING):
            raise gate.refuse("semaphores are for services of the cluster")
        if not NEVER < request.ttl <= MAX_TTL:
            raise bad_parameter("a lease lasts more than nothing and an hour at most")
