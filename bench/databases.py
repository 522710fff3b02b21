"""
Ways to the same database, each as real programs on loopback with TLS.

Through our proxy, tunnel and agent, one process each for proxy and agent. Through pgbouncer, which pools sessions, with
TLS on both sides. And through two haproxy with TLS between them: clients and servers of PostgreSQL and MariaDB
negotiate TLS inside their protocol and haproxy does not, so only the middle is encrypted there, and neither end has the
work. Redis has TLS from the first byte: one haproxy, TLS on both sides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import field, frozen

from bench.chains import memory_of, with_children
from bench.harness import OURS, free_port, program, tool, wait_for_port
from tests.journeys.cluster import Cluster, Service
from tests.journeys.databases import certified, database_agent, server_files
from tests.peers.mariadb import MariaDB
from tests.peers.postgres import Postgres
from tests.peers.process import Peer
from tests.peers.redis import Redis

PGBOUNCER, HAPROXY, UNAUDITED = "pgbouncer", "haproxy", "audit off"
USER = "bench"
PLAIN = "plain"
"""As whom MariaDB is reached where the last leg is not encrypted."""

PASSWORD = "benchmark"

_POOL = """
[databases]
* = host=localhost port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = session
max_client_conn = 3000
default_pool_size = 250
server_tls_sslmode = verify-full
server_tls_ca_file = {folder}/servers.crt
client_tls_sslmode = require
client_tls_cert_file = {folder}/server.crt
client_tls_key_file = {folder}/server.key
logfile = {folder}/pgbouncer.log
log_connections = 0
log_disconnections = 0
"""

_RELAYS = """
global
    maxconn 8000
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
"""

_RELAY = """
listen {name}
    bind 127.0.0.1:{port}{bind}
    server target 127.0.0.1:{server}{target}
"""


@frozen
class Way:
    """
    One way to all databases.

    @ivar ports: by protocol.
    @ivar servers: process ids of what stands between client and database.
    @ivar certificates: by protocol: certificate and key, where the client shows one, and authority; none where the way
        is plain for the client.
    """

    ports: Mapping[str, int]
    servers: tuple[int, ...]
    certificates: Mapping[str, tuple[Path | None, Path | None, Path]] = field(factory=dict)

    def cpu(self) -> float:
        """
        @return: seconds of the processor so far.
        """
        return sum(with_children(pid) for pid in self.servers)

    def memory(self) -> int:
        """
        @return: bytes.
        """
        return sum(memory_of(pid) for pid in self.servers)

    def postgres(self, database: str = "postgres") -> dict[str, str]:
        """
        @return: the environment that libpq takes it from.
        """
        found = {"PGHOST": "localhost", "PGHOSTADDR": "127.0.0.1", "PGPORT": str(self.ports["postgres"])}
        found |= {"PGUSER": USER, "PGDATABASE": database, "PGSSLMODE": "disable"}
        if "postgres" in self.certificates:
            certificate, key, authority = self.certificates["postgres"]
            found |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(authority)}
            found |= {"PGSSLCERT": str(certificate), "PGSSLKEY": str(key)} if certificate else {}
        return {**os.environ, **found}

    def redis(self) -> list[str]:
        """
        @return: options of Redis's own programs.
        """
        certificate, key, authority = self.certificates["redis"]
        shown = ["--cert", str(certificate), "--key", str(key)] if certificate else []
        to = ["-h", "localhost", "-p", str(self.ports["redis"]), "--user", USER, "-a", PASSWORD]
        return [*to, "--tls", "--cacert", str(authority), *shown]

    def mysql(self) -> list[str]:
        """
        @return: options of MariaDB's own programs.
        """
        found = ["--no-defaults", "-h", "127.0.0.1", "-P", str(self.ports["mysql"])]
        if "mysql" in self.certificates:
            certificate, key, authority = map(str, self.certificates["mysql"])
            return [*found, "-u", USER, f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={authority}"]
        return [*found, "-u", PLAIN, f"--password={PASSWORD}", "--skip-ssl"]


@frozen
class World:
    """
    All of it, running.
    """

    ways: Mapping[str, Way]
    postgres: Postgres
    redis: Redis
    mariadb: MariaDB | None
    cluster: Cluster


@contextmanager
def world() -> Iterator[World]:
    """
    Databases, ours, and what is there of the others.
    """
    with ExitStack() as stack:
        mysql = free_port()
        cluster = Cluster(roles=("auth", "proxy"), proxy_service={"mysql_listen_addr": f"127.0.0.1:{mysql}"}).start()
        stack.callback(cluster.close)
        files = server_files(cluster)
        postgres = stack.enter_context(Postgres(files, rules=("host all all 127.0.0.1/32 trust",)))
        postgres.role(USER, options="superuser")
        redis = stack.enter_context(
            Redis(files, users={USER: f"on >{PASSWORD} ~* &* +@all"}, settings=("tls-auth-clients optional",))
        )
        mariadb = None
        if not MariaDB.missing():
            mariadb = stack.enter_context(MariaDB(files, settings=("require-secure-transport = OFF",)))
            mariadb.user(USER)
            mariadb.sql(f"create user '{PLAIN}'@'127.0.0.1' identified by '{PASSWORD}'")
            mariadb.sql(f"grant all privileges on *.* to '{PLAIN}'@'127.0.0.1'")
        cluster.tctl("users", "add", "alice", "--roles=access", f"--db-users={USER}", "--db-names=*")
        peers = {"postgres": postgres, "redis": redis} | ({"mysql": mariadb} if mariadb else {})
        ways = {OURS: _ours(cluster, peers, "", mysql), UNAUDITED: _ours(cluster, peers, "-unaudited", mysql)}
        if tool("pgbouncer"):
            ways[PGBOUNCER] = stack.enter_context(_pgbouncer(cluster, postgres))
        if tool("haproxy"):
            ways[HAPROXY] = stack.enter_context(_haproxy(cluster, peers))
        yield World(ways, postgres, redis, mariadb, cluster)


def _ours(cluster: Cluster, peers: Mapping[str, Peer], ending: str, mysql: int) -> Way:
    databases = [
        {"name": f"{protocol}{ending}", "protocol": protocol, "uri": f"localhost:{peer.port}"}
        for protocol, peer in peers.items()
    ]
    launcher = (sys.executable, "-m", "bench.unaudited") if ending else ()
    agent = database_agent(cluster, f"databases{ending}", databases, launcher=launcher)
    processes: Sequence[Service] = (cluster.service, agent)
    return Way(
        {"postgres": cluster.web, "redis": cluster.web, "mysql": mysql},
        tuple(each.process.pid for each in processes if each.process is not None),
        {protocol: certified(cluster, "alice", f"{protocol}{ending}", protocol, USER) for protocol in peers},
    )


def _authority(cluster: Cluster, folder: Path) -> Path:
    """
    @return: whom to believe that it is the database.
    """
    file = folder / "servers.crt"
    file.write_text(cluster.tctl("auth", "export", "--type=db"))
    return file


@contextmanager
def _pgbouncer(cluster: Cluster, postgres: Postgres) -> Iterator[Way]:
    folder, port = cluster.folder / "pgbouncer", free_port()
    folder.mkdir()
    authority = _authority(cluster, folder)
    postgres.files.written(folder)
    (folder / "users.txt").write_text(f'"{USER}" ""\n')
    (folder / "pgbouncer.ini").write_text(_POOL.format(server=postgres.port, port=port, folder=folder, user=USER))
    words: list[str] = []
    if os.getuid() == 0:  # it will not run as root
        for path in (cluster.folder, folder, *folder.iterdir()):
            os.chown(path, _NOBODY, _NOBODY)
        words = ["setpriv", "--reuid", str(_NOBODY), "--regid", str(_NOBODY), "--clear-groups"]
    with program(*words, tool("pgbouncer") or "", str(folder / "pgbouncer.ini")) as (running, _):
        wait_for_port(port)
        yield Way({"postgres": port}, (running.pid,), {"postgres": (None, None, authority)})


_NOBODY = 65534


@contextmanager
def _haproxy(cluster: Cluster, peers: Mapping[str, Peer]) -> Iterator[Way]:
    folder = cluster.folder / "haproxy"
    folder.mkdir()
    files = peers["redis"].files
    pem, authority = folder / "server.pem", _authority(cluster, folder)
    pem.write_bytes(files.certificate + files.key)
    inner, outer, ports = [_RELAYS], [_RELAYS], {}
    trust = f" ssl verify required ca-file {authority} verifyhost localhost"
    for protocol, peer in peers.items():
        port = ports[protocol] = free_port()
        if protocol == "redis":
            outer.append(
                _RELAY.format(name=protocol, port=port, bind=f" ssl crt {pem}", server=peer.port, target=trust)
            )
            continue
        middle = free_port()
        outer.append(_RELAY.format(name=protocol, port=port, bind="", server=middle, target=trust))
        inner.append(_RELAY.format(name=protocol, port=middle, bind=f" ssl crt {pem}", server=peer.port, target=""))
    with ExitStack() as stack:
        pids = []
        for name, parts in (("inner", inner), ("outer", outer)):
            file = folder / f"{name}.cfg"
            file.write_text("".join(parts))
            running, _ = stack.enter_context(program(tool("haproxy") or "", "-db", "-f", str(file)))
            pids.append(running.pid)
        for port in ports.values():
            wait_for_port(port)
        yield Way(ports, tuple(pids), {"redis": (None, None, authority)})
