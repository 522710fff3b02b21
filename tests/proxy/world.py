"""
A cluster with a proxy, and stock sshds behind it: real auth, real proxy, OpenSSH's programs on loopback.
"""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from teleport_tw.agents.admit import Admission
from teleport_tw.agents.ssh.service import SSHAgentService, default_registry
from teleport_tw.api import relaying
from teleport_tw.api.contract import Certificates, HostIssueRequest, IssueRequest, PublicKeys
from teleport_tw.api.mirror import Mirror
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Duration
from teleport_tw.config import sections
from teleport_tw.dial.lifetime import Lifetimes
from teleport_tw.dial.membership import HostIdentity, IdentityFolder, join
from teleport_tw.dial.relay import RelayEndpoint
from teleport_tw.dial.view import KINDS as VIEW_KINDS
from teleport_tw.dial.view import View
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.trust import authorized_authority, client_context
from teleport_tw.proxy.doorkeeper import KINDS
from teleport_tw.proxy.forward import Forwarder
from teleport_tw.proxy.service import ProxyService
from teleport_tw.recordings.capture import Recordings
from teleport_tw.resources.clusters import SINGLETONS
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.rpc.client import server_name_for
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.site import WebSite
from tests.auth.cluster import Cluster, Keys
from tests.conch.openssh import SSHD, free_port, run, scratch
from tests.doubles.cluster import RecordingSink

TOKEN = Secret("let-me-in-please")
NODE_ID = "11111111-2222-4333-8444-555555555555"
NODE_NAME = "db1"


def pause(seconds: float) -> Deferred[None]:
    """
    @return: fires later; for the ends of other programs.
    """
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)  # type: ignore[attr-defined]
    return waiting


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    """
    Wait for something that another program brings about.
    """
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await pause(0.02)
    raise AssertionError("it did not happen")


@define(eq=False)
class World:
    """
    All of it.
    """

    test: TestCase
    root: Path
    cluster: Cluster
    sink: RecordingSink = field(factory=RecordingSink)
    agent_sink: RecordingSink = field(factory=RecordingSink)
    proxy: ProxyService = field(init=False)
    copy: Mirror = field(init=False)
    spool: Path = field(init=False)
    client: Any = None
    processes: list[subprocess.Popen[bytes]] = field(factory=list)

    @classmethod
    async def start(cls, test: TestCase, *, listen: bool = False) -> World:
        """
        Auth and proxy.

        @param listen: auth has its port, and the proxy serves web pages and hands on what is for auth.
        """
        token = sections.StaticToken(roles=("proxy", "node"), token=TOKEN)
        cluster = await Cluster.start(test.addCleanup, listen=listen, tokens=(token,))
        world = cls(test, scratch(test), cluster)
        await world._start_proxy(listen)
        return world

    def to_auth(self, identity: HostIdentity, client: Any) -> RelayEndpoint:
        """
        As C{teleport_tw.daemon.serve} has it where auth is on another host; C{client} as the test says, if it does.
        """
        clock: Any = reactor

        def context() -> ssl.SSLContext:
            certificate, key = identity.certificate_file, identity.key_file
            return client_context(identity.roots, certificate=certificate, key=key, alpn=(relaying.ALPN,))

        client = self.client or client
        return RelayEndpoint(
            clock, "127.0.0.1", self.cluster.auth.port, context, server_name_for(identity.cluster), client
        )

    async def _start_proxy(self, listen: bool) -> None:
        clock: Any = reactor
        self.spool = self.root / "spool"
        self.spool.mkdir()
        folder = IdentityFolder(self.root / "proxy")
        identity = await join(
            folder,
            SystemRole.PROXY,
            token=TOKEN,
            node_name="proxy",
            addresses=("127.0.0.1",),
            ask=self.cluster.local(SystemRole.PROXY).join,
        )
        api = self.cluster.local(SystemRole.PROXY)
        self.copy = Mirror(api, KINDS, clock)
        self.copy.startService()
        self.test.addCleanup(self.copy.stopService)
        await self.copy.ready()
        view = View(self.copy, identity.cluster)
        threads = Threads(clock, self.cluster.pool)

        def forwarding(endpoint: Any) -> Forwarder:
            return Forwarder(
                host_id=identity.host_id,
                cluster=identity.cluster,
                view=view,
                api=api,
                lifetimes=Lifetimes(clock, view, api, identity.host_id),
                recordings=Recordings(self.spool, api, clock, threads),
                sink=self.sink,
                reactor=clock,
                admit=lambda host_id, labels: Admission(view, clock, host_id, labels),
                endpoint=endpoint,
            )

        self.proxy = ProxyService(
            section=sections.ProxyService(web_listen_addr="127.0.0.1:0", listen_addr="127.0.0.1:0"),
            identity=identity,
            copy=self.copy,
            auth=(lambda client: self.to_auth(identity, client)) if listen else None,
            web=BoundedSite(WebSite(api, PublicFacts(web="", ssh="", ssh_listen=""), clock).resource(), clock)
            if listen
            else Factory(),
            sink=self.sink,
            reactor=clock,
            drain_timeout=Duration(seconds=0),
            forwarding=forwarding,
        )
        self.proxy.startService()
        self.test.addCleanup(self.stop_proxy)
        await self.proxy.listen()

    async def stop_proxy(self) -> None:
        """
        Once.
        """
        if self.proxy.running:
            await self.proxy.stopService()

    @property
    def web_port(self) -> int:
        """
        Of everything else.
        """
        address: Any = self.proxy.ports[0].getHost()
        return int(address.port)

    @property
    def ssh_port(self) -> int:
        """
        Of the jump host.
        """
        address: Any = self.proxy.ports[1].getHost()
        return int(address.port)

    async def set(self, kind: str, **spec: Any) -> None:
        """
        Change one of the cluster's settings, and wait until the proxy knows.
        """
        await self.put(Resource(kind, "v2", Metadata(SINGLETONS[kind]), spec))

    async def put(self, resource: Resource) -> Resource:
        """
        Store, and wait until the proxy knows.
        """
        stored = await self.cluster.local().upsert(resource)

        def known() -> bool:
            found = [item for item in self.copy.list(resource.kind) if item.name == resource.name]
            return bool(found) and found[0].spec == stored.spec

        await until(known)
        return stored

    async def role(self, name: str, allow: dict[str, Any] | None = None, **options: Any) -> None:
        """
        Over all nodes, for root unless C{allow} says otherwise.
        """
        said = {"node_labels": {"*": "*"}, "logins": ["root"], **(allow or {})}
        await self.put(Resource("role", "v7", Metadata(name), {"allow": said, "options": options}))

    # --- users

    async def user(self, name: str = "alice", *roles: str) -> str:
        """
        Keys and certificate as C{tctl auth sign --format=openssh} leaves them.

        @return: path of the private key.
        """
        await self.cluster.user(name, *(roles or ("ops",)))
        return await self.sign(name)

    async def sign(self, name: str, file: str = "", address: str = "") -> str:
        """
        Another certificate for a user there is.
        """
        keys = Keys()
        request = IssueRequest(keys=keys.public, username=name, ttl=Duration(hours=1), remote_address=address)
        issued: Certificates = await self.cluster.local().issue(request)
        path = self.root / (file or name)
        path.write_bytes(keys.ssh.openssh_pem().reveal())
        path.chmod(0o600)
        (self.root / f"{path.name}.pub").write_bytes(keys.public.ssh + b"\n")
        (self.root / f"{path.name}-cert.pub").write_bytes(issued.ssh)
        hosts = next(item for item in issued.authorities if item.sub_kind == "host")
        key = authorized_authority(Authority.parse(hosts))
        (self.root / "known_hosts").write_text(f"@cert-authority * {key}")
        return str(path)

    def options(self, key: str) -> list[str]:
        """
        Of C{ssh} and its kin: no configuration of this machine's, trust by authority.
        """
        settings = (
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.root}/known_hosts",
            "GlobalKnownHostsFile=/dev/null",
            f"CertificateFile={key}-cert.pub",
            f"IdentityFile={key}",
        )
        return ["-F", "none", *(part for each in settings for part in ("-o", each))]

    def ssh(self, key: str, *more: str, login: str = "root", host: str = NODE_NAME, jump: str = "") -> list[str]:
        """
        @param more: options, and behind them nothing; the command follows what is returned.
        @param jump: key that opens the way, another than the session's.
        @return: the command line up to and with the host.
        """
        return ["ssh", *self.through(key, jump), *more, f"{login}@{host}"]

    def through(self, key: str, jump: str = "") -> list[str]:
        """
        Options with the way by the jump host.
        """
        inner = " ".join(["ssh", *self.options(jump or key), "-p", str(self.ssh_port), "-W", "%h:%p", "u@127.0.0.1"])
        return [*self.options(key), "-o", f"ProxyCommand={inner.replace('%h:%p', '[%h]:%p')}"]

    async def run(self, *command: str, **more: Any) -> tuple[bytes, bytes, int]:
        """
        Run a program to its end.
        """
        answer: tuple[bytes, bytes, int] = await run(*command, **more)
        return answer

    # --- servers

    async def sshd(
        self,
        *settings: str,
        name: str = NODE_NAME,
        node_id: str = NODE_ID,
        trusts: bool = True,
        certified: bool = True,
        register: bool = True,
        launch: bool = True,
        labels: dict[str, str] | None = None,
    ) -> int:
        """
        A stock sshd, registered as an agentless node.

        @return: its port.
        """
        port, directory = free_port(), self.root / f"sshd-{name}"
        lines = _prepare(directory, port, settings)
        if certified:
            public = PublicKeys(ssh=(directory / "host.pub").read_bytes())
            names = HostIssueRequest(principals=(name, "127.0.0.1"), keys=public)
            (directory / "host-cert.pub").write_bytes((await self.cluster.local().issue_host(names)).ssh)
            lines.append(f"HostCertificate {directory}/host-cert.pub")
        if trusts:
            authority = await self.cluster.local().get("cert_authority", "example.com", sub_kind="openssh")
            (directory / "ca.pub").write_text(authorized_authority(Authority.parse(authority)))
            lines.append(f"TrustedUserCAKeys {directory}/ca.pub")
        (directory / "config").write_text("\n".join(lines) + "\n")
        if launch:
            await self.launch(directory, port)
        if register:
            await self.register(port, name, node_id, labels)
        return port

    async def launch(self, directory: Path, port: int) -> None:
        """
        Start the sshd whose files are in C{directory}.
        """
        self._launch(directory)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await until(listens)

    async def agent(self, name: str = "node-1") -> SSHAgentService:
        """
        A server with our agent, which listens on a port of its own; its events are in C{agent_sink}.
        """
        clock: Any = reactor
        threads = Threads(clock, self.cluster.pool)
        api = self.cluster.local(SystemRole.NODE)
        folder = IdentityFolder(self.root / name)
        identity = await join(
            folder, SystemRole.NODE, token=TOKEN, node_name=name, addresses=("127.0.0.1",), ask=api.join
        )
        copy = Mirror(api, (*VIEW_KINDS,), clock)
        copy.startService()
        self.test.addCleanup(copy.stopService)
        await copy.ready()
        spool = self.root / f"{name}-spool"
        agent = SSHAgentService(
            reactor=clock,
            threads=threads,
            identity=identity,
            node_name=name,
            version="1.0.0",
            section=sections.SSHService(listen_addr="127.0.0.1:0"),
            copy=copy,
            leases=api,
            sink=self.agent_sink,
            recordings=Recordings(spool, api, clock, threads),
            labels=dict,
            proxy_address="",
            listen=True,
            registry=default_registry(),
        )
        agent.drain_timeout = Duration(seconds=0)
        agent.startService()
        self.test.addCleanup(agent.stopService)
        await until(lambda: agent.port is not None)
        address = f"127.0.0.1:{agent.port.getHost().port}"
        self.proxy.dial.targets.host_id = agent.realm.host.id  # it runs beside the proxy, so loopback is good
        spec = {"hostname": name, "addr": address}
        await self.put(Resource("node", "v2", Metadata(identity.host_id), spec))
        return agent

    async def register(self, port: int, name: str = NODE_NAME, node_id: str = NODE_ID, labels: Any = None) -> None:
        """
        As C{tctl create} does.
        """
        spec = {"hostname": name, "addr": f"127.0.0.1:{port}"}
        await self.put(Resource("node", "v2", Metadata(node_id, labels=labels or {"env": "test"}), spec, "openssh"))

    def _launch(self, directory: Path) -> None:
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(SSHD), "-D", "-e", "-f", str(directory / "config")], stdin=subprocess.DEVNULL, stderr=log
            )
        self.processes.append(process)
        self.test.addCleanup(self._stop, process)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _prepare(directory: Path, port: int, settings: tuple[str, ...]) -> list[str]:
    directory.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    host_key = directory / "host"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
    return [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {host_key}",
        "AuthorizedKeysFile none",
        "PermitRootLogin yes",
        "StrictModes no",
        "PidFile none",
        "UsePAM no",
        "Subsystem sftp internal-sftp",
        "AcceptEnv LANG LC_* GREETING",
        *settings,
    ]
