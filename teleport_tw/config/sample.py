"""
Annotated configurations: C{teleport configure}, C{teleport node configure}, and the files in C{etc/}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from teleport_tw.config.sections import DATA_DIR

AUTH, PROXY, SSH, DB = "auth", "proxy", "node", "db"


def configure(
    *,
    cluster_name: str = "",
    public_addr: str = "",
    data_dir: str = DATA_DIR,
    roles: tuple[str, ...] = (AUTH, PROXY, SSH),
    token: str = "",
    auth_server: str = "",
    proxy_server: str = "",
    ca_pins: tuple[str, ...] = (),
    nodename: str = "",
    labels: Mapping[str, str] | None = None,
    cert_file: str = "",
    key_file: str = "",
    databases: Sequence[Mapping[str, str]] = (),
    db_resources: Mapping[str, str] | None = None,
) -> str:
    """
    @param roles: of C{auth}, C{proxy}, C{node}, C{db}; the others' sections say C{enabled: no}.
    @param databases: C{name}, C{protocol}, C{uri} and more of each, as in C{db_service.databases}.
    @param db_resources: labels of the dynamic databases that are served.
    @param token: the secret or a path to it.
    @return: the text of a C{teleport.yaml} that L{teleport_tw.config.load} takes.
    """
    lines = ["# Every key and its meaning: the configuration page of the documentation.", "version: v3", "teleport:"]
    if nodename:
        lines += [
            "  # The name this host is shown and reached by; the system's host name when left out.",
            _put(2, "nodename", nodename),
        ]
    lines += [
        "  # State: the host's UUID and certificates, the embedded database, the audit log.",
        _put(2, "data_dir", data_dir),
    ]
    if token:
        lines += [
            "  # Needed on the first start only. A path keeps the secret out of this file.",
            "  join_params:",
            "    method: token",
            _put(4, "token_name", token),
        ]
    if proxy_server:
        lines += [
            "  # The cluster's one public address; the tunnel is dialled through it.",
            _put(2, "proxy_server", proxy_server),
        ]
    elif auth_server:
        lines += ["  # The auth service's own address.", _put(2, "auth_server", auth_server)]
    if ca_pins:
        lines += ["  # Proves the cluster's identity on the first start: tctl status shows it.", "  ca_pin:"]
        lines += [f"  - {_quoted(pin)}" for pin in ca_pins]
    lines += [
        "  log:",
        "    output: stderr",
        "    # DEBUG, INFO, WARN or ERROR; read again on SIGHUP.",
        "    severity: INFO",
        "",
    ]
    lines += ["auth_service:", f"  enabled: {_yes(AUTH in roles)}"]
    if AUTH in roles:
        if cluster_name:
            lines += ["  # Part of every certificate; it cannot change later.", _put(2, "cluster_name", cluster_name)]
        lines += [
            "  listen_addr: 0.0.0.0:3025",
            "  # node, node-sync, proxy, proxy-sync or off.",
            "  session_recording: node",
            "  authentication:",
            "    type: local",
            "    second_factors: [otp]",
        ]
    lines += ["", "proxy_service:", f"  enabled: {_yes(PROXY in roles)}"]
    if PROXY in roles:
        lines += [
            "  # The one port: web pages, the API, tunnels and SSH through TLS.",
            "  web_listen_addr: 0.0.0.0:3080",
            "  # Plain SSH, for clients that do not speak TLS first.",
            "  listen_addr: 0.0.0.0:3023",
        ]
        if public_addr:
            lines += ["  # What users type.", _put(2, "public_addr", public_addr)]
        if cert_file and key_file:
            lines += ["  https_keypairs:", f"  - cert_file: {_quoted(cert_file)}", f"    key_file: {_quoted(key_file)}"]
    lines += ["", "ssh_service:", f"  enabled: {_yes(SSH in roles)}"]
    if SSH in roles:
        if labels:
            lines += ["  # What roles choose servers by.", "  labels:"]
            lines += [f"    {_quoted(key)}: {_quoted(value)}" for key, value in labels.items()]
        lines += [
            "  # Labels whose value is what a command prints.",
            "  commands:",
            "  - name: hostname",
            "    command: [hostname]",
            "    period: 1m0s",
        ]
    if DB in roles:
        lines += _databases(databases, db_resources)
    return "\n".join(lines) + "\n"


def _databases(databases: Sequence[Mapping[str, str]], resources: Mapping[str, str] | None) -> list[str]:
    lines = ["", "db_service:", "  enabled: yes"]
    if resources:
        lines += ["  # db resources (tctl create) with these labels are served too.", "  resources:", "  - labels:"]
        lines += [f"      {_quoted(key)}: {_quoted(value)}" for key, value in resources.items()]
    if databases:
        lines += [
            "  # postgres, cockroachdb, mysql, mongodb or redis. Their servers must believe the db_client authority",
            "  # (tctl auth export --type=db-client) and show a certificate of db (tctl auth sign --format=db).",
            "  databases:",
        ]
    for database in databases:
        lines += [f"  - {_put(0, 'name', database['name'])}"]
        lines += [_put(4, key, database[key]) for key in ("description", "protocol", "uri") if database.get(key)]
        labels = [part.partition("=") for part in database.get("labels", "").split(",") if part]
        if labels:
            lines += ["    static_labels:", *(_put(6, _quoted(key), value) for key, _, value in labels)]
        tls = [(key, database[key]) for key in ("mode", "server_name", "ca_cert_file") if database.get(key)]
        if tls:
            lines += ["    tls:", *(_put(6, key, value) for key, value in tls)]
    return lines


def db_configure(
    *,
    token: str,
    proxy_server: str,
    ca_pins: tuple[str, ...] = (),
    data_dir: str = DATA_DIR,
    nodename: str = "",
    databases: Sequence[Mapping[str, str]] = (),
    resources: Mapping[str, str] | None = None,
) -> str:
    """
    @return: the text for a host that serves databases and nothing else.
    """
    return configure(
        roles=(DB,),
        token=token,
        proxy_server=proxy_server,
        ca_pins=ca_pins,
        data_dir=data_dir,
        nodename=nodename,
        databases=databases,
        db_resources=resources,
    )


def node_configure(
    *,
    token: str,
    proxy_server: str = "",
    auth_server: str = "",
    ca_pins: tuple[str, ...] = (),
    data_dir: str = DATA_DIR,
    nodename: str = "",
    labels: Mapping[str, str] | None = None,
) -> str:
    """
    @return: the text for a host that serves SSH and nothing else.
    """
    return configure(
        roles=(SSH,),
        token=token,
        proxy_server=proxy_server,
        auth_server=auth_server,
        ca_pins=ca_pins,
        data_dir=data_dir,
        nodename=nodename,
        labels=labels,
    )


def samples() -> dict[str, str]:
    """
    @return: file name in C{etc/} to its text.
    """
    return {
        "teleport.yaml": configure(cluster_name="example.com", public_addr="teleport.example.com:443"),
        "auth.yaml": configure(cluster_name="example.com", roles=(AUTH,)),
        "proxy.yaml": configure(
            public_addr="teleport.example.com:443",
            roles=(PROXY,),
            token="put-the-token-here",  # noqa: S106  # a placeholder
            auth_server="auth.example.com:3025",
        ),
        "agent.yaml": node_configure(
            token="put-the-token-here",  # noqa: S106  # a placeholder
            proxy_server="teleport.example.com:443",
            labels={"env": "example"},
        ),
        "database-agent.yaml": db_configure(
            token="put-the-token-here",  # noqa: S106  # a placeholder
            proxy_server="teleport.example.com:443",
            databases=(
                {
                    "name": "orders",
                    "description": "what was bought",
                    "protocol": "postgres",
                    "uri": "postgres.example.com:5432",
                    "labels": "env=example",
                },
                {"name": "cache", "protocol": "redis", "uri": "rediss://redis.example.com:6379"},
            ),
            resources={"env": "example"},
        ),
    }


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _quoted(value: str) -> str:
    """
    @return: the value as YAML writes it on one line, quoted where it must be.
    """
    return yaml.safe_dump(value, width=1 << 20, default_flow_style=True, allow_unicode=True).split("\n")[0]


def _put(indent: int, key: str, value: str) -> str:
    return f"{' ' * indent}{key}: {_quoted(value)}"
