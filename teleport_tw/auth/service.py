"""
Auth as a Twisted service: opens what it keeps, makes a cluster of it at the first start, serves its API.

In an all-in-one process proxy and agents are handed L{AuthService.api_for} and need no gRPC; everybody else comes by
gRPC, through auth's own port or through a proxy.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

import teleport_tw
from teleport_tw.api import relaying
from teleport_tw.api.admin import AdminFiles
from teleport_tw.api.contract import MfaAnswer, Watched
from teleport_tw.api.joining import ALPN
from teleport_tw.api.mirror import Mirror
from teleport_tw.audit.log import AuditLog
from teleport_tw.auth import bootstrap, grpc
from teleport_tw.auth.bound import Parts
from teleport_tw.auth.core import KNOWN_KINDS, Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.grpc_web import answer_of
from teleport_tw.auth.joining.facts import tell
from teleport_tw.auth.journal import Journal
from teleport_tw.auth.listener import AuthListener
from teleport_tw.auth.local import LocalApi
from teleport_tw.auth.metrics import Metrics
from teleport_tw.auth.password import Passwords
from teleport_tw.auth.signing import Signing
from teleport_tw.auth.vouching import close_abandoned, forget_old
from teleport_tw.auth.wiring import make_core, make_parts
from teleport_tw.backends.interface import Backend
from teleport_tw.backends.measure import MeasuredBackend
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.backends.sqlite import open_sqlite
from teleport_tw.base.addresses import host_of, split_address
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Duration
from teleport_tw.config import sections
from teleport_tw.pki import trust
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.recordings.archive import Archive
from teleport_tw.recordings.search import ContentIndex
from teleport_tw.recordings.storage import LocalStorage
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.rpc.peer import Peer
from teleport_tw.rpc.server import RpcServer, ServerTls
from teleport_tw.stores.resources import ResourceStore

RENEW_EVERY: Duration = timedelta(hours=12)
"""Auth's own certificates are made anew so often; they last a month."""

CLOSE_EVERY: Duration = timedelta(minutes=5)
"""Recordings whose host died are looked for so often."""

FORGET_EVERY: Duration = timedelta(hours=1)
"""What is older than C{storage.retention_period} is looked for so often."""

ANNOUNCE_EVERY: Duration = timedelta(minutes=3)
ANNOUNCE_TTL: Duration = timedelta(minutes=10)
"""Of auth's own place in the list of servers."""

STRANGER = Identity(username="")
MAX_CALLS_OF_USER = 500
"""At once, watches included: a person's programs have a dozen, and the server has room for some eighty such."""
MAX_CALLS_OF_HOST = 5000
"""Of a proxy, which asks for everybody who comes by it; agents have a few."""
"""Who has no certificate: may ping and join, and nothing else."""


@define(eq=False, kw_only=True)
class AuthService(Service):
    """
    @ivar metrics: counts for Prometheus.
    @ivar listen: whether to serve gRPC and joining on the network at all; off for tests that use L{api_for} alone.
    """

    teleport: sections.Teleport
    config: sections.AuthService
    reactor: IReactorTime
    threads: Threads
    passwords: Passwords
    make_backend: Callable[[], Backend]
    listen: bool = True
    metrics: Metrics = field(factory=Metrics)
    name: str = field(default="auth", init=False)
    core: Core | None = field(default=None, init=False)
    _parts: Parts | None = field(default=None, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _opening: Deferred[None] | None = field(default=None, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _closers: list[Callable[[], object]] = field(factory=list, init=False)
    _context: ssl.SSLContext | None = field(default=None, init=False)
    _relay_context: ssl.SSLContext | None = field(default=None, init=False)
    _rpc: RpcServer | None = field(default=None, init=False)
    _listener: AuthListener | None = field(default=None, init=False)
    _host_id: str = field(default="", init=False)
    _failed: Exception | None = field(default=None, init=False)
    _log = Logger()

    @property
    def data_dir(self) -> Path:
        """
        Where everything is kept.
        """
        return Path(self.teleport.data_dir)

    @property
    def port(self) -> int:
        """
        Of auth's own listener; zero while not listening.
        """
        return self._listener.bound_port if self._listener is not None else 0

    def startService(self) -> None:
        """
        Begin to open; L{ready} tells the end of it.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addCallbacks(self._opened, self._open_failed)

    def ready(self) -> Deferred[None]:
        """
        @return: fires when the API answers; fails with what kept it from starting.
        """
        waiting: Deferred[None] = Deferred()
        if self._failed is not None:
            waiting.errback(self._failed)
        elif self._parts is not None and self._opening is None:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def api_for(
        self, identity: Identity, address: str = "", certificate: bytes = b"", answer: MfaAnswer | None = None
    ) -> LocalApi:
        """
        @param identity: verified before, or that of a service in this very process.
        @param address: where it calls from; empty where nobody knows, which is no good for a pinned certificate.
        @param certificate: that the identity was read from, PEM; without it, no answer to a second factor's challenge
            covers more than one session.
        @param answer: a second factor shown along.
        @return: the contract, bound to it.
        """
        if self._parts is None:
            raise RuntimeError("auth has not started")
        return LocalApi(self._parts, identity, address, certificate, answer)

    def local_identity(self, role: SystemRole) -> Identity:
        """
        @return: of a service that runs in this process.
        """
        if self.core is None:
            raise RuntimeError("auth has not started")
        return Identity(
            username=f"{self._host_id}.{self.core.cluster}", cluster=self.core.cluster, system_roles=(role,)
        )

    async def reload(self, config: sections.AuthService) -> None:
        """
        Take over from a configuration read anew: join tokens, and what it says of sign-in, network and recording.
        """
        self.config = config
        if self.core is not None:
            self.core.static_tokens = bootstrap.static_tokens(config)
            await bootstrap.load_settings(self.core.resources, config)

    def _opened(self, result: None) -> None:
        self._opening = None
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def _open_failed(self, failure: object) -> None:
        error: Exception = failure.value  # type: ignore[attr-defined]  # a Failure
        self._opening, self._failed = None, error
        waiting, self._waiting = self._waiting, []
        if not isinstance(error, CancelledError):
            self._log.critical("auth cannot start: {error}", error=str(error))
        for deferred in waiting:
            deferred.errback(error)

    async def _open(self) -> None:
        data_dir = self.data_dir
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._host_id = bootstrap.host_uuid(data_dir)
        backend = MeasuredBackend(self.make_backend(), self.reactor, self.metrics.backend)
        self._closers.append(lambda: Deferred.fromCoroutine(backend.close()))
        resources, signing = ResourceStore(backend), Signing(SoftwareKeystore())
        cluster = await bootstrap.cluster_name(resources, self.config.cluster_name)
        trail = AuditLog(data_dir / "log", _audit_key(data_dir / "audit.key"), self.threads, clock=self.reactor)
        await trail.start()
        self._closers.append(lambda: Deferred.fromCoroutine(trail.close()))
        events = Journal(cluster, trail.emit, self.reactor, self.metrics.heard)
        self._closers.append(lambda: Deferred.fromCoroutine(events.close()))
        records = data_dir / "log" / "records"
        archive = Archive(
            LocalStorage(records, self.threads),
            ContentIndex(records / "index.sqlite"),
            self.threads,
            self.reactor.seconds,
        )
        await archive.start()
        self._closers.append(lambda: Deferred.fromCoroutine(archive.close()))
        await bootstrap.load_presets(resources)
        await bootstrap.load_settings(resources, self.config)
        known = Mirror(resources, KNOWN_KINDS, self.reactor)  # type: ignore[arg-type]  # only its watch is used
        known.startService()
        self._closers.append(known.stopService)
        await known.ready()
        self.core = core = make_core(
            cluster,
            backend,
            resources,
            self.passwords,
            events,
            trail,
            version=teleport_tw.__version__,
            clock=self.reactor,
            signing=signing,
            recordings=archive,
            known=known,
            static_tokens=bootstrap.static_tokens(self.config),
        )
        await bootstrap.load_authorities(backend, cluster, signing, core.now())
        known.subscribe(self._authority_changed)
        self._parts = make_parts(core)
        own = self.api_for(self.local_identity(SystemRole.AUTH))
        await self._announce(own)
        self._every(ANNOUNCE_EVERY, "announcing auth", lambda: self._announce(own))
        self._every(CLOSE_EVERY, "closing abandoned recordings", lambda: close_abandoned(core))
        if age := self.teleport.storage.retention_period:
            self._every(FORGET_EVERY, "deleting what is older than is kept", lambda: forget_old(core, age))
        if self.listen:
            self._serve(core)

    async def _announce(self, own: LocalApi) -> None:
        facts = {
            "hostname": self.teleport.nodename or socket.gethostname(),
            "addr": self.config.listen_addr,
            "version": teleport_tw.__version__,
        }
        await own.heartbeat(Resource("auth_server", "v2", Metadata(self._host_id), facts), ANNOUNCE_TTL)

    def _every(self, interval: Duration, what: str, work: Callable[[], Coroutine[Deferred[Any], Any, object]]) -> None:
        """
        Do something again and again, never twice at once; a failure is logged and does not end it.
        """

        def once() -> Deferred[object]:
            done = Deferred.fromCoroutine(work())
            done.addErrback(lambda failure: self._log.failure("{what} failed", failure=failure, what=what))
            return done

        loop = LoopingCall(once)
        loop.clock = self.reactor
        loop.start(interval.total_seconds(), now=False)
        self._closers.append(loop.stop)

    def _serve(self, core: Core) -> None:
        files = AdminFiles(self.data_dir)
        tls = self._renewed(core)
        path = files.socket
        self._rpc = RpcServer(
            grpc.routes(self._admit, called=self.metrics.called, quota=self._quota), tls, [f"unix:{path}"]
        )
        self._rpc.startService()
        path.chmod(0o600)
        self._closers.append(self._rpc.stopService)
        host, port = split_address(self.config.listen_addr)
        self._listener = AuthListener(
            self.reactor,
            host,
            port,
            str(path),
            self._join_context,
            self._proxy_context,
            self._check_proxy,
            self.api_for(STRANGER).join,
            lambda target: tell(target, core.signing, core.cluster, core.version),
            proxy_protocol=self.config.proxy_protocol,
        )
        self._listener.startService()
        self._closers.append(self._listener.stopService)
        self._every(RENEW_EVERY, "renewing auth's own certificates", self._renew_again)
        core.signing.on_change(self._renew)
        self._log.info("auth of cluster {cluster} listens on port {port}", cluster=core.cluster, port=self.port)

    def _admit(self, peer: Peer) -> LocalApi:
        return self.api_for(self._identity(peer), peer.host, peer.certificate, answer_of(peer))

    def _identity(self, peer: Peer) -> Identity:
        assert self.core is not None
        now = self.core.now()
        known = self.core.signing.recall(peer.certificate, now)
        if known is not None:
            return known
        try:
            der = ssl.PEM_cert_to_DER_cert(peer.certificate.decode("ascii"))
        except ValueError as error:
            raise bad_parameter("the client's certificate cannot be read") from error
        return self.core.signing.identify(der, now, peer.certificate)

    def _quota(self, peer: Peer) -> tuple[str, int] | None:
        """
        How many calls a user, or a host, may have at once; see L{teleport_tw.rpc.turnstile.Quota}.
        """
        try:
            identity = self._identity(peer)
        except TeleportError:
            return "nobody", MAX_CALLS_OF_USER  # and will be told why, all of them together
        if not identity.is_host:
            return f"user {identity.username}", MAX_CALLS_OF_USER
        if any(role in (SystemRole.ADMIN, SystemRole.AUTH) for role in identity.system_roles):
            return None
        return f"host {identity.host_id}", MAX_CALLS_OF_HOST

    def _authority_changed(self, news: Watched) -> None:
        """
        Another auth, or a rotation, may have changed an authority; what is ours is known already.
        """
        core, resource = self.core, news.resource
        if core is None or resource is None or resource.kind != "cert_authority" or resource.name != core.cluster:
            return
        if resource.revision not in {authority.revision for authority in core.signing.public}:
            self._tasks.spawn("reloading authorities", self._reload(core))

    async def _reload(self, core: Core) -> None:
        await bootstrap.load_authorities(core.backend, core.cluster, core.signing, core.now())
        self._log.info("the cluster's authorities changed and were read again")

    async def _renew_again(self) -> None:
        self._renew()

    def _renew(self) -> None:
        if self.core is not None and self._rpc is not None:
            self._rpc.reload(self._renewed(self.core))

    def _renewed(self, core: Core) -> ServerTls:
        """
        New certificates of auth itself and of the administrator, written where they are looked for.
        """
        now, files = core.now(), AdminFiles(self.data_dir)
        listed = [host_of(address) for address in self.config.public_addr]
        listed += [self.teleport.nodename, self.teleport.advertise_ip, socket.gethostname()]
        names = tuple(dict.fromkeys(name.lower() for name in listed if name))
        own = bootstrap.own_identity(core.signing, core.cluster, self._host_id, SystemRole.AUTH, names, now)
        admin = bootstrap.own_identity(core.signing, core.cluster, self._host_id, SystemRole.ADMIN, (), now)
        chain, key = self.data_dir / "auth" / "cert.pem", self.data_dir / "auth" / "key.pem"
        for path, data in (
            (chain, own.chain),
            (key, own.key.reveal()),
            (files.chain, admin.chain),
            (files.key, admin.key.reveal()),
            (files.roots, core.signing.roots(AuthorityType.HOST)),
        ):
            bootstrap.write_private(path, data)
        self._context = trust.server_context(chain, key, alpn=(ALPN,), ciphers=trust.suites(self.teleport.ciphersuites))
        self._relay_context = trust.server_context(
            chain,
            key,
            client_authorities=core.signing.roots(AuthorityType.HOST),
            require_client=True,
            alpn=(relaying.ALPN,),
            ciphers=trust.suites(self.teleport.ciphersuites),
        )
        roots = core.signing.roots(AuthorityType.HOST, AuthorityType.USER)
        return ServerTls(chain=own.chain, key=own.key, roots=roots)

    def _join_context(self) -> ssl.SSLContext:
        assert self._context is not None
        return self._context

    def _proxy_context(self) -> ssl.SSLContext:
        assert self._relay_context is not None
        return self._relay_context

    def _check_proxy(self, certificate: bytes) -> None:
        assert self.core is not None
        gate = Gate(self.core, self.core.signing.identify(certificate, self.core.now()))
        gate.admit()
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("only proxies bring clients")

    def stopService(self) -> Deferred[None]:
        """
        @return: fires when calls have ended, what was accepted is on disk, and files are let go.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._opening is not None:
            self._opening.cancel()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        closers, self._closers = self._closers[::-1], []
        for close in closers:
            try:
                ended = close()
                if isinstance(ended, Deferred):
                    await ended
            except Exception:
                self._log.failure("closing a part of auth failed")
        self._parts = self.core = self._rpc = self._listener = None


def make_auth_service(
    teleport: sections.Teleport,
    config: sections.AuthService,
    *,
    reactor: IReactorTime,
    threads: Threads,
    backend: Callable[[], Backend] | None = None,
    passwords: Passwords | None = None,
    listen: bool = True,
    metrics: Metrics | None = None,
) -> AuthService:
    """
    @param backend: opens the store; by default as C{teleport.storage} says.
    @param metrics: by default in a registry that nobody reads.
    @param passwords: by default with the settings of L{teleport_tw.auth.password.default_hasher}.
    """

    def open_backend() -> Backend:
        storage = teleport.storage
        match storage.type:
            case "sqlite" | "dir" | "":
                path = Path(storage.path or Path(teleport.data_dir) / "backend")
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                file = path / "sqlite.db"
                return open_sqlite(
                    file,
                    reactor,  # type: ignore[arg-type]  # the same one, as that room describes it
                    journal=storage.journal,
                    synchronous=storage.sync,
                )
            case "memory":
                return MemoryBackend(reactor)
        raise bad_parameter(f"teleport.storage.type {storage.type!r} is not known; write sqlite")

    return AuthService(
        teleport=teleport,
        config=config,
        reactor=reactor,
        threads=threads,
        passwords=passwords or Passwords(threads),
        make_backend=backend or open_backend,
        listen=listen,
        metrics=metrics or Metrics(),
    )


def _audit_key(path: Path) -> Ed25519PrivateKey:
    """
    What signs the audit log's checkpoints; made on the first start.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        bootstrap.write_private(path, pem)
    key = load_pem_private_key(Secret(path.read_bytes()).reveal(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise bad_parameter(f"{path} is not an Ed25519 key")
    return key
