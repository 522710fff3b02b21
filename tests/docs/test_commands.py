"""
The reference of the commands.
"""

from __future__ import annotations

import shlex
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from docs import commands
from teleport_tw.clients.commandline import Verb, parse, plain


class CommandTests(SynchronousTestCase):
    """
    Every command of every program.
    """

    def verbs(self) -> list[tuple[str, Verb]]:
        """
        @return: program and verb.
        """
        found = []
        for program in commands.PROGRAMS:
            verbs: tuple[Verb, ...] = import_module(f"teleport_tw.clients.{program}.main").VERBS
            found += [(program, verb) for verb in verbs]
        return found

    def test_every_verb_is_described(self) -> None:
        """
        In sentences, and without a word of markup that people would see.
        """
        for program, verb in self.verbs():
            said = plain(import_module(verb.module).__doc__ or "").strip()
            self.assertRegex(said, r"^[A-Z].+\.$|^[A-Z](.|\n)+[.)]$", f"{program} {verb.name}")
            self.assertNotIn("C{", said, f"{program} {verb.name}")

    def test_every_verb_has_an_example(self) -> None:
        """
        One at least that calls the command itself.
        """
        for program, verb in self.verbs():
            examples = getattr(import_module(verb.module), "EXAMPLES", "")
            shared = verb.module.endswith("tctl.commands.version")
            own = "tctl version" if shared else f"{program} {verb.name}"
            self.assertIn(own, examples, verb.module)

    def test_examples_are_understood(self) -> None:
        """
        Their flags and arguments are ones the parser knows, up to the first pipe or redirection.
        """
        for program in commands.PROGRAMS:
            module = import_module(f"teleport_tw.clients.{program}.main")
            read = partial(parse, program, module.DESCRIPTION, module.VERBS, module.flags)
            for verb in module.VERBS:
                if verb.name == "start" or verb.module.endswith("tctl.commands.version"):
                    continue
                for line in import_module(verb.module).EXAMPLES.splitlines():
                    # What follows two spaces or more is a remark.
                    words = shlex.split(line.partition("  ")[0], posix=True)
                    if words[0] != program:
                        continue
                    plainly = words[1 : next((n for n, word in enumerate(words) if word[0] in "|<>&;"), None)]
                    try:
                        read([word.rstrip(";") for word in plainly], everywhere=program == "tsh")
                    except SystemExit as ended:
                        self.fail(f"{line!r} ends with {ended.code}")

    def test_pages_are_made(self) -> None:
        """
        A reference page a program, a manual page a verb; usage, flags, examples and exit codes are in both.
        """
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pages = commands.write(Path(folder.name))
        self.assertEqual([page.stem for page in pages], list(commands.PROGRAMS))
        page = pages[0].read_text()
        manual = (Path(folder.name) / "man" / "tsh-ssh.1").read_text()
        for wanted in ("tsh ssh", "dynamic", "forward", "Examples", "Exit codes"):
            self.assertIn(wanted, page)
            self.assertIn(wanted, manual)
        self.assertIn("``TELEPORT_PROXY``", page)
        self.assertIn('.TH "tsh-ssh" "1"', manual)
        names = {each.stem for each in (Path(folder.name) / "man").iterdir()}
        expected = {f"{program}-{verb.name}" for program, verb in self.verbs() if not verb.hidden}
        self.assertEqual(names, expected | set(commands.PROGRAMS))
