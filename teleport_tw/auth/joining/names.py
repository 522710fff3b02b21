"""
Whose a name is: what a host may have in its certificate beside what is another's.

Clients believe a host certificate for every name in it. A host says itself how it is called, so a name has an owner:

  - a proxy's name is the proxies' that are certified for it, until the last of those certificates has ended;
  - any other host's is the first one's that was certified for it, for as long as that host is registered, and for
    L{GRACE} after it was certified, in which it has not announced itself yet;
  - the cluster's own name is for hosts that are proxy or auth.

A proxy takes the name of a host that is none, since proxies' tokens are the more trusted. One host may be several
things, so nothing is foreign among services of one id. What everybody has (C{localhost}) is nobody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

from attrs import define
from twisted.logger import Logger

from teleport_tw.auth.issuance import HOST_TTL, with_twin
from teleport_tw.backends.interface import Backend
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.pki.identity import SystemRole
from teleport_tw.stores import layout, records
from teleport_tw.stores.resources import ResourceStore

GRACE: Duration = timedelta(minutes=10)
"""From its certificate to its first announcement, at most."""

REGISTERED = ("node", "instance")
"""Where every host that runs is announced; stock SSH servers stay among nodes for good."""


@define(eq=False)
class CertifiedNames:
    """
    Remembers in the store who was certified for which name.
    """

    backend: Backend
    resources: ResourceStore
    cluster: str
    _log = Logger()

    async def owned(
        self, host_id: str, roles: Collection[SystemRole], names: Iterable[str], now: datetime
    ) -> tuple[str, ...]:
        """
        Take the names for a host, as far as they are free.

        @param names: lower case, of which single labels come with a twin in the cluster; see
            L{teleport_tw.auth.issuance.host_names}.
        @return: those that are the host's own from now on.
        """
        proxy = bool({SystemRole.PROXY, SystemRole.AUTH, SystemRole.ADMIN} & {*roles})
        kept: list[str] = []
        foreign: list[str] = []
        for name in names:
            (kept if await self._take_all(with_twin(name, self.cluster), host_id, proxy, now) else foreign).append(name)
        if foreign:
            self._log.warn(
                "host {host} is not certified as {names}: they are a proxy's, or another registered host's",
                host=host_id,
                names=", ".join(foreign),
            )
        return tuple(kept)

    async def _take_all(self, names: Iterable[str], host_id: str, proxy: bool, now: datetime) -> bool:
        for name in names:
            if is_everybodys(name.removesuffix(f".{self.cluster.lower()}")):
                continue
            if not await self._take(name, host_id, proxy, now):
                return False
        return True

    async def _take(self, name: str, host_id: str, proxy: bool, now: datetime) -> bool:
        if name == self.cluster.lower() and not proxy and not await self._is_central(host_id):
            return False
        key = layout.certified_name_key(sha256(name.encode()).hexdigest())
        before = await records.read(self.backend, key)
        gone = before is not None and not await self._is_there(str(before.get("host") or ""), before, now)
        taken = True

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal taken
            record: dict[str, Any] = dict(fields or {})
            ends = {each: until for each, until in dict(record.get("proxies") or {}).items() if parse_time(until) > now}
            holder = record.get("host") or ""
            free = not holder or holder == host_id or (gone and before is not None and before.get("host") == holder)
            taken = proxy or host_id in ends or (not ends and free)
            if proxy:
                ends[host_id] = format_time(now + HOST_TTL)
            elif taken:
                record |= {"host": host_id, "since": format_time(now)}
            # A record that nobody renews is of use to nobody.
            return records.Change({**record, "proxies": ends}, now + HOST_TTL if taken else _last(ends, record))

        await records.change(self.backend, key, step)
        return taken

    async def _is_there(self, host_id: str, record: records.Fields, now: datetime) -> bool:
        """
        @return: whether a holder still is: registered, or certified so shortly ago that it need not be.
        """
        if not host_id:
            return False
        if parse_time(str(record["since"])) > now - GRACE:
            return True
        for kind in REGISTERED:
            if await self.resources.find(kind, host_id) is not None:
                return True
        return False

    async def _is_central(self, host_id: str) -> bool:
        """
        @return: whether auth or a proxy runs under the same id.
        """
        if await self.resources.find("auth_server", host_id) is not None:
            return True
        known = await records.read(self.backend, layout.known_host_key(host_id))
        return known is not None and SystemRole.PROXY.value in known["roles"]


def is_everybodys(name: str) -> bool:
    """
    @return: whether every host has this name or address for itself.
    """
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _last(ends: dict[str, str], record: records.Fields) -> datetime | None:
    """
    @return: when the record may go, where it was not renewed.
    """
    times = [parse_time(until) for until in ends.values()]
    if record.get("since"):
        times.append(parse_time(str(record["since"])) + HOST_TTL)
    return max(times, default=None)
