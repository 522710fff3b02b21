"""
Databases a person is signed in to: keys and certificates on disk, one pair each, and what native clients need to know.

::

    keys/<proxy>/<user>-db/<cluster>/<database>.key, <database>.crt    PEM
    keys/<proxy>/<user>-db/<cluster>/<database>.pem                    both in one file, which MongoDB's tools want

Which user and name a certificate is for stands in the certificate. PostgreSQL's service file and MySQL's option file
get a section each, so that C{psql service=…} and C{mysql --defaults-group-suffix=…} need nothing else.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509

from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import TeleportError, access_denied, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.clients import sections
from teleport_tw.clients.profile import KeyPaths, Profile, ProfileFolder, write_private
from teleport_tw.pki.identity import RouteToDatabase
from teleport_tw.pki.subject import route_of

POSTGRES = frozenset({"postgres", "cockroachdb"})

ALPN: Mapping[str, str] = {
    "postgres": "teleport-postgres",
    "cockroachdb": "teleport-cockroachdb",
    "mysql": "teleport-mysql",
    "mongodb": "teleport-mongodb",
    "redis": "teleport-redis",
}
"""What a tunnel says it carries."""


@frozen(kw_only=True)
class DatabaseLogin:
    """
    One database one is signed in to.

    @ivar expires: aware UTC.
    @ivar certificate: where the PEM lies; C{key} likewise.
    """

    route: RouteToDatabase
    expires: datetime
    certificate: Path
    key: Path

    @property
    def name(self) -> str:
        """
        Of the database in the cluster.
        """
        return self.route.service

    @property
    def both(self) -> Path:
        """
        Certificate and key in one file.
        """
        return self.certificate.with_suffix(".pem")


@frozen(kw_only=True)
class Connecting:
    """
    What a native client has to be told.

    @ivar port: of the proxy; C{0} where it has no port on which this protocol goes without C{tsh}.
    @ivar authorities: whom to believe as the proxy.
    """

    login: DatabaseLogin
    host: str
    port: int
    authorities: Path
    cluster: str

    @property
    def service(self) -> str:
        """
        The section's name in PostgreSQL's service file, and behind an underscore MySQL's group suffix.
        """
        return f"{self.cluster}-{self.login.name}"

    def postgres(self) -> dict[str, str]:
        """
        @return: libpq's keywords.
        """
        route = self.login.route
        found = {
            "host": self.host,
            "port": str(self.port),
            "user": route.username,
            "dbname": route.database,
            "sslmode": "verify-full",
            "sslrootcert": str(self.authorities),
            "sslcert": str(self.login.certificate),
            "sslkey": str(self.login.key),
        }
        return {key: value for key, value in found.items() if value}

    def mysql(self, *, mariadb: bool) -> dict[str, str]:
        """
        @param mariadb: whose client is told; each calls the check of the proxy's name by another word.
        @return: options of an option file.
        """
        route = self.login.route
        found = {
            "host": self.host,
            "port": str(self.port),
            "user": route.username,
            "database": route.database,
            "protocol": "TCP",
            "ssl-verify-server-cert" if mariadb else "ssl-mode": "1" if mariadb else "VERIFY_IDENTITY",
            "ssl-ca": str(self.authorities),
            "ssl-cert": str(self.login.certificate),
            "ssl-key": str(self.login.key),
        }
        return {key: value for key, value in found.items() if value}


@frozen
class DatabaseLogins:
    """
    All databases of one profile.

    @ivar elsewhere: where certificates are kept in place of the profile, for a login that is not to be remembered.
    """

    folder: ProfileFolder
    profile: Profile
    elsewhere: Path | None = None

    @property
    def _paths(self) -> KeyPaths:
        return self.folder.paths(self.profile)

    @property
    def _kept(self) -> Path:
        return self.elsewhere or self._paths.databases

    def store(self, route: RouteToDatabase, key: Secret[bytes], certificate: bytes) -> DatabaseLogin:
        """
        @param key: PEM.
        @param certificate: PEM.
        """
        base = self._kept
        name = _plain(route.service)
        write_private(base / f"{name}.key", key.reveal())
        write_private(base / f"{name}.crt", certificate)
        if route.protocol == "mongodb":
            write_private(base / f"{name}.pem", key.reveal() + certificate)
        return self.get(route.service)

    def get(self, name: str) -> DatabaseLogin:
        """
        @raise TeleportError: NOT_FOUND, not signed in to it; BAD_PARAMETER, the files cannot be read.
        """
        path = self._kept / f"{_plain(name)}.crt"
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
        except FileNotFoundError:
            raise not_found(f"Not logged in to database {name!r}. Run: tsh db login {name}") from None
        except (OSError, ValueError) as error:
            raise bad_parameter(f"{path} cannot be read ({error}); run tsh db login {name}") from error
        route = route_of(found)
        if route is None:
            raise bad_parameter(f"{path} is no certificate for a database; run tsh db login {name}")
        return DatabaseLogin(
            route=route, expires=found.not_valid_after_utc, certificate=path, key=path.with_suffix(".key")
        )

    def valid(self, name: str, now: datetime) -> DatabaseLogin | None:
        """
        @return: the login, where there is one that has not ended.
        """
        try:
            found = self.get(name)
        except TeleportError:
            return None
        return found if found.expires > now else None

    def list(self) -> list[DatabaseLogin]:
        """
        @return: all that can be read, by name.
        """
        found = []
        for path in sorted(self._kept.glob("*.crt")):
            try:
                found.append(self.get(path.name.removesuffix(".crt")))
            except TeleportError:
                continue
        return found

    def forget(self, login: DatabaseLogin) -> None:
        """
        Remove key, certificate, and the sections in files of others.
        """
        for path in (login.key, login.both, login.certificate):
            path.unlink(missing_ok=True)
        connecting = self.connecting(login)
        if login.route.protocol in POSTGRES:
            sections.remove(postgres_file(), connecting.service)
        elif login.route.protocol == "mysql":
            sections.remove(mysql_file(), f"client_{connecting.service}")

    def connecting(self, login: DatabaseLogin) -> Connecting:
        """
        @return: how native clients reach it by the proxy itself.
        """
        profile, protocol = self.profile, login.route.protocol
        own = {
            "postgres": profile.postgres_proxy_addr,
            "cockroachdb": profile.postgres_proxy_addr,
            "mysql": profile.mysql_proxy_addr,
            "mongodb": profile.mongo_proxy_addr,
            "redis": profile.redis_proxy_addr,
        }.get(protocol, "")
        host, port = split_address(own or profile.web_proxy_addr, 443)
        if protocol == "mysql" and not own:
            port = 0
        return Connecting(
            login=login,
            host=host,
            port=port,
            authorities=self._paths.tls_authorities,
            cluster=profile.cluster,
        )

    def announce(self, login: DatabaseLogin, *, mariadb: bool = False) -> Path | None:
        """
        Write the section of a native client's own file.

        @param mariadb: whether the client that is installed here is MariaDB's and not MySQL's.
        @return: the file; C{None} where the client has no such file, or needs C{tsh} to get through.
        """
        connecting = self.connecting(login)
        if login.route.protocol in POSTGRES:
            path = postgres_file()
            sections.store(path, connecting.service, connecting.postgres())
            return path
        if login.route.protocol == "mysql" and connecting.port:
            path = mysql_file()
            sections.store(path, f"client_{connecting.service}", connecting.mysql(mariadb=mariadb))
            return path
        return None


def only_login(stored: DatabaseLogins, name: str, now: datetime) -> DatabaseLogin:
    """
    @param name: empty for the only database one is signed in to.
    @raise TeleportError: NOT_FOUND, not signed in; BAD_PARAMETER, name one; ACCESS_DENIED, it has expired.
    """
    if name:
        found = stored.get(name)
    else:
        listed = stored.list()
        if not listed:
            raise not_found("Not logged in to any database. Run: tsh db login NAME")
        if len(listed) > 1:
            raise bad_parameter(f"name one of {', '.join(each.name for each in listed)}")
        found = listed[0]
    if found.expires <= now:
        raise access_denied(f"the certificate for {found.name!r} has expired. Run: tsh db login {found.name}")
    return found


def postgres_file() -> Path:
    """
    @return: where libpq looks for services.
    """
    return Path(os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf")


def mysql_file() -> Path:
    """
    @return: where MySQL's and MariaDB's clients look for options of a person.
    """
    return Path.home() / ".my.cnf"


def tunnel_context(login: DatabaseLogin, authorities: Path) -> ssl.SSLContext:
    """
    @return: for a connection to the proxy that carries the database's protocol; its role is checked after the
        handshake, as C{dial.identity.require_proxy} says.
    @raise TeleportError: ACCESS_DENIED, the certificates cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN[login.route.protocol]])
    try:
        context.load_verify_locations(authorities)
        context.load_cert_chain(login.certificate, login.key)
    except (OSError, ssl.SSLError, KeyError) as error:
        raise access_denied(f"the certificates cannot be used ({error}); run tsh db login {login.name}") from error
    return context


def _plain(name: str) -> str:
    if not name or "/" in name or "\0" in name or name.startswith("."):
        raise bad_parameter(f"{name!r} cannot be part of a file's name")
    return name
