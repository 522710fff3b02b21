"""
Signing in as JSON over HTTP.

C{POST /webapi/ssh/certs} takes a password and a code, and both of its ends are here. Of C{/webapi/mfa/login/begin} and
C{finish}, where a security key may answer, and of C{/webapi/login/…}, where a browser approves, the client's end is.

The answer is that of L{teleport_tw.api.joining}: certificates and the authorities to trust.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import frozen

from teleport_tw.api.contract import Challenge, LoginRequest, MfaAnswer, PublicKeys
from teleport_tw.api.convert import json_from_text
from teleport_tw.api.joining import MAX_REQUEST, answered
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, format_duration, parse_duration, parse_time

PATH = "/webapi/ssh/certs"
BEGIN = "/webapi/mfa/login/begin"
FINISH = "/webapi/mfa/login/finish"
BROWSER = "/webapi/login/browser"
BROWSER_FINISH = "/webapi/login/browser/finish"
HEADLESS = "/webapi/login/headless"
HEADLESS_FINISH = "/webapi/login/headless/finish"


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


def beginning(username: str) -> bytes:
    """
    @param username: empty for whoever a passkey says it is.
    @return: the body of L{BEGIN}.
    """
    return json.dumps({"user": username} if username else {"passwordless": True}).encode()


def challenge_from_json(status: int, body: bytes) -> Challenge:
    """
    @raise TeleportError: what the server said; CONNECTION_PROBLEM when it did not speak as it should.
    """
    value = answered(status, body)
    webauthn = value.get("webauthn_challenge") or {}
    options = webauthn.get("publicKey") if isinstance(webauthn, Mapping) else None
    try:
        return Challenge(
            id=str(value["challenge_id"]),
            otp=value.get("totp_challenge") is True,
            webauthn=options if isinstance(options, Mapping) else None,
            expires=parse_time(str(value["expires"])),
        )
    except (KeyError, TeleportError) as error:
        raise TeleportError(Kind.CONNECTION_PROBLEM, f"the proxy's challenge cannot be read: {error}") from error


def finishing(request: LoginRequest) -> bytes:
    """
    @return: the body of L{FINISH}, password in the clear: send it over TLS only.
    """
    answer = request.answer or MfaAnswer()
    said = {
        "user": request.username,
        "password": request.password.reveal(),
        "ssh_pub_key": request.keys.ssh.decode("ascii", "replace"),
        "tls_pub_key": request.keys.tls.decode("ascii", "replace"),
        "ttl": format_duration(request.ttl) if request.ttl else "",
        "route_to_cluster": request.route_to_cluster,
        "challenge_id": answer.challenge,
        "webauthn_assertion_response": dict(answer.webauthn),
        "second_factor_token": answer.otp.reveal(),
        "recovery_code": answer.recovery.reveal(),
    }
    return json.dumps({key: value for key, value in said.items() if value}).encode()


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


@frozen
class Begun:
    """
    A sign-in that somebody is to approve.

    @ivar url: of the page, for the person.
    """

    id: str
    url: str


def begun_from_json(status: int, body: bytes) -> Begun:
    """
    @raise TeleportError: what the server said; CONNECTION_PROBLEM when it did not speak as it should.
    """
    value = answered(status, body)
    id, url = value.get("id"), value.get("url")
    if not isinstance(id, str) or not isinstance(url, str) or not url.startswith("https://"):
        raise TeleportError(Kind.CONNECTION_PROBLEM, "the proxy's answer cannot be read")
    return Begun(id, url)


def browser(keys: PublicKeys, challenge: str, ttl: Duration) -> bytes:
    """
    @param challenge: SHA-256 of the program's secret, base64url without padding.
    @return: the body of L{BROWSER}.
    """
    said = {**_keys(keys), "code_challenge": challenge}
    return json.dumps({**said, "ttl": format_duration(ttl)} if ttl else said).encode()


def browser_finish(id: str, code: Secret[str], verifier: Secret[str]) -> bytes:
    """
    @return: the body of L{BROWSER_FINISH}.
    """
    return json.dumps({"id": id, "code": code.reveal(), "code_verifier": verifier.reveal()}).encode()


def headless(username: str, keys: PublicKeys) -> bytes:
    """
    @return: the body of L{HEADLESS}.
    """
    return json.dumps({"user": username, **_keys(keys)}).encode()


def headless_finish(id: str) -> bytes:
    """
    @return: the body of L{HEADLESS_FINISH}, which is answered once the user was.
    """
    return json.dumps({"id": id}).encode()


def _keys(keys: PublicKeys) -> dict[str, str]:
    return {"ssh_pub_key": keys.ssh.decode("ascii", "replace"), "tls_pub_key": keys.tls.decode("ascii", "replace")}
