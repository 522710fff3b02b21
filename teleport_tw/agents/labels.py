"""
Labels whose values are what commands print.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import format_duration
from teleport_tw.config.sections import CommandLabel

MAX_LABEL_BYTES = 1024
"""Of a command's output; a label is shown in tables and matched by roles."""

COMMAND_SECONDS = 10.0
"""A command that takes longer is killed, and its label keeps what it was."""


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
