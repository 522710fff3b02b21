"""
Values that must not show up in logs, errors or tracebacks by accident.
"""

from __future__ import annotations

import hmac
from typing import Generic, TypeVar

T = TypeVar("T", bytes, str)


class Secret(Generic[T]):
    """
    Holds a password, token or private key; only L{reveal} gives it out.

    Comparing two secrets takes the same time wherever they differ.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: T = value

    def reveal(self) -> T:
        """
        @return: the value itself, for the one place that must have it.
        """
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


def _octets(value: bytes | str) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
