"""
How we prove ourselves to a PostgreSQL server.

First of all by the client certificate that TLS shows. A server that asks for a password gets one where there is one:
of this host (L{teleport_tw.agents.db.passwords}), else what the user types, who is asked for it inside the user's own
TLS; that is kept nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.agents.db.postgres.conversation import Conversation, ServerError, problem
from teleport_tw.agents.db.target import Targets, server_end_point
from teleport_tw.base.errors import RemoteProtocolError, access_denied
from teleport_tw.base.held import Held
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.machine import ClientSide
from teleport_tw.protocols.postgres.startup import StartupMessage
from teleport_tw.protocols.sasl.scram import Binding, Client, Mechanism, prepared
from teleport_tw.resources.databases import Database

Ask = Callable[[], Awaitable[Secret[bytes]]]
"""Gives the password, once; raises L{TeleportError} where there is none."""


@frozen(kw_only=True)
class Standing:
    """
    A session that the server has accepted.

    @ivar messages: what it told since, in order: ParameterStatus and BackendKeyData.
    @ivar version: of the protocol, as the server agreed to it.
    """

    conversation: Conversation
    messages: tuple[m.ParameterStatus | m.BackendKeyData, ...]
    version: int
    ready: m.ReadyForQuery

    @property
    def key(self) -> m.BackendKeyData | None:
        """
        What a cancel request must know.
        """
        return next((each for each in self.messages if isinstance(each, m.BackendKeyData)), None)

    def setting(self, name: bytes) -> bytes:
        """
        @return: as the server has told it.
        """
        told = {each.name: each.value for each in self.messages if isinstance(each, m.ParameterStatus)}
        return told.get(name, b"")


@define(eq=False)
class Login:
    """
    One attempt.

    @ivar dial: gives a TCP connection.
    @ivar secure: makes it TLS.
    @ivar threads: that a password's many rounds of hashing are done in: as many as the server says.
    @ivar ask: for a password.
    """

    clock: IReactorTime
    threads: Threads
    dial: Callable[[], Awaitable[Held]]
    secure: Callable[[object], Awaitable[Held]]
    ask: Ask
    _conversation: Conversation | None = field(default=None, init=False)

    async def connect(self) -> Conversation:
        """
        @return: TLS stands and nothing was said yet.
        @raise TeleportError: CONNECTION_PROBLEM.
        """
        machine = ClientSide()
        plain = Conversation.on(await self.dial(), self.clock, machine)
        try:
            await plain.secured()
        except BaseException:
            plain.close()
            raise
        held = await self.secure(plain.transport)
        return Conversation.on(held, self.clock, machine)

    async def run(self, startup: StartupMessage) -> Standing:
        """
        @raise ServerError: the server refused.
        @raise TeleportError: it cannot be reached or used.
        """
        conversation = self._conversation = await self.connect()
        try:
            conversation.transport.write(conversation.machine.open(startup))  # type: ignore[union-attr]
            return await self._sign_in(conversation, startup)
        except BaseException:
            conversation.close()
            raise

    def abort(self) -> None:
        """
        The user has left.
        """
        if self._conversation is not None:
            self._conversation.close()

    async def _sign_in(self, conversation: Conversation, startup: StartupMessage) -> Standing:
        version = startup.version
        scram: Client | None = None
        told: list[m.ParameterStatus | m.BackendKeyData] = []
        while True:
            match await conversation.hear():
                case m.ErrorResponse() as error:
                    raise ServerError(error)
                case m.NegotiateProtocolVersion(newest, unknown):
                    version = min(version, (version & ~0xFFFF) | (newest & 0xFFFF))
                    if unknown:
                        raise problem("it does not know options that were not asked for")
                case m.Authentication(m.Auth.OK):
                    if scram is not None and not scram.verified:
                        raise problem("it has not proved that it knows the password")
                case m.Authentication(m.Auth.CLEARTEXT):
                    password = await self.ask()
                    conversation.say(m.PasswordMessage(Secret(password.reveal() + b"\0")))
                case m.Authentication(m.Auth.MD5, salt):
                    digest = md5(startup.get(b"user"), await self.ask(), salt)
                    conversation.say(m.PasswordMessage(Secret(digest + b"\0")))
                case m.Authentication(m.Auth.SASL) as offer:
                    scram, first = await self._scram(conversation, offer)
                    conversation.say(m.PasswordMessage(Secret(first)))
                case m.Authentication(m.Auth.SASL_CONTINUE, challenge) if scram is not None:
                    final = await self.threads.run(_checked, scram.final, challenge)
                    conversation.say(m.PasswordMessage(Secret(final)))
                case m.Authentication(m.Auth.SASL_FINAL, outcome) if scram is not None:
                    _checked(scram.finish, outcome)
                case m.Authentication(code):
                    raise problem(f"it asks for authentication of kind {code}, which is not served")
                case (m.ParameterStatus() | m.BackendKeyData()) as fact:
                    told.append(fact)
                case m.ReadyForQuery() as ready:
                    return Standing(conversation=conversation, messages=tuple(told), version=version, ready=ready)

    async def _scram(self, conversation: Conversation, offer: m.Authentication) -> tuple[Client, bytes]:
        """
        @return: the mechanism, and C{SASLInitialResponse}: its name; C{int32} length; its first message.
        """
        channel = server_end_point(conversation.transport)
        plus = f"{Mechanism.SHA_256.value}-PLUS" in offer.mechanisms
        if not plus and Mechanism.SHA_256.value not in offer.mechanisms:
            raise problem(f"it offers {', '.join(offer.mechanisms)} only")
        binding = Binding.UNSUPPORTED
        if channel:
            binding = Binding.BOUND if plus else Binding.NOT_OFFERED
        elif Mechanism.SHA_256.value not in offer.mechanisms:
            raise problem("it wants channel binding, which its certificate does not allow")
        password = await self.ask()
        client = Client(Mechanism.SHA_256, _prepared(password), "", binding, channel)
        name = Mechanism.SHA_256.value + ("-PLUS" if binding is Binding.BOUND else "")
        first = client.first()
        return client, name.encode("ascii") + b"\0" + len(first).to_bytes(4, "big") + first


def md5(user: bytes, password: Secret[bytes], salt: bytes) -> bytes:
    """
    @return: C{md5} and the hex digest of the hex digest of password and user, and the salt.
    """
    inner = hashlib.md5(password.reveal() + user, usedforsecurity=False).hexdigest().encode()
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode()


def unattended(targets: Targets, database: Database, user: str) -> Ask:
    """
    @return: gives this host's password of the user; there is nobody else to ask.
    """

    async def ask() -> Secret[bytes]:
        password = await targets.password(database, user)
        if password is None:
            raise access_denied(
                "the database asks for a password; have it accept our client certificate (pg_hba.conf: method cert)"
            )
        return password

    return ask


def _prepared(password: Secret[bytes]) -> Secret[bytes]:
    try:
        return Secret(prepared(password.reveal().decode("utf-8")))
    except UnicodeDecodeError:
        return password


def _checked(step: Callable[[bytes], bytes | None], data: bytes) -> bytes:
    try:
        return step(data) or b""
    except RemoteProtocolError as error:
        raise problem(str(error)) from error
