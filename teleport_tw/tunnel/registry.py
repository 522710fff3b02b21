"""
The proxy's side: which agents are linked, and how to reach them.

L{Registry} is a Twisted factory of links for connections whose ALPN was the tunnel's; each is entered under its host's
id when the certificate behind it was looked at. It is looked at again whenever something has changed that decides about
it, and when it ends: a link lasts no longer than the right to have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.mux.machine import Limits, Role
from teleport_tw.tunnel.endpoints import StreamEndpoint
from teleport_tw.tunnel.heartbeat import DEFAULT_PACE, Pace
from teleport_tw.tunnel.link import DEFAULT_LIMITS, Link
from teleport_tw.tunnel.stream import Stream

KINDS: Mapping[SystemRole, str] = {
    SystemRole.NODE: "node",
    SystemRole.APP: "app",
    SystemRole.DB: "db",
    SystemRole.KUBE: "kube_cluster",
    SystemRole.WINDOWS_DESKTOP: "windows_desktop",
}
"""What a host may serve, by the roles in its certificate."""


@frozen
class Agent:
    """
    A linked host.

    @ivar kinds: the target kinds its certificate lets it serve.
    @ivar links: how many links it has that take streams.
    """

    host_id: str
    kinds: frozenset[str]
    links: int


@define(eq=False)
class _Entry:
    """
    @ivar links: newest last, with the kinds that each link's own certificate is good for: who joined as a database
        agent under a server's id gets nothing that is meant for the server.
    """

    identity: Identity
    links: dict[Link, frozenset[str]] = field(factory=dict)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset[str]().union(*self.links.values())


Watcher = Callable[[str, int], object]
"""Called with a host's id and how many of its links take streams now."""


class Registry(ServerFactory):
    """
    The links of one proxy.
    """

    noisy = False
    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        identify: Callable[[ITransport], Identity],
        *,
        limits: Limits = DEFAULT_LIMITS,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """
        @param identify: says who is at the other end of a connection, from its verified certificate; L{TeleportError}
            turns it away.
        """
        self._clock = clock
        self._identify = identify
        self._limits = limits
        self._pace = pace
        self._entries: dict[str, _Entry] = {}
        self._links: dict[Link, _Entry | None] = {}
        self._watchers: list[Watcher] = []
        self._ends: dict[Link, IDelayedCall] = {}
        self._draining = False

    # --- asked -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """
        How many links there are.
        """
        return len(self._links)

    def __bool__(self) -> bool:
        return True

    def streams(self) -> int:
        """
        @return: how many streams there are on all links.
        """
        return sum(map(len, self._links))

    def agents(self, kind: str = "") -> tuple[Agent, ...]:
        """
        @param kind: only hosts that may serve this; empty for all.
        """
        return tuple(
            Agent(host_id, entry.kinds, len(entry.links))
            for host_id, entry in self._entries.items()
            if not kind or kind in entry.kinds
        )

    def identity(self, host_id: str) -> Identity | None:
        """
        @return: what the newest certificate of a linked host says.
        """
        entry = self._entries.get(host_id)
        return entry.identity if entry is not None else None

    def links(self, host_id: str, kind: str = "") -> list[Link]:
        """
        @param kind: of the target; only links that may serve it; empty for all.
        @return: the host's links that take streams: fewest streams first, the newest of equals first.
        """
        entry = self._entries.get(host_id)
        if entry is None:
            return []
        good = (link for link, kinds in reversed(entry.links.items()) if not kind or kind in kinds)
        return sorted((link for link in good if link.may_open()), key=len)

    def endpoint(self, host_id: str, header: StreamHeader) -> IStreamClientEndpoint:
        """
        @return: connects by whichever of the host's links is best then, of those good for the header's kind of target.
        """
        return StreamEndpoint(lambda: self.links(host_id, header.target_kind), header, self._clock)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """
        Be told when a host's number of links changes.

        @return: call it to be told no more.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def recheck(self) -> None:
        """
        Look at every link's certificate again: a lock or an authority has changed. Links that would not be taken now
        are aborted, with their streams; an agent that has a renewed certificate dials again.
        """
        for link in tuple(self._links):
            self._still_good(link)

    def drain(self) -> Deferred[None]:
        """
        Say go-away on every link, and on each that is still to come.

        @return: fires when all are gone; streams that are open take their time. Cancel it to end them at once.
        """
        self._draining = True
        gone = DeferredList([link.drain() for link in tuple(self._links)])
        return gone.addCallback(lambda _: None)

    # --- what Twisted and the links call ---------------------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Link:
        """
        A link for a connection.
        """
        return Link(Role.SERVER, self._clock, self, limits=self._limits, pace=self._pace)

    def link_up(self, link: Link) -> None:
        """
        Enter the link under its host.
        """
        self._links[link] = None
        if self._draining:
            link.drain()
            return
        identity = self._still_good(link)
        if identity is None:
            return
        kinds = frozenset(KINDS[role] for role in identity.system_roles if role in KINDS)
        entry = self._entries.get(identity.host_id)
        if entry is None:
            entry = self._entries[identity.host_id] = _Entry(identity)
        entry.identity = identity
        entry.links[link] = kinds
        self._links[link] = entry
        self._changed(entry)

    def _still_good(self, link: Link) -> Identity | None:
        """
        @return: who is at the other end; C{None}, the link was aborted.
        """
        transport = link.transport
        if not link.connected or transport is None:
            return None
        try:
            identity = self._identify(transport)
            if not identity.host_id:
                raise access_denied(details=f"{identity.username} is no host")
        except TeleportError as error:
            self._log.warn("link from {peer} refused: {error} ({details})", peer=link.peer, error=error.message,
                           details=error.details)  # fmt: skip
            self._forget_end(link)
            self._remove(link)
            link.abort()
            return None
        if identity.expires is not None and link not in self._ends:
            left = identity.expires.timestamp() - self._clock.seconds()
            self._ends[link] = self._clock.callLater(max(left, 0.0) + 1, self._ended, link)
        return identity

    def _ended(self, link: Link) -> None:
        del self._ends[link]
        self._still_good(link)

    def _forget_end(self, link: Link) -> None:
        call = self._ends.pop(link, None)
        if call is not None:
            call.cancel()

    def stream_opened(self, link: Link, stream: Stream) -> None:
        """
        Agents open no streams.
        """
        stream.abortConnection()

    def link_away(self, link: Link) -> None:
        """
        The agent is going; its streams go on.
        """
        self._remove(link)

    def link_down(self, link: Link) -> None:
        """
        The link is gone.
        """
        self._forget_end(link)
        self._remove(link)
        self._links.pop(link, None)

    def _remove(self, link: Link) -> None:
        entry = self._links.get(link)
        if entry is None or link not in entry.links:
            return
        del entry.links[link]
        if not entry.links:
            self._entries.pop(entry.identity.host_id, None)
        self._changed(entry)

    def _changed(self, entry: _Entry) -> None:
        for watcher in tuple(self._watchers):
            watcher(entry.identity.host_id, len(entry.links))
