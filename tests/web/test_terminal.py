"""
A terminal in a page, on a real agent's shell.
"""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import pytest
from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from teleport_tw.api.factors import Challenge, MfaAnswer, MfaNeed, MfaTarget
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.web import question
from teleport_tw.web.envelope import CLOSED, FACTOR, RAW, SESSION, Envelope
from teleport_tw.web.terminal import KEPT_SECONDS
from teleport_tw.web.window import WINDOW_BYTES
from tests.conch.openssh import SSHD
from tests.proxy.world import NODE_ID, until
from tests.web.world import Page, Pages

reactor: Any = _reactor


class ShellTests(TestCase):
    """
    One page.
    """

    async def test_a_shell(self) -> None:
        """What is typed runs on the server, what it writes is shown, and the page learns how it ended."""
        pages = await Pages.start(self)
        page = await pages.shell(term={"w": 91, "h": 33})
        page.type(b"stty size; echo $((40+2)); exit 7\r")
        await until(lambda: page.of(CLOSED))
        self.assertIn(b"33 91", page.shown)
        self.assertIn(b"42", page.shown)
        (closing,) = page.of(CLOSED)
        self.assertEqual((closing["code"], closing["status"], closing["again"]), ("exited", 7, False))
        await until(lambda: page.closed is not None)
        self.assertEqual(page.closed, 1000)
        self.assertEqual(len(pages.terminals), 0)

    async def test_another_size(self) -> None:
        """The server learns of it."""
        pages = await Pages.start(self)
        page = await pages.shell()
        page.say(Envelope("w", b"132:43"))
        page.type(b"stty size; exit\r")
        await until(lambda: page.of(CLOSED))
        self.assertIn(b"43 132", page.shown)


class LossTests(TestCase):
    """
    The network, the page and the proxy come and go.
    """

    async def test_resumed(self) -> None:
        """Nothing that was written or typed is lost, and nothing is there twice."""
        pages = await Pages.start(self)
        page = await pages.shell()
        resume = page.of(SESSION)[0]["resume"]
        page.type(b"PS1=; stty -echo; echo on''ce\r")
        await until(lambda: b"once\r\n" in page.shown)
        page.drop()
        await until(lambda: page.closed is not None)
        self.assertEqual(len(pages.terminals), 1)
        again = await pages.open()
        again.received = page.received
        again.greet(resume=resume, received=page.received)
        await until(lambda: again.of(SESSION))
        self.assertTrue(again.of(SESSION)[0]["resumed"])
        await until(lambda: again.taken == page.typed)
        again.say(Envelope(RAW, b"ce\recho more; exit\r", offset=page.typed - 3, received=again.received))
        await until(lambda: again.of(CLOSED))
        self.assertEqual(again.shown.count(b"once"), 0)
        self.assertIn(b"more\r\n", again.shown)

    async def test_what_was_written_meanwhile(self) -> None:
        """It waits for the page, as far as a window goes; then the program waits."""
        pages = await Pages.start(self)
        page = await pages.shell()
        resume = page.of(SESSION)[0]["resume"]
        page.type(
            b"PS1=; stty -echo -onlcr; echo go''on; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo al''l; exit\r"
        )
        await until(lambda: b"goon\n" in page.shown)
        page.acknowledges = False
        page.drop()
        (terminal,) = pages.terminals._running.values()
        await until(lambda: terminal.output.full)
        self.assertLess(terminal.output.end - terminal.output.told, 3 * WINDOW_BYTES)
        again = await pages.open()
        again.received = page.received
        again.greet(resume=resume, received=page.received)
        await until(lambda: again.of(CLOSED), 30)
        shown = (page.shown + again.shown).partition(b"goon\n")[2]
        self.assertEqual(shown.count(b"x"), 3_000_000)
        self.assertIn(b"x\nall\n", shown)

    async def test_a_page_that_shows_nothing(self) -> None:
        """Is sent one window, and no more; the server's program waits."""
        pages = await Pages.start(self)
        page = await pages.shell()
        page.acknowledges = False
        page.type(b"head -c 5000000 /dev/zero\r")
        await until(lambda: page.received >= WINDOW_BYTES)
        (terminal,) = pages.terminals._running.values()
        await until(lambda: terminal._shell._paused)
        self.assertEqual(page.received, WINDOW_BYTES)
        page.tell()
        await until(lambda: page.received > WINDOW_BYTES)

    async def test_taken_over(self) -> None:
        """Whoever resumes has it; the WebSocket before is told."""
        pages = await Pages.start(self)
        page = await pages.shell()
        again = await pages.open()
        again.greet(resume=page.of(SESSION)[0]["resume"])
        await until(lambda: again.of(SESSION) and page.closed)
        self.assertEqual(page.closed, 4409)

    async def test_closed_by_the_page(self) -> None:
        """Then the shell ends too."""
        pages = await Pages.start(self)
        page = await pages.shell()
        page.sendClose(1000)
        await until(lambda: not len(pages.terminals))

    async def test_not_kept_for_ever(self) -> None:
        """After two minutes nobody comes back."""
        pages = await Pages.start(self)
        page = await pages.shell()
        resume = page.of(SESSION)[0]["resume"]
        (terminal,) = pages.terminals._running.values()
        page.drop()
        await until(lambda: "wait" in terminal._timers)
        wait = terminal._timers["wait"]
        self.assertTrue(KEPT_SECONDS / 2 < wait.getTime() - reactor.seconds() <= KEPT_SECONDS)
        wait.reset(0)
        await until(lambda: not len(pages.terminals))
        again = await pages.open()
        again.greet(resume=resume)
        await until(lambda: again.closed)
        self.assertEqual((again.texts[0]["code"], again.closed), ("gone", 4410))

    async def test_the_proxy_goes(self) -> None:
        """Every page is told why, and that another session may do."""
        pages = await Pages.start(self)
        page = await pages.shell()
        pages.terminals.farewell()
        await until(lambda: page.closed)
        (closing,) = page.of(CLOSED)
        self.assertEqual((closing["code"], closing["again"], page.closed), ("restart", True, 1001))

    async def test_signed_out(self) -> None:
        """With the session on the web its terminals end, at once here and soon where it was ended elsewhere."""
        pages = await Pages.start(self)
        page = await pages.shell()
        csrf = "c" * 40
        cookie = f"{pages.headers['Cookie']}; __Host-csrf={csrf}"
        status, _ = await pages.json("DELETE", "/webapi/sessions/web", Cookie=cookie, X_CSRF_Token=csrf)
        self.assertEqual(status, 200)
        await until(lambda: page.closed)
        self.assertEqual(page.of(CLOSED)[0]["code"], "ended")


class AttackTests(TestCase):
    """
    What is no page of ours.
    """

    async def test_another_site(self) -> None:
        """Its page gets no WebSocket, though the browser sends our cookie along."""
        pages = await Pages.start(self)
        for origin in ("https://evil.example", "null", "http://127.0.0.1", f"http://127.0.0.1:{pages.port}"):
            page = await pages.open(origin=origin)
            self.assertFalse(page.ready, origin)
        page = await pages.open(cookie="z" * 40)
        self.assertFalse(page.ready)

    async def test_no_bearer(self) -> None:
        """The cookie alone opens nothing; a first message that is none, or none at all, ends it."""
        pages = await Pages.start(self)
        for first in (b'{"token": "x"}', b"{}", b'{"token": 5}', b'{"token": "\\ud800"}'):
            page = await pages.open()
            page.sendMessage(first)
            await until(lambda page=page: page.closed)
            self.assertEqual((page.texts[0]["status"], page.closed), ("error", 4401), first)
        for first in (b"[]", b"nonsense", b'{"token": "%s"}' % (b"x" * 20_000)):
            page = await pages.open()
            page.sendMessage(first)
            await until(lambda page=page: page.closed)
            self.assertEqual(page.closed, 1008, first)
        page = await pages.open()
        page.sendMessage(b"\x00", isBinary=True)
        await until(lambda: page.closed)
        self.assertEqual((page.closed, len(pages.terminals)), (1008, 0))

    async def test_broken_envelopes(self) -> None:
        """Whoever breaks the protocol is cut off, and the session waits for a page that keeps to it."""
        pages = await Pages.start(self)
        for wrong in (
            b"garbage",
            Envelope(RAW, b"x", offset=5).encode(),
            Envelope(RAW, b"", received=10**9).encode(),
            Envelope("w", b"a:b").encode(),
            Envelope("n", b"{}").encode(),
            Envelope("s", b"{}").encode(),
        ):
            page = await pages.shell()
            page.sendMessage(wrong, isBinary=True)
            await until(lambda page=page: page.closed)
            self.assertEqual(page.closed, 1008, wrong)
        page = await pages.shell()
        page.sendMessage(bytes(200_000), isBinary=True)
        await until(lambda: page.closed)
        self.assertIn(page.closed, (1009, 1006))

    async def test_what_is_asked_for(self) -> None:
        """Parameters that are none are refused before there is a WebSocket."""
        pages = await Pages.start(self)
        for wrong in (
            {"server_id": 5},
            {"server_id": ""},
            {"login": ""},
            {"mode": "owner"},
            {"term": [1]},
            {"term": {"w": "x"}},
            {"server_id": "x" * 500},
        ):
            page = await pages.open(**wrong)
            self.assertFalse(page.ready, wrong)

    async def test_refused(self) -> None:
        """A login that is not ours, and a server that is not there, are told in words."""
        pages = await Pages.start(self)
        for params in ({"login": "daemon"}, {"server_id": "nowhere"}, {"sid": "nothing", "mode": "peer"}):
            page = await pages.open(**params)
            page.greet()
            await until(lambda page=page: page.closed)
            (closing,) = page.of(CLOSED)
            self.assertEqual((closing["code"], bool(closing["reason"])), ("refused", True), closing)


class DecisionTests(TestCase):
    """
    Whether a file may be copied, said by pages that may not say so.
    """

    async def test_not_theirs(self) -> None:
        """The server takes no answer of who asks for the file, or to nothing; the session goes on."""
        pages = await Pages.start(self)
        page = await pages.shell()
        for told in ({"requestId": "x", "approved": True}, {"requestId": "y" * 64, "approved": False}):
            page.say(Envelope.of("t", told))
        page.type(b"echo $((6*7)); exit\r")
        await until(lambda: page.of(CLOSED))
        self.assertIn(b"42", page.shown)

    async def test_no_decision(self) -> None:
        """What is no decision ends it."""
        pages = await Pages.start(self)
        for wrong in ({}, {"requestId": 1, "approved": True}, {"requestId": "x" * 65, "approved": True},
                      {"requestId": "\ud800", "approved": True},
                      {"requestId": "x"}, {"requestId": "x", "approved": "yes"}):  # fmt: skip
            page = await pages.shell()
            page.say(Envelope.of("t", wrong))
            await until(lambda page=page: page.closed)
            self.assertEqual(page.closed, 1008, wrong)


class FactorTests(TestCase):
    """
    A server that wants a second factor for each session.
    """

    async def asked(self) -> tuple[Pages, Page]:
        """
        @return: a page that was asked.
        """
        pages = await Pages.start(self)
        pages.api.need = MfaNeed(required=True)
        pages.api.challenge = Challenge(id="c1", otp=True, expires=utc_now())
        page = await pages.open()
        page.greet()
        await until(lambda: page.of(FACTOR))
        self.assertEqual(page.of(FACTOR)[0]["challenge_id"], "c1")
        return pages, page

    async def test_answered(self) -> None:
        """The answer goes to auth with the target; what comes back opens the session."""
        pages, page = await self.asked()
        page.say(Envelope.of("n", {"challenge_id": "c1", "second_factor_token": "123456"}))
        await until(lambda: page.of(SESSION) or page.closed)
        (request,) = pages.api.issued
        self.assertEqual(request.answer, MfaAnswer(otp=Secret("123456"), challenge="c1"))
        self.assertEqual(request.target, MfaTarget(kind="node", name=pages.node, login="root"))
        self.assertTrue(page.of(SESSION))

    async def test_nobody_answers(self) -> None:
        """The page reads what was waited for."""
        self.patch(question, "ANSWER_SECONDS", 0.05)
        _, page = await self.asked()
        await until(lambda: page.of(CLOSED))
        (closing,) = page.of(CLOSED)
        self.assertEqual(closing["code"], "refused")
        self.assertIn("nobody answered", closing["reason"])

    async def test_no_answer(self) -> None:
        """What is no answer ends it."""
        for wrong in ({}, {"second_factor_token": "1", "recovery_code": "2"}, {"second_factor_token": 5}, {"x": 1}):
            _, page = await self.asked()
            page.say(Envelope.of("n", wrong))
            await until(lambda page=page: page.closed)
            self.assertEqual((page.closed, page.of(SESSION)), (1008, []), wrong)


@pytest.mark.servers
class AgentlessTests(TestCase):
    """
    Sessions that end at the proxy, which speaks SSH with a stock server itself.
    """

    async def test_a_shell(self) -> None:
        """The same page, the same shell, and as much of it."""
        if SSHD is None:
            raise SkipTest("sshd is not installed")
        pages = await Pages.start(self)
        await pages.world.sshd()
        page = await pages.shell(server_id=NODE_ID)
        page.type(b"PS1=; stty -echo -onlcr; echo go''on; head -c 1000000 /dev/zero | tr '\\0' x; exit 4\r")
        await until(lambda: page.of(CLOSED), 30)
        self.assertEqual(page.of(CLOSED)[0]["status"], 4)
        self.assertEqual(page.shown.partition(b"goon\n")[2].count(b"x"), 1_000_000)
