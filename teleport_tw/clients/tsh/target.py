"""
What a user writes for a server: C{[user@]host}, C{[user@]label=value,…}, and which servers that means.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.clients.standing import Standing

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext

PASSED = ("LANG", "LANGUAGE", "TZ", "COLORTERM")
PASSED_PREFIXES = ("LC_", "TELEPORT_SESSION_", "TELEPORT_SSH_")

DEFAULT_PORT = 3022
"""What C{tsh} has always taken for no port at all; agents behind a tunnel have none."""


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """
    Add C{--cluster}.
    """
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="the cluster the server is in")


@frozen
class Wanted:
    """
    @ivar login: at the server; empty when it was not said.
    @ivar host: name, address or UUID; or labels, when it has an equals sign.
    """

    login: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """
        @raise TeleportError: BAD_PARAMETER, there is no host.
        """
        login, at, host = text.rpartition("@")
        if not host or (at and not login):
            raise bad_parameter(f"{text!r} is not [user@]host")
        return cls(login, host)

    @property
    def by_labels(self) -> bool:
        """
        Whether servers are meant by their labels.
        """
        return "=" in self.host

    def login_for(self, option: str, standing: Standing) -> str:
        """
        @param option: of C{--login}.
        @return: who to be at the server: what was said, else this machine's user, else the only login there is.
        """
        said = self.login or option
        if said:
            return said
        here = getpass.getuser()
        return here if here in standing.logins or len(standing.logins) != 1 else standing.logins[0]


@frozen
class Node:
    """
    One server.

    @ivar name: shown.
    @ivar target: dialled.
    @ivar names: that it may prove to have.
    """

    name: str
    target: str
    names: tuple[str, ...]


def address(host: str, port: int) -> str:
    """
    @param port: as the user said; zero or L{DEFAULT_PORT} for none.
    @return: what the proxy is asked for.
    """
    suffix = f":{port}" if port not in (0, DEFAULT_PORT) else ""
    return f"[{host}]{suffix}" if suffix and ":" in host else host + suffix


async def nodes(context: UserContext, wanted: Wanted, port: int) -> list[Node]:
    """
    @param port: as the user said; zero or L{DEFAULT_PORT} for none.
    @return: the servers meant; a name is not looked up, as the proxy does that.
    @raise TeleportError: NOT_FOUND, no server has such labels.
    """
    if not wanted.by_labels:
        return [Node(wanted.host, address(wanted.host, port), (wanted.host,))]
    from teleport_tw.api.contract import Query, every
    from teleport_tw.clients.selection import parse_labels

    api = await context.api()
    query = Query(labels=parse_labels(wanted.host), accessible=True)
    found = [node async for node in every(api, "node", query)]
    if not found:
        raise not_found(f"no server that you can reach has the labels {wanted.host}")
    named = [(str(node.spec.get("hostname") or node.name), node.name) for node in found]
    return [Node(name, uuid, (uuid, name)) for name, uuid in sorted(named)]


def options_of(words: Sequence[str]) -> Mapping[str, str]:
    """
    @param words: of C{-o}: C{Name=value} or C{Name value}.
    @return: by name in lower case.
    """
    found = {}
    for word in words:
        name, _, value = word.replace(" ", "=", 1).partition("=")
        found[name.strip().lower()] = value.strip()
    return found


def words_of(command: Sequence[str]) -> str:
    """
    @return: the command as the server's shell gets it.
    """
    words = list(command)
    return " ".join(words[1:] if words[:1] == ["--"] else words)


def passed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """
    @return: what a server is told of our environment.
    """
    return {name: value for name, value in environment.items() if name in PASSED or name.startswith(PASSED_PREFIXES)}
