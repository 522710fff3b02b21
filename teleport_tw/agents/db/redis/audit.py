"""
Commands as the audit log has them: as one would type them, without what must not be kept.

@see: reference, protocols 1.8
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from teleport_tw.agents.db.policy import MASK, MAX_QUERY, Keeping
from teleport_tw.protocols.redis.requests import Request

HIDDEN = "****"
"""In place of a password."""

DISCREET = (
    "WRONGPASS ",
    "NOAUTH ",
    "NOPERM ",
    "ERR AUTH <password> called without",
    "ERR Client sent AUTH, but no password",
)
"""How errors begin that repeat nothing of what was sent."""

_PLAIN = re.compile(rb"[\0!#-&(-\[\]-~]+")
_SECRETS = frozenset(
    {b"REQUIREPASS", b"MASTERAUTH", b"TLS-KEY-FILE-PASS", b"TLS-CLIENT-KEY-FILE-PASS", b"AUTH-PASS", b"SENTINEL-PASS"}
)

Arguments = Sequence[bytes]
Words = list[str]


def shown(argument: bytes) -> str:
    """
    @return: as one would type it: in quotes, and with escapes, where that is needed.
    """
    if argument and _PLAIN.fullmatch(argument) and b"\0" not in argument:
        return argument.decode("ascii")
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        text = argument.decode("latin-1")
        return '"' + "".join(_escaped(char) if char < "\x7f" else f"\\x{ord(char):02x}" for char in text) + '"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return char if char.isprintable() else "".join(f"\\x{octet:02x}" for octet in char.encode("utf-8"))


def text(request: Request, keeping: Keeping = Keeping.FULL) -> tuple[str, int | None]:
    """
    @param keeping: what is kept of arguments behind the first, where it is not everything.
    @return: the command, and how many bytes it has in all where it was cut.
    """
    arguments: Arguments = request.arguments
    hide = _HIDE.get(request.name)
    cut = None
    if not request.is_whole or len(request.octets) > MAX_QUERY:
        arguments, cut = _beginning(arguments), len(request.octets)
    if keeping is not Keeping.FULL:
        words = _limited(arguments, keeping, hide)
    elif hide is None:
        joined = b"\0".join(arguments)
        if _PLAIN.fullmatch(joined) and joined.count(b"\0") == len(arguments) - 1 and b"" not in arguments:
            return joined.replace(b"\0", b" ").decode("ascii"), cut
        words = list(map(shown, arguments))
    else:
        words = hide(arguments)
    return " ".join(words), cut


def reason(kept: str, said: bytes) -> str:
    """
    Why a command failed. Servers repeat words of commands that they do not know or understand, so of one that may carry
    a password only the error's code is kept, unless its text is known to repeat nothing.

    @param kept: the command, as L{text} has it.
    @param said: the server's error, from its first byte.
    """
    words = (said[1:] if said[:1] == b"-" else said.partition(b"\r\n")[2]).decode("utf-8", "replace").strip()
    if kept.partition(" ")[0].upper().encode("utf-8") in _HIDE and not words.startswith(DISCREET):
        return words.partition(" ")[0][:32]
    return words


def _beginning(arguments: Arguments) -> Arguments:
    kept, room = [], MAX_QUERY
    for argument in arguments:
        kept.append(argument[:room])
        room -= len(argument) + 1
        if room <= 0:
            break
    return kept


def _limited(arguments: Arguments, keeping: Keeping, hide: Callable[[Arguments], Words] | None) -> Words:
    words = hide(arguments) if hide else list(map(shown, arguments))
    if keeping is Keeping.OFF:
        return words[:2]
    return words[:2] + [MASK] * len(words[2:])


def _auth(arguments: Arguments) -> Words:
    words = list(map(shown, arguments))
    if len(words) == 3:
        return [*words[:2], HIDDEN]
    return words[:1] + [HIDDEN] * len(words[1:])


def _hello(arguments: Arguments) -> Words:
    return _behind(arguments, {b"AUTH": (2, 2)})


def _migrate(arguments: Arguments) -> Words:
    return _behind(arguments, {b"AUTH": (1, 1), b"AUTH2": (2, 2)})


def _behind(arguments: Arguments, options: Mapping[bytes, tuple[int, int]]) -> Words:
    """
    @param options: name to how many values follow, and which of them is hidden.
    """
    words = list(map(shown, arguments))
    for index, argument in enumerate(arguments):
        _, hidden = options.get(argument.upper(), (0, 0))
        if hidden and index and index + hidden < len(words):
            words[index + hidden] = HIDDEN
    return words


def _settings(arguments: Arguments) -> Words:
    """
    Whatever follows the name of a secret, wherever that stands.
    """
    words = list(map(shown, arguments))
    for index, argument in enumerate(arguments[:-1]):
        if argument.upper() in _SECRETS:
            words[index + 1] = HIDDEN
    return words


def _acl(arguments: Arguments) -> Words:
    words = list(map(shown, arguments))
    if len(arguments) > 2 and arguments[1].upper() == b"SETUSER":
        for index, argument in enumerate(arguments[3:], 3):
            if argument[:1] in (b">", b"<", b"#", b"!"):
                words[index] = argument[:1].decode("ascii") + HIDDEN
    return words


_HIDE: Mapping[bytes, Callable[[Arguments], Words]] = {
    b"AUTH": _auth,
    b"HELLO": _hello,
    b"CONFIG": _settings,
    b"SENTINEL": _settings,
    b"ACL": _acl,
    b"MIGRATE": _migrate,
}
"""Commands that carry passwords."""
