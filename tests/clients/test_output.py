"""
Tests for L{teleport_tw.clients.output}, L{teleport_tw.clients.selection} and L{teleport_tw.clients.commandline}.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.clients import commandline, output
from teleport_tw.clients.commandline import Parser, Verb, build, parse, report
from teleport_tw.clients.selection import add_selection, parse_labels, search_words, selection

HARMLESS: list[tuple[str, str]] = [
    ("plain ünï", "plain ünï"),
    ("a\x1b[2Jb", "a\\x1b[2Jb"),
    ("a\nb\tc", "a\\nb\\tc"),
    ("\x7f\x9b", "\\x7f\\x9b"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\u2066x\u2069", "\\u2066x\\u2069"),
    ("\u2028\ufeff\u061c", "\\u2028\\ufeff\\u061c"),
    ("\ud800", "\\ud800"),
]
LABELS: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("a=b", {"a": "b"}),
    ("a=b,c=d", {"a": "b", "c": "d"}),
    (" a = b , c=d ,", {"a": "b", "c": "d"}),
    ("a=b=c", {"a": "b=c"}),
    ("a=", {"a": ""}),
    ('a="x, y",c=d', {"a": "x, y", "c": "d"}),
    ("a='x,y'", {"a": "x,y"}),
    ("region=us-*", {"region": "us-*"}),
    ("*=*", {"*": "*"}),
]
BAD_LABELS = ["a", "=b", "a=b,c", " = ", 'a="b', "a='b,c=d"]
WORDS: list[tuple[str, tuple[str, ...]]] = [
    ("", ()),
    ("db prod", ("db", "prod")),
    ("db,prod", ("db", "prod")),
    ("'us east' web", ("us east", "web")),
]


class OutputTests(SynchronousTestCase):
    """
    Tables, JSON and YAML.
    """

    def test_harmless(self) -> None:
        """
        No name moves the cursor or turns the line round.
        """
        for text, expected in HARMLESS:
            self.assertEqual(output.harmless(text), expected)
            self.assertEqual(output.harmless(expected), expected)

    def test_table(self) -> None:
        """
        Columns are as wide as their widest cell; the last is cut to the terminal.
        """
        rows = [["web", "a=1,b=2"], ["longer", "x"]]
        self.assertEqual(
            output.table(["Name", "Labels"], rows),
            "Name   Labels\n------ -------\nweb    a=1,b=2\nlonger x\n",
        )
        self.assertEqual(
            output.table(["Name", "Labels"], rows, width=13),
            "Name   Labels\n------ ------\nweb    a=1,b…\nlonger x\n",
        )
        self.assertEqual(output.table(["Name", "Labels"], rows, width=1).splitlines()[2], "web    a=1,b…")
        self.assertEqual(output.table(["Name"], []), "Name\n----\n")
        self.assertEqual(output.table(["Name"], [["abcdefgh"]], width=4).splitlines()[2], "abcdefgh")
        self.assertIn("\\x1b", output.table(["Name"], [["\x1b"]]))

    def test_forms(self) -> None:
        """
        The same facts in JSON and YAML, which no terminal obeys.
        """
        value = {"t": ("a", "b"), "d": timedelta(hours=1), "s": frozenset({"x"}), "bad": "\x9b2J\u202e\x1b\x7f"}
        text = output.as_json(value)
        found = json.loads(text)
        self.assertEqual(found, {"t": ["a", "b"], "d": "1h0m0s", "s": ["x"], "bad": "\x9b2J\u202e\x1b\x7f"})
        self.assertFalse(set("\x9b\u202e\x1b\x7f") & set(text))
        self.assertEqual(list(yaml.safe_load_all(output.as_yaml(value, {"n": 1}))), [found, {"n": 1}])
        self.assertRaises(TypeError, output.as_json, object())
        from types import MappingProxyType

        self.assertEqual(json.loads(output.as_json(MappingProxyType({"a": 1}))), {"a": 1})

    def test_show(self) -> None:
        """
        One of three forms, to the stream that is given or else to standard output.
        """
        for form, value, expected in (
            ("text", [1], "T\n"),
            ("json", [1], "[\n    1\n]\n"),
            ("yaml", [{"a": 1}, {"b": 2}], "a: 1\n---\nb: 2\n"),
            ("yaml", {"a": 1}, "a: 1\n"),
        ):
            stream = io.StringIO()
            output.show(form, value, "T\n", stream=stream)
            self.assertEqual(stream.getvalue(), expected)
            with redirect_stdout(io.StringIO()) as shown:
                output.show(form, value, "T\n")
            self.assertEqual(shown.getvalue(), expected)

    def test_width(self) -> None:
        """
        Nothing is cut in a pipe.
        """

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        self.assertEqual(output.terminal_width(io.StringIO()), 0)
        self.assertGreater(output.terminal_width(Terminal()), 0)
        with redirect_stdout(io.StringIO()):
            self.assertEqual(output.terminal_width(), 0)


class SelectionTests(SynchronousTestCase):
    """
    Labels, words and expressions.
    """

    def test_labels(self) -> None:
        """
        Pairs, quoted where a comma is meant.
        """
        for text, expected in LABELS:
            self.assertEqual(parse_labels(text), expected, text)
        for text in BAD_LABELS:
            self.assertIs(self.assertRaises(TeleportError, parse_labels, text).kind, Kind.BAD_PARAMETER)

    def test_words(self) -> None:
        """
        Commas and spaces part words.
        """
        for text, expected in WORDS:
            self.assertEqual(search_words(text), expected, text)
        self.assertRaises(TeleportError, search_words, "'open")

    def test_flags(self) -> None:
        """
        What was typed becomes one query.
        """
        parser = argparse.ArgumentParser()
        add_selection(parser)
        query = selection(parser.parse_args(["env=prod", "--search=a b", "--query=exists(name)"]), accessible=True)
        self.assertEqual(dict(query.labels), {"env": "prod"})
        self.assertEqual((query.search, query.expression, query.accessible), (("a", "b"), "exists(name)", True))
        self.assertEqual(dict(selection(parser.parse_args([])).labels), {})


VERBS = (
    Verb("list", "tests.clients.verbs", "show all", aliases=("ls",)),
    Verb("other", "tests.clients.absent", "whose module does not exist"),
    Verb("secret", "tests.clients.verbs", "not shown", hidden=True),
)


def flags(parser: Parser) -> None:
    """
    Of the whole program.
    """
    parser.add_argument("--user", default="")


class CommandLineTests(SynchronousTestCase):
    """
    Verbs and their modules.
    """

    def ended(self, call: Callable[[], object]) -> tuple[object, str, str]:
        """
        @return: exit code, standard output and standard error of a call that ends the process.
        """
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
            code = self.assertRaises(SystemExit, call).code
        return code, out.getvalue(), error.getvalue()

    def run_with(self, *arguments: str) -> tuple[object, str, str]:
        """
        As L{ended}, of a command line.
        """
        return self.ended(lambda: parse("prog", "what it does", VERBS, flags, arguments))

    def test_only_the_typed_verb_is_imported(self) -> None:
        """
        By name or alias, flags before it or after.
        """
        for arguments in (["list", "--all"], ["--user=x", "ls", "--all"]):
            options = parse("prog", "what it does", VERBS, flags, arguments)
            self.assertTrue(options.all)
            self.assertEqual(options.run(None, options), 7)
        self.assertRaises(ModuleNotFoundError, parse, "prog", "", VERBS, flags, ["other"])
        self.assertTrue(parse("prog", "", VERBS, flags, ["secret", "--all"]).all)

    def test_without_a_verb(self) -> None:
        """
        The list of commands, hidden ones left out.
        """
        code, shown, _ = self.run_with()
        self.assertEqual(code, 0)
        self.assertIn("list   show all", shown)
        self.assertNotIn("secret", shown)
        self.assertEqual(self.run_with("--nonsense")[0], 2)

    def test_wrong_usage(self) -> None:
        """
        Exit code 2, and where help is.
        """
        code, _, error = self.run_with("list", "--al")
        self.assertEqual(code, 2)
        self.assertIn("--al is not a flag or argument of prog list", error)
        self.assertIn("--help", error)
        self.assertEqual(self.run_with("list", "--count", "x")[0], 2)

    def test_a_verb_that_needs_another(self) -> None:
        """
        C{tctl users} alone shows its help.
        """
        verbs = (Verb("group", "tests.clients.groups", "has parts"),)
        code, shown, _ = self.ended(lambda: parse("prog", "", verbs, flags, ["group"]))
        self.assertEqual(code, 0)
        self.assertIn("part", shown)

    def test_help_of_a_verbs_own_verb(self) -> None:
        """
        It says what the list of them says, and shows the examples that are its own and no others.
        """
        verbs = (Verb("group", "tests.clients.groups", "has parts"),)
        code, shown, _ = self.ended(lambda: parse("prog", "", verbs, flags, ["group", "part", "--help"]))
        self.assertEqual(code, 0)
        self.assertIn("A part.\n", shown)
        self.assertIn("examples:\n  prog group part --all", shown)
        self.assertNotIn("other", shown)

    def test_flags_everywhere(self) -> None:
        """
        The program's flags may stand behind the verb, and behind a verb's own verb; a verb's meaning wins.
        """
        verbs = (*VERBS, Verb("group", "tests.clients.groups", "has parts"))

        def more(parser: Parser) -> None:
            flags(parser)
            parser.add_argument("--count", "-c", dest="times")

        for arguments in (["--user=x", "list"], ["list", "--user=x"], ["group", "part", "--user=x"]):
            self.assertEqual(parse("prog", "", verbs, more, arguments, everywhere=True).user, "x", arguments)
        self.assertEqual(parse("prog", "", verbs, more, ["list", "--count=3"], everywhere=True).count, 3)

    def test_whole(self) -> None:
        """
        Help pages and completion see all verbs.
        """
        parser = build("prog", "what it does", VERBS[::2], flags)
        self.assertIn("show all", parser.format_help())
        self.assertNotIn("not shown", parser.format_help())

    def test_report(self) -> None:
        """
        A known failure by its text, another by its type; neither moves the cursor.
        """
        for error, code, text in (
            (bad_parameter("wrong\nsecond line"), 2, "ERROR: wrong\nsecond line\n"),
            (not_found("none \x1b[2J"), 1, "ERROR: none \\x1b[2J\n"),
            (ValueError("odd\x9b"), 1, "ERROR: ValueError: odd\\x9b\n"),
        ):
            with redirect_stderr(io.StringIO()) as shown:
                self.assertEqual(report(error), code)
            self.assertEqual(shown.getvalue(), text)

    def test_environment(self) -> None:
        """
        A variable is the default of its flag.
        """
        self.patch(commandline.os, "environ", {"TELEPORT_USER": "al"})
        self.assertEqual(commandline.environment("TELEPORT_USER"), "al")
        self.assertEqual(commandline.environment("TELEPORT_PROXY", "x"), "x")
