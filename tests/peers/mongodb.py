"""
A server that speaks MongoDB's wire protocol: SecantusDB, which Debian lacks and C{./test} puts in a C{.tox} of its own.

It is GPL-2.0: a process beside the tests, which nothing here imports.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pymongo

from tests.peers.certificates import ClientFiles, ServerFiles, authorities
from tests.peers.process import Peer, found

ROOT = Path(__file__).resolve().parents[2]
ADMIN, ADMIN_PASSWORD = "admin", "admin-of-the-tests"

T = TypeVar("T")


class MongoDB(Peer):
    """
    C{admin} with a password and a certificate; others with C{MONGODB-X509} or SCRAM.

    Users can only be made while authentication is off: L{furnish} makes them, and the server starts again.
    """

    name = "mongodb"
    account: ClassVar[str] = "nobody"

    def __init__(
        self,
        files: ServerFiles | None = None,
        *,
        administrator: ClientFiles | None = None,
        x509: Sequence[tuple[str, Sequence[Any]]] = (),
        scram: Sequence[tuple[str, str, Sequence[Any]]] = (),
    ) -> None:
        """
        @param administrator: with a certificate that the server believes, unless of this run's.
        @param x509: subject as in RFC 2253, such as C{CN=alice}, and roles.
        @param scram: name, password and roles, in C{admin}.
        """
        super().__init__(files)
        self._administrator = (administrator or authorities().client(ADMIN)).written(self.folder, "admin")
        (self.folder / "admin.pem").write_bytes(
            self._administrator[0].read_bytes() + self._administrator[1].read_bytes()
        )
        self._x509, self._scram = x509, scram
        self._with_auth = False

    @classmethod
    def require(cls) -> None:
        """As Peer."""
        cls.program()

    @staticmethod
    def program() -> str:
        """
        @return: path of the server.
        """
        given = os.environ.get("TELEPORT_TW_TEST_SECANTUSDB", str(ROOT / ".tox" / "secantusdb" / "bin"))
        return found("secantusd-py", "none; ./test installs it", given)

    def command(self) -> Sequence[str]:
        """As Peer."""
        words = [
            self.program(),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--storage-path",
            f"{self.folder}/data",
        ]
        words += ["--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)]
        words += ["--tls-ca-file", str(self.clients), "--tls-require-client-cert", "--cache-size", "64M"]
        return [*words, "--auth"] if self._with_auth else words

    def is_ready(self) -> bool:
        """As Peer."""
        context = ssl.create_default_context(cafile=str(self._administrator[2]))
        context.load_cert_chain(self._administrator[0], self._administrator[1])
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as bare:
                context.wrap_socket(bare, server_hostname="localhost").close()
        except OSError:
            return False
        return True

    def furnish(self) -> None:
        """As Peer."""
        self.admin(self._make_users)
        self._with_auth = True
        self.stop()
        self.start()

    def admin(self, work: Callable[[Any], T]) -> T:
        """
        As administrator, past us.

        @param work: gets a C{pymongo.MongoClient}.
        """
        secrets: dict[str, Any] = {"username": ADMIN, "password": ADMIN_PASSWORD} if self._with_auth else {}
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(
            "localhost",
            self.port,
            tls=True,
            tlsCAFile=str(self._administrator[2]),
            tlsCertificateKeyFile=str(self.folder / "admin.pem"),
            directConnection=True,
            **secrets,
        )
        try:
            return work(client)
        finally:
            client.close()

    def _make_users(self, client: Any) -> None:
        client.admin.command("createUser", ADMIN, pwd=ADMIN_PASSWORD, roles=["root"])
        for subject, roles in self._x509:
            client["$external"].command("createUser", subject, roles=list(roles), mechanisms=["MONGODB-X509"])
        for name, password, roles in self._scram:
            client.admin.command("createUser", name, pwd=password, roles=list(roles))
