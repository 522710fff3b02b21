"""
Shared sessions, as people have them: C{tsh join} in a session that stock C{ssh} or C{tsh ssh} began.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import termios
import threading
import unittest
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.journeys.cluster import ROOT, Cluster, until

pytestmark = pytest.mark.servers

ROLES: dict[str, Any] = {
    "watched": {
        "logins": ["root"],
        "node_labels": {"*": "*"},
        "require_session_join": [
            {"name": "eyes", "filter": 'contains(user.spec.roles, "helper")', "kinds": ["ssh"], "modes": ["moderator"]}
        ],
    },
    "helper": {"join_sessions": [{"name": "all", "roles": ["access", "watched"], "kinds": ["ssh"], "modes": ["*"]}]},
    "watcher": {"join_sessions": [{"name": "a", "roles": ["access"], "kinds": ["ssh"], "modes": ["observer"]}]},
    "kube": {"join_sessions": [{"name": "k", "roles": ["access"], "kinds": ["k8s"], "modes": ["*"]}]},
}
PEOPLE = {"alice": "access", "bob": "helper", "carol": "watcher", "dora": "watched", "eve": "kube"}


class Screen:
    """
    A program at a terminal of its own.
    """

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self._ours = ours
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65536):
                self._seen += data

    @property
    def seen(self) -> str:
        """
        Everything that was written to it.
        """
        return bytes(self._seen).decode(errors="replace")

    def type(self, text: str) -> None:
        """
        At its keyboard.
        """
        os.write(self._ours, text.encode())

    def sees(self, text: str) -> None:
        """
        Wait for it.
        """
        try:
            until(lambda: text in self.seen, repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error} in:\n{self.seen}") from None

    def ends(self) -> int:
        """
        Wait for it.

        @return: the exit status.
        """
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on:\n{self.seen}") from None

    def close(self) -> None:
        """
        In whatever state it is.
        """
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._ours)


class SharingJourney(unittest.TestCase):
    """
    Alice owns, Bob helps, Carol watches, Dora must be watched, and Eve may not.
    """

    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster().start()
        cls.addClassCleanup(cls.cluster.close)
        for name, allow in ROLES.items():
            path = cls.cluster.folder / f"{name}.yaml"
            role = {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": {"allow": allow}}
            path.write_text(yaml.safe_dump(role))
            cls.cluster.tctl("create", "-f", str(path))
        for name, role_name in PEOPLE.items():
            code = cls.cluster.sign_up(name, roles=role_name)
            cls.cluster.home = cls._home(name)
            cls.cluster.log_in(name, code)

    @classmethod
    def _home(cls, name: str) -> Path:
        return cls.cluster.folder / f"home-{name}"

    def _tsh(self, name: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.tsh(*words, TELEPORT_HOME=str(self._home(name)), **options)

    def _at(self, name: str, *words: str) -> Screen:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {
            "TELEPORT_HOME": str(self._home(name)),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.cluster.folder),
            "TERM": "xterm",
        }
        shown = Screen(list(words), environment)
        self.addCleanup(shown.close)
        return shown

    def _tsh_at(self, name: str, *words: str) -> Screen:
        return self._at(name, *self.cluster.program("tsh"), *words)

    def _session(self, name: str, owner: str) -> str:
        """
        @return: id of the owner's session, as somebody sees it.
        """

        def found() -> Any:
            listed = json.loads(self._tsh(name, "sessions", "ls", "--format=json").stdout)
            return [each["metadata"]["name"] for each in listed if each["spec"]["host_user"] == owner]

        [session] = until(found, f"a session of {owner}")
        return str(session)

    def test_stock_ssh_owns_and_tsh_joins(self) -> None:
        """
        They type in turn, an observer watches, and whoever may not join learns nothing.
        """
        if shutil.which("ssh") is None:
            self.skipTest("needs OpenSSH's client")
        config = self.cluster.folder / "ssh_config"
        config.write_text(self._tsh("alice", "config").stdout)
        alice = self._at("alice", "ssh", "-F", str(config), "-tt", "root@node-1.journey")
        alice.sees("# ")
        alice.type("PS1='prompt> '; echo before-$((6*7))\r")
        alice.sees("before-42")
        session = self._session("bob", "alice")
        bob = self._tsh_at("bob", "join", "--mode=peer", "--reason=helping", session)
        bob.sees("before-42")
        bob.sees("You joined as peer")
        alice.sees("User bob joined the session as peer (helping)")
        bob.type("echo from-bob-$((1+1))\r")
        alice.sees("from-bob-2")
        carol = self._tsh_at("carol", "join", session)
        carol.sees("from-bob-2")
        carol.type("echo carol-$((1+1))\r")
        alice.type("echo from-alice-$((2+2))\r")
        carol.sees("from-alice-4")
        carol.type("\x03")
        self.assertEqual(carol.ends(), 0)
        alice.sees("User carol left the session")
        self.assertNotIn("carol-2", alice.seen)

        refused = self._tsh("carol", "join", "--mode=moderator", session, check=False)
        self.assertIn("as observer, not as moderator", refused.stderr + refused.stdout)
        self.assertNotEqual(refused.returncode, 0)
        missing = "7ad0c3a0-0000-4000-8000-000000000000"
        said = {sid: self._tsh("eve", "join", sid, check=False) for sid in (session, missing)}
        texts = {done.stderr.replace(sid, "SID") for sid, done in said.items()}
        self.assertEqual(len(texts), 1, texts)
        self.assertEqual(json.loads(self._tsh("eve", "sessions", "ls", "--format=json").stdout), [])

        bob.type("\r~.")
        bob.ends()
        alice.sees("User bob left the session")
        alice.type("exit\r")
        self.assertEqual(alice.ends(), 0)
        [end] = until(lambda: self.cluster.events("session.end", sid=session), "the session's end")
        self.assertEqual(end["participants"], ["alice", "bob", "carol"])
        joins = [(event["user"], event["mode"]) for event in self.cluster.events("session.join", sid=session)]
        self.assertEqual(joins, [("bob", "peer"), ("carol", "observer")])
        self.assertEqual(len(self.cluster.events("session.leave", sid=session)), 2)
        until(lambda: self.cluster.events("session.upload", sid=session), "the recording")
        self.assertIn("User bob joined", self._tsh("alice", "play", "--format=text", session).stdout)

    @staticmethod
    def _presses(who: Screen, key: str, until_seen: str) -> None:
        """
        Until it counts: a question has to be there for a moment before it can be answered.
        """

        def pressed() -> bool:
            if until_seen not in who.seen:
                who.type(key)
            return until_seen in who.seen

        until(pressed, until_seen)

    def test_a_watched_session(self) -> None:
        """
        It waits for the moderator, who ends it; what nobody can watch is refused.
        """
        refused = self._tsh("dora", "ssh", "root@node-1", "id", check=False)
        self.assertEqual(refused.returncode, 255)
        self.assertIn("require somebody to watch", refused.stderr)
        source = self.cluster.folder / "file"
        source.write_text("x")
        copied = self._tsh("dora", "scp", str(source), "root@node-1:/tmp/never", check=False)
        self.assertNotEqual(copied.returncode, 0)
        dora = self._tsh_at("dora", "ssh", "--reason=INC-7", "--invite=bob", "root@node-1")
        dora.sees("Waiting for participants before the session begins: 1 moderator")
        session = self._session("bob", "dora")
        [tracker] = json.loads(self._tsh("bob", "sessions", "ls", "--kind=ssh", "--format=json").stdout)
        self.assertEqual((tracker["spec"]["state"], tracker["spec"]["invited"]), ("pending", ["bob"]))
        bob = self._tsh_at("bob", "join", "--mode=moderator", session)
        dora.sees("Everybody required is here")
        dora.sees("# ")
        dora.type("echo watched-$((40+2))\r")
        bob.sees("watched-42")
        for key, target, answer in (("f", "approved", "bob approved"), ("d", "denied", "bob denied it")):
            path = self.cluster.folder / target
            copying = self._at("dora", *self.cluster.program("tsh"), "scp", str(source), f"root@node-1:{path}")
            bob.sees(f"User dora asks to copy a file to {path}. Moderators: f approves, d denies.")
            self._presses(bob, key, answer)
            self.assertEqual(copying.ends() == 0, key == "f", copying.seen)
            self.assertEqual(path.exists() and path.read_text() == "x", key == "f")
        [denied] = until(lambda: self.cluster.events("file_transfer_request_deny", sid=session), "the denial")
        self.assertEqual((denied["user"], denied["requester"], denied["download"]), ("bob", "dora", False))
        self.assertEqual(len(self.cluster.events("file_transfer_request_approve", sid=session, user="bob")), 1)
        bob.type("t")
        self.assertEqual(dora.ends(), 255)
        dora.sees("Moderator bob ended the session")
        self.assertEqual(bob.ends(), 0)
