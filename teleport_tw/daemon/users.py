"""
Auth, as the users who signed in at the proxy's web page: each call runs with the certificate of its session.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.logger import Logger

from teleport_tw.api.client import RpcApi
from teleport_tw.api.contract import Api, WebSession
from teleport_tw.base.errors import access_denied
from teleport_tw.base.tasks import Tasks

if TYPE_CHECKING:
    from teleport_tw.auth.service import AuthService

MAX_CHANNELS = 200
"""Connections to auth that are kept for users; of more, the one not used for longest is closed."""


@define(eq=False)
class InProcessUsers:
    """
    Where auth runs in this very process.
    """

    auth: AuthService

    def api_for(self, session: WebSession, address: str) -> Api:
        """See L{teleport_tw.web.sessions.UserApis}."""
        core = self.auth.core
        if core is None:
            raise access_denied("the cluster is starting or stopping; try again", details="auth does not run")
        pem = session.certificates.tls
        identity = core.signing.recall(pem, core.now())
        if identity is None:
            der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
            identity = core.signing.identify(der, core.now(), pem)
        return self.auth.api_for(identity, address, pem)


@define(eq=False)
class RemoteUsers:
    """
    Over gRPC, a connection for each session.

    @ivar connect: opens one with the session's certificate and key.
    """

    connect: Callable[[WebSession], RpcApi]
    _open: OrderedDict[str, tuple[bytes, RpcApi]] = field(factory=OrderedDict, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    def api_for(self, session: WebSession, address: str) -> Api:
        """See L{teleport_tw.web.sessions.UserApis}."""
        known = self._open.pop(session.sign_in, None)
        if known is not None and known[0] != session.certificates.tls:
            self._close(known[1])
            known = None
        if known is None:
            known = (session.certificates.tls, self.connect(session))
        self._open[session.sign_in] = known
        while len(self._open) > MAX_CHANNELS:
            self._close(self._open.popitem(last=False)[1][1])
        return known[1]

    def _close(self, api: RpcApi) -> None:
        self._tasks.spawn("closing a user's connection to auth", api.close())

    async def close(self) -> None:
        """
        End them all.
        """
        kept, self._open = self._open, OrderedDict()
        for _, api in kept.values():
            await api.close()
