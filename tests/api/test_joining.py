"""
Joining as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Certificates, JoinRequest, PublicKeys
from teleport_tw.api.joining import (
    MAX_REQUEST,
    STATUS,
    answer_from_json,
    answer_to_json,
    error_to_json,
    request_from_json,
    request_to_json,
)
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Metadata, Resource

REQUEST = JoinRequest(
    token=Secret("s3cr3t"),
    role=SystemRole.NODE,
    host_id="0f0e",
    node_name="db1",
    keys=PublicKeys(ssh=b"ssh-ed25519 AAAA", tls=b"-----BEGIN PUBLIC KEY-----\n"),
    addresses=("db1.example.com", "10.0.0.1"),
    remote_address="192.0.2.7",
)
ANSWER = Certificates(
    ssh=b"ssh-ed25519-cert-v01@openssh.com AAAA",
    tls=b"-----BEGIN",
    authorities=(Resource("cert_authority", "v2", Metadata("example.com"), {"type": "host"}, "host"),),
    host_id="0f0e",
    cluster="example.com",
)


class Joining(SynchronousTestCase):
    """
    Both ends.
    """

    def test_round_trips(self) -> None:
        """Request and answer come back the same."""
        self.assertEqual(request_from_json(request_to_json(REQUEST), "192.0.2.7"), REQUEST)
        self.assertEqual(answer_from_json(200, answer_to_json(ANSWER)), ANSWER)

    def test_address_is_the_servers(self) -> None:
        """The client has no say in the address that is recorded."""
        body = json.loads(request_to_json(REQUEST)) | {"remote_address": "10.9.9.9"}
        self.assertEqual(request_from_json(json.dumps(body).encode(), "192.0.2.7").remote_address, "192.0.2.7")

    def test_errors(self) -> None:
        """Each kind comes back by its status; details stay behind."""
        for kind, status in STATUS.items():
            body = error_to_json(TeleportError(kind, "the text", details="the reason"))
            self.assertNotIn(b"reason", body)
            with self.assertRaises(TeleportError) as caught:
                answer_from_json(status, body)
            self.assertEqual((caught.exception.kind, caught.exception.message), (kind, "the text"))

    def test_not_ours(self) -> None:
        """Another server's page is a CONNECTION_PROBLEM that says so."""
        for status, body in ((200, b"<html>"), (502, b"<html>bad gateway"), (200, b"[]"), (200, b'{"ssh": 3}')):
            with self.assertRaises(TeleportError) as caught:
                answer_from_json(status, body)
            self.assertEqual(caught.exception.kind, Kind.CONNECTION_PROBLEM, body)

    @given(st.binary(max_size=50) | st.dictionaries(st.text(), st.integers() | st.text(), max_size=4))
    def test_garbage(self, garbage: Any) -> None:
        """Garbage is a BAD_PARAMETER."""
        body = garbage if isinstance(garbage, bytes) else json.dumps(garbage).encode()
        with self.assertRaises(TeleportError) as caught:
            request_from_json(body, "")
        self.assertEqual(caught.exception.kind, Kind.BAD_PARAMETER)

    def test_bounds(self) -> None:
        """Long requests and long lists of names are refused."""
        many = json.loads(request_to_json(REQUEST)) | {"additional_principals": ["x"] * 65}
        for body in (b" " * (MAX_REQUEST + 1), json.dumps(many).encode()):
            with self.assertRaises(TeleportError) as caught:
                request_from_json(body, "")
            self.assertEqual(caught.exception.kind, Kind.BAD_PARAMETER)
