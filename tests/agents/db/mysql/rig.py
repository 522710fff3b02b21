"""
MariaDB behind the agent, for several modules of tests.
"""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest

from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.protocols.mysql.capabilities import Capability
from teleport_tw.protocols.mysql.handshake import encode_response, parse_greeting
from teleport_tw.protocols.mysql.messages import HandshakeResponse
from teleport_tw.protocols.mysql.wire import packets
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.mariadb import MariaDB
from tests.peers.process import found, shared

pymysql = pytest.importorskip("pymysql")

C = Capability
NOTHING = Capability(0)

MADE: set[str] = set()


def server() -> MariaDB:
    """
    One for all, with the accounts that the tests use.
    """
    peer = shared(MariaDB, "mysql")
    if not MADE:
        # a thread that is used again goes on counting prepared statements; every connection shall begin at one
        peer.sql("set global thread_cache_size = 0; create database app; create database other")
        peer.user("alice")
        MADE.add("alice")
    return peer


class ServerTestCase(DatabaseTestCase):
    """
    C{alice}, who may be C{alice} of the database.
    """

    async def there(self, *, engine: MySQLEngine | None = None, **listening: Any) -> int:
        """
        @return: the port that the user connects to.
        """
        self.role("access", allow={"db_users": ["alice"]})
        self.peer = server()
        await self.serve(engine or MySQLEngine(), "mysql", self.peer.port)
        return await self.listen(**listening)

    def affected(self, text: str) -> list[int]:
        """
        @return: rows of statements that begin so; the end of one that took a second is told of by itself.
        """
        ends = (*self.queries(), *self.sink.named("db.session.result"))
        return [
            each["affected_records"] for each in ends if each["db_query"][:256] == text and "affected_records" in each
        ]

    def mariadb(self, port: int, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """
        Run the native client.
        """
        command = [found("mariadb", "mariadb-client"), "--no-defaults", "-h127.0.0.1", f"-P{port}", "-ualice", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def connect(port: int, **more: Any) -> Any:
    """
    PyMySQL.
    """
    return pymysql.connect(**{"host": "127.0.0.1", "port": port, "user": "alice", "ssl_disabled": True, **more})


class Wire:
    """
    A client that says what it likes: bytes in and out, in a thread.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def read(self) -> tuple[int, bytes]:
        """
        @return: number and payload of a packet; -1 at the end.
        """
        head = self._exactly(4)
        return (head[3], self._exactly(int.from_bytes(head[:3], "little"))) if head else (-1, b"")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data

    def say(self, payload: bytes, sequence: int = 0) -> None:
        """
        One packet.
        """
        self.socket.sendall(packets(payload, sequence))

    def login(self, capabilities: Capability = NOTHING, *, sequence: int = 1, greeted: bool = True) -> bytes:
        """
        As alice.

        @return: the answer.
        """
        if greeted:
            self.greeting = parse_greeting(self.read()[1])
        taken = C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH | capabilities
        response = HandshakeResponse(capabilities=taken, username="alice", plugin="mysql_native_password")
        self.say(encode_response(response), sequence)
        return self.read()[1]

    def until_end(self) -> list[tuple[int, bytes]]:
        """
        @return: all packets.
        """
        found = []
        while True:
            number, payload = self.read()
            if number < 0:
                return found
            found.append((number, payload))

    def close(self) -> None:
        """
        At once.
        """
        self.socket.close()
