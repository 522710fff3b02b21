"""
Tests for L{teleport_tw.access.validate}, L{teleport_tw.access.patterns}, templates and the language's corners.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import languages, patterns
from teleport_tw.access.syntax import PredicateError
from teleport_tw.access.traits import apply, fill, template
from teleport_tw.base.errors import TeleportError
from tests.access.tables import TRAITS, stored, unchecked

BAD: list[tuple[str, str]] = [
    ("options: {cert_extensions: [{name: a, value: '{{x}}'}]}", "spec.options.cert_extensions"),
    ("options: {cert_extensions: [{name: a, value: '{{regexp.match(\"a\")}}'}]}", "spec.options.cert_extensions"),
    ("allow: {node_labels: {env: '^($'}}", "spec.allow.node_labels.env"),
    ("allow: {node_labels: {'{{x}}': y}}", "spec.allow.node_labels"),
    ("deny: {db_labels: {env: ['a', '{{internal.none}}']}}", "spec.deny.db_labels.env"),
    ("allow: {app_labels_expression: 'labels.a =='}", "spec.allow.app_labels_expression"),
    ("allow: {logins: ['{{external.x']}", "spec.allow.logins"),
    ("allow: {logins: ['{{regexp.match(\"a\")}}']}", "spec.allow.logins"),
    ("allow: {db_users: ['^($']}", "spec.allow.db_users"),
    ("allow: {host_sudoers: ['{{x}}']}", "spec.allow.host_sudoers"),
    ("allow: {kubernetes_resources: [{kind: pod, name: '^($'}]}", "spec.allow.kubernetes_resources[0]"),
    ("allow: {kubernetes_resources: [{kind: pod}, {kind: pod, namespace: '{{x}}'}]}",
     "spec.allow.kubernetes_resources[1]"),
    ("allow: {db_permissions: [{match: {a: '^($'}, permissions: [SELECT]}]}", "spec.allow.db_permissions[0].match.a"),
    ("allow: {mcp: {tools: ['^($']}}", "spec.allow.mcp.tools"),
    ("allow: {github_permissions: [{orgs: ['{{x}}']}]}", "spec.allow.github_permissions"),
    ("allow: {rules: [{resources: [a], verbs: [b], where: x}]}", "spec.allow.rules[0].where"),
    ("deny: {rules: [{resources: [a], verbs: [b], where: 'contains(1)'}]}", "spec.deny.rules[0].where"),
    ("allow: {impersonate: {users: ['^($']}}", "spec.allow.impersonate.users"),
    ("allow: {impersonate: {roles: ['^($']}}", "spec.allow.impersonate.roles"),
    ("allow: {impersonate: {where: x}}", "spec.allow.impersonate.where"),
    ("allow: {request: {roles: ['^($']}}", "spec.allow.request.roles"),
    ("allow: {request: {roles: ['{{external.team}}']}}", "spec.allow.request.roles"),
    ("allow: {request: {roles: ['{{regexp.match(\"(\")}}']}}", "spec.allow.request.roles"),
    ("allow: {request: {search_as_roles: ['^($']}}", "spec.allow.request.search_as_roles"),
    ("allow: {request: {claims_to_roles: [{claim: a, value: '^($', roles: [x]}]}}",
     "spec.allow.request.claims_to_roles[0].value"),
    ("allow: {request: {claims_to_roles: [{claim: a, value: b, roles: ['^($)']}, {claim: a, value: b, roles: ['^(^']},"
     " {claim: a, value: b, roles: ['^[^', '{{external.x}}']}]}}", "spec.allow.request.claims_to_roles[2].roles"),
    ("allow: {request: {annotations: {a: '{{x}}'}}}", "spec.allow.request.annotations.a"),
    ("allow: {request: {thresholds: [{filter: x}]}}", "spec.allow.request.thresholds[0].filter"),
    ("allow: {review_requests: {roles: ['^($']}}", "spec.allow.review_requests.roles"),
    ("allow: {review_requests: {preview_as_roles: ['^($']}}", "spec.allow.review_requests.preview_as_roles"),
    ("allow: {review_requests: {claims_to_roles: [{claim: a, value: '^($', roles: [x]}]}}",
     "spec.allow.review_requests.claims_to_roles[0].value"),
    ("allow: {review_requests: {where: x}}", "spec.allow.review_requests.where"),
    ("allow: {require_session_join: [{name: a, filter: x}]}", "spec.allow.require_session_join[0].filter"),
    ("allow: {join_sessions: [{name: a, roles: ['^($']}]}", "spec.allow.join_sessions[0].roles"),
    ("deny: {group_labels_expression: '" + "(" * 70 + "'}", "spec.deny.group_labels_expression"),
    ("allow: {logins: ['" + "a" * 5000 + "']}", "spec.allow.logins"),
]  # fmt: skip

TEMPLATES: list[tuple[str, tuple[str, ...]]] = [
    ("", ("",)),
    (" {{external.team}} ", ("red", "blue")),
    ("{{ external.team }}", ("red", "blue")),
    ("{{external[\"team\"]}}", ("red", "blue")),
    ("{{external['urn:x']}}", ("v",)),
    ("{{external[`urn:x`]}}", ("v",)),
    ("{{external.team.x}}", ()),
    ("{{internal[\"logins\"]}}", ("alice", "ops")),
    ("{{regexp.replace(external.team, \"^b(.*)$\", \"$1\")}}", ("lue",)),
    ("{{regexp.replace(external.team, \"^none$\", \"x\")}}", ()),
    ("{{regexp.replace(external.team, \"(\", \"x\")}}", ()),
    ("{{regexp.replace(external.team, external.x, \"x\")}}", ()),
    ("{{regexp.replace(external.team, \"e\", external.x)}}", ()),
    ("{{regexp.replace(email.local(external.email), \"^(?P<first>.)\", \"${first}-\")}}", ("a-l",)),
    ("{{regexp.replace(external.team, \"^(r)(x)?.*$\", \"$1$2$3${9}\")}}", ("r",)),
    ("{{regexp.replace(external.team, \"e\", \"\ud800\")}}", ()),
    ("{{email.local(external.none)}}", ()),
    ("{{email.local(external.team)}}", ()),
    ("{{email.local()}}", ()),
    ("{{regexp.match(\"r\")}}", ()),
    ("{{strings.upper(external.team)}}", ()),
    ("{{\"x\"}}", ()),
    ("}}{{", ()),
    ("a}}", ()),
    ("{{external.team}}x}", ()),
]  # fmt: skip

QUERIES: list[tuple[str, bool]] = [
    ('search("WEB", "prod")', True),
    ('search("db")', False),
    ('exists(labels["env"])', True),
    ('exists(labels["none"])', False),
    ('hasPrefix(name, "web")', True),
    ('contains(split(labels["list"], ","), "b")', True),
    ('split(labels["list"], "") == ["a"]', False),
    ('equals(name, "web-1") && labels.env != "dev"', True),
    ('resource.spec.hostname == "web-1"', True),
    ('regexp.match(name, "x")', False),
]


class ValidateTests(SynchronousTestCase):
    """
    Nothing that means nothing is stored.
    """

    def test_bad(self) -> None:
        """
        Each mistake is refused by its key path.
        """
        for text, path in BAD:
            error = self.assertRaises(TeleportError, stored, text)
            self.assertIn(f"{path}: ", str(error), text)
            self.assertIn("role 'r': spec.", str(error))

    def test_all_at_once(self) -> None:
        """
        An author reads every mistake in one go.
        """
        error = self.assertRaises(TeleportError, stored, "{allow: {db_users: ['^($'], db_names: ['^[$']}}")
        self.assertIn("spec.allow.db_users", str(error))
        self.assertIn("spec.allow.db_names", str(error))

    def test_good(self) -> None:
        """
        What the language allows passes.
        """
        stored(
            "{options: {cert_extensions: [{name: login@github.com, value: '{{external.github}}'}]},"
            " allow: {logins: ['{{internal.logins}}', root], host_sudoers: ['ALL=(ALL) ALL: ^(*$'],"
            " request: {roles: ['{{regexp.not_match(\"^a\")}}', 'x*'], annotations: {a: ['{{external.x}}']},"
            " claims_to_roles: [{claim: a, value: '^(.*)$', roles: ['$1(', y]}]},"
            " join_sessions: [{name: a, roles: ['*']}]}}"
        )


class TemplateTests(SynchronousTestCase):
    """
    Templates in their corners.
    """

    def test_fill(self) -> None:
        """
        What cannot be filled disappears.
        """
        for text, expected in TEMPLATES:
            self.assertEqual(fill(text, TRAITS), expected, text)

    def test_what_does_not_ask_matches_nothing(self) -> None:
        """
        A template that is to be filled is no question.
        """
        found = template("{{external.team}}")
        self.assertFalse(found is None or found.asks or found.matches("red"))

    def test_apply(self) -> None:
        """
        Every list of the role is filled; a login that no system could have is left out.
        """
        role = unchecked(
            "{options: {cert_extensions: [{name: a, value: '{{external.team}}'},"
            " {name: b, value: '{{external.none}}'}]},"
            " allow: {logins: ['{{external.odd}}'], mcp: {tools: ['{{external.team}}']},"
            " windows_desktop_logins: ['{{external.odd}}'], github_permissions: [{orgs: ['{{external.team}}']}],"
            " impersonate: {users: ['{{external.team}}']}, request: {annotations: {a: ['{{external.team}}', x]}},"
            " kubernetes_resources: [{kind: pod, namespace: '{{external.team}}', name: 'p-{{external.team}}'}]}}"
        )
        odd = ("ok", "-oProxyCommand=x", "a b", "a:b", "../x", "", "a\n", "DOM\\user", "x@y")
        filled = apply(role, {"team": ("red", "blue"), "odd": odd})
        self.assertEqual([each.value for each in filled.options.cert_extensions], ["red"])
        self.assertEqual(filled.allow.names(_principal("logins")), ("ok", "DOM\\user", "x@y"))
        self.assertEqual(len(filled.allow.names(_principal("windows_desktop_logins"))), len(odd) - 1)
        self.assertEqual(filled.allow.mcp_tools, ("red", "blue"))
        self.assertEqual(filled.allow.github_organizations, ("red", "blue"))
        self.assertEqual(filled.allow.impersonate.users, ("red", "blue"))
        self.assertEqual(filled.allow.request.annotations, {"a": ("red", "blue", "x")})
        self.assertEqual(
            [(each.namespace, each.name) for each in filled.allow.kubernetes_resources],
            [("red", "p-red"), ("red", "p-blue"), ("blue", "p-red"), ("blue", "p-blue")],
        )


def _principal(key: str) -> object:
    from teleport_tw.resources.roles import Principal

    return Principal(key)


class PatternTests(SynchronousTestCase):
    """
    Literals, globs and regular expressions.
    """

    @given(st.text(alphabet="ab*.\n", max_size=8), st.text(alphabet="ab.\n", max_size=10))
    def test_globs_mean_what_re2_says(self, pattern: str, text: str) -> None:
        """
        The short way for globs agrees with the long one.
        """
        self.assertEqual(patterns.matches(pattern, text), patterns.search(patterns.compiled(pattern), text))

    def test_bounds(self) -> None:
        """
        Patterns and texts that are too long match nothing, and what is no text does not hurt.
        """
        self.assertRaises(TeleportError, patterns.matches, "a" * 5000, "b")
        self.assertRaises(TeleportError, patterns.matches, "^" + "a" * 5000 + "$", "b")
        self.assertFalse(patterns.matches("a*", "a" * 70000))
        self.assertFalse(patterns.matches("^a*$", "a" * 70000))
        self.assertFalse(patterns.matches("^.$", "\ud800"))
        self.assertRaises(TeleportError, patterns.regular, "\ud800")
        self.assertRaises(TeleportError, patterns.replaced, patterns.regular("a"), "\ud800", "a")
        self.assertFalse(patterns.any_matches(["^($"], "x"))
        self.assertTrue(patterns.any_matches(["^($", "x"], "x"))
        self.assertTrue(patterns.any_matches(["^($"], "x", broken=True))
        self.assertEqual(patterns.trouble(["a", "b*"]), "")


class LanguageTests(SynchronousTestCase):
    """
    Dialects in their corners.
    """

    def test_queries(self) -> None:
        """
        C{--query} over a resource.
        """
        bindings = {
            "name": "web-1",
            "hostname": "web-1",
            "labels": {"env": "prod", "list": "a,b"},
            "resource": {"spec": {"hostname": "web-1"}},
        }
        for text, expected in QUERIES:
            try:
                found = languages.compiled(languages.QUERY, text).holds(bindings)
            except PredicateError:
                found = False
            self.assertEqual(found, expected, text)

    def test_errors_say_where(self) -> None:
        """
        The character is counted from one.
        """
        for text, part in (
            ('labels.a == "b" ?', "at character 17"),
            ("labels.", "a name is missing at character 8"),
            ("labels[1]", "a quoted key is missing"),
            ("contains(labels.a", ", is missing"),
            ('(labels.a == "b"', ") is missing"),
            ("", "before the end"),
            ("labels['a'](", "is not expected"),
            ("!" * 70 + "true", "nested deeper"),
            ("other.a", "is not known in a labels expression"),
        ):
            error = self.assertRaises(PredicateError, languages.compiled, languages.LABELS, text)
            self.assertIn(part, str(error), text)

    def test_strings(self) -> None:
        """
        Three quotes, escapes in two of them.
        """
        for text in ('"a\\"b\\n" == \'a"b\\n\'', "`a\\n` == 'a\\\\n'", "'\\x' == \"x\"", "1 == 1", "[] == set()"):
            self.assertTrue(languages.compiled(languages.LABELS, text).holds({}), text)

    def test_lists_of_what_are_no_strings(self) -> None:
        """
        A resource may hold anything; comparing it ends in an error of ours.
        """
        expression = languages.compiled(languages.WHERE, "resource.spec.rules == resource.spec.rules")
        self.assertRaises(PredicateError, expression.holds, {"resource": {"spec": {"rules": [{"a": 1}, {"b": 2}]}}})

    def test_the_other_functions(self) -> None:
        """
        Each on texts and lists.
        """
        for text in (
            'strings.upper("a") == ["A"]',
            'strings.lower("A") == ["a"]',
            'regexp.replace("abc", "b", "-") == ["a-c"]',
            'email.local("a@b") == ["a"]',
            'email.local("a b@c") == []',
            'equals(["a", "b"], ["b", "a"])',
            '"a" != "b"',
        ):
            self.assertTrue(languages.compiled(languages.LABELS, text).holds({}), text)
