"""
Signing users in: public keys, in practice certificates, and questions asked afterwards where the decision calls for
them.

The server here checks that the client holds the key it shows and nothing else; whether that key may sign in is
decided by the callback it was handed. The client side is in L{teleport_tw.conch.signin}.

@see: RFC 4252; RFC 4256 (keyboard-interactive); OpenSSH's C{PROTOCOL.certkeys}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from teleport_tw.base.errors import RemoteProtocolError, TeleportError
from teleport_tw.conch import signatures
from teleport_tw.conch.algorithms import CERTIFICATE_SIGNATURES, SIGNATURES
from teleport_tw.conch.connection import Connection, Responder
from teleport_tw.conch.numbers import (
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_INFO_REQUEST,
    MSG_USERAUTH_INFO_RESPONSE,
    MSG_USERAUTH_PK_OK,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
)
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR
from teleport_tw.conch.signatures import Touch, signed_data
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text, put_uint32

if TYPE_CHECKING:
    from teleport_tw.conch.transport import ServerTransport

DISCONNECT_SERVICE_NOT_AVAILABLE = 7
DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE = 14

MAX_NAME_BYTES = 256
"""Longest login taken."""

MAX_ANSWERS = 16
"""Most questions in one round."""

MAX_REQUESTS = 64
"""Requests of any kind in one connection, so that C{none} and key queries cannot go on for ever."""


@frozen(kw_only=True)
class Peer:
    """
    Who is knocking.

    @ivar address: of the client.
    @ivar version: its version line.
    @ivar session_id: of the transport; unique to it.
    @ivar touch: what its security key said; C{None} for other keys.
    """

    address: IAddress
    version: str
    session_id: bytes
    touch: Touch | None = None


@frozen
class Prompt:
    """
    One question.

    @ivar text: shown before the answer.
    @ivar echo: whether the answer may be seen while it is typed.
    """

    text: str
    echo: bool = False


class Ask(Protocol):
    """
    Puts questions to the person at the client.
    """

    def __call__(self, instruction: str, prompts: Sequence[Prompt]) -> Awaitable[list[str]]:
        """
        @return: one answer for each prompt.
        """


class MoreNeeded(Exception):
    """
    Raised by L{Authenticate}: the key is accepted, and questions follow.

    @ivar challenge: puts them, and returns the avatar or raises TeleportError.
    @ivar banner: shown before, also to those who take no questions; empty for none.
    """

    def __init__(self, challenge: Callable[[Ask], Awaitable[Responder]], banner: str = "") -> None:
        super().__init__("more authentication is needed")
        self.challenge = challenge
        self.banner = banner


class Authenticate(Protocol):
    """
    Decides about a user whose key was proved.
    """

    def __call__(self, username: str, blob: bytes, peer: Peer) -> Awaitable[Responder]:
        """
        @param username: the login asked for.
        @param blob: certificate or key; the client holds its private half.
        @return: what answers the client's requests from now on.
        @raise TeleportError: no; the client reads "Permission denied" only.
        @raise MoreNeeded: not yet.
        """


@frozen(kw_only=True)
class LoginRules:
    """
    @ivar authenticate: decides.
    @ivar acceptable: whether a key is worth proving; asked before the client signs, so an agent need not sign with
        all it has.
    @ivar banner: shown to everybody before they sign in; empty for none.
    @ivar refusal: what a refused user is shown as a banner beside "Permission denied"; C{None} for nothing.
    @ivar max_attempts: failures before the connection ends.
    """

    authenticate: Authenticate
    acceptable: Callable[[str, bytes], bool] = lambda username, blob: True
    banner: str = ""
    refusal: Callable[[TeleportError], str | None] = lambda error: None
    max_attempts: int = 6


class UserAuthServer(SSHService):
    """
    C{ssh-userauth}, the server's side.
    """

    name = b"ssh-userauth"
    transport: ServerTransport
    _log = Logger()

    def __init__(self, rules: LoginRules) -> None:
        self._rules = rules
        self._failures = 0
        self._requests = 0
        self._greeted = False
        self._asked = False
        self._challenge: tuple[bytes, Callable[[Ask], Awaitable[Responder]]] | None = None
        self._answers: Deferred[list[str]] | None = None
        self._expected = 0

    def serviceStopped(self) -> None:
        """
        The connection is over, or the user is in.
        """
        if self._answers is not None:
            answers, self._answers = self._answers, None
            answers.cancel()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """
        Two messages are known.
        """
        if messageNum == MSG_USERAUTH_REQUEST:
            self._requested(Reader(packet))
        elif messageNum == MSG_USERAUTH_INFO_RESPONSE and self._answers is not None:
            self._answered(Reader(packet))
        else:
            self.transport.sendUnimplemented()

    def _requested(self, reader: Reader) -> None:
        """
        C{string} user; C{string} service; C{string} method; then the method's own fields.
        """
        user, service, method = reader.string(), reader.string(), reader.string()
        self._requests += 1
        if self._requests > MAX_REQUESTS or len(user) > MAX_NAME_BYTES or self._answers is not None:
            raise RemoteProtocolError("too many authentication requests", code=DISCONNECT_PROTOCOL_ERROR)
        if service != Connection.name:
            self.transport.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        if not self._greeted and self._rules.banner:
            self._show(self._rules.banner)
        self._greeted = True
        if method == b"publickey" and self._challenge is None:
            self._public_key(user, reader)
        elif method == b"keyboard-interactive" and self._challenge is not None and self._challenge[0] == user:
            challenge, self._challenge = self._challenge[1], None
            self._asked = True
            self._decide(user, challenge(self._ask))
        else:
            self._refuse(counts=method != b"none")

    def _public_key(self, user: bytes, reader: Reader) -> None:
        """
        C{boolean} signed; C{string} algorithm; C{string} key or certificate; C{string} signature if signed.
        """
        signed, algorithm, blob = reader.boolean(), reader.string(), reader.string()
        signature = reader.string() if signed else b""
        reader.end()
        try:
            username = user.decode("utf-8")
            usable = (
                algorithm in SIGNATURES + CERTIFICATE_SIGNATURES
                and algorithm in signatures.signature_algorithms(blob)
                and self._rules.acceptable(username, blob)
            )
            if not usable:
                self._refuse()
                return
            if not signed:
                signatures.public_key_of(blob)
                self.transport.sendPacket(MSG_USERAUTH_PK_OK, put_string(algorithm) + put_string(blob))
                return
            covered = signed_data(self.transport.exchange.session_id, user, algorithm, blob)
            touch = signatures.verify(blob, algorithm, signature, covered)
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            self._log.debug("login refused: {error}", error=error)
            self._refuse()
            return
        peer = Peer(
            address=self.transport.transport.getPeer(),
            version=self.transport.otherVersionString.decode("ascii", "replace"),
            session_id=self.transport.exchange.session_id,
            touch=touch,
        )
        self.transport.hold()
        self._decide(user, self._rules.authenticate(username, blob, peer), held=True)

    def _decide(self, user: bytes, decision: Awaitable[Responder], *, held: bool = False) -> None:
        async def decide() -> None:
            try:
                await self._settle(user, decision)
            finally:
                if held:
                    self.transport.release()

        self.transport.tasks.spawn("SSH login", decide())

    async def _settle(self, user: bytes, decision: Awaitable[Responder]) -> None:
        try:
            responder = await decision
        except MoreNeeded as more:
            self._challenge = (user, more.challenge)
            if more.banner:
                self._show(more.banner)
            self._refuse(counts=False, methods=b"keyboard-interactive", partial=True)
        except TeleportError as error:
            self._log.debug("login refused: {error} {details}", error=error, details=error.details)
            text = self._rules.refusal(error)
            if text:
                self._show(text)
            self._refuse()
        except RemoteProtocolError as error:
            self._log.debug("login refused: {error}", error=error)
            self._refuse()
        except CancelledError:
            raise
        except Exception:
            self._log.failure("login could not be decided")
            self._refuse()
        else:
            if self.transport.ended:
                responder.connection_lost()
                return
            self.transport.sendPacket(MSG_USERAUTH_SUCCESS, b"")
            self.transport.logged_in(responder)

    def _refuse(self, *, counts: bool = True, methods: bytes = b"publickey", partial: bool = False) -> None:
        self._failures += counts
        # Who was asked and did not know has had all tries: with another key clients would go through them again.
        if self._failures >= self._rules.max_attempts or self._asked:
            text = b"Too many authentication failures"
            self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, text)
            return
        self.transport.sendPacket(MSG_USERAUTH_FAILURE, put_string(methods) + put_boolean(partial))

    def _show(self, text: str) -> None:
        self.transport.sendPacket(MSG_USERAUTH_BANNER, put_text(text.rstrip("\n") + "\n") + put_string(b""))

    async def _ask(self, instruction: str, prompts: Sequence[Prompt]) -> list[str]:
        """
        C{string} name; C{string} instruction; C{string} language; C{uint32} count; then C{string} prompt and
        C{boolean} echo.
        """
        asked = b"".join(put_text(prompt.text) + put_boolean(prompt.echo) for prompt in prompts)
        head = put_string(b"") + put_text(instruction) + put_string(b"") + put_uint32(len(prompts))
        self._expected = len(prompts)
        self._answers = Deferred()
        self.transport.sendPacket(MSG_USERAUTH_INFO_REQUEST, head + asked)
        return await self._answers

    def _answered(self, reader: Reader) -> None:
        count = reader.uint32()
        if count != self._expected or count > MAX_ANSWERS:
            raise RemoteProtocolError("wrong number of answers", code=DISCONNECT_PROTOCOL_ERROR)
        answers = [reader.text() for _ in range(count)]
        assert self._answers is not None, "packetReceived looked"
        waiting, self._answers = self._answers, None
        waiting.callback(answers)
