"""
How fast certificates are issued through auth's API: pairs of one SSH and one TLS certificate, over gRPC and mutual TLS,
with permission, roles, locks and audit as ever, beside the bare signing speed of the library.

Auth runs in a process of its own, as it does in a cluster; the client asks with several calls under way.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from twisted.internet.defer import Deferred, gatherResults

from bench.harness import Row
from teleport_tw.base.loop import install

CALLS = 16
"""Under way at once."""

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


async def _measure(directory: Path, count: int, rounds: int) -> list[float]:
    from teleport_tw.api.admin import connect_admin
    from teleport_tw.api.contract import IssueRequest, PublicKeys
    from teleport_tw.pki.keys import PrivateKey, spki_pem
    from teleport_tw.protocols.ssh import keys as ssh_keys
    from teleport_tw.resources.metadata import Metadata, Resource

    api = connect_admin(directory)
    spec = {"roles": ["access"], "traits": {"logins": ["root", "alice"]}}
    await api.create(Resource("user", "v2", Metadata("alice"), spec))
    ssh, tls = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
    keys = PublicKeys(ssh=ssh_keys.format_line(ssh.ssh_public).encode(), tls=spki_pem(tls.public))
    request = IssueRequest(keys=keys, username="alice")

    async def ask(times: int) -> None:
        for _ in range(times):
            await api.issue(request)

    rates = []
    for _ in range(rounds):
        started = perf_counter()
        await gatherResults([Deferred.fromCoroutine(ask(count // CALLS)) for _ in range(CALLS)])
        rates.append(count // CALLS * CALLS / (perf_counter() - started))
    await api.close()
    return rates


def measure(count: int, rounds: int) -> list[float]:
    """
    @return: pairs a second of each round.
    """
    reactor = install()
    rates: list[float] = []
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
                work.addCallback(rates.extend)
                work.addErrback(lambda failure: failure.printTraceback())
                work.addBoth(lambda _: reactor.stop())  # type: ignore[func-returns-value]

            reactor.callWhenRunning(begin)
            reactor.run()
        finally:
            server.terminate()
            server.wait(30)
    return rates


def run(quick: bool) -> list[Row]:
    """
    @param quick: a smoke run.
    @return: pairs a second through the API, beside two bare signatures of the library.
    """
    from bench.ca import bare

    count, rounds = (64, 2) if quick else (1600, 5)
    pair = bare(bytes(600))
    floor = []
    for _ in range(rounds):
        started = perf_counter()
        for _ in range(count):
            pair()
        floor.append(count / (perf_counter() - started))
    through = measure(count, rounds)
    print(f"median through the API: {median(through):.0f} pairs/s")
    return [Row("user certificates, SSH and X.509 pair", "pairs/s", {"ours": through, "bare library": floor})]
