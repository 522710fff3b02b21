"""
The same questions asked of a server directly and by way of us, and the answers compared byte for byte.

A battery is a list of L{Step}s; L{differences} runs it on two connections, step by step, and says where they differ.
What may differ (process ids, salts, times) is masked by the protocol's own L{Side}.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field, frozen

from tests.peers.certificates import authorities

PATIENCE = 60.0
SHOWN = 300


@frozen
class Step:
    """
    Something to say, and how many answers to wait for.

    @ivar name: of the test that fails.
    @ivar octets: as they go out; what depends on the connection is made from it.
    @ivar answers: how many L{Side.ends} are waited for.
    """

    name: str
    octets: bytes | Callable[[Side], bytes]
    answers: int = 1


@define(eq=False)
class Side:
    """
    One connection; a protocol's own says where its messages end.

    @ivar facts: that the connection has learned, such as its key.
    """

    socket: socket.socket
    facts: dict[str, bytes] = field(factory=dict)
    _buffer: bytearray = field(factory=bytearray, init=False)

    def cut(self, buffer: bytearray) -> bytes | None:
        """
        @return: the first message of C{buffer}, taken out; C{None} where it is not whole.
        """
        raise NotImplementedError

    def ends(self, message: bytes) -> bool:
        """
        @return: whether a message is the last of an answer.
        """
        raise NotImplementedError

    def masked(self, message: bytes) -> bytes:
        """
        @return: the message without what differs from connection to connection.
        """
        return message

    def ask(self, step: Step) -> list[bytes]:
        """
        @return: what was answered; the last is empty where the connection ended.
        """
        octets = step.octets if isinstance(step.octets, bytes) else step.octets(self)
        self.socket.sendall(octets)
        found: list[bytes] = []
        wanted = step.answers
        while wanted:
            message = self.message()
            found.append(self.masked(message))
            if not message:
                break
            wanted -= self.ends(message)
        return found

    def message(self) -> bytes:
        """
        @return: the next; empty at the end.
        """
        while (message := self.cut(self._buffer)) is None:
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                return b""
            self._buffer += data
        return message

    def close(self) -> None:
        """
        At once.
        """
        self.socket.close()


def plain(port: int) -> socket.socket:
    """
    @return: connected, as users come to the port of a test's agent.
    """
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def encrypted(connection: socket.socket, user: str) -> ssl.SSLSocket:
    """
    @return: TLS with the certificate of a database's user, as our agents come to the server.
    """
    with tempfile.TemporaryDirectory() as folder:
        certificate, key, servers = authorities().client(user).written(Path(folder))
        context = ssl.create_default_context(cafile=str(servers))
        context.load_cert_chain(certificate, key)
    return context.wrap_socket(connection, server_hostname="localhost")


def differences(direct: Side, through: Side, battery: Sequence[Step]) -> list[str]:
    """
    @return: a line for each step whose answers are not the same; one connection has all its steps before the other.
    """
    found = []
    answers = [[side.ask(step) for step in battery] for side in (direct, through)]
    for step, wanted, got in zip(battery, *answers, strict=True):
        if wanted != got:
            found.append(f"{step.name}: directly {_shown(wanted, got)}, by way of us {_shown(got, wanted)}")
    return found


def _shown(one: list[bytes], other: list[bytes]) -> str:
    at = next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    if at >= len(one):
        return f"{len(one)} messages"
    return f"message {at} is {one[at][:SHOWN]!r}"
