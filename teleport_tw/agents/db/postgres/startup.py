"""
What a startup packet asks for, judged before anything is dialled. Pure.

A name that is left out is filled in here as the server would, so that roles are asked about what really happens. What
could mean two things, or reach something else than what was authorized, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.postgres.startup import PROTOCOL_3_2, StartupMessage

MAX_PARAMETERS = 64
MAX_NAME_BYTES = 63
"""PostgreSQL cuts off what is longer, and would serve another name than the one that was judged."""
EXTENSION = b"_pq_."
"""What names of protocol options begin with; we know none."""

_OFF = frozenset({b"", b"0", b"off", b"of", b"false", b"no", b"n", b"f"})

_ROUTES: Mapping[str, frozenset[str]] = {
    "postgres": frozenset({"session_authorization", "role"}),
    "cockroachdb": frozenset({"cluster", "session_authorization", "role", "crdb:jwt_auth_enabled", "ccluster"}),
}
"""Settings that would make the session another's, or another cluster's; they can be had by a statement, which is told
of and which the database judges."""

_PIECE = re.compile(rb"(?:\\.|[^\s\\])+")


@frozen(kw_only=True)
class Wanted:
    """
    @ivar database: never empty.
    @ivar application: what the client calls itself.
    @ivar packet: for the server.
    @ivar version: that the client asked for.
    @ivar unknown: protocol options that we do not know, which it must be told.
    """

    user: str
    database: str
    application: str
    packet: StartupMessage
    version: int
    unknown: tuple[bytes, ...]

    @property
    def shown(self) -> Mapping[str, str]:
        """
        Settings beside the names, for the audit log.
        """
        return {
            _text(name): _text(value)
            for name, value in self.packet.parameters
            if name not in (b"user", b"database", b"application_name")
        }


def judged(packet: StartupMessage, protocol: str) -> Wanted:
    """
    @param protocol: C{postgres} or C{cockroachdb}.
    @raise RemoteProtocolError: it cannot be served; the code is its SQLSTATE.
    """
    names = [name for name, _ in packet.parameters]
    if len(names) > MAX_PARAMETERS:
        raise RemoteProtocolError("too many startup parameters", code="08P01")
    for name in set(names):
        if names.count(name) > 1:
            raise RemoteProtocolError(f"startup parameter {_text(name)!r} is given twice", code="08P01")
    folded = [name.lower() for name in names]
    if len(set(folded)) < len(folded):
        raise RemoteProtocolError("two startup parameters differ in case only", code="08P01")
    given = dict(packet.parameters)
    user = _name(given, b"user")
    if not user:
        raise RemoteProtocolError("no PostgreSQL user name specified in startup packet", code="28000")
    database = _name(given, b"database") or user
    if protocol == "postgres" and max(len(given[b"user"]), len(given.get(b"database", b""))) > MAX_NAME_BYTES:
        raise RemoteProtocolError(f"a name of more than {MAX_NAME_BYTES} bytes", code="42622")
    if given.get(b"replication", b"").lower() not in _OFF:
        raise RemoteProtocolError("replication connections are not served", code="0A000")
    for name, _ in packet.parameters:
        if _text(name).lower() in _ROUTES[protocol]:
            raise RemoteProtocolError(f"startup parameter {_text(name)!r} is not served", code="0A000")
    _check_options(given.get(b"options", b""), protocol)
    unknown = tuple(name for name in names if name.startswith(EXTENSION))
    parameters = [(name, value) for name, value in packet.parameters if not name.startswith(EXTENSION)]
    if not given.get(b"database"):
        # said, and not left to the server, so that it cannot be another than the one that was judged
        parameters = [(name, value) for name, value in parameters if name != b"database"]
        parameters.append((b"database", given[b"user"]))
    return Wanted(
        user=user,
        database=database,
        application=_text(given.get(b"application_name", b"")),
        packet=StartupMessage(tuple(parameters), min(packet.version, PROTOCOL_3_2)),
        version=packet.version,
        unknown=unknown,
    )


def _check_options(options: bytes, protocol: str) -> None:
    """
    Only settings, C{-c name=value} or C{--name=value}, and none that leads elsewhere: others are switches of the
    server's program.
    """
    pieces = [re.sub(rb"\\(.)", rb"\1", piece, flags=re.DOTALL) for piece in _PIECE.findall(options)]
    waiting = False
    for piece in pieces:
        if waiting:
            setting, waiting = piece, False
        elif piece == b"-c":
            waiting = True
            continue
        elif piece.startswith((b"--", b"-c")):
            setting = piece[2:]
        else:
            raise RemoteProtocolError(f"startup option {_text(piece)!r} is not served", code="42601")
        name, separator, _ = setting.partition(b"=")
        if not separator:
            raise RemoteProtocolError(f"startup option {_text(setting)!r} has no value", code="42601")
        if _text(name).replace("-", "_").lower() in _ROUTES[protocol]:
            raise RemoteProtocolError(f"startup option {_text(name)!r} is not served", code="0A000")
    if waiting:
        raise RemoteProtocolError("startup option -c needs a setting", code="42601")


def _name(given: Mapping[bytes, bytes], key: bytes) -> str:
    try:
        return given.get(key, b"").decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError(f"the {_text(key)} name is not UTF-8", code="22021") from None


def _text(data: bytes) -> str:
    return data[:1024].decode("utf-8", "backslashreplace")
