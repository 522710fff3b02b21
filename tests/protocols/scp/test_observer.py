"""
An scp run read in passing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.observer import MAX_DEPTH, Copied, Observer, Turn

Script = Sequence[tuple[str, bytes]]

UP: Script = (
    ("server", b"\0"),
    *(("client", b"C0644 5 a.txt\n"), ("server", b"\0"), ("client", b"hello\0"), ("server", b"\0")),
    *(("client", b"C0644 0 empty\n"), ("server", b"\0"), ("client", b"\0"), ("server", b"\0")),
)

TREE: Script = (
    ("client", b"\0"),
    *(("server", b"T1 0 1 0\n"), ("client", b"\0"), ("server", b"D0755 0 tree\n"), ("client", b"\0")),
    *(("server", b"C0644 2 x\n"), ("client", b"\0"), ("server", b"hi\0"), ("client", b"\0")),
    *(("server", b"D0755 0 sub\n"), ("client", b"\0")),
    *(("server", b"C0644 1 y\n"), ("client", b"\0"), ("server", b"!\0"), ("client", b"\0")),
    *(("server", b"E\n"), ("client", b"\0"), ("server", b"E\n"), ("client", b"\0")),
)


def observer(command: str) -> Observer:
    """
    @return: of what the server runs.
    """
    wanted = records.command(command)
    assert wanted is not None
    return Observer(wanted)


def play(watching: Observer, script: Script, piece: int = 1 << 20) -> list[Copied]:
    """
    @param piece: bytes at a time.
    """
    seen: list[Copied] = []
    for who, data in script:
        show = watching.client if who == "client" else watching.server
        for start in range(0, len(data), piece):
            seen += show(data[start : start + piece])
    return seen


class ObserverTests(SynchronousTestCase):
    """
    Both directions, whole and byte by byte.
    """

    def test_an_upload(self) -> None:
        """One file to a name; several into a folder."""
        for piece in (1, 1 << 20):
            self.assertEqual(play(observer("scp -t /tmp/b"), UP, piece), [Copied("/tmp/b", 5), Copied("/tmp/b", 0)])
            into = play(observer("scp -d -t /tmp/d"), UP, piece)
            self.assertEqual(into, [Copied("/tmp/d/a.txt", 5), Copied("/tmp/d/empty", 0)])

    def test_a_tree_comes_down(self) -> None:
        """Its first folder is what was asked for."""
        for piece in (1, 1 << 20):
            seen = play(observer("scp -r -p -f /srv/tree"), TREE, piece)
            self.assertEqual(seen, [Copied("/srv/tree/x", 2), Copied("/srv/tree/sub/y", 1)])
        several = play(observer("scp -r -p -f /srv/tree /srv/other"), TREE)
        self.assertEqual(several[0].path, "tree/x")

    def test_a_tree_goes_up(self) -> None:
        """Into the folder that was named."""
        up = [({"client": "server", "server": "client"}[who], data) for who, data in TREE]
        self.assertEqual(play(observer("scp -r -p -t /tmp"), up)[0], Copied("/tmp/tree/x", 2))

    def test_refusals(self) -> None:
        """Of the run, a folder, a file, what was written, and what could not be read."""
        ready = [("server", b"\0")]
        begun = [*ready, ("client", b"C0644 3 f\n")]
        for script, expected in (
            ([("server", b"\1scp: no such folder\n")], Copied("/t", 0, "no such folder")),
            ([*begun, ("server", b"\1scp: denied\n")], Copied("/t", 3, "denied")),
            (
                [*begun, ("server", b"\0"), ("client", b"abc\0"), ("server", b"\1disk full\n")],
                Copied("/t", 3, "disk full"),
            ),
            ([*begun, ("server", b"\0"), ("client", b"abc\1gone\n"), ("server", b"\0")], Copied("/t", 3, "gone")),
            ([*ready, ("client", b"\1no such file\n")], Copied("/t", 0, "no such file")),
            ([*begun, ("server", b"\2\n")], Copied("/t", 3, "failed")),
        ):
            self.assertEqual(play(observer("scp -t /t"), script), [expected])
        folder = [*ready, ("client", b"D0755 0 d\n"), ("server", b"\1not here\n")]
        watching = observer("scp -r -t /t")
        self.assertEqual(play(watching, folder), [Copied("/t/d", 0, "not here")])
        self.assertIs(watching.turn, Turn.RECORD)

    def test_a_sender_that_does_not_wait(self) -> None:
        """What it says next could be taken for a file, and hide what is really written."""
        for script in (
            [("client", b"C0644 3 f\n")],
            [("server", b"\0"), ("client", b"C0644 3 f\nC0644 3 g\n")],
            [("server", b"\0"), ("server", b"\0")],
        ):
            with self.assertRaises(RemoteProtocolError):
                play(observer("scp -t /t"), script)

    def test_bounds(self) -> None:
        """Long lines, deep folders, strange answers."""
        ready = ("server", b"\0")
        deep = [each for _ in range(MAX_DEPTH + 1) for each in (("client", b"D0755 0 d\n"), ready)]
        for script in (
            [ready, ("client", b"C" * (records.MAX_LINE_BYTES + 1))],
            [ready, *deep],
            [("server", b"what\n")],
            [ready, ("client", b"what\n")],
        ):
            with self.assertRaises(RemoteProtocolError):
                play(observer("scp -r -t /t"), script)

    def test_one_end_too_many(self) -> None:
        """Of a folder that was never begun: the receiver's matter."""
        self.assertEqual(play(observer("scp -r -t /t"), [("server", b"\0"), ("client", b"E\n"), ("server", b"\0")]), [])

    @given(some.lists(some.tuples(some.sampled_from(["client", "server"]), some.binary(max_size=40)), max_size=8))
    def test_garbage(self, script: list[tuple[str, bytes]]) -> None:
        """Ends in one kind of error only."""
        with contextlib.suppress(RemoteProtocolError):
            play(observer("scp -r -t /t"), script)
