"""
The terminals of all pages: where they begin, are found again, and end with the proxy.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import Api
from teleport_tw.api.streams import address_text
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks
from teleport_tw.web.envelope import Envelope
from teleport_tw.web.greeting import Greeting, Threshold
from teleport_tw.web.reach import Reach
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.routes import Call, Reply, Route, Who
from teleport_tw.web.sessions import Session
from teleport_tw.web.shapes import Text
from teleport_tw.web.shell import RESTART, SIGNED_OUT, Wanted
from teleport_tw.web.terminal import Terminal
from teleport_tw.web.websocket import Conversation, Socket, Upgrade, check_upgrade

MAX_OF_ONE = 250
"""Terminals that one sign-in may have at a time; nobody looks at so many tabs."""

SWEEP_SECONDS = 30.0
"""Between two looks whether who signed in still is; to type counts as being active."""

MAX_PARAMS = 2048
"""Characters of what a page asks for."""


@define(eq=False, repr=False)
class Attachment:
    """
    One WebSocket of a terminal: a L{teleport_tw.web.websocket.Conversation}.
    """

    terminal: Terminal
    greeting: Greeting

    def opened(self, socket: Socket) -> None:
        """See L{Conversation.opened}."""
        self.terminal.attached(self, socket, self.greeting)

    def text(self, text: str) -> None:
        """See L{Conversation.text}."""
        raise RemoteProtocolError("envelopes are binary messages")

    def binary(self, data: bytes) -> None:
        """See L{Conversation.binary}."""
        if self.terminal.attachment is self:
            self.terminal.heard(Envelope.decode(data))

    def flow(self) -> None:
        """See L{Conversation.flow}."""
        if self.terminal.attachment is self:
            self.terminal.flow()

    def lost(self, code: int) -> None:
        """See L{Conversation.lost}."""
        if self.terminal.attachment is self:
            self.terminal.detached(code)


@define(eq=False, kw_only=True, repr=False)
class Terminals(Service):
    """
    All of them, by the id that resumes them.

    @ivar still: asks about a session on the web, by its id and whether its user did something; raises
        L{Refusal} 401 when it is over.
    """

    reach: Reach
    clock: IReactorTime
    still: Callable[[Secret[str], bool], Awaitable[object]]
    _running: dict[str, Terminal] = field(factory=dict, init=False)

    _leaving: bool = field(default=False, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def startService(self) -> None:
        """
        From now on sessions on the web are looked at now and then.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("looking after pages", self._sweep())

    def stopService(self) -> None:
        """
        What is left ends.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        self.farewell()

    async def _sweep(self) -> None:
        while True:
            await deferLater(self.clock, SWEEP_SECONDS)
            active: dict[Secret[str], bool] = {}
            for terminal in self._running.values():
                id = terminal.session.id
                active[id] = terminal.was_used() or active.get(id, False)
            for id, used in active.items():
                try:
                    await self.still(id, used)
                except Refusal as error:
                    if error.status == 401:
                        self.signed_out(id)
                except TeleportError as error:
                    self._log.warn("it is not known whether a user is still signed in: {error}", error=error.message)

    def routes(self) -> Sequence[Route]:
        """
        @return: its part of the table.
        """
        return (
            Route(
                method="GET",
                path="/sites/<site>/connect/ws",
                handler=self.connect,
                about="A terminal on a server, as a WebSocket; see docs/protocols/terminal.rst.",
                who=Who.SOCKET,
                query={"params": Text(least=2, most=MAX_PARAMS, about="JSON: server_id, login, sid, mode, term")},
            ),
        )

    def __len__(self) -> int:
        return len(self._running)

    async def connect(self, call: Call) -> Reply:
        """
        The upgrade; whether a session begins or goes on, the first message says.
        """
        check_upgrade(call.request)
        wanted = Wanted.parse(call.query.get("params", ""))
        session, api = call.user, call.api
        address = address_text(call.request.getClientAddress())

        def welcome(socket: Socket, greeting: Greeting) -> Conversation:
            if greeting.resume:
                return Attachment(self._found(greeting.resume, session), greeting)
            return Attachment(self._begin(session, api, wanted, address), greeting)

        return Upgrade(Threshold(session.bearer, welcome, self.clock), self.clock)

    def _found(self, id: str, session: Session) -> Terminal:
        found = self._running.get(id)
        if found is None or found.session.id != session.id:
            raise not_found("that session is over; open a new one")
        return found

    def _begin(self, session: Session, api: Api, wanted: Wanted, address: str) -> Terminal:
        if sum(each.session.id == session.id for each in self._running.values()) >= MAX_OF_ONE:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"more than {MAX_OF_ONE} terminals are open; close one first")
        terminal = Terminal(
            id=secrets.token_urlsafe(24),
            session=session,
            api=api,
            reach=self.reach,
            wanted=wanted,
            address=address,
            clock=self.clock,
            ended=self._ended,
        )
        self._running[terminal.id] = terminal
        if self._leaving:
            terminal.close(RESTART)
        return terminal

    def _ended(self, terminal: Terminal) -> None:
        self._running.pop(terminal.id, None)

    def signed_out(self, id: Secret[str]) -> None:
        """
        A session on the web is over, and so are its terminals.

        @param id: the session's.
        """
        for terminal in tuple(self._running.values()):
            if terminal.session.id == id:
                terminal.close(SIGNED_OUT)

    def farewell(self) -> None:
        """
        The proxy goes; every page is told, and who comes meanwhile.
        """
        self._leaving = True
        for terminal in tuple(self._running.values()):
            terminal.close(RESTART)
            terminal.finish()
