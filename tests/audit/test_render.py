"""
Events as people and programs read them.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.audit.actor import actor_of, identity_fields
from teleport_tw.audit.render import render
from teleport_tw.base.errors import TeleportError
from teleport_tw.pki.identity import Identity, SystemRole

EVENTS = [
    {"event": "user.login", "code": "T1000I", "time": "2026-01-01T00:00:00Z", "user": "alice", "method": "local"},
    {"event": "exec", "code": "T3002I", "time": "2026-01-01T00:00:01Z", "user": "=cmd()\x1b[2J", "server_id": "h"},
]


class RenderTests(SynchronousTestCase):
    """
    One suite over the formats.
    """

    def test_machine_formats_are_read_back(self) -> None:
        """
        JSON, JSON lines and YAML carry everything.
        """
        self.assertEqual(json.loads(render(EVENTS, "json")), EVENTS)
        self.assertEqual([json.loads(line) for line in render(EVENTS, "jsonl").splitlines()], EVENTS)
        self.assertEqual(yaml.safe_load(render(EVENTS, "yaml")), EVENTS)

    def test_text_is_a_table_that_plays_no_tricks(self) -> None:
        """
        Escape sequences in a user name stay letters.
        """
        text = render(EVENTS)
        self.assertIn("User [alice] signed in by local", text)
        self.assertNotIn("\x1b", text)
        self.assertEqual(len(text.splitlines()), 4)

    def test_csv_cells_are_no_formulas(self) -> None:
        """
        A spreadsheet shows them and does not run them.
        """
        rows = list(csv.DictReader(io.StringIO(render(EVENTS, "csv"))))
        self.assertEqual(rows[0]["user"], "alice")
        self.assertTrue(rows[1]["user"].startswith("'=cmd"))

    def test_unknown_format(self) -> None:
        """
        The ones there are get named.
        """
        self.assertRaises(TeleportError, render, EVENTS, "xml")


class ActorTests(SynchronousTestCase):
    """
    Identities as events tell them.
    """

    def test_people_bots_and_hosts(self) -> None:
        """
        The reference's numbers for kinds of users.
        """
        self.assertEqual(actor_of(Identity(username="alice", roles=("access",)), "root").login, "root")
        kinds = [
            actor_of(identity).kind
            for identity in (
                Identity(username="alice"),
                Identity(username="bot-ci", bot_name="ci"),
                Identity(username="uuid.example", system_roles=(SystemRole.NODE,)),
            )
        ]
        self.assertEqual(kinds, [1, 2, 3])

    def test_identity_of_a_certificate(self) -> None:
        """
        Empty fields stay out.
        """
        identity = Identity(username="alice", principals=("root",), expires=datetime(2026, 1, 1, tzinfo=UTC))
        self.assertEqual(
            identity_fields(identity),
            {
                "user": "alice",
                "logins": ["root"],
                "expires": "2026-01-01T00:00:00Z",
                "private_key_policy": "none",
            },
        )
