"""
The yamux machine: every input in every state, two machines face to face, and peers that mean harm.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.mux.machine import Limits, Machine, Role
from teleport_tw.protocols.mux.messages import (
    INITIAL_WINDOW_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    Data,
    Flag,
    GoAway,
    GoAwayCode,
    Message,
    Ping,
    WindowUpdate,
)
from teleport_tw.protocols.mux.outcomes import (
    Accepted,
    Credited,
    Finished,
    Opened,
    Outcome,
    Ponged,
    Received,
    Reset,
    WentAway,
)
from teleport_tw.protocols.mux.states import LINK_TRANSITIONS, TRANSITIONS, Input, LinkInput, LinkState, State
from teleport_tw.protocols.mux.wire import Decoder
from tests.protocols.mux.test_wire import messages

SYN, ACK, FIN, RST = (int(flag) for flag in Flag)


def out(machine: Machine) -> list[Message]:
    """
    What the machine wants written, decoded.
    """
    return Decoder().feed(b"".join(machine.take()))


def carry(sender: Machine, receiver: Machine) -> list[Outcome]:
    """
    Everything the sender has to write, taken in by the receiver.
    """
    return [outcome for message in out(sender) for outcome in receiver.receive(message)]


def pair(**limits: int) -> tuple[Machine, Machine]:
    return Machine(Role.CLIENT, Limits(**limits)), Machine(Role.SERVER, Limits(**limits))


def established(**limits: int) -> tuple[Machine, Machine, int]:
    """
    A stream that the client opened and the server accepted.
    """
    client, server = pair(**limits)
    stream = client.open()
    carry(client, server)
    server.accept(stream)
    carry(server, client)
    return client, server, stream


def in_state(state: State) -> tuple[Machine, int]:
    """
    A client machine and one of its streams in this state.
    """
    machine = Machine(Role.CLIENT)
    stream = machine.open()
    match state:
        case State.SYN_SENT:
            pass
        case State.SYN_RECEIVED:
            stream = 2
            machine.receive(WindowUpdate(2, 0, SYN))
        case State.ESTABLISHED:
            machine.receive(WindowUpdate(1, 0, ACK))
        case State.LOCAL_CLOSED:
            machine.finish(1)
        case State.REMOTE_CLOSED:
            machine.receive(WindowUpdate(1, 0, FIN))
        case State.CLOSED:
            machine.reset(1)
    machine.take()
    return machine, stream


ACTIONS: dict[Input, Callable[[Machine, int], object]] = {
    Input.SEND_ACK: lambda machine, stream: machine.accept(stream),
    Input.RECEIVE_ACK: lambda machine, stream: machine.receive(WindowUpdate(stream, 0, ACK)),
    Input.SEND_DATA: lambda machine, stream: machine.send(stream, [b"x"], 1),
    Input.RECEIVE_DATA: lambda machine, stream: machine.receive(Data(stream, b"x")),
    Input.SEND_FIN: lambda machine, stream: machine.finish(stream),
    Input.RECEIVE_FIN: lambda machine, stream: machine.receive(WindowUpdate(stream, 0, FIN)),
    Input.SEND_RST: lambda machine, stream: machine.reset(stream),
    Input.RECEIVE_RST: lambda machine, stream: machine.receive(Data(stream, b"", RST)),
}


class TableTests(SynchronousTestCase):
    """
    Every input in every state does what the table says.
    """

    def test_every_input_in_every_state(self) -> None:
        for state in State:
            for what, act in ACTIONS.items():
                machine, stream = in_state(state)
                self.assertIs(machine.state_of(stream), state)
                after = TRANSITIONS.get((state, what))
                if after is not None:
                    act(machine, stream)
                    self.assertIs(machine.state_of(stream), after, (state, what))
                elif state is not State.CLOSED:
                    sending = what.value.startswith("send")
                    with self.assertRaises(LocalProtocolError if sending else RemoteProtocolError):
                        act(machine, stream)
                elif what in (Input.SEND_DATA, Input.SEND_FIN):
                    with self.assertRaises(LocalProtocolError):
                        act(machine, stream)
                else:
                    act(machine, stream)
                    self.assertEqual((machine.state_of(stream), machine.take()), (State.CLOSED, []))

    def test_nothing_leads_out_of_closed(self) -> None:
        self.assertNotIn(State.CLOSED, {state for state, _ in TRANSITIONS})

    def test_every_link_input_in_every_state(self) -> None:
        acts: dict[LinkInput, Callable[[Machine], object]] = {
            LinkInput.SEND_GO_AWAY: lambda machine: machine.go_away(),
            LinkInput.RECEIVE_GO_AWAY: lambda machine: machine.receive(GoAway(0)),
            LinkInput.END: lambda machine: machine.end(),
        }
        for state in LinkState:
            for what, act in acts.items():
                machine = Machine(Role.CLIENT)
                machine.state = state
                act(machine)
                self.assertIs(machine.state, LINK_TRANSITIONS.get((state, what), LinkState.ENDED))


class PlainTests(SynchronousTestCase):
    """
    The short ways for plain data do what the long ones do, and nothing where the case is not plain.
    """

    def test_a_frame_at_once_is_a_frame(self) -> None:
        for state in State:
            machine, stream = in_state(state)
            other, _ = in_state(state)
            frame = machine.frame(stream, b"abc")
            if state is not State.ESTABLISHED:
                self.assertEqual((frame, machine.allowance(stream)), (None, other.allowance(stream)))
                continue
            other.send(stream, [b"abc"], 3)
            self.assertEqual(frame, b"".join(other.take()))
            self.assertEqual((machine.allowance(stream), machine.unsent()), (other.allowance(stream), 0))

    def test_no_frame_before_what_waits_nor_beyond_the_credit(self) -> None:
        machine, stream = in_state(State.ESTABLISHED)
        self.assertIsNone(machine.frame(stream, bytes(INITIAL_WINDOW_BYTES + 1)))
        self.assertIsNotNone(machine.frame(stream, bytes(INITIAL_WINDOW_BYTES - 1)))
        self.assertIsNone(machine.frame(stream, b"xy"))
        self.assertEqual(machine.allowance(stream), 1)
        machine.ping()
        self.assertIsNone(machine.frame(stream, b"x"))
        machine.take()
        self.assertIsNotNone(machine.frame(stream, b"x"))

    def test_bytes_taken_are_bytes_received(self) -> None:
        for state in State:
            machine, stream = in_state(state)
            self.assertIs(machine.took(stream, 3), state is State.ESTABLISHED)
        machine, stream = in_state(State.ESTABLISHED)
        other, _ = in_state(State.ESTABLISHED)
        self.assertTrue(machine.took(stream, INITIAL_WINDOW_BYTES // 2))
        other.receive(Data(stream, bytes(INITIAL_WINDOW_BYTES // 2)))
        for each in (machine, other):
            self.assertFalse(each.took(stream, INITIAL_WINDOW_BYTES // 2 + 1))
            each.consumed(stream, INITIAL_WINDOW_BYTES // 2)
        self.assertEqual(out(machine), out(other))


class StreamTests(SynchronousTestCase):
    """
    Two machines face to face.
    """

    def test_open_accept_talk_and_close(self) -> None:
        client, server = pair()
        stream = client.open()
        client.send(stream, [b"hel", memoryview(b"lo")], 5)
        self.assertEqual(carry(client, server), [Opened(1), Received(1, b"hello")])
        server.accept(stream)
        server.send(stream, [b"yes"], 3)
        server.finish(stream)
        self.assertEqual(carry(server, client), [Accepted(1), Received(1, b"yes"), Finished(1)])
        self.assertIs(client.state_of(stream), State.REMOTE_CLOSED)
        client.send(stream, [b"bye"], 3)
        client.finish(stream)
        self.assertEqual(carry(client, server), [Received(1, b"bye"), Finished(1)])
        self.assertEqual((len(client), len(server)), (0, 0))

    def test_the_dialling_side_has_odd_ids_and_the_other_even_ones(self) -> None:
        client, server = pair()
        self.assertEqual([client.open(), client.open()], [1, 3])
        self.assertEqual([server.open(), server.open()], [2, 4])
        self.assertEqual(carry(client, server), [Opened(1), Opened(3)])
        self.assertEqual(carry(server, client), [Opened(2), Opened(4)])

    def test_one_frame_may_open_talk_and_finish(self) -> None:
        server = Machine(Role.SERVER)
        self.assertEqual(server.receive(Data(1, b"x", SYN | FIN)), [Opened(1), Received(1, b"x"), Finished(1)])
        self.assertIs(server.state_of(1), State.REMOTE_CLOSED)
        server.accept(1)
        self.assertEqual(out(server), [WindowUpdate(1, 0, ACK)])

    def test_reset(self) -> None:
        client, server, stream = established()
        client.reset(stream)
        self.assertEqual(carry(client, server), [Reset(stream)])
        self.assertEqual((len(client), len(server)), (0, 0))
        server.reset(stream)
        server.accept(stream)
        server.consumed(stream, 5)
        self.assertEqual(server.take(), [])

    def test_a_reset_outweighs_the_payload_it_comes_with(self) -> None:
        client, _, stream = established()
        self.assertEqual(client.receive(Data(stream, b"late", RST | ACK)), [Reset(stream)])

    def test_frames_of_unknown_streams_are_dropped(self) -> None:
        client = Machine(Role.CLIENT)
        for message in (
            Data(8, b"x"),
            WindowUpdate(8, 5),
            Data(8, b"", FIN),
            WindowUpdate(9, 0, RST),
            Data(9, b"", ACK),
        ):
            self.assertEqual(client.receive(message), [])
        self.assertEqual(client.take(), [])

    def test_an_id_may_be_opened_again_when_it_is_closed(self) -> None:
        server = Machine(Role.SERVER)
        server.receive(WindowUpdate(1, 0, SYN))
        server.receive(WindowUpdate(1, 0, RST))
        self.assertEqual(server.receive(WindowUpdate(1, 0, SYN)), [Opened(1)])

    def test_a_stream_id_of_ours_is_not_the_peers_to_open(self) -> None:
        for role, stream in ((Role.CLIENT, 7), (Role.SERVER, 8)):
            with self.assertRaises(RemoteProtocolError):
                Machine(role).receive(WindowUpdate(stream, 0, SYN))

    def test_opening_twice(self) -> None:
        server = Machine(Role.SERVER)
        server.receive(WindowUpdate(1, 0, SYN))
        with self.assertRaises(RemoteProtocolError):
            server.receive(Data(1, b"", SYN))

    def test_ids_end(self) -> None:
        client = Machine(Role.CLIENT)
        client._next_id = MAX_STREAM_ID
        self.assertEqual(client.open(), MAX_STREAM_ID)
        self.assertFalse(client.may_open())
        with self.assertRaises(LocalProtocolError):
            client.open()


class WindowTests(SynchronousTestCase):
    """
    Credit, both ways.
    """

    def test_a_sender_stops_at_the_window_and_goes_on_when_half_is_read(self) -> None:
        client, server, stream = established()
        half = INITIAL_WINDOW_BYTES // 2
        client.send(stream, [bytes(INITIAL_WINDOW_BYTES)], INITIAL_WINDOW_BYTES)
        self.assertEqual(client.allowance(stream), 0)
        with self.assertRaises(LocalProtocolError):
            client.send(stream, [b"x"], 1)
        self.assertEqual(len(carry(client, server)), 1)
        server.consumed(stream, half - 1)
        self.assertEqual(carry(server, client), [])
        server.consumed(stream, 1)
        self.assertEqual(carry(server, client), [Credited(stream)])
        self.assertEqual(client.allowance(stream), half)

    def test_credit_on_top_of_credit_is_no_news(self) -> None:
        client, _, stream = established()
        self.assertEqual(client.receive(WindowUpdate(stream, 10)), [])
        self.assertEqual(client.allowance(stream), INITIAL_WINDOW_BYTES + 10)

    def test_a_peer_that_overruns_its_window(self) -> None:
        _, server, stream = established()
        server.receive(Data(stream, bytes(INITIAL_WINDOW_BYTES)))
        with self.assertRaises(RemoteProtocolError) as caught:
            server.receive(Data(stream, b"x"))
        self.assertEqual(caught.exception.code, GoAwayCode.PROTOCOL_ERROR)

    def test_a_window_that_overflows(self) -> None:
        client, _, stream = established()
        client.receive(WindowUpdate(stream, MAX_WINDOW_BYTES - INITIAL_WINDOW_BYTES))
        with self.assertRaises(RemoteProtocolError):
            client.receive(WindowUpdate(stream, 1))

    def test_larger_windows_are_granted_with_the_first_frame(self) -> None:
        client, server = pair(window_bytes=2**20)
        stream = client.open()
        carry(client, server)
        self.assertEqual(server.allowance(stream), 2**20)
        server.accept(stream)
        carry(server, client)
        self.assertEqual(client.allowance(stream), 2**20)

    def test_the_window_grows_for_a_reader_that_keeps_up(self) -> None:
        client, server, stream = established()
        for window in (256, 512, 1024, 1024):
            self.assertEqual(client.allowance(stream), window * 1024)
            client.send(stream, [bytes(window * 512)], window * 512)
            carry(client, server)
            server.consumed(stream, window * 512)
            carry(server, client)

    def test_the_window_stays_for_a_reader_that_does_not(self) -> None:
        client, server, stream = established()
        for _ in range(10):
            size = client.allowance(stream)
            client.send(stream, [bytes(size)], size)
            carry(client, server)
            server.consumed(stream, INITIAL_WINDOW_BYTES // 2)
            carry(server, client)
        self.assertEqual(client.allowance(stream), INITIAL_WINDOW_BYTES // 2)

    def test_no_credit_for_who_has_finished(self) -> None:
        client, server, stream = established()
        client.send(stream, [bytes(INITIAL_WINDOW_BYTES)], INITIAL_WINDOW_BYTES)
        client.finish(stream)
        carry(client, server)
        server.consumed(stream, INITIAL_WINDOW_BYTES)
        self.assertEqual(server.take(), [])

    def test_no_allowance_without_a_stream(self) -> None:
        self.assertEqual(Machine(Role.CLIENT).allowance(1), 0)

    def test_an_empty_frame_is_nothing_for_the_reader(self) -> None:
        client, _, stream = established()
        self.assertEqual(client.receive(Data(stream)), [])

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 300_000)), max_size=40))
    def test_what_is_unread_never_exceeds_the_window(self, rounds: list[tuple[int, int]]) -> None:
        client, server, stream = established(max_window_bytes=300_000)
        unread = sent = received = 0
        for wish, read in rounds:
            size = min(wish, client.allowance(stream))
            if size:
                client.send(stream, [bytes(size)], size)
                sent += size
            for outcome in carry(client, server):
                assert isinstance(outcome, Received)
                unread += len(outcome.payload)
                received += len(outcome.payload)
            self.assertLessEqual(unread, 300_000)
            taken = min(read, unread)
            server.consumed(stream, taken)
            unread -= taken
            carry(server, client)
        self.assertEqual(sent, received)
        server.consumed(stream, unread)
        carry(server, client)
        self.assertGreater(client.allowance(stream), INITIAL_WINDOW_BYTES // 2)


class BoundTests(SynchronousTestCase):
    """
    A peer that opens, pings or waits without end.
    """

    def test_streams_beyond_the_backlog_are_reset(self) -> None:
        server = Machine(Role.SERVER, Limits(max_backlog=2))
        for stream in (1, 3):
            self.assertEqual(server.receive(WindowUpdate(stream, 0, SYN)), [Opened(stream)])
        self.assertEqual(server.receive(WindowUpdate(5, 0, SYN)), [])
        self.assertEqual(out(server), [WindowUpdate(5, 0, RST)])
        server.accept(1)
        self.assertEqual(server.receive(WindowUpdate(7, 0, SYN)), [Opened(7)])

    def test_streams_beyond_the_most_are_reset(self) -> None:
        server = Machine(Role.SERVER, Limits(max_streams=1))
        server.receive(WindowUpdate(1, 0, SYN))
        server.accept(1)
        server.take()
        self.assertEqual(server.receive(Data(3, b"x", SYN | FIN)), [])
        self.assertEqual(out(server), [WindowUpdate(3, 0, RST)])
        self.assertFalse(server.may_open())

    def test_we_keep_to_the_backlog_ourselves(self) -> None:
        client = Machine(Role.CLIENT, Limits(max_backlog=1))
        stream = client.open()
        self.assertFalse(client.may_open())
        client.receive(WindowUpdate(stream, 0, ACK))
        self.assertTrue(client.may_open())

    def test_a_stream_that_ends_early_leaves_the_backlog(self) -> None:
        client, server = pair(max_backlog=1)
        for _ in range(3):
            stream = client.open()
            self.assertEqual(carry(client, server), [Opened(stream)])
            client.reset(stream)
            carry(client, server)

    def test_pings(self) -> None:
        client, server = pair(max_pings=2)
        first, second = client.ping(), client.ping()
        self.assertEqual(client.unanswered_pings(), 2)
        with self.assertRaises(LocalProtocolError):
            client.ping()
        carry(client, server)
        self.assertEqual(carry(server, client), [Ponged(first), Ponged(second)])
        self.assertEqual(client.unanswered_pings(), 0)

    def test_an_answer_nobody_asked_for_is_dropped(self) -> None:
        self.assertEqual(Machine(Role.CLIENT).receive(Ping(5, is_answer=True)), [])


class AwayTests(SynchronousTestCase):
    """
    Links that end, gently or not.
    """

    def test_after_go_away_open_streams_go_on_and_new_ones_are_reset(self) -> None:
        client, server, stream = established()
        server.go_away()
        late = client.open()
        self.assertEqual(carry(client, server), [])
        self.assertEqual(carry(server, client), [WentAway(GoAwayCode.NORMAL), Reset(late)])
        self.assertFalse(client.may_open())
        self.assertTrue(server.may_open())
        client.send(stream, [b"still here"], 10)
        self.assertEqual(carry(client, server), [Received(stream, b"still here")])

    def test_an_error_ends_the_link(self) -> None:
        for code in (GoAwayCode.PROTOCOL_ERROR, GoAwayCode.INTERNAL_ERROR, 99):
            client = Machine(Role.CLIENT)
            self.assertEqual(client.receive(GoAway(code)), [WentAway(code)])
            self.assertIs(client.state, LinkState.ENDED)

    def test_our_error_is_the_last_thing_we_say(self) -> None:
        client, _, _ = established()
        client.go_away(GoAwayCode.PROTOCOL_ERROR)
        client.go_away(GoAwayCode.INTERNAL_ERROR)
        self.assertEqual(out(client), [GoAway(GoAwayCode.PROTOCOL_ERROR)])
        self.assertEqual(client.receive(Ping(1)), [])
        self.assertEqual(len(client), 0)

    def test_the_end_tells_which_streams_are_lost(self) -> None:
        client, _, stream = established()
        other = client.open()
        self.assertEqual(client.end(), (stream, other))
        self.assertEqual(client.end(), ())
        self.assertFalse(client.may_open())


class HostileTests(SynchronousTestCase):
    """
    Any frames in any order end in outcomes or in L{RemoteProtocolError}.
    """

    @given(st.sampled_from(Role), st.lists(messages, max_size=30))
    def test_any_frames(self, role: Role, sent: list[Message]) -> None:
        machine = Machine(role, Limits(max_streams=3, max_backlog=2))
        try:
            for message in sent:
                machine.receive(message)
                self.assertLessEqual(len(machine), 3)
        except RemoteProtocolError as error:
            self.assertEqual(error.code, GoAwayCode.PROTOCOL_ERROR)

    @given(st.lists(st.builds(Data, st.integers(1, 3), st.binary(max_size=3), st.integers(0, 15)), max_size=30))
    def test_any_flags_on_few_streams(self, sent: list[Data]) -> None:
        machine = Machine(Role.CLIENT)
        machine.open()
        try:
            for message in sent:
                machine.receive(message)
        except RemoteProtocolError:
            pass
