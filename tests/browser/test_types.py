"""
The types that the page's modules declare in comments, checked by TypeScript.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.browser.packages import TYPESCRIPT

PROJECT = Path(__file__).with_name("tsconfig.json")


@pytest.mark.servers
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
class TypeTests(SynchronousTestCase):
    """
    C{tsc --checkJs --strict}.
    """

    def check(self, project: Path) -> subprocess.CompletedProcess[str]:
        """
        @return: what the compiler said.
        """
        compiler = TYPESCRIPT.folder() / "bin" / "tsc"
        command = ("node", str(compiler), "--project", str(project), "--pretty", "false")
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    def test_modules(self) -> None:
        """
        No module has an error.
        """
        done = self.check(PROJECT)
        self.assertEqual(done.returncode, 0, done.stdout)
