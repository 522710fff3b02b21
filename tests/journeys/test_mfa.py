"""
Second factors at a terminal: added, listed, used, removed.
"""

from __future__ import annotations

import getpass
import http.client
import json
import os
import re
import subprocess
import sys
import time
import unittest
import urllib.error
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tests.journeys.browser import Browser
from tests.journeys.cluster import PASSWORD, PATIENCE, ROOT, Cluster

pytestmark = pytest.mark.servers


def code(authenticator: pyotp.TOTP, steps: int) -> str:
    """
    @return: that of so many half minutes from now; of the three that are accepted, each only after those before it.
    """
    return str(authenticator.at(int(time.time()) + 30 * steps))


class MfaTests(unittest.TestCase):
    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        factors = {"second_factors": ["otp", "webauthn"], "webauthn": {"rp_id": "localhost"}, "headless": True}
        cls.cluster = Cluster(auth_service={"authentication": {"type": "local", **factors}}).start()
        cls.addClassCleanup(cls.cluster.close)

    def sign_up(self, user: str) -> pyotp.TOTP:
        """With the oldest code that is accepted, so that two are left."""
        cluster = self.cluster
        login = f"--logins={getpass.getuser()}"
        made = json.loads(cluster.tctl("users", "add", user, "--roles=access", login, "--format=json"))
        path = f"/webapi/users/password/token/{made['url'].rpartition('/')[2]}"
        authenticator = pyotp.TOTP(json.loads(cluster.http("GET", path))["otpSecret"])
        for steps in (-1, 0):
            body = json.dumps({"password": PASSWORD, "second_factor_token": code(authenticator, steps)}).encode()
            try:
                cluster.http("PUT", path, body)
                break
            except urllib.error.HTTPError as error:
                if steps == 0:
                    raise AssertionError(error.read().decode()) from error
        answers = f"{PASSWORD}\n{code(authenticator, 0)}\n"
        cluster.tsh("login", f"--proxy={cluster.proxy}", f"--user={user}", f"--ca-pin={cluster.pin}", stdin=answers)
        return authenticator

    def add_phone(self, proof: str) -> pyotp.TOTP:
        """C{tsh mfa add}, whose second question depends on what it shows before."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TELEPORT_")}
        environment |= {"TELEPORT_HOME": str(self.cluster.home), "PYTHONPATH": str(ROOT)}
        words = [*self.cluster.program("tsh"), "mfa", "add", "--type=totp", "--name=phone"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment
        ) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            run.stdin.write(f"{proof}\n")
            run.stdin.flush()
            said = ""
            while not (found := re.search(r"^  ([A-Z2-7]{32,})$", said, re.MULTILINE)):
                line = run.stdout.readline()
                self.assertTrue(line, said)
                said += line
            phone = pyotp.TOTP(found[1])
            out, _ = run.communicate(f"{code(phone, -1)}\n", timeout=PATIENCE)
        self.assertEqual(run.returncode, 0, said + out)
        self.assertIn("MFA device 'phone' added.", out)
        return phone

    def test_the_life_of_a_phone(self) -> None:
        """Added with the first device's word, it proves who the user is; a recovery code stands in for it."""
        cluster = self.cluster
        first = self.sign_up("alice")
        phone = self.add_phone(code(first, 1))
        shown = cluster.tsh("mfa", "ls").stdout
        self.assertIn("phone", shown)
        self.assertEqual(shown.count("TOTP"), 2)
        refused = cluster.tsh("mfa", "rm", "phone", stdin="000000\n", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn("Traceback", refused.stderr)
        codes = re.findall(
            r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", cluster.tsh("mfa", "recovery", stdin=f"{code(phone, 0)}\n").stdout
        )
        self.assertEqual(len(codes), 10)
        missing = cluster.tsh("mfa", "rm", "tablet", check=False).stderr
        self.assertIn("phone", missing)
        cluster.tsh("mfa", "rm", "phone", stdin=f"{codes[0]}\n")
        (left,) = json.loads(cluster.tsh("mfa", "ls", "--format=json").stdout)
        last = cluster.tsh("mfa", "rm", left["name"], stdin=f"{codes[1]}\n", check=False)
        self.assertIn("last", last.stderr)
        again = cluster.tsh("mfa", "recovery", stdin=f"{codes[0]}\n", check=False)
        self.assertNotEqual(again.returncode, 0, "a recovery code works once")
        self.assertEqual([event["mfa_device_name"] for event in cluster.events("mfa.delete", user="alice")], ["phone"])
        self.assertIn("phone", [event["mfa_device_name"] for event in cluster.events("mfa.add", user="alice")])

    def with_key(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """C{tsh} at a machine with a security key plugged in."""
        body = "import tests.doubles.plugged; from teleport_tw.clients.tsh.main import main; main()"
        file = str(self.cluster.folder / "key")
        return self.cluster.run(sys.executable, "-c", body, *words, TEST_SECURITY_KEY=file, **options)

    def test_a_security_key(self) -> None:
        """Registered at a terminal, it signs in beside the password, and as a passkey without one."""
        cluster = self.cluster
        authenticator = self.sign_up("bob")
        words = ("mfa", "add", "--type=webauthn", "--name=yubikey", "--allow-passwordless", "--mfa-mode=otp")
        self.with_key(*words, stdin=f"{code(authenticator, 1)}\n")
        self.assertIn("WEBAUTHN, passwordless", cluster.tsh("mfa", "ls").stdout)
        cluster.tsh("logout")
        done = self.with_key("login", f"--proxy={cluster.proxy}", "--user=bob", stdin=f"{PASSWORD}\n")
        self.assertIn("bob", done.stdout)
        cluster.tsh("logout")
        done = self.with_key("login", f"--proxy={cluster.proxy}", "--auth=passwordless")
        self.assertIn("bob", done.stdout)
        signed_in = cluster.events("user.login", user="bob", success=True)
        self.assertEqual([event["mfa_device"]["mfa_device_name"] for event in signed_in][-2:], ["yubikey"] * 2)
        wrong = self.with_key("login", f"--proxy={cluster.proxy}", "--user=alice", stdin="wrong\n", check=False)
        self.assertNotEqual(wrong.returncode, 0)

    def started(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """A program that waits for somebody."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {"TELEPORT_HOME": str(self.cluster.home), "PYTHONPATH": str(ROOT), **env}
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment)

    def reads(self, stream: Any, pattern: str) -> str:
        """What matches in a program's lines."""
        said = ""
        while not (found := re.search(pattern, said)):
            line = stream.readline()
            self.assertTrue(line, said)
            said += line
        return found[1]

    def test_a_machine_without_a_browser(self) -> None:
        """It runs one command, once its user has approved that elsewhere, and keeps nothing."""
        cluster, me = self.cluster, getpass.getuser()
        self.guarded("dave")
        away = cluster.folder / "away"
        flags = (f"--proxy={cluster.proxy}", "--user=dave", f"--ca-pin={cluster.pin}")
        words = (*cluster.program("tsh"), "--headless", *flags, "ssh", f"{me}@node-1", "echo", "from", "away")
        for approves in (True, False):
            with self.started(*words, TELEPORT_HOME=str(away)) as run:
                request = self.reads(run.stderr, r"tsh headless approve .* ([0-9a-f-]{36})\n")
                if approves:
                    self.with_key("headless", "approve", "--skip-confirm", request)
                else:
                    denied = self.with_key("headless", "approve", request, stdin="n\n", check=False)
                    self.assertIn("denied", denied.stderr)
                    self.assertIn("127.0.0.1", denied.stderr)
                out, errors = run.communicate(timeout=PATIENCE)
            self.assertEqual((out, run.returncode), ("from away\n", 0) if approves else ("", 1), errors)
            self.assertNotIn("Traceback", errors)
        self.assertFalse(list(away.rglob("*")) if away.exists() else [])
        refused = cluster.tsh("--headless", *flags, "status", check=False)
        self.assertNotEqual(cluster.tsh("--headless", *flags, "mfa", "ls", check=False).returncode, 0)
        self.assertNotIn("Traceback", refused.stderr)

    def config(self) -> str:
        """
        @return: a file for C{ssh -F}, as C{tsh config} writes it.
        """
        file = self.cluster.folder / "ssh_config"
        file.write_text(self.cluster.tsh("config").stdout)
        return str(file)

    def answered_ssh(self, answer: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """C{ssh} of somebody who types this to every question."""
        typing = self.cluster.folder / "askpass"
        typing.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" >> {typing}.asked\n{answer}\n")
        typing.chmod(0o755)
        asking = {"SSH_ASKPASS": str(typing), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        return self.cluster.run("ssh", "-F", self.config(), *words, **asking, **options)

    def test_openssh(self) -> None:
        """A stock client is asked for a code, once for all hosts; who takes no questions reads why it failed."""
        cluster, me = self.cluster, getpass.getuser()
        phone = self.add_phone(code(self.sign_up("erin"), 1))
        self.guard("erin")
        answers = f"{PASSWORD}\n{code(phone, 0)}\n"
        cluster.tsh("login", f"--proxy={cluster.proxy}", "--user=erin", "--mfa-mode=otp", stdin=answers)
        host = f"{me}@node-1.journey"
        batch = cluster.run("ssh", "-F", self.config(), "-o", "BatchMode=yes", host, "true", check=False)
        self.assertNotEqual(batch.returncode, 0)
        self.assertIn("This session needs a second factor.", batch.stderr)
        wrong = self.answered_ssh("echo 000000", host, "true", check=False)
        self.assertNotEqual(wrong.returncode, 0)
        asked = cluster.folder / "askpass.asked"
        asked.unlink()
        done = self.answered_ssh(f"echo {code(phone, 1)}", host, "echo", "in")
        self.assertEqual(done.stdout, "in\n", done.stderr)
        self.assertIn("Code from your authenticator app", asked.read_text())
        again = cluster.run("ssh", "-F", self.config(), "-o", "BatchMode=yes", host, "echo", "again")
        self.assertEqual(again.stdout, "again\n")
        started = cluster.events("session.start", user="erin")
        self.assertTrue(all(event["with_mfa"] for event in started), started)
        self.assertEqual(len(started), 2)
        self.assertTrue(cluster.events("auth", user="erin", success=False))

    def guard(self, user: str) -> None:
        """From the next login on, sessions of this user take a second factor."""
        cluster = self.cluster
        role = {
            "kind": "role",
            "version": "v7",
            "metadata": {"name": "guarded"},
            "spec": {
                "options": {"require_session_mfa": True},
                "allow": {"logins": [getpass.getuser()], "node_labels": {"*": "*"}},
            },
        }
        file = cluster.folder / "guarded.yaml"
        file.write_text(json.dumps(role))
        cluster.tctl("create", "-f", str(file))
        cluster.tctl("users", "update", user, "--set-roles=guarded")
        cluster.tsh("logout")

    def guarded(self, user: str) -> None:
        """A user whose sessions take a second factor, with a key; signed in."""
        cluster = self.cluster
        authenticator = self.sign_up(user)
        words = ("mfa", "add", "--type=webauthn", "--name=yubikey", "--mfa-mode=otp")
        self.with_key(*words, stdin=f"{code(authenticator, 1)}\n")
        self.guard(user)
        self.with_key("login", f"--proxy={cluster.proxy}", f"--user={user}", stdin=f"{PASSWORD}\n")

    def test_sessions_that_take_a_second_factor(self) -> None:
        """One tap opens a session, the next, and a copy; without a key or a code there is none."""
        cluster, me = self.cluster, getpass.getuser()
        self.guarded("carol")
        refused = cluster.tsh("ssh", f"{me}@node-1", "true", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn("Traceback", refused.stderr)
        done = self.with_key("ssh", f"{me}@node-1", "echo", "in")
        self.assertEqual(done.stdout, "in\n")
        self.assertIn("second factor is required", done.stderr)
        again = cluster.tsh("ssh", f"{me}@node-1", "echo", "again")
        self.assertEqual((again.stdout, again.stderr), ("again\n", ""), "the answer counts for a while")
        many = cluster.tsh("ssh", f"{me}@env=test", "echo", "all")
        self.assertEqual(many.stdout, "[node-1] all\n")
        source, target = cluster.folder / "source.txt", cluster.folder / "target.txt"
        source.write_text("copied")
        cluster.tsh("scp", str(source), f"{me}@node-1:{target}")
        self.assertEqual(target.read_text(), "copied")
        started = cluster.events("session.start", user="carol")
        self.assertTrue(all(event["with_mfa"] for event in started), started)

    def test_the_browser_beside_it(self) -> None:
        """A program is signed in by the page; what a stranger sends to its port signs nobody in."""
        cluster = self.cluster
        phone = self.add_phone(code(self.sign_up("frank"), 1))
        page = Browser(cluster)
        page.sign_in("frank", code(phone, 0))
        flags = (f"--proxy={cluster.proxy}", f"--ca-pin={cluster.pin}", "--auth=browser", "--browser=none")
        fresh = str(cluster.folder / "fresh")
        for stolen in (True, False):
            with self.started(*cluster.program("tsh"), "login", *flags, TELEPORT_HOME=fresh) as run:
                link = urlsplit(self.reads(run.stderr, r"(https://\S+)\n"))
                port, request = int(parse_qs(link.query)["port"][0]), link.path.rpartition("/")[2]
                for host, path in (("evil.example", "/callback?code=x"), ("", "/"), ("", "/callback")):
                    self.assertEqual(knock(port, path, host), 404)
                if stolen:
                    worth = "0" * 64
                else:
                    proof = {"second_factor_token": code(phone, 1)}
                    worth = page.json("PUT", f"/webapi/browser/{request}", proof)["code"]
                self.assertEqual(knock(port, f"/callback?code={worth}"), 200)
                out, errors = run.communicate(timeout=PATIENCE)
            self.assertEqual(run.returncode, 1 if stolen else 0, errors)
            self.assertEqual("frank" in out, not stolen)
            self.assertNotIn("Traceback", errors)


def knock(port: int, path: str, host: str = "") -> int:
    """
    @return: what a program that waits for its code answers.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        return connection.getresponse().status
    finally:
        connection.close()


class AdministratorTests(unittest.TestCase):
    """
    A cluster with keys only.
    """

    def test_changes_take_a_key(self) -> None:
        """C{tctl} by a login asks for the key once for several changes; without one it changes nothing."""
        factors = {"second_factors": ["webauthn"], "webauthn": {"rp_id": "localhost"}, "require_session_mfa": "no"}
        cluster = Cluster(auth_service={"authentication": {"type": "local", **factors}}, roles=("auth", "proxy"))
        self.addCleanup(cluster.close)
        cluster.start()
        made = json.loads(cluster.tctl("users", "add", "root", "--roles=editor,access", "--format=json"))
        file = str(cluster.folder / "key")
        sign_up = "import sys, tests.doubles.plugged as key; key.sign_up(*sys.argv[1:])"
        token = made["url"].rpartition("/")[2]
        cluster.run(sys.executable, "-c", sign_up, cluster.proxy, token, PASSWORD, TEST_SECURITY_KEY=file)

        def run(program: str, *words: str, key: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
            plug = "import tests.doubles.plugged; " if key else ""
            body = f"{plug}from teleport_tw.clients.{program}.main import main; main()"
            return cluster.run(sys.executable, "-c", body, *words, TEST_SECURITY_KEY=file, **options)

        flags = (f"--proxy={cluster.proxy}", "--user=root", f"--ca-pin={cluster.pin}")
        run("tsh", "login", *flags, stdin=f"{PASSWORD}\n")
        words = ("users", "add", "new", "--roles=access")
        refused = run("tctl", *words, key=False, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn("Traceback", refused.stderr)
        self.assertNotIn('"new"', cluster.tctl("users", "ls", "--format=json"))
        done = run("tctl", *words)
        self.assertEqual(done.stderr.count("takes your key"), 1, done.stderr)
        self.assertIn('"new"', cluster.tctl("users", "ls", "--format=json"))
