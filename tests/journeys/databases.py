"""
A database agent beside a cluster, and certificates for one of its databases, as C{tsh db login} gets them.

C{python -m tests.journeys.databases CONFIGURATION USER SERVICE PROTOCOL DB_USER DB_NAME OUT} writes one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.journeys.cluster import Cluster, Service, free_ports, until
from tests.peers.certificates import ServerFiles, signed_by

ALPN = "teleport-"
"""With the protocol's name behind it: TLS to the proxy, and the protocol inside without its own."""


def server_files(cluster: Cluster) -> ServerFiles:
    """
    @return: what an operator has C{tctl} write for a database server.
    """
    folder = cluster.folder / "server-files"
    folder.mkdir(mode=0o700, exist_ok=True)
    return signed_by(cluster, folder)


def database_agent(
    cluster: Cluster,
    name: str,
    databases: Sequence[Mapping[str, Any]],
    *,
    launcher: Sequence[str] = (),
    **db_service: Any,
) -> Service:
    """
    A host that joins through the proxy with a token and serves databases.

    @param databases: of C{db_service.databases}.
    @param launcher: what is run in place of C{twistd} itself, its arguments behind it.
    @return: started, its databases listed.
    """
    token = json.loads(cluster.tctl("tokens", "add", "--type=db", "--format=json"))["token"]
    (diag,) = free_ports(1)
    configuration = {
        "version": "v3",
        "teleport": {
            "nodename": name,
            "data_dir": str(cluster.folder / name / "data"),
            "diag_addr": f"127.0.0.1:{diag}",
            "proxy_server": cluster.proxy,
            "ca_pin": cluster.pin,
            "join_params": {"method": "token", "token_name": token},
        },
        "auth_service": {"enabled": False},
        "proxy_service": {"enabled": False},
        "ssh_service": {"enabled": False},
        "db_service": {"enabled": True, "databases": list(databases), **db_service},
    }
    service = Service(cluster.folder / name, "teleport-agent", configuration, "--db")
    if launcher:
        service.command[:3] = launcher
    cluster.agents.append(service)
    service.start()
    wanted = {database["name"] for database in databases}
    until(lambda: wanted <= listed(cluster), "the agent's databases")
    return service


def listed(cluster: Cluster) -> set[str]:
    """
    @return: names of databases that some agent serves.
    """
    found = json.loads(cluster.tctl("get", "db_server", "--format=json"))
    return {each["spec"]["database"]["metadata"]["name"] for each in found}


def certified(
    cluster: Cluster, user: str, service: str, protocol: str, db_user: str, db_name: str = ""
) -> tuple[Path, Path, Path]:
    """
    @return: certificate, key, and the authority of the proxy's own certificate; those of before if there are.
    """
    folder = cluster.folder / "certificates"
    folder.mkdir(mode=0o700, exist_ok=True)
    out = folder / f"{user}-{service}-{db_user}"
    if not Path(f"{out}.crt").exists():
        words = (str(cluster.service.configuration), user, service, protocol, db_user, db_name, str(out))
        cluster.run(sys.executable, "-m", "tests.journeys.databases", *words)
    return Path(f"{out}.crt"), Path(f"{out}.key"), Path(f"{out}.cas")


def main() -> None:
    """
    Ask auth on this host.
    """
    from teleport_tw.api.contract import IssueRequest, PublicKeys
    from teleport_tw.clients.program import finish
    from teleport_tw.clients.tctl.context import AdminContext
    from teleport_tw.pki.authority import Authority
    from teleport_tw.pki.identity import RouteToDatabase
    from teleport_tw.pki.keys import PrivateKey, spki_pem
    from teleport_tw.pki.trust import bundle
    from teleport_tw.protocols.ssh import keys as ssh_keys

    configuration, user, service, protocol, db_user, db_name, out = sys.argv[1:]
    options = argparse.Namespace(config=configuration, auth_server="", identity="", insecure=False, debug=False)

    written: list[tuple[bytes, bytes, bytes]] = []

    async def run(context: AdminContext, _: argparse.Namespace) -> None:
        key = PrivateKey.generate_tls()
        issued = await (await context.api()).issue(
            IssueRequest(
                username=user,
                keys=PublicKeys(
                    ssh=ssh_keys.format_line(PrivateKey.generate_ssh().ssh_public).encode(), tls=spki_pem(key.public)
                ),
                ttl=timedelta(hours=8),
                database=RouteToDatabase(service=service, protocol=protocol, username=db_user, database=db_name),
            )
        )
        host = [found for found in map(Authority.parse, issued.authorities) if found.type.value == "host"]
        written.append((issued.tls, key.pem().reveal(), bundle(host)))

    code = finish(AdminContext(options).run(run))
    if code:
        sys.exit(code)
    for content, ending in zip(*written, ("crt", "key", "cas"), strict=True):
        file = Path(f"{out}.{ending}")
        file.touch(0o600)
        file.write_bytes(content)


if __name__ == "__main__":
    main()
