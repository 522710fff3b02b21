"""
What a file says without effect yet, and what a change of it comes to: now, at C{SIGHUP}, or after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from teleport_tw.config.sections import AuthService, Configuration

_LATER = "has no effect in this version yet"

_WITHOUT_EFFECT: tuple[tuple[str, str], ...] = (
    ("teleport.relay_server", _LATER),
    ("teleport.cache.enabled", "has no effect: agents and proxies always keep a copy of what they need"),
    ("teleport.auth_connection_config.upper_limit_between_retries", _LATER),
    ("teleport.storage.audit_events_uri", f"{_LATER}: events are kept in data_dir/log"),
    ("teleport.storage.audit_sessions_uri", f"{_LATER}: recordings are kept in data_dir/log/records"),
    ("auth_service.tunnel_strategy.type", f"{_LATER}: agents dial every proxy"),
    ("auth_service.tunnel_strategy.agent_connection_count", _LATER),
    ("auth_service.load_all_cas", _LATER),
    ("proxy_service.peer_listen_addr", _LATER),
    ("proxy_service.kube_listen_addr", _LATER),
    ("proxy_service.kube_public_addr", _LATER),
    ("proxy_service.ui.scrollback_lines", _LATER),
    ("proxy_service.ui.show_resources", _LATER),
    ("proxy_service.workers", f"{_LATER}: one process serves"),
    ("ssh_service.workers", f"{_LATER}: one process serves"),
    ("ssh_service.pam.enabled", _LATER),
    ("ssh_service.enhanced_recording.enabled", _LATER),
)
"""Keys that are read and checked, so that files from elsewhere stay valid, and that nothing acts upon."""

_NAMES: Mapping[str, str] = {
    "auth": "auth_service",
    "proxy": "proxy_service",
    "ssh": "ssh_service",
    "db": "db_service",
    "teleport.join": "teleport.join_params",
    "teleport.join.token": "teleport.join_params.token_name",
    "teleport.ca_pins": "teleport.ca_pin",
    "teleport.cache_enabled": "teleport.cache.enabled",
    "teleport.max_connections": "teleport.connection_limits.max_connections",
    "teleport.retry_limit": "teleport.auth_connection_config.upper_limit_between_retries",
    "teleport.log.format": "teleport.log.format.output",
    "teleport.log.fields": "teleport.log.format.extra_fields",
    "auth.tunnel_strategy": "auth_service.tunnel_strategy.type",
    "auth.agent_connection_count": "auth_service.tunnel_strategy.agent_connection_count",
    "proxy.scrollback_lines": "proxy_service.ui.scrollback_lines",
    "proxy.show_resources": "proxy_service.ui.show_resources",
    "proxy.acme_enabled": "proxy_service.acme.enabled",
    "proxy.acme_email": "proxy_service.acme.email",
    "debug_enabled": "debug_service.enabled",
}
"""Members of the sections whose key in the file is called otherwise."""

_UNSAID = frozenset(("version", "unserved", "auth.written"))

RELOADED = (
    "teleport.log.",
    "proxy_service.https_keypairs",
    "auth_service.tokens",
    "ssh_service.labels",
    *(
        f"auth_service.{key}"
        for key in (
            "session_recording",
            "proxy_checks_host_keys",
            "client_idle_timeout",
            "web_idle_timeout",
            "disconnect_expired_cert",
            "keep_alive_",
            "ssh_dial_timeout",
            "session_control_timeout",
            "routing_strategy",
            "proxy_listener_mode",
            "message_of_the_day",
            "case_insensitive_routing",
            "authentication.",
        )
    ),
)
"""How the keys begin that C{SIGHUP} brings into effect."""


def warnings(configuration: Configuration) -> tuple[str, ...]:
    """
    @return: a sentence for each key that says something and has no effect.
    """
    said = changed(Configuration(version=configuration.version), configuration)
    found = [f"{key} {why}" for key, why in _WITHOUT_EFFECT if key in said]
    if "caller" in configuration.teleport.log.fields and "teleport.log.format.extra_fields" in said:
        found.append("teleport.log.format.extra_fields: caller has no effect; component names the module")
    return tuple(found)


def changed(before: Configuration, after: Configuration) -> tuple[str, ...]:
    """
    @return: the keys whose value is another, as the file has them.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return tuple(key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key))


def split(keys: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """
    @param keys: of L{changed}.
    @return: those that C{SIGHUP} brings into effect, and those that wait for a restart.
    """
    now = [key for key in keys if key.startswith(RELOADED)]
    return now, [key for key in keys if key not in now]


def merged(before: Configuration, after: Configuration) -> Configuration:
    """
    @return: what holds once C{SIGHUP} has brought into effect what it can; the rest still differs from the file, so
        that it is told of the next time as well.
    """
    kept = {name: getattr(after.auth, name) for name in attrs.fields_dict(AuthService) if _is_reloaded(name)}
    return attrs.evolve(
        before,
        teleport=attrs.evolve(before.teleport, log=after.teleport.log),
        auth=attrs.evolve(before.auth, **kept),
        proxy=attrs.evolve(before.proxy, https_keypairs=after.proxy.https_keypairs),
        ssh=attrs.evolve(before.ssh, labels=after.ssh.labels),
    )


def _is_reloaded(name: str) -> bool:
    return name in ("authentication", "written") or f"auth_service.{name}".startswith(RELOADED)


def _leaves(value: Any, path: str = "", shown: str = "") -> Iterator[tuple[str, Any]]:
    named: Callable[[str], str] = lambda inner: f"{path}.{inner}" if path else inner  # noqa: E731  # twice below
    for attribute in attrs.fields(type(value)):
        inner, here = getattr(value, attribute.name), named(attribute.name)
        if here in _UNSAID:
            continue
        key = _NAMES.get(here, f"{shown}.{attribute.name}" if shown else attribute.name)
        if attrs.has(type(inner)):
            yield from _leaves(inner, here, key)
        else:
            yield key, inner
