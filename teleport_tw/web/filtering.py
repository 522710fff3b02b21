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
from teleport_tw.access.predicate import (
    Both,
    Call,
    Compare,
    Either,
    Evaluation,
    Literal,
    Name,
    Node,
    Not,
    evaluation,
    names,
)
from teleport_tw.access.predicate import truth as is_true

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

    def value(self, field: str) -> Any:
        """C{name}, C{hostname}, C{addr}, C{description} or C{resource}."""


Place: TypeAlias = tuple[Any, Any, Filtered]

T = TypeVar("T", bound=Place)


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
        case Either(operands):
            chosen: set[int] = set()
            left = items
            for operand in sorted(operands, key=_cost):
                chosen.update(map(id, _sift(operand, left)))
                left = [item for item in items if id(item) not in chosen]
            return [item for item in items if id(item) in chosen]
        case Not(operand):
            chosen = set(map(id, _sift(operand, items)))
            return [item for item in items if id(item) not in chosen]
    quick = _quick(node)
    return quick(items) if quick is not None else _evaluated(node, items)


def _quick(node: Node) -> Callable[[list[T]], list[T]] | None:
    match node:
        case Compare(Name(path=("labels", label)), Literal(str() as wanted), equal=True):
            return lambda items: [item for item in items if item[2].labels.get(label, "") == wanted]
        case Compare(Name(path=("labels", label)), Literal(str() as wanted), equal=False):
            return lambda items: [item for item in items if item[2].labels.get(label, "") != wanted]
        case Compare(Name(path=("name" | "hostname" | "addr" as field,)), Literal(str() as wanted), equal=equal):
            return lambda items: [item for item in items if (item[2].value(field) == wanted) is equal]
        case Call("search", arguments) if all(
            isinstance(each, Literal) and isinstance(each.value, str) for each in arguments
        ):
            words = [str(each.value).casefold() for each in arguments if isinstance(each, Literal)]
            if len(words) == 1:
                (only,) = words
                return lambda items: [item for item in items if only in item[2].text]
            return lambda items: [item for item in items if all(word in item[2].text for word in words)]
    return None


def _cost(node: Node) -> int:
    match node:
        case Both(operands) | Either(operands):
            return max(map(_cost, operands))
        case Not(operand):
            return _cost(operand)
        case Compare():
            return 1 if _quick(node) is not None else _EVALUATED
    return 2 if _quick(node) is not None else _EVALUATED


def _evaluated(node: Node, items: list[T]) -> list[T]:
    run: Evaluation = evaluation(node, languages.QUERY)
    fields = {each.path[0] if isinstance(each, Name) else each.function for each in names(node)}
    if "search" in fields:
        fields |= {"name", "hostname", "addr", "description"}
    fields &= {"name", "hostname", "addr", "description", "resource"}

    def holds(item: Filtered) -> bool:
        bindings: dict[str, Any] = {"labels": item.labels}
        for field in fields:
            bindings[field] = item.value(field)
        return is_true(run(bindings))

    return [item for item in items if holds(item[2])]
