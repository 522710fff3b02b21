"""
Writing resources: what is checked before, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, evolve

from teleport_tw.access import validate
from teleport_tw.auth import builtin, facts
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.webauthn import check_rp_id
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.timing import format_time
from teleport_tw.events.kinds import Event
from teleport_tw.resources import kinds
from teleport_tw.resources.clusters import AUTH_PREFERENCE, ORIGIN_LABEL, SINGLETONS, AuthPreference
from teleport_tw.resources.clusters import default as default_singleton
from teleport_tw.resources.locks import Lock
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import SELF_REGISTERED, Node, SubKind
from teleport_tw.resources.users import User
from teleport_tw.stores import layout, records
from teleport_tw.stores.layout import NAMED_WITHIN_SUB_KIND

ANNOUNCED = frozenset({"proxy", "auth_server", "instance", "semaphore"})
"""Kinds that come about by themselves; people may take them away and no more."""

ALIVE = tuple(dict.fromkeys(kind for listed in builtin.PRESENCE.values() for kind in listed))
"""Kinds by which hosts say that they are alive."""


@define(eq=False)
class Changes:
    """
    Create, update and delete, with permission and audit.
    """

    core: Core

    async def create(self, gate: Gate, resource: Resource) -> Resource:
        """
        @raise TeleportError: ACCESS_DENIED; ALREADY_EXISTS; BAD_PARAMETER naming the wrong keys.
        """
        gate.require(resource.kind, builtin.CREATE, resource)
        return await self._write(gate, resource, self.core.resources.create, facts.created)

    async def upsert(self, gate: Gate, resource: Resource) -> Resource:
        """
        Needs both C{create} and C{update}.
        """
        gate.require(resource.kind, builtin.CREATE, resource)
        gate.require(resource.kind, builtin.UPDATE, resource)
        known = await self._find(resource)
        if known is not None:
            gate.require(resource.kind, builtin.UPDATE, known)
        tell = facts.updated if known is not None else facts.created
        return await self._write(gate, resource, self.core.resources.upsert, tell)

    async def register(self, gate: Gate, resource: Resource) -> Resource:
        """
        A host without an agent writes its own entry (C{teleport join openssh}); it stays until somebody removes it.

        @raise TeleportError: ACCESS_DENIED, it is not its own, or at a name that it has no certificate for.
        """
        identity = gate.identity
        if resource.name != identity.host_id:
            raise gate.refuse(f"registered node {resource.name!r}, which is not its own id {identity.host_id!r}")
        node = Node.parse(resource)
        certified = {name.lower() for name in identity.principals}
        foreign = sorted({*node.names(identity.cluster)} - certified - {node.name, f"{node.name}.{identity.cluster}"})
        if foreign:
            raise gate.refuse(f"registered itself as {', '.join(foreign)}, for which it has no certificate")
        known = await self._find(resource)
        if known is not None and known.sub_kind != SubKind.OPENSSH.value:
            raise gate.refuse("an agent announces this host already")
        labels = {**resource.metadata.labels, ORIGIN_LABEL: SELF_REGISTERED}
        metadata = evolve(resource.metadata, labels=labels, expires=None)
        stored = await self.core.resources.upsert(evolve(resource, metadata=metadata))
        self.core.known.learn(stored)
        return stored

    async def update(self, gate: Gate, resource: Resource) -> Resource:
        """
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED.
        """
        gate.require(resource.kind, builtin.UPDATE, resource)
        known = await self._find(resource)
        if known is not None:
            gate.require(resource.kind, builtin.UPDATE, known)
        return await self._write(gate, resource, self.core.resources.update, facts.updated)

    async def delete(self, gate: Gate, kind: str, name: str, sub_kind: str) -> None:
        """
        @raise TeleportError: NOT_FOUND; BAD_PARAMETER, it is in use or must be there.
        """
        core = self.core
        gate.require(kind, builtin.DELETE)
        if kind in ("cluster_name", "cert_authority"):
            raise bad_parameter(f"{kind} cannot be deleted")
        if kind in SINGLETONS:
            known = default_singleton(kind)
            core.known.learn(await core.resources.upsert(known))
        elif kind == "instance":
            known = await self._forget_host(name)
        else:
            known = await core.resources.get(kind, name, sub_kind=sub_kind)
            gate.require(kind, builtin.DELETE, known)
            if kind == "role":
                await self._check_unused(name)
            await core.resources.delete(kind, name, sub_kind=sub_kind)
            core.known.unlearn(known)
            if kind == "user":
                await core.credentials.forget(name)
            if kind == "token":
                await core.credentials.forget_token(name)
        self._tell(
            gate,
            facts.deleted(gate.identity, known) if kind not in SINGLETONS else facts.updated(gate.identity, known),
        )

    async def _forget_host(self, host_id: str) -> Resource:
        """
        Let a host's id join again: a machine that was installed anew and kept it. Certificates that it has already are
        good until they end; a lock is what keeps their holder out.

        @return: what was known of it.
        @raise TeleportError: NOT_FOUND.
        """
        resources, known = self.core.resources, None
        if await records.read(self.core.backend, layout.known_host_key(host_id)) is not None:
            known = Resource("instance", "v1", Metadata(host_id))
        for kind in ("instance", *ALIVE):
            found = await resources.find(kind, host_id)
            if found is not None:
                await resources.delete(kind, host_id)
                known = found if kind == "instance" else known
        for kind in builtin.PER_TARGET:
            served = [each.name async for each in resources.every(kind) if each.name.startswith(f"{host_id}.")]
            for name in served:
                await resources.delete(kind, name)
        await records.remove(self.core.backend, layout.known_host_key(host_id))
        if known is None:
            raise not_found(f"no host with the id {host_id!r} is known")
        return known

    async def _write(
        self,
        gate: Gate,
        resource: Resource,
        store: Callable[[Resource], Awaitable[Resource]],
        tell: Callable[..., Event | None],
    ) -> Resource:
        checked = await self._checked(gate, resource)
        stored = await store(checked)
        self.core.known.learn(stored)
        if stored.kind == "user" and not User.parse(stored).lockout.locked:
            await self.core.credentials.clear_attempts(stored.name)
        if stored.kind == "token":
            await self.core.credentials.forget_token(stored.name)
        self._tell(gate, tell(gate.identity, stored))
        return kinds.without_secrets(stored) if stored.kind != "token" else stored

    async def _checked(self, gate: Gate, resource: Resource) -> Resource:
        kind = resource.kind
        if kind in ANNOUNCED or kind in ("cert_authority", "cluster_name"):
            raise bad_parameter(f"{kind} cannot be written")
        kinds.validate(resource)
        if kind == "role":
            validate.role(resource)
        if not resource.name:
            raise bad_parameter("metadata.name is missing")
        if kind == "token" and resource.name.startswith("****"):
            raise bad_parameter("the token's name is hidden here; `tctl get tokens --with-secrets` shows it")
        if kind == "lock":
            lock = Lock.parse(resource)
            spec = {"created_at": format_time(self.core.now()), "created_by": gate.identity.username, **resource.spec}
            return evolve(resource, spec=spec, metadata=evolve(resource.metadata, expires=lock.expires))
        if kind == "user":
            user = User.parse(resource)
            for role in user.roles:
                if self.core.role(role) is None and await self.core.resources.find("role", role) is None:
                    raise bad_parameter(f"role {role!r} does not exist; `tctl get roles` lists what there is")
            return evolve(resource, metadata=evolve(resource.metadata, expires=user.expires))
        if kind == AUTH_PREFERENCE:
            preference = AuthPreference.parse(resource)
            if preference.second_factors and not {"otp", "webauthn"} & {*preference.second_factors}:
                raise bad_parameter("spec.second_factors must have otp or webauthn")
            if preference.connector_name in ("passwordless", "headless") and (
                "webauthn" not in preference.second_factors
            ):
                raise bad_parameter("spec.connector_name: signing in with a key needs webauthn in second_factors")
            if preference.webauthn_rp_id:
                check_rp_id(preference.webauthn_rp_id)
        if kind in SINGLETONS:
            labels = {**resource.metadata.labels, ORIGIN_LABEL: "dynamic"}
            return evolve(resource, metadata=evolve(resource.metadata, labels=labels))
        return resource

    async def _check_unused(self, role: str) -> None:
        async for resource in self.core.resources.every("user"):
            if role in (resource.spec.get("roles") or ()):
                raise bad_parameter(
                    f"role {role!r} is held by user {resource.name!r}; take it away from the user first"
                )

    async def _find(self, resource: Resource) -> Resource | None:
        """
        What writing would replace, whatever C{sub_kind} it has where names are unique without.
        """
        sub_kind = resource.sub_kind if resource.kind in NAMED_WITHIN_SUB_KIND else ""
        try:
            return await self.core.resources.find(resource.kind, resource.name, sub_kind=sub_kind)
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise

    def _tell(self, gate: Gate, event: Event | None) -> None:
        if event is not None:
            gate.tell(event)
