"""
Second factors for a single session, and for a change by an administrator.

A session with a target that demands it takes a certificate of its own, for a minute, which says what device was used;
the agent looks for that. One answer covers further sessions for a while (C{mfa_grace}), but only for the very
certificate it was given with: who has a copy of a user's other certificates, or signs in anew, has to answer anew.

@see: reference, section 10
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from hashlib import sha256

from attrs import define, evolve

from teleport_tw.access.options import strongest_mfa
from teleport_tw.api.contract import MfaAnswer, MfaNeed, MfaTarget, Scope
from teleport_tw.api.factors import ADMIN_MFA_NEEDED
from teleport_tw.auth import databases
from teleport_tw.auth.account import Accounts, person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki.sshcert import JOIN_PRINCIPAL
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import Node, all_labels
from teleport_tw.resources.roles import Principal, Target
from teleport_tw.resources.roles_options import SessionMFA

ADMIN_AGAIN: Duration = timedelta(minutes=1)
"""How long an administrator's answer may be shown again: C{tctl create} with several documents is one act."""

LOGIN_GOES_ON: Duration = timedelta(minutes=2)
"""From an answer in the middle of a login to the certificate a proxy needs for its rest."""

NEEDED = "this session needs a second factor; answer with your security key or authenticator and try again"

_SESSION = "session"
_NAMES: Mapping[Target, Principal] = {Target.NODE: Principal.LOGINS, Target.DATABASE: Principal.DB_USERS}
_TARGETS: Mapping[str, Target] = {
    "node": Target.NODE,
    "db": Target.DATABASE,
    "database": Target.DATABASE,
    "app": Target.APP,
    "kube_cluster": Target.KUBERNETES,
    "windows_desktop": Target.DESKTOP,
}


@define(eq=False)
class Taps:
    """
    Decides where they are needed, and takes them.
    """

    core: Core
    accounts: Accounts

    # --- sessions

    async def need(self, gate: Gate, target: MfaTarget) -> MfaNeed:
        """See the contract."""
        username = person(gate)
        if not await self._required(gate, target):
            return MfaNeed(required=False)
        return MfaNeed(required=True, covered=bool(await self.covering(gate, username)))

    async def proven(self, gate: Gate, target: MfaTarget, answer: MfaAnswer | None) -> str:
        """
        @return: UUID of the device.
        @raise TeleportError: ACCESS_DENIED, no answer came and none covers it, or it is wrong.
        """
        username = person(gate)
        if answer is None:
            device = await self.covering(gate, username)
            if not device:
                raise gate.refuse("a session certificate without an answer", NEEDED)
        else:
            device = (await self.accounts.prove(username, answer, Scope.SESSION)).device
            await self.count(username, gate.holder, device)
        gate.check_locks(evolve(gate.identity, mfa_device=device))
        return device

    async def count(self, username: str, holder: str, device: str, *, node: str = "") -> None:
        """
        From now on an answer counts for a while.

        @param holder: the digest of the certificate it was given with.
        @param node: where it was given in the middle of a login, which it lets go on even where no answer counts for a
            second session.
        """
        core, fields = self.core, {"device": device, "holder": holder}
        grace = core.preference().mfa_grace
        if holder and grace != NEVER:
            await core.challenges.remember(username, _SESSION + holder, fields, core.now() + grace)
        if holder and node:
            await core.challenges.remember(username, _at(holder, node), fields, core.now() + LOGIN_GOES_ON)

    async def covering(self, gate: Gate, username: str, *, node: str = "") -> str:
        """
        @param node: what was proven in the middle of a login there counts as well.
        @return: the device of an answer that still counts; empty without one.
        """
        recall, now = self.core.challenges.recall, self.core.now()
        fields = None
        if gate.holder and self.core.preference().mfa_grace != NEVER:
            fields = await recall(username, _SESSION + gate.holder, now)
        if gate.holder and node and fields is None:
            fields = await recall(username, _at(gate.holder, node), now)
        return str(fields["device"]) if fields else ""

    async def _required(self, gate: Gate, target: MfaTarget) -> bool:
        """
        Where all roles agree, the target need not be looked for. Who joins another's session enters by no role of
        theirs in particular, so that any of them may ask for it, whatever the server: so does the agent.
        """
        if self.core.preference().demands_session_mfa:
            return True
        checker = gate.checker
        asked = {role.options.require_session_mfa for role in checker.roles if role.options is not None}
        if strongest_mfa(asked) is SessionMFA.NO:
            return False
        if target.login == JOIN_PRINCIPAL:
            return True
        kind = _TARGETS.get(target.kind)
        found = False
        if kind is not None:
            async for labels in self._labels(kind, target.name):
                found = True
                named = checker.target(kind, labels, {_NAMES[kind]: target.login} if _names(kind, target) else None)
                roles = checker.matching(kind, labels)
                mfa = named.mfa if named else strongest_mfa(role.options.require_session_mfa for role in roles)
                if mfa is not SessionMFA.NO:
                    return True
        return not found

    async def _labels(self, kind: Target, name: str) -> AsyncIterator[Mapping[str, str]]:
        """
        Of what goes by the name: several servers may share one.
        """
        resources = self.core.resources
        if kind is Target.DATABASE:
            database = await databases.find_database(resources, name)
            if database is not None:
                yield database.all_labels
        elif kind is Target.NODE:
            exact = await resources.find("node", name)
            if exact is not None:
                yield all_labels(exact)
                return
            async for resource in resources.every("node"):
                if _called(resource, name.lower(), self.core.cluster):
                    yield all_labels(resource)

    # --- administrators

    async def check_admin(self, gate: Gate, answer: MfaAnswer | None) -> None:
        """
        Asked before something of the cluster is changed by a person, or another's certificate is signed for one, where
        keys are the only second factor: then a stolen certificate is not enough. Services, bots and the administrator
        on auth's own host have no keys to tap.

        @raise TeleportError: ACCESS_DENIED with L{ADMIN_MFA_NEEDED}; or the answer is wrong.
        """
        identity, core = gate.identity, self.core
        factors = core.preference().second_factors
        if identity.is_host or identity.bot_name or not factors or "otp" in factors:
            return
        if answer is None:
            raise gate.refuse("an administrator's change without an answer", ADMIN_MFA_NEEDED)
        username = person(gate)
        name = f"admin{answer.challenge}"
        digest = sha256(json.dumps(answer.webauthn, sort_keys=True).encode()).hexdigest() + gate.holder
        before = await core.challenges.recall(username, name, core.now()) if answer.challenge.isalnum() else None
        if before is not None and answer.webauthn and before["digest"] == digest:
            return
        proof = await self.accounts.prove(username, answer, Scope.ADMIN_ACTION)
        gate.check_locks(evolve(identity, mfa_device=proof.device))
        await core.challenges.remember(username, name, {"digest": digest}, core.now() + ADMIN_AGAIN)


def _at(holder: str, node: str) -> str:
    return _SESSION + sha256(f"{holder} {node}".encode()).hexdigest()


def _names(kind: Target, target: MfaTarget) -> bool:
    return bool(target.login) and kind in _NAMES


def _called(resource: Resource, name: str, cluster: str) -> bool:
    try:
        return name in Node.parse(resource).names(cluster)
    except TeleportError:
        return False
