"""
Signing in by a browser: the one beside this program (C{tsh login --auth=browser}), or one elsewhere
(C{tsh --headless}).

Beside: the program keeps a secret, of which the proxy gets the hash, and listens on a port of this machine. Who
approves at the page has the browser bring a code to that port; code and secret together are worth the certificates. A
link that is stolen, or that a stranger sent, is worth nothing: the code goes to the machine of whoever approves.

Elsewhere: the user opens the link wherever there is a browser with a key, and the program waits; the certificates
last a minute and are written nowhere.
"""

from __future__ import annotations

import http.server
import secrets
import sys
import time
import webbrowser
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from attrs import define, field

from teleport_tw.api import joining, signin
from teleport_tw.api.contract import PublicKeys
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.clients.login import Facts, Issued
from teleport_tw.clients.output import harmless
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.protocols.ssh import keys as ssh_keys

HOST = "127.0.0.1"
WAIT_SECONDS = 300.0
"""That somebody has to approve; auth gives no more."""

HEADLESS_SECONDS = 180.0

_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Signed in</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 13vh auto; padding: 0 1rem; max-width: 28rem }
h1 { font-size: 1.375rem }
</style></head>
<body><main><h1>You are signed in</h1>
<p>The program goes on in your terminal. You can close this page.</p></main></body></html>
"""


@define(eq=False)
class _Keys:
    """
    Made here, never to leave.
    """

    tls: PrivateKey = field(factory=PrivateKey.generate_tls)
    ssh: PrivateKey = field(factory=PrivateKey.generate_ssh)

    @property
    def public(self) -> PublicKeys:
        return PublicKeys(ssh=ssh_keys.format_line(self.ssh.ssh_public).encode(), tls=spki_pem(self.tls.public))

    def issued(self, status: int, body: bytes) -> Issued:
        return Issued(ssh_key=self.ssh, tls_key=self.tls, certificates=joining.answer_from_json(status, body))


def beside(facts: Facts, *, ttl: Duration = NEVER, one_key: bool = False, open_browser: bool = True) -> Issued:
    """
    @param one_key: the same for SSH and TLS.
    @param open_browser: else the link is only printed.
    @raise TeleportError: ACCESS_DENIED, nobody approved in time, or what came is not what was approved.
    """
    keys, verifier = _Keys(), Secret(secrets.token_urlsafe(32))
    if one_key:
        keys.ssh = keys.tls
    proof = urlsafe_b64encode(sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode("ascii")
    with _Listener() as listener:
        begun = signin.begun_from_json(*facts.web.ask("POST", signin.BROWSER, signin.browser(keys.public, proof, ttl)))
        link = f"{begun.url}?port={listener.port}"
        if open_browser and webbrowser.open(link):
            said = "If no browser opens, open this link in the one of this machine:"
        else:
            said = "To sign in, open this link in the browser of this machine:"
        sys.stderr.write(f"{said}\n\n  {harmless(link)}\n\n")
        sys.stderr.flush()
        code = listener.wait(WAIT_SECONDS)
    return keys.issued(*facts.web.ask("POST", signin.BROWSER_FINISH, signin.browser_finish(begun.id, code, verifier)))


def elsewhere(facts: Facts, username: str) -> Issued:
    """
    @raise TeleportError: ACCESS_DENIED, it was denied, or nobody approved in time.
    """
    keys = _Keys()
    begun = signin.begun_from_json(*facts.web.ask("POST", signin.HEADLESS, signin.headless(username, keys.public)))
    sys.stderr.write(
        f"Approve this at a machine with a browser and your security key, within three minutes:\n\n"
        f"  {harmless(begun.url)}\n\nor at one where you are signed in with tsh:\n\n"
        f"  tsh headless approve --user={harmless(username)} --proxy={facts.web.address} {harmless(begun.id)}\n\n"
    )
    sys.stderr.flush()
    body = signin.headless_finish(begun.id)
    return keys.issued(*facts.web.ask("POST", signin.HEADLESS_FINISH, body, timeout=HEADLESS_SECONDS + 20))


class _Listener:
    """
    A port of this machine, for one answer.
    """

    def __init__(self) -> None:
        self._server = http.server.HTTPServer((HOST, 0), _Handler)
        self._server.code = None  # type: ignore[attr-defined]  # where the handler leaves it
        self.port = self._server.server_port

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def wait(self, seconds: float) -> Secret[str]:
        """
        @raise TeleportError: ACCESS_DENIED, nobody came in time.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._server.timeout = left
            try:
                self._server.handle_request()
            except OSError as error:
                raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot listen on {HOST}: {error}") from error
            code = self._server.code  # type: ignore[attr-defined]  # as above
            if code is not None:
                return Secret(code)
        raise access_denied("nobody approved the sign-in in time; try again")


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self) -> None:
        """
        C{/callback?code=…}, asked for by our own address: a name that a stranger's DNS points here is not ours.
        """
        port = self.server.server_port  # type: ignore[attr-defined]  # it is an HTTPServer
        parts = urlsplit(self.path)
        codes = parse_qs(parts.query).get("code", [])
        good = parts.path == "/callback" and len(codes) == 1 and self.headers.get("Host") == f"{HOST}:{port}"
        self.send_response(200 if good else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if good:
            self.wfile.write(_PAGE)
            self.server.code = codes[0]  # type: ignore[attr-defined]  # see the listener

    def log_message(self, format: str, *args: object) -> None:
        """
        Nothing: the address has the code in it.
        """
