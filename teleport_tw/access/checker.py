"""
May this identity do this, and if not, why not.

For a target: a deny that matches its labels, or the principal asked for, in any role refuses; then one role must allow
both labels and principals. Refusals keep a finding for each role, for the administrator alone.

@see: reference, sections 3.4 and 3.9
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from teleport_tw.access import labels as matching
from teleport_tw.access import options as merging
from teleport_tw.access import patterns, rules, traits
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.access.labels import Chooser, Traits
from teleport_tw.access.options import MergedOptions
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.resources.roles import Principal, Role, Target
from teleport_tw.resources.roles_options import SessionMFA

Names = Mapping[Principal, str]
"""The principals that are asked for."""

_EXACT = frozenset({Principal.LOGINS, Principal.WINDOWS_LOGINS})
"""Principals where only a whole C{*} in a deny is a wildcard; elsewhere globs are."""


MAX_DECISIONS = 4096
"""Answers a checker remembers for one kind of target; one for each set of label values that its roles look at."""


@frozen
class _Sight:
    """
    What the roles say of one kind of target, made ready.

    @ivar keys: the labels that decide; none when any label may.
    @ivar decided: answers by names asked for and values of those labels.
    @ivar verdicts: answers by names asked for and which roles' allow chooses the labels.
    """

    kind: Target
    denying: tuple[tuple[Role, Chooser], ...]
    allowing: tuple[tuple[Role, Chooser], ...]
    keys: tuple[str, ...] | None
    decided: dict[object, Decision] = field(factory=dict)
    verdicts: dict[object, Decision] = field(factory=dict)


@define
class Checker:
    """
    Decides for one identity. Selectors are made ready once, and answers are remembered by the labels that decide.

    @ivar roles: with templates filled.
    @ivar cluster_mfa: what the cluster asks of every session.
    """

    username: str
    roles: tuple[Role, ...]
    traits: Traits
    cluster_mfa: SessionMFA = SessionMFA.NO
    _options: MergedOptions | None = field(default=None, init=False)
    _sights: dict[Target, _Sight] = field(factory=dict, init=False)

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
        sight = self._sights.get(kind) or self._sight(kind)
        if sight.keys is None:
            return self._judge(sight, labels, names or {})
        asked = (tuple(names.items()) if names else (), tuple(map(labels.get, sight.keys)))
        decision = sight.decided.get(asked)
        if decision is None:
            if len(sight.decided) >= MAX_DECISIONS:
                sight.decided.clear()
            decision = sight.decided[asked] = self._judge(sight, labels, names or {})
        return decision

    def seer(self, kind: Target) -> Callable[[Mapping[str, str]], bool]:
        """
        L{target} by labels alone, for who asks of many thousands.

        @return: whether the identity sees a thing with these labels.
        """
        sight = self._sights.get(kind) or self._sight(kind)
        keys = sight.keys
        if keys is None:
            return lambda labels: self._judge(sight, labels, {}).allowed
        if not keys:
            always = self._judge(sight, {}, {}).allowed
            return lambda labels: always
        known: dict[tuple[str | None, ...], bool] = {}

        def sees(labels: Mapping[str, str]) -> bool:
            values = tuple([labels.get(key) for key in keys])
            answer = known.get(values)
            if answer is None:
                if len(known) >= MAX_DECISIONS:
                    known.clear()
                answer = known[values] = self._judge(sight, labels, {}).allowed
            return answer

        return sees

    def matching(self, kind: Target, labels: Mapping[str, str]) -> tuple[Role, ...]:
        """
        @return: the roles whose allow chooses a thing with these labels, whatever is denied.
        """
        sight = self._sights.get(kind) or self._sight(kind)
        return tuple(role for role, chooser in sight.allowing if chooser.chooses(labels))

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
        return self._offered(self.matching(kind, labels), principal)

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

    def _sight(self, kind: Target) -> _Sight:
        denying = [
            (role, matching.chooser(selector, self.traits, deny=True))
            for role in self.roles
            if (selector := role.deny.selector(kind))
        ]
        allowing = [(role, matching.chooser(role.allow.selector(kind), self.traits, deny=False)) for role in self.roles]
        keys: set[str] | None = set()
        for chooser in (*(each[1] for each in denying), *(each[1] for each in allowing)):
            keys = None if keys is None or chooser.keys is None else keys | chooser.keys
        sight = _Sight(kind, tuple(denying), tuple(allowing), None if keys is None else tuple(sorted(keys)))
        self._sights[kind] = sight
        return sight

    def _judge(self, sight: _Sight, labels: Mapping[str, str], asked: Names) -> Decision:
        for role, chooser in sight.denying:
            if chooser.chooses(labels):
                text = f"denies {sight.kind.value} by its labels{_aside(chooser.why(labels))}"
                return _denied(Finding(role.name, text))
        chosen = [chooser.chooses(labels) for _, chooser in sight.allowing]
        if sight.keys is None:
            return self._verdict(sight, labels, chosen, asked)
        # Many nodes with labels of their own still fall into few classes.
        key = (tuple(asked.items()), *chosen)
        decision = sight.verdicts.get(key)
        if decision is None:
            if len(sight.verdicts) >= MAX_DECISIONS:
                sight.verdicts.clear()
            decision = sight.verdicts[key] = self._verdict(sight, labels, chosen, asked)
        return decision

    def _verdict(self, sight: _Sight, labels: Mapping[str, str], chosen: Sequence[bool], asked: Names) -> Decision:
        for principal, name in asked.items():
            for role in self.roles:
                denied = role.deny.names(principal)
                if _named(principal, denied, name, deny=True):
                    text = f"denies {principal.value} {name!r}{_trouble(principal, denied)}"
                    return _denied(Finding(role.name, text))
        findings: list[Finding] = []
        allowing: list[Role] = []
        for (role, chooser), seen in zip(sight.allowing, chosen, strict=True):
            if not seen:
                text = f"does not match the {sight.kind.value}'s labels{_aside(chooser.why(labels))}"
                findings.append(Finding(role.name, text))
                continue
            shortcoming = _shortcoming(role, asked)
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


def _denied(finding: Finding) -> Decision:
    return Decision(allowed=False, reason=str(finding), role=finding.role, findings=(finding,))


def _filled(role: Role, values: Traits) -> Role:
    return traits.apply(role, values)


def _shortcoming(role: Role, asked: Names) -> str:
    for principal, name in asked.items():
        allowed = role.allow.names(principal)
        if not _named(principal, allowed, name, deny=False):
            return f"does not allow {principal.value} {name!r}" + _trouble(principal, allowed)
    return ""


def _named(principal: Principal, names: Sequence[str], name: str, *, deny: bool) -> bool:
    if principal in _EXACT:
        return name in names or (deny and "*" in names)
    return patterns.any_matches(names, name, broken=deny)


def _trouble(principal: Principal, names: Sequence[str]) -> str:
    return "" if principal in _EXACT else _aside(patterns.trouble(names))


def _aside(text: str) -> str:
    return f" ({text})" if text else ""
