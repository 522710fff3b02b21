"""
The proxy's web port as programs use it before they have certificates: find, sign in, join.

Blocking, on the standard library alone: a command line that signs in needs no reactor, and a service calls it in a
thread. Whom to believe is one of three: the machine's own authorities, pins of the cluster's authority, or, for
tests, anybody.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from attrs import frozen

from teleport_tw import __version__
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter

MAX_ANSWER_BYTES = 10 * 1024 * 1024
TIMEOUT_SECONDS = 30.0

MEMBERS = ("Proxy", "Auth")
"""Roles of those who are asked with a pin."""

_PIN = re.compile(r"sha256:[0-9a-f]{64}")


@frozen
class WebClient:
    """
    One proxy.

    @ivar context: says whom to believe.
    @ivar roles: one of which the server's certificate must have; empty for a certificate from outside the cluster.
    """

    host: str
    port: int
    context: ssl.SSLContext
    roles: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """
        C{host:port}.
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, timeout: float = TIMEOUT_SECONDS
    ) -> tuple[int, bytes]:
        """
        One request on a connection of its own.

        @param timeout: seconds for each step, among them the wait for the answer.
        @return: status and body.
        @raise TeleportError: CONNECTION_PROBLEM, with what to do about it.
        """
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=timeout)
        headers = {"User-Agent": f"teleport_tw/{__version__}", "Content-Type": "application/json"}
        try:
            connection.connect()
            self._check_role(connection.sock)
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"the certificate of {self.address} is not to be trusted: {error.verify_message}. For a cluster with a "
                "certificate of its own, give --ca-pin (tctl status shows it); --insecure is for tests only",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"cannot reach the proxy at {self.address}: {reason}"
            ) from error
        finally:
            connection.close()
        if len(content) > MAX_ANSWER_BYTES:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"{self.address} answered with more than is reasonable")
        return answer.status, content

    def _check_role(self, connection: ssl.SSLSocket) -> None:
        """
        Every host of the cluster has a certificate of its authority, with names that it chose; so a name is not enough.
        """
        shown_subject: Any = (connection.getpeercert() or {}).get("subject", ())
        shown = [value for part in shown_subject for name, value in part if name == "organizationName"]
        if self.roles and not set(shown) & set(self.roles):
            raise TeleportError(
                Kind.ACCESS_DENIED,
                f"{self.address} is a host of the cluster, but neither proxy nor auth: somebody is in between",
                details=f"wrong role: its certificate says {shown!r}",
            )

    def get(self, path: str) -> dict[str, Any]:
        """
        @return: the JSON object at C{path}.
        @raise TeleportError: CONNECTION_PROBLEM, also when it is no proxy that answers.
        """
        status, content = self.ask("GET", path)
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if status != 200 or not isinstance(value, dict):
            said = value.get("error", {}).get("message") if isinstance(value, dict) else ""
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"{self.address} does not answer as a proxy does (HTTP {status}) {said}".rstrip(),
            )
        return value

    def find(self) -> dict[str, Any]:
        """
        @return: C{/webapi/find}: the cluster's name and the proxy's addresses.
        """
        return self.get("/webapi/find")

    def ping(self) -> dict[str, Any]:
        """
        @return: C{/webapi/ping}: the same and how to sign in.
        """
        return self.get("/webapi/ping")

    def authority(self, cluster: str) -> bytes:
        """
        @return: PEM, the certificates of the cluster's host authority.
        """
        status, content = self.ask("GET", f"/webapi/sites/{quote(cluster, safe='')}/auth/export?type=tls-host")
        if status != 200:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"{self.address} does not tell its authority (HTTP {status})")
        return content


def system_trust() -> ssl.SSLContext:
    """
    @return: believes the machine's own authorities (C{SSL_CERT_FILE}).
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def no_trust() -> ssl.SSLContext:
    """
    @return: believes anybody: C{--insecure}.
    """
    context = system_trust()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trust_in(authorities: bytes) -> ssl.SSLContext:
    """
    @param authorities: PEM; nobody else is believed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise bad_parameter(f"not a list of PEM certificates: {error}") from error
    return context


def speaking(context: ssl.SSLContext, alpn: Sequence[str]) -> ssl.SSLContext:
    """
    @param alpn: application protocols; empty for none.
    @return: the same context.
    """
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def pinned(host: str, port: int, pins: Sequence[str], *, alpn: Sequence[str] = ()) -> WebClient:
    """
    Fetch the cluster's authority from whoever answers, and believe it only when it has one of the pins.

    @param pins: C{sha256:<hex>} of the authority's public key (SubjectPublicKeyInfo).
    @param alpn: C{teleport-join} at auth's own port; none at a proxy.
    @return: a client that believes that authority and nobody else; the name is checked too.
    @raise TeleportError: ACCESS_DENIED, none of the certificates has a pinned key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from teleport_tw.pki import trust  # not needed, and not loaded, where the machine's own authorities do

    wanted = {pin.strip().lower() for pin in pins}
    if not wanted or not all(_PIN.fullmatch(pin) for pin in wanted):
        raise bad_parameter("a CA pin is sha256: and 64 hexadecimal digits, as `tctl status` shows it")
    stranger = WebClient(host, port, speaking(no_trust(), alpn))
    authorities = stranger.authority(str(stranger.find().get("cluster_name", "")))
    roots = trust.read_bundle(authorities)
    good = b"".join(root.public_bytes(Encoding.PEM) for root in roots if trust.pin(root) in wanted)
    if not good:
        raise TeleportError(
            Kind.ACCESS_DENIED,
            f"the authority of {stranger.address} has none of the pinned keys: this is another cluster, or somebody in "
            "between. `tctl status` on the auth host shows the right pin",
        )
    return WebClient(host, port, speaking(trust_in(good), alpn), MEMBERS)
