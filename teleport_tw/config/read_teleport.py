"""
Reads the C{teleport} section.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.keypaths import Reader
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.config.overrides import token_from
from teleport_tw.config.sections import Join, Log, Storage, Teleport

JOIN_METHODS = (
    "token ec2 iam azure gcp github gitlab circleci kubernetes spacelift terraform_cloud tpm bitbucket oracle "
    "azure_devops bound_keypair env0"
)
STORAGE_TYPES = {
    "sqlite": "sqlite",
    "dir": "sqlite",
    "etcd": "etcd",
    "postgresql": "postgresql",
    "dynamodb": "dynamodb",
}
SEVERITIES = {
    word: level
    for level, words in {
        "DEBUG": ("debug", "DEBUG"),
        "INFO": ("info", "INFO"),
        "WARN": ("warn", "WARN", "warning", "WARNING"),
        "ERROR": ("err", "error", "ERROR"),
    }.items()
    for word in words
}
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\s/\[\]]*):(\d{1,5})")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^:\s/\[\]]+")


def address(reader: Reader, key: str, default: str = "", *, port: int = 0) -> str:
    """
    C{host:port}.

    @param port: for an address without one; zero means it must be written.
    """
    value = reader.text(key, default)
    checked = check_address(value, port) if value else ""
    if checked is None:
        reader.wrong(key, "must be an address like 0.0.0.0:3080 or [::1]:3080")
        return default
    return checked


def addresses(reader: Reader, key: str, *, port: int = 0) -> tuple[str, ...]:
    """
    One address or several; without C{port} a bare host may stay one.
    """
    found = []
    for index, value in enumerate(reader.texts(key)):
        checked = check_address(value, port)
        if checked is None and not port and _HOST.fullmatch(value):
            checked = value
        if checked is None:
            reader.wrong(f"{key}[{index}]", "must be an address like teleport.example.com:443")
        else:
            found.append(checked)
    return tuple(found)


def check_address(value: str, port: int) -> str | None:
    """
    @return: C{host:port}, the port filled in; C{None} when it is no address.
    """
    plain = value.removeprefix("https://").removeprefix("tcp://").rstrip("/")
    if match := _HOST_PORT.fullmatch(plain):
        return plain if int(match[1]) < 65536 else None
    return f"{plain}:{port}" if port and _HOST.fullmatch(plain) else None


def teleport(reader: Reader, version: str) -> Teleport:
    """
    @param reader: on C{teleport}.
    @param version: of the file.
    """
    auth_servers = addresses(reader, "auth_servers", port=3025)
    auth_server = address(reader, "auth_server", port=3025)
    proxy_server = address(reader, "proxy_server", port=443)
    if auth_servers and version == "v3":
        reader.wrong("auth_servers", "is the older form; version v3 has auth_server or proxy_server")
    if version != "v3" and (auth_server or proxy_server):
        reader.wrong("auth_server" if auth_server else "proxy_server", "needs version: v3")
    if auth_server and proxy_server:
        reader.wrong("proxy_server", "and auth_server exclude each other")
    limits = reader.section("connection_limits")
    limits.ignore("max_users", "rates")
    cache = reader.section("cache")
    cache.duration("max_backoff", NEVER)
    connection = reader.section("auth_connection_config")
    default = Teleport()
    section = Teleport(
        nodename=_nodename(reader),
        data_dir=reader.text("data_dir", default.data_dir),
        pid_file=reader.text("pid_file"),
        join=_join(reader),
        ca_pins=_pins(reader),
        advertise_ip=reader.text("advertise_ip"),
        diag_addr=address(reader, "diag_addr", port=3000),
        auth_servers=(auth_server,) if auth_server else auth_servers,
        proxy_server=proxy_server,
        relay_server=address(reader, "relay_server", port=3042),
        cache_enabled=cache.yes("enabled", True),
        shutdown_delay=reader.duration("shutdown_delay", NEVER),
        max_connections=limits.number("max_connections", default.max_connections),
        retry_limit=connection.duration("upper_limit_between_retries", default.retry_limit),
        log=reader.inside("log", _log),
        ciphers=reader.texts("ciphers"),
        kex_algos=reader.texts("kex_algos"),
        mac_algos=reader.texts("mac_algos"),
        ciphersuites=reader.texts("ciphersuites"),
        storage=_storage(reader.section("storage")),
    )
    connection.duration("initial_connection_delay", NEVER)
    connection.duration("backoff_step_duration", NEVER)
    for inner in (limits, cache, connection):
        inner.finish()
    return section


def _nodename(reader: Reader) -> str:
    name = reader.text("nodename")
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
        reader.wrong("nodename", "must start with a letter or digit and hold letters, digits, dots and hyphens only")
    return name


def _token(reader: Reader, key: str) -> Secret[str]:
    try:
        return token_from(reader.text(key))
    except TeleportError as error:
        reader.wrong(key, str(error))
        return Secret("")


def _join(reader: Reader) -> Join:
    params = reader.section("join_params")
    azure = params.section("azure")
    methods = {word: word for word in JOIN_METHODS.split()}
    short = reader.has("auth_token")
    if short and reader.has("join_params"):
        reader.wrong("auth_token", "and join_params exclude each other")
    join = Join(
        method=params.choice("method", methods, "token"),
        token=_token(reader, "auth_token") if short else _token(params, "token_name"),
        azure_client_id=azure.text("client_id"),
    )
    azure.finish()
    params.finish()
    return join


def _pins(reader: Reader) -> tuple[str, ...]:
    found: list[str] = []
    for index, value in enumerate(reader.texts("ca_pin")):
        if value.startswith("/"):
            try:
                pins = Path(value).read_text().split()
            except (OSError, UnicodeDecodeError):
                reader.wrong(f"ca_pin[{index}]", f"cannot read {value}")
                continue
        else:
            pins = [value] if value else []
        for pin in pins:
            if _PIN.fullmatch(pin.lower()):
                found.append(pin.lower())
            else:
                reader.wrong(f"ca_pin[{index}]", "must be sha256: and 64 hexadecimal digits, or a path to such")
    return tuple(found)


def _log(reader: Reader) -> Log:
    default = Log()
    format_ = reader.section("format")
    log = Log(
        output=reader.text("output", default.output),
        severity=reader.choice("severity", SEVERITIES, default.severity),
        format=format_.choice("output", {"text": "text", "json": "json"}, default.format),
        fields=format_.texts("extra_fields") or default.fields,
    )
    for index, name in enumerate(log.fields):
        if name not in default.fields:
            format_.wrong(f"extra_fields[{index}]", f"must be one of {', '.join(default.fields)}")
    format_.finish()
    return log


def _storage(reader: Reader) -> Storage:
    default = Storage()
    pragmas = {word: word.upper() for name in ("off", "normal", "full") for word in (name, name.upper())}
    journals = {word: word.upper() for name in ("delete", "wal", "truncate") for word in (name, name.upper())}
    known = "type path sync journal conn_string audit_events_uri audit_sessions_uri retention_period".split()  # noqa: SIM905
    rest: dict[str, Any] = {str(key): value for key, value in reader.source.items() if key not in known}
    storage = Storage(
        type=reader.choice("type", STORAGE_TYPES, default.type),
        path=reader.text("path"),
        sync=reader.choice("sync", {**pragmas, False: "OFF"}, default.sync),
        journal=reader.choice("journal", journals, default.journal),
        conn_string=Secret(reader.text("conn_string")),
        audit_events_uri=reader.texts("audit_events_uri"),
        audit_sessions_uri=reader.text("audit_sessions_uri"),
        retention_period=reader.duration("retention_period", default.retention_period),
        options=rest if reader.source.get("type") not in (None, "sqlite", "dir") else {},
    )
    if storage.options:
        reader.ignore(*rest)
    reader.finish()
    return storage
