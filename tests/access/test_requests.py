"""
Tests for L{teleport_tw.access.requests}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.requests import Request, Review, State, may_request, may_review, state, thresholds
from tests.access.tables import checker_of, stored, unchecked

ASKS: list[tuple[str, str, bool]] = [
    ("allow: {request: {roles: [dba]}}", "dba", True),
    ("allow: {request: {roles: [dba]}}", "dbadmin", False),
    ("allow: {request: {roles: ['db*']}}", "dbadmin", True),
    ("allow: {request: {roles: ['^db.$']}}", "dba", True),
    ("allow: {request: {roles: ['{{regexp.match(\"^db\")}}']}}", "dbx", True),
    ("allow: {request: {roles: ['{{regexp.match(\"^db\")}}']}}", "xdb", False),
    ("allow: {request: {roles: ['{{regexp.not_match(\"^prod\")}}']}}", "dev", True),
    ("allow: {request: {roles: ['{{regexp.not_match(\"^prod\")}}']}}", "prod", False),
    ("allow: {request: {roles: ['x-{{regexp.match(\"^a\")}}-y']}}", "x-ab-y", True),
    ("allow: {request: {roles: ['x-{{regexp.match(\"^a\")}}-y']}}", "x-ba-y", False),
    ("allow: {request: {roles: ['x-{{regexp.match(\".\")}}-y']}}", "x-y", False),
    ("allow: {request: {roles: ['aba{{regexp.match(\"^$\")}}aba']}}", "abaaba", True),
    ("allow: {request: {roles: ['aba{{regexp.match(\"^$\")}}aba']}}", "aba", False),
    ("allow: {request: {search_as_roles: [access]}}", "access", True),
    ("allow: {request: {search_as_roles: ['{{regexp.match(\"^acc\")}}']}}", "access", True),
    ("allow: {request: {claims_to_roles: [{claim: team, value: red, roles: [fire]}]}}", "fire", True),
    ("allow: {request: {claims_to_roles: [{claim: team, value: green, roles: [fire]}]}}", "fire", False),
    ("allow: {request: {claims_to_roles: [{claim: none, value: '*', roles: [fire]}]}}", "fire", False),
    ("allow: {request: {claims_to_roles: [{claim: team, value: '*', roles: [fire]}]}}", "fire", True),
    ("allow: {request: {claims_to_roles: [{claim: team, value: '^(.*)$', roles: ['$1-admin']}]}}", "blue-admin", True),
    ("allow: {request: {claims_to_roles: [{claim: team, value: '^(.*)$', roles: ['$1-admin']}]}}", "tan-admin", False),
    ("allow: {request: {claims_to_roles: [{claim: team, value: '*', roles: ['$1-x']}]}}", "red-x", True),
    ("allow: {request: {claims_to_roles: [{claim: team, value: red, roles: ['fire-*']}]}}", "fire-1", True),
    ("allow: {request: {claims_to_roles: [{claim: star, value: '^(.*)$', roles: ['$1']}]}}", "editor", False),
    ("allow: {request: {claims_to_roles: [{claim: star, value: '^(.*)$', roles: ['$1']}]}}", "*", True),
    ("{allow: {request: {roles: ['*']}}, deny: {request: {roles: [root]}}}", "root", False),
    ("{allow: {request: {roles: ['*']}}, deny: {request: {roles: [root]}}}", "other", True),
    ("{allow: {request: {roles: ['*']}}, deny: {request: {search_as_roles: [root]}}}", "root", False),
    (
        "{allow: {request: {roles: ['*']}},"
        " deny: {request: {claims_to_roles: [{claim: team, value: red, roles: [a]}]}}}",
        "a",
        False,
    ),
    ("{}", "any", False),
    ("allow: {request: {roles: ['x-{{regexp.match(\".\")}}']}}", "y-1", False),
]

TRAITS = {"team": ("red", "blue"), "star": ("*",)}

BAD: list[str] = [
    "roles: ['^($']",
    "search_as_roles: ['{{regexp.match(']",
    "claims_to_roles: [{claim: team, value: '^($', roles: [dba]}]",
]


def review(author: str, approves: bool = True, *roles: str) -> Review:
    """
    One person's word.
    """
    return Review(author=author, roles=roles, traits={"team": roles}, approves=approves)


def request(*roles: str, reason: str = "") -> Request:
    """
    Of zoe's.
    """
    return Request(user="zoe", roles=roles, reason=reason, annotations={"x": ("y",)})


class RequestTests(SynchronousTestCase):
    """
    Who may ask for what.
    """

    def test_table(self) -> None:
        """
        Names, patterns, questions and claims open; any of them shuts in a deny.
        """
        for text, name, expected in ASKS:
            decision = may_request(checker_of(text, traits=TRAITS), name)
            self.assertEqual(decision.allowed, expected, (text, name, decision.reason))
            self.assertTrue(decision.reason)

    def test_broken(self) -> None:
        """
        What cannot be read is not allowed, is denied, and is told to administrators.
        """
        everything = stored("allow: {request: {roles: ['*']}}", "all")
        for text in BAD:
            allow = may_request(checker_of(unchecked(f"allow: {{request: {{{text}}}}}")), "dba")
            self.assertFalse(allow, text)
            self.assertIn("cannot be read (", allow.reason)
            deny = may_request(checker_of(everything, unchecked(f"deny: {{request: {{{text}}}}}", "deny")), "dba")
            self.assertEqual((deny.allowed, deny.role), (False, "deny"), text)


REVIEWS: list[tuple[str, Request, bool]] = [
    ("allow: {review_requests: {roles: [dba]}}", request("dba"), True),
    ("allow: {review_requests: {roles: [dba]}}", request("dba", "root"), False),
    ("allow: {review_requests: {roles: [dba, r*]}}", request("dba", "root"), True),
    ("allow: {review_requests: {roles: ['*']}}", request(), False),
    ("allow: {review_requests: {roles: ['{{regexp.match(\"^d\")}}']}}", request("dba"), True),
    ("allow: {review_requests: {claims_to_roles: [{claim: team, value: red, roles: [dba]}]}}", request("dba"), True),
    ("allow: {review_requests: {roles: [dba], where: 'request.reason == \"ok\"'}}", request("dba", reason="ok"), True),
    ("allow: {review_requests: {roles: [dba], where: 'request.reason == \"ok\"'}}", request("dba", reason="no"), False),
    (
        "allow: {review_requests: {roles: [dba], where: 'contains(request.system_annotations.x, \"y\")'}}",
        request("dba"),
        True,
    ),
    ("allow: {review_requests: {roles: [dba], where: 'regexp.match(request.roles, \"^db\")'}}", request("dba"), True),
    ("allow: {review_requests: {roles: [dba], where: 'contains(reviewer.roles, \"r0\")'}}", request("dba"), True),
    (
        "allow: {review_requests: {roles: [dba], where: 'contains(reviewer.traits.team, \"red\")'}}",
        request("dba"),
        True,
    ),
    ("allow: {review_requests: {roles: [dba], where: request.reason}}", request("dba", reason="ok"), False),
    ("{allow: {review_requests: {roles: ['*']}}, deny: {review_requests: {roles: [dba]}}}", request("dba"), False),
    (
        "{allow: {review_requests: {roles: ['*']}},"
        " deny: {review_requests: {roles: [dba], where: 'request.reason == \"x\"'}}}",
        request("dba"),
        True,
    ),
    (
        "{allow: {review_requests: {roles: ['*']}}, deny: {review_requests: {roles: [dba], where: request.reason}}}",
        request("dba"),
        False,
    ),
    ("{allow: {review_requests: {roles: ['*']}}, deny: {review_requests: {roles: [other]}}}", request("dba"), True),
    ("{}", request("dba"), False),
]


class ReviewTests(SynchronousTestCase):
    """
    Who may decide, and when it is decided.
    """

    def test_table(self) -> None:
        """
        Every role of the request must be covered.
        """
        for text, wanted, expected in REVIEWS:
            decision = may_review(checker_of(text, traits=TRAITS), wanted)
            self.assertEqual(decision.allowed, expected, (text, wanted, decision.reason))

    def test_never_ones_own(self) -> None:
        """
        However wide the role.
        """
        own = Request(user="alice", roles=("dba",), annotations={})
        self.assertFalse(may_review(checker_of("allow: {review_requests: {roles: ['*']}}"), own))

    def test_default(self) -> None:
        """
        One word decides where no role says otherwise, and a denial is looked at first.
        """
        wanted = thresholds(checker_of("allow: {request: {roles: [dba]}}"), ["dba"])
        self.assertIs(state(wanted, request("dba"), []), State.PENDING)
        self.assertIs(state(wanted, request("dba"), [review("a")]), State.APPROVED)
        self.assertIs(state(wanted, request("dba"), [review("a"), review("b", False)]), State.DENIED)
        self.assertIs(state(thresholds(checker_of(), ["dba"]), request("dba"), [review("a")]), State.APPROVED)
        self.assertIs(state((), request("dba"), [review("a")]), State.PENDING)

    def test_counting(self) -> None:
        """
        An author counts once, by the last word; the requester's own word is none.
        """
        wanted = thresholds(
            checker_of("allow: {request: {roles: [dba], thresholds: [{approve: 2, deny: 2}]}}"), ["dba"]
        )
        for reviews, expected in (
            ([review("a"), review("a")], State.PENDING),
            ([review("a"), review("zoe")], State.PENDING),
            ([review("a"), review("b")], State.APPROVED),
            ([review("a", False), review("b", False)], State.DENIED),
            ([review("a", False), review("b", False), review("b")], State.PENDING),
            ([review("a", False), review("a"), review("b")], State.APPROVED),
        ):
            self.assertIs(state(wanted, request("dba"), reviews), expected, reviews)

    def test_any_threshold_of_a_role(self) -> None:
        """
        Two peers, or one boss; a filter without an answer counts nobody.
        """
        wanted = thresholds(
            checker_of(
                "allow: {request: {roles: [dba], thresholds: [{approve: 2, deny: 0},"
                " {filter: 'contains(reviewer.roles, \"boss\")', approve: 1, deny: 1},"
                " {filter: request.reason, approve: 1, deny: 1}, {approve: 0, deny: 0}]}}"
            ),
            ["dba"],
        )
        self.assertIs(state(wanted, request("dba"), [review("a")]), State.PENDING)
        self.assertIs(state(wanted, request("dba"), [review("a", True, "boss")]), State.APPROVED)
        self.assertIs(state(wanted, request("dba"), [review("a", False, "boss")]), State.DENIED)
        self.assertIs(state(wanted, request("dba"), [review("a"), review("b")]), State.APPROVED)
        self.assertIs(state(wanted, request("dba"), [review("a", False), review("b", False)]), State.PENDING)

    def test_thresholds_follow_every_way_of_asking(self) -> None:
        """
        What may be asked for by a question, a claim or a search needs the approvals of that role, no fewer.
        """
        for conditions in (
            "roles: ['{{regexp.match(\"^db\")}}']",
            "search_as_roles: ['{{regexp.match(\"^db\")}}']",
            "claims_to_roles: [{claim: team, value: '^r(.)d$', roles: [dba]}]",
            "claims_to_roles: [{claim: team, value: '^(red)$', roles: ['$1-dba', dba]}]",
        ):
            who = checker_of(
                f"allow: {{request: {{{conditions}, thresholds: [{{approve: 3, deny: 1}}]}}}}", traits=TRAITS
            )
            self.assertTrue(may_request(who, "dba"))
            wanted = thresholds(who, ["dba"])
            self.assertEqual([each.approve for one in wanted for each in one], [3], conditions)

    def test_no_role_lowers_anothers_threshold(self) -> None:
        """
        Asking for an easy role beside a hard one, or holding a lax role beside a strict one, needs both.
        """
        easy = "allow: {request: {roles: [easy, both]}}"
        hard = "allow: {request: {roles: [hard, both], thresholds: [{approve: 2, deny: 1}]}}"
        who = checker_of(easy, hard)
        for asked in (["easy", "hard"], ["hard"], ["both"]):
            wanted = thresholds(who, asked)
            self.assertIs(state(wanted, request(*asked), [review("a")]), State.PENDING, asked)
            self.assertIs(state(wanted, request(*asked), [review("a"), review("b")]), State.APPROVED, asked)
        self.assertIs(state(thresholds(who, ["easy"]), request("easy"), [review("a")]), State.APPROVED)
