"""
Shell completion, made from a program's own parsers.

Those of bash, zsh and tcsh are C{shtab}'s, which knows no fish. Fish is told of one word at a time, each with the
condition under which it is offered; which verbs stand on the line so far a function of the script finds out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence

import shtab

from teleport_tw.clients.commandline import Parser, Verb, build

SHELLS = ("bash", "zsh", "tcsh", "fish")


def script(program: str, description: str, verbs: Sequence[Verb], flags: Callable[[Parser], None], shell: str) -> str:
    """
    @param shell: one of L{SHELLS}.
    @return: the script to be sourced.
    """
    parser = build(program, description, verbs, flags)
    return fish(program, parser) if shell == "fish" else str(shtab.complete(parser, shell=shell))


_VERBS = """\
function __%(program)s_verbs --description 'whether the verbs typed so far are just these'
    set -l valued %(valued)s
    set -l words (commandline -opc)
    set -l found
    set -l skip 0
    for word in $words[2..-1]
        if test $skip -eq 1
            set skip 0
        else if test "$word" = --
            return 1
        else if contains -- $word $valued
            set skip 1
        else if not string match -q -- '-*' $word
            set -a found $word
        end
    end
    set -l wanted $argv[2..-1]
    set -l count (count $wanted)
    if test $argv[1] = exactly; and test (count $found) -ne $count
        return 1
    end
    test $count -eq 0; or test "$found[1..$count]" = "$wanted"
end
"""


def fish(program: str, parser: argparse.ArgumentParser) -> str:
    """
    @return: for C{~/.config/fish/completions}, or to be sourced.
    """
    valued = sorted({spelling for each in _all(parser) for spelling in each.option_strings if each.nargs != 0})
    lines = [
        _VERBS % {"program": program, "valued": " ".join(valued)},
        f"complete -c {program} -e",
        f"complete -c {program} -f",
        *_offers(program, parser, ()),
    ]
    return "\n".join(lines)


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from _all(child)
        else:
            yield action


def _offers(program: str, parser: argparse.ArgumentParser, path: Sequence[str]) -> Iterator[str]:
    """
    @param path: of verbs, to the parser.
    """

    def offer(how: str, *what: str) -> str:
        words = " ".join(("", *path)) if path else ""
        return " ".join((f"complete -c {program}", f"-n '__{program}_verbs {how}{words}'", *what))

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield offer("exactly", "-a", choice.dest, *_said(choice.help))
            for name, child in action.choices.items():
                yield from _offers(program, child, (*path, name))
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            yield offer("under", *map(_spelt, action.option_strings), *_value(action), *_said(action.help))
        elif action.choices is not None:
            yield offer("exactly", "-a", _quoted(" ".join(map(str, action.choices))))
        else:
            yield offer("under", "-F")


def _spelt(spelling: str) -> str:
    if spelling.startswith("--"):
        return f"-l {spelling[2:]}"
    return f"-s {spelling[1:]}" if len(spelling) == 2 else f"-o {spelling[1:]}"


def _value(action: argparse.Action) -> tuple[str, ...]:
    if action.nargs == 0:
        return ()
    if action.choices is not None:
        return ("-x", "-a", _quoted(" ".join(map(str, action.choices))))
    return ("-r", "-F")


def _said(text: str | None) -> tuple[str, ...]:
    plain = re.sub(r"\s*\[.*\]|\s*\(TELEPORT_[A-Z_]+\)", "", (text or "").replace("%%", "%")).strip()
    return ("-d", _quoted(plain)) if plain else ()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
