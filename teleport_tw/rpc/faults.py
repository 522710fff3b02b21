"""
What a call's end looks like on the wire, before anybody gave it a meaning.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen
from grpc import StatusCode


@frozen
class Fault:
    """
    @ivar text: for the user.
    @ivar trailers: metadata sent after it; keys in lower case, those that end in C{-bin} carry bytes.
    """

    code: StatusCode
    text: str
    trailers: tuple[tuple[str, str | bytes], ...] = field(default=())


ToFault = Callable[[Exception], "Fault | None"]
"""Words an error for the wire; None says that it is a bug of ours, which the caller is not told about."""

FromFault = Callable[[Fault], Exception]
"""Makes an error of what came over the wire."""
