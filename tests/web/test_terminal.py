"""
A terminal in a page, on a real agent's shell.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from teleport_tw.web.envelope import CLOSED, Envelope
from tests.proxy.world import until
from tests.web.world import Pages


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
