"""
Sections in files of others: ours come and go, theirs stay byte for byte.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.sections import MARK, MAX_BYTES, remove, store, with_section, without_section

THEIRS = b"""\
# my own databases
[work]
host=db.example.com
  port = 5433

; another
[home]
host=localhost
"""

lines = st.sampled_from(
    [
        b"[work]",
        b"[other] ; ours is not it",
        b"  [spaced]",
        b"# a comment",
        b"; another",
        b"host=x",
        b"",
        b"   ",
        b"!include /etc/x",
        b"[broken",
        b"\xff\xfe",
    ]
)
files = st.builds(
    lambda parts, end, last: end.join(parts) + (end if last else b""),
    st.lists(lines, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)


class SectionTests(SynchronousTestCase):
    """
    Content in, content out.
    """

    def test_added_at_the_end(self) -> None:
        """
        What was there stays in front of it.
        """
        found = with_section(THEIRS, "journey-orders", {"host": "proxy", "port": "443"})
        self.assertTrue(found.startswith(THEIRS))
        self.assertEqual(found[len(THEIRS) :], b"\n[journey-orders]\n" + MARK + b"\nhost=proxy\nport=443\n")

    def test_replaced_where_it_is(self) -> None:
        """
        Others around it stay, comments of the next section included.
        """
        first = with_section(b"", "ours", {"a": "1", "b": "2"})
        self.assertEqual(
            with_section(first + b"\n" + THEIRS, "ours", {"a": "3"}),
            first.replace(b"a=1\nb=2", b"a=3") + b"\n" + THEIRS,
        )
        middle = b"[a]\nx=1\n\n" + first + b"\n# about b\n[b]\ny=2\n"
        self.assertEqual(with_section(middle, "ours", {"a": "9"}), middle.replace(b"a=1\nb=2", b"a=9"))
        self.assertEqual(without_section(middle, "ours"), b"[a]\nx=1\n\n# about b\n[b]\ny=2\n")

    def test_line_ends_of_the_file(self) -> None:
        """
        Windows' where the others are.
        """
        found = with_section(b"[a]\r\nx=1\r\n", "ours", {"b": "2"})
        self.assertEqual(found, b"[a]\r\nx=1\r\n\r\n[ours]\r\n" + MARK + b"\r\nb=2\r\n")
        self.assertEqual(without_section(found, "ours"), b"[a]\r\nx=1\r\n")

    @given(files)
    def test_a_round_trip_changes_nothing(self, content: bytes) -> None:
        """
        Added and removed again, whatever was there, but for a line end that was missing at the end.
        """
        added = with_section(content, "ours", {"host": "x"})
        self.assertTrue(added.startswith(content))
        kept = without_section(added, "ours")
        whole = (
            content
            if content.endswith(b"\n") or not content
            else content + (b"\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else b"\n")
        )
        self.assertEqual(kept.rstrip(b"\r\n"), whole.rstrip(b"\r\n"))
        self.assertTrue(whole.startswith(kept) or kept.startswith(content))

    @given(files, files)
    def test_what_surrounds_it_stays(self, before: bytes, after: bytes) -> None:
        """
        Replaced between others, every line of theirs is there in its order.
        """
        header = b"[next]\n" + after
        content = with_section(before, "ours", {"a": "1"}) + header
        changed = with_section(content, "ours", {"a": "2", "b": "3"})
        self.assertTrue(changed.startswith(before))
        self.assertTrue(changed.endswith(header))
        self.assertIn(b"b=3", changed)
        self.assertNotIn(b"a=1", changed)
        self.assertTrue(without_section(changed, "ours").endswith(header))

    def test_absent(self) -> None:
        """
        Nothing is done.
        """
        self.assertEqual(without_section(THEIRS, "wor"), THEIRS)
        self.assertEqual(without_section(b"", "x"), b"")

    def test_line_ends_in_values(self) -> None:
        """
        A value cannot bring a section of its own.
        """
        for name, values in (("a", {"x": "1\n[evil]"}), ("a]\n[b", {}), ("a", {"x\ry": "1"})):
            self.assertRaises(TeleportError, with_section, b"", name, values)


class FileTests(SynchronousTestCase):
    """
    On disk.
    """

    def test_comes_and_goes(self) -> None:
        """
        A new file is private, and is gone with its last section.
        """
        path = Path(self.mktemp())
        store(path, "ours", {"a": "1"})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        store(path, "more", {"a": "1"})
        remove(path, "ours")
        self.assertIn(b"[more]", path.read_bytes())
        remove(path, "more")
        self.assertFalse(path.exists())
        remove(path, "more")

    def test_a_file_of_somebody_keeps_its_rights_and_place(self) -> None:
        """
        Also where the path is a link to it.
        """
        real, link = Path(self.mktemp()).resolve(), Path(self.mktemp())
        real.write_bytes(THEIRS)
        real.chmod(0o644)
        link.symlink_to(real)
        store(link, "ours", {"a": "1"})
        self.assertTrue(link.is_symlink())
        self.assertEqual(real.stat().st_mode & 0o777, 0o644)
        remove(link, "ours")
        self.assertEqual(real.read_bytes(), THEIRS)

    def test_what_is_no_such_file(self) -> None:
        """
        Is left alone.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertRaises(TeleportError, store, folder, "ours", {})
        large = Path(self.mktemp())
        large.write_bytes(b"#" * (MAX_BYTES + 1))
        self.assertRaises(TeleportError, store, large, "ours", {})
