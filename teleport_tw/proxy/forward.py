"""
The proxy as an SSH server in between: for servers that run a stock sshd, and for all where sessions are recorded at the
proxy.

The user's SSH ends here, at a server that shows a host certificate with the target's names. Nobody decides after the
proxy about a stock sshd, so the user's certificate, locks, roles and limits are looked at here as an agent does, and
go on being looked at. L{teleport_tw.proxy.onward} is the way from here to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from teleport_tw.access.options import MergedOptions
from teleport_tw.api.contract import Watched
from teleport_tw.api.streams import StreamHeader
from teleport_tw.api.taps import TapRequest
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import NEVER, Duration, from_timestamp
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.conch.connection import Responder
from teleport_tw.conch.signatures import is_certificate
from teleport_tw.conch.transport import ServerSettings, ServerTransport
from teleport_tw.conch.userauth import LoginRules, Peer
from teleport_tw.dial.lifetime import Ending, Lifetimes, Terms
from teleport_tw.dial.tapping import Tapping
from teleport_tw.dial.view import View
from teleport_tw.events.kinds import Auth
from teleport_tw.events.kinds import Connection as Over
from teleport_tw.events.sink import EventSink
from teleport_tw.pki.identity import Identity
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.proxy.kept import Issues, Passes, StandIns
from teleport_tw.proxy.targets import AGENTLESS
from teleport_tw.proxy.visit import Visit, actor_of, server_of
from teleport_tw.recordings.capture import Recordings
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import Node, all_labels

MAX_PENDING_LOGINS = 1024

GOING_DOWN = "the proxy is going down"

FAREWELL = Duration(seconds=2)
"""How long clients may take to read that."""


class Authorized(Protocol):
    """
    A user who may use a server as one login: L{teleport_tw.agents.admit.AuthorizedTarget}.
    """

    @property
    def identity(self) -> Identity:
        """
        Who, as the certificate says.
        """
        ...

    @property
    def login(self) -> str:
        """
        The login asked for.
        """
        ...

    @property
    def certificate(self) -> bytes:
        """
        The user's own, as it was verified.
        """
        ...

    @property
    def client_ip(self) -> str:
        """
        Empty where it is not known.
        """
        ...

    @property
    def terms(self) -> Terms:
        """
        On which the connection goes on.
        """
        ...

    @property
    def options(self) -> MergedOptions:
        """
        What the user's roles say together.
        """
        ...


class Decides(Protocol):
    """
    Whether a user may use one server: L{teleport_tw.agents.admit.Admission}.
    """

    def admit(self, certificate: bytes, login: str, client_ip: str, mfa_device: str = "") -> Authorized:
        """
        @param mfa_device: that proved who the user is in the middle of this login.
        @raise TeleportError: ACCESS_DENIED.
        """
        ...


Admit = Callable[[str, Callable[[], Mapping[str, str]]], Decides]
"""From a server's id and labels to who decides about it; the same code that decides at an agent."""


@define(eq=False, kw_only=True)
class Forwarder(Service):
    """
    What all such connections share.

    @ivar host_id: the proxy's own; events say C{forwarded_by} it.
    @ivar reactor: the clock.
    @ivar tapping: asks for second factors in the middle of a login.
    @ivar endpoint: the way to a server, given its resource: L{teleport_tw.proxy.targets.Targets.endpoint}.
    """

    host_id: str
    cluster: str
    view: View
    api: Issues
    lifetimes: Lifetimes
    recordings: Recordings
    sink: EventSink
    reactor: IReactorTime
    admit: Admit
    endpoint: Callable[[Resource, StreamHeader], IStreamClientEndpoint]
    algorithms: Algorithms = field(factory=Algorithms)
    tapping: Tapping = field(default=Tapping(None))
    visits: set[Visit] = field(factory=set, init=False)
    tasks: Tasks = field(factory=Tasks, init=False)
    stand_ins: StandIns = field(init=False)
    passes: Passes = field(init=False)
    _pending: dict[ServerTransport, str] = field(factory=dict, init=False)
    _leave: Callable[[], None] = field(default=lambda: None, init=False)
    _empty: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.stand_ins = StandIns(self.api, self.reactor, self.cluster)
        self.passes = Passes(self.api, self.reactor)

    # --- life

    def startService(self) -> None:
        """
        Watch lifetimes and authorities.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._leave = self.view.copy.subscribe(self._changed)
        self.lifetimes.startService()

    def stopService(self) -> Deferred[None]:
        """
        Everybody still here is told, and disconnected.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._leave()
        self.lifetimes.end_all(Ending(GOING_DOWN, GOING_DOWN))
        await self.drained(FAREWELL)
        self.lifetimes.stopService()
        for visit in tuple(self.visits):
            visit.abort()
        await self.recordings.settled()
        self.stand_ins.cancel()
        self.passes.cancel()
        self.tasks.cancel()

    async def drained(self, limit: Duration) -> None:
        """
        Return when the last user has left, or after C{limit}.
        """
        if self.visits and limit > NEVER:
            self._empty = Deferred()
            with suppress(TimeoutError):
                await self._empty.addTimeout(limit.total_seconds(), self.reactor)
            self._empty = None

    def arrived(self, visit: Visit) -> None:
        """
        A user is in.
        """
        self.visits.add(visit)

    def left(self, visit: Visit) -> None:
        """
        A user's connection is over.
        """
        self.visits.discard(visit)
        if not self.visits and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def _changed(self, news: Watched) -> None:
        kind = news.resource.kind if news.resource is not None else ""
        if kind in ("cert_authority", ""):
            self.stand_ins.clear()
        if kind in ("cert_authority", "role", "lock", ""):
            self.passes.clear()

    # --- decisions

    def now(self) -> datetime:
        """
        @return: aware UTC.
        """
        return from_timestamp(self.reactor.seconds())

    def wanted(self, node: Resource) -> bool:
        """
        @return: whether SSH to C{node} ends at the proxy.
        """
        return node.sub_kind in AGENTLESS or self.view.recording().mode.startswith("proxy")

    def recording_mode(self) -> str:
        """
        @return: C{proxy}, C{proxy-sync} or C{off}. What the cluster records at its nodes is recorded here where there
            is no agent to do so.
        """
        mode = self.view.recording().mode
        return mode if mode == "off" else mode.replace("node", "proxy")

    async def serve(
        self, resource: Resource, header: StreamHeader, dialler: Identity, *, agent: bool = False
    ) -> ServerTransport:
        """
        @param resource: the server that was asked for.
        @param header: with the client's address; the certificates in it are a hint, and not looked at.
        @param dialler: the user whose certificate opened the way here; nobody else may sign in on it.
        @param agent: the user has one for the proxy, and says so by no request; no server may use it.
        @return: a Protocol that speaks SSH to the user.
        @raise TeleportError: LIMIT_EXCEEDED; or the proxy has no host certificate to show and gets none.
        """
        if len(self._pending) >= MAX_PENDING_LOGINS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many connections are being opened; try again")
        node = Node.parse(resource)
        host_keys = await self.stand_ins.host_keys(node)

        async def authenticate(username: str, blob: bytes, peer: Peer) -> Responder:
            return await self._authenticate(resource, node, header, dialler, username, blob, agent=agent)

        rules = LoginRules(
            authenticate=authenticate,
            acceptable=_certificate_only,
            refusal=lambda error: f"ERROR: {error.message}" if error.kind is Kind.ACCESS_DENIED else None,
        )
        settings = ServerSettings(clock=self.reactor, host_keys=host_keys, rules=rules, algorithms=self.algorithms)
        return ServerTransport(settings, self._pending)

    async def _authenticate(
        self,
        resource: Resource,
        node: Node,
        header: StreamHeader,
        dialler: Identity,
        username: str,
        blob: bytes,
        *,
        agent: bool,
    ) -> Responder:
        over = Over(remote=header.client_address)
        server = server_of(node, all_labels(resource), self.host_id)
        address = header.address()
        host = address.host if address is not None else ""
        decides = self.admit(node.name, lambda: all_labels(resource))

        def admit(device: str) -> Authorized:
            target = decides.admit(blob, username, host, device)
            if (target.identity.username, target.identity.cluster) != (dialler.username, dialler.cluster):
                raise access_denied(details=f"{dialler.username!r} dialled, {target.identity.username!r} signs in")
            return target

        async def welcome(target: Authorized) -> Visit:
            visit = Visit(
                shared=self, resource=resource, node=node, header=header, target=target, over=over, server=server
            )
            visit.agent_offered = agent
            await visit.count()
            return visit

        def refused(error: TeleportError) -> None:
            self.sink.emit(
                Auth(
                    actor=actor_of(_claimed(blob), username),
                    connection=over,
                    server=server,
                    success=False,
                    error=error.details or error.message,
                    message=error.message,
                )
            )

        request = TapRequest(certificate=blob, node=node.name, login=username, address=host)
        return await self.tapping.enter(request, admit, welcome, refused)


def _certificate_only(username: str, blob: bytes) -> bool:
    try:
        return is_certificate(Reader(blob).string())
    except RemoteProtocolError:
        return False


def _claimed(blob: bytes) -> Identity:
    try:
        return Identity(username=certificates.parse(blob).key_id)
    except RemoteProtocolError:
        return Identity(username="")
