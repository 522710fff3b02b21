"""
A cluster's authorities and people, for the tests of this room.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import evolve

from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import Authority, AuthorityType, create
from teleport_tw.pki.identity import Identity, RouteToDatabase, SystemRole
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.keystore import SoftwareKeystore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLUSTER = "example.com"
HOST_ID = "6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0001"

KEYSTORE = SoftwareKeystore()
USER_CA = create(AuthorityType.USER, CLUSTER, KEYSTORE, NOW)
HOST_CA = create(AuthorityType.HOST, CLUSTER, KEYSTORE, NOW)
OPENSSH_CA = create(AuthorityType.OPENSSH, CLUSTER, KEYSTORE, NOW)
STRANGER = create(AuthorityType.USER, CLUSTER, KEYSTORE, NOW)
"""Another cluster's user authority, of the same name."""

TRUSTED: tuple[Authority, ...] = (HOST_CA.public(), USER_CA.public())

SSH_KEY = PrivateKey.generate_ssh()
TLS_KEY = PrivateKey.generate_tls()

ALICE = Identity(
    username="alice",
    cluster=CLUSTER,
    roles=("access", "editor"),
    traits={"logins": ("root", "alice"), "empty": ()},
    principals=("root", "alice"),
    valid_after=NOW - MINUTE,
    expires=NOW + timedelta(hours=12),
    previous_identity_expires=NOW + timedelta(hours=13),
    route_to_cluster="leaf",
    mfa_device="5a0e3c1e-0000-4000-8000-000000000001",
    login_ip="192.0.2.1",
    pinned_ip="192.0.2.7",
    impersonator="bob",
    disallow_reissue=True,
    renewable=True,
    generation=7,
    bot_name="deploy",
    bot_instance="one",
    active_requests=("11111111-0000-4000-8000-000000000001",),
    allowed_resources=("/example.com/node/a",),
    private_key_policy="hardware_key",
)
ALICE_SSH = evolve(
    ALICE,
    permit_pty=True,
    permit_port_forwarding=True,
    permit_agent_forwarding=True,
    permit_x11_forwarding=True,
    extensions={"login@github.com": "alice", "flag@example.com": ""},
)
ALICE_TLS = evolve(
    ALICE,
    usage=("usage:db",),
    kubernetes_users=("alice",),
    kubernetes_groups=("dev", "ops"),
    kubernetes_cluster="k8s",
    db_names=("*",),
    db_users=("reader",),
    database=RouteToDatabase(service="pg", protocol="postgres", username="reader", database="app", roles=("r1", "r2")),
)
NODE = Identity(
    username=f"{HOST_ID}.{CLUSTER}",
    cluster=CLUSTER,
    system_roles=(SystemRole.NODE, SystemRole.DB),
    valid_after=NOW - MINUTE,
    expires=NOW + timedelta(days=1),
)


def ssh_user(identity: Identity = ALICE_SSH, authority: Authority = USER_CA, cert_format: str = "standard") -> bytes:
    """A user's SSH certificate blob."""
    issuer = sshcert.Issuer.of(authority, KEYSTORE)
    return sshcert.issue_user(issuer, identity, SSH_KEY.ssh_public, now=NOW, cert_format=cert_format)


def ssh_host(identity: Identity = NODE, authority: Authority = HOST_CA, names: tuple[str, ...] = ("node-1",)) -> bytes:
    """A host's SSH certificate blob."""
    issuer = sshcert.Issuer.of(authority, KEYSTORE)
    return sshcert.issue_host(issuer, identity, SSH_KEY.ssh_public, now=NOW, names=names)


def tls_user(identity: Identity = ALICE_TLS, authority: Authority = USER_CA) -> bytes:
    """A user's TLS certificate, DER."""
    return x509.issue_user(x509.Issuer.of(authority, KEYSTORE), identity, TLS_KEY.spki, now=NOW)


def tls_host(
    identity: Identity = NODE, authority: Authority = HOST_CA, names: tuple[str, ...] = ("node-1", "127.0.0.1", "::1")
) -> bytes:
    """A host's TLS certificate, DER."""
    return x509.issue_host(x509.Issuer.of(authority, KEYSTORE), identity, TLS_KEY.spki, now=NOW, names=names)
