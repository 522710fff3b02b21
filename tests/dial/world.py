"""
A user's identity, and a proxy's port that says what a test wants.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from teleport_tw.api.streams import Prefixed, StreamHeader, decode_header
from teleport_tw.base.net.endpoints import TLSServer
from teleport_tw.base.timing import utc_now
from teleport_tw.dial.identity import DIAL, ClientIdentity
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import Authority, AuthorityType, create
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.pki.trust import bundle, known_hosts, server_context

CLUSTER = "example.com"
NOW = utc_now()
KEYSTORE = SoftwareKeystore()
HOST_CA = create(AuthorityType.HOST, CLUSTER, KEYSTORE, NOW)
USER_CA = create(AuthorityType.USER, CLUSTER, KEYSTORE, NOW)
STRANGER = create(AuthorityType.HOST, CLUSTER, KEYSTORE, NOW)
"""Another cluster's, of the same name."""

KEY = PrivateKey.generate_tls()
SSH_KEY = PrivateKey.generate_ssh()
UUID = "6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0001"


def host(role: SystemRole) -> Identity:
    """A host of the cluster."""
    return Identity(
        username=f"{UUID}.{CLUSTER}", cluster=CLUSTER, system_roles=(role,), expires=NOW + timedelta(hours=1)
    )


def host_blob(*names: str, authority: Authority = HOST_CA, identity: Identity | None = None) -> bytes:
    """An SSH host certificate."""
    issuer = sshcert.Issuer.of(authority, KEYSTORE)
    who = identity or host(SystemRole.NODE)
    return sshcert.issue_host(issuer, who, SSH_KEY.ssh_public, now=NOW, names=names)


def client_identity(authority: Authority = HOST_CA) -> ClientIdentity:
    """Alice, who believes C{authority}."""
    alice = Identity(username="alice", cluster=CLUSTER, principals=("root",), expires=NOW + timedelta(hours=1))
    certificate = x509.issue_user(x509.Issuer.of(USER_CA, KEYSTORE), alice, KEY.spki, now=NOW)
    blob = sshcert.issue_user(sshcert.Issuer.of(USER_CA, KEYSTORE), alice, SSH_KEY.ssh_public, now=NOW)
    return ClientIdentity(
        username="alice",
        cluster=CLUSTER,
        ssh_key=SSH_KEY.openssh_pem(),
        ssh_certificate=sshcert.line(blob),
        tls_key=KEY.pem(),
        tls_certificate=x509.to_pem(certificate),
        tls_authorities=bundle([authority]),
        known_hosts=known_hosts(authority),
    )


class Door(Protocol):
    """
    Reads a header, answers with given bytes, and echoes.
    """

    def __init__(self, answer: bytes, seen: list[StreamHeader]) -> None:
        self._answer = answer
        self._seen = seen
        self._prefixed = Prefixed()
        self._open = False

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        if self._open:
            transport.write(data)
            return
        body = self._prefixed.feed(data)
        if body is not None:
            self._open = True
            self._seen.append(decode_header(body))
            transport.write(self._answer)


async def listen(
    add_cleanup: Callable[..., Any],
    answer: bytes,
    seen: list[StreamHeader],
    *,
    role: SystemRole = SystemRole.PROXY,
    authority: Authority = HOST_CA,
) -> int:
    """
    @return: the port of a proxy, or of who pretends to be one.
    """
    folder = tempfile.TemporaryDirectory()
    add_cleanup(folder.cleanup)
    certificate, key = Path(folder.name) / "crt", Path(folder.name) / "key"
    issuer = x509.Issuer.of(authority, KEYSTORE)
    certificate.write_bytes(x509.to_pem(x509.issue_host(issuer, host(role), KEY.spki, now=NOW, names=("localhost",))))
    key.write_bytes(KEY.pem().reveal())
    context: ssl.SSLContext = server_context(
        certificate, key, client_authorities=[USER_CA], require_client=True, alpn=(DIAL,)
    )
    factory = Factory.forProtocol(lambda: Door(answer, seen))  # type: ignore[arg-type]  # makes a Protocol
    port: Any = await TLSServer(reactor, "127.0.0.1", 0, context).listen(factory)  # type: ignore[arg-type]
    add_cleanup(port.stopListening)
    return int(port.getHost().port)
