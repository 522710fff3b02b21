"""
What auth signs for a proxy, asked for once and used until shortly before it ends.

Nothing is signed per connection: the certificate with which the proxy stands in for a server lasts a day, the one that
lets a user into a stock sshd some minutes, and each is shared by all connections that need the same.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from teleport_tw.api.contract import Certificates, HostIssueRequest, OpenSSHIssueRequest, PublicKeys
from teleport_tw.base.tasks import Tasks
from teleport_tw.conch.signatures import HostKeys, MemorySigner
from teleport_tw.pki import sshcert
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.nodes import Node

MAX_KEPT = 8192
"""Certificates of each sort; the one not used for longest goes first."""

EARLY_SECONDS = 60.0
"""So long before its end a certificate is replaced: logins take time, and clocks differ."""

K = TypeVar("K")
V = TypeVar("V")


class Issues(Protocol):
    """
    The part of L{teleport_tw.api.contract.Ceremonies} that is asked here.
    """

    async def issue_host(self, request: HostIssueRequest) -> Certificates:
        """
        For names of registered servers.
        """
        ...

    async def issue_openssh(self, request: OpenSSHIssueRequest) -> bytes:
        """
        For a user on the way to a server without an agent.
        """
        ...


@define(eq=False)
class Kept(Generic[K, V]):
    """
    Values that are good for a while.

    One question at a time is asked for each key, by nobody's connection in particular: whoever wanted the answer first
    may be gone when it comes.
    """

    clock: IReactorTime
    most: int = MAX_KEPT
    tasks: Tasks = field(factory=Tasks)
    _values: OrderedDict[K, tuple[V, float]] = field(factory=OrderedDict, init=False)
    _waiting: dict[K, list[Deferred[V]]] = field(factory=dict, init=False)
    _asking: set[K] = field(factory=set, init=False)

    async def get(self, key: K, make: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """
        @param make: asks; answers the value and the second from which it is no good.
        @raise TeleportError: whatever C{make} raises; it is asked again next time.
        """
        known = self._values.get(key)
        if known is not None and known[1] > self.clock.seconds():
            self._values.move_to_end(key)
            return known[0]
        waiting = self._waiting.setdefault(key, [])
        answer: Deferred[V] = Deferred(waiting.remove)
        waiting.append(answer)
        if key not in self._asking:
            self._asking.add(key)
            self.tasks.spawn("asking auth for a certificate", self._ask(key, make))
        return await answer

    async def _ask(self, key: K, make: Callable[[], Awaitable[tuple[V, float]]]) -> None:
        try:
            value, good_until = await make()
        except Exception:  # whoever waits is told, whatever it is
            failure = Failure()
            for each in self._waiting.pop(key, []):
                each.errback(failure)
            return
        finally:
            self._asking.discard(key)
        self._values[key] = (value, good_until)
        self._values.move_to_end(key)
        while len(self._values) > self.most:
            self._values.popitem(last=False)
        for each in self._waiting.pop(key, []):
            each.callback(value)

    def clear(self) -> None:
        """
        Forget everything.
        """
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


@define(eq=False)
class StandIns:
    """
    With what the proxy shows itself in place of a server.
    """

    api: Issues
    clock: IReactorTime
    cluster: str
    _key: PrivateKey = field(factory=PrivateKey.generate_ssh, init=False)
    _kept: Kept[tuple[str, ...], HostKeys] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Kept(self.clock)

    async def host_keys(self, node: Node) -> HostKeys:
        """
        @return: a key certified for all names of C{node}.
        @raise TeleportError: auth signs none, or cannot be reached.
        """
        names = node.names(self.cluster)
        return await self._kept.get(names, lambda: self._ask(names))

    async def _ask(self, names: tuple[str, ...]) -> tuple[HostKeys, float]:
        public = PublicKeys(ssh=ssh_keys.format_line(self._key.ssh_public).encode())
        issued = await self.api.issue_host(HostIssueRequest(principals=names, keys=public))
        blob = ssh_keys.parse_line(issued.ssh.decode("ascii").strip()).blob
        return HostKeys([(self._key.native, blob)]), _good_until(blob)

    def clear(self) -> None:
        """
        The authority has other keys now.
        """
        self._kept.clear()

    def cancel(self) -> None:
        """
        Nobody asks any more.
        """
        self._kept.tasks.cancel()


@frozen
class _Visitor:
    certificate: bytes
    login: str
    node: str


@define(eq=False)
class Passes:
    """
    What lets a user into servers without an agent.
    """

    api: Issues
    clock: IReactorTime
    _kept: Kept[_Visitor, MemorySigner] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Kept(self.clock)

    async def signer(self, certificate: bytes, login: str, node: str) -> MemorySigner:
        """
        @param certificate: the user's own, blob, verified.
        @param node: the server's id.
        @return: a key and its certificate of the C{openssh} authority.
        @raise TeleportError: auth says no, or cannot be reached.
        """
        visitor = _Visitor(hashlib.sha256(certificate).digest(), login, node)
        return await self._kept.get(visitor, lambda: self._ask(certificate, login, node))

    async def _ask(self, certificate: bytes, login: str, node: str) -> tuple[MemorySigner, float]:
        key = PrivateKey.generate_ssh()
        request = OpenSSHIssueRequest(
            user_certificate=sshcert.line(certificate).encode("ascii"),
            login=login,
            node=node,
            ssh_key=ssh_keys.format_line(key.ssh_public).encode(),
        )
        issued = await self.api.issue_openssh(request)
        blob = ssh_keys.parse_line(issued.decode("ascii").strip()).blob
        return MemorySigner(key.native, blob), _good_until(blob)

    def clear(self) -> None:
        """
        The authority has other keys now, or somebody's roles have changed.
        """
        self._kept.clear()

    def cancel(self) -> None:
        """
        Nobody asks any more.
        """
        self._kept.tasks.cancel()


def _good_until(blob: bytes) -> float:
    return certificates.parse(blob).valid_before - EARLY_SECONDS
