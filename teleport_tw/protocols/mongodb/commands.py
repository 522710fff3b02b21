"""
What a request is about: its command, every database it names, and what of it is secret.

The first field of a command's document is its name, whatever else follows; C{$db} is its database. A few commands name
further databases inside, which count as much.

@see: MongoDB manual, I{Database Commands}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen
from bson.raw_bson import RawBSONDocument

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mongodb import documents
from teleport_tw.protocols.mongodb.messages import Message, OpCode, Query, Request

HELLO = frozenset({"hello", "ismaster"})
"""In lower case: servers take the second in any."""

LIVENESS = HELLO | {"ping", "buildinfo", "endsessions", "connectionstatus"}
"""What drivers say by themselves, to the database C{admin}; it reads and changes nobody's data."""

TRANSACTIONS = frozenset({"committransaction", "aborttransaction", "killsessions", "refreshsessions", "startsession"})
"""Said to C{admin} of work in other databases, which was judged when it was asked for."""

AUTHENTICATION = frozenset({"authenticate", "saslstart", "saslcontinue", "logout", "getnonce", "copydbsaslstart"})
"""Signing in is ours."""

_SECRETS: Mapping[str, frozenset[str]] = {
    "createuser": frozenset({"pwd", "digestPassword"}),
    "updateuser": frozenset({"pwd", "digestPassword"}),
    "hello": frozenset({"speculativeAuthenticate"}),
    "ismaster": frozenset({"speculativeAuthenticate"}),
    **{name: frozenset({"payload", "key", "nonce", "pwd"}) for name in AUTHENTICATION},
}
_NOISE = frozenset({"$db", "lsid", "$clusterTime", "$readPreference", "txnNumber"})
"""Of every command; kept from the log's text, since they say nothing of what was done."""

_COLLECTION_COMMAND = "$cmd"


MAX_DEPTH = 10
"""Operations within operations; servers take no more either."""

_USERS = ".system.users"
"""What is written there has the keys that passwords make."""


@frozen(kw_only=True)
class Command:
    """
    What a request asks for.

    @ivar name: as it was written.
    @ivar databases: every one it names, the one it runs in first; empty where there is none to name.
    @ivar body: its document, in BSON.
    @ivar collection: that the command's first field names; empty for others.
    @ivar hidden: fields that have a secret inside this time, beside those that always have.
    """

    name: str
    databases: tuple[str, ...]
    body: bytes = b""
    collection: str = ""
    hidden: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """
        The name as it is looked up.
        """
        return self.name.lower()

    @property
    def secrets(self) -> frozenset[str]:
        """
        Fields that stay out of the log.
        """
        return _SECRETS.get(self.key, frozenset()) | self.hidden


def command(request: Request) -> Command:
    """
    @raise RemoteProtocolError: it names no command, or no database where it must.
    """
    match request:
        case Message():
            return _of_document(request)
        case Query():
            return _of_query(request)
    name = _LEGACY_NAMES[request.header.op_code]
    if not request.collection:
        return Command(name=name, databases=())
    database, collection = _split(request.collection)
    return Command(name=name, databases=(database,), collection=collection)


_JUDGED = frozenset({"nsInfo", "pipeline", "applyOps", "doTxn"})
"""Fields that name databases, and may stand beside a command; documents to insert need no look."""

_LEGACY_NAMES: Mapping[int, str] = {
    OpCode.OP_INSERT: "insert",
    OpCode.OP_UPDATE: "update",
    OpCode.OP_DELETE: "delete",
    OpCode.OP_GET_MORE: "getMore",
    OpCode.OP_KILL_CURSORS: "killCursors",
}


def _of_document(request: Message) -> Command:
    read = documents.shallow(request.body)
    beside = {each.identifier: each.documents for each in request.sequences}
    if beside.keys() & read.keys():
        raise RemoteProtocolError("a field stands both in the command and beside it")
    fields = {**read, **{name: list(documents.split(found)) for name, found in beside.items() if name in _JUDGED}}
    database = read.get("$db")
    if not isinstance(database, str) or not database:
        raise RemoteProtocolError("a command without a database")
    name = next(iter(read))
    return Command(
        name=name,
        databases=tuple(dict.fromkeys((database, *_named(name, fields)))),
        body=request.body,
        collection=_text(read[name]),
        hidden=_hidden(name, fields),
    )


def _of_query(request: Query) -> Command:
    database, collection = _split(request.collection)
    if collection != _COLLECTION_COMMAND:
        return Command(name="find", databases=(database,), body=request.query, collection=collection)
    body = request.query
    read = documents.shallow(body)
    for wrapper in ("$query", "query"):
        inner = read.get(wrapper)
        if next(iter(read), "") == wrapper and isinstance(inner, RawBSONDocument):
            body = bytes(inner.raw)
            read = documents.shallow(body)
            break
    name = next(iter(read), "")
    if not name:
        raise RemoteProtocolError("a query without a command")
    named = tuple(dict.fromkeys((database, *_named(name, read))))
    return Command(name=name, databases=named, body=body, collection=_text(read[name]), hidden=_hidden(name, read))


def _split(namespace: str) -> tuple[str, str]:
    database, dot, collection = namespace.partition(".")
    if not database or not dot:
        raise RemoteProtocolError("a collection without a database")
    return database, collection


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _hidden(name: str, fields: Mapping[str, Any]) -> frozenset[str]:
    """
    @return: fields of a command that write users, with what their passwords make.
    """
    match name.lower():
        case "applyops" | "dotxn":
            return frozenset({name}) if any(map(_makes_users, _operations(fields.get(name)))) else frozenset()
        case "insert" | "update" | "findandmodify" if f".{_text(fields.get(name))}" == _USERS:
            return frozenset({"documents", "updates", "update"})
        case "bulkwrite":
            namespaces = [_text(each.get("ns")) for each in _maps(fields.get("nsInfo"))]
            return frozenset({"ops"}) if any(each.endswith(_USERS) for each in namespaces) else frozenset()
        case "explain":
            inner = fields.get(name)
            if isinstance(inner, Mapping) and inner:
                inside = next(iter(inner))
                return frozenset({name}) if _SECRETS.get(inside.lower()) or _hidden(inside, inner) else frozenset()
    return frozenset()


def _makes_users(operation: Mapping[str, Any]) -> bool:
    inner = operation.get("o")
    verb = next(iter(inner), "").lower() if isinstance(inner, Mapping) else ""
    return _text(operation.get("ns")).endswith(_USERS) or verb in _SECRETS


def _operations(values: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """
    @return: those of C{applyOps}, and of each that is C{applyOps} again.
    @raise RemoteProtocolError: they stand too deep within one another.
    """
    if depth > MAX_DEPTH:
        raise RemoteProtocolError("operations too deep within operations")
    for operation in _maps(values):
        yield operation
        inner = operation.get("o")
        if operation.get("op") == "c" and isinstance(inner, RawBSONDocument):
            command = documents.shallow(bytes(inner.raw))
            verb = next(iter(command), "")
            if verb.lower() in ("applyops", "dotxn"):
                yield from _operations(command[verb], depth + 1)


def _named(name: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """
    @return: databases named inside a command.
    """
    match name.lower():
        case "renamecollection":
            yield from _namespaces((fields.get(name), fields.get("to")))
        case "bulkwrite":
            yield from _namespaces(each.get("ns") for each in _maps(fields.get("nsInfo")))
        case "aggregate":
            yield from _pipeline(fields.get("pipeline"))
        case "explain":
            inner = fields.get(name)
            if isinstance(inner, Mapping) and inner:
                inner = _read(inner)
                yield from _texts(inner.get("$db"))
                yield from _named(next(iter(inner)), inner)
        case "create" | "collmod":
            yield from _pipeline(fields.get("pipeline"))
        case "mapreduce":
            out = fields.get("out")
            yield from _texts(out.get("db") if isinstance(out, Mapping) else None)
        case "applyops" | "dotxn":
            for operation in _operations(fields.get(name)):
                yield from _namespaces((operation.get("ns"),))
                command = operation.get("o")
                verb = next(iter(command), "") if isinstance(command, Mapping) else ""
                if operation.get("op") == "c" and verb.lower() not in ("applyops", "dotxn"):
                    yield from _named(verb, _read(command))
        case "copydb" | "copydbgetnonce":
            yield from _texts(fields.get("fromdb"))
            yield from _texts(fields.get("todb"))
        case (
            "clonecollection"
            | "convertcapped"
            | "movechunk"
            | "movecollection"
            | "reshardcollection"
            | "shardcollection"
        ):
            yield from _namespaces((fields.get(name),))


_INNER = ("$lookup", "$unionWith", "$graphLookup", "$facet")


def _pipeline(stages: Any) -> Iterator[str]:
    """
    Where stages write to or read from.
    """
    for stage in _maps(stages):
        for name, value in stage.items():
            if name == "$out" and isinstance(value, Mapping):
                yield from _texts(value.get("db"))
            elif name == "$merge" and isinstance(value, Mapping):
                into = value.get("into")
                yield from _texts(into.get("db") if isinstance(into, Mapping) else None)
            elif name in _INNER and isinstance(value, Mapping):
                for inner in (value.get("from"), value.get("coll"), value):
                    if isinstance(inner, Mapping):
                        yield from _texts(inner.get("db"))
                pipelines = value.values() if name == "$facet" else (value.get("pipeline"),)
                for each in pipelines:
                    yield from _pipeline(each)


def _maps(values: Any) -> Iterator[Mapping[str, Any]]:
    """
    @return: the documents of a list, which may still be bytes.
    """
    for each in values if isinstance(values, list) else ():
        if isinstance(each, bytes):
            yield documents.shallow(each)
        elif isinstance(each, Mapping):
            yield _read(each)


def _read(document: Any) -> Mapping[str, Any]:
    """
    @return: a document inside another, which must name nothing twice either.
    """
    return documents.shallow(bytes(document.raw)) if isinstance(document, RawBSONDocument) else document


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value


def _namespaces(values: Any) -> Iterator[str]:
    for each in values:
        if isinstance(each, str) and each:
            yield each.partition(".")[0]


def render(request: Request, asked: Command, most: int) -> tuple[str, int | None]:
    """
    A request as the log has it.

    @param most: characters.
    @return: the text, and the whole's length in bytes where it was cut.
    """
    if not asked.body:
        return f"{asked.name} {asked.collection}".strip(), None
    beside = [(each.identifier, each.documents) for each in request.sequences] if isinstance(request, Message) else []
    return documents.text(asked.body, beside, most=most, mask=asked.secrets, drop=_NOISE)


@frozen(kw_only=True)
class Verdict:
    """
    What an answer says of its command.

    @ivar code_name: the server's word for an error; empty for none.
    @ivar rows: documents returned or changed; C{None} where it is not said.
    """

    error: str = ""
    code: int = 0
    code_name: str = ""
    rows: int | None = None


def verdict(document: bytes) -> Verdict:
    """
    @param document: an answer's, in BSON; empty where it was too long to be kept, and so no error.
    """
    if not document:
        return Verdict()
    try:
        read = documents.shallow(document)
        if read.get("ok") not in (1, 1.0, True):
            return _failed(read)
        for error in _maps(read.get("writeErrors")):
            return _failed(error)
        return Verdict(rows=_rows(read))
    except RemoteProtocolError:
        return Verdict()


def _failed(read: Mapping[str, Any]) -> Verdict:
    code = read.get("code")
    text = read.get("errmsg") or read.get("$err") or "the command failed"
    return Verdict(
        error=str(text)[:1024], code=code if isinstance(code, int) else 0, code_name=_text(read.get("codeName"))
    )


def _rows(read: Mapping[str, Any]) -> int | None:
    changed = read.get("nModified", read.get("n"))
    if isinstance(changed, int):
        return changed
    cursor = read.get("cursor")
    if isinstance(cursor, Mapping):
        batch = cursor.get("firstBatch", cursor.get("nextBatch"))
        return len(batch) if isinstance(batch, list) else None
    return None
