"""
Second factors for sessions that take one: a certificate of its own for a minute, for the person who answers.

Servers are tried first, as most sessions take none; the one who refuses for want of it is tried again. Within the
cluster's C{mfa_grace} one answer does for all servers of a command, and for the commands after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock

from teleport_tw.api.contract import IssueRequest, MfaAnswer, MfaTarget, PublicKeys, Scope
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.clients.factors import Answering, asked
from teleport_tw.clients.login import Asker
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.protocols.ssh import keys as ssh_keys

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext
    from teleport_tw.dial.identity import ClientIdentity


def answering(context: UserContext) -> Answering:
    """
    @return: asks the person at this terminal, who signs in at the proxy of the profile.
    """
    origin = f"https://{context.signed.profile.web_proxy_addr}".removesuffix(":443")
    return Answering(Asker(), origin, context.options.mfa_mode)


@define(eq=False)
class Prover:
    """
    One for a run of a command: people are asked one question at a time.
    """

    context: UserContext
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    async def identity(self, name: str, login: str) -> ClientIdentity:
        """
        @param name: of the server, C{host[:port]}.
        @return: the user's, with a certificate that says of the second factor; good for a minute.
        @raise TeleportError: ACCESS_DENIED, it was not shown or is wrong.
        """
        own, key = self.context.signed.identity, PrivateKey.generate_ssh()
        target = MfaTarget(kind="node", name=name, login=login)
        answer = await self.answer(target, f"A second factor is required to connect to {login}@{name}.")
        api = await self.context.api()
        issued = await api.issue(
            IssueRequest(
                keys=PublicKeys(ssh=ssh_keys.format_line(key.ssh_public).encode()),
                route_to_cluster=self.context.signed.profile.cluster,
                target=target,
                answer=answer,
            )
        )
        return evolve(
            own, ssh_key=Secret(key.openssh_pem().reveal()), ssh_certificate=issued.ssh.decode("ascii").strip()
        )

    async def answer(self, target: MfaTarget, why: str) -> MfaAnswer | None:
        """
        @param why: said before the question.
        @return: none, where an earlier answer still counts.
        """
        api = await self.context.api()
        await self._turn.acquire()
        try:
            if (await api.mfa_required(target)).covered:
                return None
            challenge = await api.create_challenge(Scope.SESSION, target)
            answer = asked(lambda: evolve(answering(self.context), recovery=False).answer(challenge, why))
            if answer.webauthn or answer.otp.reveal():
                return answer
            raise TeleportError(Kind.ACCESS_DENIED, "a recovery code opens no sessions; see `tsh mfa add`")
        finally:
            self._turn.release()
