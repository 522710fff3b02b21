"""
What L{teleport_tw.protocols.mux.machine.Machine} tells its caller of the frames it was given.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.protocols.mux.messages import Buffer


@frozen
class Opened:
    """
    The peer opened a stream; C{Machine.accept} or C{Machine.reset} it.
    """

    stream_id: int


@frozen
class Accepted:
    """
    The peer accepted a stream of ours.
    """

    stream_id: int


@frozen
class Received:
    """
    Bytes for the reader of a stream; tell C{Machine.consumed} when it has taken them.
    """

    stream_id: int
    payload: Buffer


@frozen
class Credited:
    """
    More may be sent on a stream that had run out of credit.
    """

    stream_id: int


@frozen
class Finished:
    """
    The peer sends no more on this stream.
    """

    stream_id: int


@frozen
class Reset:
    """
    The peer ended the stream at once.
    """

    stream_id: int


@frozen
class Ponged:
    """
    The peer answered a ping of ours.
    """

    value: int


@frozen
class WentAway:
    """
    The peer wants no more streams. With another code than NORMAL the link is over.

    @ivar code: a L{GoAwayCode} or an unknown number.
    """

    code: int


Outcome = Opened | Accepted | Received | Credited | Finished | Reset | Ponged | WentAway
