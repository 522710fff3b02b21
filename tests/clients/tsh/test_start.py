"""
What the quick commands load, and say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

HEAVY = ("twisted", "grpc", "cryptography", "OpenSSL", "rich")

_RUN = """
import sys
from teleport_tw.clients.tsh.main import run
code = run(sys.argv[1:])
loaded = [name for name in {heavy!r} if sys.modules.get(name)]
print("LOADED", loaded)
sys.exit(code)
"""


class StartTests(SynchronousTestCase):
    """
    C{tsh version} and C{tsh status} answer at once, as they load next to nothing.
    """

    def tsh(self, *words: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as home:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("TELEPORT_")}
            done = subprocess.run(
                [sys.executable, "-c", _RUN.format(heavy=HEAVY), *words],
                capture_output=True,
                text=True,
                timeout=60,
                env={**environment, "TELEPORT_HOME": home},
                check=False,
            )
        return done.returncode, done.stdout

    def test_version(self) -> None:
        """Neither Twisted nor grpcio nor a crypto library."""
        code, said = self.tsh("version")
        self.assertEqual(code, 0)
        self.assertIn("Teleport v", said)
        self.assertIn("LOADED []", said)

    def test_status_without_login(self) -> None:
        """It says so, and fails."""
        code, said = self.tsh("status")
        self.assertEqual(code, 1)
        self.assertIn("Not logged in.", said)
        self.assertIn("LOADED []", said)

    def test_flags_behind_the_verb(self) -> None:
        """What every command understands may stand on either side of its name."""
        for words in (("--proxy=x", "status"), ("status", "--proxy=x")):
            self.assertEqual(self.tsh(*words)[0], 1)


class SshTests(SynchronousTestCase):
    """
    C{tsh ssh} loads Twisted, Conch and a crypto library, and nothing that it does without.
    """

    def test_ssh(self) -> None:
        """Neither the API's client nor X.509, nor what the proxy's web pages or an agent need."""
        program = """
import sys
from teleport_tw.clients.tsh.main import run
try:
    run(["ssh", "root@node-1", "true"])
finally:
    from teleport_tw.base.loop import install
    install()
    import twisted.internet.reactor
    import teleport_tw.clients.tsh.interactive
    print("LOADED", [name for name in sys.argv[1:] if sys.modules.get(name)])
"""
        heavy = (
            *("grpc", "klein", "treq", "rich", "prometheus_client", "OpenSSL", "yaml", "automat", "pqcrypto"),
            *("cryptography.x509", "urllib.request", "teleport_tw.dial.forward", "teleport_tw.pki.authority"),
        )
        with tempfile.TemporaryDirectory() as home:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("TELEPORT_")}
            done = subprocess.run(
                [sys.executable, "-c", program, *heavy],
                capture_output=True,
                text=True,
                timeout=60,
                env={**environment, "TELEPORT_HOME": home},
                check=False,
            )
        self.assertIn("Not logged in", done.stderr)
        self.assertEqual(done.stdout, "LOADED []\n")
