"""
Tests for L{teleport_tw.access.labels} and for how L{teleport_tw.access.checker} asks it.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import checker as checking
from teleport_tw.access.checker import Checker
from teleport_tw.access.explain import explain
from teleport_tw.access.labels import chooser, labels_match
from teleport_tw.resources.roles import Principal, Role, Selector, Target
from teleport_tw.resources.roles_options import DeviceTrust, SessionMFA
from tests.access.tables import checker_of, stored, unchecked

ALLOW: list[tuple[str, dict[str, str], bool]] = [
    ("{'*': '*'}", {}, True),
    ("{'*': ['*']}", {"a": "b"}, True),
    ("{'*': '*', env: dev}", {"env": "dev"}, True),
    ("{'*': '*', env: dev}", {"env": "prod"}, False),
    ("{'*': '*', env: dev}", {}, False),
    ("{env: dev}", {"env": "dev", "more": "x"}, True),
    ("{env: dev}", {"ENV": "dev"}, False),
    ("{env: dev}", {"env": "Dev"}, False),
    ("{env: []}", {"env": ""}, False),
    ("{env: ''}", {"env": ""}, True),
    ("{env: ''}", {}, False),
    ("{env: [a, b*, ^c+$]}", {"env": "a"}, True),
    ("{env: [a, b*, ^c+$]}", {"env": "bee"}, True),
    ("{env: [a, b*, ^c+$]}", {"env": "ccc"}, True),
    ("{env: [a, b*, ^c+$]}", {"env": "d"}, False),
    ("{env: '*x'}", {"env": "ax"}, True),
    ("{env: '*x'}", {"env": "xa"}, False),
    ("{env: 'a*a'}", {"env": "a"}, False),
    ("{env: 'a*a'}", {"env": "aa"}, True),
    ("{env: 'a*b*c'}", {"env": "a-b-c"}, True),
    ("{env: 'a*b*c'}", {"env": "a-c-b"}, False),
    ("{env: 'a*b*c'}", {"env": "abbc"}, True),
    ("{env: 'a*x*c'}", {"env": "a-c"}, False),
    ("{env: '**'}", {"env": "x"}, True),
    ("{env: 'a.c'}", {"env": "abc"}, False),
    ("{env: 'a?c'}", {"env": "abc"}, False),
    ("{env: '^a|b$'}", {"env": "b"}, True),
    ("{env: '^a|b$'}", {"env": "axxx"}, True),
    ("{env: '^(a|b)$'}", {"env": "axxx"}, False),
    ("{env: '^a$'}", {"env": "^a$"}, True),
    ("{env: '^a'}", {"env": "a"}, False),
    ("{env: '^a'}", {"env": "^a"}, True),
    ("{env: '^(?i)DEV$'}", {"env": "dev"}, True),
    ("{teleport.dev/origin: config}", {"teleport.dev/origin": "config"}, True),
    ("{a: b, c: d, e: f}", {"a": "b", "c": "d", "e": "f"}, True),
    ("{a: b, c: d, e: f}", {"a": "b", "c": "d", "e": "g"}, False),
    ("{team: '{{external.team}}'}", {"team": "red"}, True),
    ("{team: 'x-{{external.team}}-*'}", {"team": "x-blue-1"}, True),
    ("{team: 'x-{{external.team}}-*'}", {"team": "x-green-1"}, False),
    ("{'{{external.team}}': y}", {"blue": "y"}, False),
    ("{'{{external.one}}': y}", {"owner": "y"}, True),
    ("{'{{external.none}}': y}", {"{{external.none}}": "y"}, True),
    ("{team: ['{{external.none}}', red]}", {"team": "red"}, True),
    ("{team: '{{email.local(external.email)}}'}", {"team": "al"}, True),
]

DENY: list[tuple[str, dict[str, str], bool]] = [
    ("node_labels: {'*': '*'}", {"x": "y"}, True),
    ("node_labels: {'*': '*', env: prod}", {"env": "prod"}, True),
    ("node_labels: {'*': '*', env: prod}", {"env": "dev"}, False),
    ("node_labels: {env: prod}", {"env": "prod"}, True),
    ("node_labels: {env: prod}", {"env": "dev"}, False),
    ("node_labels: {env: prod}", {}, False),
    ("node_labels: {env: prod, tier: db}", {"env": "prod"}, False),
    ("node_labels: {env: prod, tier: db}", {"env": "prod", "tier": "db"}, True),
    ("node_labels: {env: [prod, stage]}", {"env": "stage"}, True),
    ("node_labels: {env: 'p*'}", {"env": "prod"}, True),
    ("node_labels: {env: '^p.*$'}", {"env": "dev"}, False),
    ("node_labels: {team: '{{external.team}}'}", {"team": "blue"}, True),
    ("node_labels: {team: '{{external.none}}'}", {"team": "blue"}, False),
    ("node_labels_expression: 'labels.env == \"prod\"'", {"env": "prod"}, True),
    ("node_labels_expression: 'labels.env == \"prod\"'", {"env": "dev"}, False),
    ("{node_labels: {env: prod}, node_labels_expression: 'labels.tier == \"db\"'}", {"env": "prod"}, True),
    ("{node_labels: {env: prod}, node_labels_expression: 'labels.tier == \"db\"'}", {"tier": "db"}, True),
    ("{node_labels: {env: prod}, node_labels_expression: 'labels.tier == \"db\"'}", {"tier": "web"}, False),
    ("logins: [root]", {}, True),
    ("logins: ['*']", {}, True),
    ("logins: ['r*']", {}, False),
    ("logins: ['^root$']", {}, False),
    ("logins: [admin]", {}, False),
    ("logins: ['{{external.team}}']", {}, False),
    ("app_labels: {'*': '*'}", {}, False),
    ("db_users: ['*']", {}, False),
]

BOTH: list[tuple[str, dict[str, str], bool]] = [
    ("{node_labels: {env: dev}, node_labels_expression: 'labels.a == \"b\"'}", {"env": "dev", "a": "b"}, True),
    ("{node_labels: {env: dev}, node_labels_expression: 'labels.a == \"b\"'}", {"env": "dev"}, False),
    ("{node_labels: {env: dev}, node_labels_expression: 'labels.a == \"b\"'}", {"a": "b"}, False),
    ('node_labels_expression: \'contains(labels_matching("e*"), "dev")\'', {"env": "dev"}, True),
    ('node_labels_expression: \'contains(labels_matching("e*"), "dev")\'', {"env": "prod"}, False),
    ("node_labels_expression: 'contains(user.spec.traits.team, labels.team)'", {"team": "red"}, True),
    ("node_labels_expression: 'contains(user.spec.traits.team, labels.team)'", {"team": "tan"}, False),
    ("node_labels_expression: labels.a", {"a": "true"}, False),
    ("node_labels_expression: 'labels == labels'", {"a": "true"}, False),
]

TARGETS: list[tuple[str, Target, dict[Principal, str], bool]] = [
    ("{db_labels: {'*': '*'}, db_users: [bob], db_names: [app]}", Target.DATABASE, {Principal.DB_USERS: "bob"}, True),
    ("{db_labels: {'*': '*'}, db_users: ['b*']}", Target.DATABASE, {Principal.DB_USERS: "bob"}, True),
    ("{db_labels: {'*': '*'}, db_users: ['*']}", Target.DATABASE, {Principal.DB_USERS: "any"}, True),
    ("{db_labels: {'*': '*'}, db_users: ['^b.b$']}", Target.DATABASE, {Principal.DB_USERS: "bob"}, True),
    ("{db_labels: {'*': '*'}, db_users: [bob]}", Target.DATABASE, {Principal.DB_USERS: "al"}, False),
    ("{db_users: [bob]}", Target.DATABASE, {Principal.DB_USERS: "bob"}, False),
    ("{app_labels: {'*': '*'}}", Target.APP, {}, True),
    ("{app_labels: {'*': '*'}}", Target.NODE, {}, False),
    ("{kubernetes_labels: {'*': '*'}}", Target.KUBERNETES, {Principal.KUBERNETES_USERS: "u"}, False),
    ("{kubernetes_labels: {'*': '*'}}", Target.KUBERNETES, {}, True),
    (
        "{windows_desktop_labels: {'*': '*'}, windows_desktop_logins: ['*']}",
        Target.DESKTOP,
        {Principal.WINDOWS_LOGINS: "x"},
        False,
    ),
    (
        "{windows_desktop_labels: {'*': '*'}, windows_desktop_logins: [x]}",
        Target.DESKTOP,
        {Principal.WINDOWS_LOGINS: "x"},
        True,
    ),
    ("{node_labels: {'*': '*'}, logins: ['*']}", Target.NODE, {Principal.LOGINS: "root"}, False),
    ("{group_labels: {'*': '*'}}", Target.GROUP, {}, True),
    ("{cluster_labels: {'*': '*'}}", Target.CLUSTER, {}, True),
    ("{workload_identity_labels: {'*': '*'}}", Target.WORKLOAD_IDENTITY, {}, True),
    ("{db_service_labels: {'*': '*'}}", Target.DATABASE_SERVICE, {}, True),
]

VALUES = st.sampled_from(["dev", "prod", "qa", "", "x-1", "^a$"])
MAPS = st.dictionaries(
    st.sampled_from(["env", "team", "*"]),
    st.lists(st.sampled_from(["dev", "prod", "*", "x-*", "*d", "^(dev|qa)$", "^($"]), max_size=3).map(tuple),
    max_size=3,
).map(lambda found: found if found.get("*", ("*",)) == ("*",) else {**found, "*": ("*",)})
THINGS = st.dictionaries(st.sampled_from(["env", "team", "os"]), VALUES, max_size=3)


class LabelTests(SynchronousTestCase):
    """
    Selectors by table.
    """

    def test_allow(self) -> None:
        """
        Keys are ANDed and values ORed.
        """
        for text, labels, expected in ALLOW:
            who = checker_of(f"allow: {{node_labels: {text}, logins: [root]}}", traits={
                "team": ("red", "blue"), "one": ("owner",), "email": ("al@example.com",)
            })  # fmt: skip
            if "external.team}}': y" in text:
                self.assertTrue(who.can_see_node({"red": "y", "blue": "y"}))
            decision = who.node(labels, "root")
            self.assertEqual(decision.allowed, expected, (text, labels, decision.reason))
            expected_reason = "allowed by role 'r0'" if expected else "role 'r0' does not match the node's labels"
            self.assertEqual(decision.reason, expected_reason)

    def test_deny(self) -> None:
        """
        One deny that matches labels or principal is enough, and names its role.
        """
        for text, labels, expected in DENY:
            deny = text if text.startswith("{") else f"{{{text}}}"
            who = checker_of("allow: {node_labels: {'*': '*'}, logins: [root]}", f"deny: {deny}")
            decision = who.node(labels, "root")
            self.assertEqual(decision.allowed, not expected, (text, labels, decision.reason))
            if expected:
                self.assertEqual(decision.role, "r1")
                self.assertIn("role 'r1' denies", decision.reason)

    def test_expressions(self) -> None:
        """
        Map and expression must both allow.
        """
        for text, labels, expected in BOTH:
            inner = text if text.startswith("{") else f"{{{text}}}"
            who = checker_of(f"allow: {inner}")
            self.assertEqual(bool(who.can_see_node(labels)), expected, (text, labels))

    def test_targets(self) -> None:
        """
        Each kind of target has its own selector, and principals match by their own rule.
        """
        for text, target, names, expected in TARGETS:
            decision = checker_of(f"allow: {text}").target(target, {}, names)
            self.assertEqual(decision.allowed, expected, (text, decision.reason))

    def test_shorthands(self) -> None:
        """
        The named questions ask the general one.
        """
        who = checker_of(
            "allow: {app_labels: {'*': '*'}, db_labels: {'*': '*'}, kubernetes_labels: {'*': '*'}, db_names: [app],"
            " windows_desktop_labels: {'*': '*'}, windows_desktop_logins: [w], db_users: [u], kubernetes_groups: [g],"
            " aws_role_arns: ['arn:aws:*'], azure_identities: [id], logins: [a, b], node_labels: {'*': '*'}}",
            "{options: {max_session_ttl: 1h}, allow: {logins: [short], node_labels: {env: dev}}, deny: {logins: [b]}}",
        )
        self.assertTrue(who.app({}))
        self.assertTrue(who.app({}, aws_role_arn="arn:aws:x"))
        self.assertFalse(who.app({}, aws_role_arn="x"))
        self.assertFalse(who.app({}, azure_identity="x"))
        self.assertTrue(who.database({}, "u"))
        self.assertTrue(who.database({}, "u", "app"))
        self.assertFalse(who.database({}, "u", "other"))
        self.assertTrue(who.kubernetes({}, group="g"))
        self.assertFalse(who.kubernetes({}, user="u"))
        self.assertTrue(who.desktop({}, "w"))
        self.assertEqual(who.principals(Principal.LOGINS, Target.NODE, {}), ("a",))
        self.assertEqual(who.principals(Principal.LOGINS, Target.NODE, {"env": "dev"}), ("a", "short"))
        self.assertEqual(checker_of("{}").principals(Principal.LOGINS, Target.NODE, {}), ())
        self.assertEqual(who.logins(), ("a", "short"))
        self.assertEqual(who.names(Principal.DB_USERS), ("u",))
        self.assertEqual(who.role_names, ("r0", "r1"))

    def test_logins_by_length(self) -> None:
        """
        A certificate longer than a role allows carries none of its logins.
        """
        who = checker_of("{options: {max_session_ttl: 1h}, allow: {logins: [short]}}", "allow: {logins: [long]}")
        self.assertEqual(who.logins(who.roles[0].options.max_session_ttl * 2), ("long",))  # type: ignore[operator]

    def test_requirements_follow_the_roles_that_match(self) -> None:
        """
        Second factor and device are asked by roles that allow, and by the cluster.
        """
        loose = stored("allow: {node_labels: {env: [dev, prod]}, logins: [a]}", "loose")
        tight = stored(
            "{options: {require_session_mfa: hardware_key, device_trust_mode: required},"
            " allow: {node_labels: {env: prod}, logins: [a]}}",
            "tight",
        )
        who = checker_of(loose, tight)
        self.assertIs(who.node({"env": "dev"}, "a").mfa, SessionMFA.NO)
        decision = who.node({"env": "prod"}, "a").check()
        self.assertIs(decision.mfa, SessionMFA.HARDWARE_KEY)
        self.assertIs(decision.device_trust, DeviceTrust.REQUIRED)
        cluster = Checker.for_identity([loose], username="a", traits={}, cluster_mfa=SessionMFA.YES)
        self.assertIs(cluster.node({"env": "dev"}, "a").mfa, SessionMFA.YES)

    def test_explain(self) -> None:
        """
        An administrator reads what each role said.
        """
        who = checker_of("allow: {node_labels: {a: b}, logins: [x]}", "allow: {node_labels: {c: d}, logins: [y]}")
        self.assertEqual(
            explain(who.node({"a": "b"}, "y")),
            "denied: role 'r0' does not allow logins 'y'; role 'r1' does not match the node's labels\n"
            "  role 'r0' does not allow logins 'y'\n"
            "  role 'r1' does not match the node's labels",
        )
        self.assertEqual(
            explain(who.node({"a": "b"}, "x")),
            "allowed: allowed by role 'r0'\n  role 'r0' allows it\n  role 'r1' does not match the node's labels",
        )
        self.assertEqual(checker_of().node({}, "x").reason, "the user has no roles")

    def test_broken_patterns(self) -> None:
        """
        A pattern that slipped in never opens, always shuts, and is told to the administrator alone.
        """
        broken = unchecked("allow: {node_labels: {env: ['^($', dev]}, logins: [a]}", "broken")
        who = checker_of(broken)
        self.assertTrue(who.node({"env": "dev"}, "a"))
        decision = who.node({"env": "prod"}, "a")
        self.assertFalse(decision)
        self.assertIn("is not a regular expression", decision.reason)
        everything = stored(
            "allow: {node_labels: {'*': '*'}, logins: [a], db_labels: {'*': '*'}, db_users: [u]}", "all"
        )
        for text in ("node_labels: {env: '^($'}", "node_labels_expression: 'labels['", "node_labels_expression: 'x()'"):
            denied = checker_of(everything, unchecked(f"deny: {{{text}}}", "deny")).node({"env": "any"}, "a")
            self.assertEqual((denied.allowed, denied.role), (False, "deny"), text)
            self.assertIn("(", denied.reason)
            allow = checker_of(unchecked(f"allow: {{{text}, logins: [a]}}")).node({"env": "any"}, "a")
            self.assertFalse(allow, text)
            self.assertIn("(", allow.reason)
        users = checker_of(everything, unchecked("deny: {db_users: ['^($']}", "deny")).database({}, "u")
        self.assertIn("denies db_users 'u' (", users.reason)
        wide = checker_of(unchecked("allow: {db_labels: {'*': '*'}, db_users: ['^($']}")).database({}, "u")
        self.assertIn("does not allow db_users 'u' (", wide.reason)

    def test_a_trait_that_is_no_pattern(self) -> None:
        """
        What a trait puts into a selector can be anything; it ends in no, and never in an exception.
        """
        who = checker_of("allow: {node_labels: {env: '{{external.x}}'}, logins: [a]}", traits={"x": ("^($", "\ud800")})
        self.assertFalse(who.node({"env": "dev"}, "a"))
        self.assertFalse(who.node({"env": "\udfff"}, "a"))

    def test_expression_trouble(self) -> None:
        """
        An expression without an answer says so in the reason.
        """
        decision = checker_of("allow: {node_labels_expression: labels.a, logins: [x]}").node({"a": "b"}, "x")
        self.assertIn("neither true nor false", decision.reason)
        quiet = checker_of('allow: {node_labels_expression: labels.a == "c", logins: [x]}').node({"a": "b"}, "x")
        self.assertNotIn("(", quiet.reason)

    def test_answers_are_remembered_within_bounds(self) -> None:
        """
        The same labels give the same answer object; the memory is emptied when it is full.
        """
        self.patch(checking, "MAX_DECISIONS", 2)
        who = checker_of("allow: {node_labels: {env: ['*'], n: ['*']}}", "allow: {node_labels: {n: ['1*']}}")
        first = who.can_see_node({"env": "a", "n": "1"})
        self.assertIs(who.can_see_node({"env": "a", "n": "1", "other": "x"}), first)
        answers = [bool(who.can_see_node({"env": "a", "n": str(n)})) for n in range(20)]
        self.assertEqual(answers, [True] * 20)
        for name in "abcdef":
            self.assertFalse(who.node({"env": "a", "n": "1"}, name))

    def test_expressions_over_all_labels_are_not_remembered(self) -> None:
        """
        Where any label may decide, each answer is worked out.
        """
        for text in ('contains(labels_matching("*"), "x")', "labels == labels"):
            found = chooser(Selector({}, text), {}, deny=False)
            self.assertIsNone(found.keys)
        named = chooser(
            Selector(
                {"z": ("1",)}, '!(labels.a == "b" || ["x"] == user.spec.traits.t) && contains(["c"], labels["c"])'
            ),
            {},
            deny=False,
        )
        self.assertEqual(named.keys, {"z", "a", "c"})
        who = checker_of('allow: {node_labels_expression: \'contains(labels_matching("*"), "x")\'}')
        self.assertEqual([bool(who.can_see_node({"a": value})) for value in "xyx"], [True, False, True])

    @given(MAPS, THINGS)
    def test_adding_a_key_never_widens(self, wanted: dict[str, tuple[str, ...]], labels: dict[str, str]) -> None:
        """
        A map that matches still matches with any of its keys left out, unless none is left.
        """
        if labels_match(wanted, labels):
            for key in wanted:
                rest = {other: values for other, values in wanted.items() if other != key}
                self.assertTrue(not rest or labels_match(rest, labels))

    @given(st.lists(st.tuples(MAPS, MAPS), max_size=4), THINGS, st.randoms())
    def test_deny_never_grants(
        self,
        maps: list[tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]],
        labels: dict[str, str],
        random: object,
    ) -> None:
        """
        Order does not matter, a deny more never grants, an allow more never takes away; memory changes nothing.
        """
        roles = [_role(f"r{index}", allow, deny) for index, (allow, deny) in enumerate(maps)]
        before = bool(_see(roles, labels))
        self.assertEqual(bool(_see(roles[::-1], labels)), before)
        for index, (allow, deny) in enumerate(maps):
            more_deny = [*roles, _role("more", {}, allow)]
            self.assertLessEqual(bool(_see(more_deny, labels)), before)
            more_allow = [*roles, _role("more", deny, {})]
            self.assertGreaterEqual(bool(_see(more_allow, labels)), before)
            without = [*roles[:index], _role(roles[index].name, allow, {}), *roles[index + 1 :]]
            self.assertGreaterEqual(bool(_see(without, labels)), before)
        one = Checker.for_identity(roles, username="a", traits={})
        one.can_see_node({"env": "elsewhere"})
        self.assertEqual([bool(one.can_see_node(labels)) for _ in range(2)], [before] * 2)


def _role(name: str, allow: dict[str, tuple[str, ...]], deny: dict[str, tuple[str, ...]]) -> Role:
    spec = {
        key: {"node_labels": {label: list(values) for label, values in labels.items()}}
        for key, labels in (("allow", allow), ("deny", deny))
    }
    return unchecked(str(spec), name)


def _see(roles: list[Role], labels: dict[str, str]) -> bool:
    return bool(Checker.for_identity(roles, username="a", traits={}).can_see_node(labels))
