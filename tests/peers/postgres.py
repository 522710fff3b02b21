"""
PostgreSQL as its Debian package has it.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from glob import glob
from typing import ClassVar

from tests.peers.certificates import ServerFiles
from tests.peers.process import Peer, found

_FOLDERS = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]), reverse=True)

GROUPS = ("by_scram", "by_md5", "by_password")
"""Members sign in with a password of that kind and no certificate; everybody else with a certificate alone."""

_RULES = """\
local all all trust
hostssl all +by_scram 127.0.0.1/32 scram-sha-256
hostssl all +by_md5 127.0.0.1/32 md5
hostssl all +by_password 127.0.0.1/32 password
hostssl all all 127.0.0.1/32 cert clientname=CN
hostnossl all all 0.0.0.0/0 reject
"""

_SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
ssl = on
ssl_cert_file = '{certificate}'
ssl_key_file = '{key}'
ssl_ca_file = '{clients}'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
max_prepared_transactions = 10
shared_buffers = 64MB
"""


class Postgres(Peer):
    """
    Superuser C{postgres} through its own socket; over TCP, TLS and a certificate whose CN is the role.
    """

    name = "postgres"
    account = "postgres"
    ending: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, files: ServerFiles | None = None, *, rules: Sequence[str] = ()) -> None:
        """
        @param rules: lines of C{pg_hba.conf} in front of ours.
        """
        super().__init__(files)
        self._more = tuple(rules)

    @classmethod
    def require(cls) -> None:
        """As Peer."""
        cls.program("postgres")
        cls.program("initdb")
        found("psql", "postgresql-client")

    @staticmethod
    def program(name: str) -> str:
        """
        @return: path of a program of the server's package.
        """
        return found(name, "postgresql", *_FOLDERS)

    def prepare(self) -> None:
        """As Peer."""
        data = self.folder / "data"
        if not data.exists():
            self._hand_over()
            self.run(
                *(self.program("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"),
                *("-E", "UTF8", "--locale=C.UTF-8"),
            )
        with (data / "postgresql.auto.conf").open("w") as settings:
            settings.write(_SETTINGS.format(**vars(self)))
        (data / "pg_hba.conf").write_text("\n".join((*self._more, _RULES)))

    def command(self) -> Sequence[str]:
        """As Peer."""
        return [self.program("postgres"), "-D", str(self.folder / "data")]

    def is_ready(self) -> bool:
        """As Peer."""
        try:
            return self.sql("select 1") == "1"
        except AssertionError:
            return False

    def furnish(self) -> None:
        """As Peer."""
        self.sql(";".join(f"create role {group}" for group in GROUPS))

    def sql(self, statements: str, database: str = "postgres") -> str:
        """
        As superuser, past us.

        @return: rows of C{|}-separated columns.
        """
        words = ("psql", "-X", "-q", "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database)
        return self.run(*words, "-v", "ON_ERROR_STOP=1", "-A", "-t", stdin=statements).strip()

    def role(self, name: str, *, password: str = "", group: str = "", options: str = "") -> None:
        """
        A role that may log in.

        @param password: with one of L{GROUPS} that says how it is asked for.
        """
        quoted = '"' + name.replace('"', '""') + '"'
        kind = "md5" if group == "by_md5" else "scram-sha-256"
        secret = f" password '{password}'" if password else ""
        self.sql(f"set password_encryption = '{kind}'; create role {quoted} login {options}{secret}")
        if group:
            self.sql(f"grant {group} to {quoted}")
