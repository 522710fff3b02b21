"""
What a page asks for when it opens a terminal, the server's side of it, and how it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from attrs import field, frozen

from teleport_tw.api.contract import Api
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter, not_found
from teleport_tw.dial import joining
from teleport_tw.dial.session import ClientSession
from teleport_tw.dial.session import Terminal as Size
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.resources.metadata import Json
from teleport_tw.resources.sessions import KIND, Session
from teleport_tw.web.envelope import AUDIT, SESSION, bounded, parse_object
from teleport_tw.web.window import WINDOW_BYTES

TERM = "xterm-256color"

MODES = ("peer", "observer", "moderator")


@frozen(kw_only=True)
class Wanted:
    """
    What a page asks for.

    @ivar target: id or name of the server; empty to join, as the session says where it is.
    @ivar session: of somebody, to join; empty for a new one.
    @ivar mode: to join with.
    """

    target: str
    login: str
    session: str = ""
    mode: str = ""
    columns: int = 80
    rows: int = 24

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """
        @param text: the C{params} of a request.
        @raise TeleportError: BAD_PARAMETER.
        """
        try:
            told = parse_object(text)
        except RemoteProtocolError as error:
            raise bad_parameter("params must be a JSON object") from error
        names = {name: told.get(name) or "" for name in ("server_id", "login", "sid", "mode")}
        term = told.get("term") or {}
        if not all(isinstance(value, str) and len(value) <= 256 for value in names.values()):
            raise bad_parameter("server_id, login, sid and mode are texts")
        if not isinstance(term, dict) or not all(type(term.get(each, 1)) is int for each in "wh"):
            raise bad_parameter("term holds w and h, in characters")
        if names["mode"] not in ("", *MODES) or not (names["sid"] or (names["server_id"] and names["login"])):
            raise bad_parameter("params hold server_id and login, or sid and mode")
        return cls(
            target=names["server_id"],
            login=names["login"],
            session=names["sid"],
            mode=names["mode"] or ("observer" if names["sid"] else ""),
            columns=bounded(term.get("w", 80)),
            rows=bounded(term.get("h", 24)),
        )

    @property
    def size(self) -> Size:
        """
        As SSH has it.
        """
        return Size(kind=TERM, columns=self.columns, rows=self.rows)


@frozen(kw_only=True)
class Place:
    """
    Where a terminal leads.

    @ivar target: id or name of the server, to be dialled.
    @ivar login: to sign in as.
    @ivar shown: what is told to the page beside it.
    @ivar variables: for the server.
    """

    target: str
    login: str
    hostname: str
    shown: Json
    variables: Mapping[str, str]


async def find(wanted: Wanted, api: Api) -> Place:
    """
    @param api: auth, as the user.
    @raise TeleportError: NOT_FOUND, there is no such session that the user may see.
    """
    if not wanted.session:
        hostname = await _hostname(wanted.target, api)
        shown = {"login": wanted.login, "server_id": wanted.target, "server_hostname": hostname, "mode": "peer"}
        return Place(target=wanted.target, login=wanted.login, hostname=hostname, shown=shown, variables={})
    try:
        session = Session.parse(await api.get(KIND, wanted.session))
    except TeleportError as error:
        if error.kind in (Kind.NOT_FOUND, Kind.ACCESS_DENIED):
            raise not_found("there is no such session that you may join; it may be over") from error
        raise
    if session.session_kind != "ssh":
        raise bad_parameter(f"that is a session of kind {session.session_kind}; those of servers can be joined")
    participants = [{"user": each.user, "mode": each.mode} for each in session.participants]
    return Place(
        target=session.address,
        login=joining.LOGIN,
        hostname=session.hostname,
        shown={
            "id": session.name,
            "login": session.login,
            "server_id": session.address,
            "server_hostname": session.hostname,
            "mode": wanted.mode,
            "participants": participants,
        },
        variables=joining.variables(session.name, wanted.mode),
    )


async def _hostname(target: str, api: Api) -> str:
    try:
        return str((await api.get("node", target)).spec.get("hostname") or target)
    except TeleportError:  # whether it is there, and for whom, is not for us to say
        return target


@frozen
class Closing:
    """
    How a session ended.

    @ivar code: for programs; see the protocol.
    @ivar reason: for people.
    @ivar status: of the shell; None where it told none.
    @ivar again: a new session may well succeed.
    """

    code: str
    reason: str = ""
    status: int | None = field(default=None, kw_only=True)
    signal: str = field(default="", kw_only=True)
    again: bool = field(default=False, kw_only=True)

    @property
    def at_once(self) -> bool:
        """
        Whether the page need not see the rest first.
        """
        return self.code in ("closed", "restart")


RESTART = Closing("restart", "the proxy is being restarted; open a new session", again=True)
SIGNED_OUT = Closing("ended", "you signed out")


class Shell(ClientSession):
    """
    The server's side of a terminal.

    @ivar told: called with what the server says of the session: its id, events as JSON.
    """

    def __init__(self, output: Callable[[bytes], object], told: Callable[[str, str], object]) -> None:
        super().__init__(output, output, window_bytes=WINDOW_BYTES)
        self._told = told

    def request_current_session_id(self, payload: bytes) -> None:
        """
        C{string} id.
        """
        self._told(SESSION, Reader(payload).text())

    def request_x_teleport_mfa_presence(self, payload: bytes) -> None:
        """
        C{uint32} seconds that are left.
        """
        event = {"event": joining.PRESENCE, "seconds": Reader(payload).uint32()}
        self._told(AUDIT, json.dumps(event))

    def request_x_teleport_event(self, payload: bytes) -> None:
        """
        JSON.
        """
        self._told(AUDIT, payload.decode("utf-8", "replace"))
