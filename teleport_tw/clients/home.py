"""
Where a person's profiles are kept.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """
    @return: C{TELEPORT_HOME}, or C{~/.tsh}.
    """
    chosen = os.environ.get("TELEPORT_HOME")
    return Path(chosen) if chosen else Path.home() / ".tsh"
