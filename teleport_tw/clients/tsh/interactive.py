"""
One session, joined to this process's standard input and output.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.net.files import FileSink
from teleport_tw.clients import terminal
from teleport_tw.clients.terminal import Escape, Escapes
from teleport_tw.clients.tsh.features import Features
from teleport_tw.clients.tsh.target import passed_variables
from teleport_tw.clients.tsh.way import say
from teleport_tw.conch.connection import Connection
from teleport_tw.dial.session import LOST_STATUS, ClientSession

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.attending import Attending

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Session:
    """
    Runs one command or shell.
    """

    def __init__(
        self,
        reactor: Any,
        connection: Connection,
        features: Features,
        attend: Callable[[Callable[[bytes], object]], Attending] | None = None,
    ) -> None:
        """
        @param attend: in a session that is joined: makes what answers when the server asks whether one is there, given
            where it writes.
        """
        self._reactor = reactor
        self._connection = connection
        self._features = features
        self._escapes: Escapes | None = None
        self._session: ClientSession
        self._input: Any = None
        self._left = False
        self._attend = attend
        self._attending: Attending | None = None

    async def run(
        self, command: str, *, with_terminal: bool, escapes: bool, variables: Mapping[str, str] | None = None
    ) -> int:
        """
        @param command: empty for a shell.
        @param variables: told to the server beside those it is always told.
        @param escapes: whether C{~.} means something; only at a terminal.
        @return: the exit status.
        """
        reactor = self._reactor
        with ExitStack() as stack:
            stack.enter_context(terminal.blocking_again(0, 1, 2))
            output = FileSink(reactor, os.dup(1), on_full=self._pause, on_room=self._resume)
            errors = FileSink(reactor, os.dup(2), on_full=self._pause, on_room=self._resume)
            session = self._session = self._made(output, errors)
            await self._connection.open(session)
            if self._features.trusted_x11 is not None:
                from teleport_tw.clients.tsh import x11

                await x11.offer(self._features, session)
            shown = terminal.current() if with_terminal else None
            if with_terminal and escapes and os.isatty(0):
                self._escapes = Escapes()
            if with_terminal and os.isatty(0):
                stack.enter_context(terminal.raw(0))
                self._follow_size(stack)
            else:
                self._follow_signals(stack)
            await session.begin(
                command=command,
                terminal=shown,
                variables={**passed_variables(os.environ), **(variables or {})},
                agent=self._features.agent,
            )
            self._input = terminal.source(reactor, os.dup(0), self._typed, session.loseWriteConnection)
            session.registerProducer(self._input, True)
            self._input.resumeProducing()
            try:
                status = await session.ended
            finally:
                if self._attending is not None:
                    self._attending.end()
                self._input.stopProducing()
                await terminal.flushed(output, reactor)
                await terminal.flushed(errors, reactor)
                output.abort()
                errors.abort()
        if self._connection.stopped and status == LOST_STATUS and not self._left:
            say("ERROR: the connection to the server was lost")
        elif session.signal:
            say(f"The command was ended by SIG{session.signal}.")
        return status

    def _made(self, output: FileSink, errors: FileSink) -> ClientSession:
        if self._attend is None:
            return ClientSession(output.write, errors.write)
        from teleport_tw.clients.tsh.attending import WatchedSession  # what asks for second factors is slow to load

        session = WatchedSession(output.write, errors.write)
        self._attending = session.attending = self._attend(output.write)
        return session

    def _pause(self) -> None:
        self._session.pauseProducing()

    def _resume(self) -> None:
        self._session.resumeProducing()

    def _typed(self, data: bytes) -> None:
        if self._attending is not None:
            data = self._attending.typed(data)
        if self._escapes is None:
            self._session.write(data)
            return
        sent, asked = self._escapes.feed(data)
        self._session.write(sent)
        for escape in asked:
            if escape is Escape.HELP:
                os.write(2, terminal.HELP.encode())
            else:
                self._left = True
                os.write(2, b"\r\nDisconnected.\r\n")
                self._connection.transport.abortConnection()

    def _follow_size(self, stack: ExitStack) -> None:
        def changed(*_: object) -> None:
            self._reactor.callFromThread(lambda: self._session.resized(terminal.current()))

        before = signal.signal(signal.SIGWINCH, changed)
        stack.callback(signal.signal, signal.SIGWINCH, before)

    def _follow_signals(self, stack: ExitStack) -> None:
        def came(number: int, *_: object) -> None:
            def tell() -> None:
                with suppress(TeleportError):
                    self._session.send_signal(signal.Signals(number).name.removeprefix("SIG"))
                self._reactor.callLater(1, self._connection.transport.abortConnection)

            self._reactor.callFromThread(tell)

        for number in _FORWARDED:
            before = signal.signal(number, came)
            stack.callback(signal.signal, number, before)
