"""
PostgreSQL's own shell, for tests.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any


class PsqlMixin:
    """
    For a L{tests.agents.db.rig.DatabaseTestCase}.
    """

    async def psql(self: Any, port: int, script: str, where: str = "dbname=alice user=alice", code: int = 0) -> str:
        """
        What psql prints, its standard error included.
        """
        words = ["psql", "-X", "-q", "-A", "-t", f"host=127.0.0.1 port={port} sslmode=disable {where}"]

        def run() -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"}
            return subprocess.run(
                words, input=script, capture_output=True, text=True, timeout=60, env=environment, check=False
            )

        done = await self.in_thread(run)
        self.assertEqual(done.returncode, code, done.stderr)
        return str(done.stdout + done.stderr)
