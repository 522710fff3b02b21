"""
The user's ssh-agent, for programs of a session (C{ssh -A}).

Each session has a socket of its own in a directory that only the login can enter; what connects to it reaches the
user's agent by a channel. Both are made with the login's rights and go when the session does.

@see: OpenSSH, C{PROTOCOL.agent}; draft-ietf-sshm-ssh-agent section 4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from teleport_tw.agents.ssh import usersockets
from teleport_tw.agents.ssh.forward import Arrived, ForwardChannel, Held, abort
from teleport_tw.agents.ssh.realm import Registry
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.net.endpoints import GivenServer
from teleport_tw.events.ssh import AgentForward

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

VARIABLE = "SSH_AUTH_SOCK"
MAX_CONNECTIONS = 64
"""To one session's socket at a time."""


def install(registry: Registry) -> None:
    """
    Add agent forwarding to what may be asked for.
    """
    registry.session_requests["auth-agent-req@openssh.com"] = request


def _emit(session: SessionChannel, error: str = "") -> None:
    session.user.realm.sink.emit(AgentForward(**session.facts.common, success=not error, error=error))


async def request(session: SessionChannel, payload: bytes) -> bool:
    """
    C{auth-agent-req@openssh.com}, without fields.
    """
    user = session.user
    if not (user.target.options.forward_agent and user.target.identity.permit_agent_forwarding):
        _emit(session, "agent forwarding is not permitted by the user's roles")
        return False
    if VARIABLE in session.session_variables:
        return False
    try:
        given = await usersockets.open_socket(user, "private", "agent.sock")
    except TeleportError as error:
        _emit(session, error.message)
        return False
    port = await GivenServer(user.realm.reactor, given.sock).listen(_Connections(session))

    def close() -> None:
        port.stopListening()
        user.realm.tasks.spawn("removing an agent's socket", usersockets.unlink(user, given.path))

    if session.localClosed:
        close()
        return False
    session.cleanups.append(close)
    session.session_variables[VARIABLE] = given.path
    _emit(session)
    return True


class _Connections(Factory):
    noisy = False

    def __init__(self, session: SessionChannel) -> None:
        self._session = session
        self._open = 0

    def buildProtocol(self, addr: IAddress | None) -> Arrived:
        """
        A program wants the agent.
        """
        tasks = self._session.user.realm.tasks
        return Arrived(lambda held: tasks.spawn("forwarded agent", self._forward(held)))

    async def _forward(self, held: Held) -> None:
        connection = self._session.user.connection
        if connection is None or connection.stopped or self._session.localClosed or self._open >= MAX_CONNECTIONS:
            abort(held)
            return
        self._open += 1
        try:
            await connection.open(ForwardChannel(b"auth-agent@openssh.com", held, self._ended))
        except TeleportError:
            abort(held)
            self._ended()

    def _ended(self) -> None:
        self._open -= 1
