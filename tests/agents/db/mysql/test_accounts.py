"""
Who gets in as whom: refusals, passwords, users made for a session.
"""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

import pytest

from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.agents.db.mysql.users import MySQLUsers, account_of
from teleport_tw.resources.databases import AdminUser
from tests.agents.db.mysql.rig import MADE, ServerTestCase, connect, server
from tests.peers.mariadb import MariaDB

pymysql = pytest.importorskip("pymysql")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing()),
]


class RefusalTests(ServerTestCase):
    """
    Who does not get in.
    """

    def refused(self, port: int, user: str = "alice") -> tuple[Any, ...]:
        """
        @return: code and text of the error.
        """
        with self.assertRaises(pymysql.err.OperationalError) as caught:
            connect(port, user=user)
        return caught.exception.args

    async def test_another_user(self) -> None:
        """
        The certificate is for one.
        """
        port = await self.there()
        code, text = await self.in_thread(self.refused, port, "root")
        self.assertEqual(code, 1045)
        self.assertIn("certificate is for database user 'alice'", text)
        [start] = self.sink.named("db.session.start")
        self.assertEqual((start["code"], start["success"]), ("TDB00W", False))

    async def test_the_server_does_not_take_us(self) -> None:
        """
        Its words reach the user.
        """
        self.role("access", allow={"db_users": ["nobody-there"]})
        await self.serve(MySQLEngine(), "mysql", server().port)
        port = await self.listen(user="nobody-there")
        code, text = await self.in_thread(self.refused, port, "nobody-there")
        self.assertEqual(code, 1429)
        self.assertIn("does not take us: 1045 (28000)", text)

    async def test_the_server_is_not_there(self) -> None:
        """
        That is said in MySQL's way, although nobody could be asked for a greeting.
        """
        self.role("access", allow={"db_users": ["alice"]})
        await self.serve(MySQLEngine(), "mysql", 1)
        port = await self.listen()
        code, text = await self.in_thread(self.refused, port)
        self.assertEqual(code, 1429)
        self.assertIn("cannot be reached", text)

    async def test_the_server_is_silent(self) -> None:
        """
        So is that, and when nobody greeted.
        """
        self.role("access", allow={"db_users": ["alice"]})
        for name, module in (("GREETING_SECONDS", "session"), ("LOGIN_SECONDS", "login")):
            patched = mock.patch(f"teleport_tw.agents.db.mysql.{module}.{name}", 0.3)
            patched.start()
            self.addCleanup(patched.stop)
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        await self.serve(MySQLEngine(), "mysql", silent.getsockname()[1])
        port = await self.listen()
        code, text = await self.in_thread(self.refused, port)
        self.assertEqual(code, 1429)
        self.assertIn("it is silent", text)
        self.assertEqual(self.flushLoggedErrors(), [])


class PasswordTests(ServerTestCase):
    """
    Accounts that want a password beside the certificate.
    """

    async def test_each_plugin(self) -> None:
        """
        Native and Ed25519; the wrong one is refused.
        """
        peer = server()
        if "ed25519" not in peer.sql("show plugins"):
            peer.sql("install soname 'auth_ed25519'")
        accounts = {"native": "by 'secret'", "curve": "via ed25519 using password('secret')"}
        for name, how in accounts.items():
            peer.sql(f"create or replace user {name}@'%' identified {how} require subject '/CN={name}'")
        self.role("access", allow={"db_users": ["*"]})
        for name in accounts:
            for password, expected in (("secret", ((f"{name}@%",),)), ("wrong", 1429)):
                await self.serve(MySQLEngine(), "mysql", peer.port, passwords={name: password})
                port = await self.listen(user=name)

                def work(name: str = name, port: int = port) -> Any:
                    try:
                        with connect(port, user=name) as connection, connection.cursor() as cursor:
                            cursor.execute("select current_user()")
                            return cursor.fetchall()
                    except pymysql.err.OperationalError as error:
                        return error.args[0]

                self.assertEqual(await self.in_thread(work), expected, name)
                await self.stop()


class UserTests(ServerTestCase):
    """
    Users made for a session.
    """

    async def started(self, mode: str = "best_effort_drop", who: str = "ann") -> int:
        """
        The port of one user.
        """
        self.peer = server()
        if "admin" not in MADE:
            self.peer.user("admin", grants="all privileges on *.* ")
            self.peer.sql("grant all privileges on *.* to admin@'%' with grant option")
            self.peer.sql("create role reader with admin admin@'%'; grant select on app.* to reader")
            self.peer.sql("create table if not exists app.readable as select 7 as a")
            MADE.add("admin")
        self.role("auto", allow={"db_roles": ["reader"]}, create_db_user_mode=mode)
        await self.serve(
            MySQLEngine(),
            "mysql",
            self.peer.port,
            provisioners={"mysql": MySQLUsers},
            admin_user=AdminUser(name="admin"),
        )
        return await self.listen(who=who, user=who, roles=("auto",))

    def ask(self, port: int, who: str, text: str) -> Any:
        """
        In a session of its own.
        """
        with connect(port, user=who) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def accounts(self, name: str) -> str:
        """
        @return: what the server knows of them.
        """
        return self.peer.sql(f"select user from mysql.user where user like '{name}%' or user like 'tp-role-{name}%'")

    async def testMADE_and_dropped(self) -> None:
        """
        It may what its roles may, and is gone with its session.
        """
        port = await self.started()
        for _ in range(2):
            rows = await self.in_thread(self.ask, port, "ann", "select current_user(), a from app.readable")
            self.assertEqual(rows, (("ann@%", 7),))
            await self.until(lambda: self.accounts("ann") == "")
        [made, _] = self.sink.named("db.session.user.create")
        self.assertEqual((made["username"], made["roles"]), ("ann", ["reader"]))
        [gone, _] = await self.until(
            lambda: (found := self.sink.named("db.session.user.deactivate")) and len(found) == 2 and found
        )
        self.assertEqual((gone["code"], gone["delete"]), ("TDB09I", True))
        self.assertEqual(list((self.root / "users").glob("*.json")), [])

    async def test_kept_and_locked(self) -> None:
        """
        It has nothing then, and comes back with the next session; a long name has a short account.
        """
        who = "kim." + "x" * 40
        account = account_of(who)
        self.assertEqual(len(account), 23)
        port = await self.started(mode="keep", who=who)
        locked = f"select json_value(priv, '$.account_locked') from mysql.global_priv where user = '{account}'"
        for _ in range(2):
            rows = await self.in_thread(self.ask, port, who, "select current_user(), a from app.readable")
            self.assertEqual(rows, ((f"{account}@%", 7),))
            await self.until(lambda: self.peer.sql(locked) in ("1", "true"))
        await self.until(lambda: len(self.sink.named("db.session.user.deactivate")) == 2)
        roles = self.peer.sql(f"select role from mysql.roles_mapping where user = '{account}'")
        self.assertEqual(roles, "teleport-auto-user")

    async def test_somebody_elses(self) -> None:
        """
        Is left alone.
        """
        port = await self.started(who="alice")

        def work() -> Any:
            with self.assertRaises(pymysql.err.OperationalError) as caught:
                self.ask(port, "alice", "select 1")
            return caught.exception.args

        code, text = await self.in_thread(work)
        self.assertEqual(code, 1045)
        self.assertIn("not made automatically", text)
        self.assertEqual(self.peer.sql("select count(*) from mysql.user where user = 'alice'"), "1")
