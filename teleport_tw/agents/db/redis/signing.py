"""
What users say of who they are, judged: C{AUTH}, and C{HELLO} with C{AUTH} in it.

A session is for one user of the database, which roles allowed. Nobody becomes another in it.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.agents.db.redis.login import DEFAULT, sign_in
from teleport_tw.base.errors import TeleportError, access_denied, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.redis.requests import Request
from teleport_tw.protocols.redis.wire import command


@frozen
class Signing:
    """
    @ivar octets: what is sent to the server.
    @ivar signs_in: whether the server's consent makes the connection the user's.
    """

    octets: bytes
    signs_in: bool


def auth(request: Request, user: str, password: Secret[bytes] | None) -> Signing:
    """
    @param user: whom the session is for.
    @param password: that takes the place of what was typed.
    @raise TeleportError: ACCESS_DENIED, it is for another.
    """
    given = request.arguments[1:]
    if not request.is_whole or request.count > 3:
        raise bad_parameter("syntax error in AUTH")
    if not given:
        return Signing(request.octets, False)
    _own(given[0] if len(given) == 2 else DEFAULT.encode(), user)
    return Signing(sign_in(user, password) if password else request.octets, True)


def hello(request: Request, user: str, password: Secret[bytes] | None) -> Signing:
    """
    C{HELLO [version [AUTH user password] [SETNAME name]]}.

    Where we have the password we have signed in, so that C{AUTH} is left out: servers that do not know C{HELLO} repeat
    what came behind it, to the user.

    @raise TeleportError: as L{auth}; BAD_PARAMETER, a form of it that Redis 7 does not have.
    """
    if not request.is_whole:
        raise bad_parameter("HELLO is too long")
    arguments = list(request.arguments)
    index, signs_in, cut = 2, False, False
    while index < len(arguments):
        option, left = arguments[index].upper(), len(arguments) - index - 1
        if option == b"AUTH" and left >= 2:
            _own(arguments[index + 1], user)
            if password:
                del arguments[index : index + 3]
                cut = True
            else:
                signs_in = True
                index += 3
        elif option == b"SETNAME" and left:
            index += 2
        else:
            raise bad_parameter(f"syntax error in HELLO option '{option.decode('utf-8', 'replace')[:32]}'")
    return Signing(command(*arguments) if cut else request.octets, signs_in)


def _own(named: bytes, user: str) -> None:
    if named != user.encode("utf-8"):
        raise _other(named, user)


def _other(named: bytes, user: str) -> TeleportError:
    how = "AUTH <password>" if user == DEFAULT else f"AUTH {user} <password>"
    return access_denied(
        f"access denied: this session is for database user {user!r}; say {how}, or connect as the other user",
        details=f"wrong user: {named.decode('utf-8', 'replace')!r} is not {user!r}",
    )
