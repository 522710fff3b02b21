"""
How C{tctl} reaches auth: an identity file, this host's own auth service, or a C{tsh} login, in this order.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from attrs import define, field

from teleport_tw.api.admin import connect_admin
from teleport_tw.api.client import RpcApi, connect
from teleport_tw.api.contract import Api
from teleport_tw.base.errors import TeleportError, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.clients.adminproof import Proving
from teleport_tw.clients.factors import Answering
from teleport_tw.clients.home import home
from teleport_tw.clients.login import Asker
from teleport_tw.clients.profile import ProfileFolder
from teleport_tw.config.load import DEFAULT_PATH, load_file
from teleport_tw.config.sections import Configuration
from teleport_tw.pki import identityfile
from teleport_tw.pki.trust import read_bundle
from teleport_tw.rpc.client import ClientTls, server_name_for


@define(eq=False)
class AdminContext:
    """
    One run of one command.
    """

    options: argparse.Namespace
    _api: RpcApi | None = field(default=None, init=False)
    _web: str = field(default="", init=False)

    async def run(self, body: Callable[[AdminContext, argparse.Namespace], Awaitable[int | None]]) -> int | None:
        """
        Run a command and hang up after it.
        """
        try:
            return await body(self, self.options)
        finally:
            if self._api is not None:
                await self._api.close()

    async def api(self) -> Api:
        """
        @see: L{teleport_tw.clients.program.Context.api}
        """
        if self._api is None:
            self._api = self._connect()
        proving: Any = Proving(self._api, self._answering)
        return cast(Api, proving)

    def _answering(self) -> Answering:
        mode = os.environ.get("TELEPORT_MFA_MODE", "auto")
        return Answering(Asker(), f"https://{self._web}".removesuffix(":443"), mode)

    async def web_address(self) -> str:
        """
        @see: L{teleport_tw.clients.program.Context.web_address}
        """
        await self.api()
        return self._web

    def _connect(self) -> RpcApi:
        options = self.options
        if options.identity:
            return self._by_identity(Path(options.identity))
        configuration = self._configuration()
        if configuration is not None and configuration.auth.enabled:
            self._web = web_address(configuration)
            return connect_admin(Path(configuration.teleport.data_dir))
        return self._by_profile()

    def _configuration(self) -> Configuration | None:
        if self.options.config:
            return load_file(self.options.config)
        return load_file(DEFAULT_PATH) if Path(DEFAULT_PATH).exists() else None

    def _by_identity(self, path: Path) -> RpcApi:
        if not self.options.auth_server:
            raise bad_parameter("with --identity say where the cluster is: --auth-server=HOST:PORT (auth or a proxy)")
        found = identityfile.read(path)
        roots = "".join(found.tls_authorities).encode()
        if not found.tls_certificate or not roots:
            raise bad_parameter(f"{path} holds no certificate for TLS; make one by `tctl auth sign --format=file`")
        self._web = self.options.auth_server
        tls = ClientTls(
            chain=found.tls_certificate.encode(),
            key=found.key,
            roots=roots,
            server_name=server_name_for(cluster_of(roots)),
        )
        return connect(f"dns:///{self.options.auth_server}", tls)

    def _by_profile(self) -> RpcApi:
        folder = ProfileFolder(home())
        try:
            profile = folder.read()
            paths = folder.paths(profile)
            tls = ClientTls(
                chain=paths.tls_certificate.read_bytes(),
                key=Secret(paths.tls_key.read_bytes()),
                roots=paths.tls_authorities.read_bytes(),
                server_name=server_name_for(profile.cluster),
            )
        except (TeleportError, OSError) as error:
            raise not_found(
                "there is no auth service on this host, no identity and no login: give -c FILE, or --identity and "
                "--auth-server, or run `tsh login` first"
            ) from error
        self._web = profile.web_proxy_addr
        return connect(f"dns:///{self.options.auth_server or profile.web_proxy_addr}", tls)


def cluster_of(roots: bytes) -> str:
    """
    @param roots: PEM of the host authority.
    @return: the cluster's name, which the authority's certificate carries.
    """
    from cryptography.x509.oid import NameOID

    names = read_bundle(roots)[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def web_address(configuration: Configuration) -> str:
    """
    @return: the proxy's public C{host:port} as this host's configuration has it; empty where it runs none.
    """
    proxy = configuration.proxy
    if not proxy.enabled:
        return ""
    if not proxy.public_addr:
        return proxy.web_listen_addr.replace("0.0.0.0", "localhost")  # noqa: S104 not a listener
    address = proxy.public_addr[0]
    return address if ":" in address else f"{address}:{proxy.web_listen_addr.rpartition(':')[2]}"
