"""
Expressions as they are written: the grammar of predicates, and the tree that one is read into.

::

    or      = and { "||" and }
    and     = not { "&&" not }
    not     = "!" not | compare
    compare = primary [ ("==" | "!=") primary ]
    primary = "(" or ")" | string | number | "true" | "false" | list | name [ call ]
    name    = word { "." word | "[" string "]" }
    call    = "(" [ or { "," or } ] ")"
    list    = "[" [ or { "," or } ] "]"

What the names mean is told by a L{teleport_tw.access.predicate.Language}.

@see: reference, section 3.5
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from attrs import define, frozen

from teleport_tw.base.errors import Kind, TeleportError

MAX_LENGTH = 8192
"""Characters of an expression."""
MAX_DEPTH = 64
"""Parentheses, negations and calls inside each other."""


class PredicateError(TeleportError):
    """
    An expression that cannot be read or has no answer.

    @ivar position: index of the character where it went wrong; -1 for an error of evaluation.
    """

    def __init__(self, message: str, position: int = -1) -> None:
        where = f" at character {position + 1}" if position >= 0 else ""
        super().__init__(Kind.BAD_PARAMETER, message + where)
        self.position = position


@frozen
class Literal:
    """
    A string, number or truth value written out.
    """

    value: str | int | bool


@frozen
class Name:
    """
    C{user.spec.traits["groups"]} is C{("user", "spec", "traits", "groups")}.

    @ivar dotted: how many leading words were written without brackets.
    """

    path: tuple[str, ...]
    dotted: int
    position: int


@frozen
class Call:
    """
    A function by its dotted name.
    """

    function: str
    arguments: tuple[Node, ...]
    position: int


@frozen
class Items:
    """
    A list written out.
    """

    items: tuple[Node, ...]


@frozen
class Not:
    """
    Negation.
    """

    operand: Node


@frozen
class Both:
    """
    All operands, left to right, stopping at the first that fails.
    """

    operands: tuple[Node, ...]


@frozen
class Either:
    """
    Any operand, left to right, stopping at the first that holds.
    """

    operands: tuple[Node, ...]


@frozen
class Compare:
    """
    Equality, or its negation.
    """

    left: Node
    right: Node
    equal: bool


Node: TypeAlias = Literal | Name | Call | Items | Not | Both | Either | Compare

_TOKEN = re.compile(
    r"""\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<number>\d{1,18})|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<raw>`[^`]*`)|(?P<sign>&&|\|\||==|!=|[!().,\[\]])|(?P<end>\Z))""",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@frozen
class Token:
    """
    @ivar sort: C{word}, C{number}, C{string}, C{sign} or C{end}.
    """

    sort: str
    text: str
    position: int


def tokens(text: str) -> Iterator[Token]:
    """
    @raise PredicateError: the text is too long or holds what no token begins with.
    """
    if len(text) > MAX_LENGTH:
        raise PredicateError(f"an expression may have at most {MAX_LENGTH} characters")
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise PredicateError(f"{text[start]!a} is not understood", start)
        sort = str(match.lastgroup)
        found, start = match[sort], match.start(sort)
        if sort == "string":
            found = re.sub(r"(?s)\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found[1:-1])
        elif sort == "raw":
            sort, found = "string", found[1:-1]
        yield Token(sort, found, start)
        if sort == "end":
            return
        position = match.end()


@define
class _Parser:
    tokens: list[Token]
    index: int = 0
    depth: int = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def take(self, *signs: str) -> bool:
        if self.token.sort == "sign" and self.token.text in signs:
            self.index += 1
            return True
        return False

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise PredicateError(f"{sign} is missing", self.token.position)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PredicateError(f"nested deeper than {MAX_DEPTH}", self.token.position)

    def either(self) -> Node:
        self.deeper()
        operands = [self.both()]
        while self.take("||"):
            operands.append(self.both())
        self.depth -= 1
        return operands[0] if len(operands) == 1 else Either(tuple(operands))

    def both(self) -> Node:
        operands = [self.negation()]
        while self.take("&&"):
            operands.append(self.negation())
        return operands[0] if len(operands) == 1 else Both(tuple(operands))

    def negation(self) -> Node:
        if not self.take("!"):
            return self.comparison()
        self.deeper()
        operand = Not(self.negation())
        self.depth -= 1
        return operand

    def comparison(self) -> Node:
        left = self.primary()
        for sign, equal in (("==", True), ("!=", False)):
            if self.take(sign):
                return Compare(left, self.primary(), equal)
        return left

    def primary(self) -> Node:
        token = self.token
        if self.take("("):
            inner = self.either()
            self.need(")")
            return inner
        if self.take("["):
            return Items(self.rest("]"))
        if token.sort in ("string", "number"):
            self.index += 1
            return Literal(token.text if token.sort == "string" else int(token.text))
        if token.sort == "word":
            return self.name()
        what = "the end" if token.sort == "end" else repr(token.text)
        raise PredicateError(f"a value is missing before {what}", token.position)

    def name(self) -> Node:
        start = self.token
        self.index += 1
        path, dotted = [start.text], 1
        while self.token.sort == "sign" and self.token.text in ".[":
            bracket = self.token.text == "["
            self.index += 1
            part = self.token
            if part.sort != ("string" if bracket else "word"):
                raise PredicateError("a quoted key is missing" if bracket else "a name is missing", part.position)
            self.index += 1
            if bracket:
                self.need("]")
            elif dotted != len(path):
                raise PredicateError("nothing may follow a key in brackets", part.position)
            else:
                dotted += 1
            path.append(part.text)
        if dotted == len(path) and self.take("("):
            return Call(".".join(path), self.rest(")"), start.position)
        if path in (["true"], ["false"]):
            return Literal(path == ["true"])
        return Name(tuple(path), dotted, start.position)

    def rest(self, close: str) -> tuple[Node, ...]:
        found: list[Node] = []
        if self.take(close):
            return ()
        while True:
            found.append(self.either())
            if self.take(close):
                return tuple(found)
            self.need(",")


def parse(text: str) -> Node:
    """
    @raise PredicateError: saying what is wrong and where.
    """
    parser = _Parser(list(tokens(text)))
    node = parser.either()
    if parser.token.sort != "end":
        raise PredicateError(f"{parser.token.text!r} is not expected", parser.token.position)
    return node


def names(node: Node) -> Iterator[Name | Call]:
    """
    @return: every identifier and call in an expression.
    """
    match node:
        case Name():
            yield node
        case Call(_, arguments):
            yield node
            for argument in arguments:
                yield from names(argument)
        case Items(operands) | Both(operands) | Either(operands):
            for operand in operands:
                yield from names(operand)
        case Not(operand):
            yield from names(operand)
        case Compare(left, right):
            yield from names(left)
            yield from names(right)
