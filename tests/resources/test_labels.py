"""
What is matched and shown as a server's labels.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.resources.metadata import Metadata, Resource, format_labels
from teleport_tw.resources.nodes import Node, all_labels


class LabelTests(SynchronousTestCase):
    """
    The one rule, wherever labels are looked at.
    """

    def test_results_win(self) -> None:
        """
        A command's result hides a static label of its name, in the stored resource and the parsed node alike: a role
        and a list that disagreed would show servers that cannot be reached.
        """
        commands = {"env": {"period": "1m", "command": ["x"], "result": "prod"}}
        resource = Resource(
            "node", "v2", Metadata("n", labels={"env": "dev", "team": "a"}), {"hostname": "h", "cmd_labels": commands}
        )
        self.assertEqual(all_labels(resource), {"env": "prod", "team": "a"})
        self.assertEqual(Node.parse(resource).all_labels, all_labels(resource))

    def test_malformed(self) -> None:
        """
        What somebody stored by hand does not break lists.
        """
        for commands in ("text", ["a"], {"a": "b"}, {"a": None}, {"a": {"result": None}}):
            resource = Resource("node", "v2", Metadata("n", labels={"b": "c"}), {"cmd_labels": commands})
            self.assertEqual(all_labels(resource)["b"], "c")

    def test_shown(self) -> None:
        """
        Ordered by name; a list's members side by side.
        """
        self.assertEqual(format_labels({"b": ["1", "2"], "a": "x"}), "a=x,b=1|2")
