"""
Somebody who joined another's session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from teleport_tw.access import sessions as rules
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.resources.roles import JoinMode

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.party import Party
    from teleport_tw.agents.ssh.session import SessionChannel

MAX_TOLD = 64
"""Events that a member who does not keep up is told of; they take no room in a window, and would be kept for them."""


@implementer(IPushProducer)
@define(eq=False, kw_only=True)
class Member:
    """
    Somebody who joined.

    @ivar channel: theirs.
    @ivar size: of their terminal; C{None} for none.
    @ivar behind: they do not keep up, and are left out until they do.
    @ivar told: events since.
    """

    party: Party
    channel: SessionChannel
    mode: JoinMode
    size: Size | None
    id: str = field(factory=lambda: str(uuid4()))
    behind: bool = False
    told: int = 0

    @property
    def username(self) -> str:
        """
        Of the cluster.
        """
        return self.channel.user.target.identity.username

    @property
    def participant(self) -> rules.Participant:
        """
        As policies see them.
        """
        checker = self.channel.user.target.checker
        return rules.Participant(
            username=self.username, roles=checker.role_names, traits=checker.traits, mode=self.mode
        )

    @property
    def types(self) -> bool:
        """
        Whether what they type reaches the program.
        """
        return self.mode is JoinMode.PEER

    def pauseProducing(self) -> None:
        """
        Their connection has no more room.
        """
        self.behind = True

    def resumeProducing(self) -> None:
        """
        It has.
        """
        if self.behind:
            missed = self.told > MAX_TOLD
            self.behind, self.told = False, 0
            self.party.paint(self)
            if missed:
                self.party.files.caught_up(self)
            if not self.types:
                self.party.tell_size(self)

    def stopProducing(self) -> None:
        """
        They are gone; the channel says so as well.
        """
        self.behind = True
