"""
A newcomer's first hour: sign up, sign in, reach a server, find it in the audit log and play it back.
"""

from __future__ import annotations

import getpass
import json
import shlex
import time
import unittest

import pytest

from tests.journeys.cluster import Cluster, until

pytestmark = pytest.mark.servers


class FirstHourTests(unittest.TestCase):
    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster().start()
        cls.addClassCleanup(cls.cluster.close)
        cls.login = getpass.getuser()
        cls.authenticator = cls.cluster.sign_up("alice", logins=cls.login)
        cls.cluster.log_in("alice", cls.authenticator)
        until(lambda: cls.cluster.node_listed("node-1"), "the node's first heartbeat")

    def test_status_names_who_is_signed_in(self) -> None:
        """C{tsh status} tells user, cluster, roles and logins."""
        shown = self.cluster.tsh("status").stdout
        for fact in ("alice", "journey", "access", self.login):
            self.assertIn(fact, shown)

    def test_the_server_is_listed(self) -> None:
        """C{tsh ls} shows the server and its labels."""
        shown = self.cluster.tsh("ls").stdout
        self.assertIn("node-1", shown)
        self.assertIn("env=test", shown)

    def test_a_command_runs_as_the_login_with_its_exit_status(self) -> None:
        """Output, standard error and exit status come back apart."""
        done = self.cluster.tsh("ssh", f"{self.login}@node-1", "id -un; echo oops >&2; exit 7", check=False)
        self.assertEqual((done.stdout.strip(), done.stderr.strip(), done.returncode), (self.login, "oops", 7))
        event = until(lambda: self.cluster.events("exec", user="alice", exitCode="7"), "the exec event")[0]
        self.assertEqual(event["code"], "T3002E")

    def test_a_terminal_session_is_recorded_and_played(self) -> None:
        """What was on the screen comes back by C{tsh play}, and is found by its content."""
        marker = f"marker-{time.time_ns()}"
        command = shlex.join([*self.cluster.program("tsh"), "ssh", "-t", f"{self.login}@node-1", f"echo {marker}"])
        done = self.cluster.run("script", "-qec", command, "/dev/null")
        self.assertIn(marker, done.stdout)
        ended = until(
            lambda: self.cluster.events("session.end", user="alice", interactive=True), "the end of the session"
        )
        session = ended[-1]["sid"]
        until(lambda: self.cluster.events("session.upload", sid=session), "the upload of the recording")
        self.assertIn(marker, self.cluster.tsh("play", "--format=text", session).stdout)
        hits = until(
            lambda: json.loads(self.cluster.tctl("recordings", "search", marker, "--format=json")),
            "the recording's text",
        )
        self.assertEqual([hit["session"] for hit in hits], [session])

    def test_a_login_outside_the_role_is_refused_and_told_to_the_administrator(self) -> None:
        """The user reads that access is denied; the reason is in the audit log."""
        done = self.cluster.tsh("ssh", "daemon@node-1", "true", check=False)
        self.assertNotEqual(done.returncode, 0)
        refused = until(lambda: self.cluster.events("auth", success=False), "the refusal's event")
        self.assertEqual(refused[-1]["code"], "T3007W")

    def test_the_log_is_whole(self) -> None:
        """The hash chain verifies."""
        self.assertIn("whole", self.cluster.tctl("audit", "verify"))
