"""
Every benchmark runs and gives figures; what they are is not looked at.
"""

from __future__ import annotations

import json
import math
import os
import pkgutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import pytest

import bench
from bench.__main__ import NOT_BENCHMARKS
from bench.harness import OURS, ROOT, Row, as_json, table, tool

PATIENCE = 600
"""Ends what hangs; how busy the machine is fails no benchmark."""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(PATIENCE + 60)]

NAMES = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in NOT_BENCHMARKS)
NEEDS = {"ssh": ("ssh", "sshd"), "db": ("pg_ctlcluster", "psql", "redis-server")}


class SmokeTests(unittest.TestCase):
    def check(self, name: str) -> None:
        for program in NEEDS.get(name, ()):
            if tool(program) is None:
                self.skipTest(f"{program} is not installed")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "figures.json"
            done = subprocess.run(
                [sys.executable, "-m", "bench", name, "--quick", "--json", str(file)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            found = json.loads(file.read_text())
        self.assertIn("cores", found["machine"])
        self.assertTrue(found["rows"])
        for row in found["rows"]:
            for figure in row["medians"].values():
                self.assertTrue(math.isfinite(figure), row)


def _smoke(name: str) -> None:
    def test(self: SmokeTests) -> None:
        self.check(name)

    test.__doc__ = f"C{{python -m bench {name} --quick}} gives figures."
    setattr(SmokeTests, f"test_{name}", test)


for _name in NAMES:
    _smoke(_name)


class RowTests(unittest.TestCase):
    def test_ratios_say_how_many_times_better_ours_is(self) -> None:
        """Below 1 it is worse, whichever way figures count."""
        figures = {OURS: [3.0, 1.0, 2.0], "other": [4.0]}
        self.assertEqual(Row("case", "MB/s", figures).ratio("other"), 0.5)
        self.assertEqual(Row("case", "ms", figures, more_is_better=False).ratio("other"), 2.0)

    def test_the_machine_is_named(self) -> None:
        """For people and for machines."""
        rows = [Row("case", "ms", {OURS: [1.0], "other": [2.0]}, more_is_better=False)]
        self.assertIn("cores", table(rows))
        self.assertEqual(json.loads(as_json(rows))["rows"][0]["ratios"], {"other": 2.0})
