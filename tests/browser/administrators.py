"""
Administrators and auditors before the browser: signed in once for all tests of a class, with sessions to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.terminals import ME, TerminalTest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ALL = "access,editor,auditor"
SITE = "/web/cluster/journey"


class AdminTest(TerminalTest):
    """
    Somebody with all rights, and somebody with few.
    """

    def administrator(self, path: str, user: str = "ana") -> Page:
        """
        @return: a window of hers before a page of the cluster.
        """
        page = self.signed_in(user, roles=ALL, logins=ME)
        page.goto(self.address(SITE + path))
        return page

    def someone(self, path: str) -> Page:
        """
        @return: the same for somebody who administers nothing.
        """
        page = self.signed_in("joe", roles="access", logins=ME)
        page.goto(self.address(SITE + path))
        return page
