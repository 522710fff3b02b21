"""
What the C{teleport} command prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.clients.teleport.commands.status import shown
from teleport_tw.config.load import load_file, load_text


def teleport(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """
    Run it to its end.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SSH_")}
    return subprocess.run(
        [sys.executable, "-m", "teleport_tw.clients.teleport.main", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean | variables,
    )


class CommandTests(SynchronousTestCase):
    """
    Without a cluster.
    """

    def test_configure_prints_what_the_services_take(self) -> None:
        """
        To standard output, and to a file that is never overwritten.
        """
        done = teleport(
            "configure", "--cluster-name=example.com", "--public-addr=t.example.com:443", "--roles=auth,proxy"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(yaml.safe_load(done.stdout)["auth_service"]["cluster_name"], "example.com")
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "teleport.yaml"
        self.assertEqual(teleport("configure", "-o", f"file://{path}").returncode, 0)
        load_file(str(path))
        again = teleport("configure", "-o", str(path))
        self.assertEqual(again.returncode, 2)
        self.assertIn("exists already", again.stderr)

    def test_node_configure(self) -> None:
        """
        Token and proxy are asked for.
        """
        done = teleport("node", "configure", "--token=abc", "--proxy=t.example.com:443", "--labels=env=prod")
        self.assertEqual(done.returncode, 0, done.stderr)
        written = yaml.safe_load(done.stdout)
        self.assertEqual(written["teleport"]["proxy_server"], "t.example.com:443")
        self.assertEqual(written["ssh_service"]["labels"], {"env": "prod"})
        self.assertFalse(written["auth_service"]["enabled"])
        self.assertIn("--token", teleport("node", "configure", "--proxy=t.example.com:443").stderr)

    def test_db_configure(self) -> None:
        """
        A database by name, or those with labels; what is missing is told.
        """
        base = ("db", "configure", "create", "--token=abc", "--proxy=t.example.com:443")
        named = ("--name=orders", "--protocol=postgres", "--uri=localhost:5432")
        done = teleport(*base, *named, "--labels=env=prod", "--dynamic-resources-labels=*=*")
        self.assertEqual(done.returncode, 0, done.stderr)
        section = load_text(done.stdout).db
        self.assertTrue(section.enabled)
        self.assertEqual([(each.name, each.labels) for each in section.databases], [("orders", {"env": "prod"})])
        self.assertEqual(section.resources[0].labels, {"*": ("*",)})
        self.assertFalse(load_text(done.stdout).ssh.enabled)
        for words, said in (
            (base, "--dynamic-resources-labels"),
            ((*base, "--name=orders"), "--protocol and --uri"),
            ((*base, *named, "--rds-discovery=eu-west-1"), "not served by this version"),
            ((*base[:3], *named, "--proxy=t:443"), "--token"),
            ((*base[:4], *named), "--proxy"),
        ):
            self.assertIn(said, teleport(*words).stderr)

    def test_status_of_a_session(self) -> None:
        """
        Out of the variables that an agent sets.
        """
        text = shown(
            {
                "SSH_TELEPORT_USER": "alice",
                "SSH_SESSION_ID": "s-1",
                "SSH_TELEPORT_CLUSTER_NAME": "example.com",
                "SSH_TELEPORT_HOST_UUID": "h-1",
                "SSH_SESSION_WEBPROXY_ADDR": "t.example.com:443",
            },
            "root",
        )
        self.assertEqual(
            text,
            "User ID     : alice, logged in as root\nCluster Name: example.com\nHost UUID   : h-1\nSession ID  : s-1\n"
            "Session URL : https://t.example.com:443/web/cluster/example.com/console/session/s-1\n",
        )

    def test_status_outside_of_sessions(self) -> None:
        """
        Fails, and says why.
        """
        done = teleport("status")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not a session", done.stderr)

    def test_version_and_completion(self) -> None:
        """
        Every verb is in the script.
        """
        self.assertIn("Teleport v", teleport("version").stdout)
        script = teleport("completion", "bash").stdout
        for verb in ("start", "configure", "node", "join", "status"):
            self.assertIn(verb, script)

    def test_start_is_twistd(self) -> None:
        """
        With the flags of its plugin.
        """
        done = teleport("start", "--help")
        self.assertIn("--diag-addr", done.stdout, done.stderr)
