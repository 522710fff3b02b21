"""
A server that speaks MongoDB's protocol, asked directly and by way of us.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, ClassVar

import bson
import pytest

from teleport_tw.agents.db.mongodb.session import MongoDBEngine
from teleport_tw.protocols.mongodb import wire
from tests import differential
from tests.agents.db.rig import DatabaseTestCase
from tests.differential import Side, Step
from tests.peers.mongodb import MongoDB

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(MongoDB.missing()), reason=MongoDB.missing())]

TIMES = frozenset(
    {"$clusterTime", "operationTime", "localTime", "connectionId", "topologyVersion", "electionId", "lastWrite"}
)
"""Of the moment, or of the connection."""


class MongoDBSide(Side):
    """
    Messages; numbers of answers and cursors differ, and what is of the moment.
    """

    def cut(self, buffer: bytearray) -> bytes | None:
        """As Side."""
        if len(buffer) < 16:
            return None
        (end,) = struct.unpack_from("<i", buffer)
        if len(buffer) < end:
            return None
        message = bytes(buffer[:end])
        del buffer[:end]
        return message

    def ends(self, message: bytes) -> bool:
        """As Side."""
        return True

    def masked(self, message: bytes) -> bytes:
        """As Side: the header's other fields, then the document in its own order."""
        if not message:
            return message
        _, _, response_to, code = struct.unpack_from("<iiii", message)
        at = 21 if code == 2013 else 36
        read = bson.decode(message[at:])
        cursor = read.get("cursor")
        if isinstance(cursor, dict) and cursor.get("id"):
            self.facts["cursor"] = struct.pack("<q", cursor["id"])
            cursor["id"] = "some"
        head = message[16:at] if code == 2013 else message[16:20]
        return f"{response_to} {code} {head!r} { {k: v for k, v in read.items() if k not in TIMES} }".encode()


def step(document: Mapping[str, Any], number: int = 7) -> Step:
    """
    An OP_MSG.
    """
    return Step(repr(document)[:70], wire.encode_message(_last(document), number))


def _last(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "$db": document.get("$db", "shop")}


def more(size: int) -> Step:
    """
    The next batch of the cursor that was opened last.
    """

    def octets(side: Side) -> bytes:
        (cursor,) = struct.unpack("<q", side.facts["cursor"])
        return wire.encode_message(
            {"getMore": bson.Int64(cursor), "collection": "things", "batchSize": size, "$db": "shop"}, 8
        )

    return Step("getMore", octets)


ROWS = [
    {"_id": number, "text": f"row {number}", "list": [number] * 3, "in": {"a": number / 2}} for number in range(300)
]
ODD = {
    "_id": "odd",
    "decimal": bson.Decimal128("1.10"),
    "long": bson.Int64(1 << 40),
    "binary": b"\0\xff",
    "regex": bson.Regex("^a", "i"),
    "null": None,
    "time": bson.Timestamp(5, 6),
    "code": bson.Code("x"),
    "max": bson.MaxKey(),
    "id": bson.ObjectId(b"0" * 12),
    "ö": "ü",
}
BATTERY = [
    step({"ping": 1}),
    step({"drop": "things"}),
    step({"insert": "things", "documents": ROWS}),
    step({"insert": "things", "documents": [ODD]}),
    step({"insert": "things", "documents": [{"_id": 1}, {"_id": 1000}], "ordered": False}),
    step({"find": "things", "filter": {"_id": "odd"}}),
    step({"find": "things", "filter": {"_id": {"$type": "int"}}, "sort": {"_id": 1}, "batchSize": 100}),
    more(150),
    more(1000),
    step({"getMore": bson.Int64(4711), "collection": "things"}),
    step({"count": "things", "query": {"_id": {"$lt": 10}}}),
    step({"distinct": "things", "key": "list"}),
    step({"aggregate": "things", "pipeline": [{"$group": {"_id": None, "n": {"$sum": 1}}}], "cursor": {}}),
    step({"aggregate": "things", "pipeline": [{"$nonsense": 1}], "cursor": {}}),
    step(
        {"update": "things", "updates": [{"q": {"_id": 1}, "u": {"$set": {"new": True}}}, {"q": {}, "u": {"$bad": 1}}]}
    ),
    step({"findAndModify": "things", "query": {"_id": 2}, "update": {"$inc": {"n": 1}}, "new": True}),
    step({"delete": "things", "deletes": [{"q": {"_id": {"$gt": 290}}, "limit": 0}]}),
    step({"createIndexes": "things", "indexes": [{"key": {"text": 1}, "name": "text_1", "unique": True}]}),
    step({"insert": "things", "documents": [{"_id": "same", "text": "row 1"}]}),
    step({"listIndexes": "things", "cursor": {}}),
    step({"listCollections": 1, "nameOnly": True}),
    step({"nosuchcommand": 1}),
    step({"find": "things", "filter": {"$where": 3}}),
    step({"explain": {"find": "things"}, "verbosity": "queryPlanner"}),
    step({"buildInfo": 1}),
    step({"insert": "things", "documents": [{"_id": "big", "text": "x" * 5_000_000}]}),
    step({"find": "things", "filter": {"_id": "big"}}),
    Step("legacy hello", wire.encode_query("admin.$cmd", {"isMaster": 1}, 9)),
    Step(
        "two at once",
        wire.encode_message(_last({"ping": 1}), 10) + wire.encode_message(_last({"count": "things"}), 11),
        2,
    ),
    step({"drop": "things"}),
]


class DifferentialTests(DatabaseTestCase):
    """
    With a raw client.
    """

    peer: ClassVar[MongoDB]

    @classmethod
    def setUpClass(cls) -> None:
        """One server."""
        cls.peer = MongoDB(x509=[("CN=alice", [{"role": "readWrite", "db": "shop"}])]).start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Its end."""
        cls.peer.close()

    async def test_a_battery(self) -> None:
        """The same documents, in the same order."""
        self.role("access", allow={"db_users": ["alice"], "db_names": ["shop"]})
        await self.serve(MongoDBEngine(), "mongodb", self.peer.port)
        port = await self.listen()

        def work() -> list[str]:
            direct = MongoDBSide(differential.encrypted(differential.plain(self.peer.port), "alice"))
            through = MongoDBSide(differential.plain(port))
            try:
                said = direct.ask(
                    Step(
                        "", wire.encode_message({"authenticate": 1, "mechanism": "MONGODB-X509", "$db": "$external"}, 1)
                    )
                )
                assert b"'ok': 1" in said[0], said
                return differential.differences(direct, through, BATTERY)
            finally:
                direct.close()
                through.close()

        self.assertEqual(await self.in_thread(work), [])
