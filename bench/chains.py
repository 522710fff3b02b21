"""
Two ways to the same host by SSH, each as real programs on loopback: through our proxy, tunnel and agent, one process
each for proxy and agent; and through two C{sshd} by C{ssh -J}. On both, the same user, keys, ciphers and commands.
"""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from bench.harness import cpu_seconds, free_port, program, tool, wait_for_port
from tests.journeys.cluster import Cluster, until

OPENSSH = "ssh -J"
NODE = "target"

_CLIENT = """
Host *
  User {login}
  IdentityFile {key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
  Ciphers aes128-gcm@openssh.com
  KexAlgorithms curve25519-sha256
Host proxy
  HostName localhost
  Port {proxy}
Host {node}
  HostName {address}
  ProxyJump proxy
"""

_SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
TrustedUserCAKeys {folder}/users
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
PermitRootLogin yes
PrintMotd no
PrintLastLog no
MaxStartups 500
MaxSessions 2000
StrictModes no
LogLevel ERROR
"""


@frozen
class Chain:
    """
    One way.

    @ivar login: who one is at the host.
    @ivar config: for C{ssh -F}; the host is L{NODE}.
    @ivar servers: process ids; their children belong to them.
    """

    login: str
    config: Path
    servers: tuple[int, ...]

    def ssh(self, *words: str, options: Sequence[str] = ()) -> list[str]:
        """
        @return: a command that runs C{words} at the host.
        """
        return ["ssh", "-F", str(self.config), *options, NODE, *words]

    def cpu(self) -> float:
        """
        @return: processor time of the servers and of all they started, so far.
        """
        return sum(with_children(pid) for pid in self.servers)

    def memory(self) -> int:
        """
        @return: bytes of the servers themselves, and of the sessions' own C{sshd} processes where there are such;
            what several share is counted once.
        """
        found = set(self.servers)
        for pid in self.servers:
            found |= {child for child in _descendants(pid) if _name(child) in ("sshd", "sshd-session")}
        return sum(memory_of(pid) for pid in found)


def have_openssh() -> bool:
    """
    @return: whether client and server are installed.
    """
    return tool("ssh") is not None and tool("sshd") is not None


@contextmanager
def ours() -> Iterator[tuple[Chain, Cluster]]:
    """
    A cluster whose agent joined through the proxy.
    """
    cluster = Cluster(roles=("auth", "proxy")).start()
    try:
        login = getpass.getuser()
        cluster.tctl("users", "add", "alice", "--roles=access", f"--logins={login}")
        agent = cluster.agent(NODE)
        agent.start()
        until(lambda: cluster.node_listed(NODE), "the node")
        folder = cluster.folder / "client"
        folder.mkdir(mode=0o700)
        key, known_hosts = folder / "alice", folder / "known_hosts"
        cluster.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={key}")
        authority = cluster.tctl("auth", "export", "--type=host").split()
        known_hosts.write_text(f"@cert-authority * {authority[2]} {authority[3]}\n")
        config = folder / "config"
        config.write_text(
            _CLIENT.format(login=login, key=key, known_hosts=known_hosts, proxy=cluster.ssh, node=NODE, address=NODE)
        )
        processes = (cluster.service.process, agent.process)
        yield Chain(login, config, tuple(each.pid for each in processes if each is not None)), cluster
    finally:
        cluster.close()


@contextmanager
def openssh(cluster: Cluster) -> Iterator[Chain]:
    """
    Two C{sshd} which trust the cluster's users, so that the same key and certificate are shown to them.
    """
    login = getpass.getuser()
    folder = cluster.folder / "sshd"
    folder.mkdir(mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
    (folder / "users").write_text(cluster.tctl("auth", "export", "--type=user"))
    ports = free_port(), free_port()
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    known_hosts, config = folder / "known_hosts", folder / "client"
    known_hosts.write_text(
        "".join(f"[{host}]:{port} {public}\n" for host in ("localhost", "127.0.0.1") for port in ports)
    )
    key = cluster.folder / "client" / "alice"
    text = _CLIENT.format(login=login, key=key, known_hosts=known_hosts, proxy=ports[0], node=NODE, address="127.0.0.1")
    config.write_text(f"{text}  Port {ports[1]}\n")
    files = [folder / f"sshd-{port}" for port in ports]
    for file, port in zip(files, ports, strict=True):
        file.write_text(_SERVER.format(port=port, folder=folder))
    sshd = tool("sshd") or "sshd"
    with program(sshd, "-D", "-f", str(files[0])) as (jump, _), program(sshd, "-D", "-f", str(files[1])) as (host, _):
        for port in ports:
            wait_for_port(port)
        yield Chain(login, config, (jump.pid, host.pid))


def _descendants(pid: int) -> list[int]:
    found, ahead = [], [pid]
    while ahead:
        try:
            text = Path(f"/proc/{(parent := ahead.pop())}/task/{parent}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children = [int(word) for word in text.split()]
        found += children
        ahead += children
    return found


def with_children(pid: int) -> float:
    """
    @return: processor seconds of a process and all it started, so far.
    """
    total = 0.0
    for each in (pid, *_descendants(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += cpu_seconds(each) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def memory_of(pid: int) -> int:
    """
    @return: bytes of a process; what several share is divided among them.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
