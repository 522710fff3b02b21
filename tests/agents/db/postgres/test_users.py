"""
Automatic users, in a real PostgreSQL.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.postgres.session import PostgresEngine
from teleport_tw.agents.db.postgres.users import PostgresUsers, identifier, literal, rights_on
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.databases import AdminUser
from teleport_tw.resources.roles import DatabasePermission
from tests.agents.db.postgres.clients import PsqlMixin
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.postgres import Postgres

MISSING = Postgres.missing()
server: Any = None


def setUpModule() -> None:
    """One for all tests here."""
    global server
    if not MISSING:
        server = Postgres().start()
        server.role("teleport-admin", options="superuser")
        server.sql('create role reader; create role writer; create role "we;ird ""one"')
        server.sql("create table t (a int); create table u (a int); create table secret (a int)")
        server.sql("grant select on t to reader; insert into t values (1)")


def tearDownModule() -> None:
    """It goes with the tests."""
    if server is not None:
        server.stop()


def permission(rights: tuple[str, ...], **match: str) -> DatabasePermission:
    """On objects."""
    return DatabasePermission({key: (value,) for key, value in match.items()}, rights)


class TextTests(SynchronousTestCase):
    """
    Names in statements.
    """

    def test_names_are_quoted(self) -> None:
        """
        Whatever they hold; what cannot be a name is refused.
        """
        self.assertEqual(identifier('a"; drop'), '"a""; drop"')
        self.assertEqual(literal("a'\\b"), " E'a''\\\\b'")
        for name in ("", "a\0b", "x" * 64):
            self.assertRaises(TeleportError, identifier, name)
        self.assertRaises(TeleportError, literal, "\0")

    def test_rights_are_given_less_what_is_denied(self) -> None:
        """
        Only known ones; a wildcard denies all.
        """
        labels = {"env": "prod", "schema": "public", "name": "t"}
        given = [permission(("select", "INSERT", "FLY"), env="prod"), permission(("DELETE",), name="other")]
        self.assertEqual(rights_on(labels, given, ()), {"SELECT", "INSERT"})
        self.assertEqual(rights_on(labels, given, [permission(("insert",), name="t")]), {"SELECT"})
        self.assertEqual(rights_on(labels, given, [permission(("*",), schema="pub*")]), set())
        self.assertEqual(rights_on(labels, [DatabasePermission({"*": ("*",)}, ("SELECT",))], ()), {"SELECT"})
        self.assertEqual(rights_on(labels, [permission(("*",), env="prod")], ()), set())


@pytest.mark.servers
class AutomaticUserTests(PsqlMixin, DatabaseTestCase):
    """
    A user of the cluster who is none of the database.
    """

    skip = MISSING or None

    async def started(self, mode: str = "best_effort_drop", who: str = "ann", **allow: Any) -> int:
        """The port of one user."""
        self.role("auto", allow={"db_names": ["*"], **allow}, create_db_user_mode=mode)
        await self.serve(
            PostgresEngine(),
            "postgres",
            server.port,
            provisioners={"postgres": PostgresUsers},
            admin_user=AdminUser(name="teleport-admin"),
        )
        return await self.listen(who=who, user=who, roles=("auto",))

    def exists(self, name: str) -> str:
        """Whether the role may log in; empty where there is none."""
        return str(server.sql(f"select rolcanlogin from pg_roles where rolname = '{name}'"))

    async def ended(self) -> list[dict[str, Any]]:
        """The user was taken away."""
        return list(await self.until(lambda: self.sink.named("db.session.user.deactivate")))

    async def test_a_user_is_made_with_its_roles_and_dropped(self) -> None:
        """
        It may what the roles may, and is gone with its session.
        """
        port = await self.started(db_roles=["reader", 'we;ird "one'])
        said = await self.psql(port, "select current_user, count(*) from t;", "dbname=postgres user=ann")
        self.assertEqual(said, "ann|1\n")
        (gone,) = await self.ended()
        self.assertEqual((gone["username"], gone["code"], gone["delete"]), ("ann", "TDB09I", True))
        self.assertEqual(self.exists("ann"), "")
        (made,) = self.sink.named("db.session.user.create")
        self.assertEqual((made["code"], made["roles"]), ("TDB08I", ["reader", 'we;ird "one']))
        self.assertEqual(self.sink.named("db.session.start")[0]["db_roles"], ["reader", 'we;ird "one'])
        self.assertEqual(list((self.root / "users").glob("*.json")), [])

    async def test_a_user_that_is_kept_cannot_log_in(self) -> None:
        """
        It has no roles then, and comes back with its next session.
        """
        port = await self.started(mode="keep", who="kim", db_roles=["reader"])
        for _ in range(2):
            await self.psql(port, "select * from t;", "dbname=postgres user=kim")
            await self.until(lambda: self.exists("kim") == "f")
        await self.until(lambda: len(self.sink.named("db.session.user.deactivate")) == 2)
        roles = "select count(*) from pg_auth_members m join pg_roles u on u.oid = m.member where u.rolname = 'kim'"
        self.assertEqual(server.sql(roles), "1")

    async def test_one_that_owns_something_is_kept(self) -> None:
        """
        Though it was to be dropped.
        """
        server.sql("grant create on schema public to writer")
        port = await self.started(who="olga", db_roles=["writer"])
        await self.psql(port, "create table olgas (a int);", "dbname=postgres user=olga")
        await self.ended()
        self.assertEqual(self.exists("olga"), "f")

    async def test_rights_on_tables_are_given_and_taken(self) -> None:
        """
        By labels of objects.
        """
        port = await self.started(
            who="pia", db_permissions=[{"match": {"schema": "public", "name": ["t", "u"]}, "permissions": ["SELECT"]}]
        )
        script = "select count(*) from t; select count(*) from u; select * from secret; insert into t values (2);"
        said = await self.psql(port, script, "dbname=postgres user=pia")
        self.assertIn("permission denied for table secret", said)
        self.assertIn("permission denied for table t", said)
        await self.ended()
        self.assertEqual(self.exists("pia"), "")
        (update,) = self.sink.named("db.session.permissions.update")
        self.assertEqual(update["permission_summary"], [{"permission": "SELECT", "counts": {"table": 2}}])

    async def test_others_are_left_alone(self) -> None:
        """
        A user that was there before, the administrator, and another's name.
        """
        if not self.exists("eve"):
            server.role("eve")
        port = await self.started(who="eve", db_roles=["reader"])
        self.assertIn("was not made automatically", await self.psql(port, "", "dbname=postgres user=eve", 2))
        (made,) = self.sink.named("db.session.user.create")
        self.assertEqual(made["code"], "TDB08W")
        self.assertEqual(self.exists("eve"), "t")
        other = await self.listen(who="eve", user="", roles=("auto",))
        self.assertIn("connect as 'eve'", await self.psql(other, "", "dbname=postgres user=ann", 2))
        admin = await self.listen(who="teleport-admin", user="teleport-admin", roles=("auto",))
        self.assertIn("nobody's own", await self.psql(admin, "", "dbname=postgres user=teleport-admin", 2))

    async def test_what_a_crash_left_behind_is_cleaned_up(self) -> None:
        """
        By the next start, from the notes on disk.
        """
        await self.started(who="left", db_roles=["reader"])
        self.agent.commons.tasks.cancel()  # the agent's own cleaning, which knows nothing of what is made past it here
        users, database = self.agent.commons.users, self.agent.databases["target"]
        from teleport_tw.agents.db.users import Provisioned

        grants = Grants(user="left", drop=True, roles=("reader",))
        await users._activate(Provisioned(database, grants), "postgres")
        self.assertEqual(self.exists("left"), "t")
        await users.clean_up({"another": database})
        self.assertEqual(self.exists("left"), "t")
        await users.clean_up({"target": database})
        self.assertEqual(self.exists("left"), "")
        self.assertEqual(list((self.root / "users").glob("*.json")), [])

    async def test_sessions_share_a_user(self) -> None:
        """
        The first to end leaves it to the other.
        """
        import psycopg

        port = await self.started(who="sam", db_roles=["reader"])
        where = f"host=127.0.0.1 port={port} sslmode=disable dbname=postgres user=sam"
        first = await self.in_thread(lambda: psycopg.connect(where))
        await self.psql(port, "select 1", "dbname=postgres user=sam")
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(self.exists("sam"), "t")
        await self.in_thread(first.close)
        self.assertEqual(len(await self.ended()), 1)
        self.assertEqual(self.exists("sam"), "")
