"""
Programs from npm that tests use and the product does not: fetched once into the user's cache, at one version.

They are no part of the repository: the type checker for its size, axe-core for its licence (MPL 2.0).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from unittest import SkipTest

from attrs import frozen


@frozen
class Package:
    """
    @ivar integrity: of the archive, as npm words it.
    """

    name: str
    version: str
    integrity: str

    def folder(self) -> Path:
        """
        @return: with the package's files.
        @raise SkipTest: there is no npm, or it cannot fetch.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teleport_tw-tests"
        place = cache / f"{self.name.replace('/', '-')}-{self.version}"
        if not place.is_dir():
            self._fetch(place)
        return place / "package"

    def _fetch(self, place: Path) -> None:
        if shutil.which("npm") is None:
            raise SkipTest("npm is not installed")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            command = ("npm", "pack", f"{self.name}@{self.version}", "--json", "--ignore-scripts")
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise SkipTest(f"npm cannot fetch {self.name}: {done.stderr.strip()[-200:]}")
            (archive,) = Path(scratch).glob("*.tgz")
            found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if found != self.integrity:
                raise AssertionError(f"{self.name}@{self.version} is not what was locked: {json.dumps(found)}")
            inside = Path(scratch) / "inside"
            with tarfile.open(archive) as opened:
                opened.extractall(inside, filter="data")
            inside.rename(place)


TYPESCRIPT = Package(
    "typescript",
    "5.9.3",
    "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
)
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
