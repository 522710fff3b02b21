"""
Durations in Go's notation, aware UTC time, and how long to wait before trying again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from attrs import field, frozen

from teleport_tw.base.errors import bad_parameter

Duration = timedelta
"""A span of time; zero stands for "never" where a setting can be switched off."""

NEVER = timedelta(0)

_UNITS = {
    "ns": timedelta(microseconds=1) / 1000,
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")


def parse_duration(text: str | int | float) -> Duration:
    """
    Read C{1h30m}, C{90s}, C{1.5h}, C{7d}, C{never} or C{0}.

    @param text: Go's duration notation with days and weeks added, or a number of seconds.
    @return: the duration; zero for C{never}.
    @raise TeleportError: BAD_PARAMETER, it is not a duration.
    """
    if isinstance(text, bool):
        raise bad_parameter(f"{text!r} is not a duration; write one like 1h30m, 90s or never")
    if isinstance(text, int | float):
        return timedelta(seconds=text)
    stripped = text.strip()
    if stripped in ("never", "0"):
        return NEVER
    sign, body = (-1, stripped[1:]) if stripped.startswith("-") else (1, stripped)
    total, position = timedelta(0), 0
    try:
        for part in _PART.finditer(body):
            if part.start() != position:
                break
            total += float(part[1]) * _UNITS[part[2]]
            position = part.end()
        total = sign * total
    except OverflowError:
        position = -1
    if not body or position != len(body):
        raise bad_parameter(f"{text!r} is not a duration; write one like 1h30m, 90s or never")
    return total


def format_duration(duration: Duration) -> str:
    """
    @return: Go's notation, as C{tsh} prints it: C{1h30m0s}, C{45s}, C{250ms}, C{0s}.
    """
    micros = round(duration / timedelta(microseconds=1))
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1_000_000:
        if micros == 0:
            return "0s"
        return f"{sign}{micros / 1000:g}ms" if micros >= 1000 else f"{sign}{micros}µs"
    seconds, fraction = divmod(micros, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{seconds + fraction / 1_000_000:.6f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{tail}"
    return f"{sign}{minutes}m{tail}" if minutes else f"{sign}{tail}"


def utc_now() -> datetime:
    """
    @return: the time of day, aware, UTC. What must be testable takes a clock instead.
    """
    return datetime.now(UTC)


class Clock(Protocol):
    """
    As much of Twisted's C{IReactorTime} as tells the time.
    """

    def seconds(self) -> float:
        """
        @return: seconds since the epoch.
        """
        ...


def steady(clock: Clock) -> float:
    """
    @return: seconds on a clock that nobody sets, for how long something takes; the clock's own time where it has no
        other, as in tests.
    """
    return steady_of(clock)()


def steady_of(clock: Clock) -> Callable[[], float]:
    """
    @return: what L{steady} asks, for who asks often.
    """
    own: Callable[[], float] = getattr(clock, "steady", clock.seconds)
    return own


def from_timestamp(seconds: float) -> datetime:
    """
    @param seconds: since the epoch, as C{IReactorTime.seconds()} has it.
    @return: aware UTC.
    """
    return datetime.fromtimestamp(seconds, UTC)


def parse_time(text: str) -> datetime:
    """
    @param text: RFC 3339, with C{Z} or an offset.
    @return: aware UTC.
    @raise TeleportError: BAD_PARAMETER, it is not such a time or has no offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_parameter(f"{text!r} is not a time; write one like 2026-01-31T15:04:05Z") from error
    if moment.tzinfo is None:
        raise bad_parameter(f"{text!r} has no time zone; write one like 2026-01-31T15:04:05Z")
    return moment.astimezone(UTC)


def format_time(moment: datetime) -> str:
    """
    @param moment: aware, any zone.
    @return: RFC 3339 in UTC with C{Z}; fractions of a second only where there are some.
    """
    utc = moment.astimezone(UTC)
    text = utc.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{utc.microsecond:06d}".rstrip("0") + "Z" if utc.microsecond else text + "Z"


@frozen
class Backoff:
    """
    Full jitter: each wait is drawn evenly from zero to a bound that doubles up to a cap.

    @ivar first: the first bound.
    @ivar cap: the largest bound.
    @ivar draw: gives a number from 0 up to 1; handed in by tests.
    @see: AWS Architecture Blog, I{Exponential Backoff And Jitter}.
    """

    first: Duration = timedelta(seconds=1)
    cap: Duration = timedelta(seconds=90)
    draw: Callable[[], float] = field(default=random.random)

    def waits(self) -> Iterator[float]:
        """
        @return: seconds to wait before each further try, without end.
        """
        bound, cap = self.first.total_seconds(), self.cap.total_seconds()
        while True:
            yield self.draw() * min(bound, cap)
            bound = min(bound * 2, cap)
