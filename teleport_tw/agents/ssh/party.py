"""
Several people in one session.

A L{Party} stands between one program at a terminal and everybody who sees it. Its owner began the session; L{Member}s
joined it (L{teleport_tw.agents.ssh.join}). What the program writes goes to all, what a peer types goes to the program,
and what an observer or a moderator types goes nowhere: for them Ctrl-C leaves, C{t} of a moderator ends it all, and
C{f} and C{d} answer L{teleport_tw.agents.ssh.approvals}.

 - The owner's client paces the program. A member who does not keep up misses output and is painted the screen as it is
   once they have caught up, so that nobody else waits for them and nothing is kept for them.
 - The terminal is as wide and as high as the smallest among those who type; who only watches has no say, and is told
   the size by C{x-teleport-event}.
 - Where the owner's roles require others (C{require_session_join}), the program starts when they are there. When they
   leave, the session ends, or pauses: what is typed is dropped, and what is written is kept as the screen it makes.
 - The owner leaving ends the session, as it is their rights that it has. What ends a member's connection, be it a lock
   or the end of a certificate, ends that member alone.

@see: reference, section 8.5; docs/protocols/joining.rst
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from twisted.logger import Logger

from teleport_tw.access import sessions as rules
from teleport_tw.agents.ssh.approvals import Approvals
from teleport_tw.agents.ssh.attendance import Attendance
from teleport_tw.agents.ssh.hooks import Hooks
from teleport_tw.agents.ssh.member import MAX_TOLD, Member
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.agents.ssh.screen import Screen
from teleport_tw.agents.ssh.words import help_of, plain
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import from_timestamp
from teleport_tw.dial import joining
from teleport_tw.events.kinds import Actor, SessionJoin, SessionLeave
from teleport_tw.events.kinds import Session as SessionGroup
from teleport_tw.resources.metadata import Json
from teleport_tw.resources.roles import JoinMode
from teleport_tw.resources.sessions import Participant, State

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

KIND = "ssh"

MAX_MEMBERS = 32
"""In one session beside its owner: each costs a copy of all output."""

MAX_PLACES = 4
"""That one user may have of them, so that nobody fills a session alone."""

LEAVE = b"\x03"
TERMINATE = b"t"


@define(eq=False, kw_only=True)
class Party:
    """
    See the module.

    @ivar owner: the channel of who began the session.
    @ivar roles: the owner's, with templates filled.
    @ivar size: of the owner's terminal.
    @ivar state: C{PENDING} also while the session is paused.
    @ivar started: whether the program was started.
    """

    owner: SessionChannel
    hooks: Hooks
    size: Size
    state: State = field(default=State.PENDING, init=False)
    started: bool = field(default=False, init=False)
    members: dict[str, Member] = field(factory=dict, init=False)
    files: Approvals = field(init=False)
    attendance: Attendance = field(init=False)
    screen: Screen = field(init=False)
    _shown: tuple[int, int] = field(init=False)
    _waiting_for: tuple[str, ...] = field(default=(), init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        realm = self.owner.user.realm
        self._shown = (self.size.columns or 80, self.size.rows or 24)
        self.screen = Screen(*self._shown, clock=realm.reactor)
        self.files = Approvals(self)
        self.attendance = Attendance(self)

    @property
    def id(self) -> str:
        """
        The session's.
        """
        return self.owner.session_id

    @property
    def roles(self) -> Any:
        """
        The owner's.
        """
        return self.owner.user.target.checker.roles

    @property
    def moderated(self) -> bool:
        """
        Whether somebody else must be present.
        """
        return rules.moderated(self.roles, KIND)

    @property
    def terminal_size(self) -> Size:
        """
        What the program's terminal is to have.
        """
        return evolve(self.size, columns=self._shown[0], rows=self._shown[1])

    # The owner.

    def open(self) -> None:
        """
        The owner is there: start the program, or say who is missing.
        """
        self.owner.user.realm.parties[self.id] = self
        self._review()

    def typed(self, data: bytes) -> None:
        """
        By the owner.
        """
        if self.state is State.RUNNING:
            self.hooks.typed(data)
        elif not self.started and (LEAVE in data or b"\x04" in data):
            self.end("You left before the session began.")

    def resized(self, size: Size) -> None:
        """
        The owner's terminal.
        """
        self.size = size
        self._fit()

    def output(self, data: bytes) -> None:
        """
        Of the program; recorded already.
        """
        self.screen.feed(data)
        if self.state is not State.RUNNING:
            return
        self.owner.write(data)
        for member in tuple(self.members.values()):
            if not member.behind:
                member.channel.write(data)

    def end(self, text: str = "") -> None:
        """
        For everybody.
        """
        if self.state is State.TERMINATED:
            return
        undone = self.screen.undone() if self.started else b""
        for member in self.members.values():
            member.channel.write(undone)
        if text:
            self.owner.write(undone)
            self.screen.feed(undone)
            self.say(text)
        self.state = State.TERMINATED
        self.files.end()
        self.attendance.end()
        self.owner.user.realm.parties.pop(self.id, None)
        for member in tuple(self.members.values()):
            if not text:
                member.channel.write(b"\r\nTeleport > The session has ended.\r\n")
            self.leave(member)
            member.channel.exit_status(0)
            member.channel.loseConnection()
        self.hooks.terminate()

    # Members.

    def join(self, channel: SessionChannel, mode: JoinMode) -> Member:
        """
        Let somebody in, who is painted the screen as it is.

        @raise TeleportError: the session is over; LIMIT_EXCEEDED, it is full.
        """
        if self.state is State.TERMINATED:
            raise TeleportError(Kind.NOT_FOUND, "the session has ended")
        if len(self.members) >= MAX_MEMBERS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"{MAX_MEMBERS} others are in the session, which is all it takes")
        username = channel.user.target.identity.username
        if sum(each.username == username for each in self.members.values()) >= MAX_PLACES:
            raise TeleportError(
                Kind.LIMIT_EXCEEDED, f"you are in the session {MAX_PLACES} times, which is all it takes"
            )
        size = channel.terminal.size if channel.terminal is not None else None
        member = Member(party=self, channel=channel, mode=mode, size=size)
        channel.registerProducer(member, True)
        self.members[member.id] = member
        self.paint(member)
        channel.write(self.line(help_of(mode)))
        self.hooks.joined(member.username)
        self._emit(SessionJoin, member)
        reason = plain(channel.variables.get(joining.REASON, ""))
        self.say(f"User {plain(member.username)} joined the session as {mode.value}{reason and f' ({reason})'}.")
        self._announce()
        self._fit()
        if not member.types:
            self.tell_size(member)
        self.files.joined(member)
        self.attendance.joined(member)
        self._review()
        return member

    def leave(self, member: Member) -> None:
        """
        They went, or were sent.
        """
        if self.members.pop(member.id, None) is None:
            return
        member.channel.unregisterProducer()
        self.attendance.left(member)
        self._emit(SessionLeave, member)
        if self.state is State.TERMINATED:
            return
        self.say(f"User {plain(member.username)} left the session.")
        self._announce()
        self._fit()
        self._review()

    def dismiss(self, member: Member, reason: str) -> None:
        """
        Send somebody out.

        @param reason: what they did, or did not.
        """
        self._log.info("{user} {reason}, and leaves {session}", user=member.username, reason=reason, session=self.id)
        self.say(f"User {plain(member.username)} {reason}.")
        if self.started:
            member.channel.write(self.screen.undone())
        member.channel.write(f"\r\nTeleport > You are sent out: you {reason}.\r\n".encode())
        member.channel.exit_status(1)
        self.leave(member)
        member.channel.loseConnection()

    def typed_by(self, member: Member, data: bytes) -> None:
        """
        See the module for what keys do.
        """
        if member.types:
            if self.state is State.RUNNING:
                self.hooks.typed(data)
        elif LEAVE in data:
            if self.started:
                member.channel.write(self.screen.undone() + b"\r\nTeleport > You left the session.\r\n")
            member.channel.exit_status(0)
            self.leave(member)
            member.channel.loseConnection()
        elif TERMINATE in data and member.mode is JoinMode.MODERATOR:
            self.terminate(member)
        elif member.mode is JoinMode.MODERATOR:
            self.files.key(member, data)

    def terminate(self, member: Member) -> bool:
        """
        By a moderator.

        @return: whether they may.
        """
        if member.mode is not JoinMode.MODERATOR or member.id not in self.members:
            return False
        self._log.info("{user} ended session {session}", user=member.username, session=self.id)
        self.end(f"Moderator {plain(member.username)} ended the session.")
        return True

    def member_resized(self, member: Member, size: Size) -> None:
        """
        Another size of a member's terminal.
        """
        member.size = size
        self._fit()

    def paint(self, member: Member) -> None:
        """
        Show a member the screen as it is.
        """
        if self.started and self.state is State.RUNNING:
            member.channel.write(self.screen.paint())

    # What all of them see.

    def say(self, text: str) -> None:
        """
        A line for everybody, and in the recording.
        """
        line = self.line(text)
        if not self.screen.alternate:
            self.screen.feed(line)
        self.hooks.seen(line)
        self.owner.write(line)
        for member in tuple(self.members.values()):
            if not member.behind:
                member.channel.write(line)

    def line(self, text: str) -> bytes:
        """
        @return: it, between the program's lines, with what stood before the cursor again below; in a program that has
            the whole screen, at its bottom until that is painted anew.
        """
        if self.screen.alternate:
            return f"\x1b7\x1b[{self._shown[1]};1H\x1b[0;7m{text[: self._shown[0]]}\x1b[K\x1b[m\x1b8".encode()
        return f"\r\nTeleport > {text}\r\n".encode() + (self.screen.before_cursor() if self.started else b"")

    def fits(self, text: str) -> bool:
        """
        @return: whether L{line} shows all of it now.
        """
        return not self.screen.alternate or len(text) <= self._shown[0]

    def _review(self) -> None:
        if self.state is State.TERMINATED:
            return
        found = self.presence(self.members.values())
        if found.satisfied:
            if self.state is State.RUNNING:
                return
            self.state = State.RUNNING
            if self.moderated:
                self._announce()
            self._go_on()
        elif not self.started:
            self._ask_for(found)
        elif not found.pause:
            self.end("The session ends, as somebody who must be present has left.")
        elif self.state is State.RUNNING:
            self.say(f"The session is paused. It waits for: {'; or '.join(found.required)}.")
            self.state = State.PENDING
            self._announce()

    def _go_on(self) -> None:
        if not self.started:
            self.started = True
            if self.moderated:
                self.say("Everybody required is here; the session begins.")
            self.hooks.begin()
            return
        picture = self.screen.paint()
        for channel in (self.owner, *(each.channel for each in self.members.values() if not each.behind)):
            channel.write(picture)
        self.say("The session goes on.")

    def _ask_for(self, found: rules.Presence) -> None:
        if self._waiting_for != found.required:
            self._waiting_for = found.required
            self.say(
                f"Waiting for participants before the session begins: {'; or '.join(found.required)}. "
                f"They join with: tsh join {self.id}"
            )

    def presence(self, members: Iterable[Member]) -> rules.Presence:
        """
        @return: what the policies say were these all that are present.
        """
        owner = self.owner.user.target.identity.username
        return rules.presence(self.roles, KIND, (each.participant for each in members), owner=owner)

    def counts(self, member: Member) -> bool:
        """
        @return: whether the policies ask for such as them.
        """
        owner = self.owner.user.target.identity.username
        return member.username != owner and rules.counts(self.roles, KIND, member.participant)

    def _fit(self) -> None:
        """
        Give the terminal the size of the smallest among those who type.
        """
        sizes = [self.size, *(each.size for each in self.members.values() if each.types and each.size is not None)]
        shown = (
            min((each.columns for each in sizes if each.columns), default=80),
            min((each.rows for each in sizes if each.rows), default=24),
        )
        if shown == self._shown and len(sizes) > 1:
            return
        self._shown = shown
        self.screen.resize(*shown)
        self.hooks.resized(self.terminal_size)
        for member in self.members.values():
            if not member.types:
                self.tell_size(member)

    def tell_size(self, member: Member) -> None:
        """
        Who only watches has to know how large the picture is.
        """
        columns, rows = self._shown
        self.inform_member(member, {"event": "resize", "sid": self.id, "size": f"{columns}:{rows}"})

    def _emit(self, kind: type[SessionJoin] | type[SessionLeave], member: Member) -> None:
        facts, owner = member.channel.facts, self.owner.user.target
        actor: Actor = evolve(facts.actor, login=owner.login)
        session = SessionGroup(id=self.id, with_mfa=facts.session.with_mfa)
        event = kind(
            actor=actor, connection=facts.connection, server=facts.server, session=session, mode=member.mode.value
        )
        self.owner.user.realm.sink.emit(event)
        self.inform({"event": kind.NAME, "sid": self.id, "user": member.username, "mode": member.mode.value})

    def inform(self, told: Json) -> None:
        """
        Tell everybody's client.
        """
        self.inform_owner(told)
        for each in self.members.values():
            self.inform_member(each, told)

    def inform_owner(self, told: Json) -> None:
        """
        Tell the owner's client.
        """
        self._notify(self.owner, told)

    def inform_member(self, member: Member, told: Json) -> None:
        """
        Tell one's client.
        """
        if member.behind:
            member.told += 1
        if member.told <= MAX_TOLD:
            self._notify(member.channel, told)

    @staticmethod
    def _notify(channel: SessionChannel, told: Json) -> None:
        if not channel.localClosed:
            channel.conn.notify(channel, joining.EVENT, json.dumps(told).encode())

    def participants(self) -> tuple[Participant, ...]:
        """
        @return: as the tracker has them, the owner first.
        """
        user = self.owner.user
        now = from_timestamp(user.realm.reactor.seconds())
        return (
            Participant(id=self.id, user=user.target.identity.username, last_active=now),
            *(
                Participant(id=each.id, user=each.username, mode=each.mode.value, last_active=now)
                for each in self.members.values()
            ),
        )

    def _announce(self) -> None:
        self.owner.user.realm.trackers.change(self.id, self.participants(), self.state)
