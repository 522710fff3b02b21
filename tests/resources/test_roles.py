"""
Tests for L{teleport_tw.resources.roles} and its parts.
"""

from __future__ import annotations

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.presets import IMPLICIT, PRESETS
from teleport_tw.resources.roles import EVERYTHING, JoinMode, Principal, Role, Target
from teleport_tw.resources.roles_kube import EVERYTHING as ALL_OBJECTS
from teleport_tw.resources.roles_kube import SINGULARS, KubernetesResource


def parse(text: str, version: str = "v7") -> Role:
    """
    A role as its author wrote it.
    """
    return Role.parse(Resource("role", version, Metadata("r"), yaml.safe_load(text)))


BAD: list[tuple[str, str, str]] = [
    ("v7", "{alow: {}}", "spec.alow: is not a key known here; did you mean allow?"),
    ("v7", "{allow: []}", "spec.allow: must be a mapping"),
    ("v7", "{allow: {login: [root]}}", "spec.allow.login: is not a key known here; did you mean logins?"),
    ("v7", "{allow: {node_labels: {'*': x}}}", "spec.allow.node_labels.*: only '*': '*'"),
    ("v7", "{allow: {node_labels: {'*': ['*', x]}}}", "spec.allow.node_labels.*"),
    ("v7", "{deny: {app_labels: {'*': x}}}", "spec.deny.app_labels.*"),
    ("v7", "{allow: {node_labels: x}}", "spec.allow.node_labels: must be a mapping"),
    ("v7", "{allow: {rules: [{verbs: [read]}]}}", "spec.allow.rules[0].resources: is missing"),
    ("v7", "{allow: {rules: [{resources: [user]}]}}", "spec.allow.rules[0].verbs: is missing"),
    ("v7", "{allow: {rules: [{resources: [user], verbs: [read], when: x}]}}", "spec.allow.rules[0].when"),
    ("v7", "{allow: {kubernetes_resources: [{}]}}", "kubernetes_resources[0].kind: is missing"),
    ("v7", "{allow: {kubernetes_resources: [{kind: pods}]}}", "is not a kind that v7 knows"),
    ("v7", "{allow: {kubernetes_resources: [{kind: pod, api_group: x}]}}", "api_group: needs version v8"),
    ("v7", "{allow: {kubernetes_resources: [{kind: pod, verbs: [read]}]}}", "verbs[0]: 'read' is none of"),
    ("v6", "{allow: {kubernetes_resources: [{kind: secret}]}}", "v6 knows only pod"),
    ("v8", "{allow: {kubernetes_resources: [{kind: pod}]}}", "v8 names kinds as the API does: pods"),
    ("v8", "{allow: {kubernetes_resources: [{kind: '*'}]}}", "api_group: is missing"),
    ("v8", "{allow: {kubernetes_resources: [{kind: deployments}]}}", "api_group: is missing"),
    ("v8", "{deny: {kubernetes_resources: [{kind: widgets}]}}", "spec.deny.kubernetes_resources[0].api_group"),
    ("v9", "{}", "version: 'v9' is none of v3, v4"),
    ("v7", "{options: {max_session_ttl: soon}}", "spec.options.max_session_ttl"),
    ("v7", "{options: {max_sessions: -1}}", "spec.options.max_sessions: must be at least 0"),
    ("v7", "{options: {lock: yes}}", "spec.options.lock: must be one of"),
    ("v7", "{options: {require_session_mfa: 9}}", "spec.options.require_session_mfa"),
    ("v7", "{options: {enhanced_recording: [command, all]}}", "spec.options.enhanced_recording[1]"),
    ("v7", "{options: {cert_extensions: [{value: x}]}}", "spec.options.cert_extensions[0].name: is missing"),
    ("v7", "{options: {cert_extensions: [{name: x, type: x509}]}}", "spec.options.cert_extensions[0].type"),
    ("v7", "{options: {ssh_port_forwarding: {both: {}}}}", "spec.options.ssh_port_forwarding.both"),
    ("v7", "{options: {forward_agnt: true}}", "did you mean forward_agent?"),
    ("v7", "{allow: {join_sessions: [{name: a, modes: [boss]}]}}", "spec.allow.join_sessions[0].modes[0]"),
    ("v7", "{allow: {require_session_join: [{name: a, on_leave: cry}]}}", "on_leave: must be one of"),
    ("v7", "{allow: {require_session_join: [{name: a, count: 0}]}}", "count: must be at least 1"),
    ("v7", "{allow: {request: {reason: {mode: always}}}}", "spec.allow.request.reason.mode"),
    ("v7", "{allow: {request: {thresholds: [{approve: many}]}}}", "spec.allow.request.thresholds[0].approve"),
]


class RoleTests(SynchronousTestCase):
    """
    Reading roles.
    """

    def test_bad(self) -> None:
        """
        Every mistake names its key path.
        """
        for version, text, expected in BAD:
            error = self.assertRaises(TeleportError, parse, text, version)
            self.assertIn(expected, str(error), text)

    def test_envelope(self) -> None:
        """
        Kind and name are looked at as well.
        """
        error = self.assertRaises(TeleportError, Role.parse, Resource("user", "v7", Metadata("")))
        self.assertIn("kind: 'user' is not the kind role", str(error))
        self.assertIn("metadata.name: is missing", str(error))
        self.assertEqual(Role.parse(Resource("role", "", Metadata("r"))).version, "v7")

    def test_v3_opens_what_it_leaves_out(self) -> None:
        """
        In allow only; later versions open nothing by themselves.
        """
        role = parse("{allow: {app_labels: {a: b}}}", "v3")
        self.assertEqual(role.allow.selector(Target.NODE).labels, EVERYTHING)
        self.assertEqual(role.allow.selector(Target.APP).labels, {"a": ("b",)})
        self.assertFalse(role.allow.selector(Target.DESKTOP))
        self.assertFalse(role.deny.selector(Target.NODE))
        for version in ("v4", "v5", "v6", "v7", "v8"):
            self.assertFalse(parse("{}", version).allow.selector(Target.NODE))

    def test_kubernetes(self) -> None:
        """
        An empty list means everything, but in v6 and in deny; kinds are kept as the API has them.
        """
        for version in ("v3", "v5", "v7", "v8"):
            self.assertEqual(parse("{}", version).allow.kubernetes_resources, (ALL_OBJECTS,))
            self.assertEqual(parse("{}", version).deny.kubernetes_resources, ())
        self.assertEqual(parse("{}", "v6").allow.kubernetes_resources, ())
        for version, kind in (("v5", "pod"), ("v7", "'*'"), ("v8", "pods")):
            role = parse(f"{{allow: {{kubernetes_resources: [{{kind: {kind}, name: x}}]}}}}", version)
            self.assertEqual(role.allow.kubernetes_resources[0].name, "x")
        for kind, (plural, group) in SINGULARS.items():
            role = parse(f"{{allow: {{kubernetes_resources: [{{kind: {kind}, verbs: [get]}}]}}}}")
            wanted = KubernetesResource(kind=plural, api_group=group, verbs=("get",), contents=kind == "namespace")
            self.assertEqual(role.allow.kubernetes_resources, (wanted,))

    def test_the_rest(self) -> None:
        """
        Every part of the reference's shape is read.
        """
        role = parse(
            "{allow: {logins: root, namespaces: [default], mcp: {tools: [a]}, github_permissions: [{orgs: [o, p]}],"
            " spiffe: [{path: /x, dns_sans: [d], ip_sans: [i]}],"
            " account_assignments: [{account: a, permission_set: p}],"
            " db_permissions: [{match: {k: v}, permissions: [SELECT]}],"
            " request: {max_duration: 1h, reason: {mode: required}, kubernetes_resources: [{kind: pod}],"
            " suggested_reviewers: [b]},"
            " require_session_join:"
            " [{name: a, filter: 'true', kinds: [ssh], modes: ['*'], count: 2, on_leave: pause}]}}"
        )
        allow = role.allow
        self.assertEqual(allow.names(Principal.LOGINS), ("root",))
        self.assertEqual((allow.mcp_tools, allow.github_organizations), (("a",), ("o", "p")))
        self.assertEqual((allow.spiffe[0].path, allow.account_assignments[0].permission_set), ("/x", "p"))
        self.assertEqual(allow.db_permissions[0].match, {"k": ("v",)})
        self.assertTrue(allow.request.reason_required)
        self.assertEqual(allow.request.kubernetes_kinds, ("pod",))
        join = allow.require_session_join[0]
        self.assertEqual((join.modes, join.count, join.pause), (tuple(JoinMode), 2, True))

    def test_old_spellings(self) -> None:
        """
        Deprecated flags still say what becomes of users; the newer option wins.
        """
        for text, host, database in (
            ("{}", None, None),
            ("{create_host_user: true, create_db_user: true}", "insecure-drop", "keep"),
            ("{create_host_user: false, create_db_user: false}", "off", "off"),
            ("{create_host_user: true, create_host_user_mode: keep}", "keep", None),
            ("{create_db_user: true, create_db_user_mode: best_effort_drop}", None, "best_effort_drop"),
        ):
            options = parse(f"{{options: {text}}}").options
            found = (options.create_host_user_mode, options.create_db_user_mode)
            self.assertEqual(tuple(each and each.value for each in found), (host, database), text)
        for value, mode in (("true", 1), ("false", 0), ("'yes'", 1), ("2", 2)):
            self.assertEqual(
                int(parse(f"{{options: {{require_session_mfa: {value}}}}}").options.require_session_mfa), mode
            )

    def test_presets(self) -> None:
        """
        All can be read.
        """
        for preset in (*PRESETS, IMPLICIT):
            self.assertEqual(Role.parse(preset).name, preset.name)
