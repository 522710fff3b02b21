"""
What a verified certificate says of its holder.

L{teleport_tw.pki.x509}, by way of L{teleport_tw.pki.subject}, and L{teleport_tw.pki.sshcert} turn a certificate they
verified into one L{Identity}; nothing else reads names, extensions or subject attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from attrs import field, frozen


class SystemRole(Enum):
    """
    What a host may be in the cluster; the value is what tokens, certificates and events show.
    """

    AUTH = "Auth"
    PROXY = "Proxy"
    NODE = "Node"
    APP = "App"
    DB = "Db"
    KUBE = "Kube"
    WINDOWS_DESKTOP = "WindowsDesktop"
    DISCOVERY = "Discovery"
    BOT = "Bot"
    ADMIN = "Admin"
    INSTANCE = "Instance"


@frozen(kw_only=True)
class RouteToDatabase:
    """
    The database a certificate was issued for.
    """

    service: str
    protocol: str = ""
    username: str = ""
    database: str = ""
    roles: tuple[str, ...] = ()


@frozen(kw_only=True)
class Identity:
    """
    A verified who: a user, or a host of the cluster.

    @ivar username: the user's name; for a host, C{<uuid>.<cluster>}.
    @ivar cluster: the cluster whose authority signed.
    @ivar system_roles: empty for users; what a host may do.
    @ivar roles: the user's role names at the time of issue.
    @ivar traits: the user's traits at the time of issue.
    @ivar principals: logins (SSH user certificate, or L of the X.509 subject) or host names.
    @ivar expires: aware UTC, the certificate's end.
    @ivar previous_identity_expires: the end of the certificate this one was derived from.
    @ivar mfa_device: UUID of the device of a per-session MFA check; empty without one.
    @ivar usage: what the certificate is restricted to; empty means no restriction.
    @ivar pinned_ip: the only address it may be used from; empty means any.
    """

    username: str
    cluster: str = ""
    system_roles: tuple[SystemRole, ...] = ()
    roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    principals: tuple[str, ...] = ()
    valid_after: datetime | None = None
    expires: datetime | None = None
    previous_identity_expires: datetime | None = None
    route_to_cluster: str = ""
    mfa_device: str = ""
    login_ip: str = ""
    pinned_ip: str = ""
    impersonator: str = ""
    disallow_reissue: bool = False
    renewable: bool = False
    generation: int = 0
    bot_name: str = ""
    bot_instance: str = ""
    active_requests: tuple[str, ...] = ()
    allowed_resources: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    private_key_policy: str = "none"
    permit_port_forwarding: bool = False
    permit_agent_forwarding: bool = False
    permit_x11_forwarding: bool = False
    permit_pty: bool = False
    database: RouteToDatabase | None = None
    kubernetes_groups: tuple[str, ...] = ()
    kubernetes_users: tuple[str, ...] = ()
    kubernetes_cluster: str = ""
    db_names: tuple[str, ...] = ()
    db_users: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(factory=dict)

    @property
    def is_host(self) -> bool:
        """
        Whether this is a service of the cluster and not a person or bot.
        """
        return bool(self.system_roles)

    @property
    def host_id(self) -> str:
        """
        The host's UUID; empty for users.
        """
        return self.username.partition(".")[0] if self.is_host else ""
