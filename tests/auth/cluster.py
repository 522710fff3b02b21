"""
A whole auth in a test: real stores, real signing, real gRPC; only passwords are hashed cheaply.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pyotp
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from teleport_tw.api.client import RpcApi, connect
from teleport_tw.api.contract import Api, Certificates, LoginRequest, PublicKeys, SetupPurpose
from teleport_tw.auth.password import Passwords
from teleport_tw.auth.service import AuthService, make_auth_service
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import NEVER
from teleport_tw.config import sections
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.rpc.client import ClientTls

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = Secret("correct horse battery")


@define
class Keys:
    """
    Key pairs of one client.
    """

    ssh: PrivateKey = field(factory=PrivateKey.generate_ssh)
    tls: PrivateKey = field(factory=PrivateKey.generate_tls)

    @property
    def public(self) -> PublicKeys:
        line = ssh_keys.format_line(self.ssh.ssh_public).encode()
        return PublicKeys(ssh=line, tls=spki_pem(self.tls.public))


@define(eq=False)
class Cluster:
    """
    One auth, its directory, and callers of all sorts.
    """

    directory: Path
    auth: AuthService
    pool: ThreadPool
    channels: list[RpcApi] = field(factory=list)

    @classmethod
    async def start(cls, add_cleanup: Callable[..., Any], *, listen: bool = True, **config: Any) -> Cluster:
        directory = Path(tempfile.mkdtemp(prefix="tw-"))
        add_cleanup(shutil.rmtree, directory, ignore_errors=True)
        cluster = cls.on(directory, add_cleanup, listen, **config)
        await cluster.auth.ready()
        return cluster

    @classmethod
    def on(cls, directory: Path, add_cleanup: Callable[..., Any], listen: bool, **config: Any) -> Cluster:
        pool = ThreadPool(0, 8)
        pool.start()
        add_cleanup(pool.stop)
        clock: Any = reactor
        threads = Threads(clock, pool)
        auth = make_auth_service(
            sections.Teleport(data_dir=str(directory)),
            sections.AuthService(cluster_name="example.com", listen_addr="127.0.0.1:0", **config),
            reactor=clock,
            threads=threads,
            passwords=Passwords(threads, CHEAP),
            listen=listen,
        )
        auth.startService()
        add_cleanup(auth.stopService)
        cluster = cls(directory, auth, pool)
        add_cleanup(cluster.hang_up)
        return cluster

    def again(self, add_cleanup: Callable[..., Any]) -> Cluster:
        """
        Another auth on the same directory, being started.
        """
        return self.on(self.directory, add_cleanup, True)

    def hang_up(self) -> Deferred[None]:
        async def close() -> None:
            for channel in self.channels:
                await channel.close()

        return Deferred.fromCoroutine(close())

    def local(self, role: SystemRole = SystemRole.ADMIN) -> Api:
        return self.auth.api_for(self.auth.local_identity(role))

    @property
    def roots(self) -> bytes:
        assert self.auth.core is not None
        return self.auth.core.signing.roots(AuthorityType.HOST)

    def over_rpc(self, certificates: Certificates, keys: Keys) -> RpcApi:
        tls = ClientTls(chain=certificates.tls, key=keys.tls.pem(), roots=self.roots)
        channel = connect(f"127.0.0.1:{self.auth.port}", tls, timeout=10)
        self.channels.append(channel)
        return channel

    async def user(self, name: str, *roles: str, **traits: tuple[str, ...]) -> None:
        spec = {"roles": list(roles), "traits": {key: list(values) for key, values in traits.items()}}
        await self.local().create(Resource("user", "v2", Metadata(name), spec))

    async def sign_up(self, name: str, password: Secret[str] = PASSWORD) -> pyotp.TOTP:
        ticket = await self.local().create_setup(name, SetupPurpose.INVITE, NEVER)
        totp = pyotp.TOTP(ticket.otp_secret.reveal())
        # The code of the step before, so that the present one is left for a login.
        clock: Any = reactor
        code = totp.at(int(clock.seconds()) - 30)
        await self.local(SystemRole.PROXY).complete_setup(ticket.token, password, Secret(code))
        return totp

    async def sign_in(self, name: str, code: str, keys: Keys, password: Secret[str] = PASSWORD) -> Certificates:
        request = LoginRequest(username=name, password=password, otp=Secret(code), keys=keys.public)
        return await self.local(SystemRole.PROXY).login(request)
