"""
A person with a browser: signs in, works in a terminal whose network comes and goes, moves files, sees the recording.
"""

from __future__ import annotations

import json
import os
import shutil
import unittest
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from teleport_tw.web.envelope import Envelope
from tests.journeys.browser import Browser, Terminal
from tests.journeys.cluster import Cluster, until

HELPER = {
    "kind": "role",
    "version": "v7",
    "metadata": {"name": "helper"},
    "spec": {
        "allow": {"join_sessions": [{"name": "all", "roles": ["access", "auditor"], "kinds": ["ssh"], "modes": ["*"]}]}
    },
}


@pytest.mark.servers
class WebTerminalJourney(unittest.TestCase):
    """
    One cluster, one person.
    """

    cluster: ClassVar[Cluster]
    browser: ClassVar[Browser]
    node: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        authenticator = cls.cluster.sign_up("alice", roles="access,auditor")
        until(lambda: cls.cluster.node_listed("node-1"), "the node")
        cls.browser = Browser(cls.cluster)
        cls.browser.sign_in("alice", cls.cluster.next_code(authenticator))
        cls.node = cls.browser.nodes()["node-1"]

    def place(self, what: str, **query: str) -> str:
        """
        Of root's files.
        """
        return f"/webapi/sites/-current-/nodes/{self.node}/root/{what}?{urlencode(query)}"

    def test_shell_and_its_recording(self) -> None:
        """What was typed and shown is in the recording, with its times; the log tells of the session."""
        terminal = self.browser.terminal(self.node, term={"w": 90, "h": 30})
        terminal.type(b"echo fi''rst; stty size\r")
        terminal.until(b"first\r\n30 90\r\n")
        terminal.type(b"exit 5\r")
        self.assertEqual(terminal.closing()["status"], 5)
        ended = until(lambda: self.cluster.events("session.end", user="alice"), "the end of the session")
        session = ended[-1]["sid"]
        shown = self.play(session)
        self.assertIn(b"first\r\n30 90", shown)
        hits = self.search(session, "FIRST")
        self.assertTrue(hits)
        status, cast = self.browser.ask("GET", f"/webapi/sites/-current-/recordings/{session}/export?format=cast")
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(cast.splitlines()[0])["width"], 90)
        length = self.browser.json("GET", f"/webapi/sites/-current-/sessionlength/{session}")
        self.assertTrue(length["complete"])

    def player(self, session: str) -> Any:
        """
        A WebSocket that plays.
        """
        socket = self.browser.socket(f"/webapi/sites/-current-/ttyplayback/{session}")
        self.addCleanup(socket.close)
        self.assertEqual(socket.greet()["status"], "ok")
        return socket

    def play(self, session: str) -> bytes:
        """
        All of it, whenever it was due.
        """
        socket = self.player(session)
        socket.send(Envelope.of("p", {"at": 0, "generation": 1}).encode())
        shown = b""
        while True:
            message = Envelope.decode(socket.message())
            shown += message.payload if message.type == "r" else b""
            if message.type == "c":
                raise AssertionError(message.payload)
            if message.type == "p" and message.json().get("end"):
                return shown

    def search(self, session: str, text: str) -> list[Any]:
        """
        In one recording, once it has come.
        """
        socket = self.player(session)
        while Envelope.decode(socket.message()).type != "m":
            pass
        socket.send(Envelope.of("q", {"id": 1, "text": text}).encode())
        while (message := Envelope.decode(socket.message())).type != "q":
            pass
        return list(message.json()["hits"])

    def test_the_network_goes_and_comes(self) -> None:
        """A lost WebSocket costs nothing: what was typed is run once, what was written meanwhile is shown."""
        terminal = self.browser.terminal(self.node)
        resume = terminal.told("s")[0]["resume"]
        terminal.type(b"echo on''ce; sleep 0.3; echo mean''while\r")
        terminal.until(b"once\r\n")
        terminal.socket.close()
        again = Terminal(self.browser.socket(self.path))
        answer = again.socket.greet(resume=resume, received=terminal.received)
        self.assertEqual(answer["status"], "ok")
        again.received, again.typed = terminal.received, terminal.typed
        again.until(b"meanwhile\r\n")
        self.assertTrue(again.told("s")[0]["resumed"])
        again.typed = 0  # sent again, as by a page that was not told
        again.type(b"echo on''ce; sleep 0.3; echo mean''while\r")
        again.typed = terminal.typed
        again.type(b"echo la''st; exit\r")
        self.assertNotIn(b"once", again.until(b"last\r\n"))
        self.assertEqual(again.closing()["status"], 0)

    @property
    def path(self) -> str:
        """
        Of a terminal.
        """
        asked = json.dumps({"server_id": self.node, "login": "root"})
        return f"/webapi/sites/-current-/connect/ws?{urlencode({'params': asked})}"

    def test_two_people(self) -> None:
        """A colleague joins in the browser, sees the screen as it is, types, and the moderator ends it for both."""
        self.cluster.tctl("create", stdin=json.dumps(HELPER))
        other = Browser(self.cluster)
        other.sign_in("helen", self.cluster.next_code(self.cluster.sign_up("helen", roles="helper")))
        terminal = self.browser.terminal(self.node)
        terminal.type(b"PS1=; echo some''thing\r")
        terminal.until(b"something\r\n")
        session = terminal.told("s")[0]["session"]
        self.assertEqual(session["server_hostname"], "node-1")
        listed = until(
            lambda: other.json("GET", "/webapi/sites/-current-/sessions")["sessions"], "the session in the list"
        )
        self.assertEqual([each["id"] for each in listed], [session["id"]])
        guest = other.terminal("", "", sid=session["id"], mode="moderator")
        shown = guest.told("s")[0]["session"]
        self.assertEqual((shown["id"], shown["mode"], shown["server_hostname"]), (session["id"], "moderator", "node-1"))
        guest.until(b"something")
        terminal.until(b"helen")
        guest.socket.send(Envelope.of("c", {"terminate": True}).encode())
        self.assertIn(terminal.closing()["code"], ("exited", "ended"))
        self.assertIn(guest.closing()["code"], ("exited", "ended"))
        with self.assertRaises(AssertionError) as caught:
            other.terminal("", "", sid=session["id"], mode="peer")
        self.assertIn("may be over", str(caught.exception))

    def test_nobody_else_goes_on(self) -> None:
        """Who knows the id, but is another sign-in, is told that there is nothing."""
        terminal = self.browser.terminal(self.node)
        resume = terminal.told("s")[0]["resume"]
        other = Browser(self.cluster)
        other.sign_in("bob", self.cluster.next_code(self.cluster.sign_up("bob")))
        answer = other.socket(self.path).greet(resume=resume, received=0)
        self.assertEqual((answer["status"], answer["code"]), ("error", "gone"))
        terminal.type(b"exit\r")
        self.assertEqual(terminal.closing()["status"], 0)

    def test_a_login_that_is_not_ours(self) -> None:
        """Refused in words."""
        with self.assertRaises(AssertionError) as caught:
            self.browser.terminal(self.node, "daemon")
        self.assertIn("refused", str(caught.exception))

    def test_files(self) -> None:
        """There and back, and in the log."""
        folder = self.cluster.folder / "files"
        folder.mkdir()
        self.addCleanup(shutil.rmtree, folder)
        data = os.urandom(2_000_003)
        status, told = self.browser.ask("POST", self.place("scp", location=str(folder), filename="x"), data)
        self.assertEqual(status, 200, told)
        self.assertEqual(Path(json.loads(told)["path"]).read_bytes(), data)
        listed = self.browser.json("GET", self.place("list", path=str(folder)))
        self.assertEqual([(each["name"], each["size"]) for each in listed["items"]], [("x", len(data))])
        url = self.browser.json("POST", self.place("scp/ticket", location=str(folder / "x")))["url"]
        self.assertEqual(self.browser.ask("GET", url, Authorization="none"), (200, data))
        until(lambda: self.cluster.events("sftp", user="alice"), "the events")
