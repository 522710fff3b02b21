"""
Reference pages and manual pages of every command, made out of the parsers themselves.

Run by C{docs/build.py}; what it writes is not kept in the repository.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from textwrap import indent

from attrs import frozen
from docutils.core import publish_string

from teleport_tw import __version__
from teleport_tw.clients.commandline import Verb, build, plain

PROGRAMS = ("tsh", "tctl", "teleport")

EXIT_CODES = {
    "0": "done",
    "1": "the cluster, the proxy or the server refused, or could not be reached; the reason is on standard error",
    "2": "the command line, or a value on it, is wrong",
}

OWN_CODES: Mapping[str, Mapping[str, str]] = {
    "tsh ssh": {
        "other": "what the command at the server ended with; with several servers, the highest",
        "130": "interrupted",
    },
    "tsh resolve": {"1": "the name stands for no server, or for several"},
    "tsh status": {"1": "not signed in, or the certificates have expired"},
}

PLAIN: Mapping[str, str] = {
    "format": "how to print it",
    "limit": "print at most so many",
    "data_dir": "where the services keep their state",
    "node_name": "the host's name in the cluster",
    "openssh_config": "the configuration of sshd",
    "sshd_check_command": "what checks that configuration before it is used; its path is appended",
    "speed": "how fast to play",
    "ttl": "how long the certificates last",
    "type": "which authority, and in which form",
    "forward": "listen here, connect from the server",
    "remote_forward": "listen at the server, connect from here",
    "host": "the server",
    "name": "its name",
    "session": "the session's id, or a recording in a file",
    "text": "what to look for",
    "token": "its secret, or the start of it that lists show",
    "words": "host, or user@host:port",
    "target": "login and server",
    "shell": "which shell",
}
"""What flags mean that need no word in C{--help}, by where their value goes."""

_VARIABLE = re.compile(r"\((TELEPORT_[A-Z_]+)\)")
_DEFAULT = re.compile(r"\s*\[([^\[\]]+)\]")


@frozen
class Flag:
    """
    One flag or argument, as a page shows it.

    @ivar default: as people write it; empty for none.
    @ivar variable: the environment variable that stands in for it; empty for none.
    """

    spelling: str
    what: str
    default: str
    variable: str


@frozen(kw_only=True)
class Command:
    """
    A verb, or a verb's part.

    @ivar path: words as typed, the program first.
    @ivar examples: lines, without the heading.
    """

    path: str
    summary: str
    description: str
    usage: str
    flags: tuple[Flag, ...]
    parts: tuple[Command, ...]
    examples: str
    codes: Mapping[str, str]


@frozen(kw_only=True)
class Program:
    """
    A program with all its verbs.
    """

    name: str
    description: str
    flags: tuple[Flag, ...]
    commands: tuple[Command, ...]


def read(name: str) -> Program:
    """
    @param name: C{tsh}, C{tctl} or C{teleport}.
    """
    module = import_module(f"teleport_tw.clients.{name}.main")
    verbs: tuple[Verb, ...] = module.VERBS
    parser = build(name, module.DESCRIPTION, verbs, module.flags)
    children = _children(parser)
    return Program(
        name=name,
        description=module.DESCRIPTION,
        flags=tuple(_flags(parser)),
        commands=tuple(_verb(name, verb, children[verb.name]) for verb in verbs if not verb.hidden),
    )


def _verb(program: str, verb: Verb, parser: argparse.ArgumentParser) -> Command:
    module = import_module(verb.module)
    return _command(
        f"{program} {verb.name}", parser, verb.help, plain(module.__doc__ or ""), getattr(module, "EXAMPLES", "")
    )


def _command(path: str, parser: argparse.ArgumentParser, summary: str, description: str, examples: str) -> Command:
    return Command(
        path=path,
        summary=summary,
        description=description.strip(),
        usage=" ".join(_usage(parser).split()),
        flags=tuple(_flags(parser)),
        parts=tuple(_command(f"{path} {name}", child, summary, "", "") for name, summary, child in _parts(parser)),
        examples=examples,
        codes={**EXIT_CODES, **OWN_CODES.get(path, {})},
    )


def _usage(parser: argparse.ArgumentParser) -> str:
    return parser.format_usage().partition(": ")[2]


def _subparsers(parser: argparse.ArgumentParser) -> Iterator[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _children(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    return {name: child for action in _subparsers(parser) for name, child in action.choices.items()}


def _parts(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in _subparsers(parser):
        for choice in action._choices_actions:
            yield choice.dest, choice.help or "", action.choices[choice.dest]


def _flags(parser: argparse.ArgumentParser) -> Iterator[Flag]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS or action.dest == "help":
            continue
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        variable = "".join(_VARIABLE.findall(text))
        default = ", ".join(_DEFAULT.findall(text))
        what = _DEFAULT.sub("", _VARIABLE.sub("", text)).strip()
        yield Flag(_spelling(action), what or PLAIN[action.dest], default, variable)


def _spelling(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        return {"?": f"[{value}]", "*": f"[{value} …]", "+": f"{value} …", "...": f"[{value} …]"}.get(
            str(action.nargs), value
        )
    return ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")


# --- pages ---------------------------------------------------------------------------------------------------------


def page(program: Program) -> str:
    """
    @return: the reference page, in reStructuredText.
    """
    lines = [*_heading(program.name, "="), escape(program.description), ""]
    if program.flags:
        lines += [*_heading("Flags of every command", "-"), *_flag_list(program.flags)]
    for command in program.commands:
        lines += [*_heading(command.path, "-"), *_body(command, "~")]
    return "\n".join(lines) + "\n"


def manual(program: Program, command: Command | None = None) -> str:
    """
    @param command: none for the program's own page.
    @return: a page for docutils' manpage writer.
    """
    if command is None:
        name = program.name
        summary = " ".join(re.split(r"\. |[.:]\n|:|\.$", program.description, maxsplit=1)[0].split())
        body = [escape(program.description), "", *_heading("COMMANDS", "=")]
        for each in program.commands:
            body += [each.path, f"    {escape(each.summary)}", ""]
        if program.flags:
            body += [*_heading("OPTIONS", "="), *_flag_list(program.flags)]
    else:
        name, summary = command.path.replace(" ", "-"), command.summary
        body = _body(command, "~")
    opening = ["=" * len(name), *_heading(name, "="), "-" * len(summary), *_heading(summary, "-")]
    fields = [":Manual section: 1", ":Manual group: teleport_tw", f":Version: {__version__}", ""]
    return "\n".join([*opening, *fields, *_heading("DESCRIPTION", "="), *body]) + "\n"


def escape(text: str) -> str:
    """
    @return: text that reStructuredText shows as it is.
    """
    return re.sub(r"([\\`*_|])", r"\\\1", text)


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _body(command: Command, underline: str) -> list[str]:
    lines = [escape(command.description or f"{command.summary}."), "", "::", "", f"    {command.usage}", ""]
    lines += _flag_list(command.flags)
    for part in command.parts:
        lines += [*_heading(part.path, underline), escape(f"{part.summary[:1].upper()}{part.summary[1:]}."), ""]
        lines += ["::", "", f"    {part.usage}", "", *_flag_list(part.flags)]
        for inner in part.parts:
            lines += ["::", "", f"    {inner.usage}", "", *_flag_list(inner.flags)]
    if command.examples:
        lines += ["Examples::", "", indent(command.examples.rstrip("\n"), "    "), ""]
    lines += ["Exit codes:", ""]
    for code, meaning in sorted(command.codes.items()):
        lines += [code, f"    {escape(meaning)}", ""]
    return lines


def _flag_list(flags: tuple[Flag, ...]) -> list[str]:
    lines: list[str] = []
    for flag in flags:
        what = f"{flag.what[:1].upper()}{flag.what[1:]}".rstrip(".")
        notes = f" Default: ``{flag.default}``." if flag.default else ""
        notes += f" Environment: ``{flag.variable}``." if flag.variable else ""
        lines += [f"``{flag.spelling}``", f"    {escape(what)}.{notes}", ""]
    return lines


def write(output: Path) -> list[Path]:
    """
    Write C{docs/commands/*.rst} and C{man/*.1} under a folder.

    @return: the pages in reStructuredText.
    @raise docutils.utils.SystemMessage: a page does not build.
    """
    pages = output / "docs" / "commands"
    manuals = output / "man"
    for folder in (pages, manuals):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in PROGRAMS:
        program = read(name)
        target = pages / f"{name}.rst"
        target.write_text(page(program))
        written.append(target)
        for command in (None, *program.commands):
            page_name = name if command is None else command.path.replace(" ", "-")
            (manuals / f"{page_name}.1").write_bytes(
                publish_string(
                    manual(program, command),
                    source_path=f"{page_name}.1",
                    writer="manpage",
                    settings_overrides={"halt_level": 2, "report_level": 2},
                )
            )
    return written
