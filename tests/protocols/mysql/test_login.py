"""
Logins, each side by itself and face to face.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql import handshake, scramble
from teleport_tw.protocols.mysql.capabilities import Capability, offered
from teleport_tw.protocols.mysql.login import (
    CLIENT_TRANSITIONS,
    MAX_ROUNDS,
    SERVER_TRANSITIONS,
    ClientLogin,
    Greeted,
    Input,
    Introduced,
    Refused,
    Say,
    ServerLogin,
    State,
    Welcome,
)
from teleport_tw.protocols.mysql.messages import (
    AuthMore,
    AuthSwitch,
    Err,
    Greeting,
    HandshakeResponse,
    Ok,
    SslRequest,
)
from teleport_tw.protocols.mysql.wire import header, packets

C = Capability
GREETING = Greeting(version="8.4.0", connection_id=7, scramble=b"s" * 20, capabilities=offered(None) | C.SSL)
BASE = C.LONG_PASSWORD | C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH
RESPONSE = HandshakeResponse(capabilities=BASE, username="alice", plugin="mysql_native_password")


def client(password: bytes = b"secret") -> ClientLogin:
    """
    Facing a target.
    """
    return ClientLogin(Secret(password), b"n" * 32)


def greeted(greeting: Greeting = GREETING, password: bytes = b"secret") -> ClientLogin:
    """
    That has heard a greeting.
    """
    login = client(password)
    login.feed(packets(handshake.encode_greeting(greeting), 0))
    return login


def proving(plugin: str = "mysql_native_password", password: bytes = b"secret") -> tuple[ClientLogin, bytes]:
    """
    That has said who it is, and what it said.
    """
    login = greeted(evolve(GREETING, plugin=plugin), password)
    login.secure(evolve(RESPONSE, plugin=""))
    return login, login.secured()


class ServerTests(SynchronousTestCase):
    """
    Facing a user.
    """

    def login(self) -> ServerLogin:
        """
        That has greeted.
        """
        login = ServerLogin(GREETING)
        self.assertEqual(login.start(), packets(handshake.encode_greeting(GREETING), 0))
        self.assertEqual(login.start(), b"")
        return login

    def feed(self, login: ServerLogin, response: HandshakeResponse, sequence: int = 1) -> list[Any]:
        """
        A response.
        """
        return list(login.feed(packets(handshake.encode_response(response), sequence)))

    def test_the_greetings_plugin(self) -> None:
        """
        Whatever it answers is taken.
        """
        for auth in (b"", b"x" * 20):
            login = self.login()
            response = evolve(RESPONSE, auth=Secret(auth))
            self.assertEqual(self.feed(login, response), [Introduced(response)])
            self.assertEqual(login.welcome(b"\0ok"), b"\x03\0\0\x02\0ok")
            self.assertEqual(login.refuse(b"late"), b"")

    def test_other_plugins(self) -> None:
        """
        Are switched to, so that they come to their own end; those we do not know to one that every client has.
        """
        for plugin, switched, answer, more in [
            ("caching_sha2_password", "caching_sha2_password", b"x" * 32, b"\x02\0\0\x04\x01\x03"),
            ("caching_sha2_password", "caching_sha2_password", b"\0", b""),
            ("mysql_clear_password", "mysql_clear_password", b"word\0", b""),
            ("client_ed25519", "mysql_native_password", b"x" * 20, b""),
        ]:
            login = self.login()
            [say] = self.feed(login, evolve(RESPONSE, plugin=plugin))
            data = b"" if plugin == "mysql_clear_password" else b"s" * 20 + b"\0"
            self.assertEqual(say.data, packets(handshake.encode_switch(AuthSwitch(switched, data)), 2))
            outcomes = login.feed(packets(answer, 3))
            self.assertEqual([outcome.data for outcome in outcomes if isinstance(outcome, Say)], [more] if more else [])
            self.assertIsInstance(outcomes[-1], Introduced)
            self.assertEqual(login.refuse(b"no")[3], 5 if more else 4)

    def test_opened_by_a_proxy(self) -> None:
        """
        Whose greeting and whose TLS came before.
        """
        packet = handshake.proxy_greeting(7, b"s" * 20)
        login = ServerLogin.opened(packet)
        self.assertEqual(login.start(), b"")
        self.assertIsInstance(self.feed(login, RESPONSE, 2)[0], Introduced)
        self.assertEqual(login.welcome(b"ok")[3], 3)
        for wrong in (b"", packet[:-1], packet + b"x", packets(b"\xff\x01\x00no", 0), b"\x01\0\0\0\x0b"):
            self.assertRaises(RemoteProtocolError, ServerLogin.opened, wrong)

    def test_capabilities_that_were_not_offered(self) -> None:
        """
        Are not taken.
        """
        greedy = evolve(RESPONSE, capabilities=BASE | C.SSL | C.OPTIONAL_RESULTSET_METADATA)
        [introduced] = self.feed(self.login(), greedy)
        self.assertEqual(introduced.response.capabilities, BASE | C.SSL)

    def test_out_of_turn(self) -> None:
        """
        Commands before the login is over, TLS that nobody offered, protocols of old, and wrong numbers.
        """
        whole = packets(handshake.encode_response(RESPONSE), 1)
        for wrong in (
            whole + packets(b"\x03select 1", 0),
            packets(handshake.encode_ssl_request(SslRequest(capabilities=BASE | C.SSL)), 1),
            packets(handshake.encode_response(evolve(RESPONSE, capabilities=C.PROTOCOL_41)), 1),
            packets(b"\x03select 1", 0),
            header(0xFFFFFF, 1),
        ):
            self.assertRaises(RemoteProtocolError, self.login().feed, wrong)
        login = self.login()
        login.feed(whole)
        self.assertRaises(RemoteProtocolError, login.feed, packets(b"x", 2))
        login.welcome(b"ok")
        self.assertRaises(RemoteProtocolError, login.feed, packets(b"x", 3))

    @given(st.binary(max_size=200), st.integers(0, 3))
    def test_garbage(self, octets: bytes, number: int) -> None:
        """
        Ends in one kind of error only.
        """
        for data in (octets, packets(octets, number), packets(b"\x00\x82\x00\x00" + bytes(28) + octets, 1)):
            login = self.login()
            try:
                login.feed(data)
                login.feed(octets)
            except RemoteProtocolError:
                pass


class ClientTests(SynchronousTestCase):
    """
    Facing a target.
    """

    def test_straight(self) -> None:
        """
        Greeting, TLS, response, OK; what comes behind is kept.
        """
        login = client()
        self.assertEqual(login.feed(packets(handshake.encode_greeting(GREETING), 0)), [Greeted(GREETING)])
        wanted = evolve(RESPONSE, plugin="")
        request = handshake.parse_response(login.secure(wanted)[4:])
        self.assertEqual(request, SslRequest(capabilities=BASE))
        self.assertEqual(login.rest, b"")
        said = login.secured()
        response = handshake.parse_response(said[4:])
        assert isinstance(response, HandshakeResponse)
        self.assertEqual((said[3], response.username), (2, "alice"))
        self.assertEqual(response.auth.reveal(), scramble.native(Secret(b"secret"), b"s" * 20))
        [welcome] = login.feed(packets(handshake.encode_ok(Ok(status=2)), 3) + b"behind")
        self.assertEqual(welcome, Welcome(Ok(status=2), b"behind"))
        self.assertRaises(RemoteProtocolError, login.feed, b"more")

    def test_every_split(self) -> None:
        """
        The transport cuts where it likes.
        """
        octets = packets(handshake.encode_greeting(GREETING), 0)
        for cut in range(len(octets) + 1):
            login = client()
            self.assertEqual(
                login.feed(octets[:cut]) + (login.feed(octets[cut:]) if cut < len(octets) else []), [Greeted(GREETING)]
            )

    def test_caching_sha2(self) -> None:
        """
        Known, or the password itself, TLS being around it.
        """
        login, said = proving("caching_sha2_password")
        self.assertIn(scramble.caching_sha2(Secret(b"secret"), b"s" * 20), said)
        self.assertEqual(login.feed(packets(handshake.encode_more(AuthMore(b"\3")), 3)), [])
        self.assertIsInstance(login.feed(packets(handshake.encode_ok(Ok()), 4))[0], Welcome)
        login, _ = proving("caching_sha2_password")
        [say] = login.feed(packets(handshake.encode_more(AuthMore(b"\4")), 3))
        self.assertEqual(say, Say(packets(b"secret\0", 4)))

    def test_switches(self) -> None:
        """
        To what the account has; parsec asks for its salt first.
        """
        login, _ = proving("unknown_plugin")
        [say] = login.feed(packets(handshake.encode_switch(AuthSwitch("mysql_clear_password", b"")), 3))
        self.assertEqual(say, Say(packets(b"secret\0", 4)))
        login, _ = proving()
        [say] = login.feed(packets(handshake.encode_switch(AuthSwitch("client_ed25519", b"c" * 32)), 3))
        self.assertEqual(say, Say(packets(scramble.ed25519(Secret(b"secret"), b"c" * 32), 4)))
        login, _ = proving()
        self.assertEqual(
            login.feed(packets(handshake.encode_switch(AuthSwitch("parsec", b"c" * 32)), 3)), [Say(packets(b"", 4))]
        )
        salt = b"P\0" + b"s" * 18
        [say] = login.feed(packets(handshake.encode_more(AuthMore(salt)), 5))
        self.assertEqual(say, Say(packets(scramble.parsec(Secret(b"secret"), b"c" * 32, b"n" * 32, salt), 6)))

    def test_refusals(self) -> None:
        """
        At once or later.
        """
        [refused] = client().feed(packets(b"\xff\x10\x04Too many", 0))
        self.assertEqual(refused, Refused(Err(errno=1040, message="Too many")))
        login, _ = proving()
        [refused] = login.feed(packets(handshake.error(1045, "no"), 3))
        self.assertIsInstance(refused, Refused)

    def test_servers_that_cannot_be_used(self) -> None:
        """
        No TLS, no 4.1; plugins that prove nothing; questions without end, or that a plugin does not know.
        """
        self.assertRaises(RemoteProtocolError, client().secure, RESPONSE)
        self.assertRaises(RemoteProtocolError, greeted(evolve(GREETING, capabilities=BASE)).secure, RESPONSE)
        self.assertRaises(RemoteProtocolError, greeted, evolve(GREETING, capabilities=C.PROTOCOL_41))
        for wrong in (AuthSwitch("mysql_old_password", b""), AuthSwitch("dialog", b"x")):
            self.assertRaises(RemoteProtocolError, proving()[0].feed, packets(handshake.encode_switch(wrong), 3))
        self.assertRaises(RemoteProtocolError, proving()[0].feed, packets(handshake.encode_more(AuthMore(b"?")), 3))
        sha2 = proving("caching_sha2_password")[0]
        self.assertRaises(RemoteProtocolError, sha2.feed, packets(handshake.encode_more(AuthMore(b"?")), 3))
        login, _ = proving()
        switch = handshake.encode_switch(AuthSwitch("mysql_clear_password", b""))
        for number in range(MAX_ROUNDS):
            login.feed(packets(switch, 3 + 2 * number))
        self.assertRaises(RemoteProtocolError, login.feed, packets(switch, 3 + 2 * MAX_ROUNDS))

    def test_out_of_turn(self) -> None:
        """
        Nothing comes between a greeting and what we say inside TLS.
        """
        login = greeted()
        self.assertRaises(RemoteProtocolError, login.feed, b"x")
        login.secure(RESPONSE)
        self.assertRaises(RemoteProtocolError, login.feed, b"x")
        self.assertRaises(RemoteProtocolError, login.secure, RESPONSE)
        self.assertRaises(RemoteProtocolError, client().secured)
        # what was sent with the greeting is not read, but seen
        behind = client()
        behind.feed(packets(handshake.encode_greeting(GREETING), 0) + b"early")
        self.assertEqual(behind.rest, b"early")

    def test_face_to_face(self) -> None:
        """
        Our client logs in to our server, whatever the plugin.
        """
        for plugin in sorted(scramble.PLUGINS - {"parsec"}):
            server, user = ServerLogin(evolve(GREETING, plugin="x")), client()
            user.feed(server.start())
            user.secure(RESPONSE)
            server._packets.sequence += 1
            said = user.secured()
            response = handshake.parse_response(said[4:])
            assert isinstance(response, HandshakeResponse)
            said = packets(handshake.encode_response(evolve(response, plugin=plugin)), 2)
            user._packets.sequence = 3
            for _ in range(4):
                outcomes = server.feed(said)
                back = b"".join(outcome.data for outcome in outcomes if isinstance(outcome, Say))
                if any(isinstance(outcome, Introduced) for outcome in outcomes):
                    back += server.welcome(handshake.encode_ok(Ok()))
                heard = user.feed(back)
                said = b"".join(outcome.data for outcome in heard if isinstance(outcome, Say))
                if any(isinstance(outcome, Welcome) for outcome in heard):
                    break
            self.assertEqual((server.state, user.decided), (State.DONE, True), plugin)


class TableTests(SynchronousTestCase):
    """
    Every input in every state.
    """

    def test_a_login_that_is_decided_stays_so(self) -> None:
        """
        And every state is reached.
        """
        for table in (SERVER_TRANSITIONS, CLIENT_TRANSITIONS):
            self.assertFalse([step for step in table if step[0] is State.DONE])
            for state in State:
                for what in Input:
                    after = table.get((state, what))
                    self.assertTrue(after is None or isinstance(after, State))
        self.assertNotIn((State.GREETED, Input.RESPONSE), CLIENT_TRANSITIONS)
