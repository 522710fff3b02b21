"""
Everything in C{base} holds on asyncio's own loop too, as on a machine that uvloop has no wheel for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import skipIf

import pytest
from twisted.trial.unittest import SynchronousTestCase


class WithoutUvloopTest(SynchronousTestCase):
    """
    The suites of the transports and of the relay, in a process of their own.
    """

    @pytest.mark.long
    @skipIf(os.environ.get("TELEPORT_TW_TEST_LOOP") == "asyncio", "this run is on asyncio's own loop")
    def test_transports_and_relay(self) -> None:
        here = Path(__file__).parent
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(here / "net"), str(here / "test_relay.py")],
            cwd=here.parents[1],
            env={**os.environ, "TELEPORT_TW_TEST_LOOP": "asyncio"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout)
