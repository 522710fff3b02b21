"""
Authorities and certificates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from teleport_tw.api.contract import Api, HostIssueRequest, IssueRequest, PublicKeys
from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import parse_duration
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.profile import write_private
from teleport_tw.clients.program import Context
from teleport_tw.clients.tctl.commands.users import words
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.export import FORMATS as EXPORTS
from teleport_tw.pki.export import authority_of, export, fingerprints
from teleport_tw.pki.identityfile import IdentityFile
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.trust import authorized_authority, bundle, known_hosts
from teleport_tw.protocols.ssh import keys as ssh_keys

USER_FORMATS = ("file", "openssh", "tls")
DATABASE_FORMATS = ("db", "postgres", "mysql", "mongodb", "redis", "cockroachdb")
DATABASE_TTL, USUAL_TTL = "2190h", "12h"
"""Three months for a server's certificate, which somebody has to carry there."""

EXAMPLES = """\
tctl auth export --type=host --proxy=teleport.example.com   for known_hosts
tctl auth export --type=user                      for sshd's TrustedUserCAKeys
tctl auth sign --user=ci --ttl=1h --out=ci        an identity file for tsh -i and tctl -i
tctl auth sign --user=ci --format=openssh --out=ci   ci and ci-cert.pub, for ssh
tctl auth sign --host=db.example.com --format=openssh --out=host   a host certificate for sshd
tctl auth sign --host=db.example.com --format=postgres --out=server      server.crt, server.key, server.cas
tctl auth export --type=db-client                 whom a database must believe: the agents' certificates
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl auth export|ls|sign}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    export_ = commands.add_parser("export", help="public keys of an authority")
    export_.add_argument("--type", choices=tuple(EXPORTS), default="host", help="[host]")
    export_.add_argument("--fingerprint", default="", help="only if the authority has this pin: sha256:…")
    export_.add_argument(
        "--proxy", metavar="HOST", action="append", default=[], help="a proxy's name, for known_hosts to cover"
    )
    export_.add_argument("-o", "--out", default="-", help="file to write; - for standard output [-]")
    export_.set_defaults(run=run_export)

    ls = commands.add_parser("ls", help="list the authorities and their pins")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)

    sign = commands.add_parser("sign", help="certificates for a user or a host")
    sign.add_argument("--user", default="", help="a user's name")
    sign.add_argument("--host", default="", help="comma-separated names and addresses of a host")
    sign.add_argument("-o", "--out", required=True, help="file to write; endings are added as the format has them")
    sign.add_argument("--format", choices=(*USER_FORMATS, *DATABASE_FORMATS), default="file", help="[file]")
    sign.add_argument("--ttl", default="", help=f"[{USUAL_TTL}; {DATABASE_TTL} for databases]")
    sign.add_argument("--overwrite", action="store_true", help="replace files that exist")
    sign.set_defaults(run=run_sign)


async def run_export(context: Context, options: argparse.Namespace) -> None:
    """
    Never a private key.
    """
    api = await context.api()
    authority = await _authority(api, authority_of(options.type))
    if options.fingerprint and options.fingerprint.lower() not in fingerprints(authority):
        raise bad_parameter(f"the authority has no key with the pin {options.fingerprint}")
    written = export(authority, options.type, map(host_of, options.proxy))
    if options.out == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(written)
    else:
        Path(options.out).write_bytes(written)


async def _authority(api: Api, kind: str) -> Authority:
    info = await api.ping()
    return Authority.parse(await api.get("cert_authority", info.cluster, sub_kind=kind))


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    Several pins while one rotates.
    """
    api = await context.api()
    page = await api.list("cert_authority")
    authorities = list(map(Authority.parse, page.items))
    rows = [
        (found.cluster, found.type.value, found.phase.value, " ".join(fingerprints(found))) for found in authorities
    ]
    value = [found.public().to_resource().to_json() for found in authorities]
    show(options.format, value, table(("Cluster Name", "CA Type", "Rotation", "Fingerprint"), rows))


async def run_sign(context: Context, options: argparse.Namespace) -> None:
    """
    Keys are made here; only public halves are sent.
    """
    if bool(options.user) == bool(options.host):
        raise bad_parameter("give --user or --host")
    if options.user and options.format in DATABASE_FORMATS:
        raise bad_parameter(f"--format={options.format} is for the server: give --host")
    target = Path(options.out)
    existing = [path for path in _outputs(target, options.format) if path.exists()]
    if existing and not options.overwrite:
        raise bad_parameter(f"{existing[0]} exists; use --overwrite to replace it")
    api = await context.api()
    written = await (_sign_user if options.user else _sign_host)(api, options, target)
    print("Written: " + ", ".join(map(str, written)))
    if options.format in DATABASE_FORMATS:
        print(_advice(options.format, target))


COCKROACH = ("ca.crt", "ca-client.crt", "node.crt", "node.key")
"""What C{cockroach start --certs-dir} looks for."""


def _outputs(target: Path, form: str) -> list[Path]:
    if form == "file":
        return [target]
    if form == "cockroachdb":
        return [target / name for name in COCKROACH]
    endings = {"openssh": ("", "-cert.pub"), "mongodb": (".crt", ".cas")}.get(form, (".key", ".crt", ".cas"))
    return [target.with_name(target.name + ending) for ending in endings]


async def _sign_user(api: Api, options: argparse.Namespace, target: Path) -> tuple[Path, ...]:
    key = PrivateKey.generate_tls()
    keys = PublicKeys(ssh=ssh_keys.format_line(key.ssh_public).encode(), tls=spki_pem(key.public))
    issued = await api.issue(
        IssueRequest(username=options.user, keys=keys, ttl=parse_duration(options.ttl or USUAL_TTL))
    )
    authorities = {found.type.value: found for found in map(Authority.parse, issued.authorities)}
    host = authorities["host"]
    identity = IdentityFile(
        key=key.pem(),
        ssh_certificate=issued.ssh.decode().strip(),
        tls_certificate=issued.tls.decode(),
        tls_authorities=(bundle([host]).decode(),),
        ssh_authorities=tuple(known_hosts(host).splitlines()),
    )
    if options.format == "file":
        identity.write(target)
        return (target,)
    return identity.write_openssh(target) if options.format == "openssh" else identity.write_tls(target)


async def _sign_host(api: Api, options: argparse.Namespace, target: Path) -> tuple[Path, ...]:
    database = options.format in DATABASE_FORMATS
    key = PrivateKey.generate_rsa() if database else PrivateKey.generate_tls()
    keys = PublicKeys(ssh=b"" if database else ssh_keys.format_line(key.ssh_public).encode(), tls=spki_pem(key.public))
    request = HostIssueRequest(
        principals=tuple(words(options.host)),
        keys=keys,
        ttl=parse_duration(options.ttl or (DATABASE_TTL if database else USUAL_TTL)),
        authority="db" if database else "host",
    )
    issued = await api.issue_host(request)
    trusted = await _authority(api, "db_client" if database else "host")
    identity = IdentityFile(
        key=key.pem(),
        ssh_certificate=issued.ssh.decode().strip(),
        tls_certificate=issued.tls.decode(),
        tls_authorities=(bundle([trusted]).decode(),),
    )
    if options.format == "mongodb":
        return _write_mongodb(identity, target)
    if options.format == "cockroachdb":
        return _write_cockroach(identity, target, bundle([await _authority(api, "db")]))
    if options.format == "openssh":
        written = identity.write_openssh(target)
        openssh = target.with_name(target.name + "-user-ca.pub")
        openssh.write_text(authorized_authority(await _authority(api, "openssh")))
        return (*written, openssh)
    if options.format == "file":
        identity.write(target)
        return (target,)
    return identity.write_tls(target)


def _write_mongodb(identity: IdentityFile, target: Path) -> tuple[Path, ...]:
    """
    Certificate and key in one file, as C{mongod} wants them.
    """
    both, authorities = (target.with_name(target.name + ending) for ending in (".crt", ".cas"))
    write_private(both, identity.tls_certificate.encode() + identity.key.reveal())
    authorities.write_text("".join(identity.tls_authorities))
    return both, authorities


def _write_cockroach(identity: IdentityFile, folder: Path, servers: bytes) -> tuple[Path, ...]:
    """
    A folder for C{cockroach start --certs-dir}: nodes believe each other by one authority, clients by another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, clients, certificate, key = (folder / name for name in COCKROACH)
    authority.write_bytes(servers)
    clients.write_text("".join(identity.tls_authorities))
    certificate.write_text(identity.tls_certificate)
    write_private(key, identity.key.reveal())
    return authority, clients, certificate, key


def _advice(form: str, target: Path) -> str:
    """
    @return: what to paste into the server's configuration.
    """
    name = target.resolve()
    match form:
        case "db" | "postgres":
            return (
                "Paste into postgresql.conf:\n"
                f"  ssl = on\n  ssl_cert_file = '{name}.crt'\n  ssl_key_file = '{name}.key'\n"
                f"  ssl_ca_file = '{name}.cas'\n"
                "and into pg_hba.conf, above other lines for the same users:\n"
                "  hostssl all all 0.0.0.0/0 cert\n  hostssl all all ::/0 cert"
            )
        case "mysql":
            return (
                f"Paste into my.cnf, section [mysqld]:\n  require_secure_transport=ON\n  ssl-cert={name}.crt\n"
                f"  ssl-key={name}.key\n  ssl-ca={name}.cas\n"
                "and make users who show a certificate:\n  CREATE USER 'alice'@'%' REQUIRE SUBJECT '/CN=alice';"
            )
        case "redis":
            return (
                f"Paste into redis.conf:\n  port 0\n  tls-port 6379\n  tls-cert-file {name}.crt\n"
                f"  tls-key-file {name}.key\n  tls-ca-cert-file {name}.cas\n  tls-auth-clients yes"
            )
        case "mongodb":
            return (
                "Paste into mongod.conf, under net:\n  tls:\n    mode: requireTLS\n"
                f"    certificateKeyFile: {name}.crt\n    CAFile: {name}.cas\n"
                "and make users who show a certificate:\n"
                '  db.getSiblingDB("$external").createUser({user: "CN=alice", roles: [...]})'
            )
    return f"Start each node with:\n  cockroach start --certs-dir={name} ..."
