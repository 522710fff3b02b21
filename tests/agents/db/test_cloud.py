"""
Tokens of IAM, made with credentials that are nobody's; AWS is not asked.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.cloud import KEEP_SECONDS, MAX_TOKENS, WORK_SECONDS, Order, Tokens, signed
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.resources.databases import AWS, Database
from tests.agents.db.test_passwords import Here

try:
    import boto3
    from botocore.stub import Stubber
except ImportError:
    boto3 = None

HOST = "orders.abc.eu-west-1.rds.amazonaws.com"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "the key of nobody",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def database(protocol: str = "postgres", uri: str = f"{HOST}:5432", **aws: Any) -> Database:
    """
    One of Amazon's.
    """
    return Database(name="orders", protocol=protocol, uri=uri, aws=AWS(**{"region": "eu-west-1", **aws}))


class OrderTests(SynchronousTestCase):
    """
    L{Order}.
    """

    def test_databases_that_take_tokens(self) -> None:
        """RDS by its address, caches by the name of their group or cluster."""
        order = Order.of(database("mysql", "db:3306"), "alice")
        assert order is not None
        self.assertEqual((order.service, order.url, order.region), ("rds-db", "https://db:3306/", "eu-west-1"))
        self.assertEqual(order.query, {"Action": "connect", "DBUser": "alice"})
        for section, service in (
            ({"elasticache": {"replication_group_id": "group"}}, "elasticache"),
            ({"memorydb": {"cluster_name": "group"}}, "memorydb"),
        ):
            order = Order.of(database("redis", "cache:6379", details=section), "alice")
            assert order is not None
            self.assertEqual((order.service, order.url), (service, "http://group/"))
            self.assertEqual(order.query, {"Action": "connect", "User": "alice"})

    def test_databases_that_take_none(self) -> None:
        """No region; protocols that have no such token; a cache whose name is not told."""
        self.assertIsNone(Order.of(database(region=""), "alice"))
        self.assertIsNone(Order.of(database("mongodb", "db:27017"), "alice"))
        for details in ({}, {"elasticache": {}}, {"elasticache": "x"}, {"memorydb": {"cluster_name": 3}}):
            self.assertIsNone(Order.of(database("redis", "cache:6379", details=details), "alice"))

    def test_redshift_is_a_clear_error(self) -> None:
        """Its passwords are made otherwise."""
        for name in ("redshift", "redshift_serverless"):
            with self.assertRaises(TeleportError) as caught:
                Order.of(database(details={name: {"cluster_id": "x"}}), "alice")
            self.assertIn("Redshift", caught.exception.message)


class TokensTests(SynchronousTestCase):
    """
    L{Tokens}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.orders: list[Order] = []
        self.tokens = Tokens(self.clock, Here(), self.make)  # type: ignore[arg-type]

    def make(self, order: Order) -> Secret[bytes]:
        """
        As L{signed}.
        """
        self.orders.append(order)
        return Secret(b"%s number %d" % (order.query["DBUser"].encode(), len(self.orders)))

    def got(self, of: Database, user: str = "alice") -> bytes | None:
        """
        @return: the token.
        """
        found = self.successResultOf(Deferred.fromCoroutine(self.tokens.password(of, user)))
        return None if found is None else found.reveal()

    def test_kept_for_ten_minutes(self) -> None:
        """Sessions share one, until a database would be about to take it no more."""
        self.assertEqual(self.got(database()), b"alice number 1")
        self.clock.advance(KEEP_SECONDS - 1)
        self.assertEqual(self.got(database()), b"alice number 1")
        self.clock.advance(1)
        self.assertEqual(self.got(database()), b"alice number 2")

    def test_for_one_user_of_one_database(self) -> None:
        """Another user, host, region, role or external id has another."""
        wanted = [
            (database(), "alice"),
            (database(), "bob"),
            (database(uri="other:5432"), "alice"),
            (database(region="eu-west-2"), "alice"),
            (database(assume_role_arn="arn:aws:iam::1:role/x"), "alice"),
            (database(assume_role_arn="arn:aws:iam::1:role/x", external_id="y"), "alice"),
        ]
        self.assertEqual(len({self.got(*each) for each in wanted}), 6)
        self.assertEqual(len({self.got(*each) for each in wanted}), 6)
        self.assertEqual(len(self.orders), 6)

    def test_bounded(self) -> None:
        """Of too many the oldest is made anew."""
        for number in range(MAX_TOKENS + 1):
            self.got(database(), f"user{number}")
        self.got(database(), f"user{MAX_TOKENS}")
        self.assertEqual(len(self.orders), MAX_TOKENS + 1)
        self.got(database(), "user0")
        self.assertEqual(len(self.orders), MAX_TOKENS + 2)

    def test_nothing_for_others(self) -> None:
        """A database that is not Amazon's."""
        self.assertIsNone(self.got(database(region="")))

    def test_not_in_time(self) -> None:
        """Whoever waits is told."""
        never: Deferred[Any] = Deferred()
        tokens = Tokens(self.clock, mock.Mock(run=lambda *_: never), self.make)
        asking = Deferred.fromCoroutine(tokens.password(database(), "alice"))
        self.clock.advance(WORK_SECONDS - 1)
        self.assertNoResult(asking)
        self.clock.advance(1)
        error = self.failureResultOf(asking, TeleportError).value
        self.assertIs(error.kind, Kind.CONNECTION_PROBLEM)

    def test_not_in_words(self) -> None:
        """Neither token nor key is in what is printed."""
        self.got(database())
        self.assertNotIn("number", repr(self.tokens))


class SignedTests(SynchronousTestCase):
    """
    L{signed}.
    """

    if boto3 is None:
        skip = "boto3 is not installed (extra aws)"

    def setUp(self) -> None:
        environment = mock.patch.dict("os.environ", ENVIRONMENT)
        environment.start()
        self.addCleanup(environment.stop)

    def made(self, of: Database, user: str = "alice") -> str:
        """
        @return: the token.
        """
        order = Order.of(of, user)
        assert order is not None
        return signed(order).reveal().decode("ascii")

    def test_as_boto3_makes_it(self) -> None:
        """C{rds.generate_db_auth_token} at the same moment, whatever the user's name."""
        client = boto3.client("rds", region_name="eu-west-1")
        moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
        with mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
            for user in ("alice", "a/b&c=d e", "ünïcödé"):
                self.assertEqual(self.made(database(), user), client.generate_db_auth_token(HOST, 5432, user))

    def test_of_a_cache(self) -> None:
        """A request to connect to the group, in the name of its service, for fifteen minutes."""
        token = self.made(database("redis", "cache:6379", details={"elasticache": {"replication_group_id": "group"}}))
        parts = urlsplit(f"http://{token}")
        query = {name: value for name, [value] in parse_qs(parts.query).items()}
        self.assertEqual((parts.netloc, parts.path), ("group", "/"))
        self.assertEqual((query["Action"], query["User"], query["X-Amz-Expires"]), ("connect", "alice", "900"))
        self.assertIn("/eu-west-1/elasticache/aws4_request", query["X-Amz-Credential"])

    def test_with_a_role(self) -> None:
        """The role is asked for with its external id, and its credentials sign."""
        sts = boto3.client("sts", region_name="eu-west-1")
        credentials = {
            "AccessKeyId": "ASIAROLEROLEROLE",
            "SecretAccessKey": "of the role",
            "SessionToken": "session-of-the-role",
            "Expiration": datetime(2030, 1, 1, tzinfo=UTC),
        }
        role = "arn:aws:iam::123456789012:role/databases"
        for more in ({}, {"external_id": "ours"}):
            wish = {"RoleArn": role, "RoleSessionName": "teleport-db"}
            wish |= {"ExternalId": "ours"} if more else {}
            with Stubber(sts) as stub, mock.patch("boto3.session.Session.client", return_value=sts):
                stub.add_response("assume_role", {"Credentials": credentials}, wish)
                token = self.made(database(assume_role_arn=role, **more))
                stub.assert_no_pending_responses()
            query = {name: value for name, [value] in parse_qs(urlsplit(f"https://{token}").query).items()}
            self.assertTrue(query["X-Amz-Credential"].startswith("ASIAROLEROLEROLE/"))
            self.assertEqual(query["X-Amz-Security-Token"], "session-of-the-role")

    def test_a_role_that_is_refused(self) -> None:
        """The log has the words of AWS."""
        sts = boto3.client("sts", region_name="eu-west-1")
        with Stubber(sts) as stub, mock.patch("boto3.session.Session.client", return_value=sts):
            stub.add_client_error("assume_role", "AccessDenied", "not you")
            with self.assertRaises(TeleportError) as caught:
                self.made(database(assume_role_arn="arn:aws:iam::123456789012:role/databases"))
        self.assertIn("not you", caught.exception.details)
        self.assertNotIn("not you", caught.exception.message)

    def test_no_credentials(self) -> None:
        """Is told as what it is."""
        with (
            mock.patch.dict("os.environ", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
            self.assertRaises(TeleportError) as caught,
        ):
            self.made(database())
        self.assertIn("no credentials", caught.exception.details)


class WithoutBotoTests(SynchronousTestCase):
    """
    Most agents do not have it.
    """

    def test_a_clear_error(self) -> None:
        """That says what to install."""
        order = Order.of(database(), "alice")
        assert order is not None
        with mock.patch.dict(sys.modules, {"boto3": None}), self.assertRaises(TeleportError) as caught:
            signed(order)
        self.assertIs(caught.exception.kind, Kind.NOT_IMPLEMENTED)
        self.assertIn("pip install 'teleport_tw[aws]'", caught.exception.details)
