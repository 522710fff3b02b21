"""
Tests for what L{teleport_tw.agents.ssh.command} reads of the client's environment.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh.command import MAX_INVITED, _names


class InvitedTests(SynchronousTestCase):
    """
    Who is asked to join.
    """

    def test_forms(self) -> None:
        """
        JSON as tsh says it, or names with commas; anything else is a name or nothing.
        """
        table = [
            ('["bob", "carol", 3, ""]', ("bob", "carol", "")),
            ("bob, carol,", ("bob", "carol")),
            ("", ()),
            ('{"a": 1}', ('{"a": 1}',)),
            ("[" * 100_000, ("[" * 256,)),
        ]
        for said, expected in table:
            self.assertEqual(_names(said), expected, said[:40])
        self.assertEqual(len(_names(",".join(map(str, range(1000))))), MAX_INVITED)
