"""
Whom a host with a pin believes.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import utc_now
from teleport_tw.dial.web import MEMBERS, WebClient, trust_in
from teleport_tw.pki import authority, trust, x509
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.keystore import SoftwareKeystore

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class PinnedTests(SynchronousTestCase):
    """
    Against a TLS server on loopback.
    """

    def setUp(self) -> None:
        self.store = SoftwareKeystore()
        self.now = utc_now()
        self.authority = authority.create(AuthorityType.HOST, "example.com", self.store, self.now)
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def serve(self, role: SystemRole) -> int:
        """
        A host of the cluster that calls itself localhost; serves one connection.
        """
        key = PrivateKey.generate_tls()
        identity = Identity(username="9b4f6d1e-8e3f-4b59-a3b1-0c1d2e3f4a5b.example.com", system_roles=(role,))
        issuer = x509.Issuer.of(self.authority, self.store)
        whole = evolve(identity, principals=("localhost",), expires=self.now.replace(year=self.now.year + 1))
        der = x509.issue_host(issuer, whole, spki_pem(key.public), now=self.now)
        (self.folder / "crt").write_bytes(x509.to_pem(der))
        (self.folder / "key").write_bytes(key.pem().reveal())
        context = trust.server_context(self.folder / "crt", self.folder / "key")
        listening = socket.create_server(("127.0.0.1", 0))
        self.asked: list[bytes] = []

        def answer() -> None:
            with listening, listening.accept()[0] as accepted:
                accepted.settimeout(10)
                try:
                    with context.wrap_socket(accepted, server_side=True) as secured:
                        data = secured.recv(4096)
                        self.asked.append(data)
                        if data:
                            secured.sendall(ANSWER)
                except OSError:
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        self.addCleanup(thread.join)
        port: int = listening.getsockname()[1]
        return port

    def client(self, port: int, roles: tuple[str, ...] = MEMBERS) -> WebClient:
        """
        Believes the cluster's authority.
        """
        return WebClient("localhost", port, trust_in(trust.bundle([self.authority])), roles)

    def test_a_proxy(self) -> None:
        """It is asked."""
        self.assertEqual(self.client(self.serve(SystemRole.PROXY)).get("/webapi/find"), {})

    def test_another_host(self) -> None:
        """A node that took the proxy's name does not even hear the request, which carries a join token."""
        port = self.serve(SystemRole.NODE)
        refusal = self.assertRaises(TeleportError, self.client(port).ask, "POST", "/webapi/host/credentials", b"token")
        self.assertEqual(refusal.kind, Kind.ACCESS_DENIED)
        self.doCleanups()
        self.assertEqual(b"".join(self.asked), b"")

    def test_from_outside(self) -> None:
        """A web certificate of somebody else's authority has no roles, and none are wanted."""
        self.assertEqual(self.client(self.serve(SystemRole.NODE), ()).get("/webapi/find"), {})
