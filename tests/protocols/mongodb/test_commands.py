"""
What requests are about.
"""

from __future__ import annotations

from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mongodb import commands, documents, wire
from teleport_tw.protocols.mongodb.commands import Command, Verdict
from teleport_tw.protocols.mongodb.messages import OpCode, Request
from tests.protocols.mongodb.test_wire import command, framed, sequence


def request(document: dict[str, Any], *sections: bytes) -> Request:
    """
    @return: OP_MSG.
    """
    return wire.incoming(
        framed(OpCode.OP_MSG, command({**document, "$db": document.get("$db", "shop")}, *sections))
    ).request


def nested(what: Any, depth: int = 1) -> dict[str, Any]:
    """
    @param what: a namespace to insert into, or a command.
    @return: an operation that is so many C{applyOps} in database C{b} around it.
    """
    made: dict[str, Any] = {"op": "i", "ns": what} if isinstance(what, str) else {"op": "c", "ns": "b.$cmd", "o": what}
    for _ in range(depth):
        made = {"op": "c", "ns": "b.$cmd", "o": {"applyOps": [made]}}
    return made


def databases(document: dict[str, Any], *sections: bytes) -> tuple[str, ...]:
    """
    @return: that a command names.
    """
    return commands.command(request(document, *sections)).databases


class CommandTests(SynchronousTestCase):
    """
    Names, and every database that is named.
    """

    def test_the_first_field_is_the_command(self) -> None:
        """Whatever follows."""
        found = commands.command(request({"find": "things", "insert": "other"}))
        self.assertEqual((found.name, found.key, found.collection), ("find", "find", "things"))
        self.assertEqual(commands.command(request({"isMaster": 1})).key, "ismaster")

    def test_databases_inside(self) -> None:
        """Wherever a command can name another than its own."""
        merge = {"$merge": {"into": {"db": "b", "coll": "x"}}}
        for document, expected in (
            ({"find": "a"}, ("shop",)),
            ({"renameCollection": "a.x", "to": "b.x", "$db": "admin"}, ("admin", "a", "b")),
            ({"renameCollection": 1, "to": None}, ("shop",)),
            ({"bulkWrite": 1, "nsInfo": [{"ns": "a.x"}, {"ns": "b.y"}, 3], "$db": "admin"}, ("admin", "a", "b")),
            ({"aggregate": 1, "pipeline": [{"$match": {}}, {"$out": {"db": "b", "coll": "c"}}]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": [{"$out": "mine"}]}, ("shop",)),
            ({"aggregate": 1, "pipeline": [merge]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": [{"$merge": {"into": "mine"}}, {"$merge": "mine"}]}, ("shop",)),
            ({"aggregate": 1, "pipeline": [{"$lookup": {"from": {"db": "b", "coll": "c"}}}]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": [{"$unionWith": {"coll": "c", "pipeline": [merge]}}]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": [{"$unionWith": {"db": "b", "coll": "c"}}]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": [{"$facet": {"one": [merge], "two": 3}}]}, ("shop", "b")),
            ({"aggregate": 1, "pipeline": 3}, ("shop",)),
            ({"explain": {"aggregate": 1, "pipeline": [merge], "$db": "c"}}, ("shop", "c", "b")),
            ({"explain": {}}, ("shop",)),
            ({"explain": 3}, ("shop",)),
            ({"create": "view", "viewOn": "x", "pipeline": [merge]}, ("shop", "b")),
            ({"mapReduce": "a", "out": {"replace": "x", "db": "b"}}, ("shop", "b")),
            ({"mapReduce": "a", "out": "x"}, ("shop",)),
            ({"applyOps": [{"op": "i", "ns": "b.x"}]}, ("shop", "b")),
            ({"applyOps": [{"op": "c", "ns": "b.$cmd", "o": {"drop": "x"}}]}, ("shop", "b")),
            (
                {"applyOps": [{"op": "c", "ns": "b.$cmd", "o": 3}, {"op": "c", "ns": "c.$cmd", "o": {}}]},
                ("shop", "b", "c"),
            ),
            ({"applyOps": [nested("c.x")]}, ("shop", "b", "c")),
            ({"doTxn": [nested("c.x", 9)]}, ("shop", "b", "c")),
            ({"applyOps": [nested({"renameCollection": "c.x", "to": "d.y"}, 2)]}, ("shop", "b", "c", "d")),
            ({"applyOps": [{"op": "i", "ns": "b.x", "o": {"renameCollection": "c.x"}}]}, ("shop", "b")),
            ({"copydb": 1, "fromdb": "a", "todb": "b"}, ("shop", "a", "b")),
            ({"shardCollection": "b.x"}, ("shop", "b")),
        ):
            self.assertEqual(databases(document), expected, document)
        self.assertEqual(databases({"bulkWrite": 1}, sequence(b"nsInfo", {"ns": "b.x"})), ("shop", "b"))

    def test_operations_too_deep(self) -> None:
        """As servers say as well."""
        with self.assertRaises(RemoteProtocolError):
            databases({"applyOps": [nested("c.x", 11)]})

    def test_a_name_twice_inside(self) -> None:
        """Where a server might read another one than we do."""
        one = bson.encode({"renameCollection": "a.x", "to": "a.y"})
        twice = (len(one) + 12).to_bytes(4, "little") + one[4:-1] + b"\2to\0\4\0\0\0b.y\0\0"
        for document in ({"$query": RawBSONDocument(twice)}, {"applyOps": [{"op": "c", "o": RawBSONDocument(twice)}]}):
            with self.assertRaises(RemoteProtocolError):
                commands.command(wire.incoming(wire.encode_query("a.$cmd", document, 1)).request)

    def test_what_could_hide_a_database(self) -> None:
        """Two of them, one beside the command, none, or one that is no text."""
        twice = bson.encode({"find": "a", "$db": "shop"})
        twice = (len(twice) + len(b"\2$db\0\6\0\0\0other\0")).to_bytes(4, "little") + twice[4:-1]
        twice += b"\2$db\0\6\0\0\0other\0\0"
        for body in (
            b"\0\0\0\0\0" + twice,
            command({"bulkWrite": 1, "nsInfo": [], "$db": "a"}, sequence(b"nsInfo", {"ns": "b.x"})),
            command({"find": "a"}),
            command({"find": "a", "$db": 3}),
            command({"find": "a", "$db": ""}),
        ):
            with self.assertRaises(RemoteProtocolError):
                commands.command(wire.incoming(framed(OpCode.OP_MSG, body)).request)

    def test_queries(self) -> None:
        """Hellos, wrapped commands, and reads of old."""
        for collection, query, expected in (
            ("admin.$cmd", {"isMaster": 1}, ("isMaster", ("admin",), "")),
            ("a.$cmd", {"$query": {"find": "x", "to": 1}, "$readPreference": {}}, ("find", ("a",), "x")),
            ("a.$cmd", {"query": {"drop": "x"}}, ("drop", ("a",), "x")),
            ("a.things.old", {"n": 1}, ("find", ("a",), "things.old")),
        ):
            found = commands.command(wire.incoming(wire.encode_query(collection, query, 1)).request)
            self.assertEqual((found.name, found.databases, found.collection), expected)
        for collection, query in (("nodot", {"a": 1}), (".x", {"a": 1}), ("a.$cmd", {})):
            with self.assertRaises(RemoteProtocolError):
                commands.command(wire.incoming(wire.encode_query(collection, query, 1)).request)

    def test_legacy(self) -> None:
        """Named as the commands that took their place."""
        insert = wire.incoming(framed(OpCode.OP_INSERT, b"\0\0\0\0a.b\0" + bson.encode({}))).request
        found = commands.command(insert)
        self.assertEqual(found, Command(name="insert", databases=("a",), collection="b"))
        self.assertEqual(commands.render(insert, found, 100), ("insert b", None))
        kill = wire.incoming(framed(OpCode.OP_KILL_CURSORS, b"\0" * 16)).request
        self.assertEqual(commands.command(kill), Command(name="killCursors", databases=()))


class TextTests(SynchronousTestCase):
    """
    What the log reads.
    """

    def render(self, document: dict[str, Any], *sections: bytes, most: int = 1000) -> tuple[str, int | None]:
        """
        @return: text and length.
        """
        asked = request(document, *sections)
        return commands.render(asked, commands.command(asked), most)

    def test_json(self) -> None:
        """With the documents beside it, and without what every command says."""
        text, length = self.render({"insert": "a", "lsid": {"id": 1}}, sequence(b"documents", {"n": 1}))
        self.assertEqual((text, length), ('{"insert": "a", "documents": [{"n": 1}]}', None))

    def test_secrets(self) -> None:
        """Are masked, also in commands that are long."""
        self.assertEqual(
            self.render({"createUser": "bob", "pwd": "hunter2"})[0], '{"createUser": "bob", "pwd": "****"}'
        )
        text, _ = self.render({"createUser": "bob", "pwd": "hunter2" * 1000, "roles": []})
        self.assertNotIn("hunter2", text)
        text, _ = self.render({"saslStart": 1}, sequence(b"payload", {"password": "hunter2"}))
        self.assertNotIn("hunter2", text)
        for wrapper in ("$query", "query"):
            query = {wrapper: {"createUser": "bob", "pwd": "hunter2"}, "$readPreference": {}}
            asked = wire.incoming(wire.encode_query("a.$cmd", query, 1)).request
            text, _ = commands.render(asked, commands.command(asked), 1000)
            self.assertEqual(text, '{"createUser": "bob", "pwd": "****"}')

    def test_secrets_inside(self) -> None:
        """Users that are made some other way: what is written of them is masked as a whole."""
        row = {"_id": "a.bob", "credentials": {"SCRAM-SHA-256": {"storedKey": "hunter2"}}}
        insert = {"op": "i", "ns": "admin.system.users", "o": row}
        create = {"op": "c", "ns": "a.$cmd", "o": {"createUser": "bob", "pwd": "hunter2"}}
        for document in (
            {"applyOps": [insert]},
            {"applyOps": [create]},
            {"applyOps": [{"op": "c", "ns": "a.$cmd", "o": {"applyOps": [create]}}]},
            {"insert": "system.users", "documents": [row]},
            {"findAndModify": "system.users", "update": row},
            {"bulkWrite": 1, "ops": [{"insert": 0, "document": row}], "nsInfo": [{"ns": "admin.system.users"}]},
            {"explain": {"createUser": "bob", "pwd": "hunter2"}},
            {"explain": {"insert": "system.users", "documents": [row]}},
        ):
            text, _ = self.render(document)
            self.assertNotIn("hunter2", text)
            self.assertIn("****", text)
        text, _ = self.render({"insert": "system.users"}, sequence(b"documents", row))
        self.assertNotIn("hunter2", text)
        for document in (
            {"applyOps": [{"op": "i", "ns": "a.b", "o": {"x": "kept"}}]},
            {"explain": {"find": "kept"}},
            {"explain": {}},
            {"bulkWrite": 1, "ops": ["kept"], "nsInfo": [{"ns": "a.b"}]},
        ):
            self.assertNotIn("****", self.render(document)[0])

    def test_long_commands(self) -> None:
        """Are cut, and their length is told; what is not shown is not read either."""
        text, length = self.render({"find": "a", "filter": {"text": "x" * 2000}})
        self.assertEqual((len(text), length), (1000, 2055))
        text, length = self.render(
            {"find": "a", "filter": {"text": "x" * 9000}, "list": [1] * 100, "n": 5, "small": {"b": 1}, "t": "y" * 99}
        )
        self.assertIn('"filter": "… 9016 bytes"', text)
        self.assertIn('"list": "… 100 long"', text)
        self.assertIn('"small": {"b": 1}', text)
        assert length is not None
        self.assertGreater(length, 9000)
        text, length = self.render({"insert": "a"}, sequence(b"documents", *({"n": n} for n in range(1000))))
        assert length is not None
        self.assertGreater(length, 11_000)

    def test_verdicts(self) -> None:
        """Errors, of commands and of writes; how many were found or changed."""
        for answer, expected in (
            ({"ok": 1.0, "n": 3}, Verdict(rows=3)),
            ({"ok": 1, "n": 3, "nModified": 2}, Verdict(rows=2)),
            ({"ok": 1, "cursor": {"firstBatch": [{}, {}]}}, Verdict(rows=2)),
            ({"ok": 1, "cursor": {"nextBatch": []}}, Verdict(rows=0)),
            ({"ok": 1, "cursor": {"id": 1}}, Verdict()),
            ({"ok": 1, "cursor": 1}, Verdict()),
            (
                {"ok": 0, "errmsg": "no", "code": 13, "codeName": "Unauthorized"},
                Verdict(error="no", code=13, code_name="Unauthorized"),
            ),
            ({"$err": "old", "code": "x"}, Verdict(error="old")),
            ({"ok": 0}, Verdict(error="the command failed")),
            ({"ok": 1, "writeErrors": [{"code": 11000, "errmsg": "dup"}]}, Verdict(error="dup", code=11000)),
        ):
            self.assertEqual(commands.verdict(bson.encode(answer)), expected)
        self.assertEqual(commands.verdict(b""), Verdict())
        self.assertEqual(commands.verdict(b"garbage"), Verdict())


_SCALARS = (
    some.none() | some.booleans() | some.integers(-(2**63), 2**63 - 1) | some.floats(allow_nan=False)
    | some.text(max_size=5) | some.binary(max_size=5) | some.datetimes() | some.builds(bson.ObjectId)
    | some.builds(bson.Code, some.just("x")) | some.just(Regex("a", "i")) | some.just(bson.MinKey())
    | some.just(bson.Timestamp(1, 2)) | some.just(bson.Decimal128("1.5")) | some.just(bson.Code("x", {"y": 1}))
)  # fmt: skip
_NAMES = some.text(max_size=5).filter(lambda text: "\0" not in text)
_DOCUMENTS = some.dictionaries(
    _NAMES, _SCALARS | some.lists(_SCALARS, max_size=2) | some.dictionaries(_NAMES, _SCALARS)
)


class DocumentTests(SynchronousTestCase):
    """
    The first level.
    """

    @given(_DOCUMENTS)
    def test_fields_are_counted(self, document: dict[str, Any]) -> None:
        """Of every type that BSON has."""
        self.assertEqual(list(documents.shallow(bson.encode(document))), list(document))

    def test_old_types(self) -> None:
        """Undefined values, pointers and symbols."""
        inside = b"\x06u\0" + b"\x0cp\0\2\0\0\0a\0" + b"x" * 12 + b"\x0es\0\2\0\0\0a\0"
        body = (5 + len(inside)).to_bytes(4, "little") + inside + b"\0"
        self.assertEqual(list(documents.shallow(body)), ["u", "p", "s"])

    @given(some.binary(max_size=60))
    def test_garbage(self, inside: bytes) -> None:
        """Ends in one kind of error only."""
        for data in (inside, (5 + len(inside)).to_bytes(4, "little") + inside + b"\0"):
            for read in (documents.shallow, documents.deep, lambda data: list(documents.split(data))):
                try:
                    read(data)
                except RemoteProtocolError:
                    continue

    def test_what_goes_past_the_end(self) -> None:
        """Names without an end, values that are too long, types that nobody has; even where the library is lenient."""
        for inside in (b"\x10abc", b"\x0bname\0no end", b"\x02a\0\xff\0\0\0x\0", b"\x50a\0\1\0\0\0"):
            body = (5 + len(inside)).to_bytes(4, "little") + inside + b"\0"
            with self.assertRaises(RemoteProtocolError):
                documents._count(body)
