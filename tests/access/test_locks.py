"""
Tests for L{teleport_tw.access.locks}.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.locks import Lock, LockTarget, Subject, hits, hitting, refusal
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.roles_options import Strictness

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

HITS: list[tuple[dict[str, str], Subject, bool]] = [
    ({"user": "alice"}, Subject(user="alice"), True),
    ({"user": "alice"}, Subject(user="bob"), False),
    ({"user": "alice"}, Subject(), False),
    ({"role": "dev"}, Subject(roles=frozenset({"dev", "ops"})), True),
    ({"role": "dev"}, Subject(roles=frozenset({"ops"})), False),
    ({"login": "root"}, Subject(login="root"), True),
    ({"login": "root"}, Subject(login="ROOT"), False),
    ({"mfa_device": "m"}, Subject(mfa_device="m"), True),
    ({"windows_desktop": "w"}, Subject(windows_desktop="w"), True),
    ({"access_request": "r"}, Subject(access_requests=frozenset({"r"})), True),
    ({"access_request": "r"}, Subject(access_requests=frozenset({"s"})), False),
    ({"device": "d"}, Subject(device="d"), True),
    ({"server_id": "s"}, Subject(server_id="s"), True),
    ({"node": "s"}, Subject(server_id="s"), True),
    ({"bot_instance_id": "b"}, Subject(bot_instance_id="b"), True),
    ({"join_token": "t"}, Subject(join_token="t"), True),
    ({"user": "alice", "login": "root"}, Subject(user="alice"), False),
    ({"user": "alice", "login": "root"}, Subject(user="alice", login="root"), True),
    ({"user": "alice", "login": ""}, Subject(user="alice"), True),
    ({"user": "*"}, Subject(user="alice"), False),
]
BAD: list[tuple[Any, str]] = [
    (None, "must map"),
    ("alice", "must map"),
    ({}, "is empty"),
    ({"user": ""}, "is empty"),
    ({"user": 7}, "must map"),
    ({"users": "alice"}, "spec.target.users is not known"),
]


def lock(name: str = "l", **target: str) -> Lock:
    """
    Without end.
    """
    return Lock(name=name, target=LockTarget(**target))


class LockTests(SynchronousTestCase):
    """
    What locks hit.
    """

    def test_hits(self) -> None:
        """
        Everything a lock names must be the subject's.
        """
        for target, subject, expected in HITS:
            found = Lock.parse(Resource("lock", "v2", Metadata("l"), {"target": target}))
            self.assertEqual(hits(found, subject), expected, (target, subject))

    def test_bad(self) -> None:
        """
        A lock that would hit nobody, or whose target is misspelt, is refused.
        """
        for target, text in BAD:
            resource = Resource("lock", "v2", Metadata("l"), {"target": target})
            self.assertIn(text, str(self.assertRaises(TeleportError, Lock.parse, resource)))

    def test_expiry(self) -> None:
        """
        From the spec, or else from the metadata; the last moment is no longer in force.
        """
        spec = {"target": {"user": "a"}, "message": "why"}
        one = Lock.parse(Resource("lock", "v2", Metadata("l"), {**spec, "expires": "2026-06-01T01:00:00Z"}))
        two = Lock.parse(Resource("lock", "v2", Metadata("l", expires=NOW + HOUR), spec))
        for each in (one, two):
            self.assertEqual(each.expires, NOW + HOUR)
            self.assertTrue(each.in_force(NOW + HOUR - timedelta(seconds=1)))
            self.assertFalse(each.in_force(NOW + HOUR))
        self.assertTrue(Lock.parse(Resource("lock", "v2", Metadata("l"), spec)).in_force(NOW + 9999 * HOUR))

    def test_first_by_name(self) -> None:
        """
        Of several, the same one is always named.
        """
        alice = Subject(user="alice", login="root")
        found = hitting([lock("b", user="alice"), lock("a", login="root"), lock("0", user="bob")], alice, NOW)
        self.assertEqual(found and found.name, "a")
        self.assertIsNone(hitting([], alice, NOW))

    def test_words(self) -> None:
        """
        The refusal names kind and name, and the message when there is one.
        """
        self.assertEqual(lock(mfa_device="m").refusal, 'lock targeting MfaDevice:"m" is in force')

    def test_staleness(self) -> None:
        """
        Strict mode refuses when the view is older than five minutes, or was never had.
        """
        for mode, fresh_at, refused in (
            (Strictness.STRICT, None, True),
            (Strictness.STRICT, NOW - timedelta(minutes=5), False),
            (Strictness.STRICT, NOW - timedelta(minutes=5, seconds=1), True),
            (Strictness.BEST_EFFORT, None, False),
            (Strictness.BEST_EFFORT, NOW - 99 * HOUR, False),
        ):
            self.assertEqual(bool(refusal([], Subject(), NOW, mode=mode, fresh_at=fresh_at)), refused, (mode, fresh_at))
