"""
Cancel requests: a connection of its own that asks the server to stop what another connection does.

The request carries the secret that the server gave the other connection, and the user of this one was verified as for
any session. Where the other connection is one of ours, its user must be the same.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from teleport_tw.agents.db.flow import Session
from teleport_tw.agents.db.postgres.conversation import Conversation
from teleport_tw.base.errors import access_denied
from teleport_tw.protocols.postgres.messages import BackendKeyData
from teleport_tw.protocols.postgres.startup import CancelRequest
from teleport_tw.protocols.postgres.wire import encode_opening

ANSWER_SECONDS = 10.0
"""A server closes the connection once it has taken the request."""


class Keys:
    """
    Whose the secrets are that servers gave to sessions here.
    """

    def __init__(self) -> None:
        self._sessions: WeakValueDictionary[tuple[int, bytes], Session] = WeakValueDictionary()

    def remember(self, key: BackendKeyData, session: Session) -> None:
        """
        A session stands.
        """
        self._sessions[(key.process_id, key.secret)] = session

    def forget(self, key: BackendKeyData) -> None:
        """
        It has ended.
        """
        self._sessions.pop((key.process_id, key.secret), None)

    def session(self, packet: CancelRequest) -> Session | None:
        """
        @return: which session is meant, where it is here.
        """
        return self._sessions.get((packet.process_id, packet.secret))


class _UntilClosed(Protocol):
    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred(lambda _: None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The server has taken it.
        """
        if not self.closed.called:
            self.closed.callback(None)


async def relay(packet: CancelRequest, session: Session, keys: Keys) -> None:
    """
    @param session: of the connection that asks; it has not begun, and does not.
    @raise TeleportError: ACCESS_DENIED, a lock hits, or the other session is not the user's; CONNECTION_PROBLEM.
    """
    other = keys.session(packet)
    if other is None:
        session.commons.admission.admit_again(session.caller)
    elif other is not session:
        session.commons.admission.admit_again(session.caller)
        if other.identity.username != session.identity.username or other.database.name != session.database.name:
            raise access_denied(details="the session to be cancelled is another user's")
    user = (other.permit.user if other is not None and other.permit is not None else "") or session.route.username
    user = user or session.identity.username
    targets = session.commons.targets
    plain = Conversation.on(await targets.connect_plain(session.database), session.clock)
    try:
        await plain.secured()
        held = await targets.secure(session.database, user, plain.transport)
    except BaseException:
        plain.close()
        raise
    transport: Any = held.transport
    waiting = _UntilClosed()
    waiting.makeConnection(transport)  # type: ignore[no-untyped-call]
    transport.protocol = waiting
    transport.resumeProducing()
    transport.write(encode_opening(packet))
    closed = waiting.closed.addTimeout(ANSWER_SECONDS, session.clock, lambda *_: None)
    await closed
    transport.loseConnection()
