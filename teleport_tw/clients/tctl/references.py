"""
How resources are named on the command line: C{kind}, C{kind/name}, several with commas, C{all}.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.resources.kinds import lookup

ALL = (
    "role",
    "user",
    "token",
    "lock",
    "cluster_auth_preference",
    "cluster_networking_config",
    "session_recording_config",
)
"""What C{tctl get all} dumps, in an order in which it can be created again."""


@frozen
class Reference:
    """
    @ivar name: empty for all of the kind; filled in for kinds of which there is one.
    """

    kind: str
    name: str = ""
    sub_kind: str = ""


def parse_reference(text: str) -> Reference:
    """
    @param text: C{user/alice}, C{users}, C{cap}, C{cert_authority/host/example.com}.
    @raise TeleportError: BAD_PARAMETER, there is no such kind.
    """
    kind_word, _, rest = text.strip().partition("/")
    kind = lookup(kind_word)
    if kind.name == "cert_authority" and rest:
        sub_kind, _, name = rest.partition("/")
        return Reference(kind.name, name, sub_kind)
    return Reference(kind.name, rest or kind.singleton)


def parse_references(text: str) -> list[Reference]:
    """
    @raise TeleportError: BAD_PARAMETER.
    """
    references: list[Reference] = []
    for word in text.split(","):
        if word.strip() == "all":
            references += [parse_reference(kind) for kind in ALL]
        elif word.strip():
            references.append(parse_reference(word))
    if not references:
        raise bad_parameter("say which resources: a kind such as users, or kind/name")
    return references
