"""
Passwords in statements, which are not to be stored.

The text is cut into tokens as the server does, so that comments between words, executable comments, unusual quotes and
strings put together of several do not hide anything. A literal that may be a statement itself (C{PREPARE … FROM}) is
looked into, and only what is secret of it goes: a word in a comment must not hide what was done. A session with
C{NO_BACKSLASH_ESCAPES} reads other literals than one without; the server says which it is, but for statements behind
one that may change it: if these have a secret and a backslash they go as a whole.

@see: MySQL 8.4 manual, I{ALTER USER}, I{SET PASSWORD}, I{CHANGE REPLICATION SOURCE TO}; MariaDB, I{CREATE USER}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MASK = "'***'"

MAX_DEPTH = 3
"""Statements within statements that are looked into."""

_ESCAPED = re.compile(r"\\.", re.DOTALL)

_CREDENTIAL = re.compile(r"identified|password|federated|connection\s*=", re.IGNORECASE)
"""No statement without one of these is looked at closer."""

_PATTERN = r"""
      (?P<space> \s+ | /\*(?!M?!) (?: [^*] | \*(?!/) )* (?: \*/ )? | --(?=\s|$) [^\n]* | \#[^\n]*
      | /\*M?![0-9]* | \*/ )
    | (?P<literal> (?: [nN] | [xX] | [bB] | _[0-9A-Za-z]+\s* )? (?:
          ' (?: [^'\\] | '' | \\(?#escape). )* (?: ' | \\?$ )
        | " (?: [^"\\] | "" | \\(?#escape). )* (?: " | \\?$ ) )
      | 0[xX][0-9A-Fa-f]+ )
    | (?P<quoted> ` (?: [^`] | `` )* `? )
    | (?P<word> [A-Za-z_$@\x80-\U0010ffff] [\w$@.]* | [0-9]+ )
    | (?P<mark> . )
    """
_TOKEN = re.compile(_PATTERN, re.VERBOSE | re.DOTALL)
_PLAIN_TOKEN = re.compile(_PATTERN.replace("(?#escape).", "(?#no escape)"), re.VERBOSE | re.DOTALL)
"""Where a backslash is a character like others."""

_BEFORE = frozenset({"BY", "AS", "USING", "WITH", "REPLACE", "OR", "RETAIN"})
"""Words before a literal of an IDENTIFIED clause; a string after them is a password, a hash, or a plugin's name."""


def mask(text: str, escapes: bool = True) -> tuple[str, bool]:
    """
    @param text: a statement, or the beginning of one.
    @param escapes: a backslash in a literal begins an escape; not so where the session has C{NO_BACKSLASH_ESCAPES}.
    @return: the text as it may be stored, and whether anything in it is secret; then also what the server says of it,
        which may repeat parts, and its parameters.
    """
    if not _CREDENTIAL.search(text):
        return text, False
    masked = "".join(_masked(text, MAX_DEPTH, escapes))
    return masked, masked != text or "?" in text


def _inner(literal: str, depth: int, escapes: bool) -> str:
    """
    @param literal: with its quotes; the last may be missing where the text was cut.
    @return: the same, with what is secret in the statement that it may be masked.
    """
    start = min((at for at in (literal.find("'"), literal.find('"')) if at >= 0), default=-1)
    if start < 0 or not _CREDENTIAL.search(literal):
        return literal
    quote = literal[start]
    end = len(literal) - 1 if len(literal) > start + 1 and literal.endswith(quote) else len(literal)
    if depth == 0:
        return MASK
    inside = literal[start + 1 : end].replace(quote * 2, quote)
    if escapes:
        inside = _ESCAPED.sub(lambda found: found.group()[1:], inside)
    masked = "".join(_masked(inside, depth - 1, escapes))
    if masked == inside:
        return literal
    masked = masked.replace("\\", "\\\\") if escapes else masked
    return literal[:start] + quote + masked.replace(quote, quote * 2) + literal[end:]


def _masked(text: str, depth: int, escapes: bool) -> Iterator[str]:
    secret = False  # the next literal is one
    identified = False  # within a clause that begins with IDENTIFIED
    account = False  # SET PASSWORD FOR account =
    changes = False  # SET sql_mode
    value = ""
    for token in (_TOKEN if escapes else _PLAIN_TOKEN).finditer(text):
        before, kind, value = value, token.lastgroup, token.group()
        match kind:
            case "literal":
                # a string put together of several stays secret; in a clause that identifies only accounts are not
                is_account = before == "@" or text[token.end() : token.end() + 1] == "@"
                hide = (secret and not account) or (identified and not is_account)
                yield MASK if hide else _inner(value, depth, escapes)
                continue
            case "word":
                word = value.upper()
                changes = changes or word.endswith("SQL_MODE")
                if word == "IDENTIFIED":
                    identified, secret = True, False
                elif word.endswith("PASSWORD"):
                    secret, account = True, False
                elif word == "CONNECTION":
                    secret = True
                elif word == "FOR" and secret:
                    account = True
                elif identified and word in _BEFORE:
                    secret = True
                elif word not in ("TO", "IS", "LIKE", "OLD_PASSWORD"):
                    secret = secret and account
            case "mark":
                if value in "=(:" and account:
                    account = value != "="
                elif value in ";,":
                    secret = account = False
                    identified = identified and value == ","
                rest = text[token.end() :] if value == ";" and changes else ""
                if "\\" in rest and _CREDENTIAL.search(rest):
                    yield f"; {MASK}"
                    return
            case _:
                pass
        yield value
