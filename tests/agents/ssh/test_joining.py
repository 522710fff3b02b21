"""
Several people in one session: OpenSSH's client as all of them, at our agent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

from teleport_tw.agents.ssh import member as members
from teleport_tw.agents.ssh import party as parties
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.dial import joining
from teleport_tw.dial.lifetime import Ending
from teleport_tw.pki.sshcert import JOIN_PRINCIPAL
from tests.agents.ssh.rig import ME, AgentTestCase
from tests.doubles.cluster import lock, role

pytestmark = pytest.mark.servers

WATCHED = {"name": "four eyes", "kinds": ["ssh"], "modes": ["moderator"], "filter": 'user.name == "bob"'}


class Person(ProcessProtocol):
    """
    Somebody's C{ssh}.
    """

    def __init__(self) -> None:
        self.seen = bytearray()
        self.code: int | None = None
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        """
        Of the terminal.
        """
        self.seen += data

    errReceived = outReceived

    def processEnded(self, reason: Any) -> None:
        """
        It ended.
        """
        self.code = -1 if reason.value.exitCode is None else reason.value.exitCode
        self.ended.callback(None)

    def type(self, text: str) -> None:
        """
        At the terminal.
        """
        self.transport.write(text.encode())

    def sees(self, text: str) -> bool:
        """
        Or saw, at some time.
        """
        return text.encode() in self.seen


class PartyTestCase(AgentTestCase):
    """
    C{owner} begins, C{joiner} joins.
    """

    def setUp(self) -> None:
        super().setUp()
        joins = [{"name": "j", "roles": ["access", "watched"], "kinds": ["ssh"], "modes": ["*"]}]
        self.cluster.copy.put(role("helper", allow={"join_sessions": joins}))
        watching = [{"name": "j", "roles": ["access"], "kinds": ["ssh"], "modes": ["observer"]}]
        self.cluster.copy.put(role("watcher", allow={"join_sessions": watching}))
        self.cluster.copy.put(role("stranger", allow={"logins": [ME]}))
        self.keys: dict[str, Path] = {}

    def watched(self, **policy: Any) -> None:
        """
        Sessions of the role C{watched} need somebody.
        """
        allow = {"logins": [ME], "require_session_join": [{**WATCHED, **policy}]}
        self.cluster.copy.put(role("watched", allow=allow))

    def key(self, name: str, role: str) -> Path:
        """
        Of a user with one role.
        """
        if name not in self.keys:
            self.keys[name] = self.certify(name, username=name, roles=(role,))
        return self.keys[name]

    def person(self, name: str, role: str, login: str, *words: str, **variables: str) -> Person:
        """
        Somebody at a terminal.
        """
        told = [f"SetEnv={' '.join(f'{name}={value}' for name, value in variables.items())}"] if variables else []
        arguments = [*self.as_login(self.arguments(self.key(name, role), *told), login), "-tt", "127.0.0.1", *words]
        someone = Person()
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = reactor.spawnProcess(
            someone,
            "/usr/bin/ssh",
            arguments,
            env={**os.environ, "TERM": "xterm"},
            usePTY=(ours, theirs, os.ttyname(theirs)),
        )

        def kill() -> Any:
            if someone.code is None and not someone.ended.called:
                with contextlib.suppress(ProcessExitedAlready):  # it ended; its terminal is not read to the end
                    process.signalProcess("KILL")
            return someone.ended

        self.addCleanup(kill)
        return someone

    async def owner(self, role: str = "access", name: str = "alice", *words: str, **variables: str) -> Person:
        """
        Begins a session.
        """
        someone = self.person(name, role, ME, *words, **variables)
        await self.until(lambda: self.agent.realm.parties or someone.code is not None)
        if self.party.started and not words:
            someone.type("stty -echo; PS1='ready# '; unset PROMPT_COMMAND\n")
            await self.until(lambda: someone.seen.rstrip().endswith(b"ready#"))
        return someone

    def joiner(self, mode: str, name: str = "bob", role: str = "helper", sid: str = "", **more: str) -> Person:
        """
        Joins it.
        """
        return self.person(
            name, role, JOIN_PRINCIPAL, **{joining.SESSION: sid or self.party.id, joining.MODE: mode, **more}
        )

    @property
    def party(self) -> parties.Party:
        """
        The only one.
        """
        [found] = self.agent.realm.parties.values()
        return found

    async def over(self, *people: Person) -> None:
        """
        Wait until they are gone.
        """
        await self.until(lambda: all(each.code is not None for each in people))


class SharingTests(PartyTestCase):
    """
    Who sees and types what.
    """

    async def test_a_peer_types_and_both_see(self) -> None:
        """
        The late joiner sees the screen as it is; all are told, and the log, the tracker and the recording.
        """
        await self.start()
        alice = await self.owner(TELEPORT_SESSION_REASON="INC-7", TELEPORT_SESSION_INVITED_USERS="bob,")
        alice.type("echo early-$((6*7))\n")
        await self.until(lambda: alice.sees("early-42"))
        bob = self.joiner("peer", TELEPORT_SESSION_REASON="helping")
        await self.until(lambda: bob.sees("early-42") and alice.sees("User bob joined the session as peer (helping)"))
        bob.type("echo late-$((7*7))\n")
        await self.until(lambda: alice.sees("late-49") and bob.sees("late-49"))
        [start] = self.sink.named("session.start")
        self.assertEqual((start["reason"], start["invited"]), ("INC-7", ["bob"]))
        [join] = self.sink.named("session.join")
        self.assertEqual((join["user"], join["mode"], join["login"], join["sid"]), ("bob", "peer", ME, self.party.id))
        tracker = self.cluster.api.heartbeats[-1][0].spec
        self.assertEqual([(each["user"], each["mode"]) for each in tracker["participants"]],
                         [("alice", "peer"), ("bob", "peer")])  # fmt: skip
        self.assertEqual((tracker["reason"], tracker["invited"]), ("INC-7", ["bob"]))
        bob.type("exit\n")
        await self.over(alice, bob)
        self.assertEqual((alice.code, bob.code), (0, 0))
        await self.until(lambda: "session.end" in self.sink.names())
        [end] = self.sink.named("session.end")
        self.assertEqual(end["participants"], ["alice", "bob"])
        [leave] = self.sink.named("session.leave")
        self.assertEqual(leave["user"], "bob")
        self.assertFalse(self.agent.realm.parties)

    async def test_an_observer_watches_and_leaves(self) -> None:
        """
        What they type reaches nobody; Ctrl-C leaves, and the session goes on.
        """
        await self.start()
        alice = await self.owner()
        carol = self.joiner("observer", "carol", "watcher")
        await self.until(lambda: alice.sees("User carol joined the session as observer"))
        carol.type("echo sneaky-$((1+1))\nt")
        alice.type("echo marker-$((40+2))\n")
        await self.until(lambda: carol.sees("marker-42"))
        carol.type("\x03")
        await self.over(carol)
        self.assertEqual(carol.code, 0)
        await self.until(lambda: alice.sees("User carol left the session"))
        alice.type("echo still-$((1+2))\n")
        await self.until(lambda: alice.sees("still-3"))
        self.assertFalse(alice.sees("sneaky"))

    async def test_a_moderator_ends_it(self) -> None:
        """
        For everybody.
        """
        await self.start()
        alice = await self.owner()
        bob = self.joiner("moderator")
        await self.until(lambda: alice.sees("User bob joined the session as moderator"))
        bob.type("t")
        await self.over(alice, bob)
        self.assertTrue(alice.sees("Moderator bob ended the session"))
        self.assertEqual((alice.code, bob.code), (255, 0))

    async def test_the_owner_leaving_ends_it(self) -> None:
        """
        Whoever is in it is told.
        """
        await self.start()
        alice = await self.owner()
        bob = self.joiner("peer")
        await self.until(lambda: alice.sees("User bob joined"))
        alice.transport.signalProcess("KILL")
        await self.over(alice, bob)
        self.assertTrue(bob.sees("The session has ended"))
        self.assertEqual(bob.code, 0)

    async def test_the_smallest_terminal_of_those_who_type(self) -> None:
        """
        An observer's does not count.
        """
        await self.start()
        alice = await self.owner()
        for name, mode, size in (("carol", "observer", (10, 40)), ("bob", "peer", (20, 60))):
            someone = self.joiner(mode, name, "helper")
            await self.until(lambda name=name: alice.sees(f"User {name} joined"))
            member = next(each for each in self.party.members.values() if each.username == name)
            member.party.member_resized(member, parties.Size(rows=size[0], columns=size[1]))
            del someone
        self.assertEqual((self.party.terminal_size.rows, self.party.terminal_size.columns), (20, 60))
        alice.type("echo size-$(stty size | tr ' ' x)\n")
        await self.until(lambda: alice.sees("size-20x60"))

    async def test_a_lock_ends_one_participant(self) -> None:
        """
        The session goes on without them.
        """
        await self.start()
        alice = await self.owner()
        bob = self.joiner("peer")
        await self.until(lambda: alice.sees("User bob joined"))
        self.cluster.copy.put(lock("out", user="bob"))
        await self.over(bob)
        await self.until(lambda: alice.sees("User bob left"))
        alice.type("echo still-$((1+2))\n")
        await self.until(lambda: alice.sees("still-3"))

    async def test_who_does_not_keep_up_is_painted_anew(self) -> None:
        """
        A stopped observer costs the owner nothing, and sees the end when they go on.
        """
        await self.start()
        alice = await self.owner()
        carol = self.joiner("observer", "carol", "watcher")
        await self.until(lambda: alice.sees("User carol joined"))
        carol.transport.signalProcess("STOP")
        alice.type("head -c 9000000 /dev/zero | tr '\\0' x | fold -w 79; echo; echo done-$((40+2))\n")
        await self.until(lambda: alice.sees("done-42"), 60)
        [member] = self.party.members.values()
        self.assertTrue(member.behind)
        self.assertLess(member.channel._waiting_bytes, 1 << 20)
        carol.transport.signalProcess(signal.SIGCONT)
        await self.until(lambda: carol.sees("done-42"), 30)
        self.assertLess(len(carol.seen), 8_500_000)


class AttackTests(PartyTestCase):
    """
    Those who may not.
    """

    async def refused(self, *arguments: Any, **more: Any) -> bytes:
        """
        @return: what they are told.
        """
        someone = self.joiner(*arguments, **more)
        await self.over(someone)
        self.assertEqual(someone.code, 255)
        return bytes(someone.seen).strip()

    async def test_strangers_learn_nothing(self) -> None:
        """
        One answer for a session that is not there and one that is not theirs.
        """
        await self.start()
        await self.owner()
        missing = await self.refused("observer", "eve", "stranger", sid="7ad0c3a0-0000-4000-8000-000000000000")
        there = await self.refused("observer", "eve", "stranger")
        self.assertEqual(missing, there)
        self.assertIn(b"there is no such session", there)
        self.assertEqual(await self.refused("peer", "eve", "stranger", sid="../../x"), missing)
        self.assertEqual(len(self.sink.named("session.rejected")), 3)
        self.assertEqual(self.sink.named("session.join"), [])

    async def test_no_mode_but_those_allowed(self) -> None:
        """
        An observer by role is no peer and no moderator, and no request makes them one.
        """
        await self.start()
        alice = await self.owner()
        self.assertIn(b"as observer, not as peer", await self.refused("peer", "carol", "watcher"))
        self.assertIn(b"not as moderator", await self.refused("moderator", "carol", "watcher"))
        self.assertIn(b"observer, peer or moderator", await self.refused("owner", "carol", "watcher"))
        self.joiner("observer", "carol", "watcher")
        await self.until(lambda: alice.sees("User carol joined"))
        [member] = self.party.members.values()
        self.assertFalse(member.channel.program.terminate())  # type: ignore[union-attr]
        self.assertFalse(member.channel.requestReceived(joining.FORCE_TERMINATE, b""))

    async def test_the_owner_is_no_moderator(self) -> None:
        """
        Of their own session, whatever their roles; as a peer they may.
        """
        self.watched(filter="")
        await self.start()
        alice = await self.owner("watched")
        self.assertFalse(self.party.started)
        key = self.keys["alice"]
        self.keys["again"] = key
        self.assertIn(b"not as moderator", await self.refused("moderator", "again", "watched"))
        self.joiner("peer", "again", "watched")
        await self.until(lambda: alice.sees("User alice joined the session as peer"))
        self.assertFalse(self.party.started)

    async def test_who_came_to_join_does_nothing_else(self) -> None:
        """
        No shell of their own, no command, file, port or agent.
        """
        await self.start()
        await self.owner()
        key = self.key("bob", "helper")
        out, err, code = await self.ssh("-tt", key=key, login=JOIN_PRINCIPAL, feed=b"id\n")
        self.assertEqual(code, 255)
        self.assertIn(b"there is no such session", out + err)
        _, err, code = await self.ssh("id", key=key, login=JOIN_PRINCIPAL)
        self.assertEqual(code, 255)
        options = ("SessionType=subsystem",)
        _, err, code = await self.ssh("sftp", key=key, login=JOIN_PRINCIPAL, options=options)
        self.assertEqual(code, 255)
        _, err, code = await self.ssh(key=key, login=JOIN_PRINCIPAL, options=("StdioForward=127.0.0.1:1",))
        self.assertEqual(code, 255)

    async def test_a_party_is_not_endless(self) -> None:
        """
        Each costs a copy of the output.
        """
        self.patch(parties, "MAX_MEMBERS", 1)
        await self.start()
        alice = await self.owner()
        self.joiner("observer")
        await self.until(lambda: alice.sees("User bob joined"))
        self.assertIn(b"all it takes", await self.refused("observer", "carol", "watcher"))

    async def test_nothing_is_kept_for_who_does_not_read(self) -> None:
        """
        Events are no data and take no room in a window: an owner who changes the size without end does not fill the
        host's memory with what an observer never reads.
        """
        await self.start()
        alice = await self.owner()
        self.joiner("observer")
        await self.until(lambda: alice.sees("User bob joined"))
        [member] = self.party.members.values()
        told: list[bytes] = []
        self.patch(member.channel.conn, "notify", lambda channel, name, payload=b"": told.append(payload))
        member.pauseProducing()
        for number in range(1000):
            self.party.resized(Size(columns=80 + number % 2, rows=24))
        self.assertLessEqual(len(told), members.MAX_TOLD)
        member.resumeProducing()
        self.assertIn(b'"81:24"', told[-1])
        told.clear()
        self.party.resized(Size(columns=90, rows=24))
        self.assertEqual(len(told), 1)


class ModeratedTests(PartyTestCase):
    """
    C{require_session_join}.
    """

    async def test_it_waits_for_the_moderator(self) -> None:
        """
        And nothing runs, or is taken in, before.
        """
        self.watched()
        await self.start()
        alice = await self.owner("watched")
        await self.until(lambda: alice.sees("Waiting for participants"))
        self.assertTrue(alice.sees('1 moderator where user.name == "bob" (four eyes)'))
        alice.type("echo typed-too-early\n")
        self.assertEqual(self.cluster.api.heartbeats[-1][0].spec["state"], "pending")
        carol = self.joiner("moderator", "carol", "helper")
        await self.until(lambda: alice.sees("User carol joined"))
        self.assertFalse(self.party.started)
        bob = self.joiner("moderator")
        await self.until(lambda: alice.sees("Everybody required is here"))
        await self.until(lambda: self.cluster.api.heartbeats[-1][0].spec["state"] == "running")
        alice.type("echo now-$((40+2))\n")
        await self.until(lambda: bob.sees("now-42") and carol.sees("now-42"))
        self.assertFalse(alice.sees("too-early"))
        bob.type("\x03")
        await self.over(alice, bob, carol)
        self.assertTrue(alice.sees("somebody who must be present has left"))
        self.assertEqual(alice.code, 255)

    async def test_it_pauses(self) -> None:
        """
        What is typed meanwhile is dropped, what is written is shown later.
        """
        self.watched(on_leave="pause")
        await self.start()
        alice = await self.owner("watched")
        bob = self.joiner("moderator")
        await self.until(lambda: alice.sees("Everybody required is here"))
        alice.type("stty -echo; PS1='ready# '; unset PROMPT_COMMAND\n")
        await self.until(lambda: alice.seen.rstrip().endswith(b"ready#"))
        flag = self.root / "go"
        alice.type(f"(until test -e {flag}; do sleep 0.05; done; echo wrote-$((40+2))) & echo waits-$((20+3))\n")
        await self.until(lambda: alice.sees("waits-23"))
        bob.type("\x03")
        await self.until(lambda: alice.sees("The session is paused. It waits for: 1 moderator"))
        self.assertEqual(self.cluster.api.heartbeats[-1][0].spec["state"], "pending")
        alice.type("echo dropped-$((1+1))\n")
        flag.touch()
        await self.until(lambda: any("wrote-42" in line for line in self.party.screen.lines()))
        self.assertFalse(alice.sees("wrote-42"))
        self.joiner("moderator")
        await self.until(lambda: alice.sees("The session goes on") and alice.sees("wrote-42"))
        alice.type("echo after-$((2+2))\n")
        await self.until(lambda: alice.sees("after-4"))
        self.assertFalse(alice.sees("dropped-2"))

    async def test_the_owner_gives_up(self) -> None:
        """
        Ctrl-C while waiting.
        """
        self.watched()
        await self.start()
        alice = await self.owner("watched")
        await self.until(lambda: alice.sees("Waiting for participants"))
        alice.type("\x03")
        await self.over(alice)
        self.assertTrue(alice.sees("You left before the session began"))
        await self.until(lambda: "session.end" in self.sink.names())

    async def test_what_nobody_can_watch_is_refused(self) -> None:
        """
        Commands without a terminal, files, ports; a command with a terminal waits like a shell.
        """
        self.watched()
        await self.start()
        key = self.key("alice", "watched")
        _, err, code = await self.ssh("id", key=key)
        self.assertEqual(code, 255)
        self.assertIn(b"require somebody to watch your sessions", err)
        _, err, code = await self.ssh("sftp", key=key, options=("SessionType=subsystem",))
        self.assertEqual(code, 255)
        self.assertIn(b"copy files while a shell of yours is open", err)
        _, err, code = await self.ssh(key=key, options=("StdioForward=127.0.0.1:1",))
        self.assertEqual(code, 255)
        alice = await self.owner("watched", "alice", "echo ran-$((1+1))")
        await self.until(lambda: alice.sees("Waiting for participants"))
        self.joiner("moderator")
        await self.over(alice)
        self.assertTrue(alice.sees("ran-2"))
        self.assertEqual(alice.code, 0)

    async def test_a_disconnected_moderator_has_left(self) -> None:
        """
        Be it their lock, their network or their wish.
        """
        self.watched()
        await self.start()
        alice = await self.owner("watched")
        self.joiner("moderator")
        await self.until(lambda: alice.sees("Everybody required is here"))
        [bob] = [user for user in self.agent.realm.users if user.target.joins_only]
        bob.end(Ending("locked", "you are locked out"))
        await self.over(alice)
        self.assertEqual(alice.code, 255)
