"""
How a program finds the command it was asked for.

A program is a table of L{Verb}s. Only the module of the verb that was typed is imported, so that C{tsh version} costs
no more than Python itself; each module has C{configure(parser)} and C{run(context, options)}.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from importlib import import_module
from textwrap import indent
from typing import Any, NamedTuple, NoReturn, Protocol

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.clients.output import harmless

EXIT_FAILURE = 1
EXIT_USAGE = 2

Run = Callable[[Any, argparse.Namespace], Awaitable[int | None]]
"""A command's body: what it needs, what was typed; answers the exit code, none for 0."""


class Verb(NamedTuple):
    """
    One command. A named tuple, as C{attrs} takes longer to load than C{tsh version} should take.

    @ivar module: where it lives.
    @ivar help: one line for the list of commands.
    @ivar hidden: left out of that list.
    """

    name: str
    module: str
    help: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class CommandModule(Protocol):
    """
    What a verb's module holds; its docstring is the description, C{EXAMPLES} the lines under it.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """
        Add flags and arguments; C{parser.set_defaults(run=…)} says what runs.
        """
        ...


class Parser(argparse.ArgumentParser):
    """
    Errors that name the program and say where help is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """
        Say what is wrong and end with exit code 2.
        """
        self.exit(EXIT_USAGE, f"ERROR: {message}\n\nTry '{self.prog} --help'.\n")


def settle() -> None:
    """
    Modules are loaded: what they are made of is no garbage, and is not looked through again, not even at the end.
    """
    gc.freeze()
    gc.enable()


def environment(variable: str, default: str = "") -> str:
    """
    @return: the variable's value, as the default of the flag that overrides it.
    """
    return os.environ.get(variable, default)


def build(program: str, description: str, verbs: Sequence[Verb], flags: Callable[[Parser], None]) -> Parser:
    """
    @return: the whole parser, every verb's module imported: for help pages and completion.
    """
    parser = Parser(prog=program, description=description)
    flags(parser)
    commands = parser.add_subparsers(metavar="command", dest="verb", parser_class=Parser)
    for verb in verbs:
        _add(commands, verb)
    return parser


def _add(commands: Any, verb: Verb) -> argparse.ArgumentParser:
    module = import_module(verb.module)
    examples = indent(getattr(module, "EXAMPLES", ""), "  ")
    help_text = {} if verb.hidden else {"help": verb.help}
    child: argparse.ArgumentParser = commands.add_parser(
        verb.name,
        aliases=verb.aliases,
        description=plain(module.__doc__ or ""),
        epilog=f"examples:\n{examples}" if examples else None,
        **help_text,
    )
    module.configure(child)
    _teach(child, getattr(module, "EXAMPLES", ""))
    return child


def _teach(parser: argparse.ArgumentParser, examples: str) -> None:
    """
    Let a verb's own verbs say in their help what the list of them says, with the examples that use them.
    """
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for choice in action._choices_actions:
            child = action.choices[choice.dest]
            summary = choice.help or ""
            if child.description is None and summary:
                child.description = f"{summary[:1].upper()}{summary[1:]}."
            own = [line for line in examples.splitlines() if f"{child.prog} " in f"{line} "]
            if child.epilog is None and own:
                child.epilog = "examples:\n" + indent("\n".join(own), "  ")
            _teach(child, examples)


def plain(docstring: str) -> str:
    """
    @return: an epytext docstring without its markup, for people.
    """
    return re.sub(r"[A-Z]\{([^{}]*)\}", r"\1", docstring)


def _inherit(parser: argparse.ArgumentParser, child: argparse.ArgumentParser) -> None:
    """
    Let a verb, and its own verbs, take the program's flags: where a spelling is taken, the verb's meaning wins.
    """
    taken = {spelling for action in child._actions for spelling in action.option_strings}
    members = {action.dest for action in child._actions}
    for action in parser._actions:
        spellings = [each for each in action.option_strings if each not in taken]
        if spellings and action.dest != "help" and action.dest not in members:
            inherited = copy(action)
            inherited.option_strings, inherited.default, inherited.help = (
                spellings,
                argparse.SUPPRESS,
                argparse.SUPPRESS,
            )
            child._add_action(inherited)
    for action in child._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                _inherit(parser, each)


def parse(
    program: str,
    description: str,
    verbs: Sequence[Verb],
    flags: Callable[[Parser], None],
    arguments: Sequence[str],
    *,
    everywhere: bool = False,
) -> argparse.Namespace:
    """
    Read the command line, importing one verb's module only.

    @param everywhere: C{flags} may stand behind the verb as well.
    @return: the options, with C{run}; without a verb the list of commands was printed and the process ends.
    """
    parser = Parser(prog=program, description=description, epilog=_overview(program, verbs))
    flags(parser)
    by_name: Mapping[str, Verb] = {name: verb for verb in verbs for name in (verb.name, *verb.aliases)}
    commands = parser.add_subparsers(metavar="command", dest="verb", parser_class=Parser, help=argparse.SUPPRESS)
    valued = {spelling for action in parser._actions if action.nargs is None for spelling in action.option_strings}
    # A flag's value may be spelt like a verb, and so may what is behind the verb.
    named = [word for before, word in zip(["", *arguments], arguments, strict=False) if before not in valued]
    bare = [word for word in named if not word.startswith("-")]
    if bare and bare[0] not in by_name:
        parser.error(f"there is no command {bare[0]!r}")
    for verb in [by_name[word] for word in bare[:1]]:
        child = _add(commands, verb)
        if everywhere:
            _inherit(parser, child)
    options, rest = parser.parse_known_args(arguments)
    if options.verb is None:
        parser.print_help()
        parser.exit(EXIT_USAGE if rest else 0)
    if rest:
        parser.error(f"{rest[0]} is not a flag or argument of {program} {options.verb}")
    if not hasattr(options, "run"):
        parser.parse_args([*arguments, "--help"])
    return options


def _overview(program: str, verbs: Sequence[Verb]) -> str:
    shown = [verb for verb in verbs if not verb.hidden]
    width = max(len(verb.name) for verb in shown)
    lines = [f"  {verb.name.ljust(width)}  {verb.help}" for verb in shown]
    return "\n".join(["commands:", *lines, "", f"'{program} COMMAND --help' tells more of each."])


def report(error: BaseException) -> int:
    """
    Print a failure for a person; what a peer put into it cannot move the cursor.

    @return: the exit code.
    """
    if isinstance(error, TeleportError):
        sys.stderr.write(f"ERROR: {_lines(error.message)}\n")
        return EXIT_USAGE if error.kind is Kind.BAD_PARAMETER else EXIT_FAILURE
    sys.stderr.write(f"ERROR: {type(error).__name__}: {_lines(str(error))}\n")
    return EXIT_FAILURE


def _lines(text: str) -> str:
    return "\n".join(map(harmless, text.split("\n")))
