"""
How we prove ourselves to a Redis server.

Our certificate is shown in TLS before. Servers that take users from certificates (Redis 8.6, C{tls-auth-clients-user};
Valkey 9) have signed us in by that; others want a password of the user's, which we have or the user types.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from teleport_tw.agents.db.redis.audit import DISCREET
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.redis.messages import Bulk, Error, Value
from teleport_tw.protocols.redis.wire import command

Ask = Callable[[bytes], Awaitable[Value]]
"""Sends a command; gives the answer."""

DEFAULT = "default"
"""Whom a connection is before it signs in as anybody."""


async def login(ask: Ask, user: str, password: Secret[bytes] | None) -> bool:
    """
    @param user: of the database.
    @param password: the user's, if we have it.
    @return: whether the server knows us as that user now; else the user has to say C{AUTH}.
    @raise TeleportError: CONNECTION_PROBLEM, it does not take us.
    """
    if password is not None:
        answer = await ask(sign_in(user, password))
        if isinstance(answer, Error):
            raise _problem(f"did not take our password for {user!r}: {_reason(answer)}")
        return True
    if user == DEFAULT:
        return True
    answer = await ask(command("ACL", "WHOAMI"))
    if isinstance(answer, Error) and b"unknown command" in answer.text.lower():
        raise _problem(f"is older than Redis 6 and knows no users; connect as {DEFAULT!r} and not as {user!r}")
    return isinstance(answer, Bulk) and answer.octets == user.encode("utf-8")


def sign_in(user: str, password: Secret[bytes]) -> bytes:
    """
    @return: the command; without a name for the default user, since servers before Redis 6 know no other.
    """
    if user == DEFAULT:
        return command("AUTH", password.reveal())
    return command("AUTH", user, password.reveal())


def _reason(error: Error) -> str:
    """
    @return: a text that is known to repeat nothing of what was sent, else its first word alone.
    """
    text = error.text.decode("utf-8", "replace")
    return text if text.startswith(DISCREET) else text.partition(" ")[0][:32]


def _problem(text: str) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the Redis server {text}")
