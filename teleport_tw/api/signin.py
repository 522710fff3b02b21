"""
Signing in as JSON over HTTP: C{POST /webapi/ssh/certs}; both ends of it.

The answer is that of L{teleport_tw.api.joining}: certificates and the authorities to trust.
"""

from __future__ import annotations

import json

from teleport_tw.api.contract import LoginRequest, PublicKeys
from teleport_tw.api.convert import json_from_text
from teleport_tw.api.joining import MAX_REQUEST
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, format_duration, parse_duration

PATH = "/webapi/ssh/certs"


def request_to_json(request: LoginRequest) -> bytes:
    """
    @return: the body, password in the clear: send it over TLS only.
    """
    return json.dumps(
        {
            "user": request.username,
            "password": request.password.reveal(),
            "otp_token": request.otp.reveal(),
            "ssh_pub_key": request.keys.ssh.decode("ascii", "replace"),
            "tls_pub_key": request.keys.tls.decode("ascii", "replace"),
            "ttl": format_duration(request.ttl),
            "route_to_cluster": request.route_to_cluster,
        }
    ).encode()


def request_from_json(body: bytes, *, remote_address: str, user_agent: str) -> LoginRequest:
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

    def text(key: str) -> str:
        found = value.get(key) or ""
        if not isinstance(found, str):
            raise bad_parameter(f"{key} must be a string")
        return found

    return LoginRequest(
        username=text("user"),
        password=Secret(text("password")),
        otp=Secret(text("otp_token")),
        keys=PublicKeys(ssh=text("ssh_pub_key").encode(), tls=text("tls_pub_key").encode()),
        ttl=parse_duration(text("ttl")) if text("ttl") else NEVER,
        route_to_cluster=text("route_to_cluster"),
        remote_address=remote_address,
        user_agent=user_agent[:512],
    )
