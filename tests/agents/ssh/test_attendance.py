"""
Moderators who are there, and who are not any more.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh.attendance import ASK_SECONDS, LAPSE_SECONDS, Attendance
from teleport_tw.base.tasks import Tasks
from teleport_tw.dial import joining
from teleport_tw.resources.roles import JoinMode
from tests.doubles.cluster import FakeApi


class Member:
    """
    Somebody, with what their client was sent.
    """

    def __init__(self, name: str, mode: JoinMode = JoinMode.MODERATOR) -> None:
        self.id, self.username, self.mode = f"{name}-{id(self)}", name, mode
        self.told: list[tuple[str, bytes]] = []
        self.channel = SimpleNamespace(conn=self)

    def notify(self, channel: Any, name: str, payload: bytes) -> None:
        """
        A request on their channel.
        """
        self.told.append((name, payload))


class AttendanceTests(SynchronousTestCase):
    """
    A session that began with a second factor.
    """

    def setUp(self) -> None:
        """
        Nobody has joined.
        """
        self.clock, self.api = Clock(), FakeApi()
        self.dismissed: list[str] = []
        self.members: dict[str, Member] = {}
        realm = SimpleNamespace(reactor=self.clock, tasks=Tasks(), presence=self.api)
        facts = SimpleNamespace(session=SimpleNamespace(with_mfa="device"))
        self.owner = SimpleNamespace(user=SimpleNamespace(realm=realm), facts=facts)
        party: Any = SimpleNamespace(owner=self.owner, id="s", members=self.members, dismiss=self.dismiss)
        self.attendance = Attendance(party)

    def dismiss(self, member: Any, reason: str) -> None:
        """
        As a party does.
        """
        self.dismissed.append(member.username)
        self.leaves(member)

    def joins(self, *members: Member) -> None:
        """
        One after another.
        """
        for each in members:
            self.members[each.id] = each
            self.attendance.joined(each)  # type: ignore[arg-type]

    def leaves(self, member: Any) -> None:
        """
        Somebody.
        """
        del self.members[member.id]
        self.attendance.left(member)

    def passes(self, seconds: float) -> None:
        """
        Time, in small steps; a proof grows old with it.
        """
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.api.ages = {name: age + 1 for name, age in self.api.ages.items()}

    def test_lapsed(self) -> None:
        """Who says nothing is asked twice, and sent out; others who join as what needs no eyes are not asked."""
        bob, carol = Member("bob"), Member("carol", JoinMode.OBSERVER)
        self.joins(bob, carol)
        self.passes(ASK_SECONDS - 1)
        self.assertEqual(bob.told, [])
        self.passes(LAPSE_SECONDS - ASK_SECONDS)
        self.assertEqual([name for name, _ in bob.told], [joining.PRESENCE] * 2)
        self.assertEqual([payload for _, payload in bob.told], [b"\0\0\0\x1e", b"\0\0\0\x0f"])
        self.assertEqual(self.dismissed, [])
        self.passes(6)
        self.assertEqual((self.dismissed, carol.told), (["bob"], []))
        self.passes(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_proven(self) -> None:
        """Who proves it stays, in whichever windows they are."""
        bob, again = Member("bob"), Member("bob")
        self.joins(bob, again)
        for _ in range(10):
            self.passes(40)
            self.api.ages["bob"] = 0
        self.assertEqual(self.dismissed, [])
        self.assertEqual(len(bob.told), len(again.told))
        self.assertGreaterEqual(len(bob.told), 9)
        self.passes(70)
        self.assertEqual(self.dismissed, ["bob", "bob"])

    def test_somebody_else(self) -> None:
        """Another's proof is of no use."""
        self.joins(Member("bob"))
        self.api.ages["carol"] = 0
        self.passes(70)
        self.assertEqual(self.dismissed, ["bob"])

    def test_auth_is_away(self) -> None:
        """Nobody could prove anything; when it is back they are asked, and who does not prove it then is sent out."""
        bob = Member("bob")
        self.joins(bob)
        self.api.away = True
        self.passes(300)
        self.assertEqual((self.dismissed, bob.told), ([], []))
        self.api.away = False
        self.passes(10)
        self.assertEqual((self.dismissed, len(bob.told)), ([], 1))
        self.passes(40)
        self.assertEqual(self.dismissed, ["bob"])

    def test_without_a_second_factor(self) -> None:
        """Sessions that took none ask nobody."""
        self.owner.facts.session.with_mfa = ""
        self.joins(Member("bob"))
        self.passes(300)
        self.assertEqual((self.dismissed, self.clock.getDelayedCalls()), ([], []))

    def test_the_end(self) -> None:
        """Of the session, and of a membership: nothing is left."""
        bob = Member("bob")
        self.joins(bob)
        self.leaves(bob)
        self.passes(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.joins(bob)
        self.attendance.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
