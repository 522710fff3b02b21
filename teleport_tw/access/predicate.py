"""
The expression language of C{where}, C{*_labels_expression}, C{--query} and session filters.

One grammar (L{teleport_tw.access.syntax}) serves all; a L{Language} says which identifiers and functions a place knows,
so that a misspelt name is found when the expression is read and not when somebody is refused.

@see: reference, section 3.5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from teleport_tw.access.syntax import (
    Both,
    Call,
    Compare,
    Either,
    Items,
    Literal,
    Name,
    Node,
    Not,
    PredicateError,
    parse,
)

Value: TypeAlias = Any
"""str, bool, int, tuple of str, or a mapping of those; each function checks what it is given."""

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
