"""
Certificate authorities, their private halves in items of their own.

What lies under C{resources/} is the public half, so no list, watch or mirror can leak a key; L{Authorities} alone joins
the two. Both halves are written in one batch and carry the same revision.
"""

from __future__ import annotations

from attrs import evolve, frozen

from teleport_tw.backends.interface import Backend, Condition, Delete, Expected, Put
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.resources.authorities import KIND, public_half
from teleport_tw.resources.metadata import Resource
from teleport_tw.stores.codec import decode, encode
from teleport_tw.stores.layout import authority_key, resource_key
from teleport_tw.stores.resources import ResourceStore, parse_revision


@frozen
class Authorities:
    """
    The authorities of the cluster and of those it trusts.
    """

    _backend: Backend

    async def get(self, type_: str, cluster: str, *, with_secrets: bool = False) -> Resource:
        """
        @param type_: the sub_kind: C{host}, C{user} and so on.
        @raise TeleportError: NOT_FOUND.
        """
        public = decode(await self._backend.get(resource_key(KIND, type_, cluster)))
        if not with_secrets:
            return public
        for _ in range(_RACES):
            try:
                item = await self._backend.get(authority_key(type_, cluster))
            except TeleportError as error:
                if error.kind is Kind.NOT_FOUND:
                    return public  # of a cluster we trust: there are no private halves here
                raise
            if str(item.revision) == public.revision:
                private = decode(item)
                return evolve(public, spec=private.spec)
            public = decode(await self._backend.get(resource_key(KIND, type_, cluster)))
        raise TeleportError(Kind.COMPARE_FAILED, f"the {type_} authority is changing too fast; try again")

    async def list(self, type_: str = "", *, with_secrets: bool = False) -> tuple[Resource, ...]:
        """
        @param type_: empty for all.
        """
        found = [each async for each in ResourceStore(self._backend).every(KIND, sub_kind=type_)]
        if not with_secrets:
            return tuple(found)
        return tuple([await self.get(each.sub_kind, each.name, with_secrets=True) for each in found])

    async def create(self, resource: Resource) -> Resource:
        """
        @param resource: with its private halves, where they are known here.
        @return: as stored, private halves included.
        @raise TeleportError: ALREADY_EXISTS.
        """
        return await self._write(resource, Condition.ABSENT)

    async def update(self, resource: Resource) -> Resource:
        """
        @return: as stored, private halves included.
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED when somebody changed it since.
        """
        return await self._write(resource, parse_revision(resource.revision))

    async def upsert(self, resource: Resource) -> Resource:
        """
        @return: as stored, private halves included.
        """
        return await self._write(resource, Condition.ANY)

    async def delete(self, type_: str, cluster: str) -> None:
        """
        @raise TeleportError: NOT_FOUND.
        """
        await self._backend.batch(
            (Delete(resource_key(KIND, type_, cluster)), Delete(authority_key(type_, cluster), Condition.ANY))
        )

    async def _write(self, resource: Resource, expected: Expected) -> Resource:
        public = public_half(resource)
        key = resource_key(KIND, resource.sub_kind, resource.name)
        secret = authority_key(resource.sub_kind, resource.name)
        expires = resource.metadata.expires
        half: Put | Delete = Delete(secret, Condition.ANY)
        if public.spec != resource.spec:
            half = Put(secret, encode(resource), expires)
        revision = await self._backend.batch((Put(key, encode(public), expires, expected), half))
        return resource.with_revision(str(revision))


_RACES = 16
