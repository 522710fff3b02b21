"""
Databases one is signed in to, on disk; and what native clients are told.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.databases import DatabaseLogin, DatabaseLogins, only_login, tunnel_context
from teleport_tw.clients.profile import Profile, ProfileFolder, write_private
from teleport_tw.clients.tsh.commands.logout import run
from teleport_tw.clients.tsh.native import Native, is_mariadb, named, native
from teleport_tw.pki import x509
from teleport_tw.pki.authority import AuthorityType, create
from teleport_tw.pki.identity import Identity, RouteToDatabase
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.pki.trust import bundle

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROFILE = Profile(web_proxy_addr="proxy.example.com:443", user="alice", cluster="example.com")
ORDERS = RouteToDatabase(service="orders", protocol="postgres", username="app", database="main")


class DatabaseCase(SynchronousTestCase):
    """
    A profile, and an authority to sign with.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.patch(os, "environ", {**os.environ, "HOME": str(self.home)})
        os.environ.pop("PGSERVICEFILE", None)
        self.keystore = SoftwareKeystore()
        self.authority = create(AuthorityType.USER, "example.com", self.keystore, NOW)
        self.folder = ProfileFolder(self.home / ".tsh")
        self.logins = DatabaseLogins(self.folder, PROFILE)

    def sign_in(self, route: RouteToDatabase = ORDERS, hours: int = 1) -> DatabaseLogin:
        """
        As if auth had been asked.
        """
        key = PrivateKey.generate_tls()
        identity = Identity(username="alice", database=route, expires=NOW + timedelta(hours=hours))
        issuer = x509.Issuer.of(self.authority, self.keystore)
        made = x509.issue_user(issuer, identity, spki_pem(key.public), now=NOW)
        return self.logins.store(route, key.pem(), x509.to_pem(made))


class LoginTests(DatabaseCase):
    """
    Keys and certificates.
    """

    def test_what_is_stored_is_found(self) -> None:
        """
        Under the reference's names, for the owner alone; the certificate says what it is for.
        """
        login = self.sign_in(evolve(ORDERS, roles=("reader", "writer")))
        base = self.folder.root / "keys" / "proxy.example.com" / "alice-db" / "example.com"
        self.assertEqual((login.certificate, login.key), (base / "orders.crt", base / "orders.key"))
        self.assertEqual(login.key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.logins.get("orders"), login)
        self.assertEqual((login.route.roles, login.expires), (("reader", "writer"), NOW + timedelta(hours=1)))
        self.assertFalse(login.both.exists())

    def test_one_file_for_mongodb(self) -> None:
        """
        Its tools want key and certificate in one.
        """
        login = self.sign_in(RouteToDatabase(service="docs", protocol="mongodb", username="app"))
        self.assertEqual(login.both.read_bytes(), login.key.read_bytes() + login.certificate.read_bytes())
        self.logins.forget(login)
        self.assertEqual(list(login.key.parent.iterdir()), [])

    def test_which_is_meant(self) -> None:
        """
        The only one; else it has to be named; an expired one is not good.
        """
        self.assertRaisesRegex(TeleportError, "tsh db login", only_login, self.logins, "", NOW)
        self.sign_in()
        self.assertEqual(only_login(self.logins, "", NOW).name, "orders")
        self.sign_in(evolve(ORDERS, service="other"), hours=5)
        self.assertRaisesRegex(TeleportError, "orders, other", only_login, self.logins, "", NOW)
        later = NOW + timedelta(hours=2)
        self.assertRaisesRegex(TeleportError, "expired", only_login, self.logins, "orders", later)
        self.assertIsNone(self.logins.valid("orders", later))
        self.assertIsNone(self.logins.valid("nothing", NOW))

    def test_broken_files(self) -> None:
        """
        Say so, and stand in nobody's way.
        """
        login = self.sign_in()
        for content in (b"", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
            login.certificate.write_bytes(content)
            self.assertRaises(TeleportError, self.logins.get, "orders")
            self.assertEqual(self.logins.list(), [])
        for name in ("", "../x", ".x"):
            self.assertRaises(TeleportError, self.logins.get, name)

    def test_another_certificate_of_the_user_is_none_for_a_database(self) -> None:
        """
        Even in its place.
        """
        login = self.sign_in()
        identity = Identity(username="alice", expires=NOW + timedelta(hours=1))
        issuer = x509.Issuer.of(self.authority, self.keystore)
        made = x509.issue_user(issuer, identity, spki_pem(PrivateKey.generate_tls().public), now=NOW)
        login.certificate.write_bytes(x509.to_pem(made))
        self.assertRaisesRegex(TeleportError, "no certificate for a database", self.logins.get, "orders")

    def test_logout_of_the_cluster(self) -> None:
        """
        Takes databases along.
        """
        self.folder.write(PROFILE)
        login = self.sign_in()
        services = self.logins.announce(login)
        assert services is not None
        os.environ["TELEPORT_HOME"] = str(self.folder.root)
        run(argparse.Namespace(proxy="", user="", forget_trust=False))
        self.assertFalse(services.exists())
        self.assertFalse(login.certificate.exists())
        self.assertFalse(login.key.exists())

    def test_context(self) -> None:
        """
        Made of the files; unusable ones say what to do.
        """
        login = self.sign_in()
        authorities = self.home / "ca.pem"
        write_private(authorities, bundle([self.authority]))
        tunnel_context(login, authorities)
        login.key.write_bytes(PrivateKey.generate_tls().pem().reveal())
        self.assertRaisesRegex(TeleportError, "tsh db login orders", tunnel_context, login, authorities)


class AnnouncedTests(DatabaseCase):
    """
    Files of native clients.
    """

    def test_postgres(self) -> None:
        """
        A section of the service file, gone at logout; the rest stays.
        """
        path = self.home / ".pg_service.conf"
        path.write_bytes(b"[mine]\nhost=x\n")
        login = self.sign_in()
        self.assertEqual(self.logins.announce(login), path)
        text = path.read_text()
        self.assertIn("[example.com-orders]", text)
        for line in ("host=proxy.example.com", "port=443", "user=app", "dbname=main", "sslmode=verify-full"):
            self.assertIn(line + "\n", text)
        self.logins.forget(login)
        self.assertEqual(path.read_bytes(), b"[mine]\nhost=x\n")

    def test_postgres_elsewhere(self) -> None:
        """
        Where the variable says.
        """
        os.environ["PGSERVICEFILE"] = str(self.home / "services")
        self.assertEqual(self.logins.announce(self.sign_in()), self.home / "services")

    def test_mysql_needs_a_port_of_its_own(self) -> None:
        """
        The proxy's one port waits for the client to speak first, which MySQL's does not.
        """
        route = RouteToDatabase(service="shop", protocol="mysql", username="app")
        login = self.sign_in(route)
        self.assertIsNone(self.logins.announce(login))
        self.assertEqual(self.logins.connecting(login).port, 0)
        logins = DatabaseLogins(self.folder, evolve(PROFILE, mysql_proxy_addr="proxy.example.com:3036"))
        path = self.home / ".my.cnf"
        self.assertEqual(logins.announce(login), path)
        self.assertIn("ssl-mode=VERIFY_IDENTITY\n", path.read_text())
        logins.announce(login, mariadb=True)
        self.assertIn("[client_example.com-shop]\n", path.read_text())
        self.assertIn("ssl-verify-server-cert=1\n", path.read_text())
        self.assertNotIn("ssl-mode", path.read_text())
        logins.forget(login)
        self.assertFalse(path.exists())

    def test_others_have_none(self) -> None:
        """
        Their ports, where the proxy has some.
        """
        login = self.sign_in(RouteToDatabase(service="cache", protocol="redis", username="default"))
        self.assertIsNone(self.logins.announce(login))
        logins = DatabaseLogins(self.folder, evolve(PROFILE, redis_proxy_addr="other.example.com:6379"))
        connecting = logins.connecting(login)
        self.assertEqual((connecting.host, connecting.port), ("other.example.com", 6379))


class NativeTests(DatabaseCase):
    """
    Command lines.
    """

    def test_through_a_tunnel(self) -> None:
        """
        No certificate, no TLS.
        """
        odd = evolve(ORDERS, username="a b@c", database="x/y?z")
        for protocol, route, wanted in (
            ("postgres", ORDERS, ["psql", "postgres://app@localhost:9/main?sslmode=disable"]),
            ("postgres", odd, ["psql", "postgres://a%20b%40c@localhost:9/x%2Fy%3Fz?sslmode=disable"]),
            (
                "mysql",
                ORDERS,
                [
                    "mysql",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    "9",
                    "--protocol",
                    "TCP",
                    "--user",
                    "app",
                    "--database",
                    "main",
                ],
            ),
            ("mongodb", ORDERS, ["mongosh", "mongodb://127.0.0.1:9/main?directConnection=true"]),
            ("redis", evolve(ORDERS, database="2"), ["redis-cli", "-h", "127.0.0.1", "-p", "9", "-n", "2"]),
        ):
            self.assertEqual(named(protocol).through(route, 9), wanted)

    def test_one_statement(self) -> None:
        """
        Each client has its own flag for it.
        """
        for protocol, end in (
            ("postgres", ["-c", "x y"]),
            ("mysql", ["--execute", "x y"]),
            ("mongodb", ["--quiet", "--eval", "x y"]),
            ("redis", ["x", "y"]),
        ):
            command = named(protocol).through(ORDERS, 9, "x y")
            self.assertEqual(command[-len(end) :], end)
        cockroach = Native("/bin/cockroach", "cockroachdb")
        self.assertEqual(cockroach.through(ORDERS, 9, "x")[:2], ["/bin/cockroach", "sql"])

    def test_with_certificates(self) -> None:
        """
        To the proxy itself.
        """
        for protocol, part in (
            ("postgres", "sslmode=verify-full"),
            ("redis", "--cacert"),
            ("mongodb", "--tlsCertificateKeyFile"),
            ("mysql", "--defaults-group-suffix=_example.com-orders"),
        ):
            login = self.sign_in(evolve(ORDERS, protocol=protocol))
            command = named(protocol).direct(self.logins.connecting(login))
            self.assertIn(part, " ".join(command))

    def test_what_is_installed(self) -> None:
        """
        The first that is; MariaDB's is known by what it says; none is an error that names them.
        """
        only = {"mariadb": "/usr/bin/mariadb", "psql": "/usr/bin/psql"}.get
        self.assertEqual(native("cockroachdb", which=only).program, "/usr/bin/psql")
        found = native("mysql", which=only, flavour=lambda program: "mysql Ver 15.1 Distrib 10.11-MariaDB")
        self.assertTrue(found.mariadb)
        self.assertIn("--skip-ssl", found.through(ORDERS, 9))
        self.assertFalse(is_mariadb(which=only, flavour=lambda program: "mysql  Ver 8.4.2"))
        self.assertFalse(is_mariadb(which=lambda name: None))
        self.assertRaisesRegex(TeleportError, "redis-cli", native, "redis", which=lambda name: None)
