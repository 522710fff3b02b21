"""
Sessions that somebody else watches while they go on, and plays when they are over: one of each kind of database.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from attrs import evolve

from teleport_tw.pki.trust import bundle
from tests.journeys.cluster import ROOT, Cluster, until
from tests.journeys.databases import certified, database_agent, server_files
from tests.peers.certificates import authorities
from tests.peers.mariadb import MariaDB
from tests.peers.mongodb import MongoDB
from tests.peers.postgres import Postgres
from tests.peers.process import Peer
from tests.peers.redis import Redis

pytestmark = pytest.mark.servers

NATIVE: dict[str, tuple[type[Peer], str, str, str, str]] = {
    "postgres": (Postgres, "select 'the first';\n", "select 1/0;\n", "=> select 'the first'", "division by zero"),
    "mysql": (MariaDB, "select 'the first';\n", "select * from no.where;\n", "=> select 'the first'", "1146"),
    "redis": (
        Redis,
        "auth alice wonderland\nset greeting 'the first'\n",
        "lpush greeting x\n",
        '=> set greeting "the first"',
        "WRONGTYPE",
    ),
}


class FollowJourney(unittest.TestCase):
    """
    Alice works, and looks at what is kept of it.
    """

    cluster: Cluster
    peers: dict[str, Peer]

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster(roles=("auth", "proxy")).start()
        cls.addClassCleanup(cls.cluster.close)
        cls.peers = {}
        files = server_files(cls.cluster)
        for name, (kind, *_) in NATIVE.items():
            if not kind.missing():
                cls.peers[name] = kind(files).start()
                cls.addClassCleanup(cls.peers[name].close)
        if not MongoDB.missing():
            both = evolve(files, clients=files.clients + bundle([authorities().clients]))
            known = evolve(
                authorities().client("admin"), servers=cls.cluster.tctl("auth", "export", "--type=db").encode()
            )
            rights = [{"role": "readWrite", "db": "shop"}]
            cls.peers["mongodb"] = MongoDB(both, administrator=known, x509=[("CN=alice", rights)]).start()
            cls.addClassCleanup(cls.peers["mongodb"].close)
        for name in ("postgres", "mysql"):
            if name in cls.peers:
                peer: Any = cls.peers[name]
                peer.role("alice") if name == "postgres" else peer.user("alice")
        served = [{"name": name, "protocol": name, "uri": f"localhost:{peer.port}"} for name, peer in cls.peers.items()]
        database_agent(cls.cluster, "db-1", served)
        code = cls.cluster.sign_up("alice")
        cls.cluster.tctl("users", "update", "alice", "--set-db-users=alice", "--set-db-names=postgres,shop,*")
        cls.cluster.log_in("alice", code)

    def _tsh(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {
            "TELEPORT_HOME": str(self.cluster.home),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.cluster.folder),
        }
        process = subprocess.Popen(
            [*self.cluster.program("tsh"), *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.addCleanup(process.kill)
        return process

    def _started(self, name: str) -> str:
        """
        @return: id of the session with a database that goes on.
        """

        def found() -> Any:
            ended = {event["sid"] for event in self.cluster.events("db.session.end", db_service=name)}
            return [e["sid"] for e in self.cluster.events("db.session.start", db_service=name) if e["sid"] not in ended]

        session = str(until(found, "the session's start")[-1])
        listed = ("sessions", "ls", "--kind=db", "--format=json")
        until(
            lambda: session in [each["metadata"]["name"] for each in json.loads(self.cluster.tsh(*listed).stdout)],
            "the session among those that go on",
        )
        return session

    def _watch(self, session: str) -> tuple[subprocess.Popen[str], list[str]]:
        following, lines = self._tsh("play", "--follow", session), list[str]()
        threading.Thread(target=lambda: lines.extend(iter(following.stdout.readline, "")), daemon=True).start()  # type: ignore[union-attr]
        return following, lines

    def _native(self, name: str) -> None:
        if name not in self.peers:
            self.skipTest(NATIVE[name][0].missing())
        _, first, second, shown, failed = NATIVE[name]
        flags = ["--db-user=alice", "--db-name=postgres"] if name == "postgres" else ["--db-user=alice"]
        self.cluster.tsh("db", "login", name, *flags)
        working = self._tsh("db", "connect", name, stdin=subprocess.PIPE)
        assert working.stdin is not None
        working.stdin.write(first)
        working.stdin.flush()
        session = self._started(name)
        following, lines = self._watch(session)
        until(lambda: shown in "".join(lines), f"the first statement among {lines}")
        self.assertNotIn(failed, "".join(lines))
        self.assertIsNone(following.poll())
        working.stdin.write(second)
        working.stdin.flush()
        until(lambda: failed in "".join(lines), f"the second statement among {lines}")
        working.communicate(timeout=60)
        self._over(session, following, lines, shown, failed)

    def _over(self, session: str, following: Any, lines: list[str], *texts: str) -> None:
        self.assertEqual(following.wait(60), 0)
        self.assertIn("-- alice is connected to", lines[0])
        played = self.cluster.tsh("play", "--format=text", session).stdout
        for text in texts:
            self.assertIn(text, played)
        self.assertNotIn("wonderland", played)
        self.assertEqual(played.split(), "".join(lines).split())

    def test_postgres(self) -> None:
        """psql, its statements and what came of them."""
        self._native("postgres")

    def test_mysql(self) -> None:
        """The shell of MariaDB."""
        self._native("mysql")

    def test_redis(self) -> None:
        """redis-cli; its password is nowhere."""
        self._native("redis")

    @contextlib.contextmanager
    def _mongo(self) -> Iterator[Any]:
        certificate, key, authority = certified(self.cluster, "alice", "mongodb", "mongodb", "alice", "shop")
        both = Path(f"{certificate}.both")
        both.touch(0o600)
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        client: Any = pymongo.MongoClient(
            "localhost",
            self.cluster.web,
            tls=True,
            tlsCAFile=str(authority),
            tlsCertificateKeyFile=str(both),
            directConnection=True,
            serverMonitoringMode="poll",
            heartbeatFrequencyMS=600_000,
        )
        try:
            yield client
        finally:
            client.close()

    def test_mongodb(self) -> None:
        """A driver, which has several connections: that with the statements is watched."""
        if "mongodb" not in self.peers:
            self.skipTest(MongoDB.missing())
        with self._mongo() as client:
            client.shop.things.insert_one({"_id": "the first"})
            told = until(
                lambda: [e for e in self.cluster.events("db.session.query") if "the first" in e["db_query"]],
                "the query",
            )
            session = told[0]["sid"]
            following, lines = self._watch(session)
            until(lambda: "the first" in "".join(lines), f"the first command among {lines}")
            with self.assertRaises(pymongo.errors.DuplicateKeyError):
                client.shop.things.insert_one({"_id": "the first"})
            until(lambda: "duplicate key" in "".join(lines), f"the second command among {lines}")
        self._over(session, following, lines, "duplicate key")

    def test_who_may_not(self) -> None:
        """Not there, not theirs, or no session: each says so."""
        done = self.cluster.tsh("play", "--follow", "/etc/passwd", check=False)
        self.assertIn("give its id", done.stderr)
        done = self.cluster.tsh("play", "--follow", "--format=json", "x", check=False)
        self.assertIn("--follow shows", done.stderr)
        done = self.cluster.tsh("play", "--follow", "0" * 8 + "-0000-4000-8000-" + "0" * 12, check=False)
        self.assertIn("denied", done.stderr)
