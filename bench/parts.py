"""
Small programs that benchmarks start: a target, a relay of ours, a load.

C{target}: answers what begins with C{e} with the same bytes, and C{b} with bytes without end.
C{relay PORT [CERTIFICATE]}: relays to PORT, with TLS in front where a certificate is given.
C{nodes FILE COUNT}: puts servers into an auth's store, while that does not run.
C{load KIND PORT SECONDS CONNECTIONS [CA]}: prints what it got as JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import uvloop

PIECE = b"b" * 262144
QUESTION = b"e" * 64


class Target(asyncio.Protocol):
    """
    Echoes, or sends without end.
    """

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.bulk = self.paused = False

    def data_received(self, data: bytes) -> None:
        if data[:1] == b"e":
            self.transport.write(data)
        elif not self.bulk:
            self.bulk = True
            self.more()

    def more(self) -> None:
        if self.transport.is_closing():
            return
        while not self.paused:
            self.transport.write(PIECE)
            if self.transport.is_closing():
                return

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.bulk:
            asyncio.get_running_loop().call_soon(self.more)


async def target() -> None:
    """
    Serve until ended.
    """
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


class Load(asyncio.Protocol):
    """
    One connection of a load.
    """

    def __init__(self, kind: str, total: dict[str, int]) -> None:
        self.echo, self.total, self.missing = kind == "echo", total, len(QUESTION)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(QUESTION if self.echo else b"b")

    def data_received(self, data: bytes) -> None:
        self.total["bytes"] += len(data)
        if self.echo:
            self.missing -= len(data)
            if not self.missing:
                self.missing = len(QUESTION)
                self.total["count"] += 1
                self.transport.write(QUESTION)


async def load(kind: str, port: str, seconds: str, connections: str, ca: str | None = None) -> None:
    """
    Keep all connections busy, then say what came.
    """
    loop = asyncio.get_running_loop()
    total = {"count": 0, "bytes": 0}
    context = ssl.create_default_context(cafile=ca) if ca is not None else None
    name = "localhost" if context is not None else None
    for _ in range(int(connections)):
        await loop.create_connection(
            lambda: Load(kind, total), "127.0.0.1", int(port), ssl=context, server_hostname=name
        )
    await asyncio.sleep(0.2)
    before, start = dict(total), time.perf_counter()
    await asyncio.sleep(float(seconds))
    passed = time.perf_counter() - start
    print(json.dumps({**{key: total[key] - before[key] for key in total}, "seconds": passed}))


def relay(port: str, certificate: str | None = None) -> None:
    """
    Ours.
    """
    from teleport_tw.base.loop import install

    reactor = install()
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Factory, Protocol

    from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSServer
    from teleport_tw.base.relay import join

    class Front(Protocol):
        def connectionMade(self) -> None:
            self.transport.pauseProducing()
            Deferred.fromCoroutine(self.reach())

        async def reach(self) -> None:
            back = await TCPClient(reactor, "127.0.0.1", int(port)).connect(Factory.forProtocol(Protocol))
            await join(self.transport, back.transport)

    async def start() -> None:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server: Any = TLSServer(reactor, "127.0.0.1", 0, context)
        else:
            server = TCPServer(reactor, "127.0.0.1", 0)
        listening = await server.listen(Factory.forProtocol(Front))
        print("ready", listening.getHost().port, flush=True)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
    reactor.run()


NODES_AT_ONCE = 64


def nodes(path: str, count: str) -> None:
    """
    A fleet.
    """
    from pathlib import Path

    from teleport_tw.base.loop import install

    reactor: Any = install()
    from twisted.internet.defer import Deferred, gatherResults

    from teleport_tw.backends.sqlite import open_sqlite
    from teleport_tw.resources.nodes import Node
    from teleport_tw.stores.resources import ResourceStore

    backend = open_sqlite(Path(path), reactor)
    store = ResourceStore(backend)

    async def lane(first: int) -> None:
        for number in range(first, int(count), NODES_AT_ONCE):
            labels = {"env": "prod" if number % 10 else "dev", "number": str(number)}
            node = Node(name=f"{number:08}", hostname=f"host-{number}", addr="10.0.0.1:22", labels=labels)
            await store.upsert(node.to_resource())

    async def fill() -> None:
        try:
            await gatherResults([Deferred.fromCoroutine(lane(first)) for first in range(NODES_AT_ONCE)])
            await backend.close()
        finally:
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(fill()))
    reactor.run()


def main() -> None:
    """
    Be one of them.
    """
    name, *arguments = sys.argv[1:]
    match name:
        case "target":
            uvloop.run(target())
        case "load":
            uvloop.run(load(*arguments))
        case "relay":
            relay(*arguments)
        case "nodes":
            nodes(*arguments)
        case _:
            raise SystemExit(f"no part named {name}")


if __name__ == "__main__":
    main()
