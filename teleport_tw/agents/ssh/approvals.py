"""
Files that are copied while others watch: each is asked about in the session, and they say yes or no.

The file process (L{teleport_tw.agents.ssh.fileserver}) asks before it opens a file, and opens the one that was named,
in the direction that was named, once. One request is asked about at a time. It is granted when those who said yes would
by themselves satisfy the owner's C{require_session_join}, and denied by anybody who could have been one of them, by the
end of the session, or after L{ANSWER_SECONDS}. People read of it on the screen, their programs by C{x-teleport-event}.

@see: docs/protocols/joining.rst
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall

from teleport_tw.agents.ssh.words import escaped, plain
from teleport_tw.events.kinds import FileTransferApprove, FileTransferDeny, FileTransferRequest
from teleport_tw.resources.sessions import State

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.member import Member
    from teleport_tw.agents.ssh.party import Party
    from teleport_tw.recordings.capture import Facts

_FileEvent = FileTransferRequest | FileTransferApprove | FileTransferDeny

APPROVE, DENY = b"f", b"d"

ANSWER_SECONDS = 120.0

LOOK_SECONDS = 1.0
"""A key counts once its question was there as long: it may have been meant for the one before."""

MAX_WAITING = 16
"""Requests of one session."""

MAX_SHOWN = 1024
"""Letters of a path; who cannot read all of it cannot approve of it."""


@define(eq=False, kw_only=True)
class Request:
    """
    @ivar path: as the file process found it, escaped for people to read.
    @ivar upload: to the server.
    @ivar answer: called once, with what is wrong; empty for yes.
    """

    facts: Facts
    path: str
    upload: bool
    answer: Callable[[str], object]
    id: str = field(factory=lambda: str(uuid4()))
    approvers: list[Member] = field(factory=list)


@define(eq=False)
class Approvals:
    """
    Of one session.
    """

    party: Party
    _waiting: list[Request] = field(factory=list, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _shown_at: float = field(default=0.0, init=False)
    _shown_whole: bool = field(default=True, init=False)
    _on_end: list[Callable[[], object]] = field(factory=list, init=False)

    def attach(self, stop: Callable[[], object]) -> Callable[[], object]:
        """
        @param stop: called when the session ends.
        @return: to be called when it need not be.
        """
        self._on_end.append(stop)
        return lambda: self._on_end.remove(stop) if stop in self._on_end else None

    def ask(self, facts: Facts, path: str, upload: bool, answer: Callable[[str], object]) -> Request | None:
        """
        @param facts: of the channel that copies.
        @return: what may be withdrawn; C{None} when it is answered already.
        """
        path = escaped(path)
        if self.party.state is not State.RUNNING:
            answer("nobody watches the session now")
        elif len(path) > MAX_SHOWN or len(self._waiting) >= MAX_WAITING:
            answer("its path is too long to be shown" if len(path) > MAX_SHOWN else "too many files are asked for")
        else:
            request = Request(facts=facts, path=path, upload=upload, answer=answer)
            self._waiting.append(request)
            self._record(FileTransferRequest, request)
            if len(self._waiting) == 1:
                self._show()
            return request
        return None

    def withdraw(self, request: Request) -> None:
        """
        Who asked is gone.
        """
        if request in self._waiting:
            self._refuse(request, "who asked has gone")

    def joined(self, member: Member) -> None:
        """
        Who comes later is asked as well.
        """
        if self._waiting:
            self._shown_whole = self._shown_whole and self.party.fits(self._asked)
            member.channel.write(self.party.line(self._question))
            self.party.inform_member(member, self._asked_of(member))

    def caught_up(self, member: Member) -> None:
        """
        Who missed what was told is told again.
        """
        if self._waiting:
            self.party.inform_member(member, self._asked_of(member))

    def key(self, member: Member, data: bytes) -> None:
        """
        A moderator typed.
        """
        now = self.party.owner.user.realm.reactor.seconds()
        if not self._waiting or now - self._shown_at < LOOK_SECONDS or (APPROVE in data) == (DENY in data):
            return
        if DENY in data or self._shown_whole:
            self.decide(member, APPROVE in data, self._waiting[0].id)
        elif self.party.fits(self._asked):
            self._say_asked()
        else:
            member.channel.write(self.party.line("Its path does not fit; approve when the program has left the screen"))

    def decide(self, member: Member, approved: bool, id: str) -> bool:
        """
        @param id: of the request that is asked about now.
        @return: whether it counts.
        """
        request = self._waiting[0] if self._waiting else None
        if request is None or request.id != id or member.id not in self.party.members or not self.party.counts(member):
            return False
        if not approved:
            self._deny(request, f"{plain(member.username)} denied it", member)
            return True
        again = member in request.approvers
        if not again:
            request.approvers.append(member)
            self._record(FileTransferApprove, request, member)
        present = [each for each in request.approvers if each.id in self.party.members]
        found = self.party.presence(present)
        granted = self.party.state is State.RUNNING and found.satisfied
        if again and not granted:  # everybody has read of it
            return True
        who = plain(member.username)
        self.party.say(f"{who} approved: the file is copied." if granted else f"{who} approved; more have to.")
        told = self._facts(FileTransferApprove, request)
        self.party.inform({**told, "granted": granted, "missing": "" if granted else "; ".join(found.required)})
        if granted:
            self._remove(request)
            request.answer("")
        return True

    def end(self) -> None:
        """
        The session is over, and what is being copied stops.
        """
        while self._waiting:
            self._deny(self._waiting[0], "the session ended")
        stops, self._on_end = self._on_end, []
        for stop in stops:
            stop()

    @property
    def _asked(self) -> str:
        request = self._waiting[0]
        who = plain(request.facts.actor.user)
        what = f"copy a file to {request.path}" if request.upload else f"copy the file {request.path}"
        return f"User {who} asks to {what}"

    @property
    def _question(self) -> str:
        return f"{self._asked}. Moderators: f approves, d denies."

    def _asked_of(self, member: Member) -> dict[str, Any]:
        return {**self._facts(FileTransferRequest, self._waiting[0]), "counts": self.party.counts(member)}

    def _show(self) -> None:
        reactor, request = self.party.owner.user.realm.reactor, self._waiting[0]
        self._say_asked()
        self.party.inform_owner({**self._facts(FileTransferRequest, request), "counts": False})
        for member in self.party.members.values():
            self.party.inform_member(member, self._asked_of(member))
        self._timer = reactor.callLater(ANSWER_SECONDS, self._deny, request, "nobody approved of it in time")

    def _say_asked(self) -> None:
        self._shown_at = self.party.owner.user.realm.reactor.seconds()
        self._shown_whole = self.party.fits(self._asked)
        self.party.say(self._question)

    def _deny(self, request: Request, reason: str, member: Member | None = None) -> None:
        self._refuse(request, reason, member)
        request.answer(reason)

    def _refuse(self, request: Request, reason: str, member: Member | None = None) -> None:
        self._record(FileTransferDeny, request, member, reason)
        self.party.say(f"Copying {request.path} is denied: {reason}.")
        self.party.inform({**self._facts(FileTransferDeny, request), "reason": reason})
        self._remove(request)

    def _remove(self, request: Request) -> None:
        shown = self._waiting[0] is request
        self._waiting.remove(request)
        if shown:
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
            if self._waiting and self.party.state is not State.TERMINATED:
                self._show()

    def _record(
        self,
        kind: type[_FileEvent],
        request: Request,
        member: Member | None = None,
        reason: str = "",
    ) -> None:
        facts = request.facts if member is None else member.channel.facts
        owner = self.party.owner.user.target
        self.party.owner.user.realm.sink.emit(
            kind(
                actor=evolve(facts.actor, login=owner.login),
                connection=facts.connection,
                server=facts.server,
                session=self.party.owner.facts.session,
                request_id=request.id,
                location=request.path,
                download=not request.upload,
                requester=request.facts.actor.user,
                approvers=tuple(each.username for each in request.approvers),
                reason=reason,
            )
        )

    def _facts(self, kind: type[_FileEvent], request: Request) -> dict[str, Any]:
        return {
            "event": kind.NAME,
            "sid": self.party.id,
            "requestID": request.id,
            "location": request.path,
            "direction": "upload" if request.upload else "download",
            "requester": request.facts.actor.user,
            "approvers": [each.username for each in request.approvers],
        }
