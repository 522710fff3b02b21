"""
What a page is told of its session, also when it comes back.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.web.standing import Standing

_FILE = {"requestID": "1", "location": "/etc/hosts", "requester": "alice", "direction": "download"}


class StandingTests(SynchronousTestCase):
    """
    Events, in order.
    """

    def setUp(self) -> None:
        """
        Alice's.
        """
        self.standing = Standing({"participants": [{"user": "alice", "mode": "peer"}]})

    def hears(self, event: str, **more: Any) -> None:
        """
        From the server.
        """
        self.standing.heard({"event": event, **more})

    def present(self) -> list[tuple[str, str]]:
        """
        @return: who is there, and how.
        """
        return [(each["user"], each["mode"]) for each in self.standing.shown["participants"]]

    def test_people(self) -> None:
        """
        They come and go; one of two windows of the same person stays.
        """
        for mode in ("observer", "moderator"):
            self.hears("session.join", user="bob", mode=mode)
        self.hears("session.leave", user="bob", mode="observer")
        self.hears("session.leave", user="nobody", mode="peer")
        self.assertEqual(self.present(), [("alice", "peer"), ("bob", "moderator")])
        self.hears("resize", size="80:24")
        self.assertEqual(len(self.present()), 2)

    def test_a_file(self) -> None:
        """
        It is asked about, with all that is known of it, until it is granted or denied.
        """
        self.hears("file_transfer_request", **_FILE, counts=True)
        self.hears("file_transfer_request_approve", **_FILE, approvers=["bob"], granted=False, missing="1 more")
        asked = self.standing.asked or {}
        told = asked["event"], asked["counts"], asked["approvers"], asked["missing"]
        self.assertEqual(told, ("file_transfer_request", True, ["bob"], "1 more"))
        self.hears("file_transfer_request_approve", **_FILE, granted=True)
        self.assertIsNone(self.standing.asked)
        self.hears("file_transfer_request", **_FILE)
        self.assertIsNotNone(self.standing.asked)
        self.hears("file_transfer_request_deny", **_FILE)
        self.assertIsNone(self.standing.asked)

    def test_of_another_file(self) -> None:
        """
        What becomes of a file that waits behind leaves the one that is asked about.
        """
        self.hears("file_transfer_request", **_FILE)
        other = {**_FILE, "requestID": "2"}
        self.hears("file_transfer_request_deny", **other, reason="who asked has gone")
        self.hears("file_transfer_request_approve", **other, granted=True)
        self.assertEqual((self.standing.asked or {}).get("requestID"), "1")
        self.hears("file_transfer_request_deny", **_FILE)
        self.hears("file_transfer_request_approve", **_FILE, granted=False)
        self.assertIsNone(self.standing.asked)
