"""
Certificate authorities by name: what they are called and where their private halves sit in the spec.

The keys themselves are read by L{teleport_tw.pki.authority}.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve

from teleport_tw.resources.fields import Fields
from teleport_tw.resources.metadata import Json, Resource

KIND = "cert_authority"
VERSION = "v2"

TYPES = frozenset(
    {
        "host", "user", "db", "db_client", "openssh", "jwt", "saml_idp", "oidc_idp", "spiffe", "okta", "awsra",
        "bound_keypair",
    }
)  # fmt: skip
"""Also the sub_kind."""

KEY_SETS = ("active_keys", "additional_trusted_keys")
PRIVATE = {"ssh": "private_key", "tls": "key", "jwt": "private_key"}
"""Sort of key to the member that holds its private half."""


def check(resource: Resource) -> None:
    """
    @raise TeleportError: BAD_PARAMETER; the type is unknown or differs from the sub_kind.
    """
    spec = Fields.of(resource, KIND)
    type_ = spec.text("type", resource.sub_kind, among=TYPES)
    if resource.sub_kind not in TYPES or type_ != resource.sub_kind:
        spec.wrong.append(f"sub_kind must be the authority's type, one of {', '.join(sorted(TYPES))}")
    spec.done(resource)


def public_half(resource: Resource) -> Resource:
    """
    @return: the authority without anything private.
    """
    spec: dict[str, Any] = dict(resource.spec)
    for name in KEY_SETS:
        if isinstance(spec.get(name), dict):
            spec[name] = {sort: _public_keys(sort, keys) for sort, keys in spec[name].items()}
    return evolve(resource, spec=spec)


def is_private(resource: Resource) -> bool:
    """
    @return: whether any private half is in it.
    """
    return public_half(resource).spec != resource.spec


def _public_keys(sort: str, keys: Any) -> Any:
    if not isinstance(keys, list | tuple):
        return keys
    hidden = {PRIVATE.get(sort, "private_key"), "private_key", "key"}
    return [_without(key, hidden) for key in keys]


def _without(key: Json, hidden: set[str]) -> Json:
    return {name: value for name, value in key.items() if name not in hidden} if isinstance(key, dict) else key
