"""
Which capabilities meet.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.protocols.mysql.capabilities import (
    ESSENTIAL,
    GENERAL,
    LAYOUT,
    Capability,
    compression,
    missing,
    offered,
    wanted,
)

C = Capability
ANY = st.integers(0, 2**38 - 1).map(Capability)


class CapabilityTests(SynchronousTestCase):
    """
    Between user, us and target.
    """

    @given(ANY, ANY)
    def test_both_connections_have_the_same_layout(self, target: Capability, asked: Capability) -> None:
        """
        Whatever a client takes of our offer, the target is asked for it and has it.
        """
        target |= ESSENTIAL | C.SSL
        user = (asked | ESSENTIAL) & offered(target)
        self.assertFalse(missing(user, target))
        self.assertEqual(wanted(user, target) & LAYOUT, user & LAYOUT)
        self.assertFalse(wanted(user, target) & ~target)

    @given(ANY)
    def test_a_proxys_offer(self, asked: Capability) -> None:
        """
        Is kept by every server of the last years; what an older one lacks is known.
        """
        modern = GENERAL | C.SSL
        user = asked & GENERAL
        self.assertFalse(missing(user, modern))
        self.assertEqual(missing(C.DEPRECATE_EOF, modern & ~C.DEPRECATE_EOF), C.DEPRECATE_EOF)

    def test_tls_is_never_offered(self) -> None:
        """
        Whoever reaches us has it already.
        """
        for target in (None, C(2**38 - 1)):
            self.assertFalse(offered(target) & C.SSL)

    def test_compression(self) -> None:
        """
        zlib first, as servers have it.
        """
        for user, found in [
            (C.COMPRESS | C.ZSTD_COMPRESSION_ALGORITHM, "zlib"),
            (C.ZSTD_COMPRESSION_ALGORITHM, "zstd"),
            (C(0), ""),
        ]:
            self.assertEqual(compression(user, GENERAL), found)
