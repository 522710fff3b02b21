"""
The committed code is what the schemas say.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.proto.generate import HERE, generate


class Fresh(SynchronousTestCase):
    """
    Generated anew and compared.
    """

    if importlib.util.find_spec("grpc_tools") is None:
        skip = "grpcio-tools is not installed"

    def test_fresh(self) -> None:
        """Run C{python -m teleport_tw.api.proto.generate} when this fails."""
        out = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, out)
        made = {path.name: path.read_text() for path in generate(out)}
        kept = {path.name: path.read_text() for path in HERE.glob("*_pb2*.py*")}
        self.assertEqual(sorted(made), sorted(kept))
        for name, text in made.items():
            self.assertEqual(text, kept[name], name)
