"""
Events that are written as JSON at once are the same as those that are typed.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.audit.redact import Outlet, redacted
from teleport_tw.events import kinds
from teleport_tw.events.rating import REDACTED, Group, Public
from teleport_tw.events.worded import worded, words_of

FACTS: dict[str, Any] = {
    "actor": kinds.Actor(user='al"ice', traits={"logins": ("root",)}, kind="human"),
    "session": kinds.Session(id="5f0c"),
    "database": kinds.DatabaseTarget(service="pg", name="dätabase"),
}


class WordedTests(SynchronousTestCase):
    """
    Beside their typed classes.
    """

    def test_they_say_what_the_typed_ones_say(self) -> None:
        """
        Name, code and fields, with and without values.
        """
        cases: list[tuple[Any, dict[str, Any]]] = [
            (
                kinds.DatabaseQuery,
                {"query": "select 'ä'", "parameters": ("1", None), "affected": 0, "duration_ms": 0.5},
            ),
            (kinds.DatabaseQueryFailed, {"query": "x", "success": False, "error": 'no "x"'}),
            (kinds.DatabaseUserCreate, {"success": False, "username": "a", "roles": ("r",)}),
            (
                kinds.DatabaseQuery,
                {"query": "x", "parameters": (None, '\ud800\x1f"\\'), "affected": -1, "duration_ms": 0.0},
            ),
            (kinds.DatabaseQuery, {"parameters": (), "query": "", "affected": 2**70, "duration_ms": 1e300}),
            (kinds.PostgresClose, {"statement_name": "", "portal_name": "p"}),
            (kinds.PostgresClose, {}),
        ]
        for kind, own in cases:
            typed = kind(**FACTS, **own)
            fast = worded(kind)(words_of(FACTS.values()), "5f0c", own)
            expected = typed.fields()
            if "success" not in own:
                expected.pop("success", None)
            self.assertEqual(fast.fields(), expected)
            self.assertEqual((fast.NAME, fast.code, fast.session), (typed.NAME, typed.code, "5f0c"))
            self.assertEqual(redacted(fast), expected)
            self.assertEqual(set(redacted(fast, Outlet.LOG).values()), {REDACTED})

    def test_secrets_are_left_out(self) -> None:
        """
        A field without a rating is one.
        """

        @frozen(kw_only=True)
        class Careless(Group):
            named: Public[str] = "a"
            forgotten: str = "b"

        self.assertEqual(words_of([Careless()]), '"named":"a"')

    def test_a_field_that_the_event_has_not_is_a_mistake(self) -> None:
        """
        Found by the first test that tells it.
        """
        self.assertRaises(KeyError, worded(kinds.PostgresClose), "", "5f0c", {"query": "x"})
