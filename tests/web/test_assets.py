"""
The page and its files.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.web.assets import Assets, accepts_gzip

PAGE = """<!doctype html>
<script type="importmap" nonce="__NONCE__">{"imports": {"preact": "__BASE__/vendor/preact.js"}}</script>
<link rel="stylesheet" href="__BASE__/app/main.css" />
<script type="module" nonce="__NONCE__" src="__BASE__/app/main.js"></script>
"""
MAIN = """import { render } from "preact";
import {
  one,
  two,
} from "./ui/button.js";
import "./side.js";
export * from './ui/again.js';
const late = () => import("./late.js");
"""


@define
class Request:
    """
    As much of one as files need.
    """

    said: dict[bytes, bytes] = field(factory=dict)
    headers: dict[bytes, bytes] = field(factory=dict)

    def getHeader(self, name: bytes) -> bytes | None:
        return self.said.get(name)

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value


class AssetsTests(SynchronousTestCase):
    """
    From a folder of this test.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        for name, content in {
            "index.html": PAGE,
            "app/main.js": MAIN,
            "app/ui/button.js": "import '../side.js';\n" + "// much to say\n" * 100,
            "app/ui/again.js": "",
            "app/side.js": "import '../../../../etc/passwd.js'",
            "app/late.js": "",
            "app/.hidden.js": "secret",
            "app/notes.py": "secret",
            "vendor/preact.js": "export const render = 1;",
        }.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.assets = Assets(self.folder)

    def test_nonce(self) -> None:
        """Each answer has a nonce of its own, the same in its policy and its page; nothing else may run."""
        seen = set()
        for _ in range(3):
            request: Any = Request()
            page = self.assets.page(request, "wss://example.com").decode()
            policy = request.headers[b"Content-Security-Policy"].decode()
            (nonce,) = set(re.findall('nonce="([^"]+)"', page))
            self.assertIn(f"script-src 'self' 'nonce-{nonce}';", policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertIn("connect-src 'self' wss://example.com;", policy)
            self.assertNotRegex(page, "__[A-Z]+__")
            seen.add(nonce)
        self.assertEqual(len(seen), 3)

    def test_preload(self) -> None:
        """What the first module needs is asked for at once: also by bare names, not what is loaded on demand."""
        page = self.assets.page(Request()).decode()
        links = re.findall('<link rel="modulepreload" href="/web/app/[0-9a-f]{12}/([^"]+)"', page)
        wanted = ["app/main.js", "vendor/preact.js", "app/ui/button.js", "app/side.js", "app/ui/again.js"]
        self.assertEqual(links, wanted)
        self.assertLess(page.index("importmap"), page.index("modulepreload"))

    def test_files(self) -> None:
        """A file is served for ever, packed where the client can take it."""
        plain: Any = Request()
        content = self.assets.file(plain, f"{self.assets.version}/app/ui/button.js")
        self.assertIn(b"immutable", plain.headers[b"Cache-Control"])
        self.assertEqual(plain.headers[b"Content-Type"], b"text/javascript; charset=utf-8")
        packed: Any = Request({b"Accept-Encoding": b"br, gzip;q=0.5"})
        sent = self.assets.file(packed, f"{self.assets.version}/app/ui/button.js")
        self.assertEqual(packed.headers[b"Content-Encoding"], b"gzip")
        self.assertEqual(gzip.decompress(sent), content)
        self.assertLess(len(sent), len(content))

    def test_only_files(self) -> None:
        """Neither another version's, nor what is hidden, nor code of ours, nor anything above."""
        version = self.assets.version
        for name in (
            "",
            version,
            f"{version}/",
            f"{version}/index.html",
            f"{version}/app",
            f"{version}/app/.hidden.js",
            f"{version}/app/notes.py",
            f"{version}/../app/main.js",
            f"{version}/app/../app/main.js",
            "0123456789ab/app/main.js",
        ):
            self.assertRaises(TeleportError, self.assets.file, Request(), name)

    def test_change(self) -> None:
        """Another content has another address, once it is read anew."""
        before = self.assets.version
        (self.folder / "app/side.js").write_text("export const more = 2;")
        self.assertEqual(self.assets.version, before)
        self.assets.reload()
        self.assertNotEqual(self.assets.version, before)

    def test_gzip_is_asked_for(self) -> None:
        """By its name, and not with the weight of none."""
        for told, fits in (
            (b"gzip", True),
            (b"deflate, GZIP", True),
            (b"gzip; q=0", False),
            (b"xgzip", False),
            (b"", False),
        ):
            self.assertEqual(accepts_gzip(Request({b"Accept-Encoding": told})), fits, told)

    def test_without_a_page(self) -> None:
        """A folder without application is no mistake."""
        empty = Path(self.mktemp())
        empty.mkdir()
        self.assertFalse(Assets(empty).has_page)
        self.assertTrue(self.assets.has_page)
