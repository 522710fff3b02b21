"""
The expression language of C{where}, C{*_labels_expression}, C{--query} and session filters.

One grammar serves all; a L{Language} says which identifiers and functions a place knows, so that a misspelt name is
found when the expression is read and not when somebody is refused.

::

    or      = and { "||" and }
    and     = not { "&&" not }
    not     = "!" not | compare
    compare = primary [ ("==" | "!=") primary ]
    primary = "(" or ")" | string | number | "true" | "false" | list | name [ call ]
    name    = word { "." word | "[" string "]" }
    call    = "(" [ or { "," or } ] ")"
    list    = "[" [ or { "," or } ] "]"

@see: reference, section 3.5
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import define, field, frozen

from teleport_tw.base.errors import Kind, TeleportError

MAX_LENGTH = 8192
"""Characters of an expression."""
MAX_DEPTH = 64
"""Parentheses, negations and calls inside each other."""

Value: TypeAlias = Any
"""str, bool, int, tuple of str, or a mapping of those; each function checks what it is given."""


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


Bindings = Mapping[str, Value]
"""First word of a name to its value: text, tuple of text, or mappings of those."""

Evaluation = Callable[[Bindings], Value]
Naming: TypeAlias = "Callable[[Name, Language], Evaluation]"


@frozen(kw_only=True)
class Function:
    """
    @ivar least: fewest arguments.
    @ivar most: most arguments.
    @ivar call: is handed the bindings and the evaluated arguments.
    """

    call: Callable[[Bindings, tuple[Value, ...]], Value]
    least: int
    most: int


@frozen(kw_only=True)
class Language:
    """
    What one place understands.

    @ivar name: for errors: C{where}, C{labels expression}.
    @ivar fields: dotted identifier to what it is when absent: C{""}, C{()}, or a mapping, whose keys then follow
        in brackets or after a dot and whose values default to L{Language.items}; C{None} opens everything below.
    @ivar items: for each mapping field, what an absent key is.
    """

    name: str
    fields: Mapping[str, Value]
    items: Mapping[str, Value] = field(factory=dict)
    functions: Mapping[str, Function] = field(factory=dict)

    def compile(self, text: str) -> Expression:
        """
        @raise PredicateError: it cannot be read, or names something that is not known here.
        """
        node = parse(text)
        self._check(node)
        return Expression(text, node, self)

    def field_of(self, name: Name) -> tuple[str, tuple[str, ...]] | None:
        """
        @return: the field's identifier and the keys below it; C{None} when it is not known here.
        """
        for size in range(name.dotted, 0, -1):
            identifier = ".".join(name.path[:size])
            if identifier not in self.fields:
                continue
            default, keys = self.fields[identifier], name.path[size:]
            allowed = default is None or len(keys) <= (1 if isinstance(default, Mapping) else 0)
            return (identifier, keys) if allowed else None
        return None

    def _check(self, node: Node) -> None:
        match node:
            case Name():
                if self.field_of(node) is None:
                    known = ", ".join(self.fields)
                    raise PredicateError(
                        f"{'.'.join(node.path)} is not known in a {self.name}; known are {known}", node.position
                    )
            case Call(function, arguments, position):
                known_function = self.functions.get(function)
                if known_function is None:
                    known = ", ".join(self.functions)
                    raise PredicateError(f"{function}() is not known in a {self.name}; known are {known}", position)
                if not known_function.least <= len(arguments) <= known_function.most:
                    raise PredicateError(f"{function}() is given {len(arguments)} values", position)
                for argument in arguments:
                    self._check(argument)
            case Items(items) | Both(items) | Either(items):
                for item in items:
                    self._check(item)
            case Not(operand):
                self._check(operand)
            case Compare(left, right):
                self._check(left)
                self._check(right)


@frozen
class Expression:
    """
    An expression that was read and checked.

    @ivar run: gives its value; made of one small function for each part, as lists ask it of many thousands.
    """

    text: str
    node: Node
    language: Language
    run: Evaluation = field(init=False, eq=False, repr=False)

    @run.default
    def _ready(self) -> Evaluation:
        return evaluation(self.node, self.language)

    def holds(self, bindings: Bindings) -> bool:
        """
        @raise PredicateError: a value has the wrong type, or the whole is neither true nor false.
        """
        return truth(self.run(bindings))


def evaluation(node: Node, language: Language, naming: Naming | None = None) -> Evaluation:
    """
    @param node: checked by the language, or a part of one that was.
    @param naming: how names are looked up, where that is not in mappings within mappings.
    @return: gives its value for bindings.
    """

    def made(inner: Node) -> Evaluation:
        return evaluation(inner, language, naming)

    match node:
        case Literal(value):
            return lambda bindings: value
        case Name():
            return (naming or looking_up)(node, language)
        case Call(function, arguments):
            call, parts = language.functions[function].call, tuple(map(made, arguments))
            return lambda bindings: call(bindings, tuple([part(bindings) for part in parts]))
        case Items(items):
            members = tuple(map(made, items))
            return lambda bindings: tuple([text(member(bindings)) for member in members])
        case Not(operand):
            negated = made(operand)
            return lambda bindings: not truth(negated(bindings))
        case Both(operands):
            all_of = tuple(map(made, operands))
            return lambda bindings: all(truth(part(bindings)) for part in all_of)
        case Either(operands):
            any_of = tuple(map(made, operands))
            return lambda bindings: any(truth(part(bindings)) for part in any_of)
        case _:
            left, right, equal = made(node.left), made(node.right), node.equal
            return lambda bindings: same(left(bindings), right(bindings)) is equal


def looking_up(name: Name, language: Language) -> Evaluation:
    """
    @return: gives what the name stands for.
    """
    found = language.field_of(name)
    assert found is not None, "checked when it was compiled"
    identifier, keys = found
    path, default, missing = identifier.split("."), language.fields[identifier], language.items.get(identifier, "")

    def look_up(bindings: Bindings) -> Value:
        value = walk(bindings, path)
        if value is None:
            value = default
        if keys:
            inner = walk(value, keys)
            value = missing if inner is None else inner
        if type(value) is str:
            return value
        if isinstance(value, list):
            return tuple(value)
        return "" if value is None else value

    return look_up


def walk(value: Value, keys: tuple[str, ...] | list[str]) -> Value:
    """
    @return: what is found below nested mappings; C{None} where nothing is.
    """
    for key in keys:
        if type(value) is not dict and not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def truth(value: Value) -> bool:
    """
    @raise PredicateError: it is neither true nor false.
    """
    if not isinstance(value, bool):
        raise PredicateError(f"{value!a:.40} is neither true nor false")
    return value


def text(value: Value) -> str:
    """
    @raise PredicateError: it is not a string.
    """
    if not isinstance(value, str):
        raise PredicateError(f"{value!a:.40} is not a string")
    return value


def texts(value: Value) -> tuple[str, ...]:
    """
    A list; a string counts as a list of one, an empty one as none.

    @raise PredicateError: it is neither.
    """
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
        raise PredicateError(f"{value!a:.40} is not a list")
    return value


def same(left: Value, right: Value) -> bool:
    """
    Equality; two lists are equal when they hold the same members.

    @raise PredicateError: the types differ.
    """
    if type(left) is str and type(right) is str:
        return bool(left == right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return sorted(texts(left)) == sorted(texts(right))
    if type(left) is not type(right) or isinstance(left, Mapping):
        raise PredicateError(f"{left!a:.40} and {right!a:.40} cannot be compared")
    return bool(left == right)
