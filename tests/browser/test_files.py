"""
A server's files in the browser, as the server's own disk sees it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.terminals import TerminalTest
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

_DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  const panel = document.querySelector(".files");
  for (const kind of ["dragover", "drop"]) panel.dispatchEvent(new DragEvent(kind, options));
}"""


@pytest.mark.servers
class FilesPageTests(TerminalTest):
    """
    Beside a terminal.
    """

    def setUp(self) -> None:
        """
        A folder on the server.
        """
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="tw-files-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def opened(self) -> Page:
        """
        @return: a page that shows the folder.
        """
        page = self.terminal(self.signed_in())
        page.get_by_role("button", name="Files", exact=True).click()
        page.get_by_role("button", name="Type a path").click()
        page.get_by_label("Path of a folder").fill(str(self.folder))
        page.keyboard.press("Enter")
        page.get_by_role("navigation", name="Folder").get_by_text(self.folder.name).wait_for()
        return page

    def test_there_and_back(self) -> None:
        """
        Several files are put there, one of them by dropping it; one is fetched.
        """
        page = self.opened()
        page.get_by_text("This folder is empty").wait_for()
        content = bytes(range(256)) * 4096
        page.set_input_files(
            "input[type=file]",
            [
                {"name": "noise.bin", "mimeType": "application/octet-stream", "buffer": content},
                {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
            ],
        )
        page.get_by_role("button", name="Download noise.bin").wait_for()
        page.evaluate(_DROP, ["dropped.txt", "by hand"])
        page.get_by_role("button", name="Download dropped.txt").wait_for()
        self.assertEqual((self.folder / "noise.bin").read_bytes(), content)
        self.assertEqual((self.folder / "empty.txt").read_bytes(), b"")
        self.assertEqual((self.folder / "dropped.txt").read_text(), "by hand")
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download noise.bin").click()
        self.assertEqual(Path(waiting.value.path()).read_bytes(), content)
        self.assertEqual(waiting.value.suggested_filename, "noise.bin")
        self.looks_right(page)
        page.get_by_role("button", name="Clear finished").click()
        page.get_by_role("heading", name="Transfers").wait_for(state="detached")

    def test_nothing_is_replaced_unasked(self) -> None:
        """
        What is there already stays until somebody says that it may go; what is new arrives meanwhile.
        """
        (self.folder / "here.txt").write_text("before")
        page = self.opened()
        page.get_by_role("button", name="Download here.txt").wait_for()
        files = [{"name": name, "mimeType": "text/plain", "buffer": b"after"} for name in ("here.txt", "new.txt")]
        page.set_input_files("input[type=file]", files)  # type: ignore[arg-type]
        asked = page.get_by_role("dialog", name="Replace here.txt?")
        page.get_by_role("button", name="Download new.txt").wait_for()
        self.looks_right(page, where="a file is there already")
        asked.get_by_role("button", name="Cancel").click()
        self.assertEqual((self.folder / "here.txt").read_text(), "before")
        page.set_input_files("input[type=file]", files[:1])  # type: ignore[arg-type]
        asked.get_by_role("button", name="Replace").click()
        until(lambda: (self.folder / "here.txt").read_text() == "after", "the other content")

    def test_names(self) -> None:
        """
        Folders are walked; names that would act are shown and stay harmless.
        """
        (self.folder / "inner").mkdir()
        (self.folder / "inner" / "deep.txt").write_text("deep")
        (self.folder / "<img src=x onerror=alert(1)>").write_text("x")
        (self.folder / "up\u202egnp.exe").write_text("x")
        page = self.opened()
        page.get_by_text("<img src=x onerror=alert(1)>", exact=True).wait_for()
        page.get_by_text("up\ufffdgnp.exe", exact=True).wait_for()
        self.assertEqual(page.locator("img").count(), 0)
        page.get_by_role("button", name="inner", exact=True).click()
        page.get_by_role("button", name="Download deep.txt").wait_for()
        page.get_by_role("button", name="The folder above").click()
        page.get_by_role("button", name="inner", exact=True).wait_for()
        self.looks_right(page)

    def test_refused(self) -> None:
        """
        What cannot be read or written is said, and the rest goes on.
        """
        self.expected_statuses = {400, 403, 404}
        page = self.opened()
        (self.folder / "taken").mkdir()
        files = [
            {"name": "taken", "mimeType": "text/plain", "buffer": b"x"},
            {"name": "fine", "mimeType": "text/plain", "buffer": b"y"},
        ]
        page.set_input_files("input[type=file]", files)  # type: ignore[arg-type]
        page.get_by_text("Failed").wait_for()
        page.get_by_role("alert").first.wait_for()
        until((self.folder / "fine").exists, "the other file")
        page.get_by_role("button", name="Type a path").click()
        page.get_by_label("Path of a folder").fill("/no/such/folder")
        page.keyboard.press("Enter")
        page.get_by_text(re.compile("no such file", re.IGNORECASE)).wait_for()
        self.looks_right(page, where="refused")
        self.assertTrue(
            page.get_by_role("button", name="Upload", exact=True).is_disabled(), "it would go to another folder"
        )
        page.get_by_label("Path of a folder").fill(str(self.folder))
        page.keyboard.press("Enter")
        page.get_by_role("button", name="taken", exact=True).wait_for()
        page.get_by_role("button", name="Type a path").click()
        page.get_by_label("Path of a folder").fill("/no/such/folder")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="To the start").click()
        page.get_by_role("button", name="The folder above").wait_for()
