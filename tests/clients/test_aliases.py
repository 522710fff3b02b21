"""
L{teleport_tw.clients.aliases}: a user's own names for commands.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.clients import aliases
from teleport_tw.clients.tsh.main import VERBS


class AliasTests(SynchronousTestCase):
    """
    From words to words.
    """

    def setUp(self) -> None:
        """A folder of one's own."""
        self.home = Path(self.mktemp())
        (self.home / "config").mkdir(parents=True)
        self.everybodys = self.home / "everybody.yaml"
        self.environment: dict[str, str] = {"TELEPORT_HOME": str(self.home)}
        self.environment["TELEPORT_GLOBAL_TSH_CONFIG"] = str(self.everybodys)
        self.patch(aliases.os, "environ", self.environment)

    def write(self, text: str) -> None:
        """The user's file."""
        (self.home / "config" / "config.yaml").write_text(text)

    def expand(self, *words: str) -> list[str]:
        """What they stand for, typed anew."""
        self.environment.pop(aliases.INSIDE, None)
        return aliases.unaliased(words, VERBS)

    def refused(self, *words: str) -> str:
        """@return: what is said."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        self.assertRaises(SystemExit, self.expand, *words)
        return said.getvalue()

    def test_without_files(self) -> None:
        """Words stay."""
        self.assertEqual(self.expand("prod", "x"), ["prod", "x"])

    def test_a_command(self) -> None:
        """Flags in front stay there, and what is typed behind goes to the end."""
        self.write("aliases: {prod: 'tsh --proxy=prod ls', empty: ''}")
        self.assertEqual(self.expand("-d", "prod", "-v"), ["-d", "--proxy=prod", "ls", "-v"])
        self.assertEqual(self.expand("--proxy", "prod", "status"), ["--proxy", "prod", "status"])
        self.assertIn("stands for nothing", self.refused("empty"))

    def test_positions(self) -> None:
        """They are filled in, each once or more; one that is missing is told."""
        self.write("aliases: {on: 'tsh ssh root@$0 -- ${1} $1'}")
        self.assertEqual(self.expand("on", "node", "id", "-u"), ["ssh", "root@node", "--", "id", "id", "-u"])
        self.assertIn("needs 2 argument(s)", self.refused("on", "node"))

    def test_the_command_itself(self) -> None:
        """An alias named as a command may use that command, and no alias goes round."""
        self.write("aliases: {login: 'tsh login --auth=local', a: tsh b, b: tsh a}")
        self.assertEqual(self.expand("login", "x"), ["login", "--auth=local", "x"])
        self.assertEqual(self.expand("a"), ["a"])

    def test_everybodys(self) -> None:
        """The user's own file wins."""
        self.everybodys.write_text("aliases: {x: tsh ls, y: tsh status}")
        self.write("aliases: {x: tsh clusters}")
        self.assertEqual((self.expand("x"), self.expand("y")), (["clusters"], ["status"]))

    def test_another_program(self) -> None:
        """It takes our place, and finds the way back in a variable."""
        self.write("aliases: {hosts: 'bash -c \"$TSH ls\"'}")
        ran: list[tuple[str, list[str]]] = []

        def execvp(program: str, words: list[str]) -> None:
            ran.append((program, words))
            raise FileNotFoundError(2, "No such file")

        self.patch(aliases.os, "execvp", execvp)
        self.assertIn("No such file", self.refused("hosts"))
        self.assertEqual(ran, [("bash", ["bash", "-c", "$TSH ls"])])
        self.assertEqual((self.environment["TSH"], self.environment["TSH_UNALIAS"]), (sys.argv[0], "hosts"))

    def test_broken_files(self) -> None:
        """A file that makes no sense is told of by name."""
        for text in ("aliases: [x]", "aliases: {x: [1]}", "a: b: c", "- 1"):
            self.write(text)
            self.assertIn("config.yaml", self.refused("x"))
