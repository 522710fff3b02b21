"""
A driver and a server that do not know of us, with us between them.
"""

from __future__ import annotations

from typing import Any

import pymongo
import pytest
from pymongo.errors import OperationFailure, PyMongoError
from twisted.internet.threads import deferToThread

from teleport_tw.agents.db.mongodb.session import MongoDBEngine
from teleport_tw.agents.db.mongodb.users import MongoDBUsers
from teleport_tw.resources.databases import AdminUser
from tests.agents.db.rig import DatabaseTestCase
from tests.doubles.cluster import lock
from tests.peers.mongodb import MongoDB

PEER: list[MongoDB] = []


def setUpModule() -> None:
    """
    One server for all tests.
    """
    MongoDB.require()
    roles = [{"role": "readWrite", "db": "shop"}, {"role": "readWrite", "db": "other"}]
    x509 = [("CN=alice", roles), ("CN=teleport-admin", [{"role": "root", "db": "admin"}]), ("CN=taken", [])]
    PEER.append(MongoDB(x509=x509))
    PEER[0].start()


def tearDownModule() -> None:
    """
    And its end.
    """
    PEER.pop().close()


@pytest.mark.servers
class MongoDBTests(DatabaseTestCase):
    """
    pymongo against SecantusDB.
    """

    async def connect(self, **options: Any) -> int:
        """
        @return: a port for alice, who may use the database C{shop}.
        """
        self.role("access", allow={"db_users": ["alice"], "db_names": ["shop"]}, **options)
        await self.serve(MongoDBEngine(), "mongodb", PEER[0].port)
        return await self.listen()

    async def with_client(self, port: int, work: Any, **options: Any) -> Any:
        """
        @param work: gets a client, in a thread.
        """

        def run() -> Any:
            with pymongo.MongoClient(
                "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=10_000, **options
            ) as client:
                return work(client)

        return await deferToThread(run)

    async def test_documents_come_and_go(self) -> None:
        """Inserted, found over several batches, counted, changed, deleted; each is in the log."""
        port = await self.connect()

        def work(client: Any) -> Any:
            things = client.shop.things
            things.drop()
            things.insert_many([{"n": number, "text": "x" * 100} for number in range(500)])
            found = [each["n"] for each in things.find({"n": {"$gte": 100}}, batch_size=50).sort("n")]
            things.update_many({"n": {"$lt": 10}}, {"$set": {"low": True}})
            return found, things.count_documents({"low": True}), things.delete_many({}).deleted_count

        found, low, deleted = await self.with_client(port, work)
        self.assertEqual((found, low, deleted), (list(range(100, 500)), 10, 500))
        await self.until(lambda: not self.agent.commons.sessions)
        queries = self.queries()
        commands = [str(event["db_query"]).split('"')[1] for event in queries]
        self.assertEqual(commands[:3], ["drop", "insert", "find"])
        self.assertEqual(commands.count("getMore"), 8)
        insert = queries[1]
        self.assertEqual((insert["db_name"], insert["db_user"], insert["db_service"]), ("shop", "alice", "target"))
        self.assertIn('"documents": [{', insert["db_query"])
        self.assertTrue(insert["db_query"].endswith("[truncated]"))
        starts = self.sink.named("db.session.start")
        self.assertEqual({event["code"] for event in starts}, {"TDB00I"})
        self.assertTrue(any("PyMongo" in str(event.get("user_agent", event)) for event in starts))
        await self.until(lambda: len(self.sink.named("db.session.end")) == len(starts))

    async def test_compression(self) -> None:
        """Each kind; the log reads what was packed."""
        port = await self.connect()
        for kind in ("zlib", "snappy", "zstd"):
            text = f"packed by {kind} " * 50

            def work(client: Any, text: str = text) -> Any:
                client.shop.packed.insert_one({"text": text})
                return client.shop.packed.find_one({"text": text})["text"]

            self.assertEqual(await self.with_client(port, work, compressors=kind), text)
            self.assertTrue(any(text[:40] in event["db_query"] for event in self.queries()))

    async def test_databases_that_roles_do_not_name(self) -> None:
        """Refused command by command, wherever the name stands; the session goes on."""
        port = await self.connect()

        def work(client: Any) -> Any:
            refused = []
            attempts = (
                lambda: client.other.things.insert_one({}),
                lambda: list(client.shop.things.aggregate([{"$out": {"db": "other", "coll": "things"}}])),
                lambda: list(client.shop.things.aggregate([{"$merge": {"into": {"db": "other", "coll": "x"}}}])),
                lambda: client.admin.command("renameCollection", "shop.things", to="other.things"),
                lambda: client.admin.command("usersInfo", 1),
                lambda: client["$external"].command("authenticate", 1, mechanism="MONGODB-X509"),
                lambda: client.shop.command("saslStart", 1, mechanism="PLAIN", payload=b"\0a\0secret"),
            )
            for attempt in attempts:
                try:
                    attempt()
                except OperationFailure as error:
                    refused.append((error.code, error.details["codeName"]))
            client.shop.things.insert_one({"still": "here"})
            return refused

        refused = await self.with_client(port, work)
        self.assertEqual(refused, [(13, "Unauthorized")] * 7)
        failed = self.sink.named("db.session.query.failed")
        self.assertEqual(len(failed), 7)
        self.assertEqual({event["code"] for event in failed}, {"TDB02W"})
        self.assertNotIn("secret", repr(self.sink.events))

    async def test_errors_of_the_server(self) -> None:
        """Come to the client as they are, and into the log with their code."""
        port = await self.connect()

        def work(client: Any) -> Any:
            try:
                client.shop.command("noSuchCommand", 1)
            except OperationFailure as error:
                return error.code

        self.assertEqual(await self.with_client(port, work), 59)
        (failed,) = self.sink.named("db.session.query.failed")
        self.assertIn("CommandNotFound", failed["error"])

    async def test_a_user_who_may_not(self) -> None:
        """Is told by the first command, at once, and in words."""
        await self.connect()
        port = await self.listen(user="root")

        def work(client: Any) -> Any:
            try:
                client.shop.things.find_one()
            except PyMongoError as error:
                return str(error)

        self.assertIn("access denied", await self.with_client(port, work))
        starts = self.sink.named("db.session.start")
        self.assertEqual({event["code"] for event in starts}, {"TDB00W"})

    async def test_a_target_that_is_away(self) -> None:
        """Is told the same way."""
        self.role("access", allow={"db_users": ["alice"], "db_names": ["shop"]})
        await self.serve(MongoDBEngine(), "mongodb", 1)
        port = await self.listen()

        def work(client: Any) -> Any:
            try:
                client.shop.things.find_one()
            except OperationFailure as error:
                return error.code, str(error)

        code, text = await self.with_client(port, work)
        self.assertEqual(code, 6)
        self.assertIn("cannot be reached", text)

    async def test_a_lock_ends_the_session(self) -> None:
        """A command that waits is answered."""
        port = await self.connect()

        def work(client: Any) -> Any:
            client.shop.capped.drop()
            client.shop.create_collection("capped", capped=True, size=4096)
            client.shop.capped.insert_one({"n": 1})
            cursor = client.shop.capped.find(cursor_type=pymongo.CursorType.TAILABLE_AWAIT).max_await_time_ms(60_000)
            next(cursor)
            try:
                next(cursor)
            except PyMongoError as error:
                return str(error)

        waiting = self.with_client(port, work, socketTimeoutMS=30_000)
        from twisted.internet.defer import Deferred

        answered = Deferred.fromCoroutine(waiting)
        await self.until(lambda: any("getMore" in event["db_query"] for event in self.queries()))
        self.cluster.copy.put(lock("away", "away with alice", user="alice"))
        self.assertIn("away with alice", await answered)
        await self.until(lambda: any("away with alice" in str(each) for each in self.sink.named("db.session.end")))

    async def test_transactions(self) -> None:
        """Begin, commit, abort."""
        port = await self.connect()

        def work(client: Any) -> Any:
            books = client.shop.books
            books.drop()
            client.shop.create_collection("books")
            with client.start_session() as session:
                with session.start_transaction():
                    books.insert_one({"kept": True}, session=session)
                session.start_transaction()
                books.insert_one({"kept": False}, session=session)
                session.abort_transaction()
            return [each["kept"] for each in books.find()]

        self.assertEqual(await self.with_client(port, work), [True])

    async def automatic(self, mode: str) -> None:
        """
        Serve with users that are made for their sessions.
        """
        allow = {"db_names": ["shop"], "db_roles": ["readWrite@shop"]}
        self.role("access", allow=allow, create_db_user_mode=mode)
        await self.serve(
            MongoDBEngine(),
            "mongodb",
            PEER[0].port,
            provisioners={"mongodb": MongoDBUsers},
            admin_user=AdminUser(name="teleport-admin"),
        )

    async def test_automatic_users(self) -> None:
        """Made for the session, with the role's roles.

        SecantusDB forgets the mark of ours; test_users has the rest.
        """

        def users(client: Any) -> list[Any]:
            return [
                each for each in client["$external"].command("usersInfo", 1)["users"] if each["user"] == "CN=newcomer"
            ]

        await self.automatic("best_effort_drop")
        port = await self.listen(user="newcomer", who="newcomer")
        during = await self.with_client(
            port, lambda client: (client.shop.things.insert_one({}), PEER[0].admin(users))[1]
        )
        self.assertEqual(during[0]["roles"], [{"role": "readWrite", "db": "shop"}])
        await self.until(lambda: self.sink.named("db.session.user.deactivate"))
        self.assertEqual(self.sink.named("db.session.user.create")[-1]["code"], "TDB08I")

    async def test_a_user_of_somebody_else_s(self) -> None:
        """Is left alone, and the client hears why."""
        await self.automatic("keep")
        port = await self.listen(user="taken", who="taken")

        def work(client: Any) -> Any:
            try:
                client.shop.things.find_one()
            except PyMongoError as error:
                return str(error)

        self.assertIn("was not made automatically", await self.with_client(port, work))
