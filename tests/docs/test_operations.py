"""
What C{docs/operations.rst} says of the configuration file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.auth.metrics import Metrics
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import format_duration
from teleport_tw.config import sections
from teleport_tw.config.load import load_text
from teleport_tw.daemon.health import Health
from teleport_tw.daemon.metrics import Figures, LoopLag

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.rst").read_text()
SECTIONS = ("teleport", "auth_service", "proxy_service", "ssh_service", "db_service")


def table(section: str) -> dict[str, str]:
    """
    @return: key paths, as the page has them, to what is said of them.
    """
    body = re.search(rf"^``{section}`` +meaning.*\n=+ +=+\n((?:.*\n)*?)=+ +=+$", PAGE, re.MULTILINE)
    assert body is not None
    found = {}
    for line in body[1].splitlines():
        keys, _, meaning = line.partition("``  ")
        for key in keys.replace("`", "").split(", "):
            found[key.strip()] = meaning.strip()
    return found


class ConfigurationTests(SynchronousTestCase):
    """
    Keys and defaults.
    """

    def test_every_key_is_known(self) -> None:
        """
        A value of the wrong sort may be complained about, the key never.
        """
        for section in SECTIONS:
            keys = table(section)
            self.assertGreater(len(keys), 3, section)
            for key in keys:
                nested: Any = {}
                for part in reversed(key.split(".")):
                    nested = {part: nested}
                lines, value, depth = [f"version: v3\n{section}:"], nested, 1
                while value:
                    ((part, value),) = value.items()
                    lines.append("  " * depth + f"{part}:" + ("" if value else " 1"))
                    depth += 1
                try:
                    load_text("\n".join(lines))
                except TeleportError as error:
                    self.assertNotIn("is not a key", error.message)

    def test_unknown_keys_are_noticed(self) -> None:
        """
        Else the test above says nothing.
        """
        error = self.assertRaises(TeleportError, load_text, "version: v3\nssh_service:\n  lables: {a: b}\n")
        self.assertIn("is not a key", error.message)

    def test_defaults(self) -> None:
        """
        Those that the page writes as values.
        """
        plain = load_text("version: v3")
        for section, found in (
            ("auth_service", plain.auth),
            ("proxy_service", plain.proxy),
            ("ssh_service", plain.ssh),
        ):
            keys = table(section)
            for key in ("listen_addr", "web_listen_addr"):
                value = getattr(found, key, "")
                if key in keys and value:
                    self.assertIn(f"``{value}``", keys[key])
        auth = table("auth_service")
        short = {
            key: format_duration(value).removesuffix("0s").removesuffix("0m")
            for key, value in (
                ("session_control_timeout", plain.auth.session_control_timeout),
                ("authentication.default_session_ttl", plain.auth.authentication.default_session_ttl),
            )
        }
        for key, value in short.items():
            self.assertIn(f"``{value}``", auth[key])
        self.assertIn(f"{plain.teleport.max_connections}", table("teleport")["connection_limits.max_connections"])
        self.assertIn(sections.DATA_DIR, table("teleport")["data_dir"])

    def test_files_that_are_shipped_are_taken(self) -> None:
        """
        All of C{etc/}.
        """
        for path in (ROOT / "etc").glob("*.yaml"):
            load_text(path.read_text(), name=path.name)

    def test_metrics_are_named_as_they_are(self) -> None:
        """
        All that is counted, and nothing else.
        """
        registry = CollectorRegistry()
        Metrics(registry)
        registry.register(Figures(Health(), [], Path("/nonexistent")))
        LoopLag(Clock(), registry)
        counted = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
        self.assertEqual(set(re.findall(r"^``((?:teleport|backend)_\w+)", PAGE, re.MULTILINE)), counted)
