"""
A frozen section per service, as C{teleport.yaml} has them.

A room is handed its own section and never the whole. Addresses are text C{host:port}; zero durations mean never.

@see: reference, section 1
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

from attrs import field, frozen

from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration

DATA_DIR = "/var/lib/teleport"
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  # a service is there to be reached


class Recording(Enum):
    """
    Where sessions are recorded; C{…-sync} uploads while they run.
    """

    NODE = "node"
    NODE_SYNC = "node-sync"
    PROXY = "proxy"
    PROXY_SYNC = "proxy-sync"
    OFF = "off"


class ProxyProtocol(Enum):
    """
    Whether the PROXY protocol's header is required, refused, or taken where it is sent.
    """

    ON = "on"
    OFF = "off"
    UNSPECIFIED = ""


@frozen(kw_only=True)
class Join:
    """
    How a host proves that it belongs to the cluster, on its first start.

    @ivar token: the secret, or the token resource's name for delegated methods. A path was read already.
    """

    method: str = "token"
    token: Secret[str] = field(factory=lambda: Secret(""))
    azure_client_id: str = ""


@frozen(kw_only=True)
class Storage:
    """
    Where auth keeps its state.

    @ivar path: for SQLite; empty means C{backend} in the data directory.
    @ivar retention_period: how old events and recordings get; zero keeps them for ever.
    @ivar options: what belongs to one driver alone, as written.
    """

    type: str = "sqlite"
    path: str = ""
    sync: str = "FULL"
    journal: str = "WAL"
    conn_string: Secret[str] = field(factory=lambda: Secret(""))
    audit_events_uri: tuple[str, ...] = ()
    audit_sessions_uri: str = ""
    retention_period: Duration = NEVER
    options: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Log:
    """
    @ivar output: C{stdout}, C{stderr}, C{syslog} or a path.
    @ivar format: C{text} or C{json}.
    """

    output: str = "stderr"
    severity: str = "INFO"
    format: str = "text"
    fields: tuple[str, ...] = ("timestamp", "component", "caller", "level")


@frozen(kw_only=True)
class Teleport:
    """
    What all services share.

    @ivar nodename: empty means the system's host name.
    @ivar auth_servers: addresses of auth, where it is joined directly.
    @ivar proxy_server: the proxy's address, where the cluster is joined through it.
    @ivar diag_addr: empty means off.
    """

    nodename: str = ""
    data_dir: str = DATA_DIR
    pid_file: str = ""
    join: Join = field(factory=Join)
    ca_pins: tuple[str, ...] = ()
    advertise_ip: str = ""
    diag_addr: str = ""
    auth_servers: tuple[str, ...] = ()
    proxy_server: str = ""
    relay_server: str = ""
    cache_enabled: bool = True
    shutdown_delay: Duration = NEVER
    max_connections: int = 15000
    retry_limit: Duration = timedelta(seconds=90)
    log: Log = field(factory=Log)
    ciphers: tuple[str, ...] = ()
    kex_algos: tuple[str, ...] = ()
    mac_algos: tuple[str, ...] = ()
    ciphersuites: tuple[str, ...] = ()
    storage: Storage = field(factory=Storage)


@frozen(kw_only=True)
class Authentication:
    """
    How people sign in.

    @ivar require_session_mfa: C{no}, C{yes}, C{hardware_key}, …
    @ivar mfa_grace: how long one tap covers further sessions; ours.
    @ivar webauthn_rp_id: empty for the proxy's public host name.
    """

    type: str = "local"
    local_auth: bool = True
    second_factors: tuple[str, ...] = ("otp",)
    require_session_mfa: str = "no"
    mfa_grace: Duration = timedelta(minutes=5)
    passwordless: bool | None = None
    headless: bool | None = None
    connector_name: str = "local"
    webauthn_rp_id: str = ""
    attestation_allowed_cas: tuple[str, ...] = ()
    attestation_denied_cas: tuple[str, ...] = ()
    locking_mode: str = "best_effort"
    device_trust_mode: str = "off"
    device_trust_auto_enroll: bool = False
    default_session_ttl: Duration = timedelta(hours=12)
    signature_algorithm_suite: str = "balanced-v1"


@frozen(kw_only=True)
class StaticToken:
    """
    One of C{auth_service.tokens}.

    @ivar roles: as written: C{node}, C{proxy}, …
    """

    roles: tuple[str, ...]
    token: Secret[str]


@frozen(kw_only=True)
class AuthService:
    """
    The auth service.

    @ivar cluster_name: empty means made from the host name at the first start.
    """

    enabled: bool = True
    cluster_name: str = ""
    listen_addr: str = f"{ALL_ADDRESSES}:3025"
    public_addr: tuple[str, ...] = ()
    proxy_protocol: ProxyProtocol = ProxyProtocol.UNSPECIFIED
    tokens: tuple[StaticToken, ...] = ()
    session_recording: Recording = Recording.NODE
    proxy_checks_host_keys: bool = True
    client_idle_timeout: Duration = NEVER
    client_idle_timeout_message: str = ""
    web_idle_timeout: Duration = timedelta(minutes=10)
    disconnect_expired_cert: bool = False
    keep_alive_interval: Duration = timedelta(minutes=5)
    keep_alive_count_max: int = 3
    ssh_dial_timeout: Duration = timedelta(seconds=30)
    session_control_timeout: Duration = timedelta(minutes=2)
    routing_strategy: str = "unambiguous_match"
    proxy_listener_mode: str = "multiplex"
    tunnel_strategy: str = "agent_mesh"
    agent_connection_count: int = 1
    message_of_the_day: str = ""
    load_all_cas: bool = False
    case_insensitive_routing: bool = False
    authentication: Authentication = field(factory=Authentication)
    written: frozenset[str] = frozenset()
    """The keys that stood in the file: what they say wins over the stored cluster configuration."""


@frozen
class KeyPair:
    """
    Paths of a PEM key and certificate chain.
    """

    key_file: str
    cert_file: str


@frozen(kw_only=True)
class ProxyService:
    """
    The proxy. An empty listener is closed; everything is then reached through C{web_listen_addr}.

    @ivar mysql_server_version: what a MySQL client is greeted with before it is known which server it wants.
    """

    enabled: bool = True
    web_listen_addr: str = f"{ALL_ADDRESSES}:3080"
    listen_addr: str = ""
    tunnel_listen_addr: str = ""
    peer_listen_addr: str = f"{ALL_ADDRESSES}:3021"
    kube_listen_addr: str = ""
    mysql_listen_addr: str = ""
    postgres_listen_addr: str = ""
    mongo_listen_addr: str = ""
    redis_listen_addr: str = ""
    public_addr: tuple[str, ...] = ()
    ssh_public_addr: tuple[str, ...] = ()
    tunnel_public_addr: tuple[str, ...] = ()
    kube_public_addr: tuple[str, ...] = ()
    mysql_public_addr: tuple[str, ...] = ()
    postgres_public_addr: tuple[str, ...] = ()
    mongo_public_addr: tuple[str, ...] = ()
    redis_public_addr: tuple[str, ...] = ()
    mysql_server_version: str = "8.0.0-Teleport"
    https_keypairs: tuple[KeyPair, ...] = ()
    https_keypairs_reload_interval: Duration = NEVER
    acme_enabled: bool = False
    acme_email: str = ""
    proxy_protocol: ProxyProtocol = ProxyProtocol.UNSPECIFIED
    trust_x_forwarded_for: bool = False
    scrollback_lines: int = 1000
    show_resources: str = "requestable"
    workers: int = 1


@frozen(kw_only=True)
class CommandLabel:
    """
    A label whose value is what a command prints.

    @ivar command: the program and its arguments.
    """

    name: str
    command: tuple[str, ...]
    period: Duration = timedelta(minutes=1)


@frozen(kw_only=True)
class EnhancedRecording:
    """
    The kernel's own record of commands, disk and network; buffers in pages.
    """

    enabled: bool = False
    command_buffer_size: int = 8
    disk_buffer_size: int = 128
    network_buffer_size: int = 8
    cgroup_path: str = "/cgroup2"
    root_path: str = "/teleport"


@frozen(kw_only=True)
class Pam:
    """
    Pluggable authentication modules round each session.
    """

    enabled: bool = False
    service_name: str = "sshd"
    use_pam_auth: bool = False
    environment: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class X11:
    """
    X11 forwarding; displays from C{display_offset} to C{max_display}.
    """

    enabled: bool = False
    display_offset: int = 10
    max_display: int = 1010


@frozen(kw_only=True)
class SSHService:
    """
    The SSH agent.
    """

    enabled: bool = True
    listen_addr: str = f"{ALL_ADDRESSES}:3022"
    public_addr: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    commands: tuple[CommandLabel, ...] = ()
    permit_user_env: bool = False
    disable_create_host_user: bool = False
    force_listen: bool = False
    port_forwarding: bool = True
    ssh_file_copy: bool = True
    enhanced_recording: EnhancedRecording = field(factory=EnhancedRecording)
    pam: Pam = field(factory=Pam)
    x11: X11 = field(factory=X11)
    workers: int = 1


class RecordParameters(Enum):
    """
    What becomes of the parameters of statements in audit events and recordings.
    """

    FULL = "full"
    MASKED = "masked"
    OFF = "off"


@frozen(kw_only=True)
class DatabaseTarget:
    """
    One of C{db_service.databases}.

    @ivar spec: as the C{spec} of a C{db} resource has it, files read.
    """

    name: str
    description: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    spec: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class ResourceMatcher:
    """
    Which dynamic resources an agent serves.

    @ivar labels: name to the values of which one must be there; C{*} is any.
    """

    labels: Mapping[str, tuple[str, ...]] = field(factory=dict)


@frozen(kw_only=True)
class DbService:
    """
    The database agent.

    @ivar databases: served because they stand in the file.
    @ivar resources: dynamic C{db} resources are served when one of these chooses them.
    @ivar password_dir: an absolute path, where C{database/user} is a file with the password of a database user; empty
        for none.
    """

    enabled: bool = False
    databases: tuple[DatabaseTarget, ...] = ()
    resources: tuple[ResourceMatcher, ...] = ()
    record_parameters: RecordParameters = RecordParameters.FULL
    password_dir: str = ""


@frozen(kw_only=True)
class Configuration:
    """
    A whole file; each service is handed its own part by the daemon alone.

    @ivar version: C{v1}, C{v2} or C{v3}.
    @ivar unserved: services that are switched on in the file and that this version does not run yet.
    """

    version: str = "v3"
    teleport: Teleport = field(factory=Teleport)
    auth: AuthService = field(factory=AuthService)
    proxy: ProxyService = field(factory=ProxyService)
    ssh: SSHService = field(factory=SSHService)
    db: DbService = field(factory=DbService)
    debug_enabled: bool = True
    unserved: tuple[str, ...] = ()
