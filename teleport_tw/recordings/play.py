"""
Playing a recording: timing, seeking and the formats it is exported to. Pure: whoever shows it has the clock.
"""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml
from attrs import define, field

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import parse_time
from teleport_tw.recordings.container import End, Note, Output, Resized, Start, Timed
from teleport_tw.recordings.screen import LineReader

CLEAR = b"\x1bc"
"""Resets a terminal, before a seek backwards draws anew."""
IDLE_MS = 1000
"""What is left of a longer silence when idle time is skipped."""
MIN_SPEED, MAX_SPEED = 0.25, 16.0
FORMATS = ("text", "json", "yaml", "cast")


@define
class Player:
    """
    Says what is to be shown when.

    @ivar records: of the whole recording.
    @ivar skip_idle: shorten silences to a second.
    @ivar position_ms: in the recording.
    """

    records: Sequence[Timed]
    speed: float = 1.0
    skip_idle: bool = False
    paused: bool = False
    position_ms: float = 0.0
    _next: int = field(default=0, init=False)

    @property
    def length_ms(self) -> int:
        """
        Of the recording.
        """
        return self.records[-1].ms if self.records else 0

    @property
    def ended(self) -> bool:
        """
        Everything was shown.
        """
        return self._next >= len(self.records)

    def wait(self) -> float | None:
        """
        @return: seconds until something is due; None when paused or ended.
        """
        if self.paused or self.ended:
            return None
        return max(0.0, self._due() - self.position_ms) / 1000 / self.speed

    def advance(self, seconds: float) -> list[Timed]:
        """
        @param seconds: that passed on the viewer's clock.
        @return: what is due now.
        """
        if self.paused:
            return []
        left = seconds * 1000 * self.speed
        shown: list[Timed] = []
        while not self.ended:
            needed = self._due() - self.position_ms
            if needed > left:
                self.position_ms += left
                return shown
            left -= max(0.0, needed)
            shown.append(self.records[self._next])
            self.position_ms = max(self.position_ms, self.records[self._next].ms)
            self._next += 1
        return shown

    def seek(self, ms: int) -> list[Timed]:
        """
        @param ms: where to go on; clamped to the recording.
        @return: what brings a screen there: forwards the records in between, backwards a reset and all before it.
        """
        target = min(max(0, ms), self.length_ms)
        shown: list[Timed] = []
        if target < self.position_ms:
            self._next = 0
            shown.append(Timed(0, Output(CLEAR)))
        while not self.ended and self.records[self._next].ms <= target:
            shown.append(self.records[self._next])
            self._next += 1
        self.position_ms = target
        return shown

    def faster(self, factor: float) -> None:
        """
        Change the speed, within L{MIN_SPEED} and L{MAX_SPEED}.
        """
        self.speed = min(MAX_SPEED, max(MIN_SPEED, self.speed * factor))

    def _due(self) -> float:
        due = float(self.records[self._next].ms)
        last = self.records[self._next - 1].ms if self._next else 0
        if self.skip_idle and due - last > IDLE_MS and self.position_ms < due - IDLE_MS:
            self.position_ms = due - IDLE_MS
        return due


def export(records: Iterable[Timed], form: str) -> Iterator[str]:
    """
    @param form: C{text}, what was on the screen as lines; C{json} or C{yaml}, events as the reference names them;
        C{cast}, asciicast v2.
    @return: the export in pieces.
    @raise TeleportError: BAD_PARAMETER, no such format.
    """
    match form:
        case "text":
            return _as_text(records)
        case "json":
            return (json.dumps(event, ensure_ascii=False) + "\n" for event in as_events(records))
        case "yaml":
            return (yaml.safe_dump(event, sort_keys=False, explicit_start=True) for event in as_events(records))
        case "cast":
            return as_asciicast(records)
    raise bad_parameter(f"{form!r} is not a format of recordings; use one of {', '.join(FORMATS)}")


def as_events(records: Iterable[Timed]) -> Iterator[dict[str, Any]]:
    """
    @return: C{session.start}, C{print}, C{resize}, C{session.end} and notes as JSON objects.
    """
    offset = 0
    for index, record in enumerate(records):
        match record.fact:
            case Start(metadata):
                event: dict[str, Any] = {"event": "session.start", **metadata}
            case Output(data):
                shown = base64.b64encode(data).decode("ascii")
                event = {"event": "print", "data": shown, "bytes": len(data), "offset": offset}
                offset += len(data)
            case Resized(width, height):
                event = {"event": "resize", "size": f"{width}:{height}"}
            case Note(noted):
                event = dict(noted)
            case End(summary):
                event = {"event": "session.end", **summary}
        yield {**event, "ms": record.ms, "ei": index}


def as_asciicast(records: Iterable[Timed]) -> Iterator[str]:
    """
    @return: lines: a header, then one a record; bytes that are no UTF-8 become replacement characters.
    @see: asciicast v2, https://docs.asciinema.org/manual/asciicast/v2/
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for index, record in enumerate(records):
        seconds = record.ms / 1000
        match record.fact:
            case Start(metadata) if index == 0:
                yield json.dumps(_cast_header(metadata)) + "\n"
            case Output(data):
                text = decoder.decode(data)
                if text:
                    yield json.dumps([seconds, "o", text], ensure_ascii=False) + "\n"
            case Resized(width, height):
                yield json.dumps([seconds, "r", f"{width}x{height}"]) + "\n"
            case Note(event):
                yield json.dumps([seconds, "m", str(event.get("event", ""))], ensure_ascii=False) + "\n"
            case _:
                continue


def _cast_header(metadata: Any) -> dict[str, Any]:
    width, _, height = str(metadata.get("size", "")).partition(":")
    header: dict[str, Any] = {
        "version": 2,
        "width": int(width) if width.isdigit() else 80,
        "height": int(height) if height.isdigit() else 24,
        "env": {"TERM": str(metadata.get("term", "xterm-256color"))},
    }
    if "time" in metadata:
        header["timestamp"] = int(parse_time(str(metadata["time"])).timestamp())
    if "sid" in metadata:
        header["title"] = f"{metadata.get('user', '')} {metadata['sid']}".strip()
    return header


def _as_text(records: Iterable[Timed]) -> Iterator[str]:
    lines = LineReader()
    for record in records:
        if isinstance(record.fact, Output):
            for line in lines.feed(record.fact.data, record.ms):
                yield line.text + "\n"
    for line in lines.end():
        yield line.text + "\n"
