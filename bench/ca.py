"""
How fast certificates are issued: pairs of one SSH and one TLS certificate for a user.

First the work itself, turn by turn: the bare signatures (the floor that no implementation goes below), the cryptography
library's own certificate builders, and ours. Then the whole way, beside the bare signatures again: gRPC over mutual TLS
to an auth in a process of its own, with permission, roles, locks and audit as ever, several calls under way; and a call
that does nothing, which shows what of that is gRPC.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from attrs import evolve
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_der_public_key,
)
from twisted.internet.defer import Deferred, gatherResults

from bench.harness import Row, by_turns
from teleport_tw.base.loop import install
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import AuthorityType, create
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import PrivateKey, native_public
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.pki.subject import user_attributes

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
    attributes = user_attributes(identity, "example.com")
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
        another = evolve(identity)  # so that nothing is remembered of the one before
        sshcert.issue_user(ssh, another, ssh_subject.ssh_public, now=NOW)
        x509.issue_user(tls, another, tls_subject.spki, now=NOW)

    return pair


CALLS = 16
"""Under way at once."""
USERS = 50
"""Whose certificates are asked for, one after the other."""

_SERVER = """
import sys
from teleport_tw.base.loop import install
reactor = install()
from twisted.internet import reactor as clock
from teleport_tw.auth.service import make_auth_service
from teleport_tw.base.tasks import Threads
from teleport_tw.config import sections
threads = Threads(clock, clock.getThreadPool())
auth = make_auth_service(
    sections.Teleport(data_dir=sys.argv[1]),
    sections.AuthService(cluster_name="example.com", listen_addr="127.0.0.1:0"),
    reactor=clock, threads=threads,
)
def start():
    auth.startService()
    auth.ready().addCallbacks(lambda _: print("ready", flush=True), lambda failure: (print(failure), clock.stop()))
clock.callWhenRunning(start)
clock.addSystemEventTrigger("before", "shutdown", auth.stopService)
clock.run()
"""


async def _measure(directory: Path, count: int, rounds: int) -> dict[str, list[float]]:
    from teleport_tw.api.admin import connect_admin
    from teleport_tw.api.contract import IssueRequest, PublicKeys
    from teleport_tw.pki.keys import spki_pem
    from teleport_tw.protocols.ssh import keys as ssh_keys
    from teleport_tw.resources.metadata import Metadata, Resource

    api = connect_admin(directory)
    for number in range(USERS):
        spec = {"roles": ["access"], "traits": {"logins": ["root", f"user{number}"]}}
        await api.create(Resource("user", "v2", Metadata(f"user{number}"), spec))
    ssh, tls = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
    keys = PublicKeys(ssh=ssh_keys.format_line(ssh.ssh_public).encode(), tls=spki_pem(tls.public))
    requests = [IssueRequest(keys=keys, username=f"user{number}") for number in range(USERS)]

    async def ask(call: Callable[[int], Awaitable[object]], times: int) -> None:
        for number in range(times):
            await call(number)

    async def rate(call: Callable[[int], Awaitable[object]]) -> float:
        started = perf_counter()
        await gatherResults([Deferred.fromCoroutine(ask(call, count // CALLS)) for _ in range(CALLS)])
        return count // CALLS * CALLS / (perf_counter() - started)

    rates: dict[str, list[float]] = {"ours": [], "bare signatures": [], "empty call": []}
    pair = bare(bytes(600))
    for _ in range(rounds):
        rates["ours"].append(await rate(lambda number: api.issue(requests[number % USERS])))
        rates["empty call"].append(await rate(lambda number: api.ping()))
        rates["bare signatures"].append(timed(pair, count))
    await api.close()
    return rates


def through_api(count: int, rounds: int) -> dict[str, list[float]]:
    """
    @return: pairs (or calls) a second of each contender and round.
    """
    reactor = install()
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert server.stdout is not None
            if server.stdout.readline().strip() != "ready":
                raise RuntimeError("auth did not start")

            def begin() -> None:
                work = Deferred.fromCoroutine(_measure(Path(directory), count, rounds))
                work.addCallback(rates.update)
                work.addErrback(lambda failure: failure.printTraceback())
                work.addBoth(lambda _: reactor.stop())  # type: ignore[func-returns-value]

            reactor.callWhenRunning(begin)
            reactor.run()
        finally:
            server.terminate()
            server.wait(30)
    if not rates:
        raise RuntimeError("auth did not answer")
    return rates


def timed(pair: Callable[[], None], count: int) -> float:
    """
    @return: times a second.
    """
    started = perf_counter()
    for _ in range(count):
        pair()
    return count / (perf_counter() - started)


def run(quick: bool) -> list[Row]:
    """
    @param quick: a smoke run.
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
        "ours": ours(identity, *subjects),
        "library's builders": builders(identity, *subjects),
        "bare signatures": bare(bytes(600)),
    }
    count, rounds = (20, 3) if quick else (500, 7)
    signed = by_turns({name: lambda pair=pair: timed(pair, count) for name, pair in ways.items()}, rounds)  # type: ignore[misc]
    asked = through_api(64 if quick else 1600, 2 if quick else 5)
    return [
        Row("an SSH and an X.509 certificate made", "pairs/s", signed),
        Row("the same asked of auth over gRPC", "pairs/s", asked),
    ]
