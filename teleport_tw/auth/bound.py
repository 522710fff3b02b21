"""
What a caller's API has of its own: who it is, where from, and what it proved.
"""

from __future__ import annotations

from hashlib import sha256

from attrs import define, field

from teleport_tw.api.contract import MfaAnswer
from teleport_tw.auth.account import Accounts
from teleport_tw.auth.attendance import AttendanceDesk
from teleport_tw.auth.browser import BrowserDesk
from teleport_tw.auth.changes import Changes
from teleport_tw.auth.core import Core
from teleport_tw.auth.delivery import Ownership
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.headless import HeadlessDesk
from teleport_tw.auth.inband import TapDesk
from teleport_tw.auth.joining.token import TokenJoining
from teleport_tw.auth.presence import PresenceRegister
from teleport_tw.auth.taps import Taps
from teleport_tw.auth.users import UserCertificates
from teleport_tw.auth.websessions import WebSessionDesk
from teleport_tw.pki.identity import Identity, SystemRole


@define(eq=False)
class Parts:
    """
    What the callers' APIs share beside the core.
    """

    core: Core
    presence: PresenceRegister
    changes: Changes
    users: UserCertificates
    joining: TokenJoining
    ownership: Ownership
    accounts: Accounts
    taps: Taps
    web: WebSessionDesk
    headless: HeadlessDesk
    browser: BrowserDesk
    in_band: TapDesk
    attendance: AttendanceDesk


@define(eq=False)
class Bound:
    """
    One caller.

    @ivar address: where the caller is; empty where nobody knows.
    @ivar certificate: the one it showed, PEM; empty for services of this very process, and where nobody knows.
    @ivar answer: a second factor shown along with the call.
    """

    _parts: Parts
    identity: Identity
    address: str = ""
    certificate: bytes = b""
    answer: MfaAnswer | None = None
    _gate: Gate = field(init=False)

    def __attrs_post_init__(self) -> None:
        holder = sha256(self.certificate.strip()).hexdigest() if self.certificate else ""
        self._gate = Gate(self._parts.core, self.identity, self.address, holder)

    @property
    def _core(self) -> Core:
        return self._parts.core

    def _admit(self) -> Gate:
        self._gate.admit()
        return self._gate

    def _require_proxy(self) -> None:
        gate = self._admit()
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("only proxies ask this, for whoever has the link")
