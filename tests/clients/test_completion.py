"""
Completion in fish, asked of fish itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.clients.commandline import Parser, Verb
from teleport_tw.clients.completion import fish, script

FISH = shutil.which("fish")


def made(program: str) -> str:
    """
    @return: the script of one of our programs.
    """
    code = f"from teleport_tw.clients.{program}.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "completion", "fish"], capture_output=True, text=True, check=True
    )
    return done.stdout


class Words(SynchronousTestCase):
    """
    What stands in the script.
    """

    def test_quotes(self) -> None:
        """Help is text, whatever it holds."""
        parser = Parser(prog="x")
        parser.add_argument("--a", help="it's a \\ 100%% $(rm) [default] (TELEPORT_X)")
        parser.add_argument("--hidden", help="==SUPPRESS==")
        line = next(line for line in fish("x", parser).splitlines() if "-l a " in line)
        self.assertTrue(line.endswith("-d 'it\\'s a \\\\ 100% $(rm)'"), line)
        self.assertNotIn("-l hidden", fish("x", parser))

    def test_other_shells(self) -> None:
        """Are made from the same table."""
        verbs = (Verb("version", "teleport_tw.clients.tsh.commands.version", "print the version"),)
        for shell in ("bash", "zsh", "tcsh", "fish"):
            self.assertIn("version", script("tsh", "", verbs, lambda parser: None, shell))


@pytest.mark.servers
@unittest.skipUnless(FISH, "fish is not installed")
class Asked(unittest.TestCase):
    """
    What fish offers.
    """

    scripts: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.scripts = {program: made(program) for program in ("tsh", "tctl", "teleport")}

    def offered(self, line: str) -> list[str]:
        """
        @return: words that could come next.
        """
        text = self.scripts[line.partition(" ")[0]] + f"complete -C {line!r}\n"
        done = subprocess.run(
            [str(FISH), "--no-config"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
        self.assertEqual(done.stderr, "")
        return [each.partition("\t")[0] for each in done.stdout.splitlines()]

    def test_verbs(self) -> None:
        """Of the program, and of a verb; flags and their values are no verbs."""
        self.assertIn("mfa", self.offered("tsh "))
        self.assertEqual(self.offered("tsh mfa "), ["add", "ls", "recovery", "rm"])
        self.assertEqual(self.offered("tsh --proxy ls --debug mfa "), ["add", "ls", "recovery", "rm"])
        self.assertIn("tokens", self.offered("tctl to"))
        self.assertIn("start", self.offered("teleport "))

    def test_flags(self) -> None:
        """The verb's own and the program's, but no other verb's."""
        flags = self.offered("tsh mfa add --")
        self.assertIn("--allow-passwordless", flags)
        self.assertIn("--proxy", flags)
        self.assertNotIn("--allow-passwordless", self.offered("tsh ls --"))

    def test_values(self) -> None:
        """Where there are only so many."""
        self.assertEqual(self.offered("tsh completion "), ["bash", "fish", "tcsh", "zsh"])
        self.assertEqual(self.offered("tsh mfa add --type="), ["--type=totp", "--type=webauthn"])

    def test_behind_two_dashes(self) -> None:
        """Everything is somebody else's."""
        self.assertNotIn("--proxy", self.offered("tsh ssh root@web -- ls --"))
