"""
An answer with its reason: what every question of this room gives back.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.base.errors import access_denied
from teleport_tw.resources.roles_options import DeviceTrust, SessionMFA


@frozen
class Finding:
    """
    What one role said.
    """

    role: str
    text: str

    def __str__(self) -> str:
        return f"role {self.role!r} {self.text}"


@frozen(kw_only=True)
class Decision:
    """
    An answer with its reason.

    @ivar reason: for administrators and the audit log; never for the user.
    @ivar role: the role that allowed, or denied; empty when none did either.
    @ivar mfa: what the session asks of the second factor; only when allowed.
    @ivar device_trust: what it asks of the device; only when allowed.
    @ivar findings: what each role said.
    """

    allowed: bool
    reason: str
    role: str = ""
    mfa: SessionMFA = SessionMFA.NO
    device_trust: DeviceTrust = DeviceTrust.OFF
    findings: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed

    def check(self) -> Decision:
        """
        @return: itself.
        @raise TeleportError: ACCESS_DENIED, with the reason in C{details} only.
        """
        if not self.allowed:
            raise access_denied(details=self.reason)
        return self
