"""
How fast certificates are signed: pairs of one SSH and one TLS certificate for a user.

Three ways, turn by turn in one call: the bare signatures (the floor that no implementation goes below), the
cryptography library's own certificate builders, and ours.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_der_public_key,
)

from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import AuthorityType, create
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import PrivateKey, native_public
from teleport_tw.pki.keystore import SoftwareKeystore

NOW = datetime.now(UTC).replace(microsecond=0)
END = NOW + timedelta(hours=12)


def bare(message: bytes) -> Callable[[], None]:
    """Two signatures over as many bytes as a certificate has, and nothing else."""
    ssh, tls = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())

    def pair() -> None:
        ssh.sign(message)
        tls.sign(message, algorithm)

    return pair


def builders(identity: Identity, ssh_subject: PrivateKey, tls_subject: PrivateKey) -> Callable[[], None]:
    """The library's builders, with the same names, times and kinds of extension as ours."""
    ssh, tls = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    issuer = library.Name([library.NameAttribute(library.NameOID.COMMON_NAME, "example.com")])
    known = library.SubjectKeyIdentifier.from_public_key(tls.public_key())
    extensions: tuple[tuple[library.ExtensionType, bool], ...] = (
        (library.KeyUsage(True, False, False, False, False, False, False, False, False), True),
        (library.BasicConstraints(False, None), True),
        (library.ExtendedKeyUsage([library.ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (library.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), False),
    )
    attributes = x509._attributes(identity, "example.com")
    said = sshcert._extensions(identity)

    def pair() -> None:
        subject_key = native_public(ssh_subject.ssh_public)
        builder = (
            SSHCertificateBuilder()
            .public_key(subject_key)  # type: ignore[arg-type] # an Ed25519 key
            .serial(library.random_serial_number() >> 96)
            .type(SSHCertificateType.USER)
            .key_id(identity.username.encode())
            .valid_principals([login.encode() for login in identity.principals])
            .valid_after(int(NOW.timestamp()))
            .valid_before(int(END.timestamp()))
        )
        for name, value in said.items():
            builder = builder.add_extension(name.encode(), value.encode())
        builder.sign(ssh).public_bytes()
        names = [library.NameAttribute(library.ObjectIdentifier(dotted), text) for dotted, text in attributes]
        tls_builder = (
            library.CertificateBuilder()
            .subject_name(library.Name(names))
            .issuer_name(issuer)
            .public_key(load_der_public_key(tls_subject.spki))  # type: ignore[arg-type] # an ECDSA key
            .serial_number(library.random_serial_number())
            .not_valid_before(NOW)
            .not_valid_after(END)
        )
        for extension, critical in extensions:
            tls_builder = tls_builder.add_extension(extension, critical)
        tls_builder.sign(tls, hashes.SHA256()).public_bytes(Encoding.DER)

    return pair


def ours(identity: Identity, ssh_subject: PrivateKey, tls_subject: PrivateKey) -> Callable[[], None]:
    """What auth does for each login, from keys parsed already to finished certificates."""
    keystore = SoftwareKeystore()
    authority = create(AuthorityType.USER, "example.com", keystore, NOW)
    ssh, tls = sshcert.Issuer.of(authority, keystore), x509.Issuer.of(authority, keystore)

    def pair() -> None:
        sshcert.issue_user(ssh, identity, ssh_subject.ssh_public, now=NOW)
        x509.issue_user(tls, identity, tls_subject.spki, now=NOW)

    return pair


def run(quick: bool) -> dict[str, float]:
    """
    @param quick: a smoke run.
    @return: median pairs a second of each way.
    """
    identity = Identity(
        username="alice",
        cluster="example.com",
        roles=("access", "editor"),
        traits={"logins": ("root", "alice")},
        principals=("root", "alice"),
        expires=END,
        login_ip="192.0.2.1",
        permit_pty=True,
    )
    subjects = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
    ways = {
        "signatures": bare(bytes(600)),
        "builders": builders(identity, *subjects),
        "ours": ours(identity, *subjects),
    }
    count, rounds = (20, 3) if quick else (500, 7)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, pair in ways.items():
            started = perf_counter()
            for _ in range(count):
                pair()
            rates[name].append(count / (perf_counter() - started))
    medians = {name: median(found) for name, found in rates.items()}
    for name, rate in medians.items():
        print(f"{name:12} {rate:8.0f} pairs/s  {rate / medians['signatures']:5.2f} of bare signatures")
    return medians


if __name__ == "__main__":
    run(quick=False)
