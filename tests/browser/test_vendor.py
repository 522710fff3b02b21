"""
The libraries that the page brings along.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.web.assets import Assets

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "teleport_tw" / "web" / "static"
VENDOR = STATIC / "vendor"
MOST_FIRST_LOAD_BYTES = 350_000


class VendorTests(SynchronousTestCase):
    """
    C{static/vendor} and its lock.
    """

    def test_locked(self) -> None:
        """
        Every file is what was locked, and none is beside them.
        """
        command = (sys.executable, str(ROOT / "etc" / "vendor"), "--check")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_licences(self) -> None:
        """
        Each package has its licence beside it, one that lets us hand it on.
        """
        for package in json.loads((VENDOR / "lock.json").read_text())["packages"]:
            self.assertIn(package["licence"], ("MIT", "Apache-2.0"))
            self.assertTrue((VENDOR / package["folder"] / "LICENSE").is_file(), package["name"])


class SizeTests(SynchronousTestCase):
    """
    What a browser fetches first.
    """

    def test_first_load(self) -> None:
        """
        Page, style sheets and the modules that C{main.js} needs stay small, and the terminal is not among them.
        """
        assets = Assets()
        page = assets._page
        base = assets.base
        names = {part.partition('"')[0] for part in page.split(f'"{base}/')[1:]}
        import_map = json.loads(
            page.partition('<script type="importmap"')[2].partition(">")[2].partition("</script>")[0]
        )
        only_named = {path.removeprefix(f"{base}/") for path in import_map["imports"].values()}
        preloaded = {part.partition('"')[0] for part in page.split(f'modulepreload" href="{base}/')[1:]}
        first = (names - only_named) | preloaded
        self.assertIn("vendor/preact/preact.js", first)
        self.assertFalse([name for name in first if "xterm" in name])
        total = len(gzip.compress(page.encode())) + sum(
            len(gzip.compress((STATIC / name).read_bytes())) for name in first
        )
        self.assertLess(total, MOST_FIRST_LOAD_BYTES)
