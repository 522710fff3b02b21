"""
Who joined of late, for the page that waits.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.secret import Secret
from teleport_tw.web.joined import MAX_HOSTS, MAX_TOKENS, Joined, Joining, handle_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def joining(host: str, role: str = "Node") -> Joining:
    return Joining(host_id=host, node_name=f"name of {host}", role=role, at=NOW)


class JoinedTests(SynchronousTestCase):
    """
    By hashes of tokens, and so many of them.
    """

    def test_by_token(self) -> None:
        """Each token has its own hosts, once for each role; the handle does not tell the token."""
        joined, one, two = Joined(), Secret("a" * 32), Secret("b" * 32)
        joined.note(one, joining("h1"))
        joined.note(one, joining("h2"))
        joined.note(one, joining("h1"))
        joined.note(one, joining("h1", "Db"))
        joined.note(two, joining("h3"))
        found = [(each.host_id, each.role) for each in joined.by(handle_of(one))]
        self.assertEqual(found, [("h2", "Node"), ("h1", "Node"), ("h1", "Db")])
        self.assertEqual([each.host_id for each in joined.by(handle_of(two))], ["h3"])
        self.assertEqual(joined.by("none"), [])
        self.assertNotIn(one.reveal(), handle_of(one))

    def test_bounds(self) -> None:
        """Of hosts and tokens without end the newest are known."""
        joined, token = Joined(), Secret("t" * 32)
        for number in range(MAX_HOSTS + 5):
            joined.note(token, joining(str(number)))
        self.assertEqual(joined.by(handle_of(token))[0].host_id, "5")
        for number in range(MAX_TOKENS):
            joined.note(Secret(str(number)), joining("h"))
        self.assertEqual(joined.by(handle_of(token)), [])
