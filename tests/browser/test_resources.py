"""
The list of what a user can reach: found, filtered, sorted and paged, with names that mean no good.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.browser.rig import PHONE
from tests.browser.terminals import TerminalTest

EVIL = "<img src=x onerror=alert(1)>\u202egnp.exe\x1b[31m"


def server(number: int, **labels: str) -> dict[str, Any]:
    """
    @return: a server that runs OpenSSH alone, as a resource.
    """
    return {
        "kind": "node",
        "sub_kind": "openssh",
        "version": "v2",
        "metadata": {"name": str(uuid.UUID(int=number)), "labels": {"env": "prod", **labels}},
        "spec": {"hostname": f"web-{number:03}", "addr": f"192.0.2.{number % 250}:22"},
    }


def rows(text: str) -> str:
    """
    @return: which rows of how many, as the page words it.
    """
    return text.replace("-", "\N{EN DASH}")


@pytest.mark.servers
class ResourcesPageTests(TerminalTest):
    """
    One server that is there, and fifty more by name.
    """

    @classmethod
    def setUpClass(cls) -> None:
        """
        Servers that run OpenSSH, one of them a liar.
        """
        super().setUpClass()
        made = [server(number, team="even" if number % 2 == 0 else "odd") for number in range(1, 51)]
        made[6]["metadata"]["labels"]["<b>note"] = EVIL
        made[6]["metadata"]["description"] = EVIL
        path = Path(cls.cluster.folder) / "servers.yaml"
        path.write_text("\n---\n".join(json.dumps(each) for each in made))
        cls.cluster.tctl("create", "-f", str(path))

    def test_found(self) -> None:
        """
        Search asks the cluster; the address keeps it, and a reload and the way back show the same.
        """
        page = self.signed_in()
        page.get_by_text(rows("1-20 of 51")).wait_for()
        page.get_by_role("searchbox").fill("web-04")
        page.get_by_text(rows("1-10 of 10")).wait_for()
        self.assertIn("search=web-04", page.url)
        page.reload()
        page.get_by_text(rows("1-10 of 10")).wait_for()
        self.assertEqual(page.get_by_role("searchbox").input_value(), "web-04")
        page.get_by_role("searchbox").fill("nothing like this")
        page.get_by_role("heading", name="Nothing fits").wait_for()
        self.looks_right(page, where="nothing fits")
        page.get_by_role("button", name="Show everything").click()
        page.get_by_text(rows("1-20 of 51")).wait_for()

    def test_filtered(self) -> None:
        """
        A click on a label narrows the list, its cross widens it; a label's odd characters do no harm.
        """
        page = self.signed_in()
        page.get_by_text(rows("1-20 of 51")).wait_for()
        page.get_by_role("button", name="team: even").first.click()
        page.get_by_text(rows("1-20 of 25")).wait_for()
        page.get_by_role("button", name="env: prod").first.click()
        page.get_by_role("button", name="Remove the filter team: even").click()
        page.get_by_text("of 50").wait_for()
        page.get_by_role("button", name="Remove the filter env: prod").click()
        page.get_by_role("searchbox").fill("web-007")
        label = page.get_by_role("button", name=re.compile("<b>note"))
        label.click()
        page.get_by_text(rows("1-1 of 1")).wait_for()
        shown = page.locator(".chip-text").inner_text()
        self.assertIn("<img src=x onerror=alert(1)>\ufffdgnp.exe\u241b[31m", shown)
        self.looks_right(page, where="filtered")
        self.assertEqual(page.locator("img").count(), 0)

    def test_sorted_and_paged(self) -> None:
        """
        Pages follow one another both ways, by the buttons and by the browser's own.
        """
        page = self.signed_in()
        page.get_by_text("Servers", exact=True).click()
        page.get_by_text(rows("1-20 of 51")).wait_for()
        page.get_by_role("button", name="Name").click()
        page.locator("tbody tr").first.get_by_text("web-050").wait_for()
        page.get_by_role("button", name="Next page").click()
        page.get_by_text(rows("21-40 of 51")).wait_for()
        page.get_by_role("button", name="Next page").click()
        page.get_by_text(rows("41-51 of 51")).wait_for()
        self.assertTrue(page.get_by_role("button", name="Next page").is_disabled())
        page.reload()
        page.get_by_text(rows("41-51 of 51")).wait_for()
        page.go_back()
        page.get_by_text(rows("21-40 of 51")).wait_for()
        page.get_by_role("button", name="Previous page").click()
        page.get_by_text(rows("1-20 of 51")).wait_for()
        page.locator("tbody tr").first.get_by_text("web-050").wait_for()
        self.looks_right(page)

    def test_failed(self) -> None:
        """
        What went wrong is said, and tried again by a button.
        """
        self.expected_statuses = {500}
        page = self.signed_in()
        page.get_by_text(rows("1-20 of 51")).wait_for()
        body = '{"error": {"message": "the list could not be read"}}'
        page.route("**/databases*", lambda route: route.fulfill(status=500, body=body))
        page.get_by_text("Databases", exact=True).click()
        page.get_by_text("The list could not be read.").wait_for()
        page.unroute("**/databases*")
        page.get_by_role("button", name="Try again").click()
        page.get_by_role("heading", name="Nothing to reach yet").wait_for()
        self.looks_right(page, where="no databases")

    def test_phone(self) -> None:
        """
        With a finger: into a shell from a narrow list. The drawer gives the focus back.
        """
        page = self.signed_in(size=PHONE)
        page.get_by_role("button", name="Open the navigation").click()
        page.get_by_role("button", name="Close the navigation").wait_for()
        page.keyboard.press("Escape")
        opens = page.get_by_role("button", name="Open the navigation")
        opens.wait_for()
        self.assertEqual(page.evaluate("document.activeElement.getAttribute('aria-label')"), "Open the navigation")
        page.get_by_role("searchbox").fill("node-1")
        page.get_by_text(rows("1-1 of 1")).wait_for()
        self.terminal(page)
        self.types(page, "echo $((90 + 9))")
        self.shows(page, re.compile("^99$", re.MULTILINE))


@pytest.mark.servers
class DatabaseDialogTests(TerminalTest):
    """
    Commands for a database.
    """

    def test_commands(self) -> None:
        """
        They carry what was chosen, and a name with a quote in it is quoted.
        """
        page = self.signed_in()
        item = {
            "kind": "db",
            "name": "it's",
            "description": "Orders",
            "protocol": "postgres",
            "type": "self-hosted",
            "hostname": "h",
            "labels": [{"name": "env", "value": "prod"}],
            "names": ["orders", "billing"],
            "users": ["*"],
        }
        answer = json.dumps({"items": [item], "startKey": "", "totalCount": 1})
        page.route("**/databases*", lambda route: route.fulfill(body=answer, content_type="application/json"))
        page.get_by_text("Databases", exact=True).click()
        page.get_by_role("button", name="Connect to it's").click()
        page.get_by_label("Database user").fill("app")
        page.get_by_label("Database", exact=True).select_option("billing")
        page.get_by_text(r"tsh db connect --db-user=app --db-name=billing 'it'\''s'").wait_for()
        self.looks_right(page, where="commands")
        page.get_by_role("tab", name="With another program").click()
        page.get_by_text(r"tsh proxy db --db-user=app --db-name=billing --tunnel 'it'\''s'").wait_for()


@pytest.mark.servers
class EmptyClusterTests(TerminalTest):
    """
    An administrator's first look.
    """

    def test_first_server(self) -> None:
        """
        The page says what to do.
        """
        page = self.signed_in("admin", roles="access,editor")
        page.route(
            "**/resources?*",
            lambda route: route.fulfill(
                body='{"items": [], "startKey": "", "totalCount": 0}', content_type="application/json"
            ),
        )
        page.reload()
        page.get_by_role("heading", name="Add your first server").wait_for()
        self.looks_right(page, where="empty")
