"""
Terminals and the account checks before them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import struct
import termios
from pathlib import Path

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh import pty
from teleport_tw.agents.ssh.accounts import Accounts, parse_environment
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.protocols.ssh.wire import put_string, put_text, put_uint32
from tests.conch.openssh import scratch


def modes(*pairs: tuple[int, int]) -> bytes:
    """As a client encodes them."""
    return b"".join(struct.pack(">BL", *pair) for pair in pairs) + b"\0"


def request(term: str = "xterm", encoded: bytes = b"\0", columns: int = 80, rows: int = 24) -> bytes:
    """The payload of pty-req."""
    return put_text(term) + b"".join(map(put_uint32, (columns, rows, 640, 480))) + put_string(encoded)


class TerminalTests(SynchronousTestCase):
    """
    Requests and what they do.
    """

    def test_a_terminal_has_the_size_and_modes_asked_for(self) -> None:
        """
        A changed interrupt key, no echo, a disabled key; unknown opcodes do no harm.
        """
        wanted = pty.Request.parse(request(encoded=modes((1, 24), (53, 0), (10, 255), (42, 1), (129, 9600), (99, 1))))
        terminal = pty.Terminal.open(wanted, os.getuid(), os.getgid())
        self.addCleanup(os.close, terminal.master)
        self.addCleanup(os.close, terminal.slave)
        self.assertEqual(os.get_terminal_size(terminal.slave), (80, 24))
        attributes = termios.tcgetattr(terminal.slave)
        self.assertEqual(attributes[6][termios.VINTR], b"\x18")
        self.assertEqual(attributes[6][termios.VSUSP], b"\0")
        self.assertFalse(attributes[3] & termios.ECHO)
        self.assertTrue(attributes[3] & termios.ICANON)
        self.assertEqual(terminal.name, os.ttyname(terminal.slave))

    def test_sizes_beyond_the_kernel_s_are_cut(self) -> None:
        """
        A hostile size is no crash.
        """
        size = pty.Request.parse(request(columns=2**32 - 1)).size
        self.assertEqual(size.columns, 0xFFFF)

    def test_a_term_that_is_none_is_refused(self) -> None:
        """
        It ends up in an environment.
        """
        for term in ("x" * 65, "a\0b", "a\nb", "é"):
            self.assertRaises(RemoteProtocolError, pty.Request.parse, request(term))

    def test_every_cut_is_refused(self) -> None:
        """
        In the request and in the modes.
        """
        whole = request(encoded=modes((1, 3)))
        for end in range(len(whole)):
            self.assertRaises(RemoteProtocolError, pty.Request.parse, whole[:end])
        self.assertRaises(RemoteProtocolError, pty.parse_modes, modes((1, 3))[:3])

    @given(st.binary(max_size=64))
    def test_garbage_is_read_or_refused(self, data: bytes) -> None:
        """
        Nothing else comes of it.
        """
        with contextlib.suppress(RemoteProtocolError):
            pty.parse_modes(data)


class AccountTests(SynchronousTestCase):
    """
    Of this machine, with C{etc} of the test's own.
    """

    def setUp(self) -> None:
        self.etc = scratch(self)
        self.me = pwd.getpwuid(os.getuid()).pw_name

    def refusal(self, login: str, uid: int = 0) -> TeleportError:
        """Why not."""
        return self.assertRaises(TeleportError, Accounts(etc=self.etc, uid=uid).find, login)

    def test_an_account_is_found_with_its_groups(self) -> None:
        """
        The primary one among them.
        """
        account = Accounts(etc=self.etc).find(self.me)
        self.assertIn(account.gid, account.groups)
        self.assertEqual(account.environment["HOME"], pwd.getpwnam(self.me).pw_dir)

    def test_a_login_that_does_not_exist(self) -> None:
        """
        Is told by name.
        """
        error = self.refusal("nosuchlogin")
        self.assertEqual((error.kind, str(error)), (Kind.NOT_FOUND, "user nosuchlogin does not exist on this host"))

    def test_an_agent_that_is_not_root_serves_itself_alone(self) -> None:
        """
        And says what would help.
        """
        self.assertIn("must run as root", self.refusal("daemon", uid=54321).message)

    def test_nologin_and_expiry(self) -> None:
        """
        Root may still come in while nologin is there.
        """
        (self.etc / "nologin").write_text("back at nine\n")
        self.assertEqual(self.refusal("daemon").message, "back at nine")
        Accounts(etc=self.etc).find("root")
        (self.etc / "nologin").unlink()
        shadow = Path(self.etc / "shadow")
        shadow.write_text("daemon:*:1:0:99999:7::20000:\n")
        self.assertIn("expired", self.refusal("daemon").message)
        shadow.write_text("daemon:*:1:0:99999:7::99999:\n")
        Accounts(etc=self.etc, uid=0).find("daemon")

    def test_a_user_s_environment_file(self) -> None:
        """
        Loader variables, broken lines and other people's files are passed over.
        """
        text = "A=1\n# C=3\nLD_PRELOAD=x\nnot a line\n B=two words \n1=x\n"
        self.assertEqual(parse_environment(text), {"A": "1", "B": "two words"})
        accounts = Accounts(etc=self.etc)
        account = evolve(accounts.find(self.me), home=str(self.etc))
        self.assertEqual(accounts.user_environment(account), {})
        folder = self.etc / ".tsh"
        folder.mkdir()
        (folder / "environment").write_text(text)
        self.assertEqual(accounts.user_environment(account), {"A": "1", "B": "two words"})
        (folder / "environment").rename(folder / "other")
        (folder / "environment").symlink_to(folder / "other")
        self.assertEqual(accounts.user_environment(account), {})
