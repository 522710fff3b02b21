"""
Files of a session that others must watch: asked about in one window, answered in another.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.terminals import ME, TerminalTest
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

_JOINS = {"name": "all", "roles": ["access", "watched"], "kinds": ["ssh"], "modes": ["*"]}
_NEEDS = {"name": "eyes", "filter": 'contains(user.spec.roles, "guard")', "kinds": ["ssh"], "modes": ["moderator"]}
ROLES = {
    "watched": {"logins": [ME], "node_labels": {"*": "*"}, "require_session_join": [_NEEDS]},
    "guard": {"join_sessions": [_JOINS]},
}

_ON_TOP = """each => {
  const { x, y } = each.getBoundingClientRect();
  return each.contains(document.elementFromPoint(x + 4, y + 4));
}"""


@pytest.mark.servers
class ModeratedFilesTests(TerminalTest):
    """
    Alice copies, Bob is asked, Carol looks on.
    """

    @classmethod
    def setUpClass(cls) -> None:
        """
        Roles of theirs.
        """
        super().setUpClass()
        for name, allow in ROLES.items():
            path = Path(cls.cluster.folder) / f"{name}.yaml"
            role = {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": {"allow": allow}}
            path.write_text(json.dumps(role))
            cls.cluster.tctl("create", "-f", str(path))

    def setUp(self) -> None:
        """
        A folder on the server.
        """
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="tw-files-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def begun(self) -> tuple[Page, Page]:
        """
        @return: windows of the owner and of the moderator.
        """
        owner = self.signed_in("alice", roles="watched")
        owner.get_by_role("link", name=re.compile("^Connect to node-1")).click()
        self.shows(owner, "Waiting for participants")
        guard = self.signed_in("bob", roles="access,guard")
        self.joins(guard, "Moderate")
        self.shows(owner, "Everybody required is here")
        return owner, guard

    def joins(self, page: Page, how: str) -> None:
        """
        @param how: the beginning of the choice.
        """
        page.get_by_role("link", name="Active sessions").click()
        page.get_by_role("button", name=re.compile("^Join ")).first.click()
        page.get_by_role("menuitem", name=re.compile(f"^{how}")).click()

    def opens_files(self, owner: Page) -> None:
        """
        The owner's panel, at the folder.
        """
        owner.get_by_role("button", name="Files", exact=True).click()
        owner.get_by_label("File to download").wait_for()
        owner.get_by_role("button", name="Type a path").click()
        owner.get_by_label("Path of a folder").fill(str(self.folder))
        owner.keyboard.press("Enter")
        owner.get_by_role("navigation", name="Folder").get_by_text(self.folder.name).wait_for()

    def sends(self, owner: Page, name: str, text: str) -> None:
        """
        An upload.
        """
        owner.set_input_files("input[type=file]", [{"name": name, "mimeType": "text/plain", "buffer": text.encode()}])

    def test_answered(self) -> None:
        """
        One yes is good for one file in one direction, and a no for it; each reads what became of it.
        """
        self.expected_statuses = {403}
        owner, guard = self.begun()
        self.opens_files(owner)
        self.looks_right(owner, where="files that are named")
        self.sends(owner, "given.txt", "by Alice")
        asked = guard.get_by_role("status", name="A file is asked about")
        asked.get_by_text("alice wants to copy a file to the server").wait_for()
        owner.get_by_text("Waiting for those who watch to approve").wait_for()
        self.assertFalse((self.folder / "given.txt").exists())
        self.looks_right(guard, where="a moderator is asked")
        self.looks_right(owner, where="an owner waits")
        self.assertIn("/given.txt", asked.inner_text())
        guard.keyboard.press("Tab")
        guard.keyboard.press("Tab")
        guard.keyboard.press("Enter")
        self.in_terminal(guard)
        owner.get_by_text("Approved: the file is copied.", exact=True).wait_for()
        until(lambda: (self.folder / "given.txt").exists(), "the file")
        until(lambda: (self.folder / "given.txt").read_text() == "by Alice", "all of the file")
        owner.get_by_label("File to download").fill("given.txt")
        owner.keyboard.press("Enter")
        asked.get_by_text("alice wants to copy a file from the server").wait_for()
        with owner.expect_download() as waiting:
            asked.get_by_role("button", name="Approve").click()
        self.assertEqual(Path(waiting.value.path()).read_text(), "by Alice")
        self.sends(owner, "denied.txt", "x")
        asked.get_by_text("/denied.txt").wait_for()
        asked.get_by_role("button", name="Deny").click()
        self.in_terminal(guard)
        owner.get_by_text("It was denied: bob denied it.").wait_for()
        owner.get_by_text("those who watch the session denied it").wait_for()
        self.looks_right(owner, where="a file is denied")
        self.assertFalse((self.folder / "denied.txt").exists())
        for kind, names in (
            ("", ("given", "given", "denied")),
            ("_approve", ("given", "given")),
            ("_deny", ("denied",)),
        ):
            told = self.cluster.events(f"file_transfer_request{kind}")
            here = [path for event in told if (path := Path(event["location"])).parent == self.folder]
            self.assertEqual([path.stem for path in here], list(names), kind)

    def test_who_comes_later(self) -> None:
        """
        A page that joins while a file is asked about, or comes back, is asked as well; who does not count only reads.
        """
        owner, guard = self.begun()
        self.opens_files(owner)
        self.sends(owner, "<img src=x onerror=alert(1)>", "x")
        asked = guard.get_by_role("status", name="A file is asked about")
        asked.get_by_text("onerror").wait_for()
        guard.reload()
        asked.get_by_text("onerror").wait_for()
        self.assertEqual(guard.locator("img").count(), 0)
        other = self.signed_in("carol", roles="access,guard")
        self.joins(other, "Watch")
        seen = other.get_by_role("status", name="A file is asked about")
        seen.get_by_text("A moderator answers.").wait_for()
        self.assertEqual(seen.get_by_role("button").count(), 0)
        owner.get_by_role("button", name=re.compile("^Stop ")).click()
        guard.get_by_text("It was denied: who asked has gone.").wait_for()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_all_of_a_path_is_read(self) -> None:
        """
        However long it is and however small the window: nothing of it is out of sight before the buttons are reached.
        The owner reads that others are asked, also where the files cover the terminal.
        """
        owner, guard = self.begun()
        self.opens_files(owner)
        self.sends(owner, "of many words  " * 15 + ".txt", "x")
        asked = guard.get_by_role("status", name="A file is asked about")
        path = asked.locator(".file-path")
        path.wait_for()
        for width, height in ((1440, 900), (390, 844), (390, 500)):
            guard.set_viewport_size({"width": width, "height": height})
            self.assertTrue(path.evaluate("each => each.scrollHeight <= each.clientHeight"), width)
            self.assertTrue(path.inner_text().endswith("words  .txt"))
            approve = asked.get_by_role("button", name="Approve")
            approve.scroll_into_view_if_needed()
            end = "each => each.closest('.file-question').querySelector('.file-path').getBoundingClientRect().bottom"
            self.assertLessEqual(approve.evaluate(end), approve.evaluate("each => each.getBoundingClientRect().bottom"))
        self.looks_right(guard, where="a long path")
        owner.set_viewport_size({"width": 390, "height": 844})
        waits = owner.get_by_label("Transfers").get_by_text("Those who watch are asked about")
        waits.wait_for()
        owner.wait_for_function(_ON_TOP, arg=waits.element_handle())
        self.looks_right(owner, where="files that others are asked about")

    def test_odd_files(self) -> None:
        """
        What is there already is replaced only when its owner says so, and others agree; a folder is none to fetch, an
        empty file is one, a link is asked about by where it leads, and a large one goes to the browser's downloads.
        """
        self.expected_statuses = {400, 409}
        (self.folder / "here.txt").write_text("before")
        (self.folder / "empty").touch()
        large = self.folder / "large  file"
        with large.open("wb") as file:
            file.truncate(65 * 1024 * 1024)
        (self.folder / "link").symlink_to(large)
        owner, guard = self.begun()
        self.opens_files(owner)
        asked = guard.get_by_role("status", name="A file is asked about")
        self.sends(owner, "here.txt", "after")
        replace = owner.get_by_role("button", name="Replace here.txt")
        replace.wait_for()
        self.assertEqual(asked.count(), 0)
        self.looks_right(owner, where="a file that is there already")
        replace.click()
        asked.get_by_text("/here.txt").wait_for()
        self.assertEqual((self.folder / "here.txt").read_text(), "before")
        asked.get_by_role("button", name="Approve").click()
        until(lambda: (self.folder / "here.txt").read_text() == "after", "the other file")
        named = owner.get_by_label("File to download")
        named.fill(str(self.folder))
        owner.keyboard.press("Enter")
        owner.get_by_text("is a folder").wait_for()
        for name, shown, size in (("empty", "/empty", 0), ("link", "/large  file", 65 * 1024 * 1024)):
            named.fill(name)
            owner.keyboard.press("Enter")
            asked.wait_for()
            path = asked.locator(".file-path")
            self.assertTrue(path.inner_text().endswith(shown), path.inner_text())
            with owner.expect_download() as waiting:
                asked.get_by_role("button", name="Approve").click()
            self.assertEqual(Path(waiting.value.path()).stat().st_size, size)
        owner.get_by_text("In your browser").wait_for()
