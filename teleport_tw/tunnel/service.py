"""
Tunnels as Twisted services: started, and drained when they stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from teleport_tw.base.timing import Duration
from teleport_tw.tunnel.dialer import Dialer
from teleport_tw.tunnel.endpoints import Receptionist
from teleport_tw.tunnel.registry import Registry

DRAIN_TIMEOUT = Duration(seconds=30)
"""How long sessions may take to end when a service stops."""


class AgentTunnel(Service):
    """
    An agent's links: one for each proxy.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        receptionist: Receptionist,
        make: Callable[[str, IStreamClientEndpoint, Receptionist], Dialer],
        proxies: Mapping[str, IStreamClientEndpoint],
        *,
        drain_timeout: Duration = DRAIN_TIMEOUT,
    ) -> None:
        """
        @param make: makes a dialler, not started, of a proxy's address and endpoint.
        @param proxies: by address.
        """
        self.drain_timeout = drain_timeout
        self._clock = clock
        self._receptionist = receptionist
        self._make = make
        self._dialers = {name: make(name, endpoint, receptionist) for name, endpoint in proxies.items()}

    @property
    def dialers(self) -> tuple[Dialer, ...]:
        """
        One for each proxy.
        """
        return tuple(self._dialers.values())

    @property
    def links(self) -> int:
        """
        How many proxies we are linked to now.
        """
        return sum(dialer.link is not None for dialer in self._dialers.values())

    def set_proxies(self, proxies: Mapping[str, IStreamClientEndpoint]) -> None:
        """
        The proxies have changed: dial the new ones, leave those that are gone to their streams.
        """
        for name in self._dialers.keys() - proxies.keys():
            self._bounded(self._dialers.pop(name))
        for name in proxies.keys() - self._dialers.keys():
            dialer = self._dialers[name] = self._make(name, proxies[name], self._receptionist)
            if self.running:
                dialer.start()

    def startService(self) -> None:
        """
        Dial every proxy.
        """
        super().startService()  # type: ignore[no-untyped-call]
        for dialer in self.dialers:
            dialer.start()

    def stopService(self) -> Deferred[None]:
        """
        Take no more streams and let those that are open end.

        @return: fires when every link is gone, after C{drain_timeout} at the latest.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        gone = DeferredList([self._bounded(dialer) for dialer in self.dialers])
        return gone.addCallback(lambda _: self._receptionist.stop())

    def _bounded(self, dialer: Dialer) -> Deferred[None]:
        return dialer.stop().addTimeout(self.drain_timeout.total_seconds(), self._clock)


class ProxyTunnel(Service):
    """
    A proxy's links; what listens is not ours, so they only have an end.
    """

    def __init__(self, clock: IReactorTime, registry: Registry, *, drain_timeout: Duration = DRAIN_TIMEOUT) -> None:
        self.registry = registry
        self.drain_timeout = drain_timeout
        self._clock = clock

    def stopService(self) -> Deferred[None]:
        """
        Say go-away to every agent and let streams end.

        @return: fires when every link is gone, after C{drain_timeout} at the latest.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self.registry.drain().addTimeout(self.drain_timeout.total_seconds(), self._clock)
