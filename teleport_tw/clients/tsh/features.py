"""
What C{tsh ssh} does beside the session: forwarded ports, the ssh-agent, windows.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.tsh.way import say
from teleport_tw.conch.connection import Connection
from teleport_tw.dial.session import Refusing

if TYPE_CHECKING:
    from teleport_tw.dial.forward import Answering, PortForward

_YES = ("yes", "true", "on")


@frozen(kw_only=True)
class Features:
    """
    @ivar agent: whether the server may use the ssh-agent.
    @ivar trusted_x11: windows without restrictions; C{None} for no windows.
    @ivar responder: answers the server; it refuses everything where nothing was asked for, and what forwards ports is
        not even loaded then.
    """

    reactor: Any
    local: Sequence[PortForward]
    remote: Sequence[PortForward]
    agent: bool = False
    trusted_x11: bool | None = None
    strict: bool = False
    responder: Answering | Refusing = field()

    @responder.default
    def _responder(self) -> Answering | Refusing:
        if not self.remote and not self.agent and self.trusted_x11 is None:
            return Refusing()
        from teleport_tw.dial.forward import Answering

        return Answering(self.reactor, os.environ.get("SSH_AUTH_SOCK", "") if self.agent else "")

    @property
    def answering(self) -> Answering:
        """
        The responder, where something was offered.
        """
        from teleport_tw.dial.forward import Answering

        assert isinstance(self.responder, Answering), "something is offered"
        return self.responder

    @classmethod
    def of(cls, options: argparse.Namespace, said: Mapping[str, str], reactor: Any) -> Features:
        """
        @param said: C{-o}, names in lower case.
        @raise TeleportError: BAD_PARAMETER, a port cannot be read.
        """
        dynamic = [*options.dynamic_forward, *filter(None, [said.get("dynamicforward", "")])]
        local = [*options.forward, *filter(None, [said.get("localforward", "").replace(" ", ":")])]
        remote = [*options.remote_forward, *filter(None, [said.get("remoteforward", "").replace(" ", ":")])]
        trusted = True if options.x11_trusted else False if options.x11_untrusted else None
        if trusted is None and said.get("forwardx11", "") in _YES:
            trusted = said.get("forwardx11trusted", "") in _YES
        return cls(
            reactor=reactor,
            local=_ports(local, dynamic),
            remote=_ports(remote, ()),
            agent=options.forward_agent or said.get("forwardagent", "") in _YES,
            trusted_x11=trusted,
            strict=said.get("exitonforwardfailure", "") in _YES or options.no_remote_exec,
        )

    @asynccontextmanager
    async def running(self, connection: Connection) -> AsyncIterator[None]:
        """
        Ports are open inside; afterwards the connection is closed.

        @raise TeleportError: a port cannot be had, and nothing else was wanted, or C{ExitOnForwardFailure} was said.
        """
        try:
            async with self._listening(connection):
                yield
        finally:
            connection.transport.loseConnection()

    @asynccontextmanager
    async def _listening(self, connection: Connection) -> AsyncIterator[None]:
        if not self.local and not self.remote:
            yield
            return
        from teleport_tw.dial.forward import Forwarder

        forwarder = Forwarder(self.reactor, connection, complain=say)
        try:
            for forward in self.local:
                await self._try(forwarder.listen(forward))
            for forward in self.remote:
                port = await self._try(self.answering.ask(connection, forward))
                if not forward.port and port:
                    say(f"Allocated port {port} for remote forward to {forward.host}:{forward.host_port}")
            yield
        finally:
            await forwarder.close()

    async def _try(self, work: Any) -> int:
        try:
            return int(await work)
        except TeleportError as error:
            if self.strict:
                raise
            say(f"WARNING: {error.message}")
            return 0


def _ports(texts: Sequence[str], dynamic: Sequence[str]) -> Sequence[PortForward]:
    if not texts and not dynamic:
        return ()
    from teleport_tw.dial.forward import PortForward

    return [*map(PortForward.parse, texts), *map(PortForward.parse_dynamic, dynamic)]
