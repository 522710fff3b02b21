"""
Users that are made in a database: for whom, and with which of its roles.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import dbusers
from teleport_tw.access.checker import Checker
from teleport_tw.resources.databases import Database
from teleport_tw.resources.metadata import Metadata, Resource
from tests.access.tables import checker_of, unchecked

MAKER = """
options: {create_db_user_mode: keep}
allow: {db_labels: {env: prod}, db_roles: [writer, "{{external.team}}"]}
"""
PLAIN = "allow: {db_labels: {env: prod}, db_roles: [owner], db_users: [app]}"
OFF = "options: {create_db_user_mode: 'off'}\nallow: {db_labels: {env: prod}, db_roles: [owner]}"
ELSEWHERE = "options: {create_db_user_mode: keep}\nallow: {db_labels: {env: dev}, db_roles: [owner]}"
DENIES = "deny: {db_roles: ['w*']}"


def database(protocol: str = "postgres", admin: str = "root", env: str = "prod") -> Database:
    spec = {"protocol": protocol, "uri": "db:1"} | ({"admin_user": {"name": admin}} if admin else {})
    return Database.parse(Resource("db", "v3", Metadata("orders", labels={"env": env}), spec))


class Made(SynchronousTestCase):
    """
    By the roles that choose the database, as long as it has somebody to make them.
    """

    def test_who_makes(self) -> None:
        """Not roles that say nothing of it, that say no, or that choose other databases."""
        checker = checker_of(PLAIN, OFF, ELSEWHERE, MAKER)
        self.assertEqual([role.name for role in dbusers.making(checker, database())], ["r3"])
        self.assertEqual([role.name for role in dbusers.making(checker, database(env="dev"))], ["r2"])

    def test_where_nobody_can(self) -> None:
        """A protocol without such users, and a database without an administrator."""
        checker = checker_of(MAKER)
        self.assertEqual(dbusers.making(checker, database(admin="")), ())
        self.assertEqual(dbusers.making(checker, database(protocol="redis", admin="")), ())

    def offered(self, checker: Checker) -> tuple[str, ...]:
        return dbusers.offered(checker, dbusers.making(checker, database()))

    def test_roles(self) -> None:
        """Those of makers alone, templates filled in, in order; a denial of any role counts."""
        self.assertEqual(self.offered(checker_of(MAKER, PLAIN)), ("blue", "red", "writer"))
        self.assertEqual(self.offered(checker_of(MAKER, DENIES)), ("blue", "red"))
        self.assertEqual(self.offered(checker_of(PLAIN)), ())

    def test_a_denial_that_cannot_be_read(self) -> None:
        """Denies everything."""
        broken = unchecked("deny: {db_roles: ['^(+$']}", "broken")
        self.assertEqual(self.offered(checker_of(MAKER, broken)), ())
