"""
The reverse tunnel: bulk and echo through a link, beside haproxy with TLS; what idle links cost; and how long many take
to come back.

Ours is a proxy and an agent, one process each, with the TLS of the link between them. haproxy stands there once as the
same chain, two processes with TLS between them, and once as a single relay to which the client itself speaks TLS.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.harness import OURS, Row, free_port, load, part, program, several_by_turns, tool, wait_for_port
from bench.relay import HAPROXY, _certificate


def run(quick: bool) -> list[Row]:
    """
    @return: throughput, echo rate, memory for each idle link, and seconds until all are back.
    """
    seconds, rounds, links = (0.2, 1, 100) if quick else (2.0, 5, 2000)
    with tempfile.TemporaryDirectory() as name:
        certificate = _certificate(Path(name))
        return _streams(Path(name), certificate, seconds, rounds) + _idle(certificate, links)


def _streams(folder: Path, certificate: Path, seconds: float, rounds: int) -> list[Row]:
    rows = []
    with part("target") as (_, ready), ExitStack() as stack:
        target = int(ready[1])
        contenders: dict[str, tuple[int, str | None]] = {OURS: (stack.enter_context(_chain(certificate, target)), None)}
        if tool("haproxy"):
            contenders["haproxy chain"] = (stack.enter_context(_haproxies(folder, target, certificate)), None)
            contenders["haproxy alone"] = (
                stack.enter_context(_haproxy(folder, target, f" ssl crt {certificate}")),
                str(certificate),
            )
        for kind, connections in (("bulk", 1), ("bulk", 4), ("echo", 1), ("echo", 16)):
            measures = {name: _load(kind, connections, port, ca, seconds) for name, (port, ca) in contenders.items()}
            for unit, figures in several_by_turns(measures, rounds).items():
                rows.append(Row(f"{kind}, {connections} streams", unit, figures))
    return rows


def _load(kind: str, connections: int, port: int, ca: str | None, seconds: float) -> Callable[[], dict[str, float]]:
    def measure() -> dict[str, float]:
        got = load(kind, port, seconds=seconds, connections=connections, ca=ca)
        if kind == "echo":
            return {"answers/s": got["count"] / got["seconds"]}
        return {"MB/s": got["bytes"] / got["seconds"] / 1e6}

    return measure


def _idle(certificate: Path, count: int) -> list[Row]:
    """
    Memory for each idle link in the proxy and in the agents' process, and the time until all are back once cut.
    """
    with _proxy(certificate) as (proxy, ports), _agent(certificate, ports[0], 9, count) as agents:
        before = [_resident(pid) for pid in (proxy, agents)]
        with socket.create_connection(("127.0.0.1", ports[2])) as admin:
            first = _until(admin, count)
            after = [_resident(pid) for pid in (proxy, agents)]
            admin.sendall(b"drop\n")
            again = _until(admin, count, down=True)
    kib = [(late - early) / count / 1024 for early, late in zip(before, after, strict=True)]
    figures = {"memory of the proxy, KiB/link": kib[0], "memory of the agents, KiB/link": kib[1],
               "until all are there, s": first, "until all are back, s": again}  # fmt: skip
    return [
        Row(f"{count} idle links, {what}", unit, {OURS: [value]}, more_is_better=False)
        for (what, unit), value in ((name.rsplit(", ", 1), value) for name, value in figures.items())
    ]


def _until(admin: socket.socket, count: int, seconds: float = 240, *, down: bool = False) -> float:
    """
    @param down: they must have been fewer first.
    @return: seconds until so many links stand.
    """
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        admin.sendall(b"count\n")
        standing = int(admin.recv(64))
        if standing < count:
            down = False
        elif not down:
            return time.perf_counter() - started
        time.sleep(0.05)
    raise RuntimeError("the links did not come")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _role(*arguments: str) -> Iterator[tuple[int, list[int]]]:
    command = (sys.executable, "-m", "bench.tunnel", *arguments)
    with program(*command, ready=r"^ready(.*)$") as (running, match):
        assert match is not None
        yield running.pid, [int(port) for port in match[1].split()]


def _proxy(certificate: Path) -> Any:
    return _role("proxy", str(certificate))


@contextmanager
def _agent(certificate: Path, port: int, target: int, count: int) -> Iterator[int]:
    with _role("agent", str(certificate), str(port), str(target), str(count)) as (pid, _):
        yield pid


@contextmanager
def _chain(certificate: Path, target: int) -> Iterator[int]:
    with _proxy(certificate) as (_, ports), _agent(certificate, ports[0], target, 1):
        with socket.create_connection(("127.0.0.1", ports[2])) as admin:
            _until(admin, 1)
        yield ports[1]


@contextmanager
def _haproxy(folder: Path, target: int, tls: str, to: str = "") -> Iterator[int]:
    """
    @param tls: what stands behind C{bind}.
    @param to: what stands behind the target's address.
    """
    port = free_port()
    file = folder / f"haproxy-{port}.cfg"
    file.write_text(HAPROXY.format(port=port, tls=tls, target=f"{target}{to}"))
    with program(tool("haproxy") or "haproxy", "-db", "-q", "-f", str(file)):
        wait_for_port(port)
        yield port


@contextmanager
def _haproxies(folder: Path, target: int, certificate: Path) -> Iterator[int]:
    with (
        _haproxy(folder, target, f" ssl crt {certificate}") as agent,
        _haproxy(folder, agent, "", f" ssl verify required ca-file {certificate}") as proxy,
    ):
        yield proxy


# --- the two processes of ours -----------------------------------------------------------------------------------


def proxy(certificate: str) -> None:
    """
    Take links by TLS, join each connection to the front port with a stream of the first agent, and answer questions.
    """
    from itertools import count
    from ssl import PROTOCOL_TLS_SERVER, SSLContext

    from teleport_tw.base.loop import install

    reactor = install()
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Factory, Protocol

    from teleport_tw.api.streams import StreamHeader
    from teleport_tw.base.net.endpoints import TCPServer, TLSServer
    from teleport_tw.base.relay import join
    from teleport_tw.pki.identity import Identity, SystemRole
    from teleport_tw.tunnel.registry import Registry

    numbers = count()
    header = StreamHeader(target_kind="node", target_name="0")
    registry = Registry(
        reactor, lambda transport: Identity(username=f"{next(numbers)}.bench", system_roles=(SystemRole.NODE,))
    )

    class Front(Protocol):
        def connectionMade(self) -> None:
            self.transport.pauseProducing()
            Deferred.fromCoroutine(self.reach())

        async def reach(self) -> None:
            back = await registry.endpoint("0", header).connect(Factory.forProtocol(Protocol))
            await join(self.transport, back.transport)

    class Admin(Protocol):
        def dataReceived(self, data: bytes) -> None:
            for question in data.splitlines():
                if question == b"drop":
                    for link in tuple(registry._links):
                        link.abort()
                else:
                    self.transport.write(b"%d\n" % len(registry.agents()))

    async def start() -> None:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening = [
            await server.listen(factory)
            for server, factory in (
                (TLSServer(reactor, "127.0.0.1", 0, context, backlog=4096), registry),
                (TCPServer(reactor, "127.0.0.1", 0), Factory.forProtocol(Front)),
                (TCPServer(reactor, "127.0.0.1", 0), Factory.forProtocol(Admin)),
            )
        ]
        print("ready", *(port.getHost().port for port in listening), flush=True)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
    reactor.run()


def agent(certificate: str, port: str, target: str, count: str) -> None:
    """
    Link to the proxy, so many times, and join each stream to the target.
    """
    from ssl import create_default_context

    from teleport_tw.base.loop import install

    reactor = install()
    from twisted.internet.protocol import Factory, Protocol

    from teleport_tw.base.net.endpoints import TCPClient, TLSClient
    from teleport_tw.base.relay import join
    from teleport_tw.tunnel.dialer import Dialer
    from teleport_tw.tunnel.endpoints import Receptionist

    class Joined(Protocol):
        def __init__(self, back: Any) -> None:
            self.back = back

        def connectionMade(self) -> None:
            join(self.transport, self.back)

    async def accept(header: Any, stream: Any) -> Joined:
        back = await TCPClient(reactor, "127.0.0.1", int(target)).connect(Factory.forProtocol(Protocol))
        back.transport.pauseProducing()
        return Joined(back.transport)

    context = create_default_context(cafile=certificate)
    receptionist = Receptionist(accept, reactor)
    endpoint = TLSClient(reactor, "127.0.0.1", int(port), context, server_hostname="localhost")
    dialers = [Dialer(str(number), endpoint, reactor, receptionist) for number in range(int(count))]

    def start() -> None:
        print("ready", flush=True)
        for dialer in dialers:
            reactor.callLater(1, dialer.start)

    reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    {"proxy": proxy, "agent": agent}[sys.argv[1]](*sys.argv[2:])
