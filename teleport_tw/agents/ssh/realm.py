"""
Who is signed in, and what their connection may ask for.

L{Realm} is what all users of an agent share; L{SSHUser} answers one connection. What can be asked for stands in a
L{Registry}: kinds of channels, global requests, subsystems, requests inside a session, and commands that are served
here instead of by a program. Each feature adds its own lines there and knows nothing of the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.agents.admit import Admission, AuthorizedTarget
from teleport_tw.agents.ssh.accounts import Account, Accounts
from teleport_tw.agents.ssh.hostusers import HostUsers
from teleport_tw.agents.ssh.spawn import Spawner
from teleport_tw.agents.tracking import Trackers
from teleport_tw.api.attendance import Attendance
from teleport_tw.api.streams import address_text
from teleport_tw.api.taps import TapRequest
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.conch.channel import Answer, Channel
from teleport_tw.conch.connection import ChannelOpen, Connection, Responder
from teleport_tw.conch.signatures import is_certificate
from teleport_tw.conch.userauth import LoginRules, Peer
from teleport_tw.config.sections import SSHService
from teleport_tw.dial.lifetime import Ending, Lease, Life, Lifetimes
from teleport_tw.dial.tapping import Tapping
from teleport_tw.dial.view import View
from teleport_tw.events.kinds import Actor, Auth, ClientDisconnect, SessionRejected
from teleport_tw.events.kinds import Connection as Over
from teleport_tw.events.kinds import Server as Where
from teleport_tw.events.sink import EventSink
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.recordings.capture import Recordings
from teleport_tw.tunnel.stream import Stream

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.party import Party
    from teleport_tw.agents.ssh.session import Program, SessionChannel

DISCONNECT_BY_APPLICATION = 11

LAST_WORDS_SECONDS = 1.0
"""How long a client may take to read why it is disconnected."""


@define(eq=False)
class Registry:
    """
    What users may ask for.

    @ivar channels: kind to what makes a channel: C{session}, C{direct-tcpip}.
    @ivar global_requests: name to what answers, with the answer's fields or C{None} to refuse.
    @ivar subsystems: name to what serves it: C{sftp}.
    @ivar session_requests: requests inside a session beyond shells, commands and terminals: C{x11-req}.
    @ivar commands: asked in order about each command; the first that gives a Program serves it: C{scp}.
    """

    channels: dict[str, Callable[[SSHUser, ChannelOpen], Awaitable[Channel]]] = field(factory=dict)
    global_requests: dict[str, Callable[[SSHUser, bytes], Awaitable[bytes | None]]] = field(factory=dict)
    subsystems: dict[str, Callable[[SessionChannel], Program]] = field(factory=dict)
    session_requests: dict[str, Callable[[SessionChannel, bytes], Awaitable[Answer] | Answer]] = field(factory=dict)
    commands: list[Callable[[SessionChannel, str], Program | None]] = field(factory=list)


@frozen(kw_only=True)
class Host:
    """
    The host as users and events see it.

    @ivar proxy_address: C{host:port} of the cluster's proxy; empty where it is not known.
    """

    id: str
    name: str
    cluster: str
    version: str
    proxy_address: str = ""


@define(eq=False, kw_only=True)
class Realm:
    """
    What all users of the agent share.

    @ivar reactor: also the clock.
    @ivar host_users: makes Unix users for sessions; C{None} where that is not wanted, or not possible.
    @ivar tapping: asks for second factors in the middle of a login.
    @ivar presence: auth, as the host; tells who proved to be there.
    @ivar parties: sessions with a terminal, by id.
    @ivar draining: no more sessions are taken.
    """

    reactor: IReactorTime
    threads: Threads
    host: Host
    section: SSHService
    view: View
    admission: Admission
    lifetimes: Lifetimes
    recordings: Recordings
    sink: EventSink
    spawner: Spawner
    registry: Registry
    trackers: Trackers
    presence: Attendance
    accounts: Accounts = field(factory=Accounts)
    host_users: HostUsers | None = None
    tapping: Tapping = field(default=Tapping(None))
    users: set[SSHUser] = field(factory=set, init=False)
    parties: dict[str, Party] = field(factory=dict, init=False)
    tasks: Tasks = field(factory=Tasks, init=False)
    draining: bool = field(default=False, init=False)
    on_idle: Callable[[], object] = field(default=lambda: None, init=False)
    _log = Logger()

    def rules(self) -> LoginRules:
        """
        @return: who may sign in, for the SSH server.
        """
        return LoginRules(
            authenticate=self.authenticate,
            acceptable=_certificate_only,
            refusal=lambda error: None if error.kind is not Kind.ACCESS_DENIED else f"ERROR: {error.message}",
        )

    def server(self) -> Where:
        """
        This host in an event.
        """
        return Where(
            id=self.host.id,
            hostname=self.host.name,
            labels=dict(self.admission.labels()),
            version=self.host.version,
        )

    async def authenticate(self, username: str, blob: bytes, peer: Peer) -> Responder:
        """
        See L{teleport_tw.conch.userauth.Authenticate}.
        """
        over, host = Over(remote=address_text(peer.address)), getattr(peer.address, "host", "")

        def admit(device: str) -> AuthorizedTarget:
            if self.draining:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "this host is going down")
            return self.admission.admit(blob, username, host, device)

        async def welcome(target: AuthorizedTarget) -> SSHUser:
            user = SSHUser(realm=self, target=target, over=over, peer=peer)
            await user.count()
            return user

        def refused(error: TeleportError) -> None:
            self.sink.emit(
                Auth(
                    actor=Actor(user=_claimed_user(blob), login=username),
                    connection=over,
                    server=self.server(),
                    success=False,
                    error=error.details or error.message,
                    message=error.message,
                )
            )

        request = TapRequest(certificate=blob, node=self.host.id, login=username, address=host)
        return await self.tapping.enter(request, admit, welcome, refused)


def _certificate_only(username: str, blob: bytes) -> bool:
    try:
        return is_certificate(Reader(blob).string())
    except RemoteProtocolError:
        return False


def _claimed_user(blob: bytes) -> str:
    from teleport_tw.protocols.ssh import certificate

    try:
        return certificate.parse(blob).key_id
    except RemoteProtocolError:
        return ""


@define(eq=False, kw_only=True)
class SSHUser:
    """
    Answers one signed-in user.

    @ivar connection: once it is up.
    @ivar sessions: open session channels.
    @ivar cleanups: called when the connection is over; features leave theirs here.
    """

    realm: Realm
    target: AuthorizedTarget
    over: Over
    peer: Peer
    connection: Connection | None = field(default=None, init=False)
    sessions: set[SessionChannel] = field(factory=set, init=False)
    cleanups: list[Callable[[], object]] = field(factory=list, init=False)
    _account: Account | None = field(default=None, init=False)
    _life: Life | None = field(default=None, init=False)
    _lease: Lease | None = field(default=None, init=False)
    _gone: bool = field(default=False, init=False)
    _holds_host_user: bool = field(default=False, init=False)
    _log = Logger()

    @property
    def through_tunnel(self) -> bool:
        """
        Whether a proxy brought the user: nobody else opens streams. Who came to our port may be anybody with a
        certificate.
        """
        return self.connection is not None and isinstance(self.connection.transport.transport, Stream)

    @property
    def actor(self) -> Actor:
        """
        The user in an event.
        """
        identity = self.target.identity
        return Actor(
            user=identity.username,
            login=self.target.login,
            impersonator=identity.impersonator,
            roles=identity.roles,
            traits=identity.traits,
            kind="bot" if identity.bot_name else "human",
            access_requests=identity.active_requests,
            bot_name=identity.bot_name,
            bot_instance=identity.bot_instance,
            cluster=identity.cluster,
        )

    async def count(self) -> None:
        """
        Take one of the connections the user may have at a time.

        @raise TeleportError: there are as many already, or nobody can tell.
        """
        limit, user = self.target.options.max_connections, self.target.identity.username
        self._lease = await self.realm.lifetimes.count(user, limit, lambda reason: self._reject(reason, limit))

    def _reject(self, reason: str, limit: int) -> None:
        self.realm.sink.emit(
            SessionRejected(
                actor=self.actor, connection=self.over, server=self.realm.server(), reason=reason, maximum=limit
            )
        )

    # What conch asks.

    def connected(self, connection: Connection) -> None:
        """
        From here on locks, idleness and expiry count.
        """
        self.connection = connection
        self.realm.users.add(self)
        self._life = self.realm.lifetimes.begin(self.target.terms, self.end)
        if self._lease is not None:
            self._lease.on_lost = self._life.finish
        refusal = self.realm.lifetimes.refusal(self.target.terms)
        if refusal:  # a lock that came while the login was decided
            self._life.finish(Ending(refusal, refusal))

    def connection_lost(self) -> None:
        """
        Everything of the user's ends.
        """
        if self._gone:
            return
        self._gone = True
        self.realm.users.discard(self)
        if self._life is not None:
            self._life.close()
        if self._lease is not None:
            self._lease.release()
        cleanups, self.cleanups = self.cleanups, []
        for cleanup in cleanups:
            try:
                cleanup()
            except Exception:
                self._log.failure("cleaning up after {user} failed", user=self.target.identity.username)
        if not self.realm.users:
            self.realm.on_idle()

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """
        By the registry.
        """
        make = self.realm.registry.channels.get(request.kind)
        if self.target.joins_only and request.kind != "session":
            raise access_denied("this login joins sessions and does nothing else")
        if make is None:
            raise TeleportError(Kind.NOT_IMPLEMENTED, f"channels of type {request.kind} are not known here")
        if self.realm.draining:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "this host is going down")
        self.touch()
        try:
            return await make(self, request)
        except RemoteProtocolError as error:
            raise TeleportError(Kind.BAD_PARAMETER, "the channel was asked for in a wrong way") from error

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """
        By the registry.
        """
        answer = self.realm.registry.global_requests.get(name)
        return None if answer is None or self.target.joins_only else await answer(self, payload)

    # For channels and features.

    def touch(self) -> None:
        """
        The connection is in use.
        """
        if self._life is not None:
            self._life.touch()

    def check_sessions(self) -> None:
        """
        @raise TeleportError: LIMIT_EXCEEDED, the connection has as many sessions as the roles allow.
        """
        limit = self.target.options.max_sessions
        if limit and len(self.sessions) >= limit:
            self._reject("max_sessions limit reached", limit)
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"too many sessions: {limit} allowed on one connection")

    async def account(self) -> Account:
        """
        @return: the Unix account of the login.
        @raise TeleportError: there is none, or it may not be used.
        """
        if self._account is None:
            await self._need_host_user()
            self._account = await self.realm.threads.run(self.realm.accounts.find, self.target.login)
        return self._account

    async def _need_host_user(self) -> None:
        target, users = self.target, self.realm.host_users
        if users is None or target.host_user is None or self._holds_host_user:
            return
        self._holds_host_user = True
        await users.hold(target.login, target.host_user, target.identity.traits)
        release = partial(self.realm.tasks.spawn, "removing a host user")
        if self._gone:
            release(users.release(target.login))
        else:
            self.cleanups.append(lambda: release(users.release(target.login)))

    def end(self, ending: Ending) -> None:
        """
        Disconnect the user, who is told why on every terminal.
        """
        connection = self.connection
        if connection is None or self._gone:
            return
        self.realm.sink.emit(
            ClientDisconnect(actor=self.actor, connection=self.over, server=self.realm.server(), reason=ending.reason)
        )
        for session in tuple(self.sessions):
            session.last_words(ending.message)
        transport = connection.transport
        transport.sendDisconnect(DISCONNECT_BY_APPLICATION, ending.message.encode())
        abort = self.realm.reactor.callLater(LAST_WORDS_SECONDS, transport.abortConnection)
        self.cleanups.append(lambda: abort.cancel() if abort.active() else None)
