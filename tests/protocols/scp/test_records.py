"""
Lines of scp, and the commands that start it.
"""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.records import MAX_SIZE, End, Entry, Times, Wanted

_NAMES = st.binary(min_size=1, max_size=50).filter(
    lambda name: name not in (b".", b"..") and not set(name) & set(b"/\0\n")
)
_RECORDS = st.one_of(
    st.builds(Entry, st.booleans(), st.integers(0, 0o7777), st.integers(0, MAX_SIZE), _NAMES),
    st.builds(Times, st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1)),
    st.just(End()),
)


class RecordTests(SynchronousTestCase):
    """
    Both ways.
    """

    @settings(deadline=None)
    @given(_RECORDS)
    def test_round_trip(self, record: records.Record) -> None:
        """
        What was written is read.
        """
        line = records.encode(record)
        self.assertEqual(line[-1:], b"\n")
        self.assertEqual(records.parse(line[:-1]), record)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_garbage(self, line: bytes) -> None:
        """
        Is read, or ends in one error.
        """
        for start in (b"", b"C0644 ", b"C0644 1 ", b"T", b"D"):
            with contextlib.suppress(RemoteProtocolError):
                records.parse(start + line)

    def test_names_that_lead_elsewhere_are_refused(self) -> None:
        """
        CVE-2018-20685 and its kin: what is sent lands in the directory it was sent to.
        """
        for name in (b"", b".", b"..", b"../x", b"a/b", b"/etc/passwd", b"a\0b", b"a\nb"):
            with self.assertRaises(RemoteProtocolError):
                records.parse(b"C0644 1 " + name)

    def test_numbers_that_make_no_sense(self) -> None:
        """
        Modes of four octal digits, sizes a file can have, times of this age.
        """
        for line in (
            b"C644 1 a", b"C0648 1 a", b"C00644 1 a", b"C0644 -1 a", b"C0644 9223372036854775808 a", b"C0644 1",
            b"C0644 99999999999999999999 a", b"T1 0 1", b"T-1 0 1 0", b"T9999999999999 0 1 0",
            b"X", b"E1", b"",
        ):  # fmt: skip
            with self.assertRaises(RemoteProtocolError, msg=line):
                records.parse(line)

    def test_a_newline_in_a_name_cannot_forge_a_record(self) -> None:
        """
        It is shown as a question mark.
        """
        self.assertEqual(records.encode(Entry(False, 0o644, 0, b"a\nC0777 1 b")), b"C0644 0 a?C0777 1 b\n")


class CommandTests(SynchronousTestCase):
    """
    What a shell would have made of the command.
    """

    def test_clients_commands(self) -> None:
        """
        As scp itself words them.
        """
        cases = {
            "scp -t /tmp/x": Wanted(True, False, False, False, ("/tmp/x",)),
            "scp -v -r -p -d -t -- -odd": Wanted(True, True, True, True, ("-odd",)),
            "scp -rpf a b": Wanted(False, True, True, False, ("a", "b")),
            "/usr/bin/scp -f *.txt": Wanted(False, False, False, False, ("*.txt",)),
            "scp -f 'a b'": Wanted(False, False, False, False, ("a b",)),
            "scp -f 'a*'\\?\"[\"": Wanted(False, False, False, False, ("a[*][?][[]",)),
            'scp -f "a\\"b"': Wanted(False, False, False, False, ('a"b',)),
            'scp -f "a\\b"': Wanted(False, False, False, False, ("a\\b",)),
            "scp\t-t ~": Wanted(True, False, False, False, ("~",)),
            "scp -t a ": Wanted(True, False, False, False, ("a",)),
            "scp -t ''": Wanted(True, False, False, False, ("",)),
        }
        for text, wanted in cases.items():
            self.assertEqual(records.command(text), wanted, text)

    def test_what_is_left_to_a_shell(self) -> None:
        """
        Everything that asks for more than words, and what is not scp's far end.
        """
        for text in (
            "", "ls", "scp a b", "scp -t", "scp -t a b", "scp -t -f a", "scp -t $HOME", "scp -t `id`", "scp -t a; id",
            "scp -t a | id", "scp -t a && id", "scp -t a > b", "scp -t 'a", 'scp -t "a', "scp -t a\\", "scp -t {a,b}",
            'scp -t "$HOME"', 'scp -t "`id`"', "scp -x -t a", "scp -t a\nid", "scpx -t a", 'scp -t "a\\',
        ):  # fmt: skip
            self.assertIsNone(records.command(text), text)

    @settings(deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """
        Is taken or left, never more.
        """
        records.command("scp -t " + text)
        records.command("scp -f '" + text)
