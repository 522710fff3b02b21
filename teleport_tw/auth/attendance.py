"""
Moderators' proofs that they are there, kept for the host that asks for them.

A proof is for one user and one session: a key signs a challenge that is bound to the session, a code is spent. It says
nothing of which of the user's windows it came from; who holds the factor is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from attrs import define, evolve

from teleport_tw.api.contract import MfaAnswer, Scope
from teleport_tw.auth.account import Accounts, person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.presence import PresenceRegister
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import Duration, format_time, parse_time

KEPT: Duration = timedelta(minutes=5)
"""Five times as long as a host waits for the next."""

MAX_USERS = 64
"""Asked for at once: a session has fewer members."""


@define(eq=False)
class AttendanceDesk:
    """
    Shared by all callers.
    """

    core: Core
    accounts: Accounts
    presence: PresenceRegister

    async def prove(self, gate: Gate, session: str, answer: MfaAnswer) -> None:
        """See the contract."""
        username, core = person(gate), self.core
        if answer.recovery:
            raise bad_parameter("a recovery code does not prove that you are there; use your key or authenticator")
        bound = target_of(session)
        proof = await self.accounts.prove(username, answer, Scope.SESSION_PRESENCE, bound)
        gate.check_locks(evolve(gate.identity, mfa_device=proof.device))
        now = core.now()
        fields = {"device": proof.device, "at": format_time(now)}
        await core.challenges.remember(username, _name(session), fields, now + KEPT)

    async def seen(self, gate: Gate, session: str, users: Sequence[str]) -> Mapping[str, float]:
        """See the contract."""
        name = _name(session)
        if len(users) > MAX_USERS:
            raise bad_parameter(f"ask for {MAX_USERS} users at most")
        await self.presence.check_runs_session(gate, session)
        now, found = self.core.now(), {}
        for user in users:
            fields = await self.core.challenges.recall(user, name, now)
            if fields is not None:
                found[user] = max(0.0, (now - parse_time(str(fields["at"]))).total_seconds())
        return found


def target_of(session: str) -> str:
    """
    @return: what a challenge for this session is bound to.
    @raise TeleportError: BAD_PARAMETER, that is no session's id.
    """
    return f"presence/{_id(session)}"


def _name(session: str) -> str:
    return f"presence-{_id(session)}"


def _id(session: str) -> str:
    try:
        return str(UUID(session))
    except ValueError as error:
        raise bad_parameter("that is no session's id") from error
