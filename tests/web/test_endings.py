"""
Terminals that the server, the cluster or the proxy ends: the page reads why.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from twisted.trial.unittest import TestCase

from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.web.envelope import CLOSED
from tests.proxy.world import until
from tests.web.world import Page, Pages, signed_in


@pytest.mark.servers
class EndingTests(TestCase):
    """
    Each has a cluster of its own.
    """

    timeout = 180

    async def ending(self, page: Page, code: str = "ended") -> dict[str, Any]:
        """
        @return: what the page was told.
        """
        await until(lambda: page.of(CLOSED) or page.closed is not None)
        (closing,) = page.of(CLOSED)
        await until(lambda: page.closed is not None)
        self.assertEqual((closing["code"], page.closed), (code, 1000), closing)
        return closing

    async def test_idle(self) -> None:
        """Nobody typed for as long as the role says."""
        pages = await Pages.start(self, client_idle_timeout="5s")
        closing = await self.ending(await pages.shell())
        self.assertIn("no activity for 5s", closing["reason"])

    async def test_a_lock(self) -> None:
        """Its own words."""
        pages = await Pages.start(self)
        page = await pages.shell()
        spec = {"target": {"user": "alice"}, "message": "ask security"}
        await pages.world.cluster.local().create(Resource("lock", "v2", Metadata("l"), spec))
        closing = await self.ending(page)
        self.assertIn("ask security", closing["reason"])

    async def test_the_certificate_ends(self) -> None:
        """Where the role ends sessions with it."""
        pages = await Pages.start(self, disconnect_expired_cert=True)
        pages.session = await signed_in(pages.world, "alice", ttl=timedelta(seconds=25))
        pages.proxy_api.sessions = {pages.session.id.reveal(): pages.session}
        closing = await self.ending(await pages.shell())
        self.assertIn("certificate expired", closing["reason"])

    async def test_the_agent_goes(self) -> None:
        """In order, or not at all: another session may do once it is back."""
        pages = await Pages.start(self)
        page = await pages.shell()
        await pages.agent.stopService()
        await until(lambda: page.of(CLOSED) or page.closed is not None)
        (closing,) = page.of(CLOSED)
        self.assertIn(closing["code"], ("lost", "ended"))
        self.assertTrue(closing["reason"], closing)

    async def test_who_comes_while_the_proxy_goes(self) -> None:
        """A page that opens a terminal then is told like the others, and no session begins."""
        pages = await Pages.start(self)
        pages.terminals.farewell()
        page = await pages.open()
        page.greet()
        await until(lambda: page.closed is not None)
        (closing,) = page.of(CLOSED)
        self.assertEqual((closing["code"], page.closed, len(pages.terminals)), ("restart", 1001, 0))
