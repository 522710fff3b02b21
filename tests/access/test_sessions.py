"""
Tests for L{teleport_tw.access.sessions}, L{teleport_tw.access.hostusers} and L{teleport_tw.access.impersonation}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.hostusers import HostUser, host_user
from teleport_tw.access.impersonation import may_impersonate
from teleport_tw.access.sessions import Participant, counts, join_modes, may_list, moderated, modes_of, presence
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.roles import JoinMode
from teleport_tw.resources.roles_options import HostUserMode
from tests.access.tables import checker_of, stored, unchecked

O, P, M = JoinMode.OBSERVER, JoinMode.PEER, JoinMode.MODERATOR  # noqa: E741

JOINS: list[tuple[str, list[str], str, set[JoinMode]]] = [
    ("{}", ["dev"], "ssh", set()),
    ("allow: {join_sessions: [{name: j, roles: [dev], kinds: [ssh], modes: [peer]}]}", ["dev"], "ssh", {P}),
    ("allow: {join_sessions: [{name: j, roles: [dev], kinds: [ssh]}]}", ["dev"], "ssh", {O}),
    ("allow: {join_sessions: [{name: j, roles: [dev], kinds: [ssh], modes: ['*']}]}", ["dev"], "ssh", {O, P, M}),
    ("allow: {join_sessions: [{name: j, roles: [dev], kinds: [k8s], modes: [peer]}]}", ["dev"], "ssh", set()),
    ("allow: {join_sessions: [{name: j, roles: [dev], kinds: ['*'], modes: [peer]}]}", ["dev"], "k8s", {P}),
    ("allow: {join_sessions: [{name: j, roles: [dev], modes: [peer]}]}", ["dev"], "ssh", set()),
    ("allow: {join_sessions: [{name: j, roles: ['d*'], kinds: [ssh], modes: [peer]}]}", ["x", "dev"], "ssh", {P}),
    ("allow: {join_sessions: [{name: j, roles: ['^d.*$'], kinds: [ssh], modes: [peer]}]}", ["xdev"], "ssh", set()),
    ("{allow: {join_sessions: [{roles: ['*'], kinds: [ssh], modes: [peer, observer]}]},"
     " deny: {join_sessions: [{roles: [dev], kinds: [ssh], modes: [peer]}]}}", ["dev"], "ssh", {O}),
    ("{allow: {join_sessions: [{roles: ['*'], kinds: [ssh], modes: [peer]}]},"
     " deny: {join_sessions: [{roles: [prod], kinds: [ssh], modes: [peer]}]}}", ["dev"], "ssh", {P}),
]  # fmt: skip

ANYONE = "{name: any, kinds: [ssh], modes: [peer]}"
BOSS = "{name: boss, filter: 'contains(user.spec.roles, \"boss\")', kinds: [ssh], modes: [moderator], on_leave: pause}"
TWO = "{name: two, kinds: ['*'], modes: [observer, moderator], count: 2}"
NAMED = (
    '{name: named, filter: \'user.name == "bob" && !equals(user.metadata.name, "eve")\', kinds: [ssh], modes: [peer]}'
)
NONSENSE = "{name: odd, filter: user.name, kinds: [ssh], modes: [peer]}"

Presences = list[tuple[str, list[tuple[str, JoinMode]], bool, tuple[str, ...], bool]]
PRESENCE: Presences = [
    ("[]", [], True, (), False),
    (f"[{ANYONE}]", [], False, ("any",), False),
    (f"[{ANYONE}]", [("bob", P)], True, (), False),
    (f"[{ANYONE}]", [("bob", O)], False, ("any",), False),
    (f"[{BOSS}]", [("bob", M)], False, ("boss",), True),
    (f"[{BOSS}]", [("boss", M)], True, (), False),
    (f"[{BOSS}]", [("boss", P)], False, ("boss",), True),
    (f"[{BOSS}, {ANYONE}]", [("bob", P)], True, (), False),
    (f"[{BOSS}, {ANYONE}]", [], False, ("boss", "any"), True),
    (f"[{TWO}]", [("a", O)], False, ("two",), False),
    (f"[{TWO}]", [("a", O), ("b", M)], True, (), False),
    (f"[{NAMED}]", [("bob", P)], True, (), False),
    (f"[{NAMED}]", [("eve", P)], False, ("named",), False),
    (f"[{NONSENSE}]", [("bob", P)], False, ("odd",), False),
    ("[{name: k, kinds: [k8s], modes: [peer]}]", [], True, (), False),
]


def people(*names: tuple[str, JoinMode]) -> list[Participant]:
    """
    Each holds a role of its own name.
    """
    return [Participant(username=name, roles=(name,), traits={}, mode=mode) for name, mode in names]


class SessionTests(SynchronousTestCase):
    """
    Joining and moderation.
    """

    def test_joining(self) -> None:
        """
        Modes are collected over policies, and denied ones taken off.
        """
        for text, owner, kind, expected in JOINS:
            self.assertEqual(join_modes([stored(text)], owner, kind), expected, (text, owner, kind))

    def test_who_may_join_may_list(self) -> None:
        """
        Whatever rules say.
        """
        joiner = [stored("allow: {join_sessions: [{name: j, roles: [dev], kinds: [ssh], modes: [peer]}]}")]
        self.assertTrue(may_list(joiner, ["dev"], "ssh", by_rules=False))
        self.assertFalse(may_list(joiner, ["prod"], "ssh", by_rules=False))
        self.assertTrue(may_list(joiner, ["prod"], "ssh", by_rules=True))

    def test_broken_patterns(self) -> None:
        """
        They let nobody join, and take every mode they name away.
        """
        bad = "join_sessions: [{roles: ['^($'], kinds: [ssh], modes: [peer]}]"
        self.assertEqual(join_modes([unchecked(f"allow: {{{bad}}}")], ["dev"], "ssh"), set())
        wide = stored("allow: {join_sessions: [{roles: ['*'], kinds: [ssh], modes: [peer, observer]}]}")
        self.assertEqual(join_modes([wide, unchecked(f"deny: {{{bad}}}")], ["dev"], "ssh"), {O})

    def test_presence(self) -> None:
        """
        Any policy of a role is enough.
        """
        for policies, names, satisfied, missing, pause in PRESENCE:
            owner = stored(f"allow: {{require_session_join: {policies}}}")
            found = presence([owner], "ssh", people(*names))
            self.assertEqual((found.satisfied, found.missing, found.pause), (satisfied, missing, pause), policies)

    def test_every_role_must_be_satisfied(self) -> None:
        """
        Roles are ANDed, and those before v5 ask for nobody.
        """
        one = stored(f"allow: {{require_session_join: [{ANYONE}]}}", "one")
        two = stored(f"allow: {{require_session_join: [{TWO}]}}", "two")
        old = stored(f"allow: {{require_session_join: [{BOSS}]}}", "old", "v4")
        self.assertEqual(presence([one, two, old], "ssh", people(("a", P))).missing, ("two",))
        self.assertTrue(presence([one, two, old], "ssh", people(("a", P), ("b", O), ("c", M))).satisfied)

    def test_nobody_counts_twice_and_the_owner_never(self) -> None:
        """
        One person in two windows is one person, and nobody watches over themselves.
        """
        two = stored(f"allow: {{require_session_join: [{TWO}]}}")
        self.assertFalse(presence([two], "ssh", people(("a", O), ("a", M))).satisfied)
        anyone = stored(f"allow: {{require_session_join: [{ANYONE}]}}")
        self.assertFalse(presence([anyone], "ssh", people(("own", P)), owner="own").satisfied)
        self.assertTrue(presence([anyone], "ssh", people(("own", P), ("b", P)), owner="own").satisfied)

    def test_what_is_required_is_told(self) -> None:
        """
        In words, with the filter and the policy's name where there is one.
        """
        found = presence([stored(f"allow: {{require_session_join: [{BOSS}, {TWO}]}}")], "ssh", ())
        boss = '1 moderator where contains(user.spec.roles, "boss") (boss)'
        self.assertEqual(found.required, (boss, "2 observer or moderator (two)"))
        unnamed = stored("allow: {require_session_join: [{kinds: [ssh], modes: [peer]}]}")
        self.assertEqual(presence([unnamed], "ssh", ()).required, ("1 peer",))

    def test_a_session_pauses_only_where_every_role_says_so(self) -> None:
        """
        One role that ends it is enough.
        """
        pausing = stored(f"allow: {{require_session_join: [{BOSS}]}}", "pausing")
        ending = stored(f"allow: {{require_session_join: [{ANYONE}]}}", "ending")
        self.assertFalse(presence([pausing, ending], "ssh", ()).pause)
        self.assertTrue(presence([pausing, ending], "ssh", people(("b", P))).pause)

    def test_moderated(self) -> None:
        """
        A policy for the kind, in a role that is new enough.
        """
        self.assertTrue(moderated([stored("{}"), stored(f"allow: {{require_session_join: [{ANYONE}]}}")], "ssh"))
        self.assertFalse(moderated([stored(f"allow: {{require_session_join: [{ANYONE}]}}")], "k8s"))
        self.assertFalse(moderated([stored(f"allow: {{require_session_join: [{ANYONE}]}}", "old", "v4")], "ssh"))

    def test_who_counts(self) -> None:
        """
        By mode and filter, be there enough or not.
        """
        owner = stored(f"allow: {{require_session_join: [{TWO}, {NAMED}]}}")
        for name, mode, wanted in (("a", O, True), ("a", P, False), ("bob", P, True)):
            [someone] = people((name, mode))
            self.assertEqual(counts([stored("{}"), owner], "ssh", someone), wanted, (name, mode))
        self.assertFalse(counts([stored("{}")], "ssh", someone))

    def test_the_owner_joins_their_own(self) -> None:
        """
        In another window, by no role, and as no moderator.
        """
        self.assertEqual(modes_of("alice", [stored("{}")], "alice", ["dev"], "ssh"), {P, O})
        joiner = [stored("allow: {join_sessions: [{name: j, roles: [dev], kinds: [ssh], modes: [moderator]}]}")]
        self.assertEqual(modes_of("bob", joiner, "alice", ["dev"], "ssh"), {M})
        self.assertEqual(modes_of("bob", joiner, "alice", ["prod"], "ssh"), frozenset())


KEEP, DROP = HostUserMode.KEEP, HostUserMode.INSECURE_DROP
ALL = "node_labels: {'*': '*'}"

HOST_USERS: list[tuple[list[str], HostUser | None]] = [
    ([f"allow: {{{ALL}}}"], None),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}}}}}"], HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user_mode: off}}, allow: {{{ALL}}}}}"], None),
    ([f"{{options: {{create_host_user_mode: drop}}, allow: {{{ALL}}}}}"], HostUser(mode=DROP)),
    ([f"{{options: {{create_host_user_mode: 3}}, allow: {{{ALL}}}}}"], HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user: true}}, allow: {{{ALL}}}}}"], HostUser(mode=DROP)),
    ([f"{{options: {{create_host_user: false}}, allow: {{{ALL}}}}}"], None),
    (["{options: {create_host_user_mode: keep}, allow: {node_labels: {env: other}}}"], None),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}}}}}", "allow: {node_labels: {env: other}}"],
     HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}}}}}", f"allow: {{{ALL}}}"], None),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}}}}}",
      f"{{options: {{create_host_user_mode: insecure-drop}}, allow: {{{ALL}}}}}"], HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user_mode: keep, create_host_user_default_shell: /bin/zsh}}, allow: {{{ALL},"
      " host_groups: [wheel, dev, wheel], host_sudoers: ['ALL=(ALL) NOPASSWD: /bin/ls *']}}"],
     HostUser(mode=KEEP, groups=("wheel", "dev"), sudoers=("ALL=(ALL) NOPASSWD: /bin/ls *",), shell="/bin/zsh")),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: [wheel, dev],"
      " host_sudoers: [a, b]}}",
      "deny: {host_groups: ['w*'], host_sudoers: [a]}"], HostUser(mode=KEEP, groups=("dev",), sudoers=("b",))),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: [wheel], host_sudoers: [a, b]}}}}",
      "deny: {host_groups: ['*'], host_sudoers: ['*']}"], HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: [wheel]}}}}",
      "deny: {node_labels: {env: other}, host_groups: [wheel]}"], HostUser(mode=KEEP, groups=("wheel",))),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: [wheel]}}}}",
      "deny: {node_labels: {env: dev}, host_groups: [wheel]}"], HostUser(mode=KEEP)),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: ['{{{{external.team}}}}']}}}}"],
     HostUser(mode=KEEP, groups=("red", "blue"))),
    ([f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}}}}}",
      "{options: {create_host_user_mode: keep, create_host_user_default_shell: /bin/x}, allow: {node_labels: {a: b}}}"],
     HostUser(mode=KEEP)),
]  # fmt: skip


class HostUserTests(SynchronousTestCase):
    """
    Unix users made for a session.
    """

    def test_table(self) -> None:
        """
        All roles that match the node must ask for it; groups and sudoers come from those alone.
        """
        for roles, expected in HOST_USERS:
            self.assertEqual(host_user(checker_of(*roles), {"env": "dev"}), expected, roles)

    def test_broken_deny(self) -> None:
        """
        A deny that cannot be read leaves no group.
        """
        keep = stored(f"{{options: {{create_host_user_mode: keep}}, allow: {{{ALL}, host_groups: [wheel]}}}}")
        found = host_user(checker_of(keep, unchecked("deny: {host_groups: ['^($']}")), {})
        self.assertEqual(found, HostUser(mode=KEEP))


IMPERSONATES: list[tuple[str, str, list[str], bool]] = [
    ("allow: {impersonate: {users: [bot], roles: [ci]}}", "bot", ["ci"], True),
    ("allow: {impersonate: {users: [bot], roles: [ci]}}", "bot", ["ci", "admin"], False),
    ("allow: {impersonate: {users: [bot], roles: [ci]}}", "eve", ["ci"], False),
    ("allow: {impersonate: {users: ['b*'], roles: ['^c.$']}}", "bot", ["ci"], True),
    ("allow: {impersonate: {users: [bot]}}", "bot", [], True),
    ("allow: {impersonate: {users: [bot]}}", "bot", ["ci"], False),
    ("allow: {impersonate: {roles: ['*']}}", "bot", ["ci"], False),
    ("allow: {impersonate: {users: ['{{external.team}}'], roles: ['*']}}", "red", ["ci"], True),
    ("allow: {impersonate: {users: ['*'], roles: ['*'], where: 'impersonate_user.metadata.labels.kind == \"bot\"'}}",
     "bot", ["ci"], True),
    ("allow: {impersonate: {users: ['*'], roles: ['*'], where: 'impersonate_user.metadata.name == \"x\"'}}",
     "bot", ["ci"], False),
    ("allow: {impersonate: {users: ['*'], roles: ['*'], where:"
     " 'contains(user.spec.traits.team, impersonate_role.metadata.labels.team)'}}", "bot", ["ci"], True),
    ("allow: {impersonate: {users: ['*'], roles: ['*'], where:"
     " 'contains(user.spec.traits.team, impersonate_role.metadata.labels.team)'}}", "bot", [], False),
    ("allow: {impersonate: {users: ['*'], roles: ['*'], where: user.metadata.name}}", "bot", ["ci"], False),
    ("{allow: {impersonate: {users: ['*'], roles: ['*']}}, deny: {impersonate: {users: [bot]}}}", "bot", ["ci"], False),
    ("{allow: {impersonate: {users: ['*'], roles: ['*']}}, deny: {impersonate: {roles: [ci]}}}", "bot", ["ci"], False),
    ("{allow: {impersonate: {users: ['*'], roles: ['*']}}, deny: {impersonate: {roles: [ci]}}}", "bot", ["x"], True),
    ("{}", "bot", [], False),
]  # fmt: skip


class ImpersonationTests(SynchronousTestCase):
    """
    Certificates on behalf of others.
    """

    def test_table(self) -> None:
        """
        The user and every one of its roles must be covered.
        """
        for text, name, roles, expected in IMPERSONATES:
            user = Resource("user", "v2", Metadata(name, labels={"kind": "bot"}))
            wanted = [stored("{}", each, labels={"team": "red"}) for each in roles]
            decision = may_impersonate(checker_of(text), user, wanted)
            self.assertEqual(decision.allowed, expected, (text, name, roles, decision.reason))
            self.assertTrue(decision.reason)

    def test_broken(self) -> None:
        """
        Patterns that cannot be read refuse in allow and in deny, and say so.
        """
        user = Resource("user", "v2", Metadata("bot"))
        wide = stored("allow: {impersonate: {users: ['*'], roles: ['*']}}", "wide")
        for bad in ("users: ['^($']", "{users: ['*'], roles: ['^($']}"):
            inner = bad if bad.startswith("{") else f"{{{bad}}}"
            allow = may_impersonate(checker_of(unchecked(f"allow: {{impersonate: {inner}}}")), user, [wide])
            self.assertFalse(allow)
            self.assertIn("regular expression", allow.reason)
            deny = may_impersonate(checker_of(wide, unchecked(f"deny: {{impersonate: {inner}}}")), user, [wide])
            self.assertFalse(deny)
            self.assertIn("regular expression", deny.reason)
