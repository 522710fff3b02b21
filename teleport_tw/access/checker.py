"""
May this identity do this, and if not, why not.

For a target: a deny that matches its labels, or the principal asked for, in any role refuses; then one role must allow
both labels and principals. Refusals keep a finding for each role, for the administrator alone.

@see: reference, sections 3.4 and 3.9
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from teleport_tw.access import labels as matching
from teleport_tw.access import options as merging
from teleport_tw.access import patterns, rules, traits
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.access.labels import Traits
from teleport_tw.access.options import MergedOptions
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.resources.roles import Principal, Role, Target
from teleport_tw.resources.roles_options import SessionMFA

Names = Mapping[Principal, str]
"""The principals that are asked for."""

_EXACT = frozenset({Principal.LOGINS, Principal.WINDOWS_LOGINS})
"""Principals where only a whole C{*} in a deny is a wildcard; elsewhere globs are."""


@define
class Checker:
    """
    Decides for one identity.

    @ivar roles: with templates filled.
    @ivar cluster_mfa: what the cluster asks of every session.
    """

    username: str
    roles: tuple[Role, ...]
    traits: Traits
    cluster_mfa: SessionMFA = SessionMFA.NO
    _options: MergedOptions | None = field(default=None, init=False)

    @classmethod
    def for_identity(
        cls,
        roles: Sequence[Role],
        *,
        username: str,
        traits: Traits,
        cluster_mfa: SessionMFA = SessionMFA.NO,
    ) -> Checker:
        """
        @param roles: as stored; their templates are filled here.
        """
        return cls(username, tuple(_filled(role, traits) for role in roles), traits, cluster_mfa)

    @property
    def role_names(self) -> tuple[str, ...]:
        """
        Of all roles, in their order.
        """
        return tuple(role.name for role in self.roles)

    @property
    def options(self) -> MergedOptions:
        """
        What all roles together say.
        """
        if self._options is None:
            self._options = merging.merge(self.roles)
        return self._options

    @property
    def user(self) -> dict[str, Any]:
        """
        C{user} as every expression language names it.
        """
        return {
            "name": self.username,
            "metadata": {"name": self.username},
            "spec": {"roles": self.role_names, "traits": self.traits},
        }

    def rule(self, kind: str, verb: str, context: Mapping[str, Any] | None = None) -> Decision:
        """
        May the identity do C{verb} on resources of C{kind}? See L{rules.decide}.
        """
        return rules.decide(self.roles, kind, verb, {**(context or {}), "user": self.user})

    def may_list(self, kind: str, verb: str = "list") -> bool:
        """
        Whether some resource of the kind might be allowed; each is then asked for by L{rule}.
        """
        return rules.possible(self.roles, kind, verb)

    # --- targets ---------------------------------------------------------------------------------------------

    def target(self, kind: Target, labels: Mapping[str, str], names: Names | None = None) -> Decision:
        """
        @param labels: static and dynamic ones together.
        @param names: all of them must be allowed by one and the same role; none asks for the labels alone.
        """
        asked = names or {}
        for role in self.roles:
            denial = self._denial(role, kind, labels, asked)
            if denial:
                finding = Finding(role.name, denial)
                return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
        findings: list[Finding] = []
        allowing: list[Role] = []
        for role in self.roles:
            shortcoming = self._shortcoming(role, kind, labels, asked)
            findings.append(Finding(role.name, shortcoming or "allows it"))
            if not shortcoming:
                allowing.append(role)
        if not allowing:
            reason = "; ".join(map(str, findings)) or "the user has no roles"
            return Decision(allowed=False, reason=reason, findings=tuple(findings))
        return Decision(
            allowed=True,
            reason=f"allowed by role {allowing[0].name!r}",
            role=allowing[0].name,
            mfa=merging.strongest_mfa([self.cluster_mfa, *(role.options.require_session_mfa for role in allowing)]),
            device_trust=merging.strictest_devices(role.options.device_trust_mode for role in allowing),
            findings=tuple(findings),
        )

    def login_to_node(self, labels: Mapping[str, str], login: str) -> Decision:
        """
        A shell, command or file copy as a Unix login.
        """
        return self.target(Target.NODE, labels, {Principal.LOGINS: login})

    node = login_to_node

    def can_see_node(self, labels: Mapping[str, str]) -> Decision:
        """
        Whether the node shows up in the user's lists.
        """
        return self.target(Target.NODE, labels)

    def database(self, labels: Mapping[str, str], user: str, name: str = "") -> Decision:
        """
        @param name: of the database; empty for protocols where roles do not limit it.
        """
        asked = {Principal.DB_USERS: user}
        if name:
            asked[Principal.DB_NAMES] = name
        return self.target(Target.DATABASE, labels, asked)

    def app(self, labels: Mapping[str, str], *, aws_role_arn: str = "", azure_identity: str = "") -> Decision:
        """
        A web or TCP application; a cloud identity where it is a cloud's console.
        """
        asked = {Principal.AWS_ROLE_ARNS: aws_role_arn, Principal.AZURE_IDENTITIES: azure_identity}
        return self.target(Target.APP, labels, {principal: name for principal, name in asked.items() if name})

    def kubernetes(self, labels: Mapping[str, str], *, user: str = "", group: str = "") -> Decision:
        """
        A cluster, and a principal to impersonate in it where one is asked for.
        """
        asked = {Principal.KUBERNETES_USERS: user, Principal.KUBERNETES_GROUPS: group}
        return self.target(Target.KUBERNETES, labels, {principal: name for principal, name in asked.items() if name})

    def desktop(self, labels: Mapping[str, str], login: str) -> Decision:
        """
        A Windows desktop as a Windows user.
        """
        return self.target(Target.DESKTOP, labels, {Principal.WINDOWS_LOGINS: login})

    def principals(self, principal: Principal, kind: Target, labels: Mapping[str, str]) -> tuple[str, ...]:
        """
        @return: the names to choose among on one target, deny taken off; patterns stay patterns.
        """
        if not self.target(kind, labels):
            return ()
        return self._offered(
            [role for role in self.roles if matching.allows(role.allow.selector(kind), labels, self.traits)], principal
        )

    def logins(self, ttl: Duration = NEVER) -> tuple[str, ...]:
        """
        @param ttl: only of roles that allow certificates of this length; zero for all.
        @return: the principals of an SSH certificate, sorted.
        """
        willing = [role for role in self.roles if ttl <= (role.options.max_session_ttl or merging.LONGEST_TTL)]
        return self._offered(willing, Principal.LOGINS)

    def names(self, principal: Principal) -> tuple[str, ...]:
        """
        @return: every name of this sort that any role allows and none denies.
        """
        return self._offered(self.roles, principal)

    def _offered(self, roles: Sequence[Role], principal: Principal) -> tuple[str, ...]:
        offered = {name for role in roles for name in role.allow.names(principal)}
        denied = [pattern for role in self.roles for pattern in role.deny.names(principal)]
        return tuple(sorted(name for name in offered if not _named(principal, denied, name, deny=True)))

    def _denial(self, role: Role, kind: Target, labels: Mapping[str, str], asked: Names) -> str:
        if matching.denies(role.deny.selector(kind), labels, self.traits):
            return f"denies {kind.value} by its labels"
        for principal, name in asked.items():
            if _named(principal, role.deny.names(principal), name, deny=True):
                return f"denies {principal.value} {name!r}"
        return ""

    def _shortcoming(self, role: Role, kind: Target, labels: Mapping[str, str], asked: Names) -> str:
        if not matching.allows(role.allow.selector(kind), labels, self.traits):
            return f"does not match the {kind.value}'s labels"
        for principal, name in asked.items():
            if not _named(principal, role.allow.names(principal), name, deny=False):
                return f"does not allow {principal.value} {name!r}"
        return ""


def _filled(role: Role, values: Traits) -> Role:
    return traits.apply(role, values)


def _named(principal: Principal, names: Sequence[str], name: str, *, deny: bool) -> bool:
    if principal in _EXACT:
        return name in names or (deny and "*" in names)
    try:
        return patterns.any_matches(names, name)
    except TeleportError:
        return deny
