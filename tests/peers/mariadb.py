"""
MariaDB as its Debian package has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.peers.certificates import ServerFiles
from tests.peers.process import Peer, found

_SETTINGS = """\
[mariadbd]
datadir = {folder}/data
socket = {folder}/m.sock
tmpdir = {folder}/tmp
pid-file = {folder}/m.pid
bind-address = 127.0.0.1
port = {port}
ssl-cert = {certificate}
ssl-key = {key}
ssl-ca = {clients}
require-secure-transport = ON
innodb-flush-log-at-trx-commit = 0
innodb-buffer-pool-size = 32M
innodb-log-file-size = 8M
skip-name-resolve
max-connections = 300
local-infile = ON
max-allowed-packet = 256M
"""


class MariaDB(Peer):
    """
    C{root} through its own socket; over TCP, TLS is required.
    """

    name = "mariadb"
    account = "mysql"

    def __init__(self, files: ServerFiles | None = None, *, settings: Sequence[str] = ()) -> None:
        """
        @param settings: further lines of its configuration.
        """
        super().__init__(files)
        self._more = tuple(settings)

    @classmethod
    def require(cls) -> None:
        """As Peer."""
        for program in ("mariadbd", "mariadb-install-db"):
            found(program, "mariadb-server")
        found("mariadb", "mariadb-client")

    def prepare(self) -> None:
        """As Peer."""
        # not the common one: each server that starts there removes the temporary tables of all others
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        (self.folder / "my.cnf").write_text("\n".join((_SETTINGS.format(**vars(self)), *self._more, "")))
        if not (self.folder / "data").exists():
            self._hand_over()
            self.run(
                *(found("mariadb-install-db", "mariadb-server"), "--no-defaults", f"--datadir={self.folder}/data"),
                f"--tmpdir={temporary}",
                *("--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"),
            )

    def command(self) -> Sequence[str]:
        """As Peer."""
        return [found("mariadbd", "mariadb-server"), f"--defaults-file={self.folder}/my.cnf"]

    def is_ready(self) -> bool:
        """As Peer."""
        try:
            return self.sql("select 1") == "1"
        except AssertionError:
            return False

    def sql(self, statements: str, database: str = "mysql") -> str:
        """
        As C{root}, past us.

        @return: rows of tab-separated columns.
        """
        words = (found("mariadb", "mariadb-client"), "--no-defaults", "-S", f"{self.folder}/m.sock", "-u", "root")
        return self.run(*words, "-N", "-B", database, stdin=statements).strip()

    def user(self, name: str, *, require: str = "", how: str = "by ''", grants: str = "all privileges on *.*") -> None:
        """
        An account from anywhere.

        @param require: C{subject '...'}; a certificate of ours with the name as its CN if empty.
        @param how: behind C{identified}, such as C{by 'password'} or C{via ed25519 using password('...')}.
        @param grants: what it is granted.
        """
        account = f"'{name}'@'%'"
        self.sql(f"create user {account} identified {how} require {require or self.subject(name)}")
        self.sql(f"grant {grants} to {account}")

    @staticmethod
    def subject(name: str) -> str:
        """
        @return: the requirement that only this user's certificate meets.
        """
        return f"subject '/CN={name}'"
