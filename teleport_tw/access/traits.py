"""
Templates over traits: C{{{internal.logins}}}, C{dev-{{external["team"]}}}, C{{{email.local(external.email)}}}.

A role is written once for many; L{apply} puts one user's traits into it. An entry whose trait is missing disappears,
the rest of the role stays.

@see: reference, section 3.5
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from teleport_tw.access import patterns
from teleport_tw.access.labels import Traits
from teleport_tw.access.languages import email_local
from teleport_tw.access.syntax import Call, Literal, Name, Node, PredicateError, parse
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.roles import Conditions, Labels, Principal, Role, Selector

INTERNAL = frozenset(
    {
        "logins",
        "windows_logins",
        "kubernetes_groups",
        "kubernetes_users",
        "db_users",
        "db_names",
        "db_roles",
        "aws_role_arns",
        "azure_identities",
        "gcp_service_accounts",
        "jwt",
        "id_token",
        "github_orgs",
        "mcp_tools",
        "host_user_uid",
        "host_user_gid",
    }
)
MATCHERS = ("regexp.match", "regexp.not_match")
_TEMPLATE = re.compile(r"(?s)([^{}]*)\{\{(.*?)\}\}([^{}]*)")
_LOGIN = re.compile(r"[^\s\x00-\x1f\x7f:/-][^\s\x00-\x1f\x7f:/]*")
"""What may be a Unix or domain login; what else a trait holds is left out."""


@frozen
class Template:
    """
    One template, read and checked.
    """

    prefix: str
    node: Node
    suffix: str

    def fill(self, traits: Traits) -> tuple[str, ...]:
        """
        @return: an entry for each value; none where the trait is missing.
        """
        return tuple(f"{self.prefix}{value}{self.suffix}" for value in _values(self.node, traits))

    @property
    def asks(self) -> bool:
        """
        Whether it is C{regexp.match} or C{regexp.not_match}.
        """
        return isinstance(self.node, Call) and self.node.function in MATCHERS

    def matches(self, text: str) -> bool:
        """
        For C{regexp.match} and C{regexp.not_match}, which are asked about a text instead of being filled.
        """
        if not isinstance(self.node, Call) or self.node.function not in MATCHERS:
            return False
        if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
            return False
        if len(text) < len(self.prefix) + len(self.suffix):
            return False
        inner = text[len(self.prefix) : len(text) - len(self.suffix)]
        found = patterns.search(patterns.regular(_literal(self.node.arguments[0])), inner)
        return found is (self.node.function == "regexp.match")


def template(text: str) -> Template | None:
    """
    @return: C{None} for a text with no template in it.
    @raise TeleportError: BAD_PARAMETER, there are braces and they are not a template.
    """
    if "{{" not in text and "}}" not in text:
        return None
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        raise bad_parameter(f"{text!a} is not a template; write one like {{{{external.email}}}}")
    try:
        node = parse(found[2])
        _check(node)
    except TeleportError as error:
        raise bad_parameter(f"{text!a} is not a template: {error}") from error
    return Template(found[1].lstrip(), node, found[3].rstrip())


def _literal(node: Node) -> str:
    if isinstance(node, Literal) and isinstance(node.value, str):
        return node.value
    raise PredicateError("a quoted string is missing")


def _check(node: Node) -> None:
    match node:
        case Name(("internal", trait)):
            if trait not in INTERNAL:
                raise PredicateError(f"internal.{trait} is not a trait known here; use external.{trait}")
        case Name(("external", _)):
            pass
        case Call("email.local", (inner,)):
            _check(inner)
        case Call("regexp.replace", (inner, expression, replacement)):
            _check(inner)
            patterns.regular(_literal(expression))
            _literal(replacement)
        case Call("regexp.match" | "regexp.not_match", (expression,)):
            patterns.regular(_literal(expression))
        case _:
            raise PredicateError("only internal.…, external.…, email.local, regexp.replace and regexp.match are known")


def _values(node: Node, traits: Traits) -> tuple[str, ...]:
    match node:
        case Name((_, trait)):
            return tuple(value for value in traits.get(trait, ()) if value)
        case Call("email.local", (inner,)):
            return tuple(local for value in _values(inner, traits) if (local := email_local(value)) is not None)
        case Call("regexp.replace", (inner, expression, replacement)):
            compiled, pattern = patterns.regular(_literal(expression)), _literal(replacement)
            found = (patterns.replaced(compiled, pattern, value) for value in _values(inner, traits))
            return tuple(value for value in found if value)
    return ()


def fill(text: str, traits: Traits) -> tuple[str, ...]:
    """
    @return: a text without template as it is; a template's entries; nothing for a template that is none.
    """
    try:
        found = template(text)
        return (text,) if found is None else found.fill(traits)
    except TeleportError:
        return ()


def fill_all(texts: Iterable[str], traits: Traits) -> tuple[str, ...]:
    """
    @return: all entries, each once, in order.
    """
    return tuple(dict.fromkeys(value for text in texts for value in fill(text, traits)))


def fill_labels(labels: Labels, traits: Traits) -> dict[str, tuple[str, ...]]:
    """
    Templates may stand in keys and in values. A key left with no value matches nothing.
    """
    filled: dict[str, tuple[str, ...]] = {}
    for key, values in labels.items():
        for name in fill(key, traits) or (key,):
            filled[name] = filled.get(name, ()) + fill_all(values, traits)
    return filled


def apply(role: Role, traits: Traits) -> Role:
    """
    @param traits: the user's, as in its certificate.
    @return: the role with every template filled.
    """
    extensions = tuple(
        evolve(extension, value=value)
        for extension in role.options.cert_extensions
        for value in fill(extension.value, traits)[:1]
    )
    return evolve(
        role,
        options=evolve(role.options, cert_extensions=extensions),
        allow=_conditions(role.allow, traits),
        deny=_conditions(role.deny, traits),
    )


def _conditions(conditions: Conditions, traits: Traits) -> Conditions:
    principals: Mapping[Principal, tuple[str, ...]] = {
        principal: _legal(principal, fill_all(names, traits)) for principal, names in conditions.principals.items()
    }
    return evolve(
        conditions,
        selectors={
            target: Selector(fill_labels(selector.labels, traits), selector.expression)
            for target, selector in conditions.selectors.items()
        },
        principals=principals,
        kubernetes_resources=tuple(
            evolve(each, namespace=namespace, name=name)
            for each in conditions.kubernetes_resources
            for namespace in fill(each.namespace, traits)
            for name in fill(each.name, traits)
        ),
        mcp_tools=fill_all(conditions.mcp_tools, traits),
        github_organizations=fill_all(conditions.github_organizations, traits),
        impersonate=evolve(
            conditions.impersonate,
            users=fill_all(conditions.impersonate.users, traits),
            roles=fill_all(conditions.impersonate.roles, traits),
        ),
        request=evolve(conditions.request, annotations=fill_labels(conditions.request.annotations, traits)),
    )


def _legal(principal: Principal, names: tuple[str, ...]) -> tuple[str, ...]:
    if principal is not Principal.LOGINS:
        return names
    return tuple(name for name in names if name == "*" or _LOGIN.fullmatch(name))
