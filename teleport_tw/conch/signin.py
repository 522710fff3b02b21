"""
Signing in at a server: one key after the other, and its questions if somebody is there to answer.

A certificate is offered with its signature at once, which saves a round trip; a signer that asks its owner each time
(an agent, a security key) is first shown to the server.

@see: RFC 4252 section 7; RFC 4256; RFC 8308 section 3.1
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied
from teleport_tw.conch import signatures
from teleport_tw.conch.connection import Connection
from teleport_tw.conch.numbers import (
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_INFO_REQUEST,
    MSG_USERAUTH_INFO_RESPONSE,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
)
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR
from teleport_tw.conch.signatures import Signer, signed_data
from teleport_tw.conch.userauth import (
    MAX_ANSWERS,
    Prompt,
)
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text, put_uint32

if TYPE_CHECKING:
    from teleport_tw.conch.transport import ClientTransport

Answer = Callable[[str, Sequence[Prompt]], Awaitable[list[str]]]
"""Puts the server's instruction and prompts to a person; one answer for each."""

MAX_BANNER_BYTES = 64 * 1024


class QuestionsAsked(TeleportError):
    """
    The key was good, and the server wants to ask more, which nobody here answers.
    """

    def __init__(self) -> None:
        super().__init__(Kind.ACCESS_DENIED, "the SSH server asks questions, and nobody is here to answer them")


class UserAuthClient(SSHService):
    """
    C{ssh-userauth}, the client's side.
    """

    name = b"ssh-userauth"
    transport: ClientTransport
    _log = Logger()

    def __init__(
        self, username: str, signers: Sequence[Signer], answer: Answer | None, show: Callable[[str], None]
    ) -> None:
        self._user = username.encode("utf-8")
        self._left: Iterator[Signer] = iter(signers)
        self._answer = answer
        self._show = show
        self._shown_bytes = 0
        self._tried = 0
        self._interactive = False
        self._reply: Deferred[tuple[int, bytes]] | None = None

    def serviceStarted(self) -> None:
        """
        Begin with the first key.
        """
        self.transport.tasks.spawn("SSH login", self._sign_in())

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """
        A banner, or the reply to what was asked last.
        """
        if messageNum == MSG_USERAUTH_BANNER:
            self._banner(Reader(packet).string())
        elif self._reply is not None and messageNum in (
            MSG_USERAUTH_FAILURE,
            MSG_USERAUTH_SUCCESS,
            MSG_USERAUTH_INFO_REQUEST,
        ):
            reply, self._reply = self._reply, None
            reply.callback((messageNum, packet))
        else:
            raise RemoteProtocolError(f"message {messageNum} during login", code=DISCONNECT_PROTOCOL_ERROR)

    def _banner(self, text: bytes) -> None:
        self._shown_bytes += len(text)
        if self._shown_bytes <= MAX_BANNER_BYTES:
            self._show(text.decode("utf-8", "replace"))

    async def _sign_in(self) -> None:
        try:
            if await self._try_all():
                self.transport.logged_in()
                return
            if self._tried:
                error = access_denied("the SSH server does not accept this login")
            else:
                error = access_denied("there is no key to sign in with; log in first")
            self.transport.login_failed(error)
        except TeleportError as error:
            self.transport.login_failed(error)
        except RemoteProtocolError as error:
            self.transport.login_failed(TeleportError(Kind.CONNECTION_PROBLEM, f"SSH login failed: {error}"))

    async def _try_all(self) -> bool:
        for signer in self._left:
            for algorithm in self._algorithms(signer.blob):
                self._tried += 1
                data = signed_data(self.transport.exchange.session_id, self._user, algorithm, signer.blob)
                signature = await signer.sign(algorithm, data)
                fields = put_boolean(True) + put_string(algorithm) + put_string(signer.blob) + put_string(signature)
                number, packet = await self._request(b"publickey", fields)
                if number == MSG_USERAUTH_SUCCESS:
                    return True
                if number != MSG_USERAUTH_FAILURE:
                    raise RemoteProtocolError("the server replied to another question")
                reader = Reader(packet)
                methods, partial = reader.string().split(b","), reader.boolean()
                if partial and b"keyboard-interactive" in methods:
                    return await self._interact()
                if b"publickey" not in methods:
                    return False
        return False

    def _algorithms(self, blob: bytes) -> tuple[bytes, ...]:
        """
        With which algorithm to sign: the key's best that the server takes; one try for each key.
        """
        ours = signatures.signature_algorithms(blob)
        taken = self.transport.peerExtensions.get(b"server-sig-algs")
        if taken is None:
            return ours[:1]
        names = taken.split(b",")
        for each in ours:
            if each in names or signatures.plain_algorithm(each) in names:
                return (each,)
        return ()

    async def _request(self, method: bytes, fields: bytes) -> tuple[int, bytes]:
        head = put_string(self._user) + put_string(Connection.name) + put_string(method)
        return await self._exchange(MSG_USERAUTH_REQUEST, head + fields)

    async def _exchange(self, number: int, payload: bytes) -> tuple[int, bytes]:
        reply: Deferred[tuple[int, bytes]] = Deferred()
        self._reply = reply
        self.transport.sendPacket(number, payload)
        return await reply

    async def _interact(self) -> bool:
        if self._answer is None:
            raise QuestionsAsked
        number, packet = await self._request(b"keyboard-interactive", put_string(b"") + put_string(b""))
        while number == MSG_USERAUTH_INFO_REQUEST:
            instruction, prompts = self._questions(Reader(packet))
            answers = await self._answer(instruction, prompts)
            payload = put_uint32(len(answers)) + b"".join(map(put_text, answers))
            number, packet = await self._exchange(MSG_USERAUTH_INFO_RESPONSE, payload)
        return number == MSG_USERAUTH_SUCCESS

    @staticmethod
    def _questions(reader: Reader) -> tuple[str, list[Prompt]]:
        name, instruction = reader.text(), reader.text()
        reader.string()
        count = reader.uint32()
        if count > MAX_ANSWERS:
            raise RemoteProtocolError("too many questions", code=DISCONNECT_PROTOCOL_ERROR)
        return instruction or name, [Prompt(reader.text(), reader.boolean()) for _ in range(count)]
