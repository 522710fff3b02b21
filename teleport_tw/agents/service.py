"""
What every agent does beside serving: it tells the cluster that it is alive, and what its labels are now.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

import teleport_tw
from teleport_tw.api.contract import Presence
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration, format_duration, utc_now
from teleport_tw.config.sections import CommandLabel, SSHService
from teleport_tw.resources.instances import Instance
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import Node

HEARTBEAT = Duration(minutes=1)
LEASE = Duration(minutes=10)
"""A host whose heartbeats end leaves the lists so much later."""

MAX_LABEL_BYTES = 1024
"""Of a command's output; a label is shown in tables and matched by roles."""

COMMAND_SECONDS = 10.0
"""A command that takes longer is killed, and its label keeps what it was."""


def canceller(pause: Deferred[None]) -> Callable[[None], None]:
    """
    @return: a callback that ends a pause before its time.
    """
    return lambda _: pause.cancel()


class _Output(ProcessProtocol):
    """
    Collects a command's standard output, up to a bound.
    """

    def __init__(self) -> None:
        self.ended: Deferred[bytes] = Deferred(lambda _: self._kill())
        self._data = b""

    def connectionMade(self) -> None:
        """
        It gets no input.
        """
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        """
        Part of the output.
        """
        self._data = (self._data + data)[:MAX_LABEL_BYTES]

    def processEnded(self, reason: Failure) -> None:
        """
        Its exit status counts.
        """
        if self.ended.called:
            return
        if isinstance(reason.value, ProcessDone):
            self.ended.callback(self._data)
        else:
            self.ended.errback(reason)

    def _kill(self) -> None:
        if self.transport is not None and self.transport.pid:
            self.transport.signalProcess("KILL")


class CommandLabels(Service):
    """
    Labels whose values are what commands print, run by no shell.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, commands: Sequence[CommandLabel], reactor: Any) -> None:
        """
        @param reactor: C{IReactorProcess} and C{IReactorTime}.
        """
        self._commands = commands
        self._reactor = reactor
        self._values: dict[str, str] = {}
        self._tasks = Tasks()
        self.changed: Callable[[], object] = lambda: None

    def values(self) -> Mapping[str, str]:
        """
        @return: label to value, for the commands that have succeeded so far.
        """
        return dict(self._values)

    def spec(self) -> dict[str, Any]:
        """
        @return: C{spec.cmd_labels} of the node.
        """
        return {
            label.name: {
                "period": format_duration(label.period),
                "command": list(label.command),
                "result": self._values.get(label.name, ""),
            }
            for label in self._commands
        }

    def startService(self) -> None:
        """
        Run each now and then every period.
        """
        super().startService()  # type: ignore[no-untyped-call]
        for label in self._commands:
            self._tasks.spawn(f"label {label.name}", self._repeat(label))

    def stopService(self) -> None:
        """
        Commands that run are killed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()

    async def _repeat(self, label: CommandLabel) -> None:
        while True:
            await self._update(label)
            await deferLater(self._reactor, max(1.0, label.period.total_seconds()), lambda: None)

    async def _update(self, label: CommandLabel) -> None:
        output = _Output()
        reactor: IReactorProcess = self._reactor
        try:
            reactor.spawnProcess(output, label.command[0], label.command, env=dict(os.environ))
            data = await output.ended.addTimeout(COMMAND_SECONDS, self._reactor)
        except Exception as error:
            self._log.warn("label {name}: its command failed: {error}", name=label.name, error=str(error))
            return
        value = data.decode("utf-8", "replace").strip()
        if self._values.get(label.name) != value:
            self._values[label.name] = value
            self.changed()


@define(eq=False, kw_only=True)
class Announcer(Service):
    """
    Heartbeats of a node and of the process it is in.

    @ivar labels: the node's command labels.
    @ivar use_tunnel: whether it is reached by its tunnel and listens on no port.
    """

    api: Presence
    clock: Any
    host_id: str
    hostname: str
    section: SSHService
    labels: CommandLabels
    use_tunnel: bool
    advertise_ip: str = ""
    services: tuple[str, ...] = ("Node",)
    every: Duration = HEARTBEAT
    lease: Duration = LEASE
    _tasks: Tasks = field(factory=Tasks, init=False)
    _poke: Deferred[None] | None = field(default=None, init=False)
    _stale: bool = field(default=False, init=False)
    _log: ClassVar[Logger] = Logger()

    def startService(self) -> None:
        """
        The first heartbeat at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self.labels.changed = self.announce_soon
        self._tasks.spawn("heartbeats", self._beat())

    def stopService(self) -> Deferred[None]:
        """
        Leave the list at once.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._leave())

    def announce_soon(self) -> None:
        """
        A label has changed.
        """
        self._stale = True
        poke, self._poke = self._poke, None
        if poke is not None:
            poke.callback(None)

    def node(self) -> Resource:
        """
        @return: this host as the cluster lists it.
        """
        port = self.section.listen_addr.rpartition(":")[2]
        address = "" if self.use_tunnel else f"{self.advertise_ip or self.hostname}:{port}"
        return Node(
            name=self.host_id,
            hostname=self.hostname,
            addr=address,
            public_addrs=self.section.public_addr,
            use_tunnel=self.use_tunnel,
            version=teleport_tw.__version__,
            labels=self.section.labels,
            command_labels=self.labels.spec(),
        ).to_resource()

    def instance(self) -> Resource:
        """
        @return: this process as the inventory lists it.
        """
        return Instance(
            name=self.host_id,
            hostname=self.hostname,
            version=teleport_tw.__version__,
            services=self.services,
            last_seen=utc_now(),
        ).to_resource()

    async def _beat(self) -> None:
        while self.running:
            self._stale = False
            wait = self.every.total_seconds() * (0.9 + 0.2 * random.random())  # noqa: S311  # spreads load, hides nothing
            try:
                await self.api.heartbeat(self.node(), self.lease)
                await self.api.heartbeat(self.instance(), self.lease)
            except TeleportError as error:
                self._log.warn("auth did not hear that we are alive: {error}", error=error.message)
                wait = min(wait, 5.0)
            if self._stale:
                continue
            self._poke = Deferred()
            pause = deferLater(self.clock, wait, lambda: None)
            self._poke.addCallback(canceller(pause))
            with suppress(CancelledError):
                await pause
            self._poke = None

    async def _leave(self) -> None:
        try:
            await Deferred.fromCoroutine(self.api.goodbye("node", self.host_id)).addTimeout(3, self.clock)
        except Exception as error:
            self._log.debug("auth did not hear that we leave: {error}", error=repr(error))
