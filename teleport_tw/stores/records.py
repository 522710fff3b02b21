"""
Small private records: JSON objects in items of their own, changed by compare-and-swap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from teleport_tw.backends.interface import Backend, Condition, Delete, Put
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError

Fields = Mapping[str, Any]

RACES = 32
"""Lost races in a row before a change gives up: with fair luck, more writers than one record ever has."""


@frozen
class Change:
    """
    @ivar fields: the record's new members; C{None} removes it.
    """

    fields: Fields | None
    expires: datetime | None = None


async def read(backend: Backend, key: Key) -> Fields | None:
    """
    @return: C{None} where there is none.
    """
    try:
        return decode((await backend.get(key)).value)
    except TeleportError as error:
        if error.kind is Kind.NOT_FOUND:
            return None
        raise


async def write(backend: Backend, key: Key, fields: Fields, expires: datetime | None = None) -> None:
    """
    Whatever was there.
    """
    await backend.put(key, encode(fields), expires)


async def change(backend: Backend, key: Key, step: Callable[[Fields | None], Change]) -> None:
    """
    Read, change and write as one, however many others do the same.

    @param step: called again with the newest state after a lost race; what it raises ends the change.
    @raise TeleportError: COMPARE_FAILED after L{RACES} lost races.
    """
    for _ in range(RACES):
        try:
            item = await backend.get(key)
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            expected: Condition | int = Condition.ABSENT
            changed = step(None)
        else:
            expected = item.revision
            changed = step(decode(item.value))
        try:
            if changed.fields is not None:
                await backend.batch((Put(key, encode(changed.fields), changed.expires, expected),))
            elif isinstance(expected, int):
                await backend.batch((Delete(key, expected),))
            return
        except TeleportError as error:
            if error.kind not in _LOST:
                raise
    raise TeleportError(Kind.COMPARE_FAILED, "too many changes at once; try again")


async def remove(backend: Backend, key: Key) -> None:
    """
    Leave nothing there.
    """
    await backend.delete(key, Condition.ANY)


def encode(fields: Fields) -> bytes:
    """
    @return: compact JSON.
    """
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def decode(octets: bytes) -> Fields:
    """
    @raise TeleportError: INTERNAL, these are not bytes that L{encode} made.
    """
    try:
        value = json.loads(octets)
    except ValueError as error:
        raise TeleportError(Kind.INTERNAL, "a stored record is damaged") from error
    if not isinstance(value, dict):
        raise TeleportError(Kind.INTERNAL, "a stored record is damaged")
    return value


_LOST = (Kind.COMPARE_FAILED, Kind.ALREADY_EXISTS, Kind.NOT_FOUND)
