"""
Tests for L{teleport_tw.access}: tables of decisions.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import languages, validate
from teleport_tw.access.checker import MAX_DECISIONS, Checker
from teleport_tw.access.locks import Lock, LockTarget, Subject, refusal
from teleport_tw.access.syntax import PredicateError, parse
from teleport_tw.access.traits import fill
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.presets import IMPLICIT, PRESETS
from teleport_tw.resources.roles import Role, Target
from teleport_tw.resources.roles_options import Strictness

TRAITS = {"logins": ("alice", "ops"), "team": ("red", "blue"), "email": ("al@example.com", "bad"), "urn:x": ("v",)}


def role(name: str = "r", version: str = "v7", **spec: Any) -> Role:
    """
    A role from its spec.
    """
    return validate.role(Resource("role", version, Metadata(name), spec))


def checker(*roles: Role) -> Checker:
    """
    For alice.
    """
    return Checker.for_identity(roles, username="alice", traits=TRAITS)


LABELS: list[tuple[dict[str, Any], dict[str, str], bool]] = [
    ({}, {"env": "dev"}, False),
    ({"*": "*"}, {}, True),
    ({"*": "*"}, {"env": "dev"}, True),
    ({"env": "dev"}, {"env": "dev"}, True),
    ({"env": "dev"}, {"env": "devel"}, False),
    ({"env": "dev"}, {}, False),
    ({"env": "*"}, {}, False),
    ({"env": "*"}, {"env": ""}, True),
    ({"env": ["dev", "qa"]}, {"env": "qa"}, True),
    ({"env": ["dev", "qa"]}, {"env": "prod"}, False),
    ({"env": "dev", "team": "red"}, {"env": "dev"}, False),
    ({"env": "dev", "team": "red"}, {"env": "dev", "team": "red"}, True),
    ({"region": "us-west-*"}, {"region": "us-west-2"}, True),
    ({"region": "us-west-*"}, {"region": "us-east-2"}, False),
    ({"region": "*-west-*"}, {"region": "us-west-2"}, True),
    ({"env": "^(dev|qa)$"}, {"env": "qa"}, True),
    ({"env": "^(dev|qa)$"}, {"env": "xqa"}, False),
    ({"env": "^dev.$"}, {"env": "dev\n"}, False),
    ({"env": "d.v"}, {"env": "dev"}, False),
    ({"team": "{{external.team}}"}, {"team": "blue"}, True),
    ({"team": "{{external.none}}"}, {"team": ""}, False),
    ({"team": "{{external.none}}"}, {"team": "{{external.none}}"}, False),
]
EXPRESSIONS: list[tuple[str, bool]] = [
    ('labels["env"] == "dev"', True),
    ('labels.env != "dev"', False),
    ('labels["none"] == ""', True),
    ('contains(user.spec.traits["team"], labels["team"])', True),
    ('contains(user.spec.traits["none"], labels["team"])', False),
    ('contains_any(user.spec.traits.team, list("x", "red"))', True),
    ('contains_all(user.spec.traits.team, ["red", "blue"])', True),
    ('contains_all(user.spec.traits.team, ["red", "x"])', False),
    ("contains_all(user.spec.traits.team, [])", False),
    ('regexp.match(user.spec.traits.team, "^r.d$")', True),
    ('contains(regexp.replace(user.spec.traits.team, "^r(.*)$", "b$1"), "bed")', True),
    ('contains(email.local(user.spec.traits.email), "al")', True),
    ('contains(strings.upper(user.spec.traits.team), "RED")', True),
    ('contains(strings.lower(["RED"]), "red")', True),
    ('contains(labels_matching("e*"), "dev")', True),
    ('labels["env"] == "dev" && !(labels["team"] == "blue")', True),
    ('labels["env"] == "qa" || labels["team"] == "red"', True),
    ('"a" == user.spec.traits.team', False),
    ('labels["env"]', False),
    ('!!(labels["env"] == "dev")', True),
]
BAD_EXPRESSIONS = [
    "",
    "(",
    ")",
    "a",
    "labels[",
    "labels[env]",
    'labels["a"].b == "c"',
    "labels.env ==",
    'labels.env == "a" "b"',
    "unknown()",
    "contains(labels)",
    "user.spec.roles == labels",
    "\x00",
    '"open',
    "!" * 100 + 'labels.a == ""',
    "(" * 100,
    "a" * 9000,
    "&& ||",
]
TEMPLATES: list[tuple[str, tuple[str, ...]]] = [
    ("plain", ("plain",)),
    ("{{internal.logins}}", ("alice", "ops")),
    ('{{external["urn:x"]}}', ("v",)),
    ("dev-{{external.team}}-x", ("dev-red-x", "dev-blue-x")),
    ("{{email.local(external.email)}}", ("al",)),
    ('{{regexp.replace(external.team, "^r(e)d$", "$1-${1}$$")}}', ("e-e$",)),
    ("{{external.none}}", ()),
    ("{{internal.team}}", ()),
    ("{{", ()),
    ("{{external.team}}{{external.team}}", ()),
    ("{{external}}", ()),
]


class TableTests(SynchronousTestCase):
    """
    Decisions by table.
    """

    def test_labels(self) -> None:
        """
        Label maps choose in allow, and refuse in deny.
        """
        everything = role("all", allow={"node_labels": {"*": "*"}, "logins": ["root"]})
        for wanted, labels, expected in LABELS:
            one = checker(role(allow={"node_labels": wanted, "logins": ["root"]}))
            self.assertEqual(bool(one.node(labels, "root")), expected, (wanted, labels))
            both = checker(everything, role(deny={"node_labels": wanted}))
            self.assertEqual(bool(both.can_see_node(labels)), not expected, (wanted, labels))

    def test_expressions(self) -> None:
        """
        Expressions choose; what has no answer is not allowed.
        """
        labels = {"env": "dev", "team": "red"}
        for text, expected in EXPRESSIONS:
            one = checker(role(allow={"node_labels_expression": text, "logins": ["root"]}))
            self.assertEqual(bool(one.node(labels, "root")), expected, text)

    def test_undecided_deny_refuses(self) -> None:
        """
        A deny expression that fails counts as denied.
        """
        everything = role("all", allow={"node_labels": {"*": "*"}})
        self.assertFalse(checker(everything, role(deny={"node_labels_expression": 'labels["env"]'})).can_see_node({}))

    def test_bad_expressions(self) -> None:
        """
        Each is refused when the role is checked.
        """
        for text in BAD_EXPRESSIONS:
            self.assertRaises(PredicateError, languages.compiled, languages.LABELS, text)

    @given(st.text(alphabet="ab\"'`.[]()!&|=,\\ 1", max_size=60))
    def test_parser_garbage(self, text: str) -> None:
        """
        Garbage ends in one error type.
        """
        with contextlib.suppress(PredicateError):
            parse(text)

    def test_templates(self) -> None:
        """
        Templates give one entry for each value.
        """
        for text, expected in TEMPLATES:
            self.assertEqual(fill(text, TRAITS), expected, text)

    def test_logins(self) -> None:
        """
        Deny wins, labels and login must come from one role, a trait cannot smuggle an option.
        """
        one = role("one", allow={"node_labels": {"env": "dev"}, "logins": ["dev", "-oProxyCommand=x"]})
        two = role("two", allow={"node_labels": {"env": "prod"}, "logins": ["prod"]})
        deny = role("deny", deny={"logins": ["root"]})
        who = checker(one, two, deny, role("three", allow={"logins": ["root"], "node_labels": {"*": "*"}}))
        self.assertTrue(who.node({"env": "dev"}, "dev"))
        decision = who.node({"env": "prod"}, "dev")
        self.assertIn("does not allow logins 'dev'", decision.reason)
        self.assertEqual(str(self.assertRaises(TeleportError, decision.check)), "access denied")
        self.assertFalse(who.node({"env": "dev"}, "root"))
        self.assertEqual(who.logins(), ("dev", "prod"))

    def test_catastrophic_pattern(self) -> None:
        """
        A pattern that hangs a backtracking engine answers at once.
        """
        who = checker(role(allow={"node_labels": {"env": "^(a+)+b$"}, "logins": ["x"]}))
        self.assertFalse(who.node({"env": "a" * 5000}, "x"))

    def test_rules_and_presets(self) -> None:
        """
        Presets are valid, and C{where} looks at the session.
        """
        roles = {each.name: validate.role(each) for each in (*PRESETS, IMPLICIT)}
        who = checker(roles["access"])
        self.assertTrue(who.rule("session", "read", {"session": {"participants": ["alice"]}}))
        self.assertFalse(who.rule("session", "read", {"session": {"participants": ["bob"]}}))
        self.assertTrue(who.may_list("session"))
        self.assertFalse(who.rule("user", "create"))
        self.assertTrue(checker(roles["editor"]).rule("user", "create"))
        self.assertEqual(who.logins(), ("alice", "ops"))

    def test_options(self) -> None:
        """
        Each option merges by its own rule.
        """
        a = role(
            "a", options={"max_session_ttl": "8h", "forward_agent": True, "ssh_file_copy": False, "max_sessions": 5}
        )
        b = role("b", options={"max_session_ttl": "2h", "forward_agent": False, "max_sessions": 3, "lock": "strict"})
        merged = checker(a, b).options
        self.assertEqual(merged.max_session_ttl, timedelta(hours=2))
        self.assertTrue(merged.forward_agent)
        self.assertFalse(merged.ssh_file_copy)
        self.assertEqual(merged.max_sessions, 3)
        self.assertIs(merged.lock, Strictness.STRICT)
        self.assertTrue(merged.port_forwarding)
        off = role("c", options={"ssh_port_forwarding": {"local": {"enabled": False}}})
        self.assertFalse(checker(a, off).options.local_forwarding)

    def test_locks(self) -> None:
        """
        A lock hits what it names, until it expires; strict mode wants a fresh view.
        """
        now = datetime(2026, 1, 1, tzinfo=UTC)
        lock = Lock(name="l", target=LockTarget(user="alice"), message="gone", expires=now + timedelta(hours=1))
        mode, alice = Strictness.BEST_EFFORT, Subject(user="alice")
        told = refusal([lock], alice, now, mode=mode, fresh_at=now)
        self.assertEqual(told, 'lock targeting User:"alice" is in force: gone')
        self.assertEqual(refusal([lock], Subject(user="bob"), now, mode=mode, fresh_at=now), "")
        self.assertEqual(refusal([lock], alice, now + timedelta(hours=1), mode=mode, fresh_at=None), "")
        old = now - timedelta(minutes=6)
        self.assertIn("strict", refusal([], alice, now, mode=Strictness.STRICT, fresh_at=old))


class SeerTests(SynchronousTestCase):
    """
    The question that is asked of many thousands.
    """

    def test_as_one_by_one(self) -> None:
        """It answers as the question about one thing does, whatever the roles look at, and remembers only so much."""
        for spec in (
            {"node_labels": {"*": "*"}},
            {"node_labels": {"env": "dev"}},
            {"node_labels": {"env": ["dev", "x*"], "team": "^[ab]$"}},
            {"node_labels_expression": 'contains(labels_matching("e*"), "dev")'},
            {},
        ):
            role = Role.parse(Resource("role", "v7", Metadata("r"), {"allow": spec}))
            checker = Checker.for_identity([role], username="u", traits={})
            sees = checker.seer(Target.NODE)
            for number in range(MAX_DECISIONS + 10):
                env = ("dev", "prod", "x")[number % 3] if number < 30 else f"x{number}"
                labels = {"env": env, "team": "ab"[number % 2]}
                if number < 30 or number > MAX_DECISIONS:
                    self.assertEqual(sees(labels), checker.can_see_node(labels).allowed, (spec, labels))
                else:
                    sees(labels)
