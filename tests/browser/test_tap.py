"""
The page that lets a login by SSH go on: a stock client waits, its user's key is touched in the browser.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.rig import PageTest
from tests.browser.terminals import ME
from tests.journeys.cluster import PATIENCE, ROOT, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROLE = {
    "kind": "role",
    "version": "v7",
    "metadata": {"name": "tapped"},
    "spec": {
        "options": {"require_session_mfa": True},
        "allow": {"logins": [ME], "node_labels": {"*": "*"}},
    },
}


@pytest.mark.servers
class TapTests(PageTest):
    """
    C{/web/tap/:id}.
    """

    def signed_up(self, user: str, roles: str = "access") -> Page:
        """
        @return: a window of somebody with a passkey.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, user, roles=roles)))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, user)
        return page

    def started(self, *words: str, **environment: str) -> tuple[subprocess.Popen[str], Path]:
        """
        @return: a program that runs, and what it says to its user.
        """
        said = self.cluster.folder / f"{Path(words[0]).name}.said"
        own = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        own |= {"TELEPORT_HOME": str(self.cluster.home), "PYTHONPATH": str(ROOT), "HOME": str(self.cluster.folder)}
        with said.open("w") as errors:
            run = subprocess.Popen(
                words,
                env=own | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.addCleanup(self.ended, run)
        return run, said

    def ended(self, run: subprocess.Popen[str]) -> None:
        """
        Nothing of it stays.
        """
        run.kill()
        run.communicate()

    def told(self, said: Path, pattern: str) -> str:
        """
        Waits until the program has said it.
        """
        found: Any = until(lambda: re.search(pattern, said.read_text()), f"{pattern} in what {said.name} holds")
        return str(found[1])

    def test_approved(self) -> None:
        """
        The page says what waits; with the key it goes on, and the page cannot approve twice.
        """
        cluster = self.cluster
        file = cluster.folder / "tapped.json"
        file.write_text(json.dumps(ROLE))
        cluster.tctl("create", "-f", str(file))
        page = self.signed_up("tess", roles="tapped")

        flags = (f"--proxy={cluster.proxy}", f"--ca-pin={cluster.pin}", "--auth=browser", "--browser=none")
        login, said = self.started(*cluster.program("tsh"), "login", *flags)
        page.goto(self.told(said, r"(https://\S+)\n"))
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Use a key or passkey").click()
        self.assertEqual(login.wait(PATIENCE), 0, said.read_text())

        config, gate = cluster.folder / "tapped.ssh", cluster.folder / "pressed"
        config.write_text(cluster.tsh("config").stdout)
        os.mkfifo(gate)
        asking = cluster.folder / "press-enter"
        asking.write_text(f"#!/bin/sh\ncat {gate}\necho\n")
        asking.chmod(0o755)
        answers = {"SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        ssh, said = self.started("ssh", "-F", str(config), f"{ME}@node-1.journey", "echo", "in", **answers)
        place = urlsplit(self.told(said, r"(https://\S+/web/tap/[\w-]+)")).path

        page.goto(self.address(place))
        page.get_by_text("Is it you?").wait_for()
        self.assertEqual(page.locator(".headless-lead strong").all_inner_texts(), ["node-1", ME])
        self.looks_right(page)
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("button", name="Use a key or passkey").click()
        page.get_by_role("heading", name="Approved").wait_for()
        self.looks_right(page, where="approved")
        self.assertIsNone(ssh.poll())
        page.reload()
        page.get_by_role("heading", name="Approved").wait_for()
        with gate.open("w") as pressed:
            pressed.write("")
        out, _ = ssh.communicate(timeout=PATIENCE)
        self.assertEqual((ssh.returncode, out), (0, "in\n"), said.read_text())
        (event,) = cluster.events("session.start", user="tess")
        self.assertTrue(event["with_mfa"])

    def test_unknown(self) -> None:
        """
        Another user's login, or none, is none.
        """
        page = self.signed_up("toni")
        self.expected_statuses = {404}
        page.goto(self.address("/web/tap/3f3f1d0e-3a4b-4b7e-9d57-0c8f0c1b7a11"))
        page.get_by_role("heading", name="There is no such login").wait_for()
        self.looks_right(page)
        self.assertEqual(page.get_by_role("button", name="Approve").count(), 0)
