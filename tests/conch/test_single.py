"""
L{teleport_tw.conch.single}: one command, without Twisted, against our own server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.exchange import HostProof
from teleport_tw.conch.signatures import blob_of
from teleport_tw.conch.single import REKEY_BYTES, STDERR, STDOUT, WINDOW_BYTES, PersonNeededError, SingleCommand
from teleport_tw.conch.transport import ServerTransport
from teleport_tw.conch.userauth import LoginRules, MoreNeeded, Peer
from teleport_tw.protocols.ssh.wire import put_string, put_text, put_uint32
from tests.conch.pair import USER_KEY, Host, Recorder, lone_server


class Program(Recorder):
    """
    Notes what it was asked to run.
    """

    def request_env(self, payload: bytes) -> bool:
        self.log.append(("env", payload))
        return True

    def request_exec(self, payload: bytes) -> bool:
        self.log.append(("exec", payload))
        return b"forbidden" not in payload


class Meeting:
    """
    A command and a server, bytes carried by hand.
    """

    def __init__(
        self, command: bytes = b"true", *, verify: Callable[[HostProof], None] = lambda proof: None, **options: Any
    ) -> None:
        self.shown: list[str] = []
        self.host = Host(make=lambda request: Program())

        async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
            return self.host

        options.setdefault("rules", LoginRules(authenticate=authenticate))
        self.server: ServerTransport
        self.wire: StringTransport
        self.server, self.wire, self.clock = lone_server(**options)
        taking = self.wire.write
        self.wire.write = lambda data: taking(bytes(data))  # type: ignore[method-assign]  # packets are bytearrays
        self.command = SingleCommand(
            username="alice",
            key=USER_KEY,
            blob=blob_of(USER_KEY),
            verify=verify,
            command=command,
            variables={"LANG": "C"},
            show=self.shown.append,
        )
        self.command.begin()

    def carry(self, piece: int = 1 << 30) -> None:
        """
        Until neither has more to say.

        @param piece: how many bytes the client gets at once.
        """
        while self.command.outgoing or self.wire.value():
            up = bytes(self.command.outgoing)
            self.command.outgoing.clear()
            if up:
                self.server.dataReceived(up)
            down = self.wire.value()
            self.wire.clear()
            for start in range(0, len(down), piece):
                self.command.feed(down[start : start + piece])

    @property
    def program(self) -> Any:
        """
        The server's side of the session.
        """
        return self.host.opened[0]


class SingleTests(SynchronousTestCase):
    """
    From the first byte to the exit status.
    """

    def test_a_command(self) -> None:
        """It is started with its variables; output, errors, input and status pass."""
        meeting = Meeting(b"wc -c")
        meeting.carry()
        self.assertTrue(meeting.command.started)
        self.assertEqual(
            meeting.program.log,
            ["open", ("env", put_text("LANG") + put_text("C")), ("exec", put_string(b"wc -c"))],
        )
        meeting.command.send(b"five5")
        meeting.command.send(b"")
        meeting.carry()
        self.assertEqual((bytes(meeting.program.received), meeting.program.log[-1]), (b"five5", "eof"))
        program = meeting.program
        program.write(b"5\n")
        program.writeExtended(1, b"oh")
        program.conn.notify(program, "exit-status", put_uint32(3))
        program.loseConnection()
        meeting.carry()
        self.assertEqual(meeting.command.arrived, [(STDOUT, b"5\n"), (STDERR, b"oh")])
        self.assertEqual((meeting.command.status, meeting.command.over), (3, True))

    @given(st.integers(1, 300))
    def test_any_split(self, piece: int) -> None:
        """However the bytes arrive."""
        meeting = Meeting()
        meeting.carry(piece)
        self.assertTrue(meeting.command.started)

    def test_a_stranger(self) -> None:
        """A server that is not believed is told so, and nothing is shown to it."""

        def refuse(proof: HostProof) -> None:
            raise TeleportError(Kind.ACCESS_DENIED, "not the one")

        meeting = Meeting(verify=refuse)
        error = self.assertRaises(TeleportError, meeting.carry)
        self.assertEqual((error.kind, meeting.host.opened), (Kind.ACCESS_DENIED, []))
        self.assertTrue(meeting.command.over)

    def test_no_login(self) -> None:
        """A key that is not taken ends in a refusal."""

        async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
            raise TeleportError(Kind.ACCESS_DENIED, "no")

        meeting = Meeting(rules=LoginRules(authenticate=authenticate))
        error = self.assertRaises(TeleportError, meeting.carry)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    def test_a_person_is_needed(self) -> None:
        """Where the server wants answers too, the caller is told, and nothing was run."""

        async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
            async def more(ask: object) -> Host:
                return self.fail("nobody answers")

            raise MoreNeeded(more)

        meeting = Meeting(rules=LoginRules(authenticate=authenticate))
        self.assertRaises(PersonNeededError, meeting.carry)

    def test_not_started(self) -> None:
        """A server that does not start it refuses."""
        meeting = Meeting(b"forbidden")
        error = self.assertRaises(TeleportError, meeting.carry)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    def test_window(self) -> None:
        """Input waits for the server's window; what arrives is acknowledged once it was taken."""
        meeting = Meeting()
        meeting.carry()
        command, total = meeting.command, 0
        while command.room:
            size = command.room
            command.send(bytes(size))
            total += size
        self.assertGreater(total, 0)
        meeting.carry()
        self.assertEqual(len(meeting.program.received), total)
        self.assertGreater(command.room, 0)
        meeting.program.write(bytes(WINDOW_BYTES + 1000))
        meeting.carry()
        got = sum(len(data) for _, data in command.arrived)
        self.assertEqual(got, WINDOW_BYTES)
        command.arrived.clear()
        command.taken(got)
        meeting.carry()
        self.assertEqual(sum(len(data) for _, data in command.arrived), 1000)

    def test_rekeying(self) -> None:
        """Either side may ask for new keys; data waits meanwhile and comes through."""
        for ours in (True, False):
            meeting = Meeting()
            meeting.carry()
            if ours:
                meeting.command._writer.sent_bytes = REKEY_BYTES + 1
                meeting.program.write(b"x")
            else:
                meeting.server.rekey()
            meeting.program.write(b"before")
            meeting.carry()
            meeting.command.send(b"after")
            meeting.carry()
            self.assertEqual(bytes(meeting.program.received), b"after")
            self.assertEqual(b"".join(data for _, data in meeting.command.arrived).removeprefix(b"x"), b"before")

    def test_keepalive(self) -> None:
        """The server answers."""
        meeting = Meeting()
        meeting.carry()
        before = meeting.command._reader.sequence
        meeting.command.keep_alive()
        meeting.carry()
        self.assertEqual(meeting.command._reader.sequence, before + 1)

    def test_lost(self) -> None:
        """A connection that goes before the command runs is an error; afterwards it is the end."""
        self.assertRaises(TeleportError, Meeting().command.ended)
        meeting = Meeting()
        meeting.carry()
        meeting.command.ended()
        self.assertTrue(meeting.command.over)

    @given(st.binary(min_size=1, max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """Garbage ends in an error for the user, or waits for more."""
        for meeting in (Meeting(), Meeting()):
            try:
                meeting.command.feed(data)
                meeting.command.feed(b"SSH-2.0-x\r\n" + data)
            except TeleportError as error:
                self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)
