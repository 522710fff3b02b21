"""
Redis as its Debian package has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tests.peers.certificates import ServerFiles
from tests.peers.process import Peer, found

_SETTINGS = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {clients}
tls-auth-clients yes
unixsocket {folder}/redis.sock
unixsocketperm 700
dir {folder}
daemonize no
save ""
appendonly no
proto-max-bulk-len 1gb
user admin on >{admin} ~* &* +@all
"""

ADMIN = "admin-of-the-tests"


class Redis(Peer):
    """
    C{admin} through its own socket; over TCP, TLS with a client certificate, and C{AUTH}: C{default} is off.

    @ivar users: name to ACL rules, beyond the ones it starts with.
    """

    name = "redis"
    account = "redis"

    def __init__(
        self,
        files: ServerFiles | None = None,
        *,
        users: Mapping[str, str] | None = None,
        default: str = "off",
        settings: Sequence[str] = (),
    ) -> None:
        """
        @param users: rules behind C{ACL SETUSER name}.
        @param default: rules of the user that nobody signs in as.
        @param settings: further lines of its configuration.
        """
        super().__init__(files)
        self.users = dict(users or {"alice": "on >wonderland ~* &* +@all", "bob": "on >builder ~bob:* &* +@read"})
        self._default = default
        self._settings = settings

    @classmethod
    def require(cls) -> None:
        """As Peer."""
        found("redis-server", "redis-server")
        found("redis-cli", "redis-tools")

    def prepare(self) -> None:
        """As Peer."""
        lines = [_SETTINGS.format(admin=ADMIN, **vars(self)), f"user default {self._default}"]
        lines += [f"user {name} {rules}" for name, rules in self.users.items()]
        (self.folder / "redis.conf").write_text("\n".join((*lines, *self._settings, "")))

    def command(self) -> Sequence[str]:
        """As Peer."""
        return [found("redis-server", "redis-server"), str(self.folder / "redis.conf")]

    def is_ready(self) -> bool:
        """As Peer."""
        try:
            return self.cli("ping") == "PONG"
        except AssertionError:
            return False

    def cli(self, *words: str) -> str:
        """
        As C{admin}, past us.
        """
        base = (found("redis-cli", "redis-tools"), "-s", str(self.folder / "redis.sock"), "--no-auth-warning")
        return self.run(*base, "--user", "admin", "--pass", ADMIN, *words).strip()

    def counted(self) -> int:
        """
        @return: commands it has carried out so far.
        """
        lines = dict(line.split(":", 1) for line in self.cli("info", "stats").splitlines() if ":" in line)
        return int(json.loads(lines["total_commands_processed"]))
