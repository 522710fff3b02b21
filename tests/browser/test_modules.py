"""
Modules of the page that need no page, in Node's own test runner.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

MODULES = Path(__file__).with_name("modules")


@pytest.mark.servers
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
class ModuleTests(SynchronousTestCase):
    """
    Each C{modules/*.test.mjs}.
    """

    def test_modules(self) -> None:
        """
        All of them pass.
        """
        found = sorted(str(path) for path in MODULES.glob("*.test.mjs"))
        self.assertTrue(found)
        done = subprocess.run(("node", "--test", *found), capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
