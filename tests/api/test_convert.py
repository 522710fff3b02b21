"""
What goes onto the wire comes back the same, and what never should have been there is a BAD_PARAMETER.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration as PbDuration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api import ceremonies, convert
from teleport_tw.api.contract import (
    Certificates,
    Change,
    ClusterInfo,
    DatabaseCertificate,
    DatabaseCertRequest,
    EventPage,
    EventQuery,
    Hit,
    HostIssueRequest,
    IssueRequest,
    JoinRequest,
    LoginRequest,
    OpenSSHIssueRequest,
    Page,
    PublicKeys,
    Query,
    SemaphoreRequest,
    SetupPurpose,
    SetupTicket,
    Verification,
    Watched,
)
from teleport_tw.api.proto import auth_pb2, resource_pb2
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import RouteToDatabase, SystemRole
from teleport_tw.resources.metadata import Metadata, Resource

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))
spans = st.timedeltas(timedelta(days=-1000), timedelta(days=100000))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, values, max_size=4)
resources = st.builds(
    Resource,
    kind=text,
    version=text,
    sub_kind=text,
    metadata=st.builds(
        Metadata,
        name=text,
        description=text,
        labels=st.dictionaries(text, text, max_size=3),
        expires=st.none() | moments,
        revision=text,
    ),
    spec=objects,
    status=objects,
)
RESOURCE = Resource("node", "v2", Metadata("n", labels={"a": "b"}), {"addr": "x"}, "teleport", {"up": True})
KEYS = PublicKeys(ssh=b"ssh-ed25519 AAAA", tls=b"-----BEGIN")
NOW = datetime(2026, 1, 31, 15, 4, 5, tzinfo=UTC)

PAIRS: list[tuple[Any, Any, Any]] = [
    (
        Query(
            labels={"env": "prod"},
            search=("a", "b"),
            expression="x == y",
            sub_kind="teleport",
            limit=7,
            start="q",
            sort="-name",
            with_secrets=True,
            accessible=True,
        ),
        convert.query_to_pb,
        convert.query_from_pb,
    ),
    (Query(), convert.query_to_pb, convert.query_from_pb),
    (Page((RESOURCE, RESOURCE), "more"), convert.page_to_pb, convert.page_from_pb),
    (Watched(Change.INIT), convert.watched_to_pb, convert.watched_from_pb),
    (Watched(Change.PUT, RESOURCE), convert.watched_to_pb, convert.watched_from_pb),
    (Watched(Change.DELETE, RESOURCE), convert.watched_to_pb, convert.watched_from_pb),
    (KEYS, ceremonies.keys_to_pb, ceremonies.keys_from_pb),
    (
        Certificates(ssh=b"s", tls=b"t", authorities=(RESOURCE,), host_id="h", cluster="c"),
        ceremonies.certificates_to_pb,
        ceremonies.certificates_from_pb,
    ),
    (
        ClusterInfo(cluster="c", version="1", ca_pins=("sha256:00",), auth_preference={"type": "local"}),
        ceremonies.info_to_pb,
        ceremonies.info_from_pb,
    ),
    (
        JoinRequest(
            token=Secret("t"),
            role=SystemRole.NODE,
            host_id="h",
            node_name="n",
            keys=KEYS,
            addresses=("a",),
            remote_address="1.2.3.4",
        ),
        ceremonies.join_to_pb,
        ceremonies.join_from_pb,
    ),
    (
        LoginRequest(
            username="u",
            password=Secret("p"),
            otp=Secret("123456"),
            keys=KEYS,
            ttl=timedelta(hours=1),
            route_to_cluster="leaf",
            remote_address="::1",
            user_agent="tsh",
        ),
        ceremonies.login_to_pb,
        ceremonies.login_from_pb,
    ),
    (
        IssueRequest(
            keys=KEYS,
            username="u",
            ttl=timedelta(minutes=5),
            route_to_cluster="x",
            database=RouteToDatabase(service="s", protocol="p", username="u", database="d", roles=("r",)),
            remote_address="a",
        ),
        ceremonies.issue_to_pb,
        ceremonies.issue_from_pb,
    ),
    (IssueRequest(keys=KEYS), ceremonies.issue_to_pb, ceremonies.issue_from_pb),
    (
        HostIssueRequest(principals=("a", "b"), keys=KEYS, ttl=timedelta(1), authority="db"),
        ceremonies.issue_host_to_pb,
        ceremonies.issue_host_from_pb,
    ),
    (
        DatabaseCertRequest(key=b"k", username="u", ttl=timedelta(hours=1)),
        ceremonies.issue_database_to_pb,
        ceremonies.issue_database_from_pb,
    ),
    (
        DatabaseCertificate(certificate=b"c", roots=b"r"),
        ceremonies.database_certificate_to_pb,
        ceremonies.database_certificate_from_pb,
    ),
    (
        OpenSSHIssueRequest(user_certificate=b"c", login="root", node="n", ssh_key=b"k"),
        ceremonies.issue_openssh_to_pb,
        ceremonies.issue_openssh_from_pb,
    ),
    *(
        (
            SetupTicket(
                token=Secret("t"),
                username="u",
                purpose=purpose,
                expires=NOW,
                otp_secret=Secret("s"),
                otp_uri=Secret("otpauth://totp"),
            ),
            ceremonies.ticket_to_pb,
            ceremonies.ticket_from_pb,
        )
        for purpose in SetupPurpose
    ),
    (
        SemaphoreRequest(kind="connection", name="u", limit=3, ttl=timedelta(minutes=2), holder="h"),
        convert.semaphore_to_pb,
        convert.semaphore_from_pb,
    ),
    (
        EventQuery(
            since=NOW,
            until=NOW + timedelta(1),
            types=("exec",),
            users=("u",),
            text="rm -rf",
            session="s",
            limit=5,
            start="x",
            descending=True,
        ),
        convert.event_query_to_pb,
        convert.event_query_from_pb,
    ),
    (EventQuery(), convert.event_query_to_pb, convert.event_query_from_pb),
    (EventPage(({"event": "exec", "n": 1},), "y"), convert.event_page_to_pb, convert.event_page_from_pb),
    (Verification(9, ("line 3 was changed",)), convert.verification_to_pb, convert.verification_from_pb),
    ((Hit("s", timedelta(seconds=1.5), "$ ls"),), convert.hits_to_pb, convert.hits_from_pb),
]


class RoundTrips(SynchronousTestCase):
    """
    Both ways.
    """

    def test_pairs(self) -> None:
        """Every request and answer comes back the same, through bytes."""
        for value, to_pb, from_pb in PAIRS:
            message = to_pb(value)
            self.assertEqual(from_pb(type(message).FromString(message.SerializeToString())), value)

    @given(resources)
    def test_resources(self, resource: Resource) -> None:
        """Any resource comes back the same, its spec's keys in their order."""
        message = convert.resource_to_pb(resource)
        back = convert.resource_from_pb(resource_pb2.Resource.FromString(message.SerializeToString()))
        self.assertEqual(back, resource)
        self.assertEqual(list(back.spec), list(resource.spec))

    @given(moments, spans)
    def test_time(self, moment: datetime, span: timedelta) -> None:
        """Times and durations keep their microseconds."""
        self.assertEqual(convert.time_from_pb(convert.time_to_pb(moment)), moment)
        self.assertEqual(convert.duration_from_pb(convert.duration_to_pb(span)), span)

    def test_yaml_dates(self) -> None:
        """Dates that YAML made of an author's text travel as text."""
        spec = {"expires": NOW, "day": NOW.date(), "names": ("a", "b")}
        self.assertEqual(
            convert.json_from_text(convert.json_to_text(spec)),
            {"expires": "2026-01-31T15:04:05Z", "day": "2026-01-31", "names": ["a", "b"]},
        )


class Wrong(SynchronousTestCase):
    """
    What a peer may send and should not.
    """

    def bad(self, call: Any, *arguments: Any) -> None:
        with self.assertRaises(TeleportError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.kind, Kind.BAD_PARAMETER)

    def test_wrong(self) -> None:
        """Each is a BAD_PARAMETER."""
        event = resource_pb2.WatchEvent
        self.bad(convert.json_from_text, "[1]")
        self.bad(convert.json_from_text, "{")
        self.bad(convert.json_from_text, '{"a":' * 100000)
        self.bad(convert.json_to_text, {"a": object()})
        self.bad(convert.time_from_pb, Timestamp(seconds=10**15))
        self.bad(convert.duration_from_pb, PbDuration(seconds=10**15))
        self.bad(convert.watched_from_pb, event())
        self.bad(convert.watched_from_pb, event(change=event.CHANGE_PUT))
        self.bad(ceremonies.system_role, "Emperor")
        self.bad(ceremonies.purpose_from_pb, 0)
        self.bad(ceremonies.purpose_from_pb, 77)
        self.bad(ceremonies.ticket_from_pb, auth_pb2.SetupTicket())

    def test_roles_in_any_case(self) -> None:
        """Tokens are written C{node} as well as C{Node}."""
        self.assertEqual(ceremonies.system_role("node"), SystemRole.NODE)
        self.assertEqual(ceremonies.system_role("WINDOWSDESKTOP"), SystemRole.WINDOWS_DESKTOP)
