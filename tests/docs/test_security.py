"""
The numbers of C{docs/security.rst}.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import patterns, syntax
from teleport_tw.agents.ssh import forward
from teleport_tw.api import streams
from teleport_tw.audit.spool import Spool
from teleport_tw.auth import issuance, otp, password, users
from teleport_tw.auth.setup import DEFAULT_TTL, MAX_TTL, SetupPurpose
from teleport_tw.conch import algorithms, connection, sealing, userauth
from teleport_tw.config.sections import Teleport
from teleport_tw.dial import lifetime
from teleport_tw.pki import sshcert
from teleport_tw.rpc.server import Limits
from teleport_tw.stores import credentials
from teleport_tw.tunnel import endpoints, heartbeat
from teleport_tw.web import channel

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.rst").read_text()
HOUR = timedelta(hours=1)


def limits() -> dict[str, str]:
    """
    @return: the table of limits.
    """
    body = PAGE.partition("\nLimits\n")[2]
    return dict(re.findall(r"^(\S.*?\S) {2,}(\d.*)$", body, re.MULTILINE))


class NumberTests(SynchronousTestCase):
    """
    Asked of the constants themselves.
    """

    def test_limits(self) -> None:
        """
        Each row that has a constant.
        """
        rpc, pace = Limits(), heartbeat.DEFAULT_PACE
        ping, answer = pace.ping_every.total_seconds(), pace.ping_timeout.total_seconds()
        wanted = {
            "a web request until it is whole": f"{channel.REQUEST_SECONDS:g} s",
            "its body": f"{channel.MAX_BODY_BYTES // 1024} KiB",
            "connections to a proxy from one address": str(Teleport().max_connections),
            "gRPC calls at once, on auth": str(rpc.max_calls),
            "a gRPC message": f"{rpc.max_message_bytes >> 20} MiB",
            "a gRPC call": f"{rpc.call_timeout:g} s",
            "SSH sign-in failures on a connection": str(userauth.LoginRules.__attrs_attrs__.max_attempts.default),
            "SSH sign-in requests on a connection": str(userauth.MAX_REQUESTS),
            "channels on an SSH connection": str(connection.MAX_CHANNELS),
            "an SSH packet": f"{sealing.MAX_PACKET_BYTES // 1024} KiB",
            "a stream's header, to arrive": f"{endpoints.HEADER_TIMEOUT.total_seconds():g} s",
            "a stream's header, its size": f"{streams.MAX_BYTES // 1024} KiB",
            "a stream's answer": f"{endpoints.ANSWER_TIMEOUT.total_seconds():g} s",
            "a tunnel's ping, and its answer": f"{ping:g} s, {answer:g} s",
            "listening ports a user may ask an agent for": str(forward.MAX_LISTENERS),
            "an expression in a role": f"{syntax.MAX_LENGTH} characters",
            "a regular expression in a role (RE2, linear in time)": f"{patterns.MAX_PATTERN} characters",
            "events waiting on a host's disk": f"{Spool.__attrs_attrs__.max_bytes.default >> 30} GiB",
        }
        told = limits()
        for what, value in wanted.items():
            self.assertEqual(told.get(what), value, what)
        self.assertEqual(len(told), len(wanted) + 2)

    def test_certificates(self) -> None:
        """
        Their lives.
        """
        self.assertEqual(issuance.SESSION_TTL, 12 * HOUR)
        self.assertEqual(issuance.MAX_TTL, 30 * HOUR)
        self.assertEqual(issuance.HOST_TTL, timedelta(days=30))
        self.assertEqual((issuance.MIN_TTL, sshcert.SKEW), (timedelta(minutes=1), timedelta(minutes=1)))
        self.assertEqual(users.AGENTLESS_TTL, timedelta(minutes=10))

    def test_signing_in(self) -> None:
        """
        Passwords, codes, failures and links.
        """
        self.assertIn(f"Passwords have {password.MIN_LENGTH} to {password.MAX_LENGTH} characters", PAGE)
        self.assertEqual((otp.DIGITS, otp.STEP, otp.SKEW), (6, 30, 1))
        self.assertEqual(credentials.MOST_FAILURES, 5)
        self.assertEqual((credentials.WINDOW, credentials.LOCKED_FOR), (HOUR / 2, HOUR / 2))
        self.assertEqual(DEFAULT_TTL, {SetupPurpose.INVITE: HOUR, SetupPurpose.RESET: 8 * HOUR})
        self.assertEqual(MAX_TTL, {SetupPurpose.INVITE: 48 * HOUR, SetupPurpose.RESET: 24 * HOUR})

    def test_algorithms(self) -> None:
        """
        What comes first, and what never comes.
        """
        self.assertEqual(algorithms.DEFAULT_KEX[0], b"mlkem768x25519-sha256")
        self.assertIn(b"gcm", algorithms.DEFAULT_CIPHERS[0])
        offered = (*algorithms.DEFAULT_KEX, *algorithms.DEFAULT_CIPHERS, *algorithms.DEFAULT_MACS)
        self.assertEqual([name for name in offered if name.endswith(b"sha1") or b"cbc" in name], [])
        self.assertEqual(lifetime.SWEEP_SECONDS, 1)
