"""
Resources as stored bytes: compact JSON without name, revision and expiry, which the item itself carries.
"""

from __future__ import annotations

import json
from typing import Any

from teleport_tw.backends.interface import MAX_VALUE_BYTES, Item
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.resources.metadata import Metadata, Resource

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode


def encode(resource: Resource) -> bytes:
    """
    @raise TeleportError: BAD_PARAMETER, it is too large or holds what JSON cannot.
    """
    metadata: dict[str, Any] = {}
    if resource.metadata.description:
        metadata["description"] = resource.metadata.description
    if resource.metadata.labels:
        metadata["labels"] = dict(resource.metadata.labels)
    value: dict[str, Any] = {"v": resource.version, "m": metadata, "s": resource.spec}
    if resource.sub_kind:
        value["k"] = resource.sub_kind
    if resource.status:
        value["t"] = resource.status
    try:
        octets = _encode(value).encode()
    except (ValueError, RecursionError) as error:
        raise bad_parameter(f"{resource.kind} {resource.name!r} cannot be stored: {error}") from error
    if len(octets) > MAX_VALUE_BYTES:
        raise bad_parameter(f"{resource.kind} {resource.name!r} has {len(octets)} bytes, the most is {MAX_VALUE_BYTES}")
    return octets


def decode(item: Item) -> Resource:
    """
    @raise TeleportError: INTERNAL, these are not bytes that L{encode} made.
    """
    try:
        value = json.loads(item.value)
        metadata = value["m"]
        return Resource(
            kind=item.key[1],
            version=value["v"],
            sub_kind=value.get("k", ""),
            metadata=Metadata(
                name=item.key[-1],
                description=metadata.get("description", ""),
                labels=metadata.get("labels", {}),
                expires=item.expires,
                revision=str(item.revision),
            ),
            spec=value["s"],
            status=value.get("t", {}),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TeleportError(
            Kind.INTERNAL, f"the stored {'/'.join(item.key[1:])} is damaged", details=repr(error)
        ) from error


def spec_of(item: Item) -> dict[str, Any]:
    """
    @return: C{spec} alone, for putting many in an order.
    @raise TeleportError: INTERNAL, as for L{decode}.
    """
    try:
        spec: dict[str, Any] = json.loads(item.value)["s"]
    except (ValueError, LookupError, TypeError):
        return dict(decode(item).spec)  # says what is wrong
    return spec
