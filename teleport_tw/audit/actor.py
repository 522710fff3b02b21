"""
What an event tells of a verified identity.
"""

from __future__ import annotations

from typing import Any

from teleport_tw.base.timing import format_time
from teleport_tw.events.kinds import Actor
from teleport_tw.pki.identity import Identity


def actor_of(identity: Identity, login: str = "") -> Actor:
    """
    @param login: the account on the server, where there is one.
    """
    kind = "system" if identity.is_host else "bot" if identity.bot_name else "human"
    return Actor(
        user=identity.username,
        login=login,
        impersonator=identity.impersonator,
        roles=identity.roles,
        traits=identity.traits,
        kind=kind,
        access_requests=identity.active_requests,
        bot_name=identity.bot_name,
        bot_instance=identity.bot_instance,
        cluster=identity.cluster,
    )


def identity_fields(identity: Identity) -> dict[str, Any]:
    """
    @return: the C{identity} of a C{cert.create} event, names as in the reference, empty ones left out.
    """
    found: dict[str, Any] = {
        "user": identity.username,
        "impersonator": identity.impersonator,
        "roles": list(identity.roles),
        "usage": list(identity.usage),
        "logins": list(identity.principals),
        "expires": format_time(identity.expires) if identity.expires else "",
        "route_to_cluster": identity.route_to_cluster,
        "traits": {name: list(values) for name, values in identity.traits.items()},
        "teleport_cluster": identity.cluster,
        "client_ip": identity.login_ip,
        "pinned_ip": identity.pinned_ip,
        "mfa_device_uuid": identity.mfa_device,
        "access_requests": list(identity.active_requests),
        "disallow_reissue": identity.disallow_reissue,
        "bot_name": identity.bot_name,
        "private_key_policy": identity.private_key_policy,
    }
    route = identity.database
    if route is not None:
        found["route_to_database"] = {
            "service_name": route.service,
            "protocol": route.protocol,
            "username": route.username,
            "database": route.database,
            "roles": list(route.roles),
        }
    return {name: value for name, value in found.items() if value}
