"""
SFTP attributes.
"""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp import attributes
from teleport_tw.protocols.sftp.attributes import Attributes
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_uint32

_UINT32 = st.integers(0, 2**32 - 1)
_PAIRS = st.one_of(st.none(), st.tuples(_UINT32, _UINT32))
_ATTRIBUTES = st.builds(
    Attributes,
    size=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    owner=_PAIRS,
    permissions=st.one_of(st.none(), _UINT32),
    times=_PAIRS,
)


class AttributesTests(SynchronousTestCase):
    """
    Both ways.
    """

    @settings(deadline=None)
    @given(_ATTRIBUTES)
    def test_round_trip(self, wanted: Attributes) -> None:
        """
        What was written is read, and nothing is left.
        """
        reader = Reader(wanted.encode())
        self.assertEqual(attributes.read(reader), wanted)
        reader.end()

    @settings(deadline=None)
    @given(_ATTRIBUTES)
    def test_cut_short(self, wanted: Attributes) -> None:
        """
        Every shorter piece is refused.
        """
        data = wanted.encode()
        for end in range(len(data)):
            with self.assertRaises(RemoteProtocolError):
                attributes.read(Reader(data[:end]))

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_garbage(self, data: bytes) -> None:
        """
        Is read, or ends in one error.
        """
        with contextlib.suppress(RemoteProtocolError):
            attributes.read(Reader(data))

    def test_extensions_are_passed_over(self) -> None:
        """
        As many as make sense.
        """
        data = put_uint32(attributes.EXTENDED) + put_uint32(1) + put_string(b"a@b") + put_string(b"c")
        reader = Reader(data)
        self.assertEqual(attributes.read(reader), Attributes())
        reader.end()
        with self.assertRaises(RemoteProtocolError):
            attributes.read(Reader(put_uint32(attributes.EXTENDED) + put_uint32(65)))

    def test_a_files_own(self) -> None:
        """
        Times before 1970 and after 2106 are cut to what 32 bits hold.
        """
        data = attributes.of_file(5, 1000, 100, 0o100644, -3.5, 2.0**40)
        self.assertEqual(attributes.read(Reader(data)), Attributes(5, (1000, 100), 0o100644, (0, 2**32 - 1)))
