"""
Joining a session over SSH.

The client opens a C{session} channel at the same node, on a connection of its own, as the login
C{-teleport-internal-join}, which every certificate names and which is good for nothing else, or as a login it has
there. It says which session, and how, by C{env}, asks for a terminal, and then for a shell::

    env         string "TELEPORT_SESSION"          string id of the session
    env         string "TELEPORT_SSH_JOIN_MODE"    string "observer" (so without), "peer" or "moderator"
    pty-req     as ever; may be left out by who only watches
    shell

C{TELEPORT_SESSION_JOIN_MODE} is another name of the mode. Further requests on the channel::

    x-teleport-force-terminate    from a moderator: end the session for everybody
    file-transfer-decision@goteleport.com    string id of a request to copy a file; boolean whether it may be
    current-session-id@goteleport.com    from the server, on every channel with a terminal: string id of the session
    x-teleport-mfa-presence       from the server: prove to auth that you are there; uint32 seconds that are left
    x-teleport-event              from the server: the rest is JSON: "session.join", "session.leave" or "resize"

Whoever may not join in any way is told what is told of a session that does not exist.

@see: reference, section 8.5; docs/protocols/joining.rst
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from teleport_tw.access import sessions as rules
from teleport_tw.agents.ssh.member import Member
from teleport_tw.agents.ssh.party import KIND, Party
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.agents.ssh.realm import Registry
from teleport_tw.base.errors import Kind, TeleportError, access_denied, bad_parameter
from teleport_tw.dial import joining
from teleport_tw.events.kinds import SessionRejected
from teleport_tw.protocols.ssh.wire import Reader, put_text
from teleport_tw.resources.roles import JoinMode
from teleport_tw.resources.sessions import State

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.realm import SSHUser
    from teleport_tw.agents.ssh.session import SessionChannel


def wanted(channel: SessionChannel) -> str:
    """
    @return: the session that the client wants to join; empty for none.
    """
    return channel.variables.get(joining.SESSION, "")


def watched_session(user: SSHUser) -> Party | None:
    """
    @return: the user's session that others watch now, where theirs need that; C{None} where they do not.
    @raise TeleportError: ACCESS_DENIED, there is none, and files would be copied unseen.
    """
    if user.target.joins_only or not rules.moderated(user.target.checker.roles, KIND):
        check_unmoderated(user, "files being copied")
        return None
    own = user.target.identity.username, user.target.login
    for party in reversed(user.realm.parties.values()):
        owner = party.owner.user.target
        if party.state is State.RUNNING and (owner.identity.username, owner.login) == own:
            return party
    raise access_denied(
        "your roles require somebody to watch your sessions: copy files while a shell of yours is open on this host "
        "with everybody required in it, who are asked about each file"
    )


def check_unmoderated(user: SSHUser, what: str) -> None:
    """
    @param what: is asked for, which nobody could watch.
    @raise TeleportError: ACCESS_DENIED, the user's sessions need others to be present.
    """
    if user.target.joins_only:
        raise access_denied("this login joins sessions and does nothing else")
    if rules.moderated(user.target.checker.roles, KIND):
        raise access_denied(
            f"your roles require somebody to watch your sessions, and nobody can watch {what}: open a shell instead"
        )


class Joining:
    """
    A L{teleport_tw.agents.ssh.session.Program} that shows another's.
    """

    def __init__(self, channel: SessionChannel) -> None:
        self.channel = channel
        self._member: Member | None = None

    async def start(self) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program.start}.
        """
        channel = self.channel
        mode = _mode(channel)
        party = self._find(mode)
        self._member = party.join(channel, mode)
        channel.conn.notify(channel, *current_session(party.id))

    def _find(self, mode: JoinMode) -> Party:
        user, name = self.channel.user, wanted(self.channel)
        party = user.realm.parties.get(name)
        allowed: frozenset[JoinMode] = frozenset()
        if party is not None:
            joiner, owner = user.target, party.owner.user.target
            allowed = rules.modes_of(
                joiner.identity.username,
                joiner.checker.roles,
                owner.identity.username,
                owner.checker.role_names,
                KIND,
            )
            if mode in allowed:
                return party
        user.realm.sink.emit(
            SessionRejected(
                actor=user.actor,
                connection=user.over,
                server=user.realm.server(),
                reason=f"may not join session {name[:64]!r} as {mode.value}",
            )
        )
        if not allowed:
            raise TeleportError(Kind.NOT_FOUND, "there is no such session here that you may join")
        words = " or ".join(each.value for each in JoinMode if each in allowed)
        raise access_denied(f"you may join this session as {words}, not as {mode.value}")

    def received(self, data: bytes) -> None:
        """
        They typed.
        """
        if self._member is not None:
            self._member.party.typed_by(self._member, data)

    def input_ended(self) -> None:
        """
        Who has no terminal may go on watching.
        """

    def resized(self, size: Size) -> None:
        """
        Their terminal.
        """
        if self._member is not None:
            self._member.party.member_resized(self._member, size)

    def signalled(self, name: str) -> bool:
        """
        Signals are not for who joined.
        """
        return False

    def terminate(self) -> bool:
        """
        @return: whether they may.
        """
        return self._member is not None and self._member.party.terminate(self._member)

    def decide(self, request: str, approved: bool) -> bool:
        """
        @param request: to copy a file.
        @return: whether it counts.
        """
        member = self._member
        return member is not None and member.party.files.decide(member, approved, request)

    def last_words(self, text: str) -> None:
        """
        For them alone.
        """

    def closed(self) -> None:
        """
        They are gone.
        """
        if self._member is not None:
            self._member.party.leave(self._member)


def _mode(channel: SessionChannel) -> JoinMode:
    said = next((value for name in joining.MODES if (value := channel.variables.get(name))), JoinMode.OBSERVER.value)
    try:
        return JoinMode(said)
    except ValueError as error:
        raise bad_parameter("the mode to join in is observer, peer or moderator") from error


def current_session(session: str) -> tuple[str, bytes]:
    """
    @return: the request that tells a client which session it is in.
    """
    return joining.CURRENT_SESSION, put_text(session)


def _force_terminate(channel: SessionChannel, payload: bytes) -> bool:
    return isinstance(channel.program, Joining) and channel.program.terminate()


def _decide(channel: SessionChannel, payload: bytes) -> bool:
    reader = Reader(payload)
    request, approved = reader.text(), reader.boolean()
    return isinstance(channel.program, Joining) and channel.program.decide(request, approved)


async def _query(user: SSHUser, payload: bytes) -> bytes:
    return b""


def install(registry: Registry) -> None:
    """
    Add what is asked for beside the shell.
    """
    registry.session_requests[joining.FORCE_TERMINATE] = _force_terminate
    registry.session_requests[joining.FILE_DECISION] = _decide
    registry.global_requests[joining.QUERY] = _query
