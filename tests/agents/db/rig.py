"""
A database agent of a cluster made for the test, with a port that stands for the tunnel: what connects there has the
certificate that the test gave it, and speaks the database's protocol without TLS.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from teleport_tw.agents.db.flow import Engine
from teleport_tw.agents.db.passwords import Files, Passwords
from teleport_tw.agents.db.policy import Policy
from teleport_tw.agents.db.service import DatabaseAgentService
from teleport_tw.api.contract import DatabaseCertificate, DatabaseCertRequest
from teleport_tw.api.streams import StreamHeader, address_text
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.base.tasks import Threads
from teleport_tw.pki import der, x509
from teleport_tw.pki.identity import RouteToDatabase
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.trust import bundle
from teleport_tw.recordings.capture import Recordings
from teleport_tw.resources.databases import Database, DatabaseTLS
from tests.doubles.cluster import Cluster, RecordingSink
from tests.doubles.cluster import role as node_role
from tests.peers.certificates import authorities

_CLIENT = (
    der.extension("2.5.29.15", der.bit_string(b"\x80", 7), critical=True)
    + der.extension("2.5.29.19", der.sequence(), critical=True)
    + der.extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.2")))
)


class Certifier:
    """
    As auth does for agents; see L{teleport_tw.agents.db.target.Certifier}.

    @ivar issued: for whom, oldest first.
    """

    def __init__(self) -> None:
        self.issued: list[str] = []

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """
        A certificate of the tests' own authority.
        """
        self.issued.append(request.username)
        made = authorities()
        spki = load_pem_public_key(request.key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        now = datetime.now(UTC)
        name = der.name([("2.5.4.3", request.username)])
        issuer = x509.Issuer.of(made.clients, made.keystore)
        certificate = issuer.sign(name, spki, now - timedelta(minutes=1), now + timedelta(hours=8), _CLIENT)
        return DatabaseCertificate(certificate=x509.to_pem(certificate), roots=bundle([made.servers]))


class _Streams(Factory):
    noisy = False

    def __init__(self, agent: DatabaseAgentService, header: Callable[[Any], StreamHeader]) -> None:
        self._agent, self._header = agent, header
        self.refused: list[TeleportError] = []

    def buildProtocol(self, addr: Any) -> Any:
        try:
            return self._agent.protocol(self._header(addr))
        except TeleportError as error:
            self.refused.append(error)
            return None


class DatabaseTestCase(TestCase):
    """
    C{serve} makes the agent, C{listen} a port for one user's connections.
    """

    timeout = 120

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.copy.put(authorities().servers.public().to_resource())
        self.sink = RecordingSink()
        self.root = Path(tempfile.mkdtemp(prefix="tw-db-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.certifier = Certifier()
        self.agent: Any = None

    def role(self, name: str, *, allow: dict[str, Any] | None = None, **options: Any) -> None:
        """
        A role over all databases.
        """
        self.cluster.copy.put(node_role(name, allow={"db_labels": {"*": "*"}, **(allow or {})}, options=options))

    async def serve(
        self,
        engine: Engine,
        protocol: str,
        port: int,
        *,
        policy: Policy | None = None,
        provisioners: dict[str, Any] | None = None,
        passwords: dict[str, str] | None = None,
        **more: Any,
    ) -> Database:
        """
        @param port: of the target, on loopback.
        @param passwords: by user of the database; in files of the agent's host.
        @param more: further fields of the L{Database}.
        """
        self.threads = Threads(reactor, reactor.getThreadPool())
        self.agent = DatabaseAgentService(
            reactor=reactor,
            threads=self.threads,
            identity=self.cluster.host(self.root),
            copy=self.cluster.copy,
            leases=self.cluster.api,
            sink=self.sink,
            recordings=Recordings(self.root / "recordings", self.cluster.api, reactor, self.threads),
            certifier=self.certifier,
            engines={protocol: engine},
            provisioners=provisioners or {},
            directory=self.root / "users",
            policy=policy,
            passwords=Passwords((Files(self._files(passwords), self.threads),)) if passwords is not None else None,
            drain_timeout=timedelta(0),
        )
        database = Database(
            name="target",
            protocol=protocol,
            uri=f"localhost:{port}",
            labels={"env": "test"},
            **{"tls": DatabaseTLS(), **more},
        )
        self.agent.serve({database.name: database})
        self.agent.startService()
        self.addCleanup(self.stop)
        return database

    def _files(self, passwords: dict[str, str]) -> Path:
        directory = self.root / "passwords"
        folder = directory / "target"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for user, password in passwords.items():
            file = folder / user
            file.write_text(f"{password}\n", encoding="utf-8")
            file.chmod(0o600)
        return directory

    async def stop(self) -> None:
        """
        The agent stops; nobody is waited for.
        """
        if self.agent.running:
            await self.agent.stopService()
        await self.until(lambda: not any("Recorder" in repr(call.func) for call in reactor.getDelayedCalls()))

    async def listen(
        self,
        *,
        who: str = "alice",
        user: str = "alice",
        name: str = "",
        roles: tuple[str, ...] = ("access",),
        db_roles: tuple[str, ...] = (),
        opening: bytes = b"",
        **identity: Any,
    ) -> int:
        """
        @param who: of the cluster.
        @param user: of the database, in the certificate's route.
        @param name: of the logical database there.
        @param opening: see L{StreamHeader.opening}.
        @return: a port; whoever connects to it is this user.
        """
        key = PrivateKey.generate_tls()
        route = RouteToDatabase(
            service="target",
            protocol=self.agent.databases["target"].protocol,
            username=user,
            database=name,
            roles=db_roles,
        )
        who = self.cluster.user(who, logins=("-",), roles=roles, database=route, **identity)
        certificate = self.cluster.tls(who, key)

        def header(address: Any) -> StreamHeader:
            return StreamHeader(
                target_kind="db",
                target_name="target",
                client_address=address_text(address),
                user_certificates=(certificate,),
                opening=opening,
            )

        self.streams = _Streams(self.agent, header)
        listening = await TCPServer(reactor, "127.0.0.1", 0).listen(self.streams)
        self.addCleanup(listening.stopListening)
        return int(listening.getHost().port)

    async def until(self, true: Callable[[], Any], seconds: float = 60) -> Any:
        """
        Let the reactor run until something holds.

        @return: what C{true} gave.
        """
        for _ in range(int(seconds / 0.01)):
            found = true()
            if found:
                return found
            await deferLater(reactor, 0.01)
        raise AssertionError(f"it did not happen in time; events: {self.sink.names()}")

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """
        Run a blocking client.
        """
        return deferToThread(work, *arguments)

    def queries(self) -> list[dict[str, Any]]:
        """
        @return: events of statements, oldest first.
        """
        return self.sink.named("db.session.query")


__all__ = ["Certifier", "DatabaseTestCase"]
