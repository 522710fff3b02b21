"""
What every driver that judges conditions itself checks in the same way, and says in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from teleport_tw.backends.interface import (
    MAX_BATCH,
    MAX_PAGE,
    MAX_VALUE_BYTES,
    Check,
    Condition,
    Delete,
    Expected,
    Extend,
    Operation,
    Put,
)
from teleport_tw.backends.keys import Key, make_key
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found


def check_operations(operations: Sequence[Operation]) -> None:
    """
    @raise TeleportError: BAD_PARAMETER; a bad key, one key twice, a value too large, an expiry without zone.
    """
    if not 0 < len(operations) <= MAX_BATCH:
        raise bad_parameter(f"a batch has 1 to {MAX_BATCH} operations, this one has {len(operations)}")
    for operation in operations:
        make_key(operation.key)
        if isinstance(operation, Put) and len(operation.value) > MAX_VALUE_BYTES:
            raise bad_parameter(
                f"{named(operation.key)} has {len(operation.value)} bytes, the most is {MAX_VALUE_BYTES}"
            )
        expires: datetime | None = None if isinstance(operation, Delete | Check) else operation.expires
        if isinstance(operation, Extend) and operation.expected is Condition.ABSENT:
            raise bad_parameter(f"{named(operation.key)} cannot be both absent and extended")
        if expires is not None and expires.tzinfo is None:
            raise bad_parameter(f"the expiry of {named(operation.key)} has no time zone")
    if len({operation.key for operation in operations}) != len(operations):
        raise bad_parameter("a batch names each key once")


def check_conditions(operations: Sequence[Operation], revision_of: Callable[[Key], int | None]) -> None:
    """
    @param revision_of: the revision of the living item; C{None} where there is none.
    @raise TeleportError: for the first condition that does not hold.
    """
    for operation in operations:
        expected = operation.expected
        if isinstance(operation, Extend) and expected is Condition.ANY:
            expected = Condition.PRESENT
        refuse_unless(operation.key, expected, revision_of(operation.key))


def refuse_unless(key: Key, expected: Expected, revision: int | None) -> None:
    """
    @raise TeleportError: ALREADY_EXISTS, NOT_FOUND or COMPARE_FAILED, as the condition fails.
    """
    match expected:
        case Condition.ANY:
            return
        case Condition.ABSENT:
            if revision is not None:
                raise TeleportError(Kind.ALREADY_EXISTS, f"{named(key)} already exists")
        case Condition.PRESENT:
            if revision is None:
                raise not_found(f"{named(key)} is not found")
        case _:
            if revision is None:
                raise not_found(f"{named(key)} is not found")
            if revision != expected:
                raise TeleportError(
                    Kind.COMPARE_FAILED,
                    f"{named(key)} was changed by somebody else meanwhile; get it again and repeat the change",
                    details=f"expected revision {expected}, found {revision}",
                )


def check_limit(limit: int) -> None:
    """
    @raise TeleportError: BAD_PARAMETER.
    """
    if not 0 < limit <= MAX_PAGE:
        raise bad_parameter(f"a page has 1 to {MAX_PAGE} items, asked for {limit}")


def named(key: Key) -> str:
    """
    @return: kind and name in the user's words; the last two components of the key, since secrets are never in keys.
    """
    return " ".join((key[-2], repr(key[-1]))) if len(key) > 1 else repr(key[-1])


def closed() -> TeleportError:
    """
    @return: what every call after C{close} fails with.
    """
    return TeleportError(Kind.CONNECTION_PROBLEM, "the state store is closed")
