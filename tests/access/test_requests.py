"""
Tests for L{teleport_tw.access.requests}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.requests import Request, Review, State, may_request, may_review, state, thresholds
from tests.access.test_checker import checker, role


class RequestTests(SynchronousTestCase):
    """
    Requests and reviews.
    """

    def test_request_and_review(self) -> None:
        """
        Patterns open, deny shuts, nobody reviews their own.
        """
        asks = role("asks", allow={"request": {"roles": ["dba", "db-*"]}}, deny={"request": {"roles": ["db-prod"]}})
        who = checker(asks)
        self.assertEqual(
            [bool(may_request(who, name)) for name in ("dba", "db-x", "db-prod", "x")], [True, True, False, False]
        )
        judge = checker(role(allow={"review_requests": {"roles": ["dba"], "where": 'request.reason == "ok"'}}))
        self.assertTrue(may_review(judge, Request(user="bob", roles=("dba",), reason="ok", annotations={})))
        self.assertFalse(may_review(judge, Request(user="bob", roles=("dba",), reason="no", annotations={})))
        self.assertFalse(may_review(judge, Request(user="alice", roles=("dba",), reason="ok", annotations={})))

    def test_thresholds(self) -> None:
        """
        A denial decides before approvals do; an author counts once.
        """
        asks = role("asks", allow={"request": {"roles": ["dba"], "thresholds": [{"approve": 2, "deny": 1}]}})
        wanted = thresholds(checker(asks), ["dba"])
        request = Request(user="zoe", roles=("dba",), annotations={})
        yes = Review(author="a", roles=(), traits={}, approves=True)
        also = Review(author="b", roles=(), traits={}, approves=True)
        no = Review(author="c", roles=(), traits={}, approves=False)
        self.assertIs(state(wanted, request, [yes, yes]), State.PENDING)
        self.assertIs(state(wanted, request, [yes, also]), State.APPROVED)
        self.assertIs(state(wanted, request, [yes, also, no]), State.DENIED)
