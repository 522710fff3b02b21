"""
One role of this host: its membership, its connection to auth, what it keeps a copy of, and the service itself.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from cryptography import x509
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from teleport_tw.api import joining
from teleport_tw.api.client import RpcApi, connect
from teleport_tw.api.contract import Api, Certificates, JoinRequest, WebSession
from teleport_tw.api.mirror import Mirror
from teleport_tw.audit.emitter import Emitter
from teleport_tw.audit.spool import Spool
from teleport_tw.base.addresses import host_of, split_address
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Duration, utc_now
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.config.sections import Configuration
from teleport_tw.daemon.users import RemoteUsers
from teleport_tw.dial import web
from teleport_tw.dial.membership import HostIdentity, IdentityFolder, Join, Membership, join
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.trust import bundle
from teleport_tw.rpc.client import ClientTls, server_name_for
from teleport_tw.web.assets import Assets
from teleport_tw.web.sessions import UserApis

READY_SECONDS = 30.0
"""How long the first copy of what auth knows may take."""

LocalApi = Callable[[SystemRole], Api]


@define(eq=False)
class Host(MultiService):
    """
    A role that runs; the service itself is C{serving}.

    @ivar users: auth as those who sign in at this host's web page.
    @ivar assets: the page's files, where this is a proxy.
    """

    identity: HostIdentity
    api: Api
    membership: Membership
    copy: Mirror
    emitter: Emitter
    reactor: Any
    node_name: str
    algorithms: Algorithms
    users: UserApis
    serving: Any = field(default=None, init=False)
    assets: Assets | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        MultiService.__init__(self)
        self.membership.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.copy.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.membership.subscribe(self._renewed)

    async def up(self) -> None:
        """
        Wait until the copy is whole, then serve.

        @raise TeleportError: CONNECTION_PROBLEM.
        """
        await self.emitter.start()
        try:
            await self.copy.ready().addTimeout(READY_SECONDS, self.reactor)
        except Exception as error:
            await self.emitter.close()
            stopping = self.disownServiceParent()  # type: ignore[no-untyped-call]
            if stopping is not None:
                await stopping
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"auth does not answer: {error!r}") from error
        self.serving.setServiceParent(self)
        listen = getattr(self.serving, "listen", None)
        if listen is not None:
            await listen()

    def _renewed(self, identity: HostIdentity) -> None:
        self.identity = identity
        if isinstance(self.api, RpcApi):
            self.api.renew(client_tls(identity, _name_of(identity)))
        self.serving.renewed(identity)

    def reload(self, configuration: Configuration) -> None:
        """
        Take over what can be changed while it runs: the proxy's web certificates and pages, the agent's labels.
        """
        if self.assets is not None:
            self.assets.reload()
        from teleport_tw.daemon.node import NodeService
        from teleport_tw.proxy.service import ProxyService

        match self.serving:
            case ProxyService():
                self.serving.reload(configuration.proxy)
            case NodeService():
                self.serving.reload(configuration.ssh)

    def leave(self) -> None:
        """
        Tell whoever is to know why before anything here ends: the pages of a proxy.
        """
        leaving = getattr(self.serving, "leaving", None)
        if leaving is not None:
            leaving()

    async def drain(self, limit: Duration) -> None:
        """
        Take nothing new; return when sessions have ended, or after C{limit}.
        """
        drain = getattr(self.serving, "drain", None)
        if drain is not None:
            await drain(limit)

    def stopService(self) -> Deferred[Any]:
        """
        The service first, then what it stands on.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            stopping = service.stopService()
            if stopping is not None:
                await stopping
        self.running = 0
        await self.emitter.close()
        if isinstance(self.users, RemoteUsers):
            await self.users.close()
        if isinstance(self.api, RpcApi):
            await self.api.close()


def client_tls(identity: HostIdentity, server_name: str) -> ClientTls:
    """
    @return: what gRPC shows and believes.
    """
    return ClientTls(
        chain=identity.tls_certificate, key=identity.tls_key.pem(), roots=identity.roots, server_name=server_name
    )


async def hosted(
    role: SystemRole,
    configuration: Configuration,
    *,
    reactor: Any,
    threads: Threads,
    token: Secret[str],
    local: LocalApi | None,
    users: UserApis | None = None,
    insecure: bool,
) -> Host:
    """
    Become a member in this role, or load what was kept, and make the service.

    @param local: auth in this process; C{None} where it is elsewhere.
    @param users: the same as users.
    @raise TeleportError: CONNECTION_PROBLEM, try again later; anything else is for the operator to mend.
    """
    from teleport_tw.daemon.serve import KINDS, relay, serve

    teleport = configuration.teleport
    folder = IdentityFolder(Path(teleport.data_dir))
    name = teleport.nodename or socket.gethostname()
    names = addresses(role, configuration, name)
    identity = folder.load(role)
    if identity is not None and identity.validity[1] <= utc_now():
        identity = None
    if identity is None:
        if not token:
            raise bad_parameter(
                "this host has not joined the cluster and has no token: set teleport.join_params.token_name, or "
                "--token (tctl tokens add --type=node makes one)"
            )
        ask: Join = local(role).join if local is not None else _joiner(configuration, threads, insecure)
        identity = await join(folder, role, token=token, node_name=name, addresses=names, ask=ask)
    api: Api = local(role) if local is not None else _remote(client_tls(identity, _name_of(identity)), configuration)
    membership = Membership(identity, folder, api, reactor, tuple(names))
    if set(names) - _certified(identity):
        identity = await membership.renew()
    missing = sorted({each.lower() for each in names} - {each.lower() for each in _certified(identity)})
    if missing:
        Host._log.warn(
            "{role} is not certified as {names}: they are a proxy's names, or another registered host's; clients will "
            "not believe this host to be those",
            role=role.value,
            names=", ".join(missing),
        )
    spool = Spool(folder.data_dir / "spool-host" / role.value.lower())
    in_text = api.emit_text if isinstance(api, RpcApi) else None
    emitter = Emitter(identity.cluster, spool, api.emit, threads, reactor, send_text=in_text)
    copy = Mirror(api, KINDS[role], reactor)
    ssh = Algorithms.of(kex=teleport.kex_algos, ciphers=teleport.ciphers, macs=teleport.mac_algos)
    users = users or RemoteUsers(_as_user(configuration), reactor, lambda client: relay(host, configuration, client))
    host = Host(identity, api, membership, copy, emitter, reactor, name, ssh, users)
    host.serving = serve(role, host, configuration, threads)
    return host


def addresses(role: SystemRole, configuration: Configuration, name: str) -> list[str]:
    """
    @return: the names and IPs that clients reach this host by, for its certificates.
    """
    public = (
        (
            *configuration.proxy.public_addr,
            *configuration.proxy.ssh_public_addr,
            *configuration.proxy.tunnel_public_addr,
            *configuration.proxy.postgres_public_addr,
            *configuration.proxy.mysql_public_addr,
            *configuration.proxy.mongo_public_addr,
            *configuration.proxy.redis_public_addr,
        )
        if role is SystemRole.PROXY
        else configuration.ssh.public_addr
        if role is SystemRole.NODE
        else ()
    )
    listened = configuration.proxy.web_listen_addr if role is SystemRole.PROXY else configuration.ssh.listen_addr
    found = [host_of(address) for address in (*public, listened)]
    found += [configuration.teleport.advertise_ip, name, "localhost", "127.0.0.1", "::1"]
    return list(dict.fromkeys(each for each in found if each and not _unspecified(each)))


def _unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _certified(identity: HostIdentity) -> set[str]:
    certificate = x509.load_pem_x509_certificate(identity.tls_certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _name_of(identity: HostIdentity) -> str:
    return server_name_for(identity.cluster)


def _remote(tls: ClientTls, configuration: Configuration) -> RpcApi:
    teleport = configuration.teleport
    address = teleport.proxy_server or (teleport.auth_servers[0] if teleport.auth_servers else "")
    if not address:
        raise bad_parameter("say where the cluster is: teleport.proxy_server or teleport.auth_server")
    return connect(f"dns:///{address}", tls)


def _as_user(configuration: Configuration) -> Callable[[WebSession, str], RpcApi]:
    def as_user(session: WebSession, place: str) -> RpcApi:
        tls = session_tls(session)
        return connect(place, tls) if place else _remote(tls, configuration)

    return as_user


def session_tls(session: WebSession) -> ClientTls:
    """
    @return: what gRPC shows and believes on behalf of a user.
    """
    certificates = session.certificates
    authorities = map(Authority.parse, certificates.authorities)
    return ClientTls(
        chain=certificates.tls,
        key=session.tls_key,
        roots=bundle([authority for authority in authorities if authority.type is AuthorityType.HOST]),
        server_name=server_name_for(certificates.cluster),
    )


def _joiner(configuration: Configuration, threads: Threads, insecure: bool) -> Callable[[JoinRequest], Any]:
    teleport = configuration.teleport
    address = teleport.proxy_server or (teleport.auth_servers[0] if teleport.auth_servers else "")
    if not address:
        raise bad_parameter("say where the cluster is: teleport.proxy_server or teleport.auth_server")
    host, port = split_address(address)
    alpn = () if teleport.proxy_server else (joining.ALPN,)
    pins: Sequence[str] = teleport.ca_pins

    def ask(request: JoinRequest) -> Certificates:
        if pins:
            client = web.pinned(host, port, pins, alpn=alpn)
        else:
            context = web.no_trust() if insecure else web.system_trust()
            client = web.WebClient(host, port, web.speaking(context, alpn))
        return joining.answer_from_json(*client.ask("POST", joining.PATH, joining.request_to_json(request)))

    return lambda request: threads.run(ask, request)
