"""
The packets that open a connection of protocol 3, before the first typed message, as frozen classes.

They have a length and no type: what they are is told by a L{Code} where a startup packet has its version.

@see: PostgreSQL 17 manual, I{Message Formats}
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from attrs import field, frozen

PROTOCOL_3_0 = 0x0003_0000
PROTOCOL_3_2 = 0x0003_0002

Parameters: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values in their order, doubled names included."""


class Code(IntEnum):
    """
    What stands where a startup packet has its version.
    """

    CANCEL_REQUEST = 80877102
    SSL_REQUEST = 80877103
    GSSENC_REQUEST = 80877104


@frozen
class SSLRequest:
    """
    Asks for TLS; the answer is one byte, C{S} or C{N}.
    """


@frozen
class GSSENCRequest:
    """
    Asks for GSSAPI encryption; the answer is one byte, C{G} or C{N}.
    """


@frozen
class CancelRequest:
    """
    Asks to stop what another connection does.

    @ivar process_id: as that connection was told.
    @ivar secret: four bytes in protocol 3.0, up to 256 in 3.2.
    """

    process_id: int
    secret: bytes = field(repr=False)


@frozen
class StartupMessage:
    """
    @ivar version: C{major << 16 | minor}.
    """

    parameters: Parameters
    version: int = PROTOCOL_3_0

    @property
    def major(self) -> int:
        """
        Of the version.
        """
        return self.version >> 16

    @property
    def minor(self) -> int:
        """
        Of the version.
        """
        return self.version & 0xFFFF

    def get(self, name: bytes) -> bytes:
        """
        @return: the parameter's value; empty where it is not there.
        """
        return dict(self.parameters).get(name, b"")


Opening: TypeAlias = SSLRequest | GSSENCRequest | CancelRequest | StartupMessage
