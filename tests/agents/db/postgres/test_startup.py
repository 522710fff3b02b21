"""
Startup packets that mean something else than they say.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.postgres.startup import MAX_PARAMETERS, Wanted, judged
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.postgres.startup import Parameters, StartupMessage


def ask(*parameters: tuple[bytes, bytes], version: int = 0x30000, protocol: str = "postgres") -> Wanted:
    """As alice, with these."""
    given: Parameters = ((b"user", b"alice"), *parameters)
    return judged(StartupMessage(given, version), protocol)


class StartupTests(SynchronousTestCase):
    """
    What is judged is what the server gets.
    """

    def refused(self, code: str, *parameters: tuple[bytes, bytes], protocol: str = "postgres") -> None:
        """With this SQLSTATE."""
        error = self.assertRaises(RemoteProtocolError, ask, *parameters, protocol=protocol)
        self.assertEqual(error.code, code, str(error))

    def test_names_are_taken_and_passed_on(self) -> None:
        """
        Settings too, which the audit log shows.
        """
        wanted = ask((b"database", b"things"), (b"application_name", b"psql"), (b"search_path", b"x"))
        self.assertEqual((wanted.user, wanted.database, wanted.application), ("alice", "things", "psql"))
        self.assertEqual(wanted.shown, {"search_path": "x"})
        self.assertEqual(wanted.packet.get(b"search_path"), b"x")

    def test_a_database_that_is_left_out_is_the_users_name(self) -> None:
        """
        As the server would fill it in; and it is told so, that there be no doubt.
        """
        for parameters in ((), ((b"database", b""),)):
            wanted = ask(*parameters)
            self.assertEqual((wanted.database, wanted.packet.get(b"database")), ("alice", b"alice"))
            self.assertEqual(len(wanted.packet.parameters), 2)

    def test_a_user_is_needed(self) -> None:
        """
        And it has one name only.
        """
        for parameters in ((), ((b"database", b"x"),), ((b"user", b""),)):
            self.assertRaises(RemoteProtocolError, judged, StartupMessage(parameters), "postgres")
        self.refused("08P01", (b"user", b"postgres"))
        self.refused("08P01", (b"User", b"postgres"))
        self.refused("08P01", (b"database", b"a"), (b"database", b"b"))
        self.refused("22021", (b"database", b"\xff"))
        self.refused("08P01", *((b"x%d" % number, b"") for number in range(MAX_PARAMETERS)))

    def test_names_that_the_server_would_cut_are_refused(self) -> None:
        """
        What is left of one might be another, which roles deny; CockroachDB cuts nothing.
        """
        self.refused("42622", (b"database", b"d" * 64))
        self.assertEqual(ask((b"database", b"d" * 63)).database, "d" * 63)
        self.assertEqual(ask((b"database", b"d" * 64), protocol="cockroachdb").database, "d" * 64)

    def test_replication_is_refused(self) -> None:
        """
        In every spelling that switches it on.
        """
        for value in (b"true", b"database", b"1", b"ON", b"yes", b"anything"):
            self.refused("0A000", (b"replication", value))
        for value in (b"false", b"off", b"0", b"no"):
            ask((b"replication", value))

    def test_options_are_settings_and_nothing_else(self) -> None:
        """
        Escaped spaces belong to the value; switches of the server are refused, and settings that lead elsewhere.
        """
        for options in (b"", b"-c a=b", b"-ca=b --c-d=e", rb"-c search_path=a\ b -c x=-y", b"--statement-timeout=5s"):
            self.assertEqual(ask((b"options", options)).packet.get(b"options"), options)
        for options in (b"-E", b"-c", b"-c a", b"-d 5", b"x", b"--", b"-c a=b -P"):
            self.refused("42601", (b"options", options))
        for options in (
            b"-c role=postgres",
            b"--session-authorization=postgres",
            rb"-c\ role=x -c ROLE=x",
            b"-c Role=x",
        ):
            error = self.assertRaises(RemoteProtocolError, ask, (b"options", options))
            self.assertIn(error.code, ("0A000", "42601"))
        self.refused("0A000", (b"role", b"postgres"))
        self.refused("0A000", (b"SESSION_AUTHORIZATION", b"postgres"))

    def test_cockroachdb_is_asked_for_no_other_cluster(self) -> None:
        """
        Its options may name one.
        """
        self.refused("0A000", (b"options", b"--cluster=other"), protocol="cockroachdb")
        self.refused("0A000", (b"options", b"-ccluster=other"), protocol="cockroachdb")
        self.assertEqual(ask((b"options", b"--cluster=x")).database, "alice")

    def test_protocol_versions_are_negotiated(self) -> None:
        """
        Options of the protocol are ours to answer, and do not reach the server.
        """
        wanted = ask((b"_pq_.compression", b"zstd"), version=0x30009)
        self.assertEqual((wanted.version, wanted.packet.version), (0x30009, 0x30002))
        self.assertEqual(wanted.unknown, (b"_pq_.compression",))
        self.assertEqual(wanted.packet.get(b"_pq_.compression"), b"")
