"""
The two ends of a stream's first words: L{StreamEndpoint} opens one, L{Receptionist} answers.

Both hold the stream as its Protocol until the answer is there, then hand it to the Protocol it is for. Each has a time
limit; when it is over, or the work is cancelled, the stream is reset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.api.streams import Prefixed, StreamHeader, decode_answer, decode_header, encode_answer, encode_header
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.tunnel.link import Link
from teleport_tw.tunnel.stream import Stream

ANSWER_TIMEOUT = Duration(seconds=30)
"""How long the other side may take to answer: it may have to dial its target first."""

HEADER_TIMEOUT = Duration(seconds=10)
"""How long a header may take to arrive."""

Acceptor = Callable[[StreamHeader, Stream], Awaitable[IProtocol]]
"""
Decides on a stream that the peer opened and gives the Protocol that will have it; L{TeleportError} refuses it, and the
opener is told the kind and the message. It must not use the stream itself; its addresses may be read.
"""


class _Listener(Protocol):
    """
    Waits for one length-prefixed message and keeps what comes behind it.

    @ivar message: fires with the message.
    @ivar work: what is cancelled when the stream ends while the message is being looked at.
    """

    work: Deferred[None] | None = None

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._prefixed = Prefixed()
        self.message: Deferred[bytes] = Deferred()
        stream.begin(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Part of the message.
        """
        try:
            body = self._prefixed.feed(data)
        except RemoteProtocolError:
            self._fail(Failure())
            return
        if body is not None and not self.message.called:
            self._stream.pauseProducing()
            self.message.callback(body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The stream ended before the message did, or while it was looked at.
        """
        self._fail(reason)
        if self.work is not None:
            self.work.cancel()

    def _fail(self, reason: Failure) -> None:
        if not self.message.called:
            self.message.errback(reason)

    def hand_over(self, protocol: IProtocol) -> None:
        """
        Give the stream to the Protocol it is for.
        """
        self._stream.begin(protocol, self._prefixed.rest)


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class StreamEndpoint:
    """
    Opens a stream on the first of some links that works, and asks for a target there.

    @ivar links: gives the links to try, best first; asked at each L{connect}.
    """

    _links: Callable[[], Iterable[Link]]
    _header: StreamHeader
    _clock: IReactorTime
    _timeout: Duration = ANSWER_TIMEOUT

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the Protocol, once the other side has accepted. Fails with L{TeleportError}: what the other side said,
            or CONNECTION_PROBLEM or LIMIT_EXCEEDED from here. Cancelling resets the stream.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        question = encode_header(self._header)
        problem = TeleportError(Kind.CONNECTION_PROBLEM, f"{self._header.target_name or 'the agent'} is offline")
        for link in self._links():
            try:
                stream = link.open()
            except TeleportError as error:
                problem = error
                continue
            listener = _Listener(stream)
            try:
                stream.write(question)
                answer = decode_answer(await listener.message.addTimeout(self._timeout.total_seconds(), self._clock))
            except (ConnectionLost, ConnectionDone, ConnectionAborted) as error:
                problem = _problem("the connection to the agent was lost", error)
                continue
            except TimeoutError as error:
                stream.abortConnection()
                raise _problem("the agent did not answer in time", error) from error
            except RemoteProtocolError as error:
                stream.abortConnection()
                raise _problem("the agent gave an answer that makes no sense", error) from error
            except CancelledError:
                stream.abortConnection()
                raise
            if answer is not None:
                stream.loseConnection()
                raise answer
            return self._begin(factory, stream, listener)
        raise problem

    def _begin(self, factory: IProtocolFactory, stream: Stream, listener: _Listener) -> IProtocol:
        protocol = factory.buildProtocol(stream.getPeer())
        if protocol is None:
            stream.abortConnection()
            raise NoProtocol
        listener.hand_over(protocol)
        return protocol


def _problem(message: str, error: Exception) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, message, details=f"{type(error).__name__}: {error}")


@define(eq=False)
class Receptionist:
    """
    Takes the streams that a peer opens: reads the header, asks the acceptor, answers.
    """

    _acceptor: Acceptor
    _clock: IReactorTime
    _tasks: Tasks = field(factory=Tasks)
    _log: ClassVar[Logger] = Logger()

    def receive(self, link: Link, stream: Stream) -> None:
        """
        @param stream: one that C{link}'s peer has just opened.
        """
        listener = _Listener(stream)
        work = self._tasks.spawn("answering a stream", self._receive(link, stream, listener))
        listener.work = work

    def stop(self) -> None:
        """
        Reset the streams that were not answered yet.
        """
        self._tasks.cancel()

    async def _receive(self, link: Link, stream: Stream, listener: _Listener) -> None:
        try:
            header = decode_header(await listener.message.addTimeout(HEADER_TIMEOUT.total_seconds(), self._clock))
            link.accept(stream)
            address = header.address()
            if address is not None:
                stream.set_peer(address)
            protocol = await self._acceptor(header, stream)
        except TeleportError as error:
            self._refuse(stream, error)
        except (RemoteProtocolError, TimeoutError, ConnectionLost, ConnectionDone, ConnectionAborted) as error:
            self._log.warn("a stream of {peer} was dropped: {error!r}", peer=link.peer, error=error)
            stream.abortConnection()
        except CancelledError:
            stream.abortConnection()
            raise
        except Exception:
            self._log.failure("a stream of {peer} could not be served", peer=link.peer)
            self._refuse(stream, TeleportError(Kind.INTERNAL, "internal error"))
        else:
            stream.write(encode_answer())
            listener.hand_over(protocol)
            if not stream.connected:
                protocol.connectionLost(Failure(ConnectionLost("the stream ended while it was being accepted")))

    def _refuse(self, stream: Stream, error: TeleportError) -> None:
        stream.write(encode_answer(error))
        stream.loseConnection()
