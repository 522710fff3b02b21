"""
A predicate over many thousands at once.

An expression is taken apart from the outside: of C{a && b} the second half looks only at what the first left over, and
what people ask most (a label's value, a name, a search) is one comparison for each. The rest is evaluated as everywhere
else. Both ways give the same answers; a test asks them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from teleport_tw.access import languages
from teleport_tw.access.predicate import Evaluation, Language, evaluation, looking_up
from teleport_tw.access.predicate import truth as is_true
from teleport_tw.access.syntax import Both, Call, Compare, Either, Literal, Name, Node, Not
from teleport_tw.resources.metadata import Resource

_EVALUATED = 3
"""Cost of what takes more than a comparison."""


class Filtered(Protocol):
    """
    What expressions are about.
    """

    @property
    def labels(self) -> Mapping[str, str]:
        """By name."""

    @property
    def text(self) -> str:
        """What a search looks at, in small letters."""

    @property
    def resource(self) -> Resource:
        """What it is."""

    def get(self, field: str, default: Any = None) -> Any:
        """C{labels}, C{name}, C{hostname}, C{addr}, C{description} or C{resource}."""


Place: TypeAlias = tuple[Any, Any, Filtered]

T = TypeVar("T", bound=Place)

Test: TypeAlias = "Callable[[Filtered], bool]"


def fitting(expression: str, items: list[T]) -> list[T]:
    """
    @param items: each with what the expression is about as its third part.
    @return: those of which it holds, in their order.
    @raise TeleportError: BAD_PARAMETER, it cannot be read, or compares what cannot be compared.
    """
    return _sift(languages.compiled(languages.QUERY, expression).node, items)


def _sift(node: Node, items: list[T]) -> list[T]:
    match node:
        case Both(operands):
            for operand in sorted(operands, key=_cost):
                items = _sift(operand, items)
            return items
        case Compare(Name(path=("labels", label)), Literal(str() as wanted), equal=True):
            return [item for item in items if item[2].labels.get(label, "") == wanted]
        case Call("search", (Literal(str() as word),)):
            folded = word.casefold()
            return [item for item in items if folded in item[2].text]
    test = _test(node)
    return [item for item in items if test(item[2])]


def _test(node: Node) -> Test:
    match node:
        case Both(operands):
            return _all_of(tuple(map(_test, sorted(operands, key=_cost))))
        case Either(operands):
            return _any_of(tuple(map(_test, sorted(operands, key=_cost))))
        case Not(operand):
            inner = _test(operand)
            return lambda item: not inner(item)
    quick = _quick(node)
    if quick is not None:
        return quick
    run: Evaluation = evaluation(node, languages.QUERY, _naming)
    return lambda item: is_true(run(item))  # type: ignore[arg-type]  # as much of bindings as is asked


def _quick(node: Node) -> Test | None:
    match node:
        case Compare(Name(path=("labels", label)), Literal(str() as wanted), equal=equal):
            return lambda item: (item.labels.get(label, "") == wanted) is equal
        case Compare(Name(path=(("name" | "hostname" | "addr") as field,)), Literal(str() as wanted), equal=equal):
            return lambda item: (item.get(field) == wanted) is equal
        case Call(
            "has_prefix" | "hasPrefix",
            (Name(path=(("name" | "hostname" | "addr") as field,)), Literal(str() as wanted)),
        ):
            return lambda item: item.get(field).startswith(wanted)
        case Call("has_prefix" | "hasPrefix", (Name(path=("labels", label)), Literal(str() as wanted))):
            return lambda item: item.labels.get(label, "").startswith(wanted)
        case Call("search", arguments) if all(map(_is_text, arguments)):
            words = [str(each.value).casefold() for each in arguments if isinstance(each, Literal)]
            return lambda item: all(word in item.text for word in words)
    return None


def _is_text(node: Node) -> bool:
    return isinstance(node, Literal) and isinstance(node.value, str)


def _all_of(tests: tuple[Test, ...]) -> Test:
    def holds(item: Filtered) -> bool:
        for test in tests:  # noqa: SIM110 a generator for each of many thousands takes twice as long
            if not test(item):
                return False
        return True

    return holds


def _any_of(tests: tuple[Test, ...]) -> Test:
    def holds(item: Filtered) -> bool:
        for test in tests:  # noqa: SIM110 as above
            if test(item):
                return True
        return False

    return holds


def _cost(node: Node) -> int:
    match node:
        case Both(operands) | Either(operands):
            return max(map(_cost, operands))
        case Not(operand):
            return _cost(operand)
        case Compare():
            return 1 if _quick(node) is not None else _EVALUATED
    return 2 if _quick(node) is not None else _EVALUATED


def _naming(name: Name, language: Language) -> Evaluation:
    """
    Names are read off the thing itself.
    """
    match name.path:
        case ("labels", label):
            return lambda item: item.labels.get(label, "")  # type: ignore[attr-defined]  # it is a Filtered
        case ("name" | "hostname" | "addr" | "description" as field,):
            return lambda item: item.get(field)
        case ("resource", "spec", key):
            return lambda item: _plain(item.resource.spec.get(key))  # type: ignore[attr-defined]  # as above
    first, inner = name.path[0], looking_up(name, language)
    return lambda item: inner({first: item.get(first)})


def _plain(value: Any) -> Any:
    if type(value) is str:
        return value
    return tuple(value) if isinstance(value, list) else "" if value is None else value
