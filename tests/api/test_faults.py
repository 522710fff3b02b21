"""
Errors survive the wire, and reasons of refusals do not.
"""

from __future__ import annotations

from grpc import StatusCode
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.faults import CODES, MAX_DETAILS, from_fault, to_fault
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.rpc.faults import Fault


class Faults(SynchronousTestCase):
    """
    Both ways.
    """

    def test_every_kind(self) -> None:
        """Each kind comes back with its text; details too, but for refusals."""
        for kind in Kind:
            fault = to_fault(TeleportError(kind, "text", details="why ü"))
            assert fault is not None
            self.assertEqual(fault.code, CODES[kind])
            back = from_fault(fault)
            self.assertEqual((back.kind, back.message), (kind, "text"))
            self.assertEqual(back.details, "" if kind is Kind.ACCESS_DENIED else "why ü")

    def test_refusal_carries_no_reason(self) -> None:
        """Nothing of the details is anywhere in what is sent."""
        fault = to_fault(TeleportError(Kind.ACCESS_DENIED, "access denied", details="locked"))
        self.assertNotIn("locked", repr(fault))

    def test_long_details(self) -> None:
        """Details are cut before gRPC would cut the connection."""
        fault = to_fault(TeleportError(Kind.NOT_FOUND, "x", details="y" * 100000))
        assert fault is not None
        self.assertLessEqual(len(fault.trailers[1][1]), MAX_DETAILS)

    def test_protocol_error(self) -> None:
        """A peer that broke a protocol is told so; a bug of ours is not told."""
        fault = to_fault(RemoteProtocolError("short"))
        assert fault is not None
        self.assertEqual(from_fault(fault).kind, Kind.BAD_PARAMETER)
        self.assertIsNone(to_fault(KeyError("secret")))

    def test_grpcs_own(self) -> None:
        """What gRPC itself says becomes the nearest kind, its words kept for the log."""
        for code, kind in (
            (StatusCode.UNAVAILABLE, Kind.CONNECTION_PROBLEM),
            (StatusCode.DEADLINE_EXCEEDED, Kind.CONNECTION_PROBLEM),
            (StatusCode.CANCELLED, Kind.CONNECTION_PROBLEM),
            (StatusCode.UNKNOWN, Kind.INTERNAL),
            (StatusCode.DATA_LOSS, Kind.INTERNAL),
            (StatusCode.UNAUTHENTICATED, Kind.ACCESS_DENIED),
            (StatusCode.RESOURCE_EXHAUSTED, Kind.LIMIT_EXCEEDED),
        ):
            error = from_fault(Fault(code, "ipv4:127.0.0.1:1: connection refused"))
            self.assertEqual(error.kind, kind)
            self.assertIn(code.name, error.details)
        self.assertNotIn("ipv4", from_fault(Fault(StatusCode.UNAVAILABLE, "ipv4:127.0.0.1:1: refused")).message)

    def test_unknown_kind(self) -> None:
        """A kind of a later version falls back to the status."""
        fault = Fault(StatusCode.NOT_FOUND, "x", (("teleport-kind", "QUOTA"),))
        self.assertEqual(from_fault(fault).kind, Kind.NOT_FOUND)
