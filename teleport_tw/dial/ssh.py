"""
SSH to a server, with a certificate of the user and the cluster's word for who the server is.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import field, frozen

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.connection import Connection, Responder
from teleport_tw.conch.signatures import MemorySigner, Signer
from teleport_tw.conch.signin import QuestionsAsked
from teleport_tw.conch.transport import ClientSettings, connect
from teleport_tw.dial.identity import ClientIdentity
from teleport_tw.dial.known import HostTrust, host_part
from teleport_tw.dial.proxy import ProxyEndpoint
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.protocols.ssh import keys as ssh_keys

KEEPALIVE = Duration(seconds=30)
"""Of silence, before the server is asked whether it is there; three times."""


@frozen(kw_only=True)
class Way:
    """
    How servers of one cluster are reached.

    @ivar host: of the proxy.
    @ivar cluster: whose server is meant; empty for the identity's own.
    @ivar show: shows a server's banner.
    @ivar prove: asked when a server wants more than a key: for the server's name and the login it gives an identity
        that says of a second factor. C{None}: such servers refuse.
    @ivar prove_first: that is known already.
    """

    reactor: Any
    host: str
    port: int
    identity: ClientIdentity
    cluster: str = ""
    show: Callable[[str], None] = lambda text: None
    keepalive: Duration = KEEPALIVE
    prove: Callable[[str, str], Awaitable[ClientIdentity]] | None = None
    prove_first: bool = False
    _signers: list[Signer] = field(factory=list, init=False)

    async def signers(self) -> Sequence[Signer]:
        """
        @return: the certificate with its key, from here or from the ssh-agent; the same each time.
        @raise TeleportError: CONNECTION_PROBLEM, the agent alone has the key, and does not answer.
        """
        if not self._signers:
            self._signers.extend(await self._find_signers())
        return self._signers

    async def _find_signers(self) -> list[Signer]:
        identity = self.identity
        if identity.ssh_key.reveal():
            return [_signer(identity)]
        blob = ssh_keys.parse_line(identity.ssh_certificate).blob
        path = os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, "the key is in an ssh-agent, but none runs: SSH_AUTH_SOCK is not set"
            )
        from teleport_tw.base.net.endpoints import UnixClient
        from teleport_tw.conch.agents import Agent

        agent = await Agent.connect(UnixClient(self.reactor, path), self.reactor)
        found: list[Signer] = [signer for signer in await agent.signers() if signer.blob == blob]
        if not found:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the ssh-agent has our key no more; log in again")
        return found

    async def connect(
        self, target: str, login: str, *, names: Sequence[str] = (), responder: Responder | None = None
    ) -> Connection:
        """
        @param target: C{host[:port]}: a name, an address, a UUID.
        @param login: at the server.
        @param names: further names that the server may prove to have.
        @param responder: answers what the server asks for.
        @return: signed in.
        @raise TeleportError: what went wrong, in words for the user.
        """
        if self.prove is None:
            return await self._connect(target, login, names, responder, await self.signers())
        if not self.prove_first:
            with suppress(QuestionsAsked):
                return await self._connect(target, login, names, responder, await self.signers())
        proven = await self.prove(host_part(target), login)
        return await self._connect(target, login, names, responder, [_signer(proven)])

    async def _connect(
        self, target: str, login: str, names: Sequence[str], responder: Responder | None, signers: Sequence[Signer]
    ) -> Connection:
        identity = self.identity
        trust = HostTrust.of_known_hosts(self.cluster or identity.cluster, identity.known_hosts)
        routed = f"{target}@{self.cluster}" if self.cluster and self.cluster != identity.cluster else target
        endpoint = ProxyEndpoint(self.reactor, self.host, self.port, identity, routed, login=login)
        settings = ClientSettings(
            clock=self.reactor,
            username=login,
            verify_host=trust.verifier((host_part(target), *names)),
            signers=signers,
            show=self.show,
            responder=responder,
            limits=Limits(keepalive_interval=self.keepalive),
        )
        return await connect(endpoint, settings)


def _signer(identity: ClientIdentity) -> Signer:
    blob = ssh_keys.parse_line(identity.ssh_certificate).blob
    return MemorySigner(PrivateKey.load(identity.ssh_key).native, blob)
