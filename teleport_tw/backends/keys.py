"""
Legal keys: tuples of path components, ordered as tuples are.

A key travels as its components' UTF-8 joined by a zero byte, which no component holds; so bytes sort as the tuples do,
and a prefix of whole components is a prefix of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from teleport_tw.base.errors import bad_parameter

Key = tuple[str, ...]
"""Path components, outermost first: C{("resources", "node", "3f0c…")}."""

MAX_COMPONENT_BYTES = 512
"""Of one component in UTF-8; host names end at 253, and a name may carry an account and a region before it."""

MAX_COMPONENTS = 8
"""Of one key; the deepest layout in use has five."""

_SEPARATOR = b"\x00"


def make_key(parts: Iterable[str]) -> Key:
    """
    @return: the components as a key.
    @raise TeleportError: BAD_PARAMETER; a component is empty, too long, C{.} or C{..}, or holds control characters.
    """
    key = tuple(parts)
    if not 0 < len(key) <= MAX_COMPONENTS:
        raise bad_parameter(f"a key has 1 to {MAX_COMPONENTS} parts, this one has {len(key)}")
    for part in key:
        check_component(part)
    return key


def check_component(part: str) -> None:
    """
    @raise TeleportError: BAD_PARAMETER; see L{make_key}.
    """
    if not part:
        raise bad_parameter("a name must not be empty")
    if part in (".", ".."):
        raise bad_parameter(f"{part!r} is not a name")
    if any(character < " " or character == "\x7f" for character in part):
        raise bad_parameter(f"the name {part!r} holds a control character")
    try:
        octets = part.encode()
    except UnicodeEncodeError as error:
        raise bad_parameter(f"the name {part!r} is not valid Unicode") from error
    if len(octets) > MAX_COMPONENT_BYTES:
        raise bad_parameter(f"the name {part[:40]!r}… is longer than {MAX_COMPONENT_BYTES} bytes")


def encode_key(key: Key) -> bytes:
    """
    @return: bytes that sort as the tuples do.
    """
    return _SEPARATOR.join(part.encode() for part in key)


def decode_key(octets: bytes) -> Key:
    """
    @param octets: what L{encode_key} gave.
    """
    return tuple(part.decode() for part in octets.split(_SEPARATOR))


def span_of(prefix: Key) -> tuple[bytes, bytes]:
    """
    @param prefix: whole components; empty means everything.
    @return: the first encoded key below the prefix and the first one past it; the prefix itself is not below it.
    """
    if not prefix:
        return b"", b"\xff"
    start = encode_key(prefix)
    return start + b"\x00", start + b"\x01"


def is_below(key: Key, prefix: Key) -> bool:
    """
    @return: whether the key lies below the prefix.
    """
    return len(key) > len(prefix) and key[: len(prefix)] == prefix
