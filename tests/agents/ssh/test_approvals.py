"""
Files that are copied while others watch, with OpenSSH's scp.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from teleport_tw.access.sessions import Presence
from teleport_tw.agents.ssh import approvals
from teleport_tw.agents.ssh import party as parties
from teleport_tw.agents.ssh.pty import Size
from tests.agents.ssh.rig import ME
from tests.agents.ssh.test_joining import PartyTestCase, Person
from tests.conch.openssh import run

pytestmark = pytest.mark.servers


class ApprovalTests(PartyTestCase):
    """
    Alice must be watched by Bob.
    """

    async def begin(self, **policy: Any) -> tuple[Person, Person]:
        """
        @return: the owner and the moderator, the session running.
        """
        if shutil.which("scp") is None:
            self.skipTest("scp is not installed")
        self.patch(approvals, "LOOK_SECONDS", 0.0)
        self.watched(**policy)
        await self.start()
        alice = await self.owner("watched")
        bob = self.joiner("moderator")
        await self.until(lambda: alice.sees("Everybody required is here"))
        return alice, bob

    def copy(self, *words: str) -> Deferred[Any]:
        """
        C{scp} as Alice; C{HOST:} stands for this host.
        """
        arguments = self.arguments(self.key("alice", "watched"))
        arguments[0] = "scp"
        arguments[arguments.index("-p")] = "-P"
        return run(*arguments, *(word.replace("HOST:", f"{ME}@127.0.0.1:") for word in words))

    def files(self) -> tuple[Path, Path]:
        """
        One that is there, and one that is not.
        """
        source, target = self.root / "source", self.root / "target"
        source.write_text("content")
        target.unlink(missing_ok=True)
        return source, target

    async def test_approved(self) -> None:
        """
        Both ways and by both protocols: everybody reads of it, the log has it, and each file is asked about anew.
        """
        alice, bob = await self.begin()
        source, target = self.files()
        ways = (("-s", str(source), f"HOST:{target}"), ("-s", f"HOST:{source}", str(target)),
                ("-O", str(source), f"HOST:{target}"), ("-O", f"HOST:{source}", str(target)))  # fmt: skip
        for number, words in enumerate(ways):
            target.unlink(missing_ok=True)
            copied = self.copy(*words)
            await self.until(lambda wanted=number + 1: bob.seen.count(b"f approves, d denies") == wanted)
            self.assertFalse(target.exists())
            bob.type("f")
            _, err, code = await copied
            self.assertEqual(code, 0, err)
            self.assertEqual(target.read_text(), "content")
        self.assertTrue(alice.sees(f"User alice asks to copy a file to {target}"))
        self.assertTrue(alice.sees(f"User alice asks to copy the file {source}"))
        asked, said = self.sink.named("file_transfer_request"), self.sink.named("file_transfer_request_approve")
        self.assertEqual([event["download"] for event in asked], [False, True, False, True])
        self.assertEqual({(event["user"], event["requester"]) for event in said}, {("bob", "alice")})
        self.assertEqual([event["requestID"] for event in said], [event["requestID"] for event in asked])
        self.assertEqual({event["sid"] for event in (*asked, *said)}, {self.party.id})

    async def test_denied(self) -> None:
        """
        Nothing is copied, and who asked is told.
        """
        _, bob = await self.begin()
        source, target = self.files()
        for flag in ("-s", "-O"):
            copied = self.copy(flag, str(source), f"HOST:{target}")
            await self.until(lambda: self.party.files._waiting)
            bob.type("d")
            _, err, code = await copied
            self.assertNotEqual(code, 0)
            self.assertIn(b"bob denied it", err)
            self.assertFalse(target.exists())
        self.assertEqual(len(self.sink.named("file_transfer_request_deny")), 2)

    async def test_who_may_not_answer(self) -> None:
        """
        Neither the owner nor whom no policy asks for; nor is the answer to another request one.
        """
        alice, _ = await self.begin()
        self.joiner("moderator", "carol", "helper")
        self.joiner("peer", "alice", "watched")
        await self.until(lambda: alice.sees("User carol joined") and alice.sees("User alice joined"))
        members = {each.username: each for each in self.party.members.values()}
        source, target = self.files()
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        files, [request] = self.party.files, self.party.files._waiting
        self.assertFalse(files.decide(members["carol"], True, request.id))
        self.assertFalse(files.decide(members["alice"], True, request.id))
        self.assertFalse(files.decide(members["bob"], True, "another"))
        self.assertFalse(target.exists())
        self.assertTrue(files.decide(members["bob"], True, request.id))
        self.assertFalse(files.decide(members["bob"], True, request.id))
        _, err, code = await copied
        self.assertEqual(code, 0, err)

    async def test_who_comes_later(self) -> None:
        """
        Reads the question as well; that whoever asked is gone is told to all, and nothing can be approved then.
        """
        alice, bob = await self.begin()
        source, target = self.files()
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        [request] = self.party.files._waiting
        late = self.joiner("moderator", "bob")
        await self.until(lambda: late.seen.count(b"f approves, d denies") > 1)
        bob_here = next(iter(self.party.members.values()))
        self.party.files.withdraw(request)
        await self.until(lambda: late.sees("who asked has gone") and alice.sees("who asked has gone"))
        self.assertFalse(self.party.files.decide(bob_here, True, request.id))
        [denied] = self.sink.named("file_transfer_request_deny")
        self.assertEqual(denied["reason"], "who asked has gone")
        bob.type("t")
        await copied
        self.assertFalse(target.exists())

    async def test_the_end_of_the_session(self) -> None:
        """
        Is a no.
        """
        _, bob = await self.begin()
        source, target = self.files()
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        bob.type("t")
        _, _, code = await copied
        self.assertNotEqual(code, 0)
        self.assertFalse(target.exists())
        [denied] = self.sink.named("file_transfer_request_deny")
        self.assertEqual(denied["reason"], "the session ended")

    async def test_saying_it_again_is_no_news(self) -> None:
        """
        One of two moderators says yes a thousand times: it counts once, is told once, and nothing is copied.
        """
        alice, _ = await self.begin()
        source, target = self.files()
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        files, [request] = self.party.files, self.party.files._waiting
        [bob] = self.party.members.values()
        self.patch(parties.Party, "presence", lambda party, members: Presence(satisfied=False, required=("carol",)))
        for _ in range(1000):
            self.assertTrue(files.decide(bob, True, request.id))
        alice.type("echo after-$((6*7))\n")
        await self.until(lambda: alice.sees("after-42"))
        self.assertEqual(alice.seen.count(b"bob approved; more have to"), 1)
        self.assertEqual(len(self.sink.named("file_transfer_request_approve")), 1)
        self.assertFalse(target.exists())
        self.assertTrue(files.decide(bob, False, request.id))
        await copied

    async def test_a_path_that_is_cut_is_not_approved(self) -> None:
        """
        A program that has the whole screen leaves one line: a key approves of what was read to its end only.
        """
        alice, bob = await self.begin()
        source, _ = self.files()
        target = self.root / ("long" * 30)
        alice.type("printf '\\033[?1049h'; echo in-$((6*7))\n")
        await self.until(lambda: bob.sees("in-42") and self.party.screen.alternate)
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        bob.type("f")
        await self.until(lambda: bob.sees("Its path does not fit"))
        self.assertTrue(self.party.files._waiting)
        alice.type("printf '\\033[?1049l'; echo out-$((6*7))\n")
        await self.until(lambda: bob.sees("out-42") and not self.party.screen.alternate)
        bob.type("f")
        await self.until(lambda: bob.sees("f approves, d denies"))
        self.assertTrue(self.party.files._waiting)
        bob.type("f")
        _, err, code = await copied
        self.assertEqual(code, 0, err)
        self.assertTrue(target.exists())

    async def test_who_missed_it_is_told_again(self) -> None:
        """
        More was told than is kept for who does not read; once they do they are asked what is still asked.
        """
        _, bob = await self.begin()
        [member] = self.party.members.values()
        told: list[bytes] = []
        self.patch(member.channel.conn, "notify", lambda channel, name, payload=b"": told.append(payload))
        member.pauseProducing()
        for number in range(100):
            self.party.resized(Size(columns=80 + number % 2, rows=24))
        source, target = self.files()
        copied = self.copy(str(source), f"HOST:{target}")
        await self.until(lambda: self.party.files._waiting)
        [request] = self.party.files._waiting
        self.assertNotIn(request.id.encode(), b"".join(told))
        member.resumeProducing()
        self.assertIn(request.id.encode(), b"".join(told))
        bob.type("d")
        await copied

    async def test_nothing_else_is_done(self) -> None:
        """
        What others are not asked about: names are not changed, directories not read, nothing is removed.
        """
        await self.begin()
        source, target = self.files()
        arguments = self.arguments(self.key("alice", "watched"))
        arguments[0] = "sftp"
        arguments[arguments.index("-p")] = "-P"
        lines = (f"-rename {source} {target}", f"-rm {source}", f"-mkdir {target}", f"-ls {self.root}",
                 f"-chmod 777 {source}", f"-ln {source} {target}", f"-symlink {source} {target}")  # fmt: skip
        mode = source.stat().st_mode
        _, err, _ = await run(*arguments, "-b", "-", f"{ME}@127.0.0.1", feed="\n".join(lines).encode() + b"\n")
        self.assertTrue(source.exists(), err)
        self.assertFalse(target.exists())
        self.assertEqual(source.stat().st_mode, mode)
        self.assertEqual(self.party.files._waiting, [])

    async def test_a_link_is_named_by_where_it_leads(self) -> None:
        """
        Who watches reads the file's own name; a name that could be read as another is written out.
        """
        _, bob = await self.begin()
        _, target = self.files()
        odd = self.root / "odd\x1b[2Jname"
        odd.write_text("content")
        link = self.root / "innocent"
        link.symlink_to(odd)
        copied = self.copy(f"HOST:{link}", str(target))
        await self.until(lambda: bob.sees("odd\\x1b[2Jname"))
        bob.type("f")
        _, err, code = await copied
        self.assertEqual(code, 0, err)
        self.assertEqual(target.read_text(), "content")


class PlacesTests(PartyTestCase):
    """
    One user, many windows.
    """

    async def test_nobody_fills_it_alone(self) -> None:
        """
        Whatever windows they open.
        """
        self.patch(parties, "MAX_PLACES", 1)
        await self.start()
        alice = await self.owner()
        self.joiner("observer")
        await self.until(lambda: alice.sees("User bob joined"))
        again = self.joiner("observer")
        await self.over(again)
        self.assertTrue(again.sees("you are in the session 1 times"))
        self.joiner("observer", "carol", "watcher")
        await self.until(lambda: alice.sees("User carol joined"))
