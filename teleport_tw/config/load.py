"""
The only reader of configuration files and of the environment.

Everything is read through L{Reader}, so that all mistakes of a file are told at once, each with its key path and line.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.base.keypaths import Mistake, Reader
from teleport_tw.config.overrides import Overrides, apply
from teleport_tw.config.read_databases import db_service
from teleport_tw.config.read_services import auth_service, proxy_service, ssh_service
from teleport_tw.config.read_teleport import teleport
from teleport_tw.config.sections import Configuration

DEFAULT_PATH = "/etc/teleport.yaml"
MAX_BYTES = 1 << 20
"""A configuration is written by hand; more is a mistaken path."""
VERSIONS = ("v1", "v2", "v3")
NOT_SERVED = (
    "app_service",
    "kubernetes_service",
    "windows_desktop_service",
    "discovery_service",
    "relay_service",
    "okta_service",
    "jamf_service",
    "linux_desktop_service",
    "metrics_service",
    "tracing_service",
)
"""Sections that may stand in a file, and are refused once they say C{enabled: yes}."""


def load_file(path: str | Path) -> Configuration:
    """
    @raise TeleportError: NOT_FOUND; BAD_PARAMETER with every mistake.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise not_found(f"cannot read the configuration file {path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise bad_parameter(f"{path} is larger than {MAX_BYTES} bytes; is it a configuration file?")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise bad_parameter(f"{path} is not UTF-8 text") from error
    return load_text(text, name=str(path))


def load(
    path: str | None = None, overrides: Overrides | None = None, environ: Mapping[str, str] | None = None
) -> Configuration:
    """
    What a program starts with: the file named, else C{TELEPORT_CONFIG} (base64 of a file's text), else
    C{TELEPORT_CONFIG_FILE}, else C{/etc/teleport.yaml} where it is, else defaults; then the command line's word.

    @param environ: the environment; none means this process's.
    @raise TeleportError: as L{load_file}.
    """
    variables = os.environ if environ is None else environ
    if path is not None:
        found = load_file(path)
    elif inline := variables.get("TELEPORT_CONFIG"):
        try:
            text = base64.b64decode(inline, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise bad_parameter("TELEPORT_CONFIG is not the base64 of a configuration") from error
        found = load_text(text, name="TELEPORT_CONFIG")
    elif named := variables.get("TELEPORT_CONFIG_FILE"):
        found = load_file(named)
    elif Path(DEFAULT_PATH).exists():
        found = load_file(DEFAULT_PATH)
    else:
        found = Configuration()
    return found if overrides is None else apply(found, overrides)


def load_text(text: str, *, name: str = "configuration") -> Configuration:
    """
    @param name: what errors call it.
    @raise TeleportError: BAD_PARAMETER with every mistake.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            document = loader.construct_document(node) if node is not None else {}
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_parameter(f"{name} is not YAML: {_where(error)}") from error
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise bad_parameter(f"{name}: must be a mapping of sections like teleport, auth_service, ssh_service")
    reader = Reader(document)
    configuration = _configuration(reader)
    if reader.mistakes:
        lines = _lines(node)
        raise bad_parameter("\n".join([f"{name} has mistakes:", *(_told(each, lines) for each in reader.mistakes)]))
    return configuration


def _configuration(reader: Reader) -> Configuration:
    version = reader.choice("version", {word: word for word in VERSIONS}, "v3")
    if not reader.has("version"):
        version = "v1"
    configuration = Configuration(
        version=version,
        teleport=reader.inside("teleport", lambda inner: teleport(inner, version)),
        auth=reader.inside("auth_service", lambda inner: auth_service(inner, version)),
        proxy=reader.inside("proxy_service", lambda inner: proxy_service(inner, version)),
        ssh=reader.inside("ssh_service", ssh_service),
        db=reader.inside("db_service", db_service),
        debug_enabled=reader.section("debug_service").yes("enabled", True),
    )
    for section in NOT_SERVED:
        if reader.section(section).yes("enabled"):
            reader.wrong(f"{section}.enabled", "is not served by this version yet; say no or leave the section out")
    reader.finish()
    return configuration


def _told(mistake: Mistake, lines: Mapping[str, int]) -> str:
    path = mistake.path
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    line = f" (line {lines[path]})" if path in lines else ""
    return f"  {mistake}{line}"


def _lines(node: Any) -> dict[str, int]:
    """
    @return: key path to the line it stands on, from 1.
    """
    found: dict[str, int] = {}
    pending: list[tuple[str, Any]] = [("", node)]
    while pending:
        path, each = pending.pop()
        children: Sequence[tuple[str, Any, Any]] = ()
        if isinstance(each, yaml.MappingNode):
            children = [(f"{path}.{key.value}" if path else str(key.value), key, value) for key, value in each.value]
        elif isinstance(each, yaml.SequenceNode):
            children = [(f"{path}[{index}]", value, value) for index, value in enumerate(each.value)]
        for name, marked, value in children:
            if name not in found:
                found[name] = marked.start_mark.line + 1
                pending.append((name, value))
    return found


def _where(error: Exception) -> str:
    """
    The complaint without the text around it, which may hold a secret.
    """
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or type(error).__name__
    return f"{problem} (line {mark.line + 1})" if mark is not None else str(problem)
