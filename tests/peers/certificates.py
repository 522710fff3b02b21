"""
The files that a database behind us has: its own certificate of C{db}, and C{db_client} to trust.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from attrs import field, frozen

from teleport_tw.pki import der, x509
from teleport_tw.pki.authority import Authority, AuthorityType, create
from teleport_tw.pki.keys import Keystore, PrivateKey
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.pki.trust import bundle

CLUSTER = "example.com"
NAMES = ("localhost", "127.0.0.1")

_DIGITAL_SIGNATURE = der.extension("2.5.29.15", der.bit_string(b"\x80", 7), critical=True)
_LEAF = der.extension("2.5.29.19", der.sequence(), critical=True)
_CLIENT = der.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.2")))


@frozen(kw_only=True)
class ServerFiles:
    """
    PEM, all of it.

    @ivar certificate: the server's own.
    @ivar key: its private half.
    @ivar clients: authorities whose clients it believes.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    clients: bytes = field(repr=False)

    def written(self, folder: Path) -> tuple[Path, Path, Path]:
        """
        @return: paths of certificate, key and clients; only the owner reads the key.
        """
        paths = folder / "server.crt", folder / "server.key", folder / "clients.crt"
        for path, content in zip(paths, (self.certificate, self.key, self.clients), strict=True):
            path.write_bytes(content)
            path.chmod(0o600)
        return paths


@frozen(kw_only=True)
class ClientFiles:
    """
    What a client of a database has.

    @ivar certificate: PEM of its own.
    @ivar key: PEM.
    @ivar servers: authorities whose servers it believes.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    servers: bytes = field(repr=False)

    def written(self, folder: Path, name: str = "client") -> tuple[Path, Path, Path]:
        """
        @return: paths of certificate, key and servers.
        """
        paths = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}-servers.crt"
        for path, content in zip(paths, (self.certificate, self.key, self.servers), strict=True):
            path.write_bytes(content)
            path.chmod(0o600)
        return paths


@frozen(kw_only=True)
class Authorities:
    """
    The two of a cluster that databases deal with.
    """

    keystore: Keystore
    servers: Authority
    clients: Authority

    @classmethod
    def new(cls, cluster: str = CLUSTER) -> Authorities:
        """
        @return: new ones.
        """
        keystore, now = SoftwareKeystore(), datetime.now(UTC)
        return cls(
            keystore=keystore,
            servers=create(AuthorityType.DB, cluster, keystore, now),
            clients=create(AuthorityType.DB_CLIENT, cluster, keystore, now),
        )

    def server(self, *names: str) -> ServerFiles:
        """
        @param names: that its certificate is for, in place of loopback's.
        """
        key, now = PrivateKey.generate_rsa(), datetime.now(UTC)
        issuer = x509.Issuer.of(self.servers, self.keystore)
        made = x509.issue_server(issuer, names or NAMES, key.spki, now=now, expires=now + timedelta(days=1))
        return ServerFiles(certificate=x509.to_pem(made), key=key.pem().reveal(), clients=bundle([self.clients]))

    def client(self, user: str, *, by: Authority | None = None) -> ClientFiles:
        """
        @param user: the common name.
        @param by: signs in place of C{db_client}.
        """
        key, now = PrivateKey.generate_tls(), datetime.now(UTC)
        made = x509.Issuer.of(by or self.clients, self.keystore).sign(
            der.name([("2.5.4.3", user)]),
            key.spki,
            now - timedelta(minutes=1),
            now + timedelta(days=1),
            _DIGITAL_SIGNATURE + _LEAF + _CLIENT,
        )
        return ClientFiles(certificate=x509.to_pem(made), key=key.pem().reveal(), servers=bundle([self.servers]))


@cache
def authorities() -> Authorities:
    """
    @return: those of this run of the tests; RSA keys take their time.
    """
    return Authorities.new()


def signed_by(cluster: Any, folder: Path, *, form: str = "db") -> ServerFiles:
    """
    Have a running cluster sign, as its operator would: C{tctl auth sign}.

    @param cluster: a C{tests.journeys.cluster.Cluster}.
    @param folder: for what it writes.
    @param form: of C{--format}.
    """
    base = folder / "server"
    cluster.tctl("auth", "sign", f"--format={form}", f"--host={','.join(NAMES)}", f"--out={base}", "--ttl=24h")
    certificate, key, clients = (Path(f"{base}.{ending}").read_bytes() for ending in ("crt", "key", "cas"))
    return ServerFiles(certificate=certificate, key=key, clients=clients)
