"""
Reads C{db_service}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teleport_tw.base.keypaths import Reader
from teleport_tw.base.timing import NEVER, format_duration, parse_duration
from teleport_tw.config.sections import DatabaseTarget, DbService, RecordParameters, ResourceMatcher

PROTOCOLS = ("postgres", "cockroachdb", "mysql", "mongodb", "redis")
_PROTOCOLS = {word: word for word in PROTOCOLS}
_MODES = {word: word for word in ("verify-full", "verify-ca", "insecure")}
_PARAMETERS: dict[object, RecordParameters] = {
    **{each.value: each for each in RecordParameters},
    False: RecordParameters.OFF,
}


def db_service(reader: Reader) -> DbService:
    """
    @param reader: on C{db_service}.
    """
    section = DbService(
        enabled=reader.yes("enabled"),
        databases=reader.each("databases", _database),
        resources=reader.each("resources", _matcher),
        record_parameters=reader.choice("record_parameters", _PARAMETERS, RecordParameters.FULL),
        password_dir=reader.text("password_dir"),
    )
    if section.password_dir and not Path(section.password_dir).is_absolute():
        reader.wrong("password_dir", "must be an absolute path")
    seen: set[str] = set()
    for index, database in enumerate(section.databases):
        if database.name in seen:
            reader.wrong(f"databases[{index}].name", f"names {database.name!r} a second time")
        seen.add(database.name)
    for key in ("aws", "azure"):
        if reader.raw(key):
            reader.wrong(key, "is not served by this version yet; name the databases or create db resources")
    return section


def _database(reader: Reader) -> DatabaseTarget:
    for key in ("name", "uri", "protocol"):
        if not reader.has(key):
            reader.wrong(key, "is missing")
    for key in ("ad", "azure", "oracle"):
        if reader.raw(key):
            reader.wrong(key, "is not served by this version yet; leave it out")
    aws, gcp = reader.section("aws"), reader.section("gcp")
    spec: dict[str, Any] = {
        "protocol": reader.choice("protocol", _PROTOCOLS, ""),
        "uri": reader.text("uri"),
        "tls": reader.inside("tls", _tls),
        "admin_user": reader.inside("admin_user", lambda inner: _texts(inner, "name", "default_database")),
        "mysql": reader.inside("mysql", lambda inner: _texts(inner, "server_version")),
        "aws": dict(aws.source),
        "gcp": _texts(gcp, "project_id", "instance_id"),
        "dynamic_labels": dict(reader.each("dynamic_labels", _dynamic_label)),
    }
    gcp.finish()
    older = reader.text("ca_cert_file")
    if older and not spec["tls"].get("ca_cert"):
        spec["tls"]["ca_cert"] = _certificates(reader, "ca_cert_file")
    return DatabaseTarget(
        name=reader.text("name"),
        description=reader.text("description"),
        labels=reader.pairs("static_labels"),
        spec={key: value for key, value in spec.items() if value},
    )


def _texts(reader: Reader, *keys: str) -> dict[str, str]:
    return {key: text for key in keys if (text := reader.text(key))}


def _tls(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mode": reader.choice("mode", _MODES, ""),
        "server_name": reader.text("server_name"),
        "ca_cert": _certificates(reader, "ca_cert_file"),
        "trust_system_cert_pool": reader.yes("trust_system_cert_pool"),
    }
    return {key: value for key, value in found.items() if value}


def _certificates(reader: Reader, key: str) -> str:
    path = reader.text(key)
    if not path:
        return ""
    try:
        text = Path(path).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        reader.wrong(key, f"cannot be read: {reason}")
        return ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        reader.wrong(key, "must be a file of certificates in PEM")
    return text


def _dynamic_label(reader: Reader) -> tuple[str, Mapping[str, Any]]:
    name, command = reader.text("name"), reader.texts("command")
    period = reader.duration("period", parse_duration("1m"))
    if not name:
        reader.wrong("name", "is missing")
    if not command:
        reader.wrong("command", "is missing; write a list like [hostname, -s]")
    if period <= NEVER:
        reader.wrong("period", "must be longer than nothing")
    return name, {"command": list(command), "period": format_duration(period)}


def _matcher(reader: Reader) -> ResourceMatcher:
    if reader.raw("aws"):
        reader.wrong("aws", "is not served by this version yet; leave it out")
    matcher = ResourceMatcher(labels=reader.lists("labels"))
    if not matcher.labels:
        reader.wrong("labels", 'is missing; write "*": "*" for all')
    return matcher
