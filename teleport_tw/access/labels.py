"""
Which labelled things a selector chooses.

A selector is made ready once, as a L{Chooser}, and then asked about any number of things: C{tsh ls} asks about each
node of the cluster. A pattern that is none is skipped in an allow and fits everything in a deny; an expression without
an answer chooses nothing in an allow and everything in a deny.

@see: reference, section 3.4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from teleport_tw.access import languages, patterns
from teleport_tw.access.predicate import Expression
from teleport_tw.access.syntax import Name, names
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import Labels, Selector

Traits = Mapping[str, tuple[str, ...]]

WILDCARD = ("*",)


@frozen
class Wanted:
    """
    One key of a label map.

    @ivar anything: whether being there is enough.
    @ivar exact: values that need no matching.
    @ivar matchers: for the others.
    """

    key: str
    anything: bool
    exact: frozenset[str]
    matchers: tuple[Callable[[str], bool], ...]

    def fits(self, labels: Mapping[str, str]) -> bool:
        """
        Whether the label is there with a value that one of the patterns matches.
        """
        value = labels.get(self.key)
        if value is None:
            return False
        if self.anything or value in self.exact:
            return True
        # A loop, and not any(): tsh ls comes by here for each role and node.
        for match in self.matchers:  # noqa: SIM110
            if match(value):
                return True
        return False


@frozen(kw_only=True)
class Chooser:
    """
    A selector made ready.

    @ivar deny: whether it stands in a deny, where either map or expression is enough.
    @ivar wanted: the keys that must all fit; none for a selector without a map, empty for C{*: *}.
    @ivar expression: none for a selector without one.
    @ivar traits: what expressions know of the user.
    @ivar keys: the labels that the answer depends on; none when it may depend on any.
    @ivar trouble: what could not be read, for administrators.
    """

    deny: bool
    wanted: tuple[Wanted, ...] | None
    expression: Expression | None
    traits: Traits
    keys: frozenset[str] | None
    trouble: str = ""

    def chooses(self, labels: Mapping[str, str]) -> bool:
        """
        @param labels: all labels of the thing.
        """
        if self.wanted is None:
            return self.expression is not None and self._holds(self.expression, labels)
        for each in self.wanted:
            if not each.fits(labels):
                return self.deny and self.expression is not None and self._holds(self.expression, labels)
        return self.deny or self.expression is None or self._holds(self.expression, labels)

    def why(self, labels: Mapping[str, str]) -> str:
        """
        @return: what kept the selector from being judged as its author meant it, for administrators; empty when
            nothing did.
        """
        if not self.trouble and self.expression is not None:
            try:
                self.expression.holds(self._bindings(labels))
            except TeleportError as error:
                return error.message
        return self.trouble

    def _holds(self, expression: Expression, labels: Mapping[str, str]) -> bool:
        try:
            return expression.holds(self._bindings(labels))
        except TeleportError:
            return self.deny

    def _bindings(self, labels: Mapping[str, str]) -> dict[str, Any]:
        return {"labels": labels, "user": {"spec": {"traits": self.traits}}}


def chooser(selector: Selector, traits: Traits, *, deny: bool) -> Chooser:
    """
    @param selector: with templates filled.
    """
    wanted = None
    trouble = ""
    if selector.labels:
        # "*: *" asks for nothing, alone or beside other keys.
        asked = {key: values for key, values in selector.labels.items() if (key, values) != ("*", WILDCARD)}
        wanted = tuple(_wanted(key, values, deny) for key, values in asked.items())
        trouble = patterns.trouble(value for values in asked.values() for value in values)
    keys: frozenset[str] | None = frozenset(each.key for each in wanted or ())
    expression = None
    if selector.expression:
        try:
            expression = languages.compiled(languages.LABELS, selector.expression)
            named = _named(expression)
            keys = None if named is None or keys is None else keys | named
        except TeleportError as error:
            trouble = error.message
            wanted = () if deny else None
    return Chooser(deny=deny, wanted=wanted, expression=expression, traits=traits, keys=keys, trouble=trouble)


def labels_match(wanted: Labels, labels: Mapping[str, str]) -> bool:
    """
    Every key must be there with a value that one of its patterns matches; C{*: *} alone matches anything at all, and
    no keys match nothing.
    """
    return chooser(Selector(wanted), {}, deny=False).chooses(labels)


def _wanted(key: str, values: tuple[str, ...], deny: bool) -> Wanted:
    matchers: list[Callable[[str], bool]] = []
    anything = "*" in values
    for value in values:
        try:
            if "*" in value or patterns.is_regular(value):
                matchers.append(patterns.matcher(value))
        except TeleportError:
            anything = anything or deny
    return Wanted(key, anything, frozenset(values), tuple(matchers))


def _named(expression: Expression) -> frozenset[str] | None:
    """
    @return: the labels an expression asks for by name; none when it looks at all of them.
    """
    found = set()
    for node in names(expression.node):
        if not isinstance(node, Name):
            if node.function == "labels_matching":
                return None
        elif node.path[0] == "labels":
            if len(node.path) == 1:
                return None
            found.add(node.path[1])
    return frozenset(found)
