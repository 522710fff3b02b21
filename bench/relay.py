"""
Our relay and haproxy's TCP mode on one thread, in front of the same target: plain, and with TLS in front.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.harness import OURS, Row, cpu_seconds, free_port, load, part, program, several_by_turns, tool, wait_for_port

HAPROXY = """
global
    nbthread 1
    maxconn 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}{tls}
    default_backend back
backend back
    server target 127.0.0.1:{target}
"""


def run(quick: bool) -> list[Row]:
    """
    @return: answers a second and processor time for each, and the same for bulk.
    """
    seconds, rounds = (0.2, 1) if quick else (2.0, 5)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, part("target") as (_, ready):
        folder, target = Path(name), int(ready[1])
        certificate = _certificate(folder)
        for tls in (False, True):
            with ExitStack() as stack:
                contenders = {OURS: stack.enter_context(_ours(target, certificate if tls else None))}
                if tool("haproxy"):
                    contenders["haproxy"] = stack.enter_context(_haproxy(folder, target, certificate if tls else None))
                if not tls:
                    contenders["no relay"] = (target, None)
                for kind, connections in (("echo", 1), ("echo", 16), ("bulk", 1)):
                    rows += _measure(kind, connections, tls, contenders, certificate, seconds, rounds)
    return rows


def _measure(
    kind: str,
    connections: int,
    tls: bool,
    contenders: dict[str, tuple[int, int | None]],
    certificate: Path,
    seconds: float,
    rounds: int,
) -> list[Row]:
    def measure(port: int, pid: int | None) -> Callable[[], dict[str, float]]:
        def once() -> dict[str, float]:
            before = cpu_seconds(pid) if pid is not None else 0.0
            got = load(kind, port, seconds=seconds, connections=connections, ca=str(certificate) if tls else None)
            used = cpu_seconds(pid) - before if pid is not None else 0.0
            if kind == "echo":
                return {"answers/s": got["count"] / got["seconds"], "relay µs/answer": used / got["count"] * 1e6}
            return {
                "MB/s": got["bytes"] / got["seconds"] / 1e6,
                "relay ms/MB": used / got["bytes"] * 1e9,
            }

        return once

    found = several_by_turns({name: measure(*where) for name, where in contenders.items()}, rounds)
    way = "TLS in" if tls else "plain"
    case = f"{kind}, {connections} connection{'s' if connections > 1 else ''}, {way}"
    return [
        Row(
            case,
            unit,
            figures if unit.endswith("/s") else {name: f for name, f in figures.items() if name != "no relay"},
            more_is_better=unit.endswith("/s"),
        )
        for unit, figures in found.items()
    ]


@contextmanager
def _ours(target: int, certificate: Path | None) -> Iterator[tuple[int, int]]:
    arguments = [str(target)] if certificate is None else [str(target), str(certificate)]
    with part("relay", *arguments) as (running, ready):
        yield int(ready[1]), running.pid


@contextmanager
def _haproxy(folder: Path, target: int, certificate: Path | None) -> Iterator[tuple[int, int]]:
    port = free_port()
    tls = f" ssl crt {certificate}" if certificate is not None else ""
    file = folder / f"haproxy-{port}.cfg"
    file.write_text(HAPROXY.format(port=port, tls=tls, target=target))
    with program(tool("haproxy") or "haproxy", "-db", "-q", "-f", str(file)) as (running, _):
        wait_for_port(port)
        yield port, running.pid


def _certificate(folder: Path) -> Path:
    """
    @return: a file with a key and its own certificate, for C{localhost}.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    issued = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    file.write_bytes(
        issued.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file
