"""
Whether moderators are still there, in sessions that began with a second factor.

Each moderator proves it to auth again and again (L{teleport_tw.api.attendance}): half a minute after the last time they
are asked, by C{x-teleport-mfa-presence}, and again fifteen seconds later; who has not by the end of a minute is sent
out, which is to the session as if they had left. While auth cannot be asked nobody can prove anything, and nobody is
sent out; once it is back they have half a minute.

@see: reference, section 8.5; docs/protocols/joining.rst
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from teleport_tw.base.errors import TeleportError
from teleport_tw.dial import joining
from teleport_tw.protocols.ssh.wire import put_uint32
from teleport_tw.resources.roles import JoinMode

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.member import Member
    from teleport_tw.agents.ssh.party import Party

LOOK_SECONDS = 5.0
ASK_SECONDS = 30.0
"""After the last proof."""
ASK_AGAIN_SECONDS = 15.0
LAPSE_SECONDS = 60.0


@define(eq=False)
class Attendance:
    """
    Of one session.
    """

    party: Party
    _asked: dict[str, float] = field(factory=dict, init=False)
    _since: dict[str, float] = field(factory=dict, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def joined(self, member: Member) -> None:
        """
        Who joins has just shown a second factor, where the session takes one.
        """
        if member.mode is JoinMode.MODERATOR and self.party.owner.facts.session.with_mfa:
            self._since[member.id] = self._now()
            if self._timer is None:
                self._later()

    def left(self, member: Member) -> None:
        """
        Nobody waits for them any more.
        """
        self._since.pop(member.id, None)
        self._asked.pop(member.id, None)

    def end(self) -> None:
        """
        The session is over.
        """
        self._since.clear()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _now(self) -> float:
        return self.party.owner.user.realm.reactor.seconds()

    def _later(self) -> None:
        self._timer = self.party.owner.user.realm.reactor.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._since:
            realm = self.party.owner.user.realm
            realm.tasks.spawn("looking whether moderators are there", self._review()).addCallback(self._again)

    def _again(self, result: object) -> None:
        if self._since and self._timer is None:
            self._later()

    async def _review(self) -> None:
        party = self.party
        watched = [each for each in party.members.values() if each.id in self._since]
        if all(self._now() - self._since[each.id] < ASK_SECONDS for each in watched):
            return
        users = sorted({each.username for each in watched})
        try:
            ages = await party.owner.user.realm.presence.seen_present(party.id, users)
        except TeleportError as error:
            self._log.warn("who is in session {sid} is not known: {error}", sid=party.id, error=str(error))
            for member in watched:
                if member.id in self._since:
                    self._since[member.id] = max(self._since[member.id], self._now() - ASK_SECONDS)
            return
        now = self._now()
        for member in watched:
            if member.id not in self._since:
                continue
            if member.username in ages:
                self._since[member.id] = max(self._since[member.id], now - ages[member.username])
            self._judge(member, now, now - self._since[member.id])

    def _judge(self, member: Member, now: float, age: float) -> None:
        if age >= LAPSE_SECONDS:
            self.party.dismiss(member, "did not prove to be there")
        elif age < ASK_SECONDS:
            self._asked.pop(member.id, None)
        elif now - self._asked.get(member.id, now - ASK_AGAIN_SECONDS) >= ASK_AGAIN_SECONDS:
            self._asked[member.id] = now
            channel = member.channel
            channel.conn.notify(channel, joining.PRESENCE, put_uint32(int(LAPSE_SECONDS - age)))
