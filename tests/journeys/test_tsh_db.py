"""
What a user types to reach a database: C{tsh db}, C{tsh proxy db}, and clients without C{tsh}, before a real PostgreSQL.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.journeys.cluster import PASSWORD, Cluster, free_ports, until
from tests.journeys.databases import database_agent, listed, server_files
from tests.peers.postgres import Postgres

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())]


class TshDbJourney(unittest.TestCase):
    """
    One cluster, one database, one person.
    """

    cluster: Cluster
    postgres: Postgres

    @classmethod
    def setUpClass(cls) -> None:
        (port,) = free_ports(1)
        cls.cluster = Cluster(
            roles=("auth", "proxy"), proxy_service={"postgres_listen_addr": f"127.0.0.1:{port}"}
        ).start()
        cls.addClassCleanup(cls.cluster.close)
        cls.postgres = Postgres(server_files(cls.cluster)).start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.role("app")
        cls.postgres.sql("create database orders owner app")
        database = {"name": "pg", "protocol": "postgres", "uri": f"localhost:{cls.postgres.port}"}
        database_agent(cls.cluster, "db-1", [database], resources=[{"labels": {"*": "*"}}])
        authenticator = cls.cluster.sign_up("alice")
        user = json.loads(cls.cluster.tctl("get", "user/alice", "--format=json"))
        user = user[0] if isinstance(user, list) else user
        user["spec"]["traits"] |= {"db_users": ["app"], "db_names": ["orders"]}
        file = cls.cluster.folder / "alice.yaml"
        file.write_text(json.dumps(user))
        cls.cluster.tctl("create", "-f", str(file))
        cls.cluster.log_in("alice", authenticator)

    def tsh(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """
        Whatever it says.
        """
        return self.cluster.tsh(*words, check=False, **more)

    def psql(self, where: str, statement: str) -> subprocess.CompletedProcess[str]:
        """
        The stock client.
        """
        return self.cluster.run(shutil.which("psql") or "", where, "-XAtc", statement, check=False)

    def test_login_and_the_native_client_alone(self) -> None:
        """
        The service file says all; at logout it is as it was, and the certificate is gone.
        """
        file = self.cluster.folder / ".pg_service.conf"
        mine = b"[mine]\r\nhost=elsewhere\r\n# the end"
        file.write_bytes(mine)
        done = self.tsh("db", "login", "pg")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("service=journey-pg", done.stdout)
        asked = self.psql("service=journey-pg", "select current_user, current_database()")
        self.assertEqual(asked.stdout, "app|orders\n", asked.stderr)
        facts = json.loads(self.tsh("db", "config", "pg", "--format=json").stdout)
        self.assertEqual((facts["user"], facts["database"]), ("app", "orders"))
        where = f"host=localhost port={self.cluster.web} user=app dbname=orders sslmode=verify-full"
        where += f" sslrootcert={facts['ca']} sslcert={facts['cert']} sslkey={facts['key']}"
        self.assertEqual(self.psql(where, "select 1").stdout, "1\n")
        self.assertIn("> pg (user: app, db: orders)", self.tsh("db", "ls").stdout)
        self.assertRegex(self.tsh("status").stdout, r"Databases: +.*pg")
        exported = self.tsh("db", "env", "pg").stdout
        self.assertIn("export PGUSER=app\n", exported)
        self.assertEqual(self.tsh("db", "logout").returncode, 0)
        self.assertEqual(file.read_bytes(), mine + b"\r\n")
        self.assertFalse(Path(facts["cert"]).exists())
        self.assertIn("Not logged in", self.tsh("db", "config", "pg").stderr)

    def test_connect(self) -> None:
        """
        Signs in by itself, and ends as the client does.
        """
        done = self.tsh("db", "connect", "pg", stdin="select 'it is ' || current_user;\n")
        self.assertIn("it is app", done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertEqual(self.tsh("db", "connect", "pg", stdin="\\set ON_ERROR_STOP\nnonsense;\n").returncode, 3)

    def test_exec(self) -> None:
        """
        On several, with a file for each and a summary; a failure shows in the exit status.
        """
        folder = self.cluster.folder / "out"
        done = self.tsh("db", "exec", "select 6 * 7 as answer", "--dbs=pg", f"--output-dir={folder}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("42", (folder / "pg.output").read_text())
        self.assertEqual(json.loads((folder / "summary.json").read_text())["success"], 1)
        done = self.tsh("db", "exec", "nonsense", "--dbs=pg")
        self.assertEqual(done.returncode, 1)
        self.assertIn("syntax error", done.stdout)
        self.assertIn("not found: nothing", self.tsh("db", "exec", "x", "--dbs=pg,nothing").stderr)

    def test_refusals_help(self) -> None:
        """
        Before anything is connected.
        """
        for words, said in (
            (("db", "login", "pg", "--db-user=postgres"), "do not allow database user 'postgres'"),
            (("db", "login", "pg", "--db-name=postgres"), "they name users app and names orders"),
            (("db", "login", "other"), "is not found"),
            (("db", "login", "pg", "--db-roles=x"), "database roles are for users that are made automatically"),
        ):
            done = self.tsh(*words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr)

    def _tunnel(self, *flags: str) -> tuple[subprocess.Popen[str], int]:
        """
        @return: the process, and its port.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {"TELEPORT_HOME": str(self.cluster.home), "HOME": str(self.cluster.folder)}
        script = "from teleport_tw.clients.tsh.main import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", script, "proxy", "db", "pg", *flags],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.terminate)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        first = process.stdout.readline()
        return process, int(first.partition("127.0.0.1:")[2].partition(",")[0])

    def test_tunnel(self) -> None:
        """
        No certificates on the client, as oneself alone; an interrupt reaches the statement.
        """
        _, port = self._tunnel("--tunnel")
        where = f"postgres://app@localhost:{port}/orders"
        self.assertEqual(self.psql(where, "select 1").stdout, "1\n")
        self.assertIn("the certificate is for database user", self.psql(where.replace("app", "bob"), "select 1").stderr)
        self.assertIn("access denied", self.psql(where.replace("orders", "postgres"), "select 1").stderr)
        sleeping = subprocess.Popen(
            [shutil.which("psql") or "", where, "-Xc", "select pg_sleep(60)"], stderr=subprocess.PIPE, text=True
        )
        until(lambda: "pg_sleep(60)" in self.postgres.sql("select query from pg_stat_activity"), "the statement")
        before = time.monotonic()
        sleeping.send_signal(signal.SIGINT)
        self.assertIn("canceling statement due to user request", sleeping.communicate(timeout=30)[1])
        self.assertLess(time.monotonic() - before, 30)

    def test_plain_proxy(self) -> None:
        """
        Without C{--tunnel} the port is open to those alone who show the certificate.
        """
        _, port = self._tunnel()
        facts = json.loads(self.tsh("db", "config", "pg", "--format=json").stdout)
        where = f"host=localhost port={port} user=app dbname=orders sslmode=verify-full"
        files = f" sslrootcert={facts['ca']} sslcert={facts['cert']} sslkey={facts['key']}"
        self.assertEqual(self.psql(where + files, "select 1").stdout, "1\n")
        self.assertIn(
            "a client certificate is needed",
            self.psql(f"host=localhost port={port} user=app sslmode=require", "x").stderr,
        )

    def test_dynamic(self) -> None:
        """
        Made known, served, changed, gone.
        """
        file = self.cluster.folder / "dyn.yaml"
        text = "kind: db\nversion: v3\nmetadata: {name: dyn}\nspec:\n  protocol: postgres\n"
        file.write_text(f"{text}  uri: localhost:{self.postgres.port}\n")
        self.cluster.tctl("create", str(file))
        until(lambda: "dyn" in listed(self.cluster), "the new database")
        self.assertEqual(self.tsh("db", "exec", "select 1", "--dbs=dyn", "--db-user=app").returncode, 0)
        shown = self.cluster.tctl("db", "ls")
        self.assertIn("dyn", shown)
        until(lambda: "healthy" in self.cluster.tctl("db", "ls"), "a health check")
        self.cluster.tctl("rm", "db/dyn")
        until(lambda: "dyn" not in listed(self.cluster), "its end")
        self.assertIn("not found", self.tsh("db", "login", "dyn").stderr)

    def test_second_factor(self) -> None:
        """
        Where a role asks for it, one answer opens sessions with the database, and nothing of them is kept.
        """
        cluster, home = self.cluster, str(self.cluster.folder / "tapped")
        options = {"require_session_mfa": True}
        allow = {"db_labels": {"*": "*"}, "db_users": ["app"], "db_names": ["orders"]}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "tapped"}}
        file = cluster.folder / "tapped.yaml"
        file.write_text(json.dumps({**role, "spec": {"options": options, "allow": allow}}))
        cluster.tctl("create", str(file))
        made = json.loads(cluster.tctl("users", "add", "bert", "--roles=tapped", "--format=json"))
        path = f"/webapi/users/password/token/{made['url'].rpartition('/')[2]}"
        app = pyotp.TOTP(json.loads(cluster.http("GET", path))["otpSecret"])

        def code(steps: int) -> str:
            return str(app.at(int(time.time()) + 30 * steps))

        said = {"password": PASSWORD, "second_factor_token": code(-1)}
        cluster.http("PUT", path, json.dumps(said).encode())
        flags = (f"--proxy={cluster.proxy}", "--user=bert", f"--ca-pin={cluster.pin}")
        self.tsh("login", *flags, stdin=f"{PASSWORD}\n{code(0)}\n", TELEPORT_HOME=home)
        words = ("db", "exec", "select 6 * 7 as answer", "--dbs=pg", "--db-user=app", "--db-name=orders")
        refused = self.tsh(*words, stdin="000000\n", TELEPORT_HOME=home)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("A second factor is required", refused.stderr)
        done = self.tsh(*words, stdin=f"{code(1)}\n", TELEPORT_HOME=home)
        self.assertIn("42", done.stdout, done.stderr)
        connect = ("db", "connect", "pg", "--db-user=app", "--db-name=orders")
        again = self.tsh(*connect, stdin="select 'covered';\n", TELEPORT_HOME=home)
        self.assertIn("covered", again.stdout, again.stderr)
        passing = self.tsh("proxy", "db", "pg", "--db-user=app", "--db-name=orders", TELEPORT_HOME=home)
        self.assertEqual(passing.returncode, 2)
        self.assertIn("tsh proxy db --tunnel pg", passing.stderr)
        self.assertEqual(list(Path(home).rglob("*-db/**/*.pem")), [])
