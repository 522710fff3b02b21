"""
What the proxy calls itself.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Call


@define
class Request:
    """
    With one header.
    """

    host: bytes | None

    def getHeader(self, name: bytes) -> bytes | None:
        return self.host


class FactsTests(SynchronousTestCase):
    """
    For links and for policies.
    """

    def test_local(self) -> None:
        """A proxy on this machine alone, or on nobody knows which name, asks no browser to remember TLS."""
        for web, local in (
            ("localhost:3080", True),
            ("app.localhost:3080", True),
            ("127.0.0.1:3080", True),
            ("[::1]:3080", True),
            ("0.0.0.0:3080", True),
            ("", True),
            ("10.0.0.5:3080", False),
            ("teleport.example.com:443", False),
        ):
            self.assertEqual(PublicFacts(web=web).is_local, local, web)

    def test_links(self) -> None:
        """Links carry the configured name; where there is none, the one that the browser used, if it is one."""
        self.assertEqual(PublicFacts(web="teleport.example.com:443").named("evil.example"), "teleport.example.com:443")
        for told, name in (
            (b"10.0.0.5:3080", "10.0.0.5:3080"),
            (b"[fe80::1]:3080", "[fe80::1]:3080"),
            (b"host.example", "host.example"),
            (b"a/b", "0.0.0.0:3080"),
            (b"a b", "0.0.0.0:3080"),
            (b"user@host", "0.0.0.0:3080"),
            (b'x"><script>', "0.0.0.0:3080"),
            (None, "0.0.0.0:3080"),
        ):
            request: Any = Request(told)
            call = Call(request=request, path={}, query={}, body={}, address="")
            self.assertEqual(PublicFacts(web="0.0.0.0:3080").named(call.host), name, told)
