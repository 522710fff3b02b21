"""
A host without an agent becomes a member: certificates, its entry in the cluster, and sshd's configuration.

Two files are written for sshd, and a block at the head of C{sshd_config} names them. The file is replaced only when
sshd itself has found the new one good.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from teleport_tw.api import joining
from teleport_tw.api.client import RpcApi, connect
from teleport_tw.api.contract import Certificates, JoinRequest, PublicKeys
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, from_timestamp, utc_now
from teleport_tw.dial import web
from teleport_tw.dial.membership import HostIdentity, IdentityFolder, join, public_keys
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.trust import authorized_authority
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.nodes import Node, SubKind
from teleport_tw.rpc.client import ClientTls, server_name_for

BEGIN, END = "# BEGIN teleport join openssh", "# END teleport join openssh"
SECONDS = 30.0
"""How long sshd may take to look at its configuration, or to restart."""

_RESTARTS = ("systemctl reload ssh", "systemctl reload sshd", "service ssh reload", "service sshd reload")


@frozen(kw_only=True)
class Plan:
    """
    What was typed.

    @ivar address: C{host[:port]} of sshd as the proxy reaches it; empty for this host's name and sshd's port.
    @ivar names: further names and addresses to be certified.
    @ivar folder: where identity, certificate and authority are kept.
    """

    proxy: str
    token: Secret[str]
    pins: tuple[str, ...]
    insecure: bool
    address: str
    node_name: str
    labels: Mapping[str, str]
    names: tuple[str, ...]
    sshd_config: Path
    folder: Path
    restart: bool
    restart_command: str
    check_command: str


@frozen
class Sshd:
    """
    The server as it is configured.

    @ivar host_key: path of the private key whose certificate is asked for.
    """

    host_key: Path
    port: int

    @property
    def public_key(self) -> bytes:
        """
        One line, without comment.

        @raise TeleportError: BAD_PARAMETER, it cannot be read.
        """
        path = Path(f"{self.host_key}.pub")
        try:
            line = ssh_keys.parse_line(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError, RemoteProtocolError, TeleportError) as error:
            raise bad_parameter(f"sshd's host key {path} cannot be read: {error}") from error
        return str(ssh_keys.AuthorizedLine(line.algorithm, line.blob, "")).strip().encode()


def look(plan: Plan) -> Sshd:
    """
    Ask sshd what its configuration comes to.

    @raise TeleportError: BAD_PARAMETER, it does not like it, or has no host key.
    """
    text = run_program([*_checker(plan)[:1], "-T", "-f", str(plan.sshd_config)], "sshd does not take its configuration")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key.lower(), []).append(value)
    keys = [Path(path) for path in found.get("hostkey", []) if Path(f"{path}.pub").exists()]
    if not keys:
        raise bad_parameter(f"{plan.sshd_config} names no host key that is there; `ssh-keygen -A` makes them")
    best = next((key for key in keys if "ed25519" in key.name), keys[0])
    return Sshd(best, int(found.get("port", ["22"])[0]))


def _checker(plan: Plan) -> list[str]:
    words = shlex.split(plan.check_command)
    if not words:
        raise bad_parameter("--sshd-check-command is empty")
    path = shutil.which(words[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise bad_parameter(f"{words[0]} is not installed on this host")
    return [path, *words[1:]]


def run_program(words: Sequence[str], trouble: str) -> str:
    """
    @return: what the program printed.
    @raise TeleportError: BAD_PARAMETER, it cannot be run, or failed; C{trouble} and what it said.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise bad_parameter(f"{trouble}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise bad_parameter(f"{trouble}: {said}")
    return done.stdout


async def register(plan: Plan) -> int:
    """
    All of it, in order; what was done before a failure is done again next time.

    @raise TeleportError: with what to do about it.
    """
    sshd = look(plan)
    name = plan.node_name or socket.gethostname()
    address = plan.address or name
    if ":" not in address:
        address = f"{address}:{sshd.port}"
    names = tuple(dict.fromkeys((name, address.rpartition(":")[0].strip("[]"), *plan.names)))
    identity = await member(plan, name, names)
    api = _api(plan, identity)
    try:
        issued = await api.renew_host(PublicKeys(ssh=sshd.public_key), names)
        node = Node(
            name=identity.host_id, hostname=name, addr=address, sub_kind=SubKind.OPENSSH, labels=dict(plan.labels)
        )
        await api.upsert(node.to_resource())
    finally:
        await api.close()
    install(plan, sshd, issued)
    print(f"{name} ({identity.host_id}) is registered with {identity.cluster} at {address}.")
    print(f"{plan.sshd_config} names {plan.folder}/host-cert.pub, good until {_end(issued.ssh)}.")
    return 0


def _end(line: bytes) -> str:
    blob = ssh_keys.parse_line(line.decode("ascii").strip()).blob
    return format_time(from_timestamp(certificates.parse(blob).valid_before))


async def member(plan: Plan, name: str, names: Sequence[str]) -> HostIdentity:
    """
    @return: this host as the cluster knows it; joined now, where it was not known or its time is up.
    @raise TeleportError: BAD_PARAMETER, there is no token; what auth said.
    """
    folder = IdentityFolder(plan.folder)
    identity = folder.load(SystemRole.NODE)
    if identity is not None and identity.validity[1] > utc_now():
        return await _renewed(plan, folder, identity, names)
    if not plan.token:
        raise bad_parameter("--token is missing; `tctl tokens add --type=node` makes one")
    host, _, port = plan.proxy.rpartition(":")

    async def ask(request: JoinRequest) -> Certificates:
        if plan.pins:
            client = web.pinned(host.strip("[]"), int(port), plan.pins)
        else:
            trust = web.no_trust() if plan.insecure else web.system_trust()
            client = web.WebClient(host.strip("[]"), int(port), trust)
        return joining.answer_from_json(*client.ask("POST", joining.PATH, joining.request_to_json(request)))

    return await join(folder, SystemRole.NODE, token=plan.token, node_name=name, addresses=names, ask=ask)


async def _renewed(plan: Plan, folder: IdentityFolder, identity: HostIdentity, names: Sequence[str]) -> HostIdentity:
    """
    The same member with new keys, and with the names it has now.
    """
    ssh_key, tls_key = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
    api = _api(plan, identity)
    try:
        issued = await api.renew_host(public_keys(ssh_key, tls_key), names)
    finally:
        await api.close()
    return folder.store(SystemRole.NODE, ssh_key, tls_key, issued)


def _api(plan: Plan, identity: HostIdentity) -> RpcApi:
    tls = ClientTls(
        chain=identity.tls_certificate,
        key=identity.tls_key.pem(),
        roots=identity.roots,
        server_name=server_name_for(identity.cluster),
    )
    return connect(f"dns:///{plan.proxy}", tls)


def install(plan: Plan, sshd: Sshd, issued: Certificates) -> None:
    """
    Write certificate and authority, name them in sshd's configuration, and make sshd read it.

    @raise TeleportError: sshd does not take it, in which case its configuration is as it was; or did not reload.
    """
    authorities = [Authority.parse(each) for each in issued.authorities]
    users = "".join(authorized_authority(each) for each in authorities if each.type is AuthorityType.OPENSSH)
    if not users or not issued.ssh:
        raise TeleportError(Kind.CONNECTION_PROBLEM, "auth sent no certificate, or no openssh authority to trust")
    certificate, trusted = plan.folder / "host-cert.pub", plan.folder / "openssh-ca.pub"
    replace(certificate, issued.ssh.decode("ascii"), 0o644)
    replace(trusted, users, 0o644)
    old = plan.sshd_config.read_text(encoding="utf-8")
    new = configured(old, sshd.host_key, certificate, trusted)
    handle, draft = tempfile.mkstemp(prefix=".teleport-", dir=plan.sshd_config.parent)
    os.close(handle)
    try:
        Path(draft).write_text(new, encoding="utf-8")
        run_program([*_checker(plan), draft], "sshd does not take the new configuration, so nothing was changed")
    finally:
        os.unlink(draft)
    replace(plan.sshd_config, new, plan.sshd_config.stat().st_mode & 0o777)
    if plan.restart:
        _restart(plan)


def configured(text: str, host_key: Path, certificate: Path, trusted: Path) -> str:
    """
    @param text: of C{sshd_config}.
    @return: the same with our block at its head, where no C{Match} holds and the first word counts; an older block of
        ours is taken out.
    """
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip() == BEGIN:
            inside = True
        elif line.strip() == END:
            inside = False
        elif not inside:
            kept.append(line)
    block = [BEGIN, f"TrustedUserCAKeys {trusted}", f"HostCertificate {certificate}", END]
    if not any(line.split()[:1] and line.split()[0].lower() == "hostkey" for line in kept):
        block.insert(1, f"HostKey {host_key}")
    return "\n".join([*block, *kept]) + "\n"


def replace(path: Path, text: str, mode: int) -> None:
    """
    Put a file where it is read, whole or not at all.

    @raise TeleportError: BAD_PARAMETER, it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".teleport-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(draft, mode)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise bad_parameter(f"{path} cannot be written: {error.strerror}") from error


def _restart(plan: Plan) -> None:
    tries = (plan.restart_command,) if plan.restart_command else _RESTARTS
    for command in tries:
        words = shlex.split(command)
        if not words or shutil.which(words[0]) is None:
            continue
        try:
            run_program(words, command)
        except TeleportError:
            continue
        return
    raise TeleportError(
        Kind.CONNECTION_PROBLEM,
        "everything is in place, but sshd could not be made to read it: restart it, or give --sshd-restart-command",
    )
