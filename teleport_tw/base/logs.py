"""
Where log lines go and how they look: text for people, JSON for machines, one event a line.

Events come from C{twisted.logger} as data, so the fields of an event are still fields in the JSON. The level may change
while the program runs, and a file that was moved away by a rotating program is opened anew by L{Logs.reopen}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, TextIO

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, formatEvent, globalLogBeginner
from zope.interface import implementer

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.syslog import Syslog

LEVELS = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
    "err": LogLevel.error,
}
"""Names of levels as configuration files have them, in any case."""

FORMATS = ("text", "json")

FIELDS = ("timestamp", "component", "level")
"""What stands in a line beside the message; each can be left out."""

_ORDER = {level: number for number, level in enumerate(LogLevel.iterconstants())}

_OWN_FIELDS = frozenset(("format", "message", "time", "isError", "failure", "printed", "system", "why"))
"""What Twisted itself puts in events without C{log_} before it."""

Words = Callable[[LogEvent, Collection[str]], str]


def parse_level(name: str) -> Any:
    """
    @return: the C{LogLevel} constant.
    @raise TeleportError: BAD_PARAMETER, there is no such level.
    """
    level = LEVELS.get(name.strip().lower())
    if level is None:
        raise bad_parameter(f"{name!r} is no log level; use debug, info, warn or error")
    return level


def as_text(event: LogEvent, fields: Collection[str] = FIELDS) -> str:
    """
    @param fields: of L{FIELDS}.
    @return: C{2026-01-31T15:04:05.123Z INFO [proxy.service] message}, its traceback in lines below; one line end at
        the end. Control characters of peers' names and the like are escaped, so nobody forges lines.
    """
    head = (
        ("timestamp", _time(event)),
        ("level", f"{_level(event).upper():<5}"),
        ("component", f"[{_component(event)}]"),
    )
    lines = [" ".join((*(word for name, word in head if name in fields), _escape(formatEvent(event))))]
    if "log_failure" in event:
        lines.append(_traceback(event))
    return "\n".join(lines) + "\n"


def as_json(event: LogEvent, fields: Collection[str] = FIELDS) -> str:
    """
    @param fields: of L{FIELDS}.
    @return: one object on one line: C{timestamp}, C{level}, C{component}, C{message}, C{traceback} of a failure, and
        the fields of the event. A secret is shown as such, not in clear.
    """
    head = {"timestamp": _time(event), "level": _level(event), "component": _component(event)}
    record: dict[str, object] = {name: word for name, word in head.items() if name in fields}
    record["message"] = formatEvent(event)
    if "log_failure" in event:
        record["traceback"] = _traceback(event)
    for name, value in event.items():
        if not name.startswith("log_") and name not in _OWN_FIELDS:
            record.setdefault(name, _plain(value))
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _component(event: LogEvent) -> str:
    return str(event.get("log_namespace", "-")).removeprefix("teleport_tw.")


def _traceback(event: LogEvent) -> str:
    return eventAsText(
        {**event, "log_format": ""}, includeTraceback=True, includeTimestamp=False, includeSystem=False
    ).strip("\n")


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Secret():
            return repr(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return str(value)


@implementer(ILogObserver)
@define(eq=False)
class Logs:
    """
    Writes events at or above a level to a file, to standard error, or to the system's log.

    @ivar path: the file, appended to; None writes to standard error.
    @ivar level: the least level that is written; set by L{set_level} at any time.
    @ivar fields: of L{FIELDS}, what stands in a line. The system's log has its own time and level.
    @ivar syslog: takes the lines instead of the file.
    """

    _words: Words
    path: str | None = None
    level: Any = LogLevel.info
    fields: Collection[str] = FIELDS
    syslog: Syslog | None = None
    _out: TextIO = field(init=False)
    _least: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._least = _ORDER[self.level]
        self._out = self._open()

    def _open(self) -> TextIO:
        if self.path is None:
            return sys.stderr
        return open(self.path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)

    def set_level(self, name: str) -> None:
        """
        @param name: debug, info, warn or error.
        @raise TeleportError: BAD_PARAMETER, there is no such level.
        """
        self.level = parse_level(name)
        self._least = _ORDER[self.level]

    def reopen(self) -> None:
        """
        Go on in a new file where the old one was moved away.
        """
        if self.syslog is not None:
            self.syslog.close()
        if self.path is not None:
            old, self._out = self._out, self._open()
            old.close()

    def become(self, other: Logs) -> None:
        """
        Go on as C{other}, which is not used itself any more.
        """
        old, had_file = self._out, self.path is not None
        if self.syslog is not None:
            self.syslog.close()
        self._words, self.path, self.fields, self.syslog = other._words, other.path, other.fields, other.syslog
        self.level, self._least, self._out = other.level, other._least, other._out
        if had_file:
            old.close()

    def __call__(self, event: LogEvent) -> None:
        """
        Write an event, if it is of a level that counts.
        """
        if _ORDER.get(event.get("log_level", LogLevel.info), 1) < self._least:
            return
        line = self._words(event, self.fields)
        if self.syslog is not None:
            self.syslog.send(event.get("log_level", LogLevel.info), line)
        else:
            self._out.write(line)
            self._out.flush()


def logs(
    *,
    format: str = "text",
    path: str | None = None,
    level: str = "info",
    fields: Collection[str] = FIELDS,
    syslog: bool = False,
) -> Logs:
    """
    @param format: C{text} or C{json}.
    @param path: the file; None is standard error.
    @param level: debug, info, warn or error.
    @param fields: of L{FIELDS}; others have no effect.
    @param syslog: to the system's log instead.
    @return: an observer, for C{twistd} or L{begin}.
    @raise TeleportError: BAD_PARAMETER, no such level or format, or the file cannot be written.
    """
    if format not in FORMATS:
        raise bad_parameter(f"{format!r} is no log format; use text or json")
    words = as_json if format == "json" else as_text
    try:
        if not syslog:
            return Logs(words, path, parse_level(level), fields)
    except OSError as error:
        raise bad_parameter(f"the log file {path} cannot be written: {error.strerror}") from error
    left = [name for name in fields if name not in ("timestamp", "level")]
    return Logs(words, None, parse_level(level), left, Syslog())


def begin(observer: Logs) -> None:
    """
    Make it the process's log, for programs that C{twistd} does not start.
    """
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
