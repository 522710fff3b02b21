"""
Real servers that ask for passwords, which the agent has and its users do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pymongo
import pymysql
import pytest
from pymongo.errors import OperationFailure, PyMongoError
from twisted.logger import formatEvent, globalLogPublisher

from teleport_tw.agents.db.cloud import Tokens
from teleport_tw.agents.db.mongodb.session import MongoDBEngine
from teleport_tw.agents.db.mongodb.users import MongoDBUsers
from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.agents.db.passwords import Passwords
from teleport_tw.agents.db.postgres.session import PostgresEngine
from teleport_tw.agents.db.postgres.users import PostgresUsers
from teleport_tw.agents.db.redis.session import RedisEngine
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.sasl.scram import Client
from teleport_tw.resources.databases import AWS, AdminUser
from tests.agents.db.postgres.clients import PsqlMixin
from tests.agents.db.redis.test_session import Wire
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.mariadb import MariaDB
from tests.peers.mongodb import MongoDB
from tests.peers.postgres import Postgres
from tests.peers.process import shared
from tests.peers.redis import Redis

SECRET = "a-secret-of-the-agent"  # of servers that live as long as the tests
WRONG = "an-outdated-secret"

_made: set[str] = set()


@pytest.mark.servers
class SecretTestCase(DatabaseTestCase):
    """
    At the end of each test nobody has been told the password.
    """

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []
        self.said: list[Any] = []
        globalLogPublisher.addObserver(self._log)
        self.addCleanup(globalLogPublisher.removeObserver, self._log)
        self.role("access", allow={"db_users": ["*"], "db_names": ["*"]})

    def _log(self, event: Any) -> None:
        self.logged.append(repr(event) + (formatEvent(event) or ""))

    async def settled(self) -> None:
        """
        Sessions are over; then look everywhere but in the password's own file.
        """
        await self.until(lambda: not self.agent.commons.sessions)
        await self.stop()
        told = repr([event.fields() for event in self.sink.events]) + repr(self.said) + "".join(self.logged)
        told += repr(self.agent.commons) + repr(self.agent.commons.targets) + repr(vars(self.agent))
        for path in self.root.rglob("*"):
            if path.is_file() and Path("passwords") not in path.relative_to(self.root).parents:
                told += path.read_bytes().decode("latin-1")
        for secret in (SECRET, WRONG):
            self.assertNotIn(secret, told)
        self.assertTrue(self.sink.events)


class PostgresTests(PsqlMixin, SecretTestCase):
    """
    PostgreSQL; clients type nothing.
    """

    skip = Postgres.missing() or None

    def server(self) -> Postgres:
        """
        With a user of each kind.
        """
        peer = shared(Postgres, "passwords")
        if "postgres" not in _made:
            _made.add("postgres")
            for kind in ("by_scram", "by_md5", "by_password"):
                peer.role(f"agent_{kind}", password=SECRET, group=kind)
            peer.role("agent_admin", password=SECRET, group="by_scram", options="superuser")
            peer.role("agent_cert")
        return peer

    async def there(self, password: str = SECRET, **more: Any) -> int:
        """
        @return: a port, for users that all have the same password.
        """
        users = ("agent_by_scram", "agent_by_md5", "agent_by_password", "agent_admin", "agent_cert")
        passwords = dict.fromkeys(users, password)
        await self.serve(PostgresEngine(), "postgres", self.server().port, passwords=passwords, **more)
        return await self.listen(user="")

    async def test_each_kind(self) -> None:
        """SCRAM bound to the channel, MD5, in the clear inside TLS; and a certificate where that is asked for."""
        port = await self.there()
        for user in ("agent_by_scram", "agent_by_md5", "agent_by_password", "agent_cert"):
            said = await self.psql(port, "select current_user", f"dbname=postgres user={user}")
            self.said.append(said)
            self.assertEqual(said, f"{user}\n")
        await self.settled()

    async def test_the_channel_counts(self) -> None:
        """With a binding to another channel PostgreSQL refuses; with none at all it takes the plain mechanism."""
        port = await self.there()
        where = "dbname=postgres user=agent_by_scram"
        name = "teleport_tw.agents.db.postgres.login.server_end_point"
        with mock.patch(name, return_value=b"x" * 32):
            self.said.append(await self.psql(port, "", where, 2))
        self.assertIn("channel binding", self.said[0])
        with mock.patch(name, return_value=b""):
            self.assertEqual(await self.psql(port, "select 1", where), "1\n")
        await self.settled()

    async def test_a_wrong_one(self) -> None:
        """The server's own words, and the user is not asked to guess."""
        port = await self.there(WRONG)
        for user in ("agent_by_scram", "agent_by_md5", "agent_by_password"):
            said = await self.psql(port, "", f"dbname=postgres user={user} password={SECRET[::-1]}", 2)
            self.said.append(said)
            self.assertIn("password authentication failed", said)
        self.assertEqual({each["code"] for each in self.sink.named("db.session.start")}, {"TDB00W"})
        await self.settled()

    async def test_a_file_that_others_may_read(self) -> None:
        """The user hears that it cannot be used, the audit log why; with its rights put right it is taken at once."""
        port = await self.there()
        file = self.root / "passwords" / "target" / "agent_by_scram"
        file.chmod(0o644)
        where = "dbname=postgres user=agent_by_scram"
        said = await self.psql(port, "", where, 2)
        self.assertIn("its log says why", said)
        self.assertNotIn("chmod", said)
        (start,) = self.sink.named("db.session.start")
        self.assertIn(f"chmod 600 {file}", start["error"])
        self.assertTrue(any(f"chmod 600 {file}" in each for each in self.logged))
        file.chmod(0o600)
        self.assertEqual(await self.psql(port, "select 1", where), "1\n")
        await self.settled()

    async def test_who_may_not_come_in_gets_nobodys_password(self) -> None:
        """A role that does not name the user is refused before the file is looked for."""
        self.role("access", allow={"db_users": ["agent_cert"], "db_names": ["*"]})
        port = await self.there()
        with mock.patch("teleport_tw.agents.db.passwords.Files.read") as read:
            said = await self.psql(port, "", "dbname=postgres user=agent_by_scram", 2)
        self.assertIn("access denied", said)
        self.assertFalse(read.called)
        await self.settled()

    async def test_the_administrator_of_users(self) -> None:
        """Signs in with a password too; the automatic user does not take a password that bears its name."""
        self.role("access", allow={"db_names": ["*"], "db_roles": []}, create_db_user_mode="best_effort_drop")
        port = await self.there(
            provisioners={"postgres": PostgresUsers},
            admin_user=AdminUser(name="agent_admin", default_database="postgres"),
        )
        said = await self.psql(port, "select current_user", "dbname=postgres user=alice")
        self.said.append(said)
        self.assertEqual(said, "alice\n")
        await self.until(lambda: self.sink.named("db.session.user.deactivate"))
        await self.settled()


class MariaDBTests(SecretTestCase):
    """
    MariaDB; accounts that want a password and no certificate.
    """

    skip = MariaDB.missing() or None

    async def test_each_plugin(self) -> None:
        """Native, old and new."""
        peer = shared(MariaDB, "passwords")
        if "ed25519" not in peer.sql("show plugins"):
            peer.sql("install soname 'auth_ed25519'")
        accounts = {"ag_native": f"by '{SECRET}'", "ag_curve": f"via ed25519 using password('{SECRET}')"}
        for name, how in accounts.items():
            peer.sql(f"create or replace user {name}@'%' identified {how} require ssl")
        for password, expected in ((SECRET, None), (WRONG, 1429)):
            await self.serve(MySQLEngine(), "mysql", peer.port, passwords=dict.fromkeys(accounts, password))
            for name in accounts:
                port = await self.listen(user=name)

                def work(name: str = name, port: int = port) -> Any:
                    try:
                        connection = pymysql.connect(host="127.0.0.1", port=port, user=name, ssl_disabled=True)
                        with connection, connection.cursor() as cursor:
                            cursor.execute("select current_user()")
                            return cursor.fetchall()
                    except pymysql.err.OperationalError as error:
                        self.said.append(error.args)
                        return error.args[0]

                self.assertEqual(await self.in_thread(work), expected or ((f"{name}@%",),), name)
            await self.settled()


class RedisTests(SecretTestCase):
    """
    Redis, by an ACL password.
    """

    skip = Redis.missing() or None

    async def test_acl_password(self) -> None:
        """The agent signs in; what the user types in C{AUTH} and C{HELLO} is not what is sent; nothing comes back."""
        peer = shared(Redis, "passwords")
        peer.cli("acl", "setuser", "agent", "on", f">{SECRET}", "~*", "&*", "+@all")
        await self.serve(RedisEngine(), "redis", peer.port, passwords={"agent": SECRET})
        port = await self.listen(user="agent")

        def work() -> list[str]:
            our = Wire(port)
            asked = [
                ("ACL", "WHOAMI"),
                ("AUTH", "agent", "typed"),
                ("HELLO", "2", "AUTH", "agent", "typed", "SETNAME", "me"),
                ("CLIENT", "GETNAME"),
                ("RESET",),
                ("ACL", "WHOAMI"),
                ("HELLO", "9", "AUTH", "agent", "typed"),
                ("ACL", "LOG"),
                ("SLOWLOG", "GET"),
            ]
            said = [our.ask(*words) for words in asked]
            our.socket.close()
            return said

        said = await self.in_thread(work)
        self.said += said
        self.assertEqual(said[0], "Bulk(octets=b'agent')")
        self.assertEqual(said[3], "Bulk(octets=b'me')")
        self.assertEqual(said[5], "Bulk(octets=b'agent')")
        self.assertIn("NOPROTO", said[6])
        await self.settled()

    async def test_a_server_that_does_not_know_auth(self) -> None:
        """Servers repeat the arguments of commands they do not know; ours is not handed on."""
        peer = Redis(settings=["rename-command AUTH SIGNIN"], users={"agent": f"on >{SECRET} ~* &* +@all"})
        with mock.patch.object(Redis, "is_ready", _is_listening):
            peer.start()
        self.addCleanup(peer.stop)
        await self.serve(RedisEngine(), "redis", peer.port, passwords={"agent": SECRET})
        port = await self.listen(user="agent")

        def work() -> str:
            our = Wire(port)
            said = our.ask("PING")
            our.socket.close()
            return said

        self.said.append(await self.in_thread(work))
        self.assertIn("did not take our password for 'agent': ERR", self.said[0])
        await self.settled()


def _is_listening(peer: Redis) -> bool:
    """
    A server whose administrator cannot sign in either.
    """
    return (peer.folder / "redis.sock").exists()


class MongoDBTests(SecretTestCase):
    """
    SecantusDB, by SCRAM.
    """

    peer: MongoDB | None = None

    def server(self) -> MongoDB:
        """
        One for all.
        """
        cls = type(self)
        if cls.peer is None:
            MongoDB.require()
            roles = [{"role": "readWrite", "db": "shop"}]
            scram = [("scrammer", SECRET, roles), ("both", SECRET, roles)]
            cls.peer = MongoDB(
                scram=[*scram, ("db-admin", SECRET, [{"role": "root", "db": "admin"}])], x509=[("CN=both", roles)]
            )
            cls.peer.start()
        return cls.peer

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.peer is not None:
            cls.peer.close()

    async def there(self, user: str, passwords: dict[str, str], **more: Any) -> int:
        """
        @return: a port.
        """
        await self.serve(MongoDBEngine(), "mongodb", self.server().port, passwords=passwords, **more)
        return await self.listen(user=user)

    async def asked(self, port: int) -> Any:
        """
        @return: whom the server has signed in; else its words.
        """

        def run() -> Any:
            with pymongo.MongoClient(
                "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=10_000
            ) as client:
                try:
                    client.shop.things.insert_one({"a": 1})
                    status = client.admin.command("connectionStatus")
                except (OperationFailure, PyMongoError) as error:
                    return str(error)
                return [(each["user"], each["db"]) for each in status["authInfo"]["authenticatedUsers"]]

        found = await self.in_thread(run)
        self.said.append(found)
        return found

    async def test_by_password(self) -> None:
        """C{SCRAM-SHA-256}, which the server says that the user has."""
        port = await self.there("scrammer", {"scrammer": SECRET})
        with mock.patch("teleport_tw.agents.db.mongodb.login.Client", wraps=Client) as client:
            self.assertEqual(await self.asked(port), [("scrammer", "admin")])
        self.assertEqual({call.args[0].value for call in client.call_args_list}, {"SCRAM-SHA-256"})
        await self.settled()

    async def test_a_password_before_a_certificate(self) -> None:
        """A user of both is who the password says; without one, who the certificate says."""
        port = await self.there("both", {"both": SECRET})
        self.assertEqual(await self.asked(port), [("both", "admin")])
        await self.stop()
        port = await self.there("both", {"scrammer": SECRET})
        (self.root / "passwords" / "target" / "both").unlink()
        self.assertEqual(await self.asked(port), [("CN=both", "$external")])
        await self.settled()

    async def test_a_wrong_one(self) -> None:
        """Is told as the agent's, to the first command."""
        port = await self.there("scrammer", {"scrammer": WRONG})
        self.assertIn("did not take our password of 'scrammer' in 'admin'", await self.asked(port))
        self.assertEqual({each["code"] for each in self.sink.named("db.session.start")}, {"TDB00W"})
        await self.settled()

    async def test_the_administrator_of_users(self) -> None:
        """Signs in with a password too."""
        self.role(
            "access",
            allow={"db_names": ["*"], "db_roles": ["readWrite@shop"]},
            create_db_user_mode="best_effort_drop",
        )
        port = await self.there(
            "alice",
            {"db-admin": SECRET, "alice": WRONG},
            provisioners={"mongodb": MongoDBUsers},
            admin_user=AdminUser(name="db-admin"),
        )
        self.assertEqual(await self.asked(port), [("CN=alice", "$external")])
        await self.until(lambda: self.sink.named("db.session.user.deactivate"))
        await self.settled()


class TokenTests(PsqlMixin, SecretTestCase):
    """
    Tokens of a cloud, where a password is asked for; the server takes them for passwords.
    """

    skip = Postgres.missing() or None

    async def test_a_long_token(self) -> None:
        """A file goes before a token; a token of a thousand characters passes, and is told to nobody."""
        token = SECRET + "&X-Amz-Security-Token=" + "x" * 1200
        peer = shared(Postgres, "passwords")
        peer.role("agent_token", password=token, group="by_password")
        aws = AWS(region="eu-west-1")
        await self.serve(PostgresEngine(), "postgres", peer.port, passwords={"other": WRONG}, aws=aws)
        targets = self.agent.commons.targets
        tokens = Tokens(targets.reactor, targets.threads, lambda order: Secret(token.encode()))
        targets.passwords = Passwords((*targets.passwords.sources, tokens))
        port = await self.listen(user="")
        where = "dbname=postgres user=agent_token"
        self.said.append(await self.psql(port, "select current_user", where))
        self.assertEqual(self.said, ["agent_token\n"])
        file = self.root / "passwords" / "target" / "agent_token"
        file.touch(0o600)
        file.write_text(WRONG)
        self.said.append(await self.psql(port, "", where, 2))
        self.assertIn("password authentication failed", self.said[1])
        await self.settled()
