"""
The native clients of databases: which program, with which arguments.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from urllib.parse import quote, urlencode

from attrs import frozen

from teleport_tw.base.errors import TeleportError, not_found
from teleport_tw.clients.databases import Connecting
from teleport_tw.pki.identity import RouteToDatabase

Which = Callable[[str], str | None]

TITLES = {
    "postgres": "PostgreSQL",
    "cockroachdb": "CockroachDB",
    "mysql": "MySQL",
    "mongodb": "MongoDB",
    "redis": "Redis",
}

_PROGRAMS = {
    "postgres": ("psql",),
    "cockroachdb": ("cockroach", "psql"),
    "mysql": ("mysql", "mariadb"),
    "mongodb": ("mongosh", "mongo"),
    "redis": ("redis-cli", "valkey-cli"),
}


@frozen
class Native:
    """
    @ivar program: its path, or its name where only a person is told of it.
    @ivar protocol: of the database.
    @ivar mariadb: whether it is MariaDB's, which wants to be told that there is no TLS.
    """

    program: str
    protocol: str
    mariadb: bool = False

    def through(self, route: RouteToDatabase, port: int, statement: str | None = None) -> list[str]:
        """
        @param port: of a tunnel on this host, which needs no certificates.
        @param statement: run this one and end; without one, talk to a person.
        @return: the command line.
        """
        match self.protocol:
            case "mysql":
                found = [self.program, "--host", "127.0.0.1", "--port", str(port), "--protocol", "TCP"]
                found += ["--user", route.username] if route.username else []
                found += ["--database", route.database] if route.database else []
                found += ["--skip-ssl"] if self.mariadb else []
                return [*found, "--execute", statement] if statement is not None else found
            case "mongodb":
                url = f"mongodb://127.0.0.1:{port}/{quote(route.database)}?directConnection=true"
                found = [self.program, url]
                return [*found, "--quiet", "--eval", statement] if statement is not None else found
            case "redis":
                found = [self.program, "-h", "127.0.0.1", "-p", str(port)]
                found += ["-n", route.database] if route.database.isdecimal() else []
                return [*found, *statement.split()] if statement is not None else found
        url = postgres_url(route, "localhost", port, {"sslmode": "disable"})
        if self.program.endswith("cockroach"):
            found = [self.program, "sql", "--url", url]
            return [*found, "--execute", statement] if statement is not None else found
        return [self.program, url, "-c", statement] if statement is not None else [self.program, url]

    def direct(self, connecting: Connecting) -> list[str]:
        """
        @return: the command line that reaches the proxy with certificates and no C{tsh}.
        """
        login, route = connecting.login, connecting.login.route
        files = (connecting.authorities, login.certificate, login.key)
        authorities, certificate, key = map(str, files)
        match self.protocol:
            case "mysql":
                found = [self.program, f"--defaults-group-suffix=_{connecting.service}"]
                return [*found, "--database", route.database] if route.database else found
            case "mongodb":
                options = {"tls": "true", "directConnection": "true"}
                url = f"mongodb://{connecting.host}:{connecting.port}/{quote(route.database)}?{urlencode(options)}"
                return [self.program, url, "--tlsCAFile", authorities, "--tlsCertificateKeyFile", str(login.both)]
            case "redis":
                found = [self.program, "-h", connecting.host, "-p", str(connecting.port), "--tls"]
                return [*found, "--cacert", authorities, "--cert", certificate, "--key", key]
        return [
            self.program,
            " ".join(f"{name}={_quoted(value)}" for name, value in connecting.postgres().items()),
        ]


def native(protocol: str, *, which: Which = shutil.which, flavour: Callable[[str], str] | None = None) -> Native:
    """
    @param flavour: what a program says of its version.
    @return: the client that is installed here.
    @raise TeleportError: NOT_FOUND, none is.
    """
    for name in _PROGRAMS[protocol]:
        path = which(name)
        if path is not None:
            says = (flavour or _version)(path) if protocol == "mysql" else ""
            return Native(path, protocol, "mariadb" in says.lower())
    raise not_found(
        f"no client for {TITLES[protocol]} is installed here: looked for {' and '.join(_PROGRAMS[protocol])}; "
        "tsh proxy db --tunnel opens a port for others"
    )


def named(protocol: str) -> Native:
    """
    @return: the usual client, to be shown to a person.
    """
    return Native(_PROGRAMS[protocol][0] if protocol != "cockroachdb" else "psql", protocol)


def postgres_url(route: RouteToDatabase, host: str, port: int, parameters: dict[str, str]) -> str:
    """
    @return: C{postgres://user@host:port/name?…}.
    """
    user = f"{quote(route.username, safe='')}@" if route.username else ""
    return f"postgres://{user}{host}:{port}/{quote(route.database, safe='')}?{urlencode(parameters)}"


def is_mariadb(*, which: Which = shutil.which, flavour: Callable[[str], str] | None = None) -> bool:
    """
    @return: whether the C{mysql} that is installed here is MariaDB's.
    """
    try:
        return native("mysql", which=which, flavour=flavour).mariadb
    except TeleportError:
        return False


def _version(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, timeout=5, check=False
        )  # as found on the path
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _quoted(value: str) -> str:
    if value and not set(value) & set(" '\\\t\n\v\f\r"):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
