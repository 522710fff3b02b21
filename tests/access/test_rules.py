"""
Tests for L{teleport_tw.access.rules}, and for what the preset roles may and may not.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import validate
from teleport_tw.access.checker import Checker
from teleport_tw.access.requests import may_request
from teleport_tw.resources.presets import IMPLICIT, PRESET_LABEL, PRESETS
from teleport_tw.resources.roles_options import DeviceTrust
from tests.access.tables import TRAITS, checker_of, stored, unchecked

RULES: list[tuple[str, str, str, bool]] = [
    ("{resources: [user], verbs: [list]}", "user", "list", True),
    ("{resources: [user], verbs: [list]}", "user", "read", False),
    ("{resources: [user], verbs: [list]}", "role", "list", False),
    ("{resources: [user, role], verbs: [list, read]}", "role", "read", True),
    ("{resources: ['*'], verbs: [read]}", "anything", "read", True),
    ("{resources: ['*'], verbs: ['*']}", "anything", "rotate", True),
    ("{resources: [user], verbs: ['*']}", "user", "delete", True),
    ("{resources: [user], verbs: ['*']}", "token", "delete", False),
    ("{resources: [cert_authority], verbs: [read]}", "cert_authority", "readnosecrets", True),
    ("{resources: [cert_authority], verbs: [readnosecrets]}", "cert_authority", "read", False),
    ("{resources: [auth_connector], verbs: [read]}", "oidc", "read", True),
    ("{resources: [auth_connector], verbs: [read]}", "saml", "read", True),
    ("{resources: [auth_connector], verbs: [read]}", "github", "read", True),
    ("{resources: [auth_connector], verbs: [read]}", "user", "read", False),
    ("{resources: [github], verbs: [read]}", "auth_connector", "read", False),
    ("{resources: ['us*'], verbs: [read]}", "user", "read", False),
    ("{resources: [user], verbs: ['l*']}", "user", "list", False),
]

CONTEXT = {
    "resource": {
        "metadata": {"name": "n", "labels": {"owner": "alice", "team": "red"}},
        "spec": {"list": ["a"], "n": 1},
    },
    "session": {"participants": ["alice", "bob"], "owner": "alice"},
    "ssh_session": {"participants": ["bob"]},
}
WHERES: list[tuple[str, bool]] = [
    ("true", True),
    ("false", False),
    ('user.metadata.name == "alice"', True),
    ('equals(user.metadata.name, "bob")', False),
    ('contains(user.spec.roles, "r0")', True),
    ('contains(user.spec.roles, "other")', False),
    ('contains(user.spec.traits["team"], "red")', True),
    ("contains(user.spec.traits.none, user.metadata.name)", False),
    ('resource.metadata.labels["owner"] == user.metadata.name', True),
    ("resource.metadata.labels.owner == user.metadata.name", True),
    ('resource.metadata.labels["none"] == ""', True),
    ('contains(user.spec.traits["team"], resource.metadata.labels["team"])', True),
    ('resource.metadata.name == "n" && session.owner == "alice"', True),
    ('resource.metadata.name == "x" || session.owner == "alice"', True),
    ('!(resource.metadata.name == "x")', True),
    ('!equals(resource.metadata.name, "n")', False),
    ("contains(session.participants, user.metadata.name)", True),
    ("contains(ssh_session.participants, user.metadata.name)", False),
    ("contains(session_tracker.participants, user.metadata.name)", False),
    ('contains_any(session.participants, ["zoe", "bob"])', True),
    ('contains_all(session.participants, set("alice", "bob"))', True),
    ('contains_all(session.participants, set("alice", "zoe"))', False),
    ('has_prefix(user.metadata.name, "al")', True),
    ('all_end_with(user.spec.traits.logins, "s")', False),
    ('all_end_with(["as", "bs"], "s")', True),
    ('all_end_with([], "s")', False),
    ("can_view()", False),
    ("resource.spec.n == 1", True),
    ("resource.spec.n != 1", False),
    ('resource.spec.list == ["a"]', True),
    ('resource.spec.none.deeper == ""', True),
    ('contains(resource.spec.list, "a")', True),
    ('contains(resource.spec, "a")', False),
    ("resource.spec == resource.spec", False),
    ("resource.spec.n", False),
    ('resource.spec.n == "1"', False),
    ("user.metadata.name", False),
    ("!user.metadata.name", False),
    ("contains(user.metadata.name, 1)", False),
    ("contains(1, user.metadata.name)", False),
    ('session.owner.x == ""', False),
]
NOT_STORED = {'session.owner.x == ""'}

MAY: list[tuple[str, str, str, bool]] = [
    *[
        ("access", kind, verb, False)
        for kind in ("user", "role", "token", "lock", "cert_authority", "node")
        for verb in ("create", "update", "delete")
    ],
    *[("access", "event", verb, True) for verb in ("list", "read")],
    ("access", "session", "read", False),
    ("access", "session", "delete", False),
    ("access", "instance", "read", True),
    ("access", "cluster_maintenance_config", "read", True),
    *[
        ("editor", kind, verb, True)
        for kind in (
            "user",
            "role",
            "token",
            "lock",
            "bot",
            "node",
            "db",
            "app",
            "trusted_cluster",
            "oidc",
            "saml",
            "github",
            "cluster_auth_preference",
            "cluster_networking_config",
            "session_recording_config",
            "login_rule",
            "device",
        )
        for verb in ("list", "read", "create", "update", "delete")
    ],
    ("editor", "device", "enroll", True),
    ("editor", "device", "create_enroll_token", True),
    ("editor", "cert_authority", "rotate", True),
    ("editor", "event", "read", True),
    ("editor", "event", "delete", False),
    ("editor", "session", "delete", False),
    ("editor", "audit_query", "use", False),
    *[
        ("auditor", kind, verb, True)
        for kind in ("session", "event", "session_tracker", "cluster_alert", "instance", "bot_instance", "notification")
        for verb in ("list", "read")
    ],
    *[
        ("auditor", kind, verb, False)
        for kind in ("user", "role", "token", "lock", "event", "session")
        for verb in ("create", "update", "delete")
    ],
    ("auditor", "user", "read", False),
    ("auditor", "audit_query", "use", True),
    ("auditor", "security_report", "use", True),
    ("requester", "user", "read", False),
    ("reviewer", "access_request", "update", False),
    ("group-access", "user_group", "read", True),
    ("group-access", "user_group", "update", False),
    ("device-admin", "device", "delete", True),
    ("device-admin", "user", "read", False),
    ("device-enroll", "device", "enroll", True),
    ("device-enroll", "device", "delete", False),
    ("terraform-provider", "role", "update", True),
    ("terraform-provider", "cert_authority", "rotate", False),
    ("terraform-provider", "session", "read", False),
    ("access-plugin", "access_request", "read", True),
    ("access-plugin", "access_request", "update", False),
    ("access-plugin", "access_plugin_data", "update", True),
    ("access-plugin", "role", "update", False),
    ("access-plugin-with-review", "access_request", "read", True),
    ("list-access-request-resources", "user", "read", False),
    ("default-implicit-role", "node", "read", True),
    ("default-implicit-role", "cert_authority", "readnosecrets", True),
    ("default-implicit-role", "cert_authority", "read", False),
    ("default-implicit-role", "user", "read", False),
]

LOGS_IN: list[tuple[str, bool, bool]] = [
    ("access", True, True),
    ("editor", False, False),
    ("auditor", False, False),
    ("requester", False, False),
    ("reviewer", False, False),
    ("group-access", False, False),
    ("device-admin", False, False),
    ("require-trusted-device", True, True),
    ("terraform-provider", True, False),
    ("list-access-request-resources", True, False),
    ("access-plugin", False, False),
    ("default-implicit-role", False, False),
]
"""Role, sees nodes, logs into them."""


class RuleTests(SynchronousTestCase):
    """
    Rules by table.
    """

    def test_rules(self) -> None:
        """
        Kind and verb must both be in one rule.
        """
        for rule, kind, verb, expected in RULES:
            decision = checker_of(f"allow: {{rules: [{rule}]}}").rule(kind, verb)
            self.assertEqual(decision.allowed, expected, (rule, kind, verb))
            self.assertEqual(
                decision.reason, "allowed by role 'r0'" if expected else f"no role allows {verb} on {kind}"
            )
            both = checker_of("allow: {rules: [{resources: ['*'], verbs: ['*']}]}", f"deny: {{rules: [{rule}]}}")
            decision = both.rule(kind, verb)
            self.assertEqual(decision.allowed, not expected, (rule, kind, verb, "deny"))
            self.assertEqual(decision.role, "r1" if expected else "r0")
            self.assertEqual(both.may_list(kind, verb), not expected)

    def test_where(self) -> None:
        """
        A condition must hold to allow, and must be known not to hold for a deny to let through.
        """
        for where, expected in WHERES:
            rule: dict[str, Any] = {"resources": ["node"], "verbs": ["read"], "where": where}
            make = unchecked if where in NOT_STORED else stored
            allow = checker_of(make(str({"allow": {"rules": [rule]}}), "r0"))
            decision = allow.rule("node", "read", CONTEXT)
            self.assertEqual(decision.allowed, expected, (where, decision.reason))
            self.assertTrue(allow.may_list("node", "read"))
            deny = checker_of(
                "allow: {rules: [{resources: ['*'], verbs: ['*']}]}", make(str({"deny": {"rules": [rule]}}), "deny")
            )
            self.assertTrue(deny.may_list("node", "read"))
            if expected:
                self.assertEqual(deny.rule("node", "read", CONTEXT).role, "deny", where)
            else:
                undecided = "(" in decision.reason
                self.assertEqual(bool(deny.rule("node", "read", CONTEXT)), not undecided, (where, decision.reason))

    def test_the_user_cannot_be_replaced(self) -> None:
        """
        What a caller binds never stands for the user.
        """
        who = checker_of("allow: {rules: [{resources: [x], verbs: [read], where: 'user.metadata.name == \"eve\"'}]}")
        self.assertFalse(who.rule("x", "read", {"user": {"metadata": {"name": "eve"}}}))

    def test_can_view(self) -> None:
        """
        The caller says whether the recording's target can be seen.
        """
        who = checker_of("allow: {rules: [{resources: [session], verbs: [read], where: can_view()}]}")
        self.assertTrue(who.rule("session", "read", {"can_view": True}))
        self.assertFalse(who.rule("session", "read", {"can_view": "yes"}))


class PresetTests(SynchronousTestCase):
    """
    What a new cluster's roles open.
    """

    def setUp(self) -> None:
        self.roles = {each.name: validate.role(each) for each in (*PRESETS, IMPLICIT)}

    def who(self, name: str) -> Checker:
        """
        Somebody with one preset.
        """
        traits = {**TRAITS, "windows_logins": ("win",), "db_users": ("dbu",), "db_names": ("*",)}
        return Checker.for_identity([self.roles[name]], username="alice", traits=traits)

    def test_verbs(self) -> None:
        """
        Nobody gets more of the cluster's own resources than the table says.
        """
        for name, kind, verb, expected in MAY:
            self.assertEqual(bool(self.who(name).rule(kind, verb)), expected, (name, kind, verb))

    def test_targets(self) -> None:
        """
        Seeing and logging in are apart; who has no logins gets none from traits.
        """
        for name, sees, logs_in in LOGS_IN:
            who = self.who(name)
            self.assertEqual(bool(who.can_see_node({"any": "thing"})), sees, name)
            self.assertEqual(bool(who.node({}, "alice")), logs_in, name)
            self.assertFalse(who.node({}, "root"), name)
            self.assertEqual(who.logins(), ("alice", "ops") if logs_in else (), name)

    def test_access(self) -> None:
        """
        The holder's traits name the principals.
        """
        who = self.who("access")
        self.assertTrue(who.database({}, "dbu", "any"))
        self.assertFalse(who.database({}, "postgres", "any"))
        self.assertTrue(who.desktop({}, "win"))
        self.assertFalse(who.desktop({}, "Administrator"))
        self.assertTrue(who.options.forward_agent)
        self.assertTrue(who.rule("session", "read", {"session": {"participants": ["alice"]}}))

    def test_requests(self) -> None:
        """
        A requester may ask for what the preset names.
        """
        self.assertTrue(may_request(self.who("requester"), "access"))
        self.assertFalse(may_request(self.who("requester"), "editor"))

    def test_trusted_devices(self) -> None:
        """
        The role opens what C{access} opens, to known devices.
        """
        self.assertIs(self.who("require-trusted-device").node({}, "alice").device_trust, DeviceTrust.REQUIRED)

    def test_labels(self) -> None:
        """
        Presets are told from roles of the same name by their label.
        """
        self.assertEqual({each.metadata.labels[PRESET_LABEL] for each in PRESETS}, {"preset"})
        self.assertEqual(IMPLICIT.metadata.labels[PRESET_LABEL], "system")
        self.assertEqual(len({each.name for each in PRESETS}), len(PRESETS))

    def test_the_implicit_role_opens_no_option(self) -> None:
        """
        Beside it, another role's refusals still hold.
        """
        own = stored("options: {port_forwarding: false, record_session: {desktop: false}}", "own")
        merged = checker_of(own, self.roles[IMPLICIT.name]).options
        self.assertFalse(merged.port_forwarding)
        self.assertFalse(merged.record_desktop)
