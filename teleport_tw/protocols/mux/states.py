"""
The states of streams and of their link, and every legal step between them: what code, tests and readers all go by.

How they are walked is told by L{teleport_tw.protocols.mux.machine}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """
    Where a stream stands.
    """

    SYN_SENT = "we opened it; the peer has not said that it accepts"
    SYN_RECEIVED = "the peer opened it; we have not said that we accept"
    ESTABLISHED = "open both ways"
    LOCAL_CLOSED = "we send no more data, the peer may"
    REMOTE_CLOSED = "the peer sends no more data, we may"
    CLOSED = "over; the machine has forgotten it"


class Input(Enum):
    """
    What moves a stream: a flag, going out or coming in.
    """

    SEND_ACK = "send ACK"
    RECEIVE_ACK = "receive ACK"
    SEND_DATA = "send data"
    RECEIVE_DATA = "receive data"
    SEND_FIN = "send FIN"
    RECEIVE_FIN = "receive FIN"
    SEND_RST = "send RST"
    RECEIVE_RST = "receive RST"


TRANSITIONS: Mapping[tuple[State, Input], State] = {
    (State.SYN_SENT, Input.RECEIVE_ACK): State.ESTABLISHED,
    (State.SYN_SENT, Input.SEND_DATA): State.SYN_SENT,
    (State.SYN_SENT, Input.RECEIVE_DATA): State.SYN_SENT,
    (State.SYN_SENT, Input.SEND_FIN): State.LOCAL_CLOSED,
    (State.SYN_SENT, Input.RECEIVE_FIN): State.REMOTE_CLOSED,
    (State.SYN_SENT, Input.SEND_RST): State.CLOSED,
    (State.SYN_SENT, Input.RECEIVE_RST): State.CLOSED,
    (State.SYN_RECEIVED, Input.SEND_ACK): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.RECEIVE_ACK): State.SYN_RECEIVED,
    (State.SYN_RECEIVED, Input.SEND_DATA): State.SYN_RECEIVED,
    (State.SYN_RECEIVED, Input.RECEIVE_DATA): State.SYN_RECEIVED,
    (State.SYN_RECEIVED, Input.SEND_FIN): State.LOCAL_CLOSED,
    (State.SYN_RECEIVED, Input.RECEIVE_FIN): State.REMOTE_CLOSED,
    (State.SYN_RECEIVED, Input.SEND_RST): State.CLOSED,
    (State.SYN_RECEIVED, Input.RECEIVE_RST): State.CLOSED,
    (State.ESTABLISHED, Input.RECEIVE_ACK): State.ESTABLISHED,
    (State.ESTABLISHED, Input.SEND_DATA): State.ESTABLISHED,
    (State.ESTABLISHED, Input.RECEIVE_DATA): State.ESTABLISHED,
    (State.ESTABLISHED, Input.SEND_FIN): State.LOCAL_CLOSED,
    (State.ESTABLISHED, Input.RECEIVE_FIN): State.REMOTE_CLOSED,
    (State.ESTABLISHED, Input.SEND_RST): State.CLOSED,
    (State.ESTABLISHED, Input.RECEIVE_RST): State.CLOSED,
    (State.LOCAL_CLOSED, Input.RECEIVE_ACK): State.LOCAL_CLOSED,
    (State.LOCAL_CLOSED, Input.SEND_ACK): State.LOCAL_CLOSED,
    (State.LOCAL_CLOSED, Input.RECEIVE_DATA): State.LOCAL_CLOSED,
    (State.LOCAL_CLOSED, Input.RECEIVE_FIN): State.CLOSED,
    (State.LOCAL_CLOSED, Input.SEND_RST): State.CLOSED,
    (State.LOCAL_CLOSED, Input.RECEIVE_RST): State.CLOSED,
    (State.REMOTE_CLOSED, Input.SEND_ACK): State.REMOTE_CLOSED,
    (State.REMOTE_CLOSED, Input.RECEIVE_ACK): State.REMOTE_CLOSED,
    (State.REMOTE_CLOSED, Input.SEND_DATA): State.REMOTE_CLOSED,
    (State.REMOTE_CLOSED, Input.SEND_FIN): State.CLOSED,
    (State.REMOTE_CLOSED, Input.SEND_RST): State.CLOSED,
    (State.REMOTE_CLOSED, Input.RECEIVE_RST): State.CLOSED,
}
"""Every legal step. Data or a second FIN after a FIN is the peer's mistake; ACK may repeat, it changes nothing."""

SENDING = frozenset({Input.SEND_ACK, Input.SEND_DATA, Input.SEND_FIN, Input.SEND_RST})
"""What we do ourselves: a step that is not in the table is our mistake, and any other the peer's."""


class LinkState(Enum):
    """
    Where the link stands.
    """

    OPEN = "both sides may open streams"
    LOCAL_AWAY = "we said go-away: the peer opens no more"
    REMOTE_AWAY = "the peer said go-away: we open no more"
    BOTH_AWAY = "nobody opens streams; those that are open go on"
    ENDED = "nothing comes and nothing goes"


class LinkInput(Enum):
    """
    What moves a link.
    """

    SEND_GO_AWAY = "send go-away, normal"
    RECEIVE_GO_AWAY = "receive go-away, normal"
    END = "an error either way, or the transport is gone"


LINK_TRANSITIONS: Mapping[tuple[LinkState, LinkInput], LinkState] = {
    (LinkState.OPEN, LinkInput.SEND_GO_AWAY): LinkState.LOCAL_AWAY,
    (LinkState.OPEN, LinkInput.RECEIVE_GO_AWAY): LinkState.REMOTE_AWAY,
    (LinkState.OPEN, LinkInput.END): LinkState.ENDED,
    (LinkState.LOCAL_AWAY, LinkInput.SEND_GO_AWAY): LinkState.LOCAL_AWAY,
    (LinkState.LOCAL_AWAY, LinkInput.RECEIVE_GO_AWAY): LinkState.BOTH_AWAY,
    (LinkState.LOCAL_AWAY, LinkInput.END): LinkState.ENDED,
    (LinkState.REMOTE_AWAY, LinkInput.SEND_GO_AWAY): LinkState.BOTH_AWAY,
    (LinkState.REMOTE_AWAY, LinkInput.RECEIVE_GO_AWAY): LinkState.REMOTE_AWAY,
    (LinkState.REMOTE_AWAY, LinkInput.END): LinkState.ENDED,
    (LinkState.BOTH_AWAY, LinkInput.SEND_GO_AWAY): LinkState.BOTH_AWAY,
    (LinkState.BOTH_AWAY, LinkInput.RECEIVE_GO_AWAY): LinkState.BOTH_AWAY,
    (LinkState.BOTH_AWAY, LinkInput.END): LinkState.ENDED,
    (LinkState.ENDED, LinkInput.END): LinkState.ENDED,
}
