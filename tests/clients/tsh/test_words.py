"""
What users type: targets, ports, paths, escape sequences.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.standing import Standing
from teleport_tw.clients.terminal import Escape, Escapes
from teleport_tw.clients.tsh import x11
from teleport_tw.clients.tsh.commands.proxy import dialled
from teleport_tw.clients.tsh.copying import Spot
from teleport_tw.clients.tsh.many import Lines
from teleport_tw.clients.tsh.target import Wanted, options_of, words_of
from teleport_tw.dial.forward import PortForward
from teleport_tw.dial.known import host_part


class TargetTests(SynchronousTestCase):
    """
    C{[user@]host}, and labels.
    """

    def test_forms(self) -> None:
        """The last at sign parts user from host."""
        for text, login, host, labels in (
            ("node", "", "node", False),
            ("root@node", "root", "node", False),
            ("a@b@node", "a@b", "node", False),
            ("root@env=prod,tier=db", "root", "env=prod,tier=db", True),
        ):
            wanted = Wanted.parse(text)
            self.assertEqual((wanted.login, wanted.host, wanted.by_labels), (login, host, labels))

    def test_nobody_and_nowhere(self) -> None:
        """An empty half is refused."""
        for text in ("", "@node", "root@"):
            self.assertRaises(TeleportError, Wanted.parse, text)

    def test_login(self) -> None:
        """What was said wins; the only login there is comes last."""
        standing = Standing(
            username="a", roles=(), traits={}, logins=("only",), extensions=(), requests=(), expires=datetime.now(UTC)
        )
        self.assertEqual(Wanted("x", "h").login_for("y", standing), "x")
        self.assertEqual(Wanted("", "h").login_for("y", standing), "y")
        self.assertEqual(Wanted("", "h").login_for("", standing), "only")

    def test_dialled(self) -> None:
        """OpenSSH's words become a target; port 3022 stands for none, and a leaf cluster is named."""
        self.assertEqual(dialled("root@node:3022", "c", "c"), "node")
        self.assertEqual(dialled("root@node:22", "c", "c"), "node:22")
        self.assertEqual(dialled("node:0", "leaf", "c"), "node@leaf")
        self.assertRaises(TeleportError, dialled, "root@:22", "c", "c")

    def test_host_part(self) -> None:
        """A port is no part of a host."""
        for text, host in (("a", "a"), ("a:1", "a"), ("[::1]:2", "::1"), ("::1", "::1")):
            self.assertEqual(host_part(text), host)


class CommandTests(SynchronousTestCase):
    """
    What is behind the host.
    """

    def test_dashes(self) -> None:
        """The two dashes are no part of the command."""
        self.assertEqual(words_of(["--", "ls", "-l"]), "ls -l")
        self.assertEqual(words_of(["ls", "--", "x"]), "ls -- x")

    def test_options(self) -> None:
        """Both of OpenSSH's spellings."""
        self.assertEqual(options_of(["Port=22", "ForwardAgent yes"]), {"port": "22", "forwardagent": "yes"})


class PortTests(SynchronousTestCase):
    """
    C{-L}, C{-R}, C{-D}.
    """

    def test_forms(self) -> None:
        """Loopback unless an address is given."""
        self.assertEqual(PortForward.parse("80:db:5432"), PortForward("127.0.0.1", 80, "db", 5432))
        self.assertEqual(PortForward.parse("*:80:db:5432"), PortForward("0.0.0.0", 80, "db", 5432))
        self.assertEqual(PortForward.parse("[::1]:80:[fe80::1]:5432"), PortForward("::1", 80, "fe80::1", 5432))
        self.assertEqual(PortForward.parse_dynamic("1080"), PortForward("127.0.0.1", 1080))
        self.assertEqual(PortForward.parse_dynamic("0.0.0.0:1080"), PortForward("0.0.0.0", 1080))

    def test_nonsense(self) -> None:
        """Anything else is refused with the form it should have."""
        for text in ("80", "80:db", "x:db:1", "80:db:70000", "80::1", "1:2:3:4:5"):
            self.assertRaises(TeleportError, PortForward.parse, text)
        self.assertRaises(TeleportError, PortForward.parse_dynamic, "a:b:c")


class PathTests(SynchronousTestCase):
    """
    C{[[user@]host:]path}.
    """

    def test_forms(self) -> None:
        """A colon before any slash names a host."""
        for text, host, path in (
            ("file", "", "file"),
            ("./a:b", "", "./a:b"),
            ("/a:b", "", "/a:b"),
            ("node:file", "node", "file"),
            ("root@node:/etc/x", "root@node", "/etc/x"),
            ("node:", "node", "."),
            ("node:~/x", "node", "x"),
            ("root@[::1]:x", "root@::1", "x"),
        ):
            self.assertEqual(Spot.parse(text), Spot(host, path))


class EscapeTests(SynchronousTestCase):
    """
    Tildes at the start of a line.
    """

    def test_disconnect(self) -> None:
        """At the very start and after a return."""
        self.assertEqual(Escapes().feed(b"~."), (b"", [Escape.DISCONNECT]))
        self.assertEqual(Escapes().feed(b"ls\r~?x"), (b"ls\rx", [Escape.HELP]))

    def test_elsewhere(self) -> None:
        """In the middle of a line a tilde is a tilde; two are one."""
        self.assertEqual(Escapes().feed(b"ls ~."), (b"ls ~.", []))
        self.assertEqual(Escapes().feed(b"~~."), (b"~.", []))
        self.assertEqual(Escapes().feed(b"~x"), (b"~x", []))

    @given(st.lists(st.sampled_from([b"~", b".", b"?", b"\r", b"a"]), max_size=12))
    def test_every_split(self, letters: list[bytes]) -> None:
        """Keys come one by one or together: it makes no difference."""
        together = Escapes().feed(b"".join(letters))
        apart = Escapes()
        pieces = [apart.feed(letter) for letter in letters]
        self.assertEqual(
            together, (b"".join(sent for sent, _ in pieces), [each for _, asked in pieces for each in asked])
        )


class LinesTests(SynchronousTestCase):
    """
    Output of many servers.
    """

    def test_prefix(self) -> None:
        """Each line has its server's name; control characters do nothing; what has no newline comes last."""
        stream = io.StringIO()
        lines = Lines("n", stream)
        lines.feed(b"a\nb")
        lines.feed(b"c\n\x1b[2Jd")
        lines.end()
        self.assertEqual(stream.getvalue(), "[n] a\n[n] bc\n[n] \\x1b[2Jd\n")


class CookieTests(SynchronousTestCase):
    """
    Windows of programs on servers.
    """

    made_up, real = b"m" * 16, b"r" * 16

    def setup(self, cookie: bytes, order: str = "little") -> bytes:
        name = x11.PROTOCOL.encode()
        sizes = len(name).to_bytes(2, order) + len(cookie).to_bytes(2, order)  # type: ignore[arg-type]
        head = (b"l" if order == "little" else b"B") + b"\0" + (11).to_bytes(2, order) + b"\0\0"  # type: ignore[arg-type]
        return head + sizes + b"\0\0" + name.ljust(20, b"\0") + cookie

    def test_exchanged(self) -> None:
        """The made-up cookie becomes the real one, whatever the byte order; what follows stays."""
        for order in ("little", "big"):
            sent = x11.exchange(self.setup(self.made_up, order) + b"more", self.made_up, self.real)
            self.assertEqual(sent, self.setup(self.real, order) + b"more")

    def test_every_cut(self) -> None:
        """Nothing is let through before the cookie is there."""
        whole = self.setup(self.made_up)
        for end in range(len(whole)):
            self.assertIsNone(x11.exchange(whole[:end], self.made_up, self.real))

    def test_wrong_cookie(self) -> None:
        """A program that knows no cookie, or tries the real one, is refused."""
        for setup in (self.setup(self.real), self.setup(b""), b"x" * 12):
            self.assertRaises(TeleportError, x11.exchange, setup, self.made_up, self.real)

    def test_display(self) -> None:
        """Local and over TCP."""
        self.assertEqual(x11.Display.parse(":1.2"), x11.Display("", 1, 2))
        self.assertEqual(x11.Display.parse("host:10"), x11.Display("host", 10, 0))
        self.assertRaises(TeleportError, x11.Display.parse, "nonsense")
