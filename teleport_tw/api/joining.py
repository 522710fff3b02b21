"""
Joining as JSON over HTTP: C{POST /webapi/host/credentials}.

A host that has no certificate yet cannot speak gRPC here, so it joins with one small request, at the proxy's web
port or at auth's own. Both ends of it, and both places that serve it, use the functions of this module.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from teleport_tw.api.ceremonies import system_role
from teleport_tw.api.contract import Certificates, JoinRequest, PublicKeys
from teleport_tw.api.convert import json_from_text
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.resources.metadata import Json, Resource

PATH = "/webapi/host/credentials"
ALPN = "teleport-join"
"""Offered to auth's own port by a host that has no certificate."""
MAX_REQUEST = 64 * 1024
"""Bytes; keys and a dozen names take two thousand."""
MAX_NAMES = 64
"""Addresses in one request."""

STATUS: Mapping[Kind, int] = {
    Kind.NOT_FOUND: 404,
    Kind.ALREADY_EXISTS: 409,
    Kind.BAD_PARAMETER: 400,
    Kind.ACCESS_DENIED: 403,
    Kind.COMPARE_FAILED: 412,
    Kind.LIMIT_EXCEEDED: 429,
    Kind.CONNECTION_PROBLEM: 503,
    Kind.NOT_IMPLEMENTED: 501,
    Kind.INTERNAL: 500,
}
"""Our kinds as HTTP statuses."""

_KINDS = {status: kind for kind, status in STATUS.items()}


def request_to_json(request: JoinRequest) -> bytes:
    """
    @return: the body, token in the clear: send it over TLS only.
    """
    return json.dumps(
        {
            "token": request.token.reveal(),
            "role": request.role.value,
            "host_id": request.host_id,
            "node_name": request.node_name,
            "public_ssh_key": request.keys.ssh.decode("ascii", "replace"),
            "public_tls_key": base64.b64encode(request.keys.tls).decode("ascii"),
            "additional_principals": list(request.addresses),
        }
    ).encode()


def request_from_json(body: bytes, remote_address: str) -> JoinRequest:
    """
    @param remote_address: the peer's address without port, as the server saw it.
    @raise TeleportError: BAD_PARAMETER, naming what is wrong.
    """
    if len(body) > MAX_REQUEST:
        raise bad_parameter(f"the request is longer than {MAX_REQUEST} bytes")
    try:
        value = json_from_text(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise bad_parameter("the request is not UTF-8") from error
    names = value.get("additional_principals") or []
    if not isinstance(names, list) or len(names) > MAX_NAMES or not all(isinstance(name, str) for name in names):
        raise bad_parameter(f"additional_principals must be a list of at most {MAX_NAMES} strings")
    return JoinRequest(
        token=Secret(_text(value, "token")),
        role=system_role(_text(value, "role")),
        host_id=_text(value, "host_id"),
        node_name=_text(value, "node_name"),
        keys=PublicKeys(ssh=_text(value, "public_ssh_key").encode(), tls=_base64(value, "public_tls_key")),
        addresses=tuple(names),
        remote_address=remote_address,
    )


def answer_to_json(certificates: Certificates) -> bytes:
    """
    @return: the body of the answer.
    """
    return json.dumps(
        {
            "ssh": base64.b64encode(certificates.ssh).decode("ascii"),
            "tls": base64.b64encode(certificates.tls).decode("ascii"),
            "cert_authorities": [authority.to_json() for authority in certificates.authorities],
            "host_id": certificates.host_id,
            "cluster_name": certificates.cluster,
        }
    ).encode()


def answer_from_json(status: int, body: bytes) -> Certificates:
    """
    @param status: of the HTTP answer.
    @raise TeleportError: what the server said; CONNECTION_PROBLEM when it did not speak as it should.
    """
    try:
        value = json_from_text(body.decode("utf-8", "replace"))
        if status != 200:
            raise _refusal(status, value)
        authorities = value.get("cert_authorities") or []
        return Certificates(
            ssh=_base64(value, "ssh"),
            tls=_base64(value, "tls"),
            authorities=tuple(Resource.from_json(authority) for authority in authorities),
            host_id=_text(value, "host_id"),
            cluster=_text(value, "cluster_name"),
        )
    except TeleportError as error:
        if status != 200 and error.kind is not Kind.BAD_PARAMETER:
            raise
        if status == 400:
            raise
        raise TeleportError(
            Kind.CONNECTION_PROBLEM, f"the server's answer (HTTP {status}) is not one to a join request: {error}"
        ) from error


def answered(status: int, body: bytes) -> Json:
    """
    @return: the object that the server answered with.
    @raise TeleportError: what it said instead; CONNECTION_PROBLEM when it did not speak as it should.
    """
    try:
        value = json_from_text(body.decode("utf-8", "replace"))
    except TeleportError as error:
        raise TeleportError(
            Kind.CONNECTION_PROBLEM, f"the server's answer (HTTP {status}) cannot be read: {error}"
        ) from error
    if status != 200:
        raise _refusal(status, value)
    return value


def error_to_json(error: TeleportError) -> bytes:
    """
    @return: the body in the web API's form; details stay here.
    """
    return json.dumps({"error": {"message": error.message}}).encode()


def _refusal(status: int, value: Mapping[str, Any]) -> TeleportError:
    error = value.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return TeleportError(_KINDS.get(status, Kind.INTERNAL), str(message or f"HTTP {status}"))


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key) or ""
    if not isinstance(found, str):
        raise bad_parameter(f"{key} must be a string")
    return found


def _base64(value: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(_text(value, key), validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_parameter(f"{key} must be base64") from error
