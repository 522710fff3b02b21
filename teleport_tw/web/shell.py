"""
What a page asks for when it opens a terminal, the server's side of it, and how it ended.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.dial.session import ClientSession
from teleport_tw.dial.session import Terminal as Size
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.web.envelope import AUDIT, SESSION, bounded, parse_object
from teleport_tw.web.window import WINDOW_BYTES

KIND = "xterm-256color"

MODES = ("peer", "observer", "moderator")


@frozen(kw_only=True)
class Wanted:
    """
    What a page asks for.

    @ivar target: id or name of the server.
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
        if names["mode"] not in ("", *MODES) or not names["server_id"] or not (names["login"] or names["sid"]):
            raise bad_parameter("params hold server_id and login, or sid and mode")
        return cls(
            target=names["server_id"],
            login=names["login"],
            session=names["sid"],
            mode=names["mode"],
            columns=bounded(term.get("w", 80)),
            rows=bounded(term.get("h", 24)),
        )

    @property
    def size(self) -> Size:
        """
        As SSH has it.
        """
        return Size(kind=KIND, columns=self.columns, rows=self.rows)


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

    def request_x_teleport_event(self, payload: bytes) -> None:
        """
        JSON.
        """
        self._told(AUDIT, payload.decode("utf-8", "replace"))
