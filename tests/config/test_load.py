"""
Tests for L{teleport_tw.config.load} and L{teleport_tw.config.sample}.
"""

from __future__ import annotations

import base64
import contextlib
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.config.load import load, load_text
from teleport_tw.config.overrides import Overrides, apply, parse_labels, parse_roles
from teleport_tw.config.sample import configure, node_configure, samples

ETC = Path(__file__).parents[2] / "etc"

WRONG = [
    ("version: v9", "version: must be one of"),
    (
        "version: v3\nteleport: {nodname: x}",
        "teleport.nodname: is not a key known here; did you mean nodename? (line 2)",
    ),
    ("version: v3\nteleport: {nodename: -x}", "teleport.nodename: must start"),
    ("version: v3\nteleport: {log: {severity: LOUD}}", "teleport.log.severity: must be one of"),
    ("version: v3\nteleport: {auth_servers: ['a:3025']}", "teleport.auth_servers: is the older form"),
    ("version: v2\nteleport: {proxy_server: 'a:443'}", "teleport.proxy_server: needs version: v3"),
    ("version: v3\nteleport: {proxy_server: a, auth_server: b}", "exclude each other"),
    ("version: v3\nteleport: {auth_token: a, join_params: {token_name: b}}", "exclude each other"),
    ("version: v3\nteleport: {auth_token: /nonexistent/token}", "cannot read the token"),
    ("version: v3\nteleport: {ca_pin: 'sha256:12'}", "teleport.ca_pin[0]: must be sha256:"),
    ("version: v3\nteleport: {storage: {type: floppy}}", "teleport.storage.type: must be one of"),
    ("version: v3\nteleport: {storage: {pth: x}}", "teleport.storage.pth: is not a key"),
    ("version: v3\nproxy_service: {web_listen_addr: 'a b'}", "proxy_service.web_listen_addr: must be an address"),
    ("version: v3\nproxy_service: {web_listen_addr: 'a:99999'}", "proxy_service.web_listen_addr: must be an address"),
    ("version: v3\nproxy_service: {https_keypairs: [{key_file: a}]}", "https_keypairs[0].cert_file: is missing"),
    ("version: v3\nauth_service: {tokens: ['nod:geheim']}", "auth_service.tokens[0]: must be role"),
    ("version: v3\nauth_service: {client_idle_timeout: soon}", "auth_service.client_idle_timeout:"),
    ("version: v3\nauth_service: {authentication: {second_factors: [sso]}}", "second_factors: must have otp"),
    (
        "version: v3\nauth_service: {authentication: {connector_name: passwordless}}",
        "connector_name: passwordless needs",
    ),
    ("version: v3\nauth_service: {enabled: perhaps}", "auth_service.enabled: must be yes or no"),
    ("version: v3\nssh_service: {commands: [{name: a}]}", "ssh_service.commands[0].command: is missing"),
    ("version: v3\nssh_service: {labels: [a]}", "ssh_service.labels: must be a mapping"),
    ("version: v3\napp_service: {enabled: yes}", "app_service.enabled: is not served by this version yet"),
    ("[]", "must be a mapping"),
    ("a: [", "is not YAML"),
]


class LoadTests(SynchronousTestCase):
    """
    Files become sections, or all of their mistakes at once.
    """

    def test_mistakes(self) -> None:
        """
        Each mistake is told with its key path.
        """
        for text, expected in WRONG:
            error = self.assertRaises(TeleportError, load_text, text)
            self.assertIn(expected, str(error))
            self.assertNotIn("geheim", str(error))

    def test_all_at_once(self) -> None:
        """
        Two mistakes in different sections come together.
        """
        error = self.assertRaises(TeleportError, load_text, "teleport: {x: 1}\nssh_service: {y: 1}")
        self.assertIn("teleport.x", str(error))
        self.assertIn("ssh_service.y", str(error))

    def test_versions(self) -> None:
        """
        v1 opens the proxy's listeners; later ones keep them closed.
        """
        self.assertEqual(load_text("version: v1").proxy.listen_addr, "0.0.0.0:3023")
        self.assertEqual(load_text("version: v3").proxy.listen_addr, "")

    def test_values(self) -> None:
        """
        Booleans, durations and addresses are read in their usual spellings.
        """
        found = load_text(
            "version: v3\nteleport: {auth_token: xyz, proxy_server: p.example.com}\n"
            "auth_service: {enabled: 'off', client_idle_timeout: 1h30m, session_recording: off}\n"
            "app_service: {enabled: no, apps: []}\n"
        )
        self.assertFalse(found.auth.enabled)
        self.assertEqual(found.auth.client_idle_timeout, timedelta(minutes=90))
        self.assertEqual(found.auth.session_recording.value, "off")
        self.assertEqual(found.teleport.proxy_server, "p.example.com:443")
        self.assertEqual(found.teleport.join.token.reveal(), "xyz")
        self.assertNotIn("xyz", repr(found))

    def test_environment(self) -> None:
        """
        C{TELEPORT_CONFIG} holds a file in base64.
        """
        inline = base64.b64encode(b"version: v3\nteleport: {nodename: inline}").decode()
        self.assertEqual(load(environ={"TELEPORT_CONFIG": inline}).teleport.nodename, "inline")
        self.assertRaises(TeleportError, load, environ={"TELEPORT_CONFIG": "%"})
        self.assertRaises(TeleportError, load, environ={"TELEPORT_CONFIG_FILE": "/nonexistent/file"})

    def test_overrides(self) -> None:
        """
        The command line wins.
        """
        over = Overrides(roles=parse_roles("ssh"), token="t", proxy_server="p:443", labels=parse_labels("a=b,c:d"))
        found = apply(load_text("version: v3"), over)
        self.assertEqual((found.auth.enabled, found.proxy.enabled, found.ssh.enabled), (False, False, True))
        self.assertEqual(found.ssh.labels, {"a": "b", "c": "d"})
        self.assertEqual(found.teleport.join.token.reveal(), "t")
        for words in ("app", "nod", ""):
            self.assertRaises(TeleportError, parse_roles, words)

    def test_samples_are_fresh(self) -> None:
        """
        The files in C{etc/} are what the generator writes, and load.
        """
        for name, text in samples().items():
            self.assertEqual((ETC / name).read_text(), text, name)
            load_text(text)

    def test_configure_quotes(self) -> None:
        """
        Values that YAML would read otherwise come back as they went in.
        """
        for value in ("yes", "1:2", "# x", "a: b", "'", '"'):
            found = load_text(configure(cluster_name=value, labels={"k": value}))
            self.assertEqual((found.auth.cluster_name, found.ssh.labels["k"]), (value, value))
        self.assertFalse(load_text(node_configure(token="x", proxy_server="p:443")).auth.enabled)

    @given(st.text(max_size=200))
    def test_garbage(self, text: str) -> None:
        """
        Garbage ends in one error type only.
        """
        with contextlib.suppress(TeleportError):
            load_text(text)
