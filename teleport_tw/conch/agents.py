"""
Keys that an ssh-agent holds.

@see: draft-ietf-sshm-ssh-agent; Conch's C{SSHAgentClient} frames and orders the messages.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.conch.error import ConchError
from twisted.conch.ssh.agent import SSHAgentClient
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch import signatures
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_uint32

_REQUEST_IDENTITIES = 11
_IDENTITIES_ANSWER = 12
_SIGN_REQUEST = 13
_SIGN_RESPONSE = 14

_FLAGS = {b"rsa-sha2-256": 2, b"rsa-sha2-512": 4}

MAX_MESSAGE_BYTES = 256 * 1024
"""What OpenSSH's agent takes and gives at most."""

MAX_IDENTITIES = 2048

_SIGN_SECONDS = 120
"""A person may have to touch a key or confirm."""

_LIST_SECONDS = 10


class _AgentProtocol(SSHAgentClient):
    """
    Conch's client, with a bound on what it keeps.
    """

    transport: Any  # Twisted says it may be None; it is not while bytes come

    def dataReceived(self, data: bytes) -> None:
        """
        Take in a piece of an answer.
        """
        if len(self.buf) + len(data) > MAX_MESSAGE_BYTES:
            self.transport.loseConnection()
            return
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: object = None) -> None:
        """
        Whoever waits is told.
        """
        waiting, self.deferreds = self.deferreds, []
        for each in waiting:
            each.errback(ConchError("the agent has gone"))


@define(eq=False)
class Agent:
    """
    A connection to an ssh-agent: a socket's, or a forwarded channel's.
    """

    _protocol: _AgentProtocol
    _clock: IReactorTime

    @classmethod
    async def connect(cls, endpoint: IStreamClientEndpoint, clock: IReactorTime) -> Agent:
        """
        @param endpoint: of the socket that C{SSH_AUTH_SOCK} names, or of a channel.
        @raise TeleportError: CONNECTION_PROBLEM, nobody is there.
        """
        try:
            protocol = await endpoint.connect(Factory.forProtocol(_AgentProtocol))
        except OSError as error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot reach the ssh-agent: {error}") from error
        assert isinstance(protocol, _AgentProtocol)
        return cls(protocol, clock)

    async def signers(self) -> list[AgentSigner]:
        """
        @return: what the agent holds and we can use; certificates first, as they are what lets in.
        @raise TeleportError: CONNECTION_PROBLEM, no sensible answer.
        """
        reader = await self._ask(_REQUEST_IDENTITIES, b"", _IDENTITIES_ANSWER, _LIST_SECONDS)
        found = []
        try:
            for _ in range(min(reader.uint32(), MAX_IDENTITIES)):
                blob, comment = reader.string(), reader.string()
                if _usable(blob):
                    found.append(AgentSigner(self, blob, comment.decode("utf-8", "replace")))
        except RemoteProtocolError as error:
            raise _nonsense() from error
        return sorted(found, key=lambda signer: not signatures.is_certificate(Reader(signer.blob).string()))

    async def sign(self, blob: bytes, algorithm: bytes, data: bytes) -> bytes:
        """
        @param blob: one that the agent listed.
        @return: C{string} algorithm; C{string} octets.
        @raise TeleportError: the agent does not sign.
        """
        flags = _FLAGS.get(signatures.plain_algorithm(algorithm), 0)
        fields = put_string(blob) + put_string(data) + put_uint32(flags)
        reader = await self._ask(_SIGN_REQUEST, fields, _SIGN_RESPONSE, _SIGN_SECONDS)
        try:
            return reader.string()
        except RemoteProtocolError as error:
            raise _nonsense() from error

    def close(self) -> None:
        """
        Done with it.
        """
        self._protocol.transport.loseConnection()

    async def _ask(self, number: int, fields: bytes, expected: int, seconds: float) -> Reader:
        try:
            waiting = self._protocol.sendRequest(number, fields)  # type: ignore[no-untyped-call]
            answer: bytes = await waiting.addTimeout(seconds, self._clock)
        except (ConchError, TimeoutError) as error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the ssh-agent refused or did not answer") from error
        if answer[:1] != bytes((expected,)):
            raise TeleportError(Kind.ACCESS_DENIED, "the ssh-agent refused")
        return Reader(answer[1:])


@define(eq=False)
class AgentSigner:
    """
    One key of an agent; a L{teleport_tw.conch.signatures.Signer}.

    @ivar blob: key or certificate.
    @ivar comment: as the agent has it.
    """

    _agent: Agent
    blob: bytes
    comment: str

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        """
        See L{teleport_tw.conch.signatures.Signer.sign}.
        """
        return await self._agent.sign(self.blob, algorithm, data)


def _usable(blob: bytes) -> bool:
    try:
        signatures.public_key_of(blob)
    except RemoteProtocolError:
        return False
    return True


def _nonsense() -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, "the ssh-agent gave an answer that makes no sense")
