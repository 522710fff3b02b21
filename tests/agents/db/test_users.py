"""
When automatic users are made and go, with a database that only remembers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.users import RETRIES, Provisioning, Users
from teleport_tw.base.errors import TeleportError
from teleport_tw.events.kinds import Actor, DatabaseTarget
from teleport_tw.events.kinds import Session as SessionFacts
from teleport_tw.resources.databases import AdminUser, Database
from tests.doubles.threads import InPlace

DATABASE = Database(name="pg", protocol="postgres", uri="db:5432", admin_user=AdminUser(name="admin"))
GRANTS = Grants(user="alice", drop=True, roles=("reader",))


@define(eq=False)
class Remembering:
    """
    A L{teleport_tw.agents.db.users.Provisioner}.

    @ivar broken: the database is away.
    @ivar needed: somebody else has sessions as that user.
    """

    users: set[tuple[str, str]] = field(factory=set)
    broken: bool = False
    needed: bool = False

    async def activate(self, database: Database, name: str, grants: Grants) -> Provisioning:
        """Made, and perhaps nobody hears of it."""
        self.users.add((name, grants.user))
        if self.broken:
            raise ConnectionError("gone")
        return Provisioning()

    async def deactivate(self, database: Database, name: str, user: str, drop: bool) -> bool:
        """Gone."""
        if self.broken:
            raise ConnectionError("gone")
        if self.needed:
            return False
        self.users.discard((name, user))
        return True


@define(eq=False)
class OneSession:
    """
    The part of a session that is told.
    """

    facts: dict[str, Any] = field(
        factory=lambda: {
            "actor": Actor(user="alice"),
            "session": SessionFacts(id="1"),
            "database": DatabaseTarget(service="pg", protocol="postgres", uri="db:5432"),
        }
    )
    events: list[Any] = field(factory=list)

    @property
    def telling(self) -> OneSession:
        """It tells itself."""
        return self

    def emit(self, event: Any) -> None:
        """Noted."""
        self.events.append(event)


@define
class Permit:
    """
    What is asked for.
    """

    name: str
    grants: Grants = GRANTS
    database: Database = DATABASE


class UsersTests(SynchronousTestCase):
    """
    Nobody is left behind.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.made = Remembering()
        self.directory = Path(self.mktemp())
        self.users = self.another()

    def another(self) -> Users:
        """As after the agent's next start."""
        threads: Any = InPlace()
        return Users(self.clock, threads, self.directory, {"postgres": self.made})

    def activate(self, name: str) -> Any:
        """A session begins."""
        session: Any = OneSession()
        permit: Any = Permit(name)
        return self.successResultOf(Deferred.fromCoroutine(self.users.activate(session, permit)))

    def deactivate(self, standing: Any) -> None:
        """It ends."""
        session: Any = OneSession()
        self.successResultOf(Deferred.fromCoroutine(self.users.deactivate(session, standing)))

    def test_sessions_in_several_databases(self) -> None:
        """
        A user who is in two logical databases at once loses what it got in either, with the last session, whichever
        ends first.
        """
        for first_ends_first in (True, False):
            sessions = [self.activate("one"), self.activate("two"), self.activate("one")]
            self.assertEqual(self.made.users, {("one", "alice"), ("two", "alice")})
            for standing in sessions if first_ends_first else reversed(sessions):
                self.assertTrue(self.made.users)
                self.deactivate(standing)
            self.assertEqual(self.made.users, set())
            self.assertEqual(list(self.directory.glob("*.json")), [])

    def test_what_broke_in_the_making(self) -> None:
        """
        Somebody was made and nobody knows: the note is there before, so that the next start takes them away.
        """
        self.made.broken = True
        session: Any = OneSession()
        permit: Any = Permit("one")
        failed = Deferred.fromCoroutine(self.users.activate(session, permit))
        self.failureResultOf(failed, TeleportError)
        self.assertEqual(self.made.users, {("one", "alice")})
        cleaning = Deferred.fromCoroutine(self.another().clean_up({"pg": DATABASE}))
        self.assertNoResult(cleaning)
        self.made.broken = False
        self.clock.pump([60.0] * RETRIES)
        self.successResultOf(cleaning)
        self.assertEqual(self.made.users, set())
        self.assertEqual(list(self.directory.glob("*.json")), [])

    def test_a_database_that_is_away_for_long(self) -> None:
        """
        Or whose user is still somebody else's: it stays noted, without a start of the agent, until it is gone.
        """
        for broken, needed in ((True, False), (False, True)):
            standing = self.activate("one")
            self.made.broken, self.made.needed = broken, needed
            session: Any = OneSession()
            ending = Deferred.fromCoroutine(self.users.deactivate(session, standing))
            self.clock.pump([60.0] * RETRIES)
            self.successResultOf(ending)
            self.assertEqual(session.events[-1].success, not broken)
            self.assertEqual(self.made.users, {("one", "alice")})
            self.made.broken = self.made.needed = False
            self.successResultOf(Deferred.fromCoroutine(self.users.clean_up({"pg": DATABASE})))
            self.assertEqual(self.made.users, set())
            self.assertEqual(list(self.directory.glob("*.json")), [])

    def test_cleaning_up_leaves_those_who_stand(self) -> None:
        """
        A session that began before the agent was done with what an earlier run left.
        """
        standing = self.activate("one")
        self.successResultOf(Deferred.fromCoroutine(self.users.clean_up({"pg": DATABASE})))
        self.assertEqual(self.made.users, {("one", "alice")})
        self.deactivate(standing)
        self.assertEqual(self.made.users, set())
