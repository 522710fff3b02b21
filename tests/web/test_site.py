"""
What strangers get from the web port, and what they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import ClusterInfo, SetupPurpose, SetupTicket
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.site import HEADERS, WebSite

TOKEN = "0123456789abcdef"


@define
class Auth:
    """
    As much of auth as pages need.
    """

    completed: list[str] = field(factory=list)

    async def ping(self) -> ClusterInfo:
        return ClusterInfo(cluster="example.com", version="1", ca_pins=(), auth_preference={})

    async def get_setup(self, token: Secret[str]) -> SetupTicket:
        if token.reveal() != TOKEN:
            raise TeleportError(Kind.NOT_FOUND, "this link is not valid any more")
        return SetupTicket(
            token=token,
            username="<script>alert(1)</script> x; rm",
            purpose=SetupPurpose.INVITE,
            expires=utc_now() + timedelta(hours=1),
            otp_secret=Secret(""),
            otp_uri=Secret(""),
        )

    async def join(self, request: object) -> None:
        raise AssertionError("what cannot be read is not asked")

    login = join

    async def complete_setup(self, token: Secret[str], password: Secret[str], otp: Secret[str]) -> None:
        self.completed.append(password.reveal())


@frozen
class Answer:
    """
    @ivar headers: names in lower case.
    """

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class SiteTests(SynchronousTestCase):
    """
    Without a network.
    """

    def setUp(self) -> None:
        self.auth = Auth()
        api: Any = self.auth
        self.site = WebSite(api, PublicFacts(web="proxy.example.com:443"), Clock())
        self.http: Any = BoundedSite(self.site.resource(), Clock())
        self.http.startFactory()
        self.addCleanup(self.http.stopFactory)

    def ask(self, method: str, path: str, body: bytes = b"", *, host: str = "10.0.0.1", form: bool = False) -> Answer:
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Type: {kind}\r\n"
        peer = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 40000)
        channel, transport = self.http.buildProtocol(peer), StringTransport(peerAddress=peer)
        channel.makeConnection(transport)
        channel.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        first, _, content = transport.value().partition(b"\r\n\r\n")
        status, *lines = first.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, content)

    def test_headers_on_everything(self) -> None:
        """Pages, JSON and refusals carry the same protection."""
        for path in ("/", "/webapi/ping", "/web/anything", "/web/static/none.css", "/webapi/none", "/%ff"):
            answer = self.ask("GET", path)
            for name, value in HEADERS.items():
                if (path, name) != ("/web/anything", b"Content-Security-Policy"):
                    self.assertEqual(answer.headers.get(name.lower()), value, path)
            self.assertEqual(answer.headers[b"strict-transport-security"], b"max-age=31536000", path)

    def test_deep_json(self) -> None:
        """Brackets without end are the sender's mistake, not ours."""
        for body in (b"[" * 60_000, b'{"a":' * 10_000, b"\xff", b"[]", b'{"password": 1}'):
            answer = self.ask("PUT", f"/webapi/users/password/token/{TOKEN}", body)
            self.assertEqual(answer.status, 400, body[:10])
        for path in ("/webapi/host/credentials", "/webapi/ssh/certs"):
            self.assertEqual(self.ask("POST", path, b"[" * 60_000).status, 400)
        self.assertEqual(self.auth.completed, [])

    def test_one_network_is_one_stranger(self) -> None:
        """Neither a header nor the many addresses of one IPv6 network buy more guesses."""
        codes = [
            self.ask("GET", "/webapi/users/password/token/guess", host=f"2001:db8::{number:x}").status
            for number in range(1, 60)
        ]
        self.assertEqual((codes[0], codes[-1]), (404, 429))
        self.assertEqual(self.ask("GET", "/webapi/users/password/token/guess", host="2001:db8:1::1").status, 404)

    def test_an_office(self) -> None:
        """The files of twenty people's pages come, though all have one address, and leave room for what is asked."""
        codes = {self.ask("GET", "/web/static/pages.css").status for _ in range(20 * 60)}
        self.assertEqual(codes, {200})
        self.assertEqual(self.ask("GET", "/webapi/ping").status, 200)

    def test_files(self) -> None:
        """Of the style sheets' folder nothing but its files, and nothing above it."""
        self.assertEqual(self.ask("GET", "/web/static/pages.css").status, 200)
        for name in ("..", "%2e%2e", "..%2fsite.py", "site.py", ".hidden", "index.html"):
            self.assertIn(self.ask("GET", f"/web/static/{name}").status, (404, 301, 308), name)
