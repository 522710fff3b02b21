"""
A user's own names for commands, from C{/etc/tsh.yaml} and C{~/.tsh/config/config.yaml}::

    aliases:
      prod: tsh --proxy=prod.example.com ls
      on: tsh ssh root@$0 -- uptime
      hosts: bash -c '$TSH ls --format=names | sort'

C{$0}, C{$1} … are what was typed behind the alias; what is not named is put at the end. C{$TSH} is the program. A
definition that does not begin with C{tsh} or C{$TSH} is any other program. An alias may have the name of a command; the
command itself is meant inside it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from teleport_tw.base.errors import bad_parameter

EVERYBODYS = Path("/etc/tsh.yaml")
"""C{TELEPORT_GLOBAL_TSH_CONFIG} names another file."""

INSIDE = "TSH_UNALIAS"
"""Variable: aliases that are being followed, with commas between; each is followed once."""

_POSITION = re.compile(r"\$(\d+|\{\d+\})")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def unaliased(words: Sequence[str], verbs: Sequence[_Named]) -> list[str]:
    """
    @param words: as typed, flags of the program in front.
    @return: what they stand for. Where that is another program, it takes this process's place.
    @raise SystemExit: the definition, or its file, cannot be used.
    """
    found = list(words)
    files = [path for path in _files() if path.exists()]
    if not files:
        return found
    position = next((index for index, word in enumerate(found) if not word.startswith("-")), None)
    if position is None:
        return found
    known = {verb.name for verb in verbs}
    # A flag's value may stand before the verb, and no alias is looked for there then.
    while position < len(found) and position and found[position] not in known and _takes_value(found[position - 1]):
        position += 1
    if position >= len(found):
        return found
    name, inside = found[position], os.environ.get(INSIDE, "").split(",")
    try:
        definition = _aliases(files).get(name) if name not in inside else None
        if definition is None:
            return found
        command = _filled(definition, found[position + 1 :])
    except Exception as error:
        sys.stderr.write(f"ERROR: {error}\n")
        raise SystemExit(2) from error
    os.environ[INSIDE] = ",".join(filter(None, [*inside, name]))
    if command[0] in ("tsh", "$TSH", sys.argv[0]):
        return unaliased([*found[:position], *command[1:]], verbs)
    os.environ["TSH"] = sys.argv[0]
    try:
        os.execvp(command[0], command)  # noqa: S606  # the user's own definition, as a list
    except OSError as error:
        sys.stderr.write(f"ERROR: the alias {name!r} runs {command[0]!r}: {error.strerror}\n")
        raise SystemExit(1) from error


def _files() -> list[Path]:
    from teleport_tw.clients.home import home

    return [Path(os.environ.get("TELEPORT_GLOBAL_TSH_CONFIG") or EVERYBODYS), home() / "config" / "config.yaml"]


def _takes_value(word: str) -> bool:
    return word in ("-l", "--login", "--proxy", "--user", "--auth", "--ttl", "-i", "--identity", "--ca-pin", "-k")


def _aliases(files: Sequence[Path]) -> Mapping[str, str]:
    import yaml

    found: dict[str, str] = {}
    for path in files:
        try:
            value = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {}  # noqa: S506  # safe, and C{on} is a word
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise bad_parameter(f"{path} cannot be read as YAML: {error}") from error
        aliases = value.get("aliases") or {} if isinstance(value, dict) else None
        if not isinstance(aliases, dict) or not all(isinstance(each, str) for each in aliases.values()):
            raise bad_parameter(f"{path}: aliases must be names with the command each stands for")
        found.update({str(name): command for name, command in aliases.items()})
    return found


def _filled(definition: str, typed: Sequence[str]) -> list[str]:
    """
    @raise TeleportError: BAD_PARAMETER, too little was typed, or a quotation mark is not closed.
    """
    used: set[int] = set()

    def typed_at(match: re.Match[str]) -> str:
        number = int(match[1].strip("{}"))
        if number >= len(typed):
            raise bad_parameter(f"the alias needs {number + 1} argument(s): {definition}")
        used.add(number)
        return typed[number]

    try:
        words = shlex.split(definition)
    except ValueError as error:
        raise bad_parameter(f"the alias {definition!r}: {error}") from error
    if not words:
        raise bad_parameter("the alias stands for nothing")
    filled = [_POSITION.sub(typed_at, word) for word in words]
    return [*filled, *(word for number, word in enumerate(typed) if number not in used)]
