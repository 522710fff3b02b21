"""
Tests for L{teleport_tw.access.kube}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.kube import KubernetesObject, decide
from teleport_tw.resources.roles_options import DeviceTrust, SessionMFA
from tests.access.tables import checker_of, stored, unchecked

O = KubernetesObject  # noqa: E741
POD = O(kind="pods", name="web-1", namespace="dev")

RESOURCES: list[tuple[str, str, KubernetesObject, str, bool]] = [
    ("v7", "[]", POD, "get", True),
    ("v7", "[]", O(kind="widgets", name="w", namespace="dev", api_group="acme.com"), "delete", True),
    ("v6", "[]", POD, "get", False),
    ("v6", "[{kind: pod, namespace: dev, name: 'web-*'}]", POD, "exec", True),
    ("v6", "[{kind: pod, namespace: dev, name: 'db-*'}]", POD, "get", False),
    ("v7", "[{kind: pod, namespace: dev, name: 'web-*', verbs: [get]}]", POD, "get", True),
    ("v7", "[{kind: pod, namespace: dev, name: 'web-*', verbs: [get]}]", POD, "exec", False),
    ("v7", "[{kind: pod, verbs: []}]", POD, "get", False),
    (
        "v7",
        "[{kind: pod, namespace: dev, name: 'web-*', verbs: ['*']}]",
        O(kind="pod", name="web-1", namespace="dev"),
        "get",
        True,
    ),
    ("v7", "[{kind: pod, namespace: prod, verbs: ['*']}]", POD, "get", False),
    ("v7", "[{kind: pod, namespace: '^d.v$', verbs: ['*']}]", POD, "get", True),
    ("v7", "[{kind: secret, verbs: ['*']}]", POD, "get", False),
    (
        "v7",
        "[{kind: service, verbs: ['*']}]",
        O(kind="services", name="s", namespace="d", api_group="serving.knative.dev"),
        "get",
        False,
    ),
    (
        "v7",
        "[{kind: deployment, verbs: ['*']}]",
        O(kind="deployments", name="s", namespace="d", api_group="apps"),
        "get",
        True,
    ),
    ("v7", "[{kind: deployment, verbs: ['*']}]", O(kind="deployment", name="s", namespace="d"), "get", True),
    ("v7", "[{kind: kube_node, verbs: ['*']}]", O(kind="nodes", name="n"), "get", True),
    ("v7", "[{kind: kube_node, namespace: dev, verbs: ['*']}]", O(kind="nodes", name="n"), "get", True),
    ("v7", "[{kind: '*', namespace: dev, verbs: ['*']}]", O(kind="nodes", name="n"), "get", False),
    ("v7", "[{kind: '*', verbs: ['*']}]", O(kind="nodes", name="n"), "get", True),
    ("v7", "[{kind: '*', namespace: dev, verbs: ['*']}]", POD, "get", True),
    ("v7", "[{kind: namespace, name: dev, verbs: ['*']}]", POD, "get", True),
    ("v7", "[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="namespaces", name="dev"), "get", True),
    ("v7", "[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="namespaces", name="prod"), "get", False),
    ("v7", "[{kind: namespace, name: prod, verbs: ['*']}]", POD, "get", False),
    ("v7", "[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="nodes", name="n"), "get", False),
    ("v7", "[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="pods"), "list", False),
    ("v7", "[{kind: pod, namespace: dev, verbs: ['*']}]", O(kind="pods"), "list", False),
    ("v7", "[{kind: pod, namespace: dev, verbs: ['*']}]", O(kind="pods", namespace="dev"), "list", True),
    (
        "v7",
        "[{kind: pod, namespace: dev, name: 'web-*', verbs: ['*']}]",
        O(kind="pods", namespace="dev"),
        "list",
        False,
    ),
    ("v7", "[{kind: pod, verbs: ['*']}]", O(kind="pods"), "list", True),
    (
        "v7",
        "[{kind: pod, namespace: '{{external.team}}', verbs: ['*']}]",
        O(kind="pods", name="p", namespace="red"),
        "get",
        True,
    ),
    (
        "v7",
        "[{kind: pod, namespace: '{{external.none}}', verbs: ['*']}]",
        O(kind="pods", name="p", namespace="red"),
        "get",
        False,
    ),
    ("v8", "[{kind: pods, namespace: dev, name: '*', verbs: [get]}]", POD, "get", True),
    ("v8", "[{kind: namespaces, name: dev, verbs: ['*']}]", POD, "get", False),
    ("v8", "[{kind: namespaces, name: dev, verbs: ['*']}]", O(kind="namespaces", name="dev"), "get", True),
    (
        "v8",
        "[{kind: deployments, api_group: apps, verbs: ['*']}]",
        O(kind="deployments", name="d", namespace="x", api_group="apps"),
        "get",
        True,
    ),
    (
        "v8",
        "[{kind: deployments, api_group: apps, verbs: ['*']}]",
        O(kind="deployments", name="d", namespace="x", api_group="other"),
        "get",
        False,
    ),
    (
        "v8",
        "[{kind: deployments, api_group: '*', verbs: ['*']}]",
        O(kind="deployments", name="d", namespace="x", api_group="other"),
        "get",
        True,
    ),
    (
        "v8",
        "[{kind: widgets, api_group: '*.acme.com', verbs: ['*']}]",
        O(kind="widgets", name="w", namespace="x", api_group="a.acme.com"),
        "get",
        True,
    ),
    ("v8", "[{kind: '*', api_group: '*', verbs: ['*']}]", POD, "portforward", True),
    ("v8", "[{kind: '*', api_group: apps, verbs: ['*']}]", POD, "get", False),
    ("v8", "[{kind: events, verbs: ['*']}]", O(kind="events", name="e", namespace="x"), "get", True),
]

DENIED: list[tuple[str, KubernetesObject, str, bool]] = [
    ("[{kind: secret, verbs: ['*']}]", O(kind="secrets", name="s", namespace="dev"), "get", True),
    ("[{kind: secret, verbs: ['*']}]", POD, "get", False),
    ("[{kind: secret, verbs: [get]}]", O(kind="secrets", name="s", namespace="dev"), "delete", False),
    ("[{kind: secret, namespace: prod, verbs: ['*']}]", O(kind="secrets", name="s", namespace="dev"), "get", False),
    ("[{kind: secret, namespace: prod, verbs: ['*']}]", O(kind="secrets"), "list", True),
    ("[{kind: secret, name: admin, verbs: ['*']}]", O(kind="secrets", namespace="dev"), "list", True),
    ("[{kind: namespace, name: dev, verbs: ['*']}]", POD, "get", True),
    ("[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="pods"), "list", True),
    ("[{kind: namespace, name: dev, verbs: ['*']}]", O(kind="nodes", name="n"), "get", False),
    ("[{kind: '*', namespace: prod, verbs: ['*']}]", O(kind="nodes", name="n"), "get", False),
    ("[{kind: '*', verbs: [exec]}]", POD, "exec", True),
]


class KubernetesTests(SynchronousTestCase):
    """
    Objects by table.
    """

    def test_allow(self) -> None:
        """
        Kind, group, namespace, name and verb must all fit one entry.
        """
        for version, text, wanted, verb, expected in RESOURCES:
            role = stored(f"allow: {{kubernetes_labels: {{'*': '*'}}, kubernetes_resources: {text}}}", "k", version)
            decision = decide(checker_of(role), {}, wanted, verb)
            self.assertEqual(decision.allowed, expected, (version, text, wanted, verb, decision.reason))
            if not expected:
                self.assertIn(f"does not allow {verb} on {wanted.as_api().kind}", decision.reason)

    def test_deny(self) -> None:
        """
        One entry that fits, or that might be among what was asked for, refuses.
        """
        everything = stored("allow: {kubernetes_labels: {'*': '*'}}", "all")
        for text, wanted, verb, expected in DENIED:
            deny = stored(f"deny: {{kubernetes_resources: {text}}}", "deny")
            decision = decide(checker_of(everything, deny), {}, wanted, verb)
            self.assertEqual(decision.allowed, not expected, (text, wanted, decision.reason))
            self.assertEqual(decision.role, "deny" if expected else "all")

    def test_cluster_first(self) -> None:
        """
        Objects of a cluster that is not reached are not looked at, and roles of other clusters do not help.
        """
        dev = stored("allow: {kubernetes_labels: {env: dev}, kubernetes_resources: [{kind: pod, verbs: [get]}]}", "dev")
        prod = stored("allow: {kubernetes_labels: {env: prod}}", "prod")
        who = checker_of(dev, prod)
        self.assertFalse(decide(who, {"env": "qa"}, POD, "get"))
        self.assertFalse(decide(who, {"env": "dev"}, POD, "exec"))
        self.assertTrue(decide(who, {"env": "prod"}, POD, "exec"))

    def test_requirements_are_kept(self) -> None:
        """
        The cluster's demands on second factor and device hold for its objects.
        """
        strict = "options: {require_session_mfa: yes, device_trust_mode: required}"
        decision = decide(checker_of(f"{{{strict}, allow: {{kubernetes_labels: {{'*': '*'}}}}}}"), {}, POD, "get")
        self.assertIs(decision.mfa, SessionMFA.YES)
        self.assertIs(decision.device_trust, DeviceTrust.REQUIRED)

    def test_broken_patterns(self) -> None:
        """
        They open nothing, shut everything of their kind, and are told.
        """
        bad = "kubernetes_resources: [{kind: pod, name: '^($', verbs: ['*']}]"
        allow = decide(checker_of(unchecked(f"allow: {{kubernetes_labels: {{'*': '*'}}, {bad}}}")), {}, POD, "get")
        self.assertFalse(allow)
        self.assertIn("regular expression", allow.reason)
        everything = stored("allow: {kubernetes_labels: {'*': '*'}}", "all")
        deny = decide(checker_of(everything, unchecked(f"deny: {{{bad}}}", "deny")), {}, POD, "get")
        self.assertFalse(deny)
        self.assertIn("regular expression", deny.reason)
