"""
Every kind there is: its words on the command line, its checks, its columns, its secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time
from teleport_tw.resources import (
    authorities,
    clusters,
    database_servers,
    databases,
    instances,
    locks,
    nodes,
    semaphores,
    servers,
    sessions,
    tokens,
    users,
)
from teleport_tw.resources.metadata import Resource, format_labels, words
from teleport_tw.resources.roles import Role

Row = tuple[str, ...]


def _name_row(resource: Resource) -> Row:
    return (resource.name,)


def _unchanged(resource: Resource) -> Resource:
    return resource


@frozen(kw_only=True)
class Described:
    """
    @ivar name: as resources spell it.
    @ivar aliases: further words for it, plurals included.
    @ivar singleton: the one name; empty where there are many.
    @ivar validate: raises TeleportError BAD_PARAMETER naming every wrong key; what it returns does not matter.
    @ivar columns: of C{tctl get --format=text}; L{row} gives as many cells.
    @ivar public: the same resource without its secrets.
    @ivar made_by_people: whether C{tctl create} may make one.
    """

    name: str
    aliases: tuple[str, ...] = ()
    singleton: str = ""
    version: str = "v2"
    validate: Callable[[Resource], object] = _unchanged
    columns: Row = ("Name",)
    row: Callable[[Resource], Row] = _name_row
    public: Callable[[Resource], Resource] = _unchanged
    made_by_people: bool = True


def _moment(resource: Resource, never: str = "never") -> str:
    return never if resource.metadata.expires is None else format_time(resource.metadata.expires)


def _section(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _role_row(role: Resource) -> Row:
    allow = role.spec.get("allow")
    rules = [
        f"{words(_section(rule, 'resources') or [])}:{words(_section(rule, 'verbs') or [])}"
        for rule in _section(allow, "rules") or ()
    ]
    labels = _section(allow, "node_labels")
    return (
        role.name,
        ",".join(map(str, _section(allow, "logins") or ())),
        format_labels(labels) if isinstance(labels, Mapping) else "",
        ",".join(rules),
    )


def _token_row(token: Resource) -> Row:
    roles = token.spec.get("roles") or ()
    return (token.name, ",".join(map(str, roles)), format_labels(token.metadata.labels), _moment(token))


def _masked_token(token: Resource) -> Resource:
    if token.spec.get("join_method", "token") not in ("", "token"):
        return token
    return evolve(token, metadata=evolve(token.metadata, name=tokens.mask(token.name)))


def _user_row(user: Resource) -> Row:
    return (user.name, ",".join(map(str, user.spec.get("roles") or ())))


def _public_user(user: Resource) -> Resource:
    return evolve(user, spec={key: value for key, value in user.spec.items() if key != "local_auth"})


def _node_row(node: Resource) -> Row:
    spec = node.spec
    public = spec.get("public_addrs") or ()
    address = ",".join(map(str, public)) or spec.get("addr") or ("⟵ Tunnel" if spec.get("use_tunnel") else "")
    return (
        str(spec.get("hostname") or ""),
        node.name,
        str(address),
        format_labels(nodes.all_labels(node)),
        str(spec.get("version") or ""),
    )


def _database_row(database: Resource) -> Row:
    spec = database.spec
    labels = format_labels(nodes.all_labels(database))
    return (database.name, str(spec.get("protocol") or ""), str(spec.get("uri") or ""), labels)


def _database_server_row(server: Resource) -> Row:
    spec = _section(server.spec, "database", "spec")
    return (
        str(server.spec.get("hostname") or ""),
        database_servers.database_name(server),
        str(_section(spec, "protocol") or ""),
        str(_section(spec, "uri") or ""),
        format_labels(server.metadata.labels),
        str(_section(server.status, "target_health", "status") or "unknown"),
        str(server.spec.get("version") or ""),
    )


def _authority_row(authority: Resource) -> Row:
    rotation = authority.spec.get("rotation")
    phase = _section(rotation, "phase") or _section(rotation, "state") or "standby"
    return (authority.name, authority.sub_kind, str(phase))


def _lock_row(lock: Resource) -> Row:
    target = lock.spec.get("target") or {}
    expires = lock.spec.get("expires") or _moment(lock)
    return (lock.name, format_labels(target), str(lock.spec.get("message") or ""), str(expires))


def _session_row(session: Resource) -> Row:
    spec = session.spec
    people = [str(_section(each, "user") or "") for each in spec.get("participants") or ()]
    return (
        session.name,
        str(spec.get("kind") or "ssh"),
        str(spec.get("hostname") or ""),
        str(spec.get("login") or ""),
        ",".join(people) or str(spec.get("host_user") or ""),
        str(spec.get("state") or ""),
    )


def _semaphore_row(semaphore: Resource) -> Row:
    leases = semaphore.spec.get("leases") or ()
    holders = ",".join(str(_section(each, "holder") or "") for each in leases)
    return (semaphore.sub_kind, semaphore.name, str(len(leases)), holders)


def _instance_row(instance: Resource) -> Row:
    spec = instance.spec
    return (
        instance.name,
        str(spec.get("hostname") or ""),
        ",".join(map(str, spec.get("services") or ())),
        str(spec.get("version") or ""),
        str(spec.get("external_upgrader") or ""),
        str(spec.get("external_upgrader_version") or ""),
    )


def _mode_row(config: Resource) -> Row:
    return (str(config.spec.get("mode") or "node"), str(config.spec.get("proxy_checks_host_keys", True)).lower())


def _networking_row(config: Resource) -> Row:
    parsed = clusters.Networking.parse(config)
    return (str(config.spec.get("client_idle_timeout") or "never"), parsed.proxy_listener_mode, parsed.routing_strategy)


def _server_row(server: Resource) -> Row:
    spec = server.spec
    address = ",".join(map(str, spec.get("public_addrs") or ())) or str(spec.get("addr") or "")
    return (str(spec.get("hostname") or ""), server.name, address, str(spec.get("version") or ""))


def _preference_row(config: Resource) -> Row:
    preference = clusters.AuthPreference.parse(config)
    return (preference.type, ",".join(preference.second_factors), preference.locking_mode)


def _cluster_row(name: Resource) -> Row:
    return (str(name.spec.get("cluster_name") or ""), str(name.spec.get("cluster_id") or ""))


KINDS: tuple[Described, ...] = (
    Described(
        name="role",
        aliases=("roles",),
        version="v7",
        validate=Role.parse,
        columns=("Role", "Allowed to login as", "Node Labels", "Access to resources"),
        row=_role_row,
    ),
    Described(
        name=users.KIND,
        aliases=("users",),
        validate=users.User.parse,
        columns=("User", "Roles"),
        row=_user_row,
        public=_public_user,
    ),
    Described(
        name=tokens.KIND,
        aliases=("tokens",),
        validate=tokens.Token.parse,
        columns=("Token", "Type", "Labels", "Expiry Time (UTC)"),
        row=_token_row,
        public=_masked_token,
    ),
    Described(
        name=nodes.KIND,
        aliases=("nodes", "server", "servers"),
        validate=nodes.Node.parse,
        columns=("Host", "UUID", "Public Address", "Labels", "Version"),
        row=_node_row,
    ),
    Described(
        name=databases.KIND,
        aliases=("dbs", "database", "databases"),
        version=databases.VERSION,
        validate=databases.Database.parse,
        columns=("Name", "Protocol", "URI", "Labels"),
        row=_database_row,
    ),
    Described(
        name=database_servers.SERVER_KIND,
        aliases=("db_servers", "dbservers"),
        version=databases.VERSION,
        validate=database_servers.DatabaseServer.parse,
        columns=("Host", "Name", "Protocol", "URI", "Labels", "Health", "Version"),
        row=_database_server_row,
        made_by_people=False,
    ),
    Described(
        name=authorities.KIND,
        aliases=("cert_authorities", "ca", "cas"),
        validate=authorities.check,
        columns=("Cluster Name", "CA Type", "Rotation"),
        row=_authority_row,
        public=authorities.public_half,
        made_by_people=False,
    ),
    Described(
        name=locks.KIND,
        aliases=("locks",),
        validate=locks.Lock.parse,
        columns=("ID", "Target", "Message", "Expires"),
        row=_lock_row,
    ),
    Described(
        name=clusters.AUTH_PREFERENCE,
        aliases=("cluster_auth_preferences", "cap", "cluster-auth-preference"),
        singleton=clusters.SINGLETONS[clusters.AUTH_PREFERENCE],
        validate=clusters.AuthPreference.parse,
        columns=("Type", "Second Factors", "Locking Mode"),
        row=_preference_row,
    ),
    Described(
        name=clusters.NETWORKING,
        aliases=("netconfig", "networking_config", "cluster-networking-config"),
        singleton=clusters.SINGLETONS[clusters.NETWORKING],
        validate=clusters.Networking.parse,
        columns=("Client Idle Timeout", "Listener Mode", "Routing"),
        row=_networking_row,
    ),
    Described(
        name=clusters.RECORDING,
        aliases=("recconfig", "recording_config", "session-recording-config"),
        singleton=clusters.SINGLETONS[clusters.RECORDING],
        validate=clusters.Recording.parse,
        columns=("Mode", "Proxy Checks Host Keys"),
        row=_mode_row,
    ),
    Described(
        name=clusters.NAME,
        aliases=("cluster-name",),
        singleton=clusters.SINGLETONS[clusters.NAME],
        validate=clusters.ClusterName.parse,
        columns=("Cluster", "ID"),
        row=_cluster_row,
        made_by_people=False,
    ),
    Described(
        name=sessions.KIND,
        aliases=("session_trackers", "sessions"),
        version="v1",
        validate=sessions.Session.parse,
        columns=("ID", "Kind", "Hostname", "Login", "Participants", "State"),
        row=_session_row,
        made_by_people=False,
    ),
    Described(
        name=semaphores.KIND,
        aliases=("semaphores", "sem", "sems"),
        version="v3",
        validate=semaphores.Semaphore.parse,
        columns=("Kind", "Name", "Leases", "Holders"),
        row=_semaphore_row,
        made_by_people=False,
    ),
    Described(
        name=instances.KIND,
        aliases=("instances",),
        version="v1",
        validate=instances.Instance.parse,
        columns=("Server ID", "Hostname", "Services", "Agent Version", "Upgrader", "Upgrader Version"),
        row=_instance_row,
        made_by_people=False,
    ),
    Described(
        name=servers.PROXY,
        aliases=("proxies",),
        validate=servers.Server.parse,
        columns=("Host", "UUID", "Public Address", "Version"),
        row=_server_row,
        made_by_people=False,
    ),
    Described(
        name=servers.AUTH,
        aliases=("auth_servers", "auth"),
        validate=servers.Server.parse,
        columns=("Host", "UUID", "Address", "Version"),
        row=_server_row,
        made_by_people=False,
    ),
)

_BY_WORD = {word: kind for kind in KINDS for word in (kind.name, *kind.aliases)}


def lookup(word: str) -> Described:
    """
    @param word: a kind or one of its aliases, any case.
    @raise TeleportError: BAD_PARAMETER, there is no such kind.
    """
    kind = _BY_WORD.get(word.strip().lower())
    if kind is None:
        known = ", ".join(sorted(each.name for each in KINDS))
        raise bad_parameter(f"{word!r} is not a kind of resource; there are {known}")
    return kind


def validate(resource: Resource) -> None:
    """
    @raise TeleportError: BAD_PARAMETER, the kind is unknown, or every wrong key named.
    """
    kind = lookup(resource.kind)
    if resource.kind != kind.name:
        raise bad_parameter(f"kind must be {kind.name}, not {resource.kind!r}")
    kind.validate(resource)


def without_secrets(resource: Resource) -> Resource:
    """
    @return: as those may see it who may not read secrets; unknown kinds come without spec.
    """
    kind = _BY_WORD.get(resource.kind)
    return evolve(resource, spec={}) if kind is None else kind.public(resource)
