"""
How we prove ourselves to a MongoDB server: by our certificate, C{MONGODB-X509}.

@see: specifications, C{auth/auth.md}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.protocols.mongodb import commands, documents

Ask = Callable[[Mapping[str, Any]], Awaitable[bytes]]
"""Sends a command; gives the answer's document in BSON."""

MIN_WIRE_VERSION = 6
"""OP_MSG came with MongoDB 3.6."""


async def login(ask: Ask, user: str) -> None:
    """
    @param user: of the database; the certificate that was shown in TLS says C{CN=user}.
    @raise TeleportError: CONNECTION_PROBLEM, it does not take us, or is too old.
    """
    # No word of who we are: the client may say who it is once for a connection, in its own hello.
    hello = await _asked(ask, {"hello": 1, "helloOk": True, "$db": "admin"}, "said no hello")
    version = documents.shallow(hello).get("maxWireVersion")
    if not isinstance(version, int) or version < MIN_WIRE_VERSION:
        raise _problem("it is older than MongoDB 3.6")
    await _asked(
        ask,
        {"authenticate": 1, "mechanism": "MONGODB-X509", "user": f"CN={user}", "$db": "$external"},
        f"did not take the certificate of CN={user}: is there such a user in $external?",
    )


async def _asked(ask: Ask, command: Mapping[str, Any], text: str) -> bytes:
    answer = await ask(command)
    said = commands.verdict(answer)
    if said.error or not answer:
        raise _problem(f"{text} ({said.error})" if said.error else text)
    return answer


def _problem(text: str) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the MongoDB server {text}")
