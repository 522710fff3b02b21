"""
Tests for L{teleport_tw.base.lazy}.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.lazy import load_later


class LoadLaterTests(SynchronousTestCase):
    """
    Of one package with two modules, one is put off.
    """

    def setUp(self) -> None:
        self.patch(sys, "meta_path", list(sys.meta_path))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.patch(sys, "path", [folder.name, *sys.path])
        package = Path(folder.name) / "put_off_package"
        package.mkdir()
        (package / "__init__.py").write_text("ran = []\n")
        for name in ("now", "later"):
            (package / f"{name}.py").write_text(
                f"from put_off_package import ran\nran.append({name!r})\nfact = {name!r}\n"
            )
        self.addCleanup(lambda: [sys.modules.pop(name) for name in list(sys.modules) if "put_off_package" in name])

    def test_runs_when_asked(self) -> None:
        """Importing runs the one module; the first attribute runs the other, once."""
        load_later("put_off_package.later")
        package = import_module("put_off_package")
        import_module("put_off_package.now")
        later = import_module("put_off_package.later")
        self.assertEqual(package.ran, ["now"])
        self.assertEqual((later.fact, package.later.fact), ("later", "later"))
        self.assertEqual(package.ran, ["now", "later"])

    def test_the_last_word_counts(self) -> None:
        """Names that are not said again are loaded at once."""
        load_later("put_off_package.later")
        load_later("put_off_package.missing")
        package = import_module("put_off_package")
        import_module("put_off_package.later")
        self.assertEqual(package.ran, ["later"])
        self.assertRaises(ModuleNotFoundError, import_module, "put_off_package.missing")
