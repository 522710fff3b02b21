"""
MariaDB behind a reverse tunnel, reached by its own client with certificate files and nothing of ours running beside it.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import unittest

import pytest

from teleport_tw.protocols.mysql.handshake import parse_greeting
from teleport_tw.protocols.mysql.messages import Greeting
from tests.journeys.cluster import Cluster, free_ports, until
from tests.journeys.databases import ALPN, certified, database_agent, server_files
from tests.peers.mariadb import MariaDB

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing())]


class MySQLJourney(unittest.TestCase):
    """
    By the proxy's own port for MySQL.
    """

    def setUp(self) -> None:
        (self.port,) = free_ports(1)
        listening = {"mysql_listen_addr": f"127.0.0.1:{self.port}"}
        self.cluster = Cluster(roles=("auth", "proxy"), proxy_service=listening).start()
        self.addCleanup(self.cluster.close)
        self.mariadb = MariaDB(server_files(self.cluster)).start()
        self.addCleanup(self.mariadb.close)
        self.mariadb.user("alice")
        database = {"name": "shop", "protocol": "mysql", "uri": f"localhost:{self.mariadb.port}"}
        database_agent(self.cluster, "db-1", [database])
        self.cluster.tctl("users", "add", "alice", "--roles=access", "--logins=root", "--db-users=alice")

    def _command(self, *words: str) -> list[str]:
        certificate, key, authority = certified(self.cluster, "alice", "shop", "mysql", "alice")
        base = [shutil.which("mariadb") or "", "--no-defaults", "-hlocalhost", "--protocol=tcp", f"-P{self.port}", "-N"]
        base += ["-ualice", f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={authority}"]
        return [*base, "--ssl-verify-server-cert", *words]

    def _client(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            self._command(*words), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def test_a_first_session(self) -> None:
        """
        Rows, compression, what is refused, what is told; the recording.
        """
        self.assertEqual(self._client("-eselect current_user(), 6 * 7"), "alice@%\t42\n")
        self.assertEqual(self._client("-C", "-eshow status like 'Compression'"), "Compression\tON\n")
        self.assertIn("ERROR 1146 (42S02)", self._client("-eselect * from mysql.nothing"))
        self.assertIn("ERROR 1045 (28000)", self._client("-uroot", "-eselect 1"))
        self._client("-ecreate user bob identified by 'S3CRET'")
        until(lambda: len(self.cluster.events("db.session.end")) == 4, "the ends of the sessions")
        told = [event["db_query"] for event in self.cluster.events("db.session.query")]
        self.assertIn("select current_user(), 6 * 7", told)
        self.assertIn("create user bob identified by '***'", told)
        self.assertNotIn("S3CRET", self.cluster.tctl("audit", "export", "--format=json"))
        recordings = until(
            lambda: json.loads(self.cluster.tctl("recordings", "ls", "--format=json")), "a recording's upload"
        )
        self.assertTrue(recordings)

    def test_control_c(self) -> None:
        """
        The client kills its statement by the number that the proxy told it, on a connection of its own.
        """
        client = subprocess.Popen(
            self._command("-eselect sleep(50)"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.addCleanup(client.kill)
        running = "select count(*) from information_schema.processlist where info like 'select sleep%'"
        until(lambda: self.mariadb.sql(running) == "1", "the statement to run")
        client.send_signal(signal.SIGINT)
        output, _ = client.communicate(timeout=30)
        until(lambda: self.mariadb.sql(running) == "0", "the statement to end")
        self.assertIn("Ctrl-C", output)

    def test_inside_tls(self) -> None:
        """
        With the protocol's name in ALPN the server greets inside, with its real version.
        """
        certificate, key, authority = certified(self.cluster, "alice", "shop", "mysql", "alice")
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols([ALPN + "mysql"])
        with (
            socket.create_connection(("127.0.0.1", self.cluster.web), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as inside,
        ):
            data = inside.recv(4096)
            greeting = parse_greeting(data[4:])
        assert isinstance(greeting, Greeting)
        self.assertEqual(greeting.version, self.mariadb.sql("select version()"))
        self.assertLess(greeting.connection_id, 1 << 31)
