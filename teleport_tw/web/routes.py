"""
A route as data, and the call that its handler gets.

Everything that is decided before a handler runs (who may come, how often, what the query and the body may hold) stands
in the table, so that L{teleport_tw.web.openapi} tells it as it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import define, field, frozen
from twisted.web.resource import IResource

from teleport_tw.api.contract import Api
from teleport_tw.base.errors import access_denied
from teleport_tw.resources.metadata import Json
from teleport_tw.web.sessions import Session
from teleport_tw.web.shapes import Shape, Table

PREFIXES = ("/webapi", "/v1/webapi")
"""Both name the same."""


_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")


class Who(Enum):
    """
    Whom a route serves.
    """

    PUBLIC = "anybody"
    SESSION = "cookie and bearer"
    """A signed-in page."""
    COOKIE = "cookie and CSRF token"
    """A page that has lost its bearer, to get another."""
    SOCKET = "cookie and Origin; the bearer in the first message"
    """A WebSocket, which cannot send headers."""
    BROWSER = "cookie; the address itself is a secret"
    """What the browser fetches by itself, without the page."""


class Limit(Enum):
    """
    How often one address, or one user where there is one, may ask; in a minute, and at once.
    """

    CHEAP = (120, 480)
    FILES = (6000, 6000)
    """From memory, for nobody in particular: a page takes some sixty, and an office has one address."""
    COSTLY = (20, 40)
    """What can be guessed at: ceremonies."""
    SIGNED_IN = (1200, 600)


@frozen(kw_only=True)
class Answer:
    """
    What is more than JSON with status 200.

    @ivar body: all of it, or its pieces as they come.
    """

    body: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    content_type: bytes = b"application/json"
    headers: Mapping[bytes, bytes] = field(factory=dict)


Reply: TypeAlias = Json | list[Any] | bytes | Answer | IResource


@define(eq=False, kw_only=True)
class Call:
    """
    One request, checked as its route says.

    @ivar path: what stands in the path's places.
    @ivar query: values of the types that the route describes; what was not said is not there.
    @ivar body: the same of the body; empty for routes that take none.
    @ivar address: the client's, without port.
    @ivar session: whose it is; none for strangers.
    """

    request: Any
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    address: str
    session: Session | None = None
    _api: Api | None = None

    @property
    def api(self) -> Api:
        """
        Auth, as the user.
        """
        if self._api is None:
            raise access_denied("sign in first")
        return self._api

    @property
    def user(self) -> Session:
        """
        The session, where the route wants one.
        """
        if self.session is None:
            raise access_denied("sign in first")
        return self.session

    @property
    def host(self) -> str:
        """
        What the client calls the proxy: C{host:port}, or a host.
        """
        told = (self.request.getHeader(b"Host") or b"").decode("latin-1")
        return told if _HOST.fullmatch(told) else ""

    @property
    def user_agent(self) -> str:
        """
        What the client calls itself.
        """
        return (self.request.getHeader(b"User-Agent") or b"").decode("latin-1")[:512]

    def raw(self, most: int) -> bytes:
        """
        @return: the body as it came, one byte more than C{most} at the most.
        """
        found: bytes = self.request.content.read(most + 1)
        return found


Handler = Callable[[Call], Awaitable[Reply]]


@frozen(kw_only=True)
class Route:
    """
    One thing that can be asked.

    @ivar path: below each prefix, places as C{<name>}.
    @ivar about: one sentence for the description.
    @ivar query: what the query may hold; C{None} takes it as it is.
    @ivar body: what a JSON body must be; C{None} where the handler reads it itself, or there is none.
    @ivar answer: what comes back with 200.
    @ivar streams: the handler takes the body as it comes, whatever its size: C{call.request.body}.
    @ivar passive: pages ask this by themselves, so it does not show that the user is there.
    @ivar listed: whether the description tells of it.
    @ivar root: the path has no prefix.
    """

    method: str
    path: str
    handler: Handler
    about: str
    who: Who = Who.SESSION
    limit: Limit = Limit.SIGNED_IN
    query: Mapping[str, Shape] | None = field(factory=dict)
    body: Table | None = None
    answer: Shape | None = None
    media: str = "application/json"
    streams: bool = False
    passive: bool = False
    listed: bool = True
    root: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """
        Where it is mounted.
        """
        return (self.path,) if self.root else tuple(prefix + self.path for prefix in PREFIXES)

    @property
    def name(self) -> str:
        """
        Of the operation, unique in the table.
        """
        words = [word.strip("<>-_.") for word in self.path.split("/") if word]
        return "_".join([self.method.lower(), *words]).replace("-", "_").replace(".", "_")
