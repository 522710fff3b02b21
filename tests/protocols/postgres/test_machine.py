"""
Every message in every state, and both sides face to face.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.machine import CLIENT_SAYS, SERVER_SAYS, ClientSide, ServerSide, State
from teleport_tw.protocols.postgres.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupMessage
from teleport_tw.protocols.postgres.wire import Decoder, OpeningDecoder

SAMPLES: dict[type, Any] = {
    type(each): each
    for each in (
        *(SSLRequest(), GSSENCRequest(), CancelRequest(1, b"abcd"), StartupMessage(())),
        *(m.PasswordMessage(Secret(b"")), m.Query(b""), m.Parse(b"", b""), m.Bind(b"", b""), m.Describe(b"S")),
        *(m.Execute(), m.Close(b"S"), m.Flush(), m.Sync(), m.FunctionCall(1), m.CopyData(b""), m.CopyDone()),
        *(m.CopyFail(b""), m.Terminate(), m.Authentication(m.Auth.MD5), m.BackendKeyData(1, b"abcd")),
        *(m.ParameterStatus(b"", b""), m.NegotiateProtocolVersion(1), m.ReadyForQuery(), m.ErrorResponse({})),
        *(m.NoticeResponse({}), m.CommandComplete(b""), m.DataRow(()), m.EmptyQueryResponse(), m.ParseComplete()),
        *(m.BindComplete(), m.CloseComplete(), m.PortalSuspended(), m.NoData(), m.CopyInResponse()),
        *(m.CopyOutResponse(), m.CopyBothResponse(), m.FunctionCallResponse(None)),
        *(m.NotificationResponse(1, b"", b""), m.RowDescription(b""), m.ParameterDescription(())),
    )
}
OPENINGS = (SSLRequest, GSSENCRequest, CancelRequest, StartupMessage)


class TableTests(SynchronousTestCase):
    """
    Every input in every state.
    """

    def test_what_a_client_may_say(self) -> None:
        """
        The server's side takes what the client's side would send, and nothing else.
        """
        for state in State:
            for kind, message in SAMPLES.items():
                server, client = ServerSide(), ClientSide()
                server.state = client.state = state
                say: Any = client.open if kind in OPENINGS else client.send
                wanted = CLIENT_SAYS.get((state, kind))
                if wanted is None:
                    self.assertRaises(RemoteProtocolError, server.receive, message)
                    if kind in OPENINGS or any(key[1] is kind for key in CLIENT_SAYS):
                        self.assertRaises(LocalProtocolError, say, message)
                    self.assertIs(server.state, state)
                else:
                    self.assertIs(server.receive(message), message)
                    say(message)
                    self.assertEqual((server.state, client.state), (wanted, wanted))

    def test_what_a_server_may_say(self) -> None:
        """
        Likewise; an error may also come to a client that has not opened yet.
        """
        for state in State:
            for kind, message in SAMPLES.items():
                if kind in OPENINGS:
                    continue
                server, client = ServerSide(), ClientSide()
                server.state = client.state = state
                wanted = SERVER_SAYS.get((state, kind))
                if wanted is None:
                    self.assertRaises(RemoteProtocolError, client.receive, message)
                    if kind is m.ErrorResponse and state is not State.CLOSED:
                        server.send(message)
                        self.assertIs(server.state, State.CLOSED)
                    else:
                        self.assertRaises(LocalProtocolError, server.send, message)
                else:
                    self.assertIs(client.receive(message), message)
                    server.send(message)
                    self.assertEqual((server.state, client.state), (wanted, wanted))


class MeetingTests(SynchronousTestCase):
    """
    Bytes carried by hand.
    """

    def test_a_session_from_tls_to_goodbye(self) -> None:
        """
        Asked, opened, proved, started, used, left.
        """
        client, server, opening = ClientSide(), ServerSide(), OpeningDecoder()
        server.receive(opening.feed(client.open(SSLRequest())))
        self.assertFalse(client.tls_answer(server.answer_tls(False)))
        server.receive(opening.feed(client.open(SSLRequest())))
        self.assertTrue(client.tls_answer(server.answer_tls(True)))
        server.receive(opening.feed(client.open(StartupMessage(((b"user", b"alice"),)))))
        forth, back = Decoder.frontend(), Decoder.backend()

        def answer(*messages: Any) -> None:
            for message in back.feed(b"".join(map(server.send, messages))):
                client.receive(message)

        answer(m.Authentication(m.Auth.CLEARTEXT))
        (password,) = forth.feed(client.send(m.PasswordMessage(Secret(b"pencil"))))
        server.receive(password)
        answer(m.Authentication(m.Auth.OK), m.ParameterStatus(b"a", b"b"), m.BackendKeyData(1, b"abcd"))
        self.assertEqual((client.state, server.state), (State.STARTING, State.STARTING))
        answer(m.ReadyForQuery())
        (query,) = forth.feed(client.send(m.Query(b"select 1")))
        server.receive(query)
        answer(m.CommandComplete(b"SELECT 1"), m.ReadyForQuery())
        (goodbye,) = forth.feed(client.send(m.Terminate()))
        server.receive(goodbye)
        self.assertTrue(server.eof())
        self.assertTrue(client.eof())

    def test_a_second_ok_is_none(self) -> None:
        """
        Once in, there is nothing more to prove.
        """
        client = ClientSide()
        client.state = State.STARTING
        self.assertRaises(RemoteProtocolError, client.receive, m.Authentication(m.Auth.OK))

    def test_answers_to_the_question_for_tls(self) -> None:
        """
        One of two letters, and only when it was asked.
        """
        self.assertRaises(LocalProtocolError, ServerSide().answer_tls, True)
        self.assertRaises(LocalProtocolError, ClientSide().tls_answer, b"S")
        client = ClientSide()
        client.open(SSLRequest())
        self.assertRaises(RemoteProtocolError, client.tls_answer, b"E")
        self.assertIs(client.state, State.CLOSED)

    def test_an_early_end_is_noticed(self) -> None:
        """
        By either side.
        """
        server, client = ServerSide(), ClientSide()
        self.assertTrue(server.eof())
        server.state = client.state = State.ACTIVE
        self.assertFalse(server.eof())
        self.assertFalse(client.eof())
