"""
A real Chromium before a real cluster.

What a page says on its console, what its content policy forbids, and requests that fail are noted while a test runs; at
its end, whatever the test did not announce fails it.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.browser.packages import AXE
from tests.journeys.cluster import Cluster

try:
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        CDPSession,
        ConsoleMessage,
        Page,
        Playwright,
        sync_playwright,
    )
except ImportError:  # pragma: no cover
    sync_playwright = None  # type: ignore[assignment]

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
FLAGS = ("--no-sandbox",) if os.geteuid() == 0 else ()
PATIENCE_MS = 60_000

_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  const { violatedDirective, blockedURI, sourceFile, lineNumber } = event;
  console.error(`content policy: ${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`);
});
"""

_NOTHING_OFFERED = """
if (self.PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = async () => false;
"""
"""A key that is touched at once would also take up at once what the browser only offers."""

_DRAWN = """async ([width, scheme]) => {
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  return innerWidth === width && matchMedia(`(prefers-color-scheme: ${scheme})`).matches;
}"""
"""The page has followed: a busy machine takes its time."""

_NOTHING_FADES = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(".is-stale tbody { opacity: 1 !important; transition: none !important; }");
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}"""
"""Rows fade while those that follow them are fetched, which may be at any moment: what passes is not judged."""

_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


def chromium() -> str:
    """
    @return: where the browser is.
    @raise SkipTest: there is none, or no Playwright.
    """
    if sync_playwright is None:
        raise SkipTest("playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise SkipTest("there is no Chromium")
    return found


class PageTest(SynchronousTestCase):
    """
    One cluster and one browser for all tests of a class; each test has a window of its own, at an address of its own:
    what an address may ask in a minute is for people, not for all tests at once.

    @cvar auth_service: further keys of that section.
    @cvar authentication: the section of that name of C{auth_service}.
    """

    auth_service: ClassVar[Mapping[str, Any]] = {}
    authentication: ClassVar[Mapping[str, Any]] = {
        "second_factors": ["otp", "webauthn"],
        "passwordless": True,
        "webauthn": {"rp_id": "localhost"},
    }
    cluster: ClassVar[Cluster]
    browser: ClassVar[Browser]
    _playwright: ClassVar[Playwright]
    _numbers: ClassVar[Iterator[int]] = itertools.count(1)

    @classmethod
    def setUpClass(cls) -> None:
        """
        Start both.
        """
        super().setUpClass()
        program = chromium()
        cls.cluster = Cluster(
            auth_service={"authentication": dict(cls.authentication), **cls.auth_service},
            proxy_service={"trust_x_forwarded_for": True},
        )
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls._playwright = sync_playwright().start()
        cls.addClassCleanup(cls._playwright.stop)
        cls.browser = cls._playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        cls.addClassCleanup(cls.browser.close)

    def setUp(self) -> None:
        """
        Nothing was said yet.
        """
        super().setUp()
        self.client_address = f"192.0.2.{next(self._numbers) % 250 + 1}"
        self.said: list[str] = []
        self.expected_statuses: set[int] = set()
        self.expected_texts: set[str] = set()

    def tearDown(self) -> None:
        """
        Nothing was said that the test did not announce.
        """
        super().tearDown()
        self.assertEqual(self.said, [])

    def window(self, size: Mapping[str, int] = DESKTOP, *, offers: bool = False, **options: Any) -> Page:
        """
        @param offers: the browser offers passkeys where a user name is typed, and the key takes that up.
        @param options: of Playwright's C{new_context}.
        @return: an empty page in a profile of its own.
        """
        context: BrowserContext = self.browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            extra_http_headers={"X-Forwarded-For": self.client_address},
            ignore_https_errors=True,
            **options,
        )
        self.addCleanup(context.close)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_TELL_VIOLATIONS)
        if not offers:
            context.add_init_script(_NOTHING_OFFERED)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type not in ("error", "warning"):
            return
        if any(f"the server responded with a status of {status}" in text for status in self.expected_statuses):
            return
        if any(expected in text for expected in self.expected_texts):
            return
        self.said.append(f"{message.type}: {text} ({message.location.get('url', '')})")

    def address(self, path: str = "/web") -> str:
        """
        @return: of a page.
        """
        return f"https://{self.cluster.proxy}{path}"

    def authenticator(self, page: Page, *, passkey: bool = True) -> tuple[CDPSession, str]:
        """
        A key in the window that is touched at once.

        @param passkey: it keeps its user and checks a finger; otherwise it is a second factor only.
        @return: the session to steer it by, and its id.
        @see: Chrome DevTools Protocol, I{WebAuthn domain}
        """
        steering = page.context.new_cdp_session(page)
        steering.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal" if passkey else "usb",
            "hasResidentKey": passkey,
            "hasUserVerification": passkey,
            "isUserVerified": passkey,
            "automaticPresenceSimulation": True,
        }
        made = steering.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return steering, str(made["authenticatorId"])

    def looks_right(self, page: Page, *, where: str = "") -> None:
        """
        Both widths and both themes: nothing is wider than the window, and axe finds nothing.
        """
        axe = (AXE.folder() / "axe.min.js").read_text()
        page.evaluate(_NOTHING_FADES)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size({"width": size["width"], "height": size["height"]})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                page.wait_for_function(_DRAWN, arg=[size["width"], scheme])
                beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                self.assertLessEqual(beyond, 0, f"{where or page.url} at {size['width']} px")
                page.evaluate(axe)
                found = page.evaluate(
                    "rules => axe.run(document, { runOnly: rules })"
                    ".then(({ violations }) => violations.map(each => each.id + ': ' + each.nodes"
                    ".map(node => node.target.join(' ') + ' ' + node.failureSummary).join('; ')))",
                    list(_RULES),
                )
                self.assertEqual(found, [], f"{where or page.url} at {size['width']} px, {scheme}")
        page.set_viewport_size({"width": DESKTOP["width"], "height": DESKTOP["height"]})
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
