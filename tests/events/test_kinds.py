"""
Event classes keep the reference's names, codes and field names, and rate every field.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.secret import Secret
from teleport_tw.events import kinds, rating
from teleport_tw.events.lookup import by_code, by_name, describe

ALICE = kinds.Actor(user="alice", login="root", roles=("access",), traits={"logins": ("root",)}, kind="human")
SESSION = kinds.Session(id="5f0c", with_mfa="")
HOST = kinds.Server(id="c0ffee", hostname="db1", address="10.0.0.1:3022", labels={"env": "prod"})
WIRE = kinds.Connection(remote="192.0.2.1:5000", local="192.0.2.9:3022")


class FieldsTests(SynchronousTestCase):
    """
    What an event looks like in JSON.
    """

    def test_groups_are_flattened_under_the_references_names(self) -> None:
        """
        A session start carries actor, connection, server and session beside its own fields.
        """
        event = kinds.SessionStart(
            actor=ALICE, connection=WIRE, server=HOST, session=SESSION, size="80:24", initial_command=("ls", "-l")
        )
        self.assertEqual(
            event.fields(),
            {
                "user": "alice",
                "login": "root",
                "user_roles": ["access"],
                "user_traits": {"logins": ["root"]},
                "user_kind": 1,
                "addr.remote": "192.0.2.1:5000",
                "addr.local": "192.0.2.9:3022",
                "proto": "ssh",
                "server_id": "c0ffee",
                "server_hostname": "db1",
                "server_addr": "10.0.0.1:3022",
                "server_labels": {"env": "prod"},
                "namespace": "default",
                "sid": "5f0c",
                "size": "80:24",
                "initial_command": ["ls", "-l"],
            },
        )
        self.assertEqual(event.code, "T2000I")

    def test_times_durations_and_bytes(self) -> None:
        """
        Times are RFC 3339, durations Go's, bytes base64.
        """
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        made = kinds.ResetPasswordTokenCreate(actor=ALICE, name="bob", ttl=timedelta(hours=8), expires=moment)
        self.assertEqual(made.fields()["ttl"], "8h0m0s")
        self.assertEqual(made.fields()["expires"], "2026-01-02T03:04:05Z")
        self.assertEqual(kinds.Print(data=b"hi", ms=1, offset=0, size=2).fields()["data"], "aGk=")

    def test_codes_follow_the_outcome(self) -> None:
        """
        One event name, several codes.
        """
        port = {"actor": ALICE, "address": "h:1"}
        within: Any = {"actor": ALICE, "session": SESSION, "database": kinds.DatabaseTarget(service="pg")}
        for event, code in [
            (kinds.UserLogin(actor=ALICE), "T1000I"),
            (kinds.UserLogin(actor=ALICE, success=False), "T1000W"),
            (kinds.UserLogin(actor=ALICE, method="oidc", success=False), "T1001W"),
            (kinds.UserLogin(actor=ALICE, method="headless"), "T1013I"),
            (kinds.Auth(actor=ALICE, error="expired"), "T3007W"),
            (kinds.Exec(actor=ALICE, command="ls"), "T3002I"),
            (kinds.Exec(actor=ALICE, command="ls", success=False), "T3002E"),
            (kinds.PortLocal(**port), "T3003I"),  # type: ignore[arg-type]
            (kinds.PortLocal(**port, phase=kinds.Phase.STOP), "T3003S"),  # type: ignore[arg-type]
            (kinds.PortRemote(**port, success=False), "T3003E"),  # type: ignore[arg-type]
            (kinds.SCP(actor=ALICE, action=kinds.SCPAction.DOWNLOAD, path="/a"), "T3004I"),
            (kinds.SCP(actor=ALICE, action=kinds.SCPAction.UPLOAD, path="/a", success=False), "T3005E"),
            (kinds.SCP(actor=ALICE, action=kinds.SCPAction.UPLOAD, path="/a", disallowed=True), "T3010E"),
            (kinds.SFTP(actor=ALICE, action=kinds.SFTPAction.RENAME, path="/a"), "TS016I"),
            (kinds.SFTP(actor=ALICE, action=kinds.SFTPAction.LINK, path="/a", success=False), "TS019E"),
            (kinds.SFTP(actor=ALICE, action=kinds.SFTPAction.OPEN, path="/a", disallowed=True), "TS020E"),
            (kinds.InstanceJoin(success=False), "TJ002E"),
            (kinds.InstanceJoin(success=False, limited=True), "TJ002L"),
            (kinds.DatabaseSessionStart(**within), "TDB00I"),
            (kinds.DatabaseSessionStart(**within, success=False), "TDB00W"),
            (kinds.DatabaseSessionEnd(**within), "TDB01I"),
            (kinds.DatabaseQuery(**within, query="select 1"), "TDB02I"),
            (kinds.DatabaseQueryFailed(**within, query="select 1"), "TDB02W"),
            (kinds.DatabaseMalformedPacket(**within), "TDB06I"),
            (kinds.DatabasePermissionsUpdate(**within), "TDB07I"),
            (kinds.DatabaseUserCreate(**within, username="alice"), "TDB08I"),
            (kinds.DatabaseUserCreate(**within, username="alice", success=False), "TDB08W"),
            (kinds.DatabaseUserDeactivate(**within, username="alice"), "TDB09I"),
            (kinds.DatabaseUserDeactivate(**within, username="alice", success=False), "TDB09W"),
            (kinds.DatabaseResult(**within), "TDB10I"),
            (kinds.PostgresParse(**within), "TPG00I"),
            (kinds.PostgresBind(**within), "TPG01I"),
            (kinds.PostgresExecute(**within), "TPG02I"),
            (kinds.PostgresClose(**within), "TPG03I"),
            (kinds.PostgresFunctionCall(**within, function_oid=954), "TPG04I"),
            (kinds.MySQLStatementPrepare(**within), "TMY00I"),
            (kinds.MySQLStatementExecute(**within), "TMY01I"),
            (kinds.MySQLStatementSendLongData(**within), "TMY02I"),
            (kinds.MySQLStatementClose(**within), "TMY03I"),
            (kinds.MySQLStatementReset(**within), "TMY04I"),
            (kinds.MySQLStatementFetch(**within), "TMY05I"),
            (kinds.MySQLStatementBulkExecute(**within), "TMY06I"),
            (kinds.MySQLInitDB(**within, schema_name="a"), "TMY07I"),
            (kinds.MySQLCreateDB(**within, schema_name="a"), "TMY08I"),
            (kinds.MySQLDropDB(**within, schema_name="a"), "TMY09I"),
            (kinds.MySQLShutDown(**within), "TMY10I"),
            (kinds.MySQLProcessKill(**within, process_id=1), "TMY11I"),
            (kinds.MySQLDebug(**within), "TMY12I"),
            (kinds.MySQLRefresh(**within), "TMY13I"),
        ]:
            self.assertEqual(event.code, code)
            self.assertIn(code, type(event).codes())

    def test_success_is_shown_even_when_false(self) -> None:
        """
        A failed login says so; empty texts stay out.
        """
        fields = kinds.UserLogin(actor=ALICE, success=False).fields()
        self.assertIs(fields["success"], False)
        self.assertNotIn("error", fields)

    def test_names_of_tokens_are_masked(self) -> None:
        """
        A join token's name is its secret.
        """
        self.assertEqual(kinds.InstanceJoin(token_name="0123456789abcdef").fields()["token_name"], "*" * 12 + "cdef")
        self.assertEqual(kinds.JoinTokenCreate(actor=ALICE, name="short").fields()["name"], "*****")


class RatingTests(SynchronousTestCase):
    """
    Every field has a rating; what has none is secret.
    """

    def test_every_field_of_every_event_is_rated(self) -> None:
        """
        Forgetting a rating would redact the field.
        """
        groups = (kinds.Actor, kinds.Connection, kinds.Server, kinds.Session, kinds.Recorded, kinds.DatabaseTarget)
        for cls in (*by_name().values(), *groups):
            for rated in rating.rated_fields(cls):
                self.assertIsNot(rated.rating, kinds.Rating.SECRET, f"{cls.__name__}.{rated.attribute}")

    def test_unrated_means_secret(self) -> None:
        """
        A class that forgets a rating is caught.
        """

        @frozen(kw_only=True)
        class Careless:
            named: kinds.Public[str] = "a"
            forgotten: str = "b"

        kept = {name: rated for name, _, rated in rating.flattened(Careless())}
        self.assertEqual(kept, {"named": kinds.Rating.PUBLIC, "forgotten": kinds.Rating.SECRET})

    def test_a_secret_is_never_opened(self) -> None:
        """
        Wherever a Secret hides in a value, it stays shut.
        """
        shown = json.dumps(rating.plain({"a": [Secret("hunter2"), {"b": Secret(b"hunter2")}]}))
        self.assertNotIn("hunter2", shown)


class LookupTests(SynchronousTestCase):
    """
    From names and codes to classes and sentences.
    """

    def test_all_names_are_distinct_and_classes_found(self) -> None:
        """
        Each class of the catalogue is found under its own name.
        """
        classes = [
            cls
            for cls in map(vars(kinds).get, kinds.__all__)
            if isinstance(cls, type) and attrs.has(cls) and "NAME" in vars(cls)
        ]
        self.assertEqual(len(by_name()), len(classes))
        self.assertIs(by_name()["session.start"], kinds.SessionStart)
        self.assertIs(by_code()["T1000W"], kinds.UserLogin)
        self.assertIs(by_code()["T3003S"].NAME.startswith("port"), True)

    def test_sentences(self) -> None:
        """
        Each event tells its story; unknown ones tell their name.
        """
        for event, sentence in [
            (kinds.UserLogin(actor=ALICE), "User [alice] signed in by local"),
            (
                kinds.UserLogin(actor=ALICE, success=False, error="bad password"),
                "Sign-in of [alice] by local failed: bad password",
            ),
            (
                kinds.PortLocal(actor=ALICE, address="h:1", phase=kinds.Phase.STOP),
                "User [alice] stopped port forwarding to [h:1]",
            ),
            (
                kinds.SFTP(actor=ALICE, action=kinds.SFTPAction.MKDIR, path="/d", server=HOST),
                "User [alice] did mkdir on [/d] of [db1]",
            ),
            (
                kinds.JoinTokenCreate(actor=ALICE, roles=("Node", "App")),
                "A join token for Node, App was created by [alice]",
            ),
            (kinds.LockCreated(actor=ALICE), "Lock [?] was created by [alice]"),
        ]:
            self.assertEqual(describe({**event.fields(), "event": event.NAME, "code": event.code}), sentence)
        self.assertEqual(describe({"event": "new.thing"}), "new.thing")
        self.assertIn("operation", describe({"event": "sftp", "action": "x"}))
