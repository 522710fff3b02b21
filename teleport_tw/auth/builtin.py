"""
What the cluster's own services and every signed-in user may do, whatever the roles say; pure tables.

Services do not have roles of their own in the store: their certificate says what they are, and these tables say what
that may do. A host writes nothing but its own presence, which L{teleport_tw.api.contract.Presence} sees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from teleport_tw.pki.identity import SystemRole

READ, LIST = "read", "list"
READ_NO_SECRETS = "readnosecrets"
CREATE, UPDATE, DELETE = "create", "update", "delete"

VIEW = frozenset({READ_NO_SECRETS, LIST})
"""See everything but secrets."""

CONFIG = (
    "cluster_auth_preference",
    "cluster_networking_config",
    "session_recording_config",
    "cluster_name",
    "cluster_audit_config",
    "ui_config",
)
"""The singletons that say how the cluster behaves; nothing in them is secret."""

SERVERS = (
    "node",
    "proxy",
    "auth_server",
    "app",
    "app_server",
    "db",
    "db_server",
    "db_service",
    "kube_cluster",
    "kube_server",
    "windows_desktop",
    "windows_desktop_service",
)
"""What is reached, and who reaches it."""

_EVERY_SERVICE = (*CONFIG, "role", "lock", "cert_authority", "proxy", "auth_server", "remote_cluster")

_SYSTEM: Mapping[SystemRole, tuple[str, ...]] = {
    SystemRole.PROXY: (*_EVERY_SERVICE, *SERVERS, "user", "semaphore", "access_request", "session_tracker", "instance"),
    SystemRole.NODE: (*_EVERY_SERVICE, "node"),
    SystemRole.APP: (*_EVERY_SERVICE, "app", "app_server"),
    SystemRole.DB: (*_EVERY_SERVICE, "db", "db_server", "db_service"),
    SystemRole.KUBE: (*_EVERY_SERVICE, "kube_cluster", "kube_server"),
    SystemRole.WINDOWS_DESKTOP: (*_EVERY_SERVICE, "windows_desktop", "windows_desktop_service"),
    SystemRole.DISCOVERY: (*_EVERY_SERVICE, *SERVERS),
    SystemRole.INSTANCE: _EVERY_SERVICE,
    SystemRole.BOT: (),
}

PRESENCE: Mapping[SystemRole, frozenset[str]] = {
    SystemRole.PROXY: frozenset({"proxy"}),
    SystemRole.AUTH: frozenset({"auth_server"}),
    SystemRole.NODE: frozenset({"node"}),
    SystemRole.APP: frozenset({"app_server"}),
    SystemRole.DB: frozenset({"db_server", "db_service"}),
    SystemRole.KUBE: frozenset({"kube_server"}),
    SystemRole.WINDOWS_DESKTOP: frozenset({"windows_desktop_service", "windows_desktop"}),
}
"""The kinds a host may announce itself as, beside C{instance}, which all may."""

COUNTING = tuple(role for role in PRESENCE if role is not SystemRole.AUTH)
"""Who counts sessions and connections, with semaphores."""

PER_TARGET = frozenset({"db_server"})
"""Of these, a host announces as many as it serves: each name is its own id, a dot and the target's name."""

DESCRIBED = frozenset({"node", "instance", "db_server", "proxy", "auth_server"})
"""Of these, what a host announces is checked key by key."""

EVERYONE: Mapping[str, frozenset[str]] = dict.fromkeys(
    (*CONFIG, "cert_authority", "proxy", "auth_server", "remote_cluster"), VIEW
)
"""What every signed-in user may see."""

REACHABLE = frozenset(
    {"node", "app", "app_server", "db", "db_server", "kube_cluster", "kube_server", "windows_desktop"}
)
"""Kinds of which a user sees what its roles let it reach, without a rule that says so."""


def system_allows(roles: Iterable[SystemRole], kind: str, verb: str) -> bool:
    """
    @param roles: what the host is.
    @param verb: as role rules have them.
    """
    for role in roles:
        if role in (SystemRole.ADMIN, SystemRole.AUTH):
            return True
        if verb in VIEW and kind in _SYSTEM.get(role, ()):
            return True
    return False


def everyone_may(kind: str, verb: str) -> bool:
    """
    @return: whether any signed-in user may.
    """
    return kind in EVERYONE and verb in VIEW


def may_announce(roles: Iterable[SystemRole], kind: str) -> bool:
    """
    @return: whether a host of these roles may heartbeat as C{kind}.
    """
    return any(kind == "instance" or kind in PRESENCE.get(role, ()) for role in roles)


def may_register(roles: Iterable[SystemRole], kind: str, sub_kind: str) -> bool:
    """
    @return: whether a host of these roles may write itself down for good: one that runs a stock sshd and no agent.
    """
    return kind == "node" and sub_kind == "openssh" and SystemRole.NODE in roles
