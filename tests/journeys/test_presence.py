"""
Moderators prove that they are there, in sessions that began with a second factor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import pyotp
import pytest
import yaml

from tests.journeys.cluster import PASSWORD, ROOT, Cluster, until
from tests.journeys.test_sharing import Screen

pytestmark = [pytest.mark.servers, pytest.mark.long]

ROLES: dict[str, Any] = {
    "watched": {
        "options": {"require_session_mfa": True},
        "allow": {
            "logins": ["root"],
            "node_labels": {"*": "*"},
            "require_session_join": [
                {"name": "eyes", "filter": 'contains(user.spec.roles, "eyes")', "kinds": ["ssh"], "modes": ["*"]}
            ],
        },
    },
    "eyes": {"allow": {"join_sessions": [{"name": "all", "roles": ["watched"], "kinds": ["ssh"], "modes": ["*"]}]}},
}
WITH_KEY = "import tests.doubles.plugged; from teleport_tw.clients.tsh.main import main; main()"


class PresenceJourney(unittest.TestCase):
    """
    Dora is watched: by Bob, who has a key, Carol, who has a telephone, and Eve, who goes for a coffee.
    """

    cluster: Cluster
    phones: dict[str, pyotp.TOTP]

    @classmethod
    def setUpClass(cls) -> None:
        factors = {"second_factors": ["otp", "webauthn"], "webauthn": {"rp_id": "localhost"}}
        cls.cluster = cluster = Cluster(auth_service={"authentication": {"type": "local", **factors}}).start()
        cls.addClassCleanup(cluster.close)
        for name, spec in ROLES.items():
            path = cluster.folder / f"{name}.yaml"
            path.write_text(yaml.safe_dump({"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}))
            cluster.tctl("create", "-f", str(path))
        cls.phones = {}
        for name, roles in (("dora", "watched"), ("bob", "eyes"), ("carol", "eyes"), ("eve", "eyes")):
            made = json.loads(cluster.tctl("users", "add", name, f"--roles={roles}", "--format=json"))
            token = made["url"].rpartition("/")[2]
            if name in ("dora", "bob"):
                sign_up = "import sys, tests.doubles.plugged as key; key.sign_up(*sys.argv[1:])"
                cls._run(name, "-c", sign_up, cluster.proxy, token, PASSWORD)
                login = ("login", f"--proxy={cluster.proxy}", f"--user={name}", f"--ca-pin={cluster.pin}")
                cls._run(name, "-c", WITH_KEY, *login, stdin=f"{PASSWORD}\n")
                continue
            path = f"/webapi/users/password/token/{token}"
            cls.phones[name] = phone = pyotp.TOTP(json.loads(cluster.http("GET", path))["otpSecret"])
            body = json.dumps({"password": PASSWORD, "second_factor_token": phone.now()}).encode()
            cluster.http("PUT", path, body)
            cluster.home = cls._home(name)
            cluster.log_in(name, phone)

    @classmethod
    def _home(cls, name: str) -> Path:
        return cls.cluster.folder / f"home-{name}"

    @classmethod
    def _environment(cls, name: str) -> dict[str, str]:
        return {"TELEPORT_HOME": str(cls._home(name)), "TEST_SECURITY_KEY": str(cls.cluster.folder / f"key-{name}")}

    @classmethod
    def _run(cls, name: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return cls.cluster.run(sys.executable, *words, **cls._environment(name), **options)

    def _at(self, name: str, *words: str, key: bool = False) -> Screen:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(self.cluster.folder), "TERM": "xterm"}
        program = [sys.executable, "-c", WITH_KEY] if key else self.cluster.program("tsh")
        shown = Screen([*program, *words], environment | self._environment(name))
        self.addCleanup(shown.close)
        return shown

    def _begun(self, known: set[str]) -> tuple[Screen, str]:
        """
        @return: another session of Dora's, and its id.
        """
        dora = self._at("dora", "ssh", "root@node-1", key=True)
        dora.sees("Waiting for participants before the session begins")

        def found() -> Any:
            environment = self._environment("bob")
            listed = self.cluster.tsh("sessions", "ls", "--format=json", **environment).stdout
            return {each["metadata"]["name"] for each in json.loads(listed)} - known

        [session] = until(found, "a session of Dora's")
        return dora, str(session)

    def test_who_is_there(self) -> None:
        """
        A key is touched, a code typed, and both stay; who does nothing is sent out, and with them the last eyes.
        """
        kept, first = self._begun(set())
        bob = self._at("bob", "join", "--mode=moderator", first, key=True)
        carol = self._at("carol", "join", "--mode=moderator", first)
        kept.sees("Everybody required is here")
        ending, second = self._begun({first})
        eve = self._at("eve", "join", "--mode=moderator", second)
        ending.sees("Everybody required is here")

        bob.sees("that you are there: touch your security key.")
        bob.sees("it is known that you are there")
        carol.sees("that you are there: type the code of your authenticator app.")
        code = str(self.cluster.next_code(self.phones["carol"]))
        carol.type(code)
        carol.sees("it is known that you are there")
        eve.sees("that you are there: type the code of your authenticator app.")
        eve.type("000000")
        eve.sees("That you are there was not proven")
        self.assertEqual(eve.ends(), 1)
        eve.sees("You are sent out: you did not prove to be there")
        ending.sees("User eve did not prove to be there")
        ending.sees("The session ends, as somebody who must be present has left")
        self.assertEqual(ending.ends(), 255)

        kept.type("echo kept-$((40+2))\r")
        bob.sees("kept-42")
        carol.sees("kept-42")
        for seen in (kept.seen, bob.seen):
            self.assertNotIn(code, seen)
        carol.type("t")
        kept.sees("Moderator carol ended the session")
        left = self.cluster.events("session.leave", sid=second)
        self.assertEqual([event["user"] for event in left], ["eve"])
