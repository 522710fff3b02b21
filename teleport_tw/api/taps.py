"""
A second factor in the middle of an SSH login: for clients that know nothing of it, such as OpenSSH's.

A host sees a good certificate and a session that takes more. It asks auth, on the user's behalf and with the user's
certificate in hand, whether an earlier answer covers the session; if none does, it begins a I{tap}: the user types a
code at the host's prompt, or approves the tap on the web, and the host hears from auth which device it was. The host
decides nothing but whether a factor is needed, and learns nothing that it could use elsewhere: a code is spent by its
first use, and what it proves counts with this certificate alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from attrs import frozen

from teleport_tw.api.factors import MfaAnswer
from teleport_tw.base.secret import Secret

BANNER = "This session needs a second factor."
"""Shown by hosts before the question; and all that those read who turned questions off, as C{BatchMode} does."""

TARGET_KIND = "ssh_login"
"""Of the C{MfaTarget} of a challenge with which a tap is approved; its name is the tap's id."""


@frozen(kw_only=True)
class TapRequest:
    """
    @ivar certificate: the user's SSH certificate, as shown; auth verifies it again.
    @ivar node: host id of the server.
    @ivar login: asked for there.
    @ivar address: the user's, as the host sees it.
    """

    certificate: bytes
    node: str
    login: str
    address: str = ""


@frozen(kw_only=True)
class Tap:
    """
    One login that waits for its user.

    @ivar hostname: of the server.
    @ivar otp: a code may be typed at the prompt.
    @ivar link: of the page where a key approves it; empty where keys do not count, or no proxy has a public name.
    @ivar device: that proved who the user is; empty until then.
    """

    id: str
    username: str
    node: str
    hostname: str
    login: str
    address: str = ""
    otp: bool = False
    link: str = ""
    created: datetime
    expires: datetime
    device: str = ""


class Taps(Protocol):
    """
    The first four are for hosts: an agent for itself, a proxy for any server whose SSH ends at it. The others are for
    the user.
    """

    async def tap_covered(self, request: TapRequest) -> str:
        """
        @return: the device of an earlier answer that still counts for this certificate; empty without one.
        @raise TeleportError: ACCESS_DENIED, the certificate is no good, or the server is none of the caller's.
        """
        ...

    async def begin_tap(self, request: TapRequest) -> Tap:
        """
        @raise TeleportError: as L{tap_covered}; BAD_PARAMETER, the user has nothing to prove anything with.
        """
        ...

    async def answer_tap(self, id: str, code: Secret[str]) -> str:
        """
        @return: the device.
        @raise TeleportError: ACCESS_DENIED, the code is wrong, or the tap is over; LIMIT_EXCEEDED, the account is
            locked after too many of them.
        """
        ...

    async def wait_tap(self, id: str) -> str:
        """
        Some seconds, until the user approves.

        @return: the device; empty when nobody approved yet.
        @raise TeleportError: ACCESS_DENIED, the tap is over.
        """
        ...

    async def get_tap(self, id: str) -> Tap:
        """
        @raise TeleportError: NOT_FOUND, also where it is somebody else's.
        """
        ...

    async def approve_tap(self, id: str, answer: MfaAnswer) -> None:
        """
        @param answer: to a challenge of scope C{session} with this tap as its target.
        @raise TeleportError: NOT_FOUND; ACCESS_DENIED, the answer is wrong; COMPARE_FAILED, it is answered already.
        """
        ...
